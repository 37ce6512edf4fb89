//! What the daemon runs with, as plain data.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Environment, HaSettings};
use crate::controller::guard::Limits;
use crate::model::{AppId, Digest, Problem, Secret, SourceName};

/// The settings of `run`.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// The public name: the id of our service, from which its host inside the cluster follows.
    pub name: AppId,
    /// Older names that are accepted in what comes in, and never given out.
    pub aliases: Vec<AppId>,
    /// The URL that is given out, where the configuration names one; see [`RunSettings::public_url`].
    pub configured_url: Option<String>,
    /// Where the registry listens.
    pub listen: SocketAddr,
    /// The certificate; none means plain HTTP.
    pub tls: Option<TlsSettings>,
    /// The file of the tokens that may change something; none means that only loopback may. See
    /// [`Tokens`](super::Tokens).
    pub tokens: Option<PathBuf>,
    /// Where everything is kept.
    pub storage: StorageSettings,
    /// The Marathon to control; none without sources.
    pub marathon: Option<MarathonSettings>,
    /// The sources of manifests, in the order of the file, with different names.
    pub sources: Vec<SourceSettings>,
    /// Times of the lease.
    pub ha: HaSettings,
    /// Our own app under Marathon (`MARATHON_APP_ID`), which the controller must not touch.
    pub own_app: Option<AppId>,
    /// The file of the DC/OS service account, where the install options name one.
    pub service_account: Option<PathBuf>,
    /// What is allowed and yet worth a word to the operator.
    pub warnings: Vec<Problem>,
}

impl RunSettings {
    /// The URL under which tasks and Cosmos reach us, without a slash at the end: the configured one, else the
    /// listener where only this machine reaches it, else the host of the public name inside the cluster.
    #[must_use]
    pub fn public_url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match &self.configured_url {
            Some(url) => url.clone(),
            None if self.listen.ip().is_loopback() => format!("{scheme}://{}", self.listen),
            None => format!("{scheme}://{}", self.name.l4lb_host()),
        }
    }
}

/// A certificate with its key, both as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate and those of its issuers.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// How Marathon is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarathonSettings {
    /// The URLs of one cluster's Marathon, at least one, without a slash at the end.
    pub urls: Vec<String>,
    /// The URL of DC/OS' Admin Router, through which the schedulers of SDK services are asked; none where it is found by
    /// `urls` (they end with `/marathon`), or where there is none.
    pub admin_router: Option<String>,
    /// A PEM file of certificates to trust besides the system's.
    pub ca: Option<PathBuf>,
    /// Who we are there.
    pub auth: MarathonAuth,
}

impl MarathonSettings {
    /// A Marathon at one URL that asks nobody who he is.
    #[must_use]
    pub fn plain(url: &str) -> Self {
        Self { urls: vec![url.into()], admin_router: None, ca: None, auth: MarathonAuth::None }
    }
}

/// Who we are to Marathon. Secrets are named by their files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarathonAuth {
    /// Nobody asks.
    None,
    /// A user with a password.
    Basic {
        /// The user.
        user: String,
        /// The file of the password.
        password: PathBuf,
    },
    /// The file of a DC/OS token, which somebody keeps fresh.
    Token(PathBuf),
    /// The file of a service account of DC/OS, with which we log in.
    ServiceAccount(PathBuf),
}

/// A source of manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSettings {
    /// Its name.
    pub name: SourceName,
    /// The folder of its manifests.
    pub directory: PathBuf,
    /// How often it is looked at when nothing moves.
    pub interval: Duration,
    /// What it may do.
    pub limits: Limits,
}

/// Where everything is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageSettings {
    /// Which back end.
    pub backend: Backend,
    /// The operator's word that no other instance writes, for a back end that cannot order writers itself.
    pub unsafe_single_writer: bool,
    /// The directory in which uploads are gathered before they are published.
    pub spool: PathBuf,
}

impl StorageSettings {
    /// A back end with the defaults: uploads are gathered beside what is kept, for S3 in the system's directory
    /// for temporary files.
    #[must_use]
    pub fn of(backend: Backend, environment: &Environment) -> Self {
        let spool = match &backend {
            Backend::Local { path } | Backend::MountVolume { path, .. } => path.join("spool"),
            Backend::S3(_) => environment.temporary(),
        };
        Self { backend, unsafe_single_writer: false, spool }
    }
}

/// A place that keeps everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// A directory of this machine.
    Local {
        /// The directory.
        path: PathBuf,
    },
    /// A volume that Mesos mounts into the sandbox.
    MountVolume {
        /// Where it is mounted.
        path: PathBuf,
        /// The agent that has the volume.
        pinned_hostname: Option<String>,
    },
    /// A bucket that several instances may share.
    S3(S3Settings),
}

impl fmt::Display for Backend {
    /// For tables and logs; holds no secrets, as URLs with a user or password are refused.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { path } => write!(f, "{}", path.display()),
            Self::MountVolume { path, pinned_hostname: None } => {
                write!(f, "mount volume {}", path.display())
            }
            Self::MountVolume { path, pinned_hostname: Some(host) } => {
                write!(f, "mount volume {} on {host}", path.display())
            }
            Self::S3(s3) => write!(f, "{s3}"),
        }
    }
}

/// A bucket and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Settings {
    /// The bucket.
    pub bucket: String,
    /// The prefix of all keys, without slashes at its ends; empty for the whole bucket.
    pub path: String,
    /// The server's URL without a slash at the end; none for Amazon's own of the region.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// Whether the bucket stands in the path of URLs, not in their host.
    pub path_style: bool,
    /// Where the keys come from.
    pub credentials: S3Credentials,
    /// A PEM file of certificates to trust besides the system's.
    pub ca: Option<PathBuf>,
    /// Whether the endpoint is plain HTTP.
    pub allow_http: bool,
}

impl fmt::Display for S3Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if !self.path.is_empty() {
            write!(f, "/{}", self.path)?;
        }
        match &self.endpoint {
            Some(endpoint) => write!(f, " at {endpoint}"),
            None => write!(f, " in {}", self.region),
        }
    }
}

/// Where the keys for a bucket come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum S3Credentials {
    /// A file as the AWS command line has it, and the profile in it.
    File {
        /// The file.
        path: PathBuf,
        /// The profile.
        profile: String,
    },
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`; see [`S3Keys::of`].
    Environment,
    /// The role of the machine or container that we run on.
    InstanceRole,
    /// Keys given by the program itself, for tests.
    Static(S3Keys),
}

/// The keys for a bucket.
#[derive(Clone)]
pub struct S3Keys {
    /// The public part.
    pub id: String,
    /// The secret part.
    pub secret: Secret,
    /// The token of a session, for keys that expire.
    pub token: Option<Secret>,
}

impl S3Keys {
    /// The keys in the variables of AWS; none where one of the two that are needed is not set.
    #[must_use]
    pub fn of(environment: &Environment) -> Option<Self> {
        let secret = |name| environment.filled(name).map(Secret::new);
        Some(Self {
            id: environment.filled("AWS_ACCESS_KEY_ID")?,
            secret: secret("AWS_SECRET_ACCESS_KEY")?,
            token: secret("AWS_SESSION_TOKEN"),
        })
    }
}

impl fmt::Debug for S3Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Keys").field("id", &self.id).finish_non_exhaustive()
    }
}

impl PartialEq for S3Keys {
    /// Secrets are compared by digest, so that the time it takes tells nothing.
    fn eq(&self, other: &Self) -> bool {
        let digest = |secret: &Secret| Digest::of(secret.expose().as_bytes());
        self.id == other.id
            && digest(&self.secret) == digest(&other.secret)
            && self.token.as_ref().map(digest) == other.token.as_ref().map(digest)
    }
}

impl Eq for S3Keys {}
