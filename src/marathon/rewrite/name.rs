//! The names between which is rewritten, and what a set of renames makes of one name.

use std::fmt;

/// A host as it stands in URIs and image references, with or without a port. Hosts are kept in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Name {
    host: String,
    port: Option<u16>,
}

/// Old and new name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// What is looked for. Without a port it stands for the host with any written port and with none; with a
    /// port only for the host with just that port written behind it.
    pub old: Name,
    /// What takes its place. Without a port, an old name without one keeps the port that is written, and an
    /// old name with one loses it.
    pub new: Name,
}

/// Renames that do not get into each other's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renames(Vec<Rename>);

/// Why renames are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenameError {
    /// No name of a host.
    #[error("{0:?} is no host name; write host or host:port, without scheme, user and path")]
    NoName(String),
    /// One name, two successors.
    #[error("{0} is to be renamed twice; keep one of the two")]
    Twice(Name),
    /// Nothing would change.
    #[error("{0} is to be renamed to itself; leave that rename out")]
    Itself(Name),
    /// Doing it twice would not be the same as doing it once.
    #[error("{new} is a new name, but {old} is to be renamed as well; name the last successor at once")]
    Chained {
        /// The new name.
        new: Name,
        /// The old name that stands for it, too.
        old: Name,
    },
}

impl Name {
    /// Reads `host` or `host:port`.
    ///
    /// # Errors
    /// [`RenameError::NoName`] for everything else; addresses of IPv6 have no place in image references.
    pub fn new(text: &str) -> Result<Self, RenameError> {
        let refused = || RenameError::NoName(text.chars().take(80).collect());
        let (host, port) = match text.split_once(':') {
            None => (text, None),
            Some((host, port)) => (host, Some(port_of(port).ok_or_else(refused)?)),
        };
        let inner = |c: char| c.is_ascii_alphanumeric();
        let is_label = |label: &str| {
            label.starts_with(inner) && label.ends_with(inner) && label.chars().all(|c| inner(c) || c == '-')
        };
        let is_host = host.len() <= 253 && host.split('.').all(|label| label.len() <= 63 && is_label(label));
        if is_host { Ok(Self { host: host.to_ascii_lowercase(), port }) } else { Err(refused()) }
    }

    /// Whether the name is one of a host wherever it stands: `registry` alone may be any word.
    fn is_telling(&self) -> bool {
        self.port.is_some() || self.host.contains('.')
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.to_string()
    }
}

impl TryFrom<String> for Name {
    type Error = RenameError;

    fn try_from(text: String) -> Result<Self, RenameError> {
        Self::new(&text)
    }
}

/// A port in digits, without anything else.
pub(super) fn port_of(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.len() <= 5 && text.chars().all(|c| c.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

/// What stands behind a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// No port.
    Bare,
    /// This port.
    Port(u16),
    /// A colon without a number (an empty port, a variable) or the dot of an absolute name. It stays, so only
    /// renames that leave ports alone apply.
    Odd,
}

impl Renames {
    /// Takes renames, in any order.
    ///
    /// # Errors
    /// When two of them contradict, or when one would apply to what another makes, for a second run would then
    /// change what the first has written.
    pub fn new(renames: Vec<Rename>) -> Result<Self, RenameError> {
        for (index, rename) in renames.iter().enumerate() {
            if rename.old == rename.new {
                return Err(RenameError::Itself(rename.old.clone()));
            }
            if renames[..index].iter().any(|other| other.old == rename.old) {
                return Err(RenameError::Twice(rename.old.clone()));
            }
        }
        let renames = Self(renames);
        renames.0.iter().try_for_each(|rename| renames.check_chain(rename))?;
        Ok(renames)
    }

    fn check_chain(&self, Rename { old, new }: &Rename) -> Result<(), RenameError> {
        let chained = |by: &Rename| Err(RenameError::Chained { new: new.clone(), old: by.old.clone() });
        if old.port.is_none() && new.port.is_none() {
            // It leaves the host with any port.
            return self.0.iter().find(|by| by.old.host == new.host).map_or(Ok(()), chained);
        }
        match self.find(&new.host, new.port.map_or(Tail::Bare, Tail::Port)) {
            Some((by, made)) if made != new.to_string() => chained(by),
            _ => Ok(()),
        }
    }

    /// The rename of a host (in any case) with what stands behind it, and what is written in place of both; of
    /// an odd tail only the host is replaced.
    fn find(&self, host: &str, tail: Tail) -> Option<(&Rename, String)> {
        let of_host = |rename: &&Rename| rename.old.host.eq_ignore_ascii_case(host);
        let mut of_host = self.0.iter().filter(of_host).collect::<Vec<_>>();
        // The one that names the port goes first.
        of_host.sort_by_key(|rename| rename.old.port.is_none());
        of_host.into_iter().find_map(|rename| {
            let Rename { old, new } = rename;
            let made = match (tail, old.port) {
                (Tail::Port(port), Some(wanted)) if port == wanted => new.to_string(),
                (Tail::Port(port), None) => {
                    Name { host: new.host.clone(), port: new.port.or(Some(port)) }.to_string()
                }
                (Tail::Bare, None) => new.to_string(),
                (Tail::Odd, None) if new.port.is_none() => new.to_string(),
                _ => return None,
            };
            Some((rename, made))
        })
    }

    /// What is written in place of a host and its port. `anchored`: it stands where only a host can stand.
    pub(super) fn replacement(&self, host: &str, tail: Tail, anchored: bool) -> Option<String> {
        let (rename, made) = self.find(host, tail)?;
        (anchored || rename.old.is_telling()).then_some(made)
    }
}
