//! TLS of the server: certificate and key from PEM files, read again when they change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::model::ErrorClass;

/// How often the files are looked at, at most.
const LOOK: Duration = Duration::from_secs(10);

/// The largest file that is read.
const LARGEST: u64 = 1024 * 1024;

/// Certificate or key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read the TLS {what} {}", path.display())]
    Read {
        /// Certificate or key.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no PEM.
    #[error("the TLS {what} {} is not valid PEM; write it as text that begins with -----BEGIN", path.display())]
    Pem {
        /// Certificate or key.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// There is no certificate in the file.
    #[error("{} holds no certificate; write the server's certificate first, then those that signed it", .0.display())]
    NoCertificate(PathBuf),
    /// There is no key in the file.
    #[error("{} holds no private key; write one in PKCS#8, PKCS#1 or SEC1 form", .0.display())]
    NoKey(PathBuf),
    /// The key is there, but encrypted.
    #[error("the private key in {} is encrypted, and nobody is asked for a password here; decrypt it with `openssl pkey`", .0.display())]
    EncryptedKey(PathBuf),
    /// They do not belong together, or are of a kind that is not known.
    #[error("the certificate {} cannot be used with the key {}", certificate.display(), key.display())]
    Unusable {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

impl TlsError {
    /// What the error asks for: somebody to change a file.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Fatal
    }

    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Read { .. } => "TlsFileUnreadable",
            Self::Pem { .. } => "TlsFileNotPem",
            Self::NoCertificate(_) => "TlsNoCertificate",
            Self::NoKey(_) => "TlsNoKey",
            Self::EncryptedKey(_) => "TlsKeyEncrypted",
            Self::Unusable { .. } => "TlsUnusable",
        }
    }
}

/// Certificate and key of a server.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: Mutex<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    /// What the files looked like before they were read.
    stamp: [Option<Stamp>; 2],
    /// When they were last looked at.
    looked: Duration,
}

/// What changes with a file's content.
type Stamp = (SystemTime, u64);

impl Tls {
    /// Reads the certificate with those that signed it, the server's own first, and its key. Blocks.
    ///
    /// # Errors
    /// [`TlsError`], which names the file and what to do.
    pub fn load(certificate: &Path, key: &Path, clock: &Clock) -> Result<Self, TlsError> {
        let stamp = [stamp(certificate), stamp(key)];
        let config = Arc::new(read(certificate, key)?);
        let current = Mutex::new(Current { config, stamp, looked: clock.boot() });
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), current })
    }

    /// The server's side of a handshake.
    pub(super) async fn accept<S>(self: &Arc<Self>, stream: S, clock: &Clock) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.is_due(clock.boot()) {
            let tls = Arc::clone(self);
            // Should it fail, the last certificate is still there.
            let _ = tokio::task::spawn_blocking(move || tls.look()).await;
        }
        let config = Arc::clone(&self.current().config);
        TlsAcceptor::from(config).accept(stream).await
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to look; true for one caller only.
    fn is_due(&self, now: Duration) -> bool {
        let mut current = self.current();
        let due = now.saturating_sub(current.looked) >= LOOK;
        if due {
            current.looked = now;
        }
        due
    }

    /// Reads the files again when they have changed. While they cannot be used, the last ones stay.
    fn look(&self) {
        let stamp = [stamp(&self.certificate), stamp(&self.key)];
        if self.current().stamp == stamp {
            return;
        }
        let new = read(&self.certificate, &self.key);
        let mut current = self.current();
        current.stamp = stamp;
        match new {
            Ok(config) => {
                current.config = Arc::new(config);
                info!(certificate = %self.certificate.display(), "the new TLS certificate is in use");
            }
            Err(error) => {
                let message = crate::telemetry::chain(&error);
                warn!(label = error.label(), message, "the last TLS certificate stays in use");
            }
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read(certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let (chain, private) = (chain(certificate)?, private(key)?);
    let unusable = |source| {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        TlsError::Unusable { certificate, key, source }
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    const WHAT: &str = "certificate";
    let bytes = bytes(WHAT, path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let chain = chain.map_err(|source| TlsError::Pem { what: WHAT, path: path.to_owned(), source })?;
    if chain.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(chain) }
}

fn private(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    const WHAT: &str = "key";
    const ENCRYPTED: &[u8] = b"ENCRYPTED";
    let bytes = bytes(WHAT, path)?;
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Ok(key),
        Err(_) if bytes.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) => {
            Err(TlsError::EncryptedKey(path.to_owned()))
        }
        Err(pem::Error::NoItemsFound) => Err(TlsError::NoKey(path.to_owned())),
        Err(source) => Err(TlsError::Pem { what: WHAT, path: path.to_owned(), source }),
    }
}

fn bytes(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read { what, path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > LARGEST {
        return Err(failed(io::Error::other("it is larger than 1 MiB, so that it cannot be the right file")));
    }
    std::fs::read(path).map_err(failed)
}

#[cfg(test)]
pub(super) mod tests;
