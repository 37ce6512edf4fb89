//! The tokens that may change something, from a file that may change while we run.
//!
//! One token per line; empty lines and lines that begin with `#` do not count. Only digests are held, so that
//! the tokens themselves are in memory no longer than it takes to read them.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::Stamp;
use crate::model::{Digest, ErrorClass};

/// The largest file that is read, in bytes.
pub const LARGEST: u64 = 64 << 10;
/// The shortest token that is taken, in bytes: shorter ones can be guessed.
pub const SHORTEST: usize = 16;

/// A file of tokens that cannot be used. No token is named in the messages.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The operating system refused.
    #[error("cannot read the tokens in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Something else than a list of tokens.
    #[error("{} is larger than {LARGEST} bytes; write one token per line", .0.display())]
    TooLarge(PathBuf),
    /// Binary data.
    #[error("{} is no UTF-8 text; write one token per line", .0.display())]
    NotText(PathBuf),
    /// A token that can be guessed.
    #[error(
        "{path}:{line}: the token is shorter than {SHORTEST} characters; write a longer one, such as the output of `openssl rand -hex 32`",
        path = path.display()
    )]
    TooShort {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// A token with a space in it, which no client can send.
    #[error("{}:{line}: a token has no spaces in it; write one token per line", path.display())]
    Spaces {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// A file without any token.
    #[error(
        "{} holds no token; write one per line, such as the output of `openssl rand -hex 32`",
        .0.display()
    )]
    Empty(PathBuf),
}

impl TokensError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Read { .. } => ErrorClass::Retry,
            _ => ErrorClass::Stall,
        }
    }

    /// A stable word for metric labels and conditions.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Read { .. } => "Read",
            Self::TooLarge(_) => "TooLarge",
            Self::NotText(_) => "NotText",
            Self::TooShort { .. } => "TooShort",
            Self::Spaces { .. } => "Spaces",
            Self::Empty(_) => "Empty",
        }
    }
}

/// A file of tokens.
pub struct Tokens {
    path: PathBuf,
    last: Mutex<Option<(Stamp, Arc<TokenSet>)>>,
}

impl Tokens {
    /// The tokens of a file; nothing is read yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, last: Mutex::new(None) }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tokens as they are now. The file is read again when it changed since the last call, so that this may
    /// be asked for every request; it blocks for as long as the file system does.
    ///
    /// # Errors
    /// When the file cannot be used. Then nobody may change anything: that a token was taken away must count
    /// even where the rest of the file is broken.
    pub fn load(&self) -> Result<Arc<TokenSet>, TokensError> {
        let failed = |source| TokensError::Read { path: self.path.clone(), source };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = std::fs::metadata(&self.path).map(|metadata| Stamp::of(&metadata)).map_err(failed)?;
        if let Some((stamp, tokens)) = &*last
            && *stamp == now
        {
            return Ok(tokens.clone());
        }
        let file = File::open(&self.path).map_err(failed)?;
        let opened = file.metadata().map(|metadata| Stamp::of(&metadata)).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
        let tokens = Arc::new(TokenSet::read(&self.path, &bytes)?);
        *last = Some((opened, tokens.clone()));
        Ok(tokens)
    }
}

/// The tokens of one state of the file.
pub struct TokenSet(Vec<Digest>);

impl TokenSet {
    fn read(path: &Path, bytes: &[u8]) -> Result<Self, TokensError> {
        let path = path.to_owned();
        if bytes.len() as u64 > LARGEST {
            return Err(TokensError::TooLarge(path));
        }
        let Ok(text) = std::str::from_utf8(bytes) else { return Err(TokensError::NotText(path)) };
        let mut digests = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let (token, line) = (line.trim(), index + 1);
            if token.is_empty() || token.starts_with('#') {
                continue;
            }
            if token.contains(char::is_whitespace) {
                return Err(TokensError::Spaces { path, line });
            }
            if token.chars().count() < SHORTEST {
                return Err(TokensError::TooShort { path, line });
            }
            digests.push(Digest::of(token.as_bytes()));
        }
        if digests.is_empty() { Err(TokensError::Empty(path)) } else { Ok(Self(digests)) }
    }

    /// Whether a text is one of the tokens. How long that takes tells nothing of how near it came: digests are
    /// compared, all of them and to their ends.
    #[must_use]
    pub fn accepts(&self, candidate: &str) -> bool {
        let candidate = Digest::of(candidate.as_bytes());
        let equal = |known: &Digest| {
            let pairs = known.as_bytes().iter().zip(candidate.as_bytes());
            u8::from(std::hint::black_box(pairs.fold(0, |sum, (a, b)| sum | (a ^ b))) == 0)
        };
        self.0.iter().fold(0, |found, known| found | equal(known)) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0123456789abcdef";
    const TWO: &str = "fedcba9876543210";

    fn of(text: &str) -> Result<TokenSet, String> {
        TokenSet::read(Path::new("/t"), text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn tokens_stand_one_per_line() {
        let tokens = of(&format!("# ours\n\n  {ONE}\r\n{TWO}")).unwrap();
        assert!(tokens.accepts(ONE) && tokens.accepts(TWO));
        for other in ["", "# ours", &ONE[1..], &format!("{ONE} "), &format!("{ONE}\n"), "x"] {
            assert!(!tokens.accepts(other), "{other:?}");
        }
    }

    #[test]
    fn a_bad_file_is_refused_and_no_token_is_told() {
        let refusal = |text: &str| of(text).map(|_| ()).unwrap_err();
        assert!(refusal(&format!("{ONE}\nhunter2")).starts_with("/t:2: the token is shorter than 16"));
        assert!(!refusal("hunter2").contains("hunter2"));
        assert!(refusal(&format!("{ONE} {TWO}")).starts_with("/t:1: a token has no spaces"));
        assert!(refusal("# nothing\n").contains("holds no token"));
        assert!(refusal(&ONE.repeat(5000)).contains("larger than"));
        let binary = TokenSet::read(Path::new("/t"), &[0xff; 20]).map(|_| ()).unwrap_err();
        assert!(matches!(binary, TokensError::NotText(_)));
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_broken_one_lets_nobody_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, ONE).unwrap();
        let tokens = Tokens::new(path.clone());
        let first = tokens.load().unwrap();
        assert!(Arc::ptr_eq(&first, &tokens.load().unwrap()), "it was read again for nothing");
        // Same length, and another file in its place, as tools that write safely do.
        std::fs::write(folder.path().join("new"), TWO).unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
        let second = tokens.load().unwrap();
        assert!(second.accepts(TWO) && !second.accepts(ONE));
        std::fs::write(&path, "short").unwrap();
        assert_eq!(tokens.load().map(|_| ()).unwrap_err().label(), "TooShort");
        assert_eq!(tokens.load().map(|_| ()).unwrap_err().label(), "TooShort");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(tokens.load().map(|_| ()).unwrap_err().class(), ErrorClass::Retry);
        std::fs::write(&path, ONE).unwrap();
        assert!(tokens.load().unwrap().accepts(ONE));
    }
}
