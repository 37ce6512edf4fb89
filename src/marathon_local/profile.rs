//! Which version of Marathon this one behaves like, and what that means for definitions. Pure.
//!
//! Source: `changelog.md`, `util/RoleSettings.scala`, `state/ResourceRole.scala` and `DeprecatedFeatures.scala`
//! of mesosphere/marathon. The canonical form of `marathon::normalize` is that of 1.11; older versions differ in
//! what they know and in a default.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::group::GroupRecord;
use crate::marathon::normalize::FieldError;
use crate::model::{App, AppId};

/// The role of resources that are reserved for nobody.
pub const UNRESERVED: &str = "*";

/// How this Marathon was started, as far as definitions depend on it.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The version.
    pub profile: Profile,
    /// Whether secrets can be used.
    pub secrets: bool,
    /// The role of apps that name none (`mesos_role`): `*`, and on DC/OS `slave_public`.
    pub role: String,
}

/// A version of Marathon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Profile {
    /// That of DC/OS 1.12.
    V1_7,
    /// That of DC/OS 1.13.
    V1_8,
    /// That of DC/OS 2.2.
    #[default]
    V1_11,
}

/// A version that there is no profile for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no profile {0:?}; write 1.7, 1.8 or 1.11")]
pub struct UnknownProfile(String);

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Self, UnknownProfile> {
        match text {
            "1.7" => Ok(Self::V1_7),
            "1.8" => Ok(Self::V1_8),
            "1.11" => Ok(Self::V1_11),
            other => Err(UnknownProfile(other.to_owned())),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1_7 => "1.7",
            Self::V1_8 => "1.8",
            Self::V1_11 => "1.11",
        })
    }
}

impl Profile {
    /// What `/v2/info` says.
    pub fn version(self) -> &'static str {
        match self {
            Self::V1_7 => "1.7.216",
            Self::V1_8 => "1.8.244",
            Self::V1_11 => "1.11.24",
        }
    }

    /// Whether apps have roles and groups enforce them (1.9).
    pub fn has_roles(self) -> bool {
        self >= Self::V1_11
    }

    /// Whether tasks are also listed as plain text (until 1.9).
    pub fn lists_tasks_as_text(self) -> bool {
        self <= Self::V1_8
    }

    /// Whether a reader of events that lags far behind is cut off (1.8); before, events were dropped silently.
    pub fn cuts_slow_readers(self) -> bool {
        self >= Self::V1_8
    }

    /// The longest delay between two launches where none is given.
    pub fn launch_delay(self) -> u64 {
        if self == Self::V1_7 { 3600 } else { 300 }
    }
}

/// What holds for the definition of one app or pod.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The version.
    pub profile: Profile,
    /// Whether secrets can be used.
    pub secrets: bool,
    /// The roles that it may have.
    pub roles: BTreeSet<String>,
    /// The role that it gets when it names none.
    pub default_role: String,
}

impl Rules {
    /// The rules for an app or pod.
    ///
    /// * `top` - its top-level group, where it lies in one that exists
    /// * `old` - the role that it has now
    pub fn of(installation: &Installation, id: &AppId, top: Option<&GroupRecord>, old: Option<&str>) -> Self {
        let (group, below) = id.as_str().trim_start_matches('/').split_once('/').unwrap_or_default();
        let enforced = top.is_some_and(|group| group.enforce_role) && !below.is_empty();
        let default_role = if enforced { group } else { &installation.role }.to_owned();
        let mut roles = BTreeSet::from([default_role.clone()]);
        if !below.is_empty() {
            roles.insert(group.to_owned());
            roles.extend(old.map(str::to_owned));
        }
        Self { profile: installation.profile, secrets: installation.secrets, roles, default_role }
    }

    /// Makes of a body what this version sees of it.
    pub fn prepare(&self, body: &mut App) {
        if !self.profile.has_roles() {
            body.0.remove("role");
            body.0.remove("resourceLimits");
        }
        let delay = body.0.entry("maxLaunchDelaySeconds").or_insert(Value::Null);
        if delay.is_null() {
            *delay = self.profile.launch_delay().into();
        }
    }

    /// Fills in the role, and says which of these rules the canonical definition breaks.
    pub fn complete(&self, app: &mut App) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut fault = |path: &str, message: String| errors.push(FieldError { path: path.into(), message });
        if self.profile.has_roles() {
            let role = app.0.entry("role").or_insert_with(|| self.default_role.as_str().into());
            let role = role.as_str().unwrap_or_default().to_owned();
            if !self.roles.contains(&role) {
                let roles: Vec<_> = self.roles.iter().map(String::as_str).collect();
                fault("/role", format!("got {role}, expected one of: [{}]", roles.join(", ")));
            }
            let accepted = app.get("acceptedResourceRoles").and_then(Value::as_array);
            let mut accepted = accepted.into_iter().flatten().filter_map(Value::as_str);
            if accepted.any(|accepted| accepted != UNRESERVED && accepted != role) {
                let roles: Vec<_> = BTreeSet::from([UNRESERVED, &role]).into_iter().collect();
                let message = format!("acceptedResourceRoles can only contain {}", roles.join(" and "));
                fault("/acceptedResourceRoles", message);
            }
        }
        if !self.secrets {
            for place in places_of_secrets(app) {
                let message = "Feature secrets is not enabled. Enable with --enable_features secrets \
                               (the local Marathon: with --secrets DIR)";
                fault(place, message.to_owned());
            }
        }
        errors
    }
}

/// Where a definition has to do with secrets.
fn places_of_secrets(app: &App) -> impl Iterator<Item = &'static str> {
    let is_filled = |v: &Value| v.as_object().is_some_and(|secrets| !secrets.is_empty());
    let container = app.get("container");
    let refers = |v: &Value| v.get("secret").is_some();
    let volumes = container.and_then(|c| c.get("volumes")).and_then(Value::as_array);
    let found = [
        ("/secrets", app.get("secrets").is_some_and(is_filled)),
        ("/env", app.get("env").and_then(Value::as_object).is_some_and(|env| env.values().any(refers))),
        ("/container/volumes", volumes.is_some_and(|volumes| volumes.iter().any(refers))),
        (
            "/container/docker/pullConfig",
            container.is_some_and(|c| c.pointer("/docker/pullConfig").is_some()),
        ),
    ];
    found.into_iter().filter(|(_, there)| *there).map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(profile: Profile, id: &str, enforced: Option<bool>, old: Option<&str>) -> Rules {
        let top =
            enforced.map(|enforce_role| GroupRecord { enforce_role, dependencies: BTreeSet::default() });
        let installation = Installation { profile, secrets: true, role: "*".to_owned() };
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
        let installation =
            Installation { profile: Profile::V1_11, secrets: true, role: "slave_public".into() };
        let rules = Rules::of(&installation, &AppId::new("/a").unwrap(), None, None);
        let (faults, app) = faults(&rules, &json!({"acceptedResourceRoles": ["slave_public"]}));
        assert_eq!((faults, app.get("role")), (Vec::<String>::new(), Some(&json!("slave_public"))));
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
}
