//! Passwords, tokens and service accounts, and that none of them is seen.

use data_encoding::{BASE64, BASE64URL_NOPAD};
use tempfile::TempDir;

use super::*;
use crate::marathon::client::auth::KEY;
use crate::telemetry::chain;

const APP: &str = r#"{"app": {"id": "/g/a"}}"#;
const REFUSED: &str = r#"{"message": "Unauthorized"}"#;

fn written_file(name: &str, text: &str) -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

/// A token that says when it ends, in seconds from now.
fn token(name: &str, seconds: i64) -> String {
    let expires = Clock::system().wall().as_second() + seconds;
    let part = |text: String| BASE64URL_NOPAD.encode(text.as_bytes());
    format!("{}.{}.{name}", part("{}".into()), part(format!("{{\"exp\": {expires}}}")))
}

/// The file of a service account that logs in at that server.
pub(super) fn account(server: &str) -> (TempDir, std::path::PathBuf) {
    let endpoint = format!("{server}/acs/api/v1/auth/login");
    let account =
        json!({"uid": "registry", "private_key": KEY, "login_endpoint": endpoint, "scheme": "RS256"});
    written_file("account", &account.to_string())
}

/// A service account that logs in at a scripted IAM.
struct Rig {
    iam: Script,
    marathon: Script,
    client: Client,
    clock: Clock,
    _folder: TempDir,
}

impl Rig {
    async fn new(iam: Script, marathon: Script) -> Self {
        let (folder, path) = account(&iam.serve().await);
        let urls = vec![marathon.serve().await];
        let settings =
            MarathonSettings { urls, admin_router: None, ca: None, auth: MarathonAuth::ServiceAccount(path) };
        let now = Clock::system().wall().as_millisecond();
        let clock = Clock::fixed(now.try_into().unwrap());
        let timeouts = Timeouts { write: Duration::from_secs(5), ..Timeouts::default() };
        let parts = (clock.clone(), Entropy::seeded(1));
        let client = Client::connect(&settings, timeouts, parts, Metrics::new().unwrap()).unwrap();
        Self { iam, marathon, client, clock, _folder: folder }
    }

    async fn ask(&self) -> Result<Option<App>, MarathonError> {
        self.client.app(&id()).await
    }
}

fn granted(script: Script, token: &str) -> Script {
    script.answer(200, &json!({"token": token}).to_string())
}

fn apps(number: usize) -> Script {
    (0..number).fold(Script::default(), |script, _| script.answer(200, APP))
}

#[tokio::test]
async fn a_user_shows_a_password_that_may_change() {
    let (_folder, path) = written_file("password", "opensesame\n");
    let auth = MarathonAuth::Basic { user: "registry".into(), password: path.clone() };
    let script = apps(1).answer(401, REFUSED).answer(200, APP).answer(401, REFUSED);
    let client = client_of(&[&script.serve().await], auth);
    client.app(&id()).await.unwrap();
    std::fs::write(&path, "changed").unwrap();
    assert_eq!(client.app(&id()).await.unwrap_err().label(), "Unauthorized");
    client.app(&id()).await.unwrap();
    let header =
        |password: &str| format!("Basic {}", BASE64.encode(format!("registry:{password}").as_bytes()));
    // What was refused is not shown again where the file says nothing newer.
    assert_eq!(script.shown(), [header("opensesame"), header("changed"), header("changed")]);
}

#[tokio::test]
async fn a_token_comes_from_its_file_as_it_is_now() {
    let (_folder, path) = written_file("token", "aaa.bbb.one\n");
    let script = apps(3);
    let client = client_of(&[&script.serve().await], MarathonAuth::Token(path.clone()));
    client.app(&id()).await.unwrap();
    std::fs::write(&path, "aaa.bbb.two\n").unwrap();
    client.app(&id()).await.unwrap();
    assert_eq!(script.shown(), ["token=aaa.bbb.one", "token=aaa.bbb.two"]);
    for (bad, label) in [("", "CredentialsNotSecret"), ("two words", "CredentialsNotToken")] {
        std::fs::write(&path, bad).unwrap();
        assert_eq!(client.app(&id()).await.unwrap_err().label(), label, "{bad:?}");
    }
    std::fs::remove_file(&path).unwrap();
    let error = client.app(&id()).await.unwrap_err();
    assert_eq!((error.label(), error.class()), ("CredentialsRead", ErrorClass::Retry));
    assert_eq!(script.asked().len(), 2);
}

#[tokio::test]
async fn an_account_logs_in_once_for_all_who_ask() {
    let first = token("one", 1000);
    let rig = Rig::new(granted(Script::default(), &first), apps(8)).await;
    let all = futures::future::join_all((0..8).map(|_| rig.ask())).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(rig.marathon.shown(), vec![format!("token={first}"); 8]);
    let asked = rig.iam.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        (asked[0].0.as_str(), &asked[0].1["uid"]),
        ("POST /acs/api/v1/auth/login", &json!("registry"))
    );
    let login = asked[0].1["token"].as_str().unwrap();
    let claims = BASE64URL_NOPAD.decode(login.split('.').nth(1).unwrap().as_bytes()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let life = claims["exp"].as_i64().unwrap() - rig.clock.wall().as_second();
    assert_eq!((claims["uid"].as_str(), life), (Some("registry"), 300));
    assert_eq!(rig.iam.shown(), [""]);
}

#[tokio::test]
async fn a_token_is_renewed_at_four_fifths_of_its_life() {
    let (first, second) = (token("one", 1000), token("two", 2000));
    let iam = granted(granted(Script::default(), &first).answer(503, "<html>busy</html>"), &second);
    let rig = Rig::new(iam, apps(5)).await;
    rig.ask().await.unwrap();
    rig.clock.advance(Duration::from_secs(795));
    rig.ask().await.unwrap();
    assert_eq!(rig.iam.asked().len(), 1);
    rig.clock.advance(Duration::from_secs(10));
    // The IAM is away; the old token still serves, and it is not asked again at once.
    rig.ask().await.unwrap();
    rig.ask().await.unwrap();
    assert_eq!(rig.iam.asked().len(), 2);
    rig.clock.advance(Duration::from_secs(31));
    rig.ask().await.unwrap();
    let shown: Vec<_> =
        [&first, &first, &first, &first, &second].map(|token| format!("token={token}")).into();
    assert_eq!(rig.marathon.shown(), shown);
}

#[tokio::test]
async fn a_token_that_ended_is_not_shown_any_more() {
    let rig = Rig::new(granted(Script::default(), &token("one", 1000)).answer(503, ""), apps(2)).await;
    rig.ask().await.unwrap();
    rig.clock.advance(Duration::from_secs(1001));
    let error = rig.ask().await.unwrap_err();
    assert_eq!((error.label(), error.class()), ("LoginUnavailable", ErrorClass::Retry));
    assert_eq!(rig.marathon.asked().len(), 1);
}

#[tokio::test]
async fn after_a_401_there_is_one_login_and_one_more_try_also_of_a_write() {
    let (first, second) = (token("one", 1000), token("two", 1000));
    let iam = granted(granted(Script::default(), &first), &second);
    let rig = Rig::new(iam, Script::default().answer(401, REFUSED).answer(200, RESULT)).await;
    assert_eq!(rig.client.replace(&id(), &app(), false).await.unwrap(), written());
    assert_eq!(rig.marathon.shown(), [format!("token={first}"), format!("token={second}")]);

    let iam = granted(granted(Script::default(), &first), &second);
    let rig = Rig::new(iam, Script::default().answer(401, REFUSED).answer(401, REFUSED)).await;
    let error = rig.ask().await.unwrap_err();
    assert_eq!((error.label(), error.class()), ("Unauthorized", ErrorClass::Retry));
    assert_eq!((rig.marathon.asked().len(), rig.iam.asked().len()), (2, 2));
}

#[tokio::test]
async fn a_refused_login_is_shared_by_those_who_wait_and_told_without_secrets() {
    let body =
        r#"{"title": "Unauthorized", "description": "uid registry is unknown", "code": "ERR_UNKNOWN"}"#;
    let rig = Rig::new(Script::default().answer(401, body), Script::default()).await;
    let all = futures::future::join_all((0..8).map(|_| rig.ask())).await;
    for result in all {
        let error = result.unwrap_err();
        assert_eq!((error.label(), error.class()), ("LoginRefused", ErrorClass::Stall));
        let text = format!("{} {error:?}", chain(&error));
        assert!(text.contains("Unauthorized: uid registry is unknown"), "{text}");
    }
    assert_eq!((rig.iam.asked().len(), rig.marathon.asked().len()), (1, 0));
    let counted = rig.client.metrics.render();
    assert!(counted.contains("marathon_login_total{result=\"refused\"} 1"), "{counted}");
}

#[tokio::test]
async fn a_throttled_login_is_no_refusal_and_is_not_tried_all_the_time() {
    let wait = |script: Script, status: u16, after: &str| {
        script.answer_with(status, "{}", &[("retry-after", after)])
    };
    let iam = Script::default().answer(429, "slow down").answer(408, "").answer(503, "");
    let iam = granted(wait(wait(iam, 429, "20"), 429, "999999"), &token("one", 5000));
    let rig = Rig::new(iam, apps(1)).await;
    let mut pauses = Vec::new();
    for asked in 1..=5 {
        let mut seconds = 0;
        // However often it is asked, the IAM sees one login in the time.
        while rig.iam.asked().len() <= asked {
            let result = rig.ask().await;
            if asked == 5 && rig.iam.asked().len() == 6 {
                result.unwrap();
                break;
            }
            let error = result.unwrap_err();
            assert_eq!((error.label(), error.class()), ("LoginUnavailable", ErrorClass::Retry));
            if rig.iam.asked().len() == asked {
                rig.clock.advance(Duration::from_secs(1));
                seconds += 1;
            }
        }
        pauses.push(seconds);
    }
    assert!((1..=2).contains(&pauses[0]) && pauses[..4].is_sorted(), "{pauses:?}");
    assert_eq!(pauses[3..], [20, 300]);
    assert_eq!(rig.marathon.asked().len(), 1);
}

#[tokio::test]
async fn odd_answers_to_a_login_are_told() {
    let table = [
        (400, "{}", "LoginRefused"),
        (401, "{}", "LoginRefused"),
        (408, "", "LoginUnavailable"),
        (429, "{}", "LoginUnavailable"),
        (200, "{}", "LoginUnavailable"),
        (200, r#"{"token": "a\nb"}"#, "LoginUnavailable"),
        (200, "<html>", "LoginUnavailable"),
        (302, "", "LoginUnavailable"),
        (403, "<html>no</html>", "LoginRefused"),
        (500, "", "LoginUnavailable"),
    ];
    for (status, body, label) in table {
        let rig = Rig::new(Script::default().answer(status, body), Script::default()).await;
        assert_eq!(rig.ask().await.unwrap_err().label(), label, "{status} {body}");
    }
}

#[test]
fn bad_accounts_are_refused_at_the_start_and_not_quoted() {
    let account = |key: &str, scheme: &str, endpoint: &str| {
        json!({"uid": "u", "private_key": key, "scheme": scheme, "login_endpoint": endpoint}).to_string()
    };
    let table = [
        ("hunter2".to_owned(), "no JSON"),
        (r#"{"uid": "u", "private_key": 5}"#.to_owned(), "a member is missing or no text"),
        (account("hunter2", "RS256", "https://iam"), "no RSA key"),
        (account(KEY, "HS256", "https://iam"), "HS256"),
        (account(KEY, "RS256", "iam"), "login_endpoint is no URL"),
        (account(KEY, "RS256", "ftp://iam"), "login_endpoint is no http"),
    ];
    for (text, words) in table {
        let (_folder, path) = written_file("account", &text);
        let urls = vec!["https://m".into()];
        let settings =
            MarathonSettings { urls, admin_router: None, ca: None, auth: MarathonAuth::ServiceAccount(path) };
        let error = connect(&settings).map(drop).unwrap_err();
        let told = format!("{} {error:?}", chain(&error));
        assert_eq!((error.label(), error.class()), ("CredentialsNotAccount", ErrorClass::Stall), "{told}");
        assert!(told.contains(words), "{told}");
        assert!(!told.contains("hunter2") && !told.contains("BEGIN"), "{told}");
    }
}

#[tokio::test]
async fn secrets_are_in_no_debug_output_and_no_error() {
    let (_folder, path) = written_file("token", "aaa.bbb.hunter2");
    let settings =
        MarathonSettings { auth: MarathonAuth::Token(path), ..MarathonSettings::plain(&closed().await) };
    assert!(!format!("{settings:?}").contains("hunter2"));
    let client = connect(&settings).unwrap();
    let grant = client.credentials.grant().await.unwrap().unwrap();
    assert_eq!(format!("{:?}", grant.header), "Sensitive");
    let error = client.app(&id()).await.unwrap_err();
    assert!(!format!("{} {error:?}", chain(&error)).contains("hunter2"));
}
