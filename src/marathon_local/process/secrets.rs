//! Secrets from a directory: the file `<directory>/<source>` is the secret that a definition names as `source`.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::fetch::is_inside;
use super::files;
use crate::model::App;

/// The largest secret (the limit of DC/OS is of this size).
const LARGEST: u64 = 1024 * 1024;

/// The store, if there is one.
#[derive(Debug, Clone)]
pub struct Secrets(Option<PathBuf>);

impl Secrets {
    /// No store.
    pub fn none() -> Self {
        Self(None)
    }

    /// The store in a directory.
    ///
    /// # Errors
    /// When there is no such directory, or it cannot be read.
    pub fn open(directory: PathBuf) -> io::Result<Self> {
        // The first needs the right to list it, the second the right to open what is in it.
        drop(std::fs::read_dir(&directory)?);
        std::fs::metadata(directory.join("."))?;
        Ok(Self(Some(directory)))
    }

    /// The secret that a definition calls by a name.
    ///
    /// # Errors
    /// Why there is none; never what is in it.
    pub fn of(&self, app: &App, name: &str) -> Result<String, String> {
        let Some(directory) = &self.0 else {
            return Err(
                "the local Marathon was started without a directory of secrets (--secrets DIR)".to_owned()
            );
        };
        let source = app.get("secrets").and_then(|s| s.get(name)).and_then(|s| s.get("source"));
        let source =
            source.and_then(Value::as_str).ok_or_else(|| format!("the app declares no secret {name}"))?;
        if !is_inside(Path::new(source)) {
            return Err(format!("the source {source:?} of the secret {name} is no path inside the store"));
        }
        match read(&directory.join(source)) {
            Ok(bytes) if bytes.len() as u64 > LARGEST => {
                Err(format!("the secret {source} is larger than {LARGEST} bytes"))
            }
            Ok(bytes) => {
                String::from_utf8(bytes).map_err(|_| format!("the secret {source} is no text in UTF-8"))
            }
            Err(error) => Err(format!("cannot read the secret {source}: {error}")),
        }
    }
}

/// What is in a regular file, or the beginning of it where that is too much.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    files::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_found_by_their_source_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "s3cret").unwrap();
        std::fs::write(folder.path().join("large"), vec![b'x'; usize::try_from(LARGEST).unwrap() + 1])
            .unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        let app = json!({"secrets": {"k": {"source": "key"}, "out": {"source": "../key"}, "no": {"source": "no"},
            "large": {"source": "large"}, "pipe": {"source": "pipe"}}});
        let app = App::from_value(app).unwrap();
        let secrets = Secrets::open(folder.path().to_owned()).unwrap();
        assert_eq!(secrets.of(&app, "k").as_deref(), Ok("s3cret"));
        for (name, word) in [
            ("out", "inside"),
            ("no", "cannot read"),
            ("undeclared", "undeclared"),
            ("large", "larger than"),
            ("pipe", "no regular file"),
        ] {
            let error = secrets.of(&app, name).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        assert!(Secrets::none().of(&app, "k").unwrap_err().contains("--secrets"));
    }

    #[test]
    fn a_store_must_be_a_directory() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&link, &link).unwrap();
        let kind = |path: &Path| Secrets::open(path.to_owned()).unwrap_err().kind();
        assert_eq!(kind(&folder.path().join("none")), io::ErrorKind::NotFound);
        assert_eq!(kind(&file), io::ErrorKind::NotADirectory);
        Secrets::open(link).unwrap_err();
    }
}
