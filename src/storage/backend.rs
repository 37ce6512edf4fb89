//! A bucket as registry storage: from settings to the two clients that everything goes through, and what is
//! wrong with it when it does not answer as a bucket of ours should.
//!
//! Two clients, because a lease must not wait behind downloads: `control` gives up after 1.5 s and is what the
//! protocols use; `data` has no limit for a whole transfer, only for silence. `control` tries nothing again by
//! itself: only the loops above know what a lost answer means. `data` tries twice more, because what it writes
//! lies under keys of its own, and because the crate's uploads can be completed by one call only. Everything
//! lies below one prefix of the bucket.

mod credentials;
mod diagnose;
mod transport;

#[cfg(test)]
pub(super) mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::RetryConfig;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredentialProvider};
use object_store::path::Path;
use object_store::prefix::PrefixStore;

use super::calls::{CallError, Calls};
use crate::clock::Clock;
use crate::config::S3Settings;
use crate::model::ErrorClass;

pub use credentials::CredentialsError;
use credentials::RoleKeys;
pub(super) use diagnose::status;

use transport::{Connector, Seen};

/// How often the data client tries again by itself.
const DATA_RETRIES: usize = 2;

/// After how long it does not.
const RETRY_TIME: Duration = Duration::from_secs(20);

/// How long the two clients wait.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// A whole call of the control client.
    pub control: Duration,
    /// Its connecting.
    pub control_connect: Duration,
    /// The data client's connecting.
    pub data_connect: Duration,
    /// The data client's longest silence. It counts from the start of a request, so a part of 8 MiB must
    /// have gone up within it.
    pub data_silence: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            control: Duration::from_millis(1500),
            control_connect: Duration::from_secs(1),
            data_connect: Duration::from_secs(3),
            data_silence: Duration::from_secs(30),
        }
    }
}

/// Where a bucket's storage lies, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The server.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// The prefix in it.
    pub path: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bucket {:?} at {}", self.bucket, self.endpoint)?;
        if self.path.is_empty() { Ok(()) } else { write!(f, " below {:?}", self.path) }
    }
}

/// A bucket that cannot serve as storage. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The endpoint is no URL of a server.
    #[error("the endpoint {0:?} is no base URL of a server; write https://host or http://host:port")]
    Endpoint(String),
    /// The path is no prefix.
    #[error(
        "the path {0:?} is no prefix of keys; write words separated by single slashes, such as registry/a"
    )]
    Path(String),
    /// The CA file cannot be used.
    #[error("cannot read certificates from the CA file {}; it must hold PEM certificates", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client for the bucket")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There are no credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// No keys are configured, and the machine has no role that gives some.
    #[error(
        "there are no keys for {place}: none are configured, and the role of this machine gives none; name a file of \
         keys as credentials, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )]
    NoKeys {
        /// Which.
        place: Arc<Place>,
        /// What asking for the role's keys came to.
        #[source]
        source: Box<CallError>,
    },
    /// The bucket is not there.
    #[error("there is no {place}; create it or correct its name")]
    NoBucket {
        /// Which.
        place: Arc<Place>,
        /// The server's words.
        #[source]
        source: Box<CallError>,
    },
    /// The server does not know the key, or the signature is wrong.
    #[error("{place} refuses the credentials; check access key, secret key and session token")]
    WrongCredentials {
        /// Which.
        place: Arc<Place>,
        /// The server's words.
        #[source]
        source: Box<CallError>,
    },
    /// The server knows who we are, and that is not enough.
    #[error(
        "{place} does not allow what a registry does; grant s3:ListBucket on the bucket and s3:GetObject, \
         s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload on its objects"
    )]
    Denied {
        /// Which.
        place: Arc<Place>,
        /// The server's words.
        #[source]
        source: Box<CallError>,
    },
    /// Nobody answers there.
    #[error("cannot reach {place}; check the endpoint, its port and the network")]
    Unreachable {
        /// Which.
        place: Arc<Place>,
        /// What happened.
        #[source]
        source: Box<CallError>,
    },
    /// The server's certificate is signed by nobody that is trusted, or does not fit.
    #[error("the certificate of {place} is not trusted; name a file with the signer's certificate as `ca`")]
    Untrusted {
        /// Which.
        place: Arc<Place>,
        /// What happened.
        #[source]
        source: Box<CallError>,
    },
    /// The bucket lies in another region, or behind another endpoint.
    #[error("{place} is served elsewhere{}; set `region` and `endpoint` to those of the bucket", expected.as_ref().map(|region| format!(" (region {region})")).unwrap_or_default())]
    Elsewhere {
        /// Which.
        place: Arc<Place>,
        /// The region that the server named.
        expected: Option<String>,
        /// The server's words.
        #[source]
        source: Box<CallError>,
    },
    /// The clocks are too far apart for signatures.
    #[error("the clock of this machine differs too much from that of {place}; set it right (NTP)")]
    ClockSkew {
        /// Which.
        place: Arc<Place>,
        /// The server's words.
        #[source]
        source: Box<CallError>,
    },
    /// It answers in a way that nobody expected.
    #[error("{place} cannot be used")]
    Unusable {
        /// Which.
        place: Arc<Place>,
        /// What happened.
        #[source]
        source: Box<CallError>,
    },
    /// It has an object under every name: a web page, not a store.
    #[error(
        "{place} answers, but not as an S3 server (a console, a proxy?); check the endpoint and its port"
    )]
    NotAStore {
        /// Which.
        place: Arc<Place>,
    },
    /// It holds something that is not ours.
    #[error(
        "{place} is not a registry's storage: it holds {found:?}; choose an empty bucket or another `path`"
    )]
    NotOurs {
        /// Which.
        place: Arc<Place>,
        /// One of the keys that do not belong there.
        found: String,
    },
    /// A newer program laid it out.
    #[error("{place} was written by a newer version (it holds {found:?}); use that version")]
    NewerFormat {
        /// Which.
        place: Arc<Place>,
        /// The key that says so.
        found: String,
    },
}

impl BackendError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            // A role is asked over the network, too.
            Self::Unreachable { .. } | Self::Unusable { .. } | Self::NoKeys { .. } => ErrorClass::Retry,
            Self::NoBucket { .. }
            | Self::WrongCredentials { .. }
            | Self::Denied { .. }
            | Self::Untrusted { .. }
            | Self::Elsewhere { .. }
            | Self::ClockSkew { .. } => ErrorClass::Stall,
            Self::Credentials(error) => error.class(),
            Self::Endpoint(_)
            | Self::Path(_)
            | Self::Ca { .. }
            | Self::Setup(_)
            | Self::NotAStore { .. }
            | Self::NotOurs { .. }
            | Self::NewerFormat { .. } => ErrorClass::Fatal,
        }
    }

    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Endpoint(_) => "EndpointInvalid",
            Self::Path(_) => "PathInvalid",
            Self::Ca { .. } => "CaUnreadable",
            Self::Setup(_) => "Setup",
            Self::Credentials(error) => error.label(),
            Self::NoKeys { .. } => "NoKeys",
            Self::NoBucket { .. } => "NoBucket",
            Self::WrongCredentials { .. } => "WrongCredentials",
            Self::Denied { .. } => "Denied",
            Self::Unreachable { .. } => "Unreachable",
            Self::Untrusted { .. } => "CertificateUntrusted",
            Self::Elsewhere { .. } => "WrongRegion",
            Self::ClockSkew { .. } => "ClockSkew",
            Self::Unusable { .. } => "BucketUnusable",
            Self::NotAStore { .. } => "NotAStore",
            Self::NotOurs { .. } => "NotOurs",
            Self::NewerFormat { .. } => "NewerFormat",
        }
    }
}

/// A bucket by two clients.
pub struct Bucket {
    control: Arc<dyn ObjectStore>,
    data: Arc<dyn ObjectStore>,
    place: Arc<Place>,
    waits: Waits,
    seen: Arc<Seen>,
}

impl Bucket {
    /// Sets up the clients. Files are read; the server is not asked yet: [`Bucket::inspect`] does that.
    ///
    /// # Errors
    /// When the settings, the CA file or the credentials cannot be used.
    pub fn new(settings: &S3Settings, waits: Waits) -> Result<Self, BackendError> {
        let endpoint = settings.endpoint.as_deref().map(endpoint).transpose()?;
        let path = Path::parse(settings.path.trim_matches('/'))
            .map_err(|_| BackendError::Path(settings.path.clone()))?;
        let place = Arc::new(Place {
            endpoint: endpoint.clone().unwrap_or_else(|| format!("AWS {}", settings.region)),
            bucket: settings.bucket.clone(),
            path: path.to_string(),
        });
        let seen = Arc::new(Seen::default());
        let plain = endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let roots = transport::roots(settings.ca.as_deref())?;
        let client = |connect, silence, whole| {
            let limits = transport::Limits { connect, silence, whole };
            Connector::new(&roots, plain, &limits, Arc::clone(&seen)).map_err(BackendError::Setup)
        };
        let data = client(waits.data_connect, Some(waits.data_silence), None)?;
        let control = client(waits.control_connect, None, Some(waits.control))?;
        let build = |connector, retries, credentials: Option<AwsCredentialProvider>| {
            build(settings, endpoint.as_deref(), connector, retries, credentials)
        };
        // Both clients use one source of credentials, so that a role is asked once.
        let keys = if let Some(keys) = credentials::provider(&settings.credentials)? {
            keys
        } else {
            let asking = build(data.clone(), DATA_RETRIES, None)?;
            Arc::new(RoleKeys(Arc::clone(asking.credentials())))
        };
        let data = build(data, DATA_RETRIES, Some(Arc::clone(&keys)))?;
        let control = build(control, 0, Some(keys))?;
        let (control, data) = (below(control, &path), below(data, &path));
        Ok(Self { control, data, place, waits, seen })
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The server's own name for itself, from the last answer that had one.
    pub fn server(&self) -> Option<String> {
        self.seen.server()
    }

    /// The two ways to it.
    pub(super) fn calls(&self, clock: Clock) -> Calls {
        Calls::split(Arc::clone(&self.control), Arc::clone(&self.data), self.waits.control, clock)
    }
}

/// Scheme, host and port, with a path where a server stands below one.
fn endpoint(text: &str) -> Result<String, BackendError> {
    let invalid = || BackendError::Endpoint(text.to_owned());
    let url = reqwest::Url::parse(text).map_err(|_| invalid())?;
    let bare = url.username().is_empty() && url.password().is_none();
    let usable = matches!(url.scheme(), "http" | "https") && url.has_host() && bare;
    if !usable || url.query().is_some() || url.fragment().is_some() {
        return Err(invalid());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn build(
    settings: &S3Settings,
    endpoint: Option<&str>,
    connector: Connector,
    max_retries: usize,
    credentials: Option<AwsCredentialProvider>,
) -> Result<AmazonS3, BackendError> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&settings.bucket)
        .with_region(&settings.region)
        .with_virtual_hosted_style_request(!settings.path_style)
        .with_http_connector(connector)
        .with_retry(RetryConfig { max_retries, retry_timeout: RETRY_TIME, ..RetryConfig::default() })
        // One DELETE for each object: some servers refuse the bulk form.
        .with_disable_bulk_delete(true);
    match endpoint {
        Some(endpoint) if settings.path_style => builder = builder.with_endpoint(endpoint),
        // The crate takes such an endpoint for one that holds the bucket already.
        Some(endpoint) => {
            let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", endpoint));
            builder = builder.with_endpoint(format!("{scheme}://{}.{rest}", settings.bucket));
        }
        None => {}
    }
    if let Some(credentials) = credentials {
        builder = builder.with_credentials(credentials);
    }
    builder.build().map_err(|error| BackendError::Setup(error.into()))
}

fn below(store: AmazonS3, path: &Path) -> Arc<dyn ObjectStore> {
    if path.as_ref().is_empty() { Arc::new(store) } else { Arc::new(PrefixStore::new(store, path.clone())) }
}
