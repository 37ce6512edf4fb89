//! The client against a server that answers what a script says.

mod cluster;
mod login;
mod sdk;
mod surface;
mod tls;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::call::LONGEST_ANSWER;
use super::*;
use crate::marathon::normalize::FieldError;
use crate::model::ErrorClass;
use crate::workers::Workers;

/// A server that gives prepared answers in order and remembers what it was asked. Without an answer left it
/// never answers.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Response>>>,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    /// `Authorization` of each request, empty where there is none.
    shown: Arc<Mutex<Vec<String>>>,
    workers: Workers,
}

impl Script {
    fn answer(self, status: u16, body: &str) -> Self {
        self.answer_with(status, body, &[])
    }

    fn answer_with(self, status: u16, body: &str, headers: &[(&str, &str)]) -> Self {
        let mut response = (StatusCode::from_u16(status).unwrap(), body.to_owned()).into_response();
        for (name, value) in headers {
            let name: axum::http::HeaderName = name.parse().unwrap();
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        self.answers.lock().unwrap().push_back(response);
        self
    }

    /// The requests as `VERB path?query` and body.
    fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().unwrap().clone()
    }

    /// The requests as `VERB path?query`.
    fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|(line, _)| line).collect()
    }

    /// What each request showed of who we are.
    fn shown(&self) -> Vec<String> {
        self.shown.lock().unwrap().clone()
    }

    /// Serves at a free port, whose base URL it returns.
    async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(scripted).with_state(self.clone());
        self.workers.spawn("scripted-marathon", async { axum::serve(listener, router).await.unwrap() });
        base
    }

    async fn client(&self) -> Client {
        self.client_at("").await
    }

    async fn client_at(&self, path: &str) -> Client {
        client_of(&[&format!("{}{path}", self.serve().await)], MarathonAuth::None)
    }
}

/// A client with a short time for writes and several tries to read.
fn client_of(urls: &[&str], auth: MarathonAuth) -> Client {
    let urls = urls.iter().map(ToString::to_string).collect();
    connect(&MarathonSettings { urls, admin_router: None, ca: None, auth }).unwrap()
}

fn connect(settings: &MarathonSettings) -> Result<Client, MarathonError> {
    let timeouts = Timeouts { write: Duration::from_millis(300), ..Timeouts::default() };
    Client::connect(settings, timeouts, (Clock::system(), Entropy::seeded(1)), Metrics::new().unwrap())
}

/// The base URL of a port at which nobody listens.
async fn closed() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

async fn scripted(State(script): State<Script>, request: Request) -> Response {
    let line = format!("{} {}", request.method(), request.uri());
    let shown = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    script.shown.lock().unwrap().push(shown.unwrap_or_default());
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
    script.asked.lock().unwrap().push((line, serde_json::from_slice(&body).unwrap_or_default()));
    let answer = script.answers.lock().unwrap().pop_front();
    match answer {
        Some(answer) => answer,
        None => std::future::pending().await,
    }
}

fn id() -> AppId {
    AppId::new("/g/a").unwrap()
}

fn app() -> App {
    App::from_value(json!({"id": "/g/a", "cmd": "true"})).unwrap()
}

const RESULT: &str = r#"{"version": "2020-01-01T00:00:00.000Z", "deploymentId": "d1"}"#;

fn written() -> Written {
    Written { version: "2020-01-01T00:00:00.000Z".into(), deployment: Some("d1".into()) }
}

#[tokio::test]
async fn writes_are_full_and_force_is_always_explicit() {
    let created = r#"{"id": "/g/a", "version": "2020-01-01T00:00:00.000Z", "deployments": [{"id": "d1"}]}"#;
    let script =
        Script::default().answer(201, created).answer(200, RESULT).answer(200, RESULT).answer(200, RESULT);
    let client = script.client().await;
    assert_eq!(client.create(&app()).await.unwrap(), written());
    assert_eq!(client.replace(&id(), &App::default(), false).await.unwrap(), written());
    assert_eq!(client.replace(&id(), &app(), true).await.unwrap(), written());
    assert_eq!(client.delete(&id(), false).await.unwrap(), written());
    let expected = [
        ("POST /v2/apps?force=false", app().into_value()),
        ("PUT /v2/apps/g/a?partialUpdate=false&force=false", json!({"id": "/g/a"})),
        ("PUT /v2/apps/g/a?partialUpdate=false&force=true", app().into_value()),
        ("DELETE /v2/apps/g/a?force=false", Value::Null),
    ];
    assert_eq!(script.asked(), expected.map(|(line, body)| (line.to_owned(), body)));
}

#[tokio::test]
async fn the_deployment_may_be_in_the_header_only() {
    let header = [("marathon-deployment-id", "d2")];
    let script = Script::default().answer_with(201, r#"{"version": "v"}"#, &header).answer_with(
        200,
        r#"{"version": "v"}"#,
        &header,
    );
    let client = script.client().await;
    for written in [client.create(&app()).await.unwrap(), client.replace(&id(), &app(), false).await.unwrap()]
    {
        assert_eq!(written.deployment.as_deref(), Some("d2"));
    }
}

#[tokio::test]
async fn a_base_path_stands_before_every_route() {
    let script = Script::default().answer(200, r#"{"apps": [{"id": "/a"}]}"#).answer(200, "\"pong\"");
    let client = script.client_at("/service/marathon/").await;
    assert_eq!(client.apps().await.unwrap()[0].id(), Some("/a"));
    client.ping().await.unwrap();
    let lines: Vec<_> = script.asked().into_iter().map(|(line, _)| line).collect();
    let embed = "embed=apps.tasks&embed=apps.deployments&embed=apps.counts&embed=apps.lastTaskFailure";
    assert_eq!(
        lines,
        [format!("GET /service/marathon/v2/apps?{embed}"), "GET /service/marathon/ping".into()]
    );
}

#[tokio::test]
async fn only_marathons_own_404_is_absence() {
    let script = Script::default()
        .answer(200, r#"{"app": {"id": "/g/a"}}"#)
        .answer(404, r#"{"message": "App '/g/a' does not exist"}"#)
        .answer(404, r#"{"message": "no such upstream"}"#)
        .answer(404, "<html>Not found</html>")
        .answer(404, "");
    let client = script.client().await;
    assert_eq!(client.app(&id()).await.unwrap().unwrap().id(), Some("/g/a"));
    assert_eq!(client.app(&id()).await.unwrap(), None);
    for expected in ["NotFound", "WrongPath", "WrongPath"] {
        assert_eq!(client.app(&id()).await.unwrap_err().label(), expected);
    }
}

/// Status, body, the error that a PUT makes of them, and whether the PUT may have been stored.
const SHAPES: &[(u16, &str, &str, ErrorClass, bool)] = &[
    (
        400,
        r#"{"message": "Invalid JSON", "details": "Unexpected end"}"#,
        "BadRequest",
        ErrorClass::Stall,
        false,
    ),
    (400, "<html>Bad Request</html>", "Proxy", ErrorClass::Retry, true),
    (401, "<html>login</html>", "Unauthorized", ErrorClass::Retry, false),
    (401, r#"{"message": "Invalid username or password."}"#, "Unauthorized", ErrorClass::Retry, false),
    (403, r#"{"message": "Not Authorized to perform this action!"}"#, "Forbidden", ErrorClass::Stall, false),
    (403, "<html></html>", "Forbidden", ErrorClass::Stall, false),
    (
        403,
        r#"{"message": "Max number (100) of running deployments is achieved. Wait for them."}"#,
        "TooManyDeployments",
        ErrorClass::Wait,
        false,
    ),
    (404, r#"{"message": "App '/g/a' does not exist"}"#, "NotFound", ErrorClass::Retry, false),
    (404, "<html></html>", "WrongPath", ErrorClass::Retry, false),
    (404, "", "WrongPath", ErrorClass::Retry, false),
    (405, r#"{"message": "HTTP 405 Method Not Allowed"}"#, "BadRequest", ErrorClass::Stall, false),
    (409, r#"{"message": "App is locked", "deployments": [{"id": "x"}]}"#, "Locked", ErrorClass::Wait, false),
    (
        409,
        r#"{"message": "An app with id [/g/a] already exists."}"#,
        "AlreadyExists",
        ErrorClass::Retry,
        false,
    ),
    (409, r#"{"message": "conflicting change"}"#, "Conflict", ErrorClass::Retry, false),
    (409, "<html></html>", "Proxy", ErrorClass::Retry, true),
    (422, r#"{"message": "Object is not valid", "details": []}"#, "Invalid", ErrorClass::Stall, false),
    (422, r#"{"message": "bad selector"}"#, "Invalid", ErrorClass::Stall, false),
    (500, r#"{"message": "URI not found"}"#, "UnknownRoute", ErrorClass::Stall, false),
    (500, r#"{"message": "boom"}"#, "Unavailable", ErrorClass::Retry, true),
    (500, "<html>boom</html>", "Proxy", ErrorClass::Retry, true),
    (502, "<html>Connection to leader refused.</html>", "NoLeader", ErrorClass::Retry, false),
    (
        502,
        r#"{"message": "Failed to successfully establish a connection to the leader."}"#,
        "Unavailable",
        ErrorClass::Retry,
        true,
    ),
    (502, "<html>502 Bad Gateway: openresty</html>", "Proxy", ErrorClass::Retry, true),
    (503, r#"{"message": "Could not determine the current leader"}"#, "NoLeader", ErrorClass::Retry, false),
    (503, "<html>busy</html>", "Proxy", ErrorClass::Retry, true),
    (504, "<html>Connection to leader timed out.</html>", "Proxy", ErrorClass::Retry, true),
    (504, "", "Unavailable", ErrorClass::Retry, true),
    (302, "", "Redirected", ErrorClass::Stall, false),
    (303, "", "Redirected", ErrorClass::Stall, false),
    (418, "{}", "NotMarathon", ErrorClass::Retry, true),
    (200, "<html>login</html>", "NotMarathon", ErrorClass::Retry, true),
    (200, "{}", "NotMarathon", ErrorClass::Retry, true),
];

#[tokio::test]
async fn every_error_shape_has_its_own_variant_and_nothing_is_tried_again() {
    let script =
        SHAPES.iter().fold(Script::default(), |script, (status, body, ..)| script.answer(*status, body));
    let client = script.client().await;
    for (status, body, label, class, stored) in SHAPES {
        let error = client.replace(&id(), &app(), false).await.unwrap_err();
        let got = (error.label(), error.class(), error.may_have_been_applied());
        assert_eq!(got, (*label, *class, *stored), "{status} {body}: {error:?}");
    }
    assert_eq!(script.asked().len(), SHAPES.len());
}

#[tokio::test]
async fn locks_and_faults_carry_their_details() {
    let locked = r#"{"message": "App is locked", "deployments": [{"id": "x"}, {"id": "y"}]}"#;
    let invalid =
        r#"{"message": "Object is not valid", "details": [{"path": "/cpus", "errors": ["too few", "odd"]}]}"#;
    let script =
        Script::default().answer(409, locked).answer(422, invalid).answer(503, "<html>\n busy </html>");
    let client = script.client().await;
    let error = client.delete(&id(), false).await.unwrap_err();
    assert_eq!(error.to_string(), "the app is locked by deployments x, y");
    let error = client.create(&app()).await.unwrap_err();
    let MarathonError::Invalid { details, .. } = &error else { panic!("{error:?}") };
    let detail = |message: &str| FieldError { path: "/cpus".into(), message: message.into() };
    assert_eq!(details, &[detail("too few"), detail("odd")]);
    let text = "Marathon refuses the definition: Object is not valid: /cpus: too few; /cpus: odd";
    assert_eq!(error.to_string(), text);
    let error = client.create(&app()).await.unwrap_err();
    let text = "a proxy answers in Marathon's place (status 503): <html> busy </html>";
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn faults_of_a_definition_are_read_in_every_form() {
    let table = [
        (r#"[{"path": "/apps(0)/id", "errors": ["bad"]}]"#, "/apps(0)/id: bad"),
        (r#"{"path": "/id", "errors": ["bad", "worse"]}"#, "/id: bad; /id: worse"),
        (r#"{"/id": ["bad"], "/mem": "low"}"#, "/id: bad; /mem: low"),
        (r#"[{"path": "/id", "errors": "bad"}, "odd", 7, {"errors": [1]}]"#, "/id: bad; odd"),
    ];
    let body = |details: &str| format!("{{\"message\": \"Invalid JSON\", \"details\": {details}}}");
    let script =
        table.iter().fold(Script::default(), |script, (details, _)| script.answer(422, &body(details)));
    let script = script.answer(422, &body("\"in words\""));
    let client = script.client().await;
    for (details, told) in table {
        let error = client.create(&app()).await.unwrap_err();
        let expected = format!("Marathon refuses the definition: Invalid JSON: {told}");
        assert_eq!(error.to_string(), expected, "{details}");
    }
    let error = client.create(&app()).await.unwrap_err();
    assert_eq!(error.to_string(), "Marathon refuses the definition: Invalid JSON: in words");
}

#[tokio::test]
async fn a_write_without_an_answer_ends_at_its_deadline_and_is_not_repeated() {
    let script = Script::default();
    let client = script.client().await;
    let error = client.create(&app()).await.unwrap_err();
    assert!(
        matches!(error, MarathonError::Timeout(limit) if limit == Duration::from_millis(300)),
        "{error:?}"
    );
    assert_eq!(script.asked().len(), 1);
    let counted = client.metrics.render();
    assert!(counted.contains("marathon_request_total{code=\"none\",verb=\"POST\"} 1"), "{counted}");
}

#[tokio::test]
async fn a_closed_port_is_a_transport_error() {
    let client =
        Client::new(&closed().await, Timeouts::default(), Clock::system(), Metrics::new().unwrap()).unwrap();
    let error = client.apps().await.unwrap_err();
    assert_eq!((error.label(), error.class()), ("Transport", ErrorClass::Retry));
    assert!(!error.to_string().contains("127.0.0.1"), "{error}");
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let long = format!("{{\"app\": \"{}\"}}", "x".repeat(LONGEST_ANSWER));
    let script = Script::default().answer(200, &long);
    let error = script.client().await.app(&id()).await.unwrap_err();
    assert!(matches!(error, MarathonError::TooLarge { limit: LONGEST_ANSWER, .. }), "{error:?}");
    let told = error.to_string();
    let begin = "the answer to GET /v2/apps/g/a is longer than 8388608 bytes and is not read to its end: ";
    assert!(told.starts_with(begin), "{told}");
    for remedy in ["correct marathon.url", "let the user of marathon.auth see only"] {
        assert!(told.contains(remedy), "{told}");
    }
}

#[tokio::test]
async fn a_redirect_that_leads_nowhere_says_what_answers_and_what_to_check() {
    let script = Script::default().answer(302, "<html>\n moved</html>").answer_with(
        303,
        "",
        &[("location", "http://u:p@login/")],
    );
    let place = script.serve().await;
    let client = client_of(&[&place], MarathonAuth::None);
    for (status, words) in [(302, " (\"<html> moved</html>\")"), (303, "")] {
        let error = client.delete(&id(), false).await.unwrap_err();
        let expected = format!(
            "{place}/v2/apps/g/a answers with status {status}, a redirect that leads nowhere{words}; Marathon does not do \
             so: see which proxy or page to log in stands before it there, and correct that or marathon.url"
        );
        assert_eq!(error.to_string(), expected);
    }
}
