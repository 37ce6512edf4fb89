//! Certificates that are made for each test: none lies in the repository, none expires.

use super::*;

/// A certificate for 127.0.0.1 with its key.
pub(in crate::http) struct Made {
    pub folder: tempfile::TempDir,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

pub(in crate::http) fn made() -> Made {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    make(&certificate, &key);
    Made { folder, certificate, key }
}

fn make(certificate: &Path, key: &Path) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let pem = |of: &str, der: &[u8]| {
        let body = data_encoding::BASE64.encode(der);
        format!("-----BEGIN {of}-----\n{body}\n-----END {of}-----\n")
    };
    std::fs::write(certificate, pem("CERTIFICATE", made.cert.der())).unwrap();
    std::fs::write(key, pem("PRIVATE KEY", &made.signing_key.serialize_der())).unwrap();
}

fn error(certificate: &Path, key: &Path) -> TlsError {
    Tls::load(certificate, key, &Clock::fixed(0)).err().unwrap()
}

#[test]
fn what_is_wrong_is_said_with_the_file() {
    let made = made();
    let Made { folder, certificate, key } = &made;
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name)
    };
    let absent = folder.path().join("absent.pem");
    let text = file("text.pem", "hello");
    let cut = file("cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    let locked = file(
        "locked.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let garbage = file("garbage.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let large = folder.path().join("large.pem");
    std::fs::File::create(&large).unwrap().set_len(LARGEST + 1).unwrap();
    let (other_certificate, other_key) = (folder.path().join("oc.pem"), folder.path().join("ok.pem"));
    make(&other_certificate, &other_key);
    for (certificate, key, label, named) in [
        (&absent, key, "TlsFileUnreadable", "absent.pem"),
        (certificate, &absent, "TlsFileUnreadable", "absent.pem"),
        (&large, key, "TlsFileUnreadable", "large.pem"),
        (&text, key, "TlsNoCertificate", "text.pem"),
        (key, key, "TlsNoCertificate", "key.pem"),
        (&cut, key, "TlsFileNotPem", "cut.pem"),
        (certificate, &text, "TlsNoKey", "text.pem"),
        (certificate, certificate, "TlsNoKey", "cert.pem"),
        (certificate, &locked, "TlsKeyEncrypted", "locked.pem"),
        (&garbage, key, "TlsUnusable", "garbage.pem"),
        (certificate, &other_key, "TlsUnusable", "ok.pem"),
    ] {
        let error = error(certificate, key);
        assert_eq!(error.label(), label, "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
    assert!(Tls::load(certificate, key, &Clock::fixed(0)).is_ok());
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_a_broken_one_is_not() {
    let made = made();
    let clock = Clock::fixed(0);
    let tls = Arc::new(Tls::load(&made.certificate, &made.key, &clock).unwrap());
    let first = Arc::clone(&tls.current().config);
    // Nobody shakes hands here; that somebody came is what makes it look.
    let look = async |clock: &Clock| {
        let _ = tls.accept(tokio::io::empty(), clock).await;
        Arc::clone(&tls.current().config)
    };
    clock.advance(LOOK);
    assert!(Arc::ptr_eq(&first, &look(&clock).await), "nothing changed");
    std::fs::write(&made.certificate, "broken").unwrap();
    clock.advance(LOOK);
    assert!(Arc::ptr_eq(&first, &look(&clock).await), "the last one stays");
    make(&made.certificate, &made.key);
    assert!(Arc::ptr_eq(&first, &look(&clock).await), "not that often");
    clock.advance(LOOK);
    assert!(!Arc::ptr_eq(&first, &look(&clock).await), "the new one is there");
}
