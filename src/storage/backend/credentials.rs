//! As whom a bucket is used: keys from an AWS credentials file, the environment, or the machine's role.
//!
//! The file's form is that of the AWS tools ("Configuration and credential file settings" in the AWS SDKs and
//! Tools Reference Guide): sections are profiles, `#` and `;` begin lines of comment, a value may hold any
//! character. It may change while we run: before each request its identity is looked at, and it is read again
//! when that changed. A file that cannot be read then (it is just being replaced) leaves the old keys in use.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::StaticCredentialProvider;
use object_store::aws::{AwsCredential, AwsCredentialProvider};

use crate::config::{Environment, S3Credentials, S3Keys};
use crate::model::ErrorClass;

/// The most that is read of a credentials file, in bytes.
const LIMIT: u64 = 1024 * 1024;

/// Credentials that are not there.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("cannot read the credentials file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A line of the file is none of its form.
    #[error("{}:{line}: neither [profile] nor `name = value`; write it as the AWS tools do", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// The profile is not in the file.
    #[error("{} has no profile {profile:?}; {}", path.display(), listed(existing))]
    NoProfile {
        /// The file.
        path: PathBuf,
        /// The profile.
        profile: String,
        /// Those that are there.
        existing: Vec<String>,
    },
    /// The profile lacks a key.
    #[error("{}:{line}: profile {profile:?} has no {name}; add a line `{name} = ...`", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// The line where the profile begins.
        line: usize,
        /// The profile.
        profile: String,
        /// What is missing.
        name: &'static str,
    },
    /// The environment has no keys.
    #[error(
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not both set; set them, or name a credentials file or the \
         instance role as credentials"
    )]
    Unset,
}

impl CredentialsError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Stall
    }

    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Read { .. } => "CredentialsUnreadable",
            Self::Syntax { .. } => "CredentialsSyntax",
            Self::NoProfile { .. } => "NoProfile",
            Self::Incomplete { .. } => "ProfileIncomplete",
            Self::Unset => "CredentialsUnset",
        }
    }
}

fn listed(profiles: &[String]) -> String {
    match profiles {
        [] => "it has none at all, add a line [default]".into(),
        some => format!("it has {}", some.join(", ")),
    }
}

/// What gives keys to the client; none where the machine's role does, which the client asks itself.
pub(super) fn provider(
    credentials: &S3Credentials,
) -> Result<Option<AwsCredentialProvider>, CredentialsError> {
    let keys = match credentials {
        S3Credentials::InstanceRole => return Ok(None),
        S3Credentials::File { path, profile } => return Ok(Some(Arc::new(FileKeys::open(path, profile)?))),
        S3Credentials::Environment => S3Keys::of(&Environment::process()).ok_or(CredentialsError::Unset)?,
        S3Credentials::Static(keys) => keys.clone(),
    };
    Ok(Some(Arc::new(StaticCredentialProvider::new(AwsCredential {
        key_id: keys.id,
        secret_key: keys.secret.expose().to_owned(),
        token: keys.token.map(|token| token.expose().to_owned()),
    }))))
}

/// The keys of the machine's role, for which the client's own provider asks.
#[derive(Debug)]
pub(super) struct RoleKeys(pub(super) AwsCredentialProvider);

/// The machine's role gave no keys; as the source of a failed call, this tells a machine without a role from a bucket
/// that refuses us or does not answer.
#[derive(Debug, thiserror::Error)]
#[error("the machine's role gives no keys")]
pub(super) struct NoRole(#[source] object_store::Error);

#[async_trait]
impl CredentialProvider for RoleKeys {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let keys = self.0.get_credential().await;
        keys.map_err(|source| object_store::Error::Generic { store: "S3", source: NoRole(source).into() })
    }
}

/// What makes a file another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity(u64, u64, u64, i64, i64);

impl From<Metadata> for Identity {
    fn from(file: Metadata) -> Self {
        Self(file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec())
    }
}

/// Keys from a file that may change.
struct FileKeys {
    path: PathBuf,
    profile: String,
    held: Arc<Mutex<Held>>,
}

struct Held {
    /// The file that was read last, whether or not it could be used.
    identity: Option<Identity>,
    keys: Arc<AwsCredential>,
}

impl FileKeys {
    fn open(path: &Path, profile: &str) -> Result<Self, CredentialsError> {
        // Its identity comes first: a change in between is found at the next look.
        let identity = std::fs::metadata(path).ok().map(Identity::from);
        let keys = Arc::new(read(path, profile)?);
        let held = Arc::new(Mutex::new(Held { identity, keys }));
        Ok(Self { path: path.to_owned(), profile: profile.to_owned(), held })
    }
}

/// The keys that count now.
fn current(path: &Path, profile: &str, held: &Mutex<Held>) -> Arc<AwsCredential> {
    let identity = std::fs::metadata(path).ok().map(Identity::from);
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    if identity != held.identity {
        held.identity = identity;
        match read(path, profile) {
            Ok(keys) => held.keys = Arc::new(keys),
            Err(error) => {
                tracing::warn!(reason = error.label(), %error, "the changed credentials cannot be used, the old ones stay");
            }
        }
    }
    Arc::clone(&held.keys)
}

#[async_trait]
impl CredentialProvider for FileKeys {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let (path, profile, held) = (self.path.clone(), self.profile.clone(), Arc::clone(&self.held));
        let look = tokio::task::spawn_blocking(move || current(&path, &profile, &held));
        look.await.map_err(|source| object_store::Error::JoinError { source })
    }
}

impl std::fmt::Debug for FileKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileKeys({}, {})", self.path.display(), self.profile)
    }
}

fn read(path: &Path, profile: &str) -> Result<AwsCredential, CredentialsError> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LIMIT).read_to_string(&mut text));
    read.map_err(|source| CredentialsError::Read { path: path.to_owned(), source })?;
    parse(path, &text, profile)
}

/// A profile as it stands in the file.
#[derive(Default)]
struct Profile {
    line: usize,
    values: BTreeMap<String, String>,
}

fn parse(path: &Path, text: &str, profile: &str) -> Result<AwsCredential, CredentialsError> {
    let mut profiles = sections(path, text)?;
    let Some(mut found) = profiles.remove(profile) else {
        let existing = profiles.into_keys().collect();
        return Err(CredentialsError::NoProfile {
            path: path.to_owned(),
            profile: profile.to_owned(),
            existing,
        });
    };
    let mut optional = |name: &str| found.values.remove(name).filter(|value| !value.is_empty());
    let incomplete = |name| CredentialsError::Incomplete {
        path: path.to_owned(),
        line: found.line,
        profile: profile.to_owned(),
        name,
    };
    Ok(AwsCredential {
        key_id: optional("aws_access_key_id").ok_or_else(|| incomplete("aws_access_key_id"))?,
        secret_key: optional("aws_secret_access_key").ok_or_else(|| incomplete("aws_secret_access_key"))?,
        token: optional("aws_session_token"),
    })
}

fn sections(path: &Path, text: &str) -> Result<BTreeMap<String, Profile>, CredentialsError> {
    let mut profiles = BTreeMap::<String, Profile>::new();
    let mut current = None;
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let (number, line) = (index + 1, line.trim());
        let syntax = || CredentialsError::Syntax { path: path.to_owned(), line: number };
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let name = rest.split_once(']').ok_or_else(syntax)?.0.trim();
            // The sections of the other file of the tools, `config`, begin with that word.
            let name = name.strip_prefix("profile ").unwrap_or(name).trim().to_owned();
            profiles.entry(name.clone()).or_insert_with(|| Profile { line: number, ..Profile::default() });
            current = Some(name);
            continue;
        }
        let (name, value) = line.split_once('=').ok_or_else(syntax)?;
        let profile = current.as_ref().and_then(|name| profiles.get_mut(name)).ok_or_else(syntax)?;
        profile.values.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
    }
    Ok(profiles)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, profile: &str) -> Result<(String, String, Option<String>), String> {
        let parsed = parse(Path::new("/run/keys"), text, profile).map_err(|error| error.to_string());
        parsed.map(|keys| (keys.key_id, keys.secret_key, keys.token))
    }

    #[test]
    fn a_file_is_read_as_the_aws_tools_write_it() {
        let text = "\u{feff}# keys\r\n\r\n[default]\r\naws_access_key_id = A\r\naws_secret_access_key=s/+=#;x\r\n\
                    region = eu\r\n ; more\r\n[ other ]\n  AWS_Access_Key_Id =B\n aws_secret_access_key= t\n\
                    aws_session_token = u v\n[profile third]\naws_access_key_id=C\naws_secret_access_key=w";
        let keys = |id: &str, secret: &str, token: Option<&str>| {
            Ok((id.to_owned(), secret.to_owned(), token.map(str::to_owned)))
        };
        assert_eq!(parsed(text, "default"), keys("A", "s/+=#;x", None));
        assert_eq!(parsed(text, "other"), keys("B", "t", Some("u v")));
        assert_eq!(parsed(text, "third"), keys("C", "w", None));
        assert_eq!(
            parsed(text, "nobody").unwrap_err(),
            "/run/keys has no profile \"nobody\"; it has default, other, third"
        );
    }

    #[test]
    fn faults_name_file_line_and_profile_and_never_what_stands_there() {
        let fault = |text: &str| parsed(text, "p").unwrap_err();
        assert_eq!(fault(""), "/run/keys has no profile \"p\"; it has none at all, add a line [default]");
        let form = "neither [profile] nor `name = value`; write it as the AWS tools do";
        for (text, line) in [("[p]\nSECRETWORD", 2), ("aws_access_key_id = SECRETWORD", 1), ("\n[p", 2)] {
            assert_eq!(fault(text), format!("/run/keys:{line}: {form}"));
        }
        for text in [
            "# x\n[p]\naws_secret_access_key = y",
            "# x\n[p]\naws_access_key_id =\naws_secret_access_key = y",
        ] {
            assert_eq!(
                fault(text),
                "/run/keys:2: profile \"p\" has no aws_access_key_id; add a line `aws_access_key_id = ...`"
            );
        }
    }

    #[tokio::test]
    async fn a_changed_file_is_read_again_and_a_broken_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credentials");
        assert!(matches!(FileKeys::open(&path, "p"), Err(CredentialsError::Read { .. })));
        let write = |id: &str| {
            let next = directory.path().join("next");
            std::fs::write(&next, format!("[p]\naws_access_key_id={id}\naws_secret_access_key=s\n")).unwrap();
            std::fs::rename(next, &path).unwrap();
        };
        write("A");
        let keys = FileKeys::open(&path, "p").unwrap();
        assert_eq!(keys.get_credential().await.unwrap().key_id, "A");
        write("B");
        assert_eq!(keys.get_credential().await.unwrap().key_id, "B");
        std::fs::write(&path, "[other]").unwrap();
        assert_eq!(keys.get_credential().await.unwrap().key_id, "B");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(keys.get_credential().await.unwrap().key_id, "B");
        // No name of a temporary folder holds this by chance.
        write("KEY-OF-C");
        assert_eq!(keys.get_credential().await.unwrap().key_id, "KEY-OF-C");
        assert!(!format!("{keys:?}").contains("KEY-OF-C"));
    }
}
