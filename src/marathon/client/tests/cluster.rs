//! Several endpoints, redirects, second tries and turns.

use super::*;

const APP: &str = r#"{"app": {"id": "/g/a"}}"#;
const BUSY: &str = r#"{"message": "busy"}"#;

#[tokio::test]
async fn another_endpoint_is_asked_where_one_is_away_and_stays_the_first() {
    let script = Script::default().answer(200, APP).answer(200, RESULT).answer(200, RESULT).answer(200, APP);
    let client = client_of(&[&closed().await, &script.serve().await], MarathonAuth::None);
    assert!(client.app(&id()).await.unwrap().is_some());
    // The one that answered is asked first now.
    assert_eq!(client.replace(&id(), &app(), false).await.unwrap(), written());
    // A PUT that was not sent may go elsewhere, too.
    drop(client.endpoints.attempts().next());
    assert_eq!(client.replace(&id(), &app(), false).await.unwrap(), written());
    assert!(client.app(&id()).await.unwrap().is_some());
    assert_eq!(script.asked().len(), 4);
}

#[tokio::test]
async fn a_post_is_never_sent_a_second_time() {
    let created = r#"{"id": "/g/a", "version": "v", "deployments": [{"id": "d1"}]}"#;
    let script = Script::default().answer(201, created);
    let client = client_of(&[&closed().await, &script.serve().await], MarathonAuth::None);
    let error = client.create(&app()).await.unwrap_err();
    assert_eq!((error.label(), error.may_have_been_applied()), ("Transport", false));
    assert_eq!(script.asked(), []);
    // The next call begins where somebody may be.
    assert!(client.create(&app()).await.is_ok());
}

/// What a standby answers during an election.
const NO_LEADER: &str = r#"{"message": "Could not determine the current leader"}"#;
const CREATED: &str =
    r#"{"id": "/g/a", "version": "2020-01-01T00:00:00.000Z", "deployments": [{"id": "d1"}]}"#;

/// A client of two members that reads for two seconds.
async fn client_of_both(first: &Script, second: &Script) -> Client {
    let urls = vec![first.serve().await, second.serve().await];
    let settings = MarathonSettings { urls, admin_router: None, ca: None, auth: MarathonAuth::None };
    let (read, write) = (Duration::from_secs(2), Duration::from_millis(300));
    let timeouts = Timeouts { read, write, ..Timeouts::default() };
    let parts = (Clock::system(), Entropy::seeded(1));
    Client::connect(&settings, timeouts, parts, Metrics::new().unwrap()).unwrap()
}

/// Whatever kind of call it is, as what came of it.
async fn call(client: &Client, verb: &str) -> Result<(), MarathonError> {
    match verb {
        "GET" => client.app(&id()).await.map(drop),
        "POST" => client.create(&app()).await.map(drop),
        "PUT" => client.replace(&id(), &app(), false).await.map(drop),
        _ => client.delete(&id(), false).await.map(drop),
    }
}

fn good(verb: &str) -> &'static str {
    match verb {
        "GET" => APP,
        "POST" => CREATED,
        _ => RESULT,
    }
}

#[tokio::test]
async fn a_member_that_knows_no_leader_sends_every_call_to_the_next() {
    for verb in ["GET", "POST", "PUT", "DELETE"] {
        for status in [502, 503] {
            let first = Script::default().answer(status, NO_LEADER);
            let second = Script::default().answer(200, good(verb)).answer(200, good(verb));
            let client = client_of_both(&first, &second).await;
            call(&client, verb).await.unwrap();
            // It stays with the one that answered.
            call(&client, verb).await.unwrap();
            assert_eq!((first.asked().len(), second.asked().len()), (1, 2), "{verb} {status}");
        }
    }
    // Where nobody knows a leader, each is asked once.
    let scripts = [(); 2].map(|()| (0..9).fold(Script::default(), |script, _| script.answer(502, NO_LEADER)));
    let client = client_of_both(&scripts[0], &scripts[1]).await;
    for asked in 1..=2 {
        assert_eq!(call(&client, "POST").await.unwrap_err().label(), "NoLeader");
        assert_eq!((scripts[0].asked().len(), scripts[1].asked().len()), (asked, asked));
    }
}

#[tokio::test]
async fn a_member_with_nobody_behind_it_sends_a_get_to_the_next_and_no_write() {
    for (status, body) in [(502, "<html>Bad Gateway</html>"), (503, BUSY), (504, "<html>Timeout</html>")] {
        for verb in ["GET", "POST", "PUT", "DELETE"] {
            let first = Script::default().answer(status, body);
            let second = Script::default().answer(200, good(verb));
            let client = client_of_both(&first, &second).await;
            let result = call(&client, verb).await;
            assert_eq!(result.is_ok(), verb == "GET", "{verb} {status}");
            let asked = (first.asked().len(), second.asked().len());
            assert_eq!(asked, (1, usize::from(verb == "GET")), "{verb} {status}");
            if let Err(error) = result {
                assert!(error.may_have_been_applied(), "{verb} {status}");
                // The next call begins where somebody may be.
                call(&client, verb).await.unwrap();
            }
        }
    }
    // An error of Marathon's own is the same everywhere.
    let (first, second) = (Script::default().answer(500, BUSY), Script::default().answer(200, APP));
    let client = client_of_both(&first, &second).await;
    assert_eq!(call(&client, "GET").await.unwrap_err().label(), "Unavailable");
    assert_eq!(second.asked().len(), 0);
}

#[tokio::test]
async fn a_member_that_never_answers_leaves_time_for_the_next() {
    let (first, second) = (Script::default(), Script::default().answer(200, APP).answer(200, APP));
    let client = client_of_both(&first, &second).await;
    for _ in 0..2 {
        call(&client, "GET").await.unwrap();
    }
    assert_eq!((first.asked().len(), second.asked().len()), (1, 2));
    let counted = client.metrics.render();
    assert!(counted.contains("marathon_request_total{code=\"none\",verb=\"GET\"} 1"), "{counted}");
}

#[tokio::test]
async fn a_write_that_may_have_arrived_is_not_sent_elsewhere() {
    for verb in ["POST", "PUT", "DELETE"] {
        let (first, second) = (Script::default(), Script::default().answer(200, good(verb)));
        let client = client_of_both(&first, &second).await;
        let error = call(&client, verb).await.unwrap_err();
        assert_eq!((error.label(), error.may_have_been_applied()), ("Timeout", true));
        assert_eq!((first.asked().len(), second.asked().len()), (1, 0));
        // What is asked afterwards is not lost on the same member.
        call(&client, verb).await.unwrap();
        assert_eq!((first.asked().len(), second.asked().len()), (1, 1));
    }
}

/// A member that has events.
fn stream() -> Script {
    Script::default().answer_with(200, "event: x\ndata: {}\n\n", &[("content-type", "text/event-stream")])
}

#[tokio::test]
async fn events_are_heard_at_the_next_member_where_one_has_none() {
    let silent = Script::default();
    let leaderless = Script::default().answer(502, NO_LEADER);
    let busy = Script::default().answer(503, "<html>busy</html>");
    for first in [silent, leaderless, busy] {
        let second = stream();
        let client = client_of_both(&first, &second).await;
        let mut heard = Vec::new();
        let ended = client.listen(&mut |event| heard.push(event)).await;
        assert_eq!((ended.label(), heard.len()), ("StreamEnded", 2), "{ended:?}");
        assert_eq!((first.asked().len(), second.asked().len()), (1, 1));
    }
    let refused = Script::default().answer(403, "{}");
    let second = stream();
    let client = client_of_both(&refused, &second).await;
    assert_eq!(client.listen(&mut |_| {}).await.label(), "Forbidden");
    assert_eq!(second.asked().len(), 0);
}

#[tokio::test]
async fn a_get_is_tried_again_a_few_times_and_no_longer() {
    let busy = |script: Script| script.answer(503, "<html>busy</html>");
    let script = busy(busy(Script::default())).answer(200, APP);
    let client = script.client().await;
    assert!(client.app(&id()).await.unwrap().is_some());
    assert_eq!(script.asked().len(), 3);
    let script = (0..9).fold(Script::default(), |script, _| busy(script));
    assert_eq!(script.client().await.app(&id()).await.unwrap_err().label(), "Proxy");
    assert_eq!(script.asked().len(), 3);
    // What does not pass is told at once.
    for status in [400, 401, 403, 404, 500] {
        let script = Script::default().answer(status, BUSY).answer(200, APP);
        assert!(script.client().await.app(&id()).await.is_err(), "{status}");
        assert_eq!(script.asked().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_redirect_of_a_write_keeps_verb_body_and_who_we_are() {
    let leader = Script::default().answer(200, RESULT);
    let place = leader.serve().await;
    let location = format!("{place}/v2/apps/g/a");
    let standby = Script::default().answer_with(307, "", &[("location", &location)]);
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "t1\n").unwrap();
    let client = client_of(&[&standby.serve().await, &place], MarathonAuth::Token(token));
    assert_eq!(client.replace(&id(), &app(), false).await.unwrap(), written());
    let expected = ("PUT /v2/apps/g/a?partialUpdate=false&force=false".to_owned(), app().into_value());
    assert_eq!((standby.asked(), leader.asked()), (vec![expected.clone()], vec![expected]));
    assert_eq!((standby.shown(), leader.shown()), (vec!["token=t1".to_owned()], vec!["token=t1".to_owned()]));
}

#[tokio::test]
async fn a_redirect_to_the_leader_is_followed_and_one_to_others_is_not() {
    let leader = Script::default().answer(200, APP);
    let place = leader.serve().await;
    let location = format!("{place}/v2/apps/g/a");
    let named = format!(r#"{{"leader": "{}"}}"#, place.strip_prefix("http://").unwrap());
    let moved = |script: Script| script.answer_with(302, "", &[("location", &location)]);
    let standby = moved(Script::default()).answer(200, &named);
    assert!(standby.client().await.app(&id()).await.unwrap().is_some());
    assert_eq!(standby.lines(), ["GET /v2/apps/g/a", "GET /v2/leader"]);
    assert_eq!(leader.asked().len(), 1);

    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "t1").unwrap();
    for answer in [(200, r#"{"leader": "10.0.0.1:8080"}"#), (404, r#"{"message": "There is no leader"}"#)] {
        let standby = moved(Script::default()).answer(answer.0, answer.1);
        let client = client_of(&[&standby.serve().await], MarathonAuth::Token(token.clone()));
        let error = client.app(&id()).await.unwrap_err();
        let told = (error.label(), error.class(), error.may_have_been_applied());
        assert_eq!(told, ("Redirected", ErrorClass::Retry, false), "the next election is soon over");
        assert!(error.to_string().contains(&location), "{error}");
        assert_eq!(leader.asked().len(), 1, "a stranger was asked");
    }
}

/// While the leader changes a standby may redirect to one that `/v2/leader` does not name. Nothing was done, so that the
/// next member is asked, for a write as well.
#[tokio::test]
async fn who_redirects_to_no_leader_of_ours_is_passed_over() {
    let stranger = Script::default();
    let place = stranger.serve().await;
    let moved = |path: &str| {
        let location = format!("{place}{path}");
        let script = Script::default().answer_with(302, "", &[("location", &location)]);
        script.answer(200, r#"{"leader": "10.0.0.1:8080"}"#)
    };
    let (standby, other) = (moved("/v2/apps/g/a"), Script::default().answer(200, APP));
    assert!(client_of_both(&standby, &other).await.app(&id()).await.unwrap().is_some());

    let (standby, other) = (moved("/v2/apps/g/a"), Script::default().answer(200, RESULT));
    let client = client_of_both(&standby, &other).await;
    assert_eq!(client.replace(&id(), &app(), false).await.unwrap(), written());
    assert_eq!(other.lines(), ["PUT /v2/apps/g/a?partialUpdate=false&force=false"]);

    let (standby, other) = (moved("/v2/events"), stream());
    let mut heard = Vec::new();
    let ended = client_of_both(&standby, &other).await.listen(&mut |event| heard.push(event)).await;
    assert_eq!((ended.label(), heard.len()), ("StreamEnded", 2), "{ended:?}");
    assert_eq!(stranger.asked().len(), 0, "who we are is told to nobody else");
}

#[tokio::test]
async fn a_page_to_log_in_and_a_circle_are_no_answers() {
    let login = Script::default().answer_with(302, "", &[("location", "/login?next=%2Fv2%2Fapps")]);
    let error = login.client().await.app(&id()).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Stall);
    assert!(error.to_string().contains("/login,"), "{error}");
    assert!(!error.to_string().contains("next"), "{error}");
    assert_eq!(login.asked().len(), 1);
    let circle = (0..9)
        .fold(Script::default(), |script, _| script.answer_with(302, "", &[("location", "/v2/apps/g/a")]));
    assert_eq!(circle.client().await.app(&id()).await.unwrap_err().label(), "Redirected");
    assert_eq!(circle.asked().len(), 4);
}

#[tokio::test]
async fn a_call_waits_for_its_turn_and_not_longer_than_its_time() {
    let script = Script::default();
    let client = script.client().await;
    assert_eq!(client.turns.available_permits(), 16);
    let all = client.turns.acquire_many(16).await.unwrap();
    assert_eq!(client.delete(&id(), false).await.unwrap_err().label(), "Timeout");
    assert_eq!(script.asked(), []);
    drop(all);
    // A call keeps its turn until it ends.
    let (id, calls) = (id(), client.clone());
    let taken = async {
        while script.asked().is_empty() {
            client.clock.sleep(Duration::from_millis(1)).await;
        }
        client.turns.available_permits()
    };
    let (result, left) = futures::join!(calls.delete(&id, false), taken);
    assert_eq!((result.unwrap_err().label(), left, client.turns.available_permits()), ("Timeout", 15, 16));
}

#[test]
fn a_file_of_certificates_must_hold_some() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let settings = MarathonSettings { ca: Some(path.clone()), ..MarathonSettings::plain("https://m") };
    for text in [None, Some("nothing"), Some("-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n")]
    {
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let error = connect(&settings).map(drop).unwrap_err();
        assert_eq!((error.label(), error.class()), ("Ca", ErrorClass::Fatal), "{text:?}");
        assert!(error.to_string().contains("ca.pem"), "{error}");
    }
}

/// Stands for the 502 of a standby that knows no leader.
const LEADERLESS: u16 = 999;
const ANSWERS: [u16; 9] = [200, 307, 401, 409, 500, 502, 503, 504, LEADERLESS];

/// What two members of a cluster answer, and which call it is.
async fn arrivals(answers: [&[u16]; 2], first_is_away: bool, verb: &Method) -> (usize, usize) {
    let scripts = [Script::default(), Script::default()];
    let places = [scripts[0].serve().await, scripts[1].serve().await];
    for (number, statuses) in answers.into_iter().enumerate() {
        let path = if *verb == Method::POST { "/v2/apps" } else { "/v2/apps/g/a" };
        let location = format!("{}{path}", places[1 - number]);
        for status in statuses {
            let headers: &[(&str, &str)] = if *status == 307 { &[("location", &location)] } else { &[] };
            let (status, body) = match *status {
                200 => (200, RESULT),
                LEADERLESS => (502, NO_LEADER),
                other => (other, BUSY),
            };
            // The scripts share their answers with the servers.
            let _shared = scripts[number].clone().answer_with(status, body, headers);
        }
    }
    let away = closed().await;
    let mut urls: Vec<&str> = places.iter().map(String::as_str).collect();
    if first_is_away {
        urls.insert(0, &away);
    }
    let client = client_of(&urls, MarathonAuth::None);
    let _result = match *verb {
        Method::PUT => client.replace(&id(), &app(), false).await.map(drop),
        Method::POST => client.create(&app()).await.map(drop),
        _ => client.delete(&id(), false).await.map(drop),
    };
    let asked: usize = scripts.iter().map(|script| script.asked().len()).sum();
    let done = scripts.iter().enumerate().map(|(number, script)| {
        let statuses = answers[number].iter().take(script.asked().len());
        statuses.filter(|status| ![307, 401, LEADERLESS].contains(*status)).count()
    });
    (asked, done.sum())
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_a_cluster_answers_a_write_arrives_once(
        first in proptest::collection::vec(proptest::sample::select(ANSWERS.to_vec()), 8),
        second in proptest::collection::vec(proptest::sample::select(ANSWERS.to_vec()), 8),
        first_is_away: bool,
        verb in proptest::sample::select(vec![Method::POST, Method::PUT, Method::DELETE]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (asked, done) = runtime.block_on(arrivals([&first, &second], first_is_away, &verb));
        proptest::prop_assert!(done <= 1, "{done} of {asked} requests were taken in");
        let least = usize::from(!(first_is_away && verb == Method::POST));
        proptest::prop_assert!((least..=8).contains(&asked), "{asked} requests");
    }
}
