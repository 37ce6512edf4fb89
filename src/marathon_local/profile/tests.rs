//! Roles, networks and secrets by version and installation.

use serde_json::json;

use super::*;

fn installation() -> Installation {
    Installation {
        profile: Profile::V1_11,
        secrets: true,
        role: "*".to_owned(),
        network: None,
        new_groups_enforce: false,
    }
}

fn rules(profile: Profile, id: &str, enforced: Option<bool>, old: Option<&str>) -> Rules {
    let top = enforced.map(|enforce_role| GroupRecord { enforce_role, dependencies: BTreeSet::default() });
    let installation = Installation { profile, ..installation() };
    Rules::of(&installation, &AppId::new(id).unwrap(), top.as_ref(), old)
}

fn faults(rules: &Rules, app: &Value) -> (Vec<String>, App) {
    let mut app = App::from_value(app.clone()).unwrap();
    rules.prepare(&mut app);
    (rules.complete(&mut app).into_iter().map(|e| e.path).collect(), app)
}

#[test]
fn roles_depend_on_the_group() {
    for (id, enforced, old, role, allowed) in [
        ("/a", None, None, "*", true),
        ("/a", None, None, "a", false),
        ("/g/a", None, None, "g", true),
        ("/g/a", Some(false), None, "*", true),
        ("/g/a", Some(true), None, "*", false),
        ("/g/a", Some(true), None, "g", true),
        ("/g/a", Some(true), Some("*"), "*", true),
        ("/g/a", Some(false), None, "h", false),
    ] {
        let (faults, _) = faults(&rules(Profile::V1_11, id, enforced, old), &json!({"role": role}));
        assert_eq!(faults.is_empty(), allowed, "{id} {enforced:?} {old:?} {role}");
    }
    let filled = |enforced| {
        let (_, app) = faults(&rules(Profile::V1_11, "/g/h/a", Some(enforced), None), &json!({}));
        app.get("role").cloned()
    };
    assert_eq!((filled(true), filled(false)), (Some(json!("g")), Some(json!("*"))));
}

#[test]
fn versions_differ_in_what_they_know() {
    let body = json!({"role": "g", "resourceLimits": {}, "acceptedResourceRoles": ["public"]});
    let (old_faults, old) = faults(&rules(Profile::V1_7, "/a", None, None), &body);
    assert!(old_faults.is_empty() && old.get("role").is_none() && old.get("resourceLimits").is_none());
    assert_eq!(old.get("maxLaunchDelaySeconds"), Some(&json!(3600)));
    let (new_faults, new) = faults(&rules(Profile::V1_11, "/g/a", None, None), &body);
    assert_eq!(new_faults, ["/acceptedResourceRoles"]);
    assert_eq!(new.get("maxLaunchDelaySeconds"), Some(&json!(300)));
}

#[test]
fn the_role_of_the_installation_is_that_of_apps_without_one() {
    let installation = Installation { role: "slave_public".into(), ..installation() };
    let rules = Rules::of(&installation, &AppId::new("/a").unwrap(), None, None);
    let (faults, app) = faults(&rules, &json!({"acceptedResourceRoles": ["slave_public"]}));
    assert_eq!((faults, app.get("role")), (Vec::<String>::new(), Some(&json!("slave_public"))));
}

#[test]
fn groups_that_come_with_an_app_enforce_their_name_where_marathon_is_told_so() {
    let installation = Installation { new_groups_enforce: true, ..installation() };
    let role = |id: &str, top: Option<&GroupRecord>| {
        let rules = Rules::of(&installation, &AppId::new(id).unwrap(), top, None);
        faults(&rules, &json!({})).1.get("role").cloned()
    };
    assert_eq!(role("/g/h/a", None), Some(json!("g")));
    assert_eq!(role("/g/h/a", Some(&GroupRecord::default())), Some(json!("*")));
    assert_eq!(role("/a", None), Some(json!("*")));
    let enforces =
        |id: &str| installation.new_group(&GroupId::parse(id, &GroupId::root()).unwrap()).enforce_role;
    assert_eq!((enforces("/g"), enforces("/g/h")), (true, false));
}

#[test]
fn container_networks_need_a_name() {
    let mut rules = rules(Profile::V1_11, "/a", None, None);
    let open = json!({"networks": [{"mode": "container"}]});
    assert_eq!(faults(&rules, &open).0, ["/networks"]);
    let other = json!({"networks": [{"mode": "host"}, {"mode": "container", "name": "own"}]});
    assert!(faults(&rules, &other).0.is_empty());
    rules.network = Some("dcos".to_owned());
    let (errors, app) = faults(&rules, &open);
    assert_eq!((errors.len(), app.0["networks"][0]["name"].as_str()), (0, Some("dcos")));
    assert_eq!(faults(&rules, &other).1.get("networks"), other.get("networks"));
}

#[test]
fn secrets_need_a_store() {
    let mut rules = rules(Profile::V1_11, "/a", None, None);
    let body = json!({"secrets": {"k": {"source": "s"}}});
    assert!(faults(&rules, &body).0.is_empty());
    rules.secrets = false;
    assert_eq!(faults(&rules, &body).0, ["/secrets"]);
}

#[test]
fn profiles_have_names() {
    for profile in [Profile::V1_7, Profile::V1_8, Profile::V1_11] {
        assert_eq!(profile.to_string().parse(), Ok(profile));
        assert!(profile.version().starts_with(&format!("{profile}.")));
    }
    assert!("1.9".parse::<Profile>().unwrap_err().to_string().contains("1.11"));
}
