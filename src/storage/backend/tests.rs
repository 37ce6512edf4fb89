//! What is said of a bucket that is not as it should be, with the real client against answers written here;
//! and, where `DCOS_REGISTRY_TEST_S3` names a server, what works on one that is.

use bytes::Bytes;
use object_store::memory::InMemory;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::config::{S3Credentials, S3Keys};
use crate::model::Secret;
use crate::workers::Workers;

pub(in crate::storage) fn settings(endpoint: &str) -> S3Settings {
    S3Settings {
        bucket: "packages".into(),
        path: "registry/a".into(),
        endpoint: Some(endpoint.to_owned()),
        region: "us-east-1".into(),
        path_style: true,
        credentials: S3Credentials::Static(S3Keys {
            id: "test".into(),
            secret: Secret::new("testsecret"),
            token: None,
        }),
        allow_http: true,
        ca: None,
    }
}

/// A server that gives one answer to everything; an empty one is never given.
async fn server(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    Workers::new().spawn("server", async move {
        let mut kept = Vec::new();
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 16 * 1024];
            let _ = connection.read(&mut request).await;
            let _ = connection.write_all(answer.as_bytes()).await;
            if answer.is_empty() {
                kept.push(connection);
            }
        }
    });
    format!("http://{address}")
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nserver: scripted/1\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

async fn inspected(endpoint: &str) -> Result<bool, BackendError> {
    Bucket::new(&settings(endpoint), Waits::default()).unwrap().inspect(&Clock::system()).await
}

#[tokio::test]
async fn each_refusal_of_a_server_is_told_from_the_others() {
    let coded = |code: &str| {
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Region>eu-west-1</Region></Error>")
    };
    for (status, body, label) in [
        ("404 Not Found", coded("NoSuchBucket"), "NoBucket"),
        ("404 Not Found", String::new(), "NoBucket"),
        ("403 Forbidden", coded("InvalidAccessKeyId"), "WrongCredentials"),
        ("403 Forbidden", coded("SignatureDoesNotMatch"), "WrongCredentials"),
        ("400 Bad Request", coded("ExpiredToken"), "WrongCredentials"),
        ("401 Unauthorized", String::new(), "WrongCredentials"),
        ("403 Forbidden", coded("AccessDenied"), "Denied"),
        ("403 Forbidden", coded("RequestTimeTooSkewed"), "ClockSkew"),
        ("400 Bad Request", coded("AuthorizationHeaderMalformed"), "WrongRegion"),
        ("301 Moved Permanently", coded("PermanentRedirect"), "WrongRegion"),
        ("307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/", String::new(), "WrongRegion"),
        ("500 Internal Server Error", coded("InternalError"), "BucketUnusable"),
        ("200 OK", "<html>a web server</html>".into(), "NotAStore"),
    ] {
        let endpoint = server(answer(status, &body)).await;
        let error = inspected(&endpoint).await.unwrap_err();
        assert_eq!(error.label(), label, "{status} {body}: {error:?}");
        assert!(error.to_string().contains("bucket \"packages\" at http://127.0.0.1:"), "{error}");
        if body.contains("Malformed") {
            assert!(error.to_string().contains("(region eu-west-1)"), "{error}");
        }
    }
}

/// A machine without a role.
#[derive(Debug)]
struct NoMetadata;

#[async_trait::async_trait]
impl object_store::CredentialProvider for NoMetadata {
    type Credential = object_store::aws::AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<Self::Credential>> {
        // As a proxy in the way answers; it says nothing about the bucket.
        let source = "Server returned non-2xx status code: 403 Forbidden".into();
        Err(object_store::Error::Generic { store: "S3", source })
    }
}

#[tokio::test]
async fn a_machine_without_keys_and_role_is_told_from_a_refusal() {
    let endpoint = server(answer("200 OK", "")).await;
    let mut bucket = Bucket::new(&settings(&endpoint), Waits::default()).unwrap();
    let limits = transport::Limits { connect: Duration::from_secs(1), silence: None, whole: None };
    let connector =
        Connector::new(&transport::roots(None).unwrap(), true, &limits, Arc::clone(&bucket.seen)).unwrap();
    let keys: AwsCredentialProvider = Arc::new(RoleKeys(Arc::new(NoMetadata)));
    bucket.data = Arc::new(build(&settings(&endpoint), Some(&endpoint), connector, 0, Some(keys)).unwrap());
    bucket.control = Arc::clone(&bucket.data);
    let error = bucket.inspect(&Clock::system()).await.unwrap_err();
    assert_eq!(error.label(), "NoKeys", "{error:?}");
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = inspected(&format!("http://{gone}")).await.unwrap_err();
    assert_eq!(error.label(), "Unreachable", "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_not_waited_for_without_end() {
    let error = inspected(&server(String::new()).await).await.unwrap_err();
    assert_eq!(error.label(), "Unreachable", "{error:?}");
}

#[tokio::test]
async fn the_server_s_name_for_itself_is_remembered() {
    let endpoint = server(answer("500 Oops", "")).await;
    let bucket = Bucket::new(&settings(&endpoint), Waits::default()).unwrap();
    assert_eq!(bucket.server(), None);
    assert!(bucket.inspect(&Clock::system()).await.is_err());
    assert_eq!(bucket.server().as_deref(), Some("scripted/1"));
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let label = |change: &dyn Fn(&mut S3Settings)| {
        let mut settings = settings("https://s3.example.com");
        change(&mut settings);
        Bucket::new(&settings, Waits::default()).map_or_else(|error| error.label(), |_| "fine")
    };
    for bad in ["", "s3.example.com", "ftp://x", "https://", "https://u:p@x", "http://x/?a", "localhost:9000"]
    {
        assert_eq!(label(&|settings| settings.endpoint = Some(bad.into())), "EndpointInvalid", "{bad}");
    }
    assert_eq!(label(&|settings| settings.path = "a//b".into()), "PathInvalid");
    assert_eq!(label(&|settings| settings.path = "/a/b/".into()), "fine");
    assert_eq!(label(&|settings| settings.path_style = false), "fine");
    assert_eq!(label(&|settings| settings.endpoint = None), "fine");
    assert_eq!(label(&|settings| settings.ca = Some("/nowhere.pem".into())), "CaUnreadable");
    assert_eq!(label(&|settings| settings.ca = Some("/dev/null".into())), "CaUnreadable");
    let missing = S3Credentials::File { path: "/nowhere".into(), profile: "default".into() };
    assert_eq!(label(&|settings| settings.credentials = missing.clone()), "CredentialsUnreadable");
}

#[tokio::test]
async fn a_bucket_with_something_else_in_it_is_refused() {
    let place = Arc::new(Place { endpoint: "x".into(), bucket: "b".into(), path: String::new() });
    let look = async |keys: &[&str]| {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let calls = Calls::split(Arc::clone(&store), store, Duration::from_secs(5), Clock::system());
        for key in keys {
            calls.overwrite(&Path::from(*key), Bytes::new()).await.unwrap();
        }
        super::diagnose::look(&calls, &place).await.map_err(|error| error.label())
    };
    let marker = "v1/catalog/log/00000000000000000000";
    assert_eq!(look(&[]).await, Ok(false));
    assert_eq!(look(&["v1/probe/x/1", "v1/blobs/sha256/aa/x"]).await, Ok(false));
    assert_eq!(look(&[marker, "index.html", "zoo"]).await, Ok(true));
    assert_eq!(look(&[marker, "v2/catalog/log/00000000000000000000"]).await, Err("NewerFormat"));
    assert_eq!(look(&["v10/x"]).await, Err("NewerFormat"));
    for foreign in ["index.html", "a/v1/x", "v1/other/x", "v1/catalogs/x", "zoo", "v1x"] {
        assert_eq!(look(&[foreign]).await, Err("NotOurs"), "{foreign}");
        assert_eq!(look(&["v1/blobs/x", foreign]).await, Err("NotOurs"), "{foreign}");
    }
    let many: Vec<_> = (0..1200).map(|n| format!("v1/blobs/{n}")).collect();
    let mut many: Vec<_> = many.iter().map(String::as_str).collect();
    many.push("web/index.html");
    assert_eq!(look(&many).await, Err("NotOurs"), "what stands behind is looked at too");
}

/// A server to try everything on: `{"endpoint", "bucket", "accessKey", "secretKey"}`, the bucket being there, and
/// `ca`, a file, where it speaks TLS with a certificate that nobody knows.
/// Each test works below a path of its own.
pub(in crate::storage) fn real(name: &str) -> Option<S3Settings> {
    let text = crate::config::environment("DCOS_REGISTRY_TEST_S3")?;
    let given: serde_json::Value = serde_json::from_str(&text).unwrap();
    let word = |name: &str| given[name].as_str().unwrap().to_owned();
    Some(S3Settings {
        bucket: word("bucket"),
        path: format!("{name}-{}", crate::clock::Entropy::system().nonce()),
        credentials: S3Credentials::Static(S3Keys {
            id: word("accessKey"),
            secret: Secret::new(word("secretKey")),
            token: None,
        }),
        ca: given["ca"].as_str().map(PathBuf::from),
        ..settings(&word("endpoint"))
    })
}

#[tokio::test]
async fn a_real_server_is_inspected_and_used() {
    let Some(settings) = real("backend") else { return };
    let clock = Clock::system();
    let bucket = Bucket::new(&settings, Waits::default()).unwrap();
    assert!(!bucket.inspect(&clock).await.unwrap());
    let calls = bucket.calls(clock.clone());
    let key = |n: usize| Path::from(format!("v1/probe/x/{n:03}"));
    for n in 0..20 {
        calls.create(&key(n), Bytes::from(vec![1; n])).await.unwrap();
    }
    assert!(calls.create(&key(3), Bytes::new()).await.is_err());
    calls.overwrite(&key(3), Bytes::from_static(b"abcd")).await.unwrap();
    assert_eq!(calls.read_small(&key(3), 10).await.unwrap().unwrap(), "abcd");
    let page = calls.page(&Path::from("v1"), Some(&key(9)), 5).await.unwrap();
    assert_eq!(page.iter().map(|listed| listed.size).collect::<Vec<_>>(), [10, 11, 12, 13, 14]);
    assert_eq!(calls.head(&key(12)).await.unwrap().unwrap(), page[2]);
    for n in 0..20 {
        calls.delete(&key(n)).await.unwrap();
        calls.delete(&key(n)).await.unwrap();
    }
    assert!(calls.page(&Path::default(), None, 10).await.unwrap().is_empty());
    assert!(bucket.server().is_some());
    if settings.ca.is_some() {
        let strange = S3Settings { ca: None, ..real("backend").unwrap() };
        let error = Bucket::new(&strange, Waits::default()).unwrap().inspect(&clock).await.unwrap_err();
        assert_eq!(error.label(), "CertificateUntrusted", "{error:?}");
    }
    let nowhere = S3Settings { bucket: "no-such-bucket-here".into(), ..settings };
    let error = Bucket::new(&nowhere, Waits::default()).unwrap().inspect(&clock).await.unwrap_err();
    assert_eq!(error.label(), "NoBucket");
}
