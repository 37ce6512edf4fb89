//! Tests of the switches.

use super::*;

fn faults() -> Faults {
    Faults::ready(Clock::fixed(0), 1)
}

fn id(text: &str) -> AppId {
    AppId::new(text).unwrap()
}

#[test]
fn what_is_written_wrong_is_told() {
    let faults = faults();
    for (body, word) in [
        (json!({"kind": "nonsense"}), "cutAfterWrite"),
        (json!({"kind": "refuse", "status": 200}), "400 to 599"),
        (json!({"kind": "stuck", "rate": 2}), "rate"),
        (json!({"kind": "stuck", "aps": []}), "aps"),
        (json!({"kind": "events"}), "lossy"),
        (json!({"kind": "secondWriter"}), "patch"),
        (json!({"kind": "gap", "milliseconds": 3_600_001}), "3600000"),
        (json!([]), "struct"),
    ] {
        let error = faults.switch_on(&body).unwrap_err().to_string();
        assert!(error.contains(word), "{body}: {error}");
    }
    assert_eq!(faults.list()["faults"], json!([]));
}

#[test]
fn switches_are_listed_bounded_and_reset() {
    let faults = faults();
    let first = faults.switch_on(&json!({"kind": "refuse", "with": "locked", "times": 2})).unwrap();
    assert_eq!((&first["id"], &first["status"], &first["struck"]), (&json!(1), &json!(409), &json!(0)));
    let locked = Some(Fate::Refused(409, With::Locked));
    assert_eq!(faults.request("GET", "/v2/apps", None), None, "reading is not struck unless it is asked for");
    assert_eq!(faults.request("PUT", "/local/x", None), None);
    assert_eq!(faults.request("PUT", "/v2/apps/a", None), locked);
    assert_eq!(faults.request("PUT", "/v2/apps/a", None), locked);
    assert_eq!(faults.request("PUT", "/v2/apps/a", None), None, "it strikes twice only");
    assert_eq!(faults.list()["faults"][0]["struck"], 2);
    assert!(faults.switch_off(1) && !faults.switch_off(1));
    for _ in 0..MOST {
        faults.switch_on(&json!({"kind": "stuck"})).unwrap();
    }
    assert_eq!(faults.switch_on(&json!({"kind": "stuck"})), Err(SpecError::TooMany(MOST)));
    faults.reset(Some(9));
    assert_eq!(faults.list(), json!({"seed": 9, "faults": []}));
}

#[test]
fn a_seed_decides_which_requests_are_struck() {
    let struck = |seed: u64| {
        let faults = Faults::ready(Clock::fixed(0), seed);
        faults.switch_on(&json!({"kind": "refuse", "rate": 0.5, "methods": ["get"]})).unwrap();
        (0..64).map(|_| faults.request("GET", "/v2/apps", None).is_some()).collect::<Vec<_>>()
    };
    assert_eq!(struck(3), struck(3));
    assert_ne!(struck(3), struck(4));
}

#[test]
fn apps_are_named_by_id_or_group() {
    let faults = faults();
    faults.switch_on(&json!({"kind": "hide", "apps": ["/g", "/a"]})).unwrap();
    assert!(faults.hides(&id("/a")) && faults.hides(&id("/g/x")));
    assert!(!faults.hides(&id("/ab")) && !faults.hides(&id("/gx")) && !faults.is_stuck(&id("/a")));
    faults
        .switch_on(&json!({"kind": "secondWriter", "apps": ["/a"], "patch": {"instances": 3}, "times": 1}))
        .unwrap();
    assert_eq!(faults.second_writer(&id("/b")), None);
    assert_eq!(faults.second_writer(&id("/a")).and_then(|a| a.get("instances").cloned()), Some(json!(3)));
    assert_eq!(faults.second_writer(&id("/a")), None);
}

#[test]
fn nobody_leads_for_a_while_after_a_change_of_leader() {
    let clock = Clock::fixed(0);
    let faults = Faults::ready(clock.clone(), 1);
    faults.switch_on(&json!({"kind": "leaderChange", "milliseconds": 50, "times": 1})).unwrap();
    assert_eq!(faults.request("POST", "/v2/apps", None), Some(Fate::LeaderLost));
    let leaderless = Some(Fate::Refused(502, With::Leaderless));
    assert_eq!(faults.request("GET", "/v2/apps", None), leaderless);
    clock.advance(Duration::from_millis(50));
    assert_eq!(faults.request("GET", "/v2/apps", None), None);
}

#[test]
fn tokens_are_good_for_so_many_requests() {
    let faults = faults();
    faults.login("old".to_owned());
    assert_eq!(faults.request("GET", "/v2/apps", None), None, "nobody asks for tokens yet");
    faults.switch_on(&json!({"kind": "expireTokens", "uses": 2})).unwrap();
    let ask = |token| faults.request("GET", "/v2/apps", token);
    assert_eq!((ask(None), ask(Some("old"))), (Some(Fate::NoToken), Some(Fate::NoToken)));
    faults.login("new".to_owned());
    assert_eq!((ask(Some("new")), ask(Some("new")), ask(Some("new"))), (None, None, Some(Fate::NoToken)));
}

#[test]
fn streams_fail_in_their_ways() {
    let faults = faults();
    assert_eq!(faults.delivery(), Delivery::Whole);
    for (stream, delivery) in [
        ("lossy", Delivery::Lost),
        ("disorder", Delivery::Late),
        ("foreign", Delivery::Foreign),
        ("lying", Delivery::Lie),
        ("cut", Delivery::Cut),
    ] {
        faults.switch_on(&json!({"kind": "events", "stream": stream, "times": 1})).unwrap();
        assert_eq!((faults.delivery(), faults.delivery()), (delivery, Delivery::Whole), "{stream}");
    }
    faults.switch_on(&json!({"kind": "events", "stream": "slow", "milliseconds": 20})).unwrap();
    assert_eq!((faults.delivery(), faults.event_delay()), (Delivery::Whole, Duration::from_millis(20)));
}

#[test]
fn without_being_asked_for_there_are_no_faults() {
    let faults = Faults::off();
    assert!(!faults.can_be_switched());
    assert!(faults.switch_on(&json!({"kind": "stuck"})).is_err());
    assert!(!faults.is_stuck(&id("/a")) && faults.request("PUT", "/v2/apps", None).is_none());
}
