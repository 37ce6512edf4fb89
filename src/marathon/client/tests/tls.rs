//! Certificates, made for each test: whom the client believes, and what it says where it does not.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::serve::Listener;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;

/// Far more than any of it takes.
const PATIENCE: Duration = Duration::from_secs(60);

const APP: &str = r#"{"app": {"id": "/g/a"}}"#;

/// Who signs certificates of a cluster.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        Self::called("CA of the cluster")
    }

    fn called(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its certificate as a file.
    fn file(&self) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let body = data_encoding::BASE64.encode(self.0.der());
        std::fs::write(&path, format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"))
            .unwrap();
        (folder, path)
    }

    /// A server's end of TLS, with a certificate for that name or address.
    fn acceptor(&self, params: &CertificateParams) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).unwrap()))
    }
}

fn named(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

/// Connections whose handshake went well.
struct TlsListener(TcpListener, TlsAcceptor);

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, peer) = self.0.accept().await.unwrap();
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

impl Script {
    /// Serves at a free port of an address of this machine, whose base URL it returns.
    async fn serve_tls(&self, address: &str, acceptor: TlsAcceptor) -> String {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let base = format!("https://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(scripted).with_state(self.clone());
        let served = async { axum::serve(TlsListener(listener, acceptor), router).await.unwrap() };
        self.workers.spawn("scripted-marathon", served);
        base
    }
}

fn trusting(urls: &[&str], ca: PathBuf, auth: MarathonAuth) -> Client {
    let settings = MarathonSettings {
        urls: urls.iter().map(ToString::to_string).collect(),
        admin_router: None,
        ca: Some(ca),
        auth,
    };
    // Handshakes of a busy machine take long.
    let timeouts = Timeouts { connect: PATIENCE, read: PATIENCE, write: PATIENCE, ..Timeouts::default() };
    Client::connect(&settings, timeouts, (Clock::system(), Entropy::seeded(1)), Metrics::new().unwrap())
        .unwrap()
}

#[tokio::test]
async fn the_ca_of_the_cluster_is_trusted_and_another_is_not() {
    install_tls_provider();
    let ours = Authority::new();
    let script = Script::default().answer(200, APP);
    let base = script.serve_tls("127.0.0.1", ours.acceptor(&named("127.0.0.1"))).await;
    let (_kept, ca) = ours.file();
    assert!(trusting(&[&base], ca, MarathonAuth::None).app(&id()).await.unwrap().is_some());

    let place = base.strip_prefix("https://").unwrap();
    // Another one, and one that was made anew under the same name.
    for other in [Authority::called("CA of others"), Authority::new()] {
        let (_kept, ca) = other.file();
        let client = trusting(&[&base], ca, MarathonAuth::None);
        let error = client.replace(&id(), &app(), false).await.unwrap_err();
        let told = (error.label(), error.class(), error.may_have_been_applied());
        assert_eq!(told, ("Certificate", ErrorClass::Retry, false), "{error:?}");
        assert!(error.to_string().contains(place) && error.to_string().contains("marathon.ca"), "{error}");
    }
    assert_eq!(script.asked().len(), 1, "a stranger was told something");
}

#[tokio::test]
async fn a_certificate_of_another_host_or_time_is_not_taken() {
    install_tls_provider();
    let authority = Authority::new();
    let (_kept, ca) = authority.file();
    let mut expired = named("127.0.0.1");
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    for (params, parts) in [
        (named("master.mesos"), ["to master.mesos;", "marathon.url"]),
        (named("127.0.0.2"), ["to 127.0.0.2;", "marathon.url"]),
        (expired, ["not valid at this time", "renew"]),
    ] {
        let script = Script::default();
        let base = script.serve_tls("127.0.0.1", authority.acceptor(&params)).await;
        let error = trusting(&[&base], ca.clone(), MarathonAuth::None).app(&id()).await.unwrap_err();
        assert_eq!(error.label(), "Certificate", "{error:?}");
        let place = base.strip_prefix("https://").unwrap();
        let text = error.to_string();
        assert!([place, parts[0], parts[1]].iter().all(|part| text.contains(part)), "{text}");
        assert_eq!(script.asked().len(), 0);
    }
}

#[tokio::test]
async fn a_member_that_cannot_be_trusted_is_passed_over() {
    install_tls_provider();
    let authority = Authority::new();
    let (_kept, ca) = authority.file();
    let (bad, good) = (Script::default(), Script::default().answer(200, RESULT));
    let urls = [
        bad.serve_tls("127.0.0.1", Authority::new().acceptor(&named("127.0.0.1"))).await,
        good.serve_tls("127.0.0.2", authority.acceptor(&named("127.0.0.2"))).await,
    ];
    let client = trusting(&[&urls[0], &urls[1]], ca, MarathonAuth::None);
    assert_eq!(client.replace(&id(), &app(), false).await.unwrap(), written());
    assert_eq!((bad.asked().len(), good.asked().len()), (0, 1));
}

#[tokio::test]
async fn a_redirect_within_the_cluster_keeps_who_we_are_over_tls() {
    install_tls_provider();
    let authority = Authority::new();
    let (_kept, ca) = authority.file();
    let leader = Script::default().answer(200, RESULT);
    let place = leader.serve_tls("127.0.0.2", authority.acceptor(&named("127.0.0.2"))).await;
    let location = format!("{place}/v2/apps/g/a");
    let named_leader = format!(r#"{{"leader": "{}"}}"#, place.strip_prefix("https://").unwrap());
    let standby =
        Script::default().answer_with(307, "", &[("location", &location)]).answer(200, &named_leader);
    let base = standby.serve_tls("127.0.0.1", authority.acceptor(&named("127.0.0.1"))).await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "t1").unwrap();
    let client = trusting(&[&base], ca.clone(), MarathonAuth::Token(token.clone()));
    assert_eq!(client.replace(&id(), &app(), false).await.unwrap(), written());
    assert_eq!(standby.lines()[1], "GET /v2/leader");
    assert_eq!(leader.shown(), ["token=t1"]);

    // Who is called leader and shows another's certificate learns nothing.
    let thief = Script::default();
    let place = thief.serve_tls("127.0.0.2", authority.acceptor(&named("127.0.0.3"))).await;
    let location = format!("{place}/v2/apps/g/a");
    let named_leader = format!(r#"{{"leader": "{}"}}"#, place.strip_prefix("https://").unwrap());
    let standby =
        Script::default().answer_with(307, "", &[("location", &location)]).answer(200, &named_leader);
    let base = standby.serve_tls("127.0.0.1", authority.acceptor(&named("127.0.0.1"))).await;
    let client = trusting(&[&base], ca, MarathonAuth::Token(token));
    let error = client.replace(&id(), &app(), false).await.unwrap_err();
    assert_eq!((error.label(), thief.shown()), ("Certificate", Vec::new()), "{error}");
}

/// The login is a call of its own, to a server of its own.
#[tokio::test]
async fn a_login_says_what_is_wrong_with_a_certificate() {
    install_tls_provider();
    let base = Script::default().serve_tls("127.0.0.1", Authority::new().acceptor(&named("127.0.0.1"))).await;
    let (_kept, ca) = Authority::new().file();
    let (_folder, account) = login::account(&base);
    let client = trusting(&[&base], ca, MarathonAuth::ServiceAccount(account));
    let error = client.apps().await.unwrap_err();
    assert_eq!(error.label(), "LoginCertificate", "{error:?}");
    assert!(crate::telemetry::chain(&error).contains("marathon.ca"), "{error:?}");
}
