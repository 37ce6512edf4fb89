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
    client.endpoints.prefer(0);
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

#[tokio::test]
async fn a_write_that_may_have_arrived_is_not_sent_elsewhere() {
    let (first, second) = (Script::default(), Script::default().answer(200, RESULT));
    let client = client_of(&[&first.serve().await, &second.serve().await], MarathonAuth::None);
    let error = client.replace(&id(), &app(), false).await.unwrap_err();
    assert_eq!((error.label(), error.may_have_been_applied()), ("Timeout", true));
    assert_eq!((first.asked().len(), second.asked().len()), (1, 0));
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
        assert_eq!((error.label(), error.may_have_been_applied()), ("Redirected", false));
        assert!(error.to_string().contains(&location), "{error}");
        assert_eq!(leader.asked().len(), 1, "a stranger was asked");
    }
}

#[tokio::test]
async fn a_page_to_log_in_and_a_circle_are_no_answers() {
    let login = Script::default().answer_with(302, "", &[("location", "/login?next=%2Fv2%2Fapps")]);
    let error = login.client().await.app(&id()).await.unwrap_err();
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

/// What two members of a cluster answer, and which call it is.
async fn arrivals(answers: [&[u16]; 2], first_is_away: bool, verb: &Method) -> (usize, usize) {
    let scripts = [Script::default(), Script::default()];
    let places = [scripts[0].serve().await, scripts[1].serve().await];
    for (number, statuses) in answers.into_iter().enumerate() {
        let location = format!("{}/v2/apps/g/a", places[1 - number]);
        for status in statuses {
            let headers: &[(&str, &str)] = if *status == 307 { &[("location", &location)] } else { &[] };
            let body = if *status == 200 { RESULT } else { BUSY };
            // The scripts share their answers with the servers.
            let _shared = scripts[number].clone().answer_with(*status, body, headers);
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
        _ => client.delete(&id(), false).await.map(drop),
    };
    let asked: usize = scripts.iter().map(|script| script.asked().len()).sum();
    let done = scripts.iter().enumerate().map(|(number, script)| {
        let statuses = answers[number].iter().take(script.asked().len());
        statuses.filter(|status| ![307, 401].contains(*status)).count()
    });
    (asked, done.sum())
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_a_cluster_answers_a_write_arrives_once(
        first in proptest::collection::vec(proptest::sample::select(vec![200, 307, 401, 409, 500, 502, 503, 504]), 8),
        second in proptest::collection::vec(proptest::sample::select(vec![200, 307, 401, 409, 500, 502, 503, 504]), 8),
        first_is_away: bool,
        put: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let verb = if put { Method::PUT } else { Method::DELETE };
        let (asked, done) = runtime.block_on(arrivals([&first, &second], first_is_away, &verb));
        proptest::prop_assert!(done <= 1, "{done} of {asked} requests were taken in");
        proptest::prop_assert!((1..=4).contains(&asked), "{asked} requests");
    }
}
