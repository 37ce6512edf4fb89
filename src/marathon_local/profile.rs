//! Which version of Marathon this one behaves like, and what that means for definitions. Pure.
//!
//! Source: `changelog.md`, `util/RoleSettings.scala`, `state/ResourceRole.scala` and `DeprecatedFeatures.scala`
//! of mesosphere/marathon. The canonical form of `marathon::normalize` is that of 1.11; older versions differ in
//! what they know and in a default.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::definition;
use super::group::{GroupId, GroupRecord};
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
    /// The name of container networks that name none (`default_network_name`); none: they are refused.
    pub network: Option<String>,
    /// Whether new top-level groups enforce their name as role (`new_group_enforce_role=top`).
    pub new_groups_enforce: bool,
}

impl Installation {
    /// A group that comes into being without a word on roles.
    pub fn new_group(&self, id: &GroupId) -> GroupRecord {
        let enforce_role = id.is_top_level() && self.new_groups_enforce;
        GroupRecord { enforce_role, ..GroupRecord::default() }
    }
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

    /// How many versions of one thing are kept (`--zk_max_versions`).
    pub fn versions_kept(self) -> usize {
        if self >= Self::V1_11 { 50 } else { 25 }
    }

    /// Whether an instance is there as long as nobody decides otherwise, whatever becomes of its task (1.8).
    pub fn instances_outlive_tasks(self) -> bool {
        self >= Self::V1_8
    }

    /// Whether a replacement looks at the health of the tasks that it finds (1.10).
    pub fn heeds_health(self) -> bool {
        self >= Self::V1_11
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
    /// The name of container networks that name none.
    network: Option<String>,
}

impl Rules {
    /// The rules for an app or pod.
    ///
    /// * `top` - its top-level group, where it lies in one that exists
    /// * `old` - the role that it has now
    pub fn of(installation: &Installation, id: &AppId, top: Option<&GroupRecord>, old: Option<&str>) -> Self {
        let (group, below) = id.as_str().trim_start_matches('/').split_once('/').unwrap_or_default();
        let by_group = top.map_or(installation.new_groups_enforce, |group| group.enforce_role);
        let enforced = by_group && !below.is_empty();
        let default_role = if enforced { group } else { &installation.role }.to_owned();
        let mut roles = BTreeSet::from([default_role.clone()]);
        if !below.is_empty() {
            roles.insert(group.to_owned());
            roles.extend(old.map(str::to_owned));
        }
        let network = installation.network.clone();
        Self { profile: installation.profile, secrets: installation.secrets, roles, default_role, network }
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

    /// Fills in the role and names of networks, and says which of these rules the canonical definition breaks.
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
            if role == UNRESERVED && definition::is_resident(app) {
                let own = "Resident apps cannot have the role *; give it the name of its top-level group, or Marathon a \
                           role (the local Marathon: with --role)";
                fault("/role", own.to_owned());
            }
            let accepted = app.get("acceptedResourceRoles").and_then(Value::as_array);
            let mut accepted = accepted.into_iter().flatten().filter_map(Value::as_str);
            if accepted.any(|accepted| accepted != UNRESERVED && accepted != role) {
                let roles: Vec<_> = BTreeSet::from([UNRESERVED, &role]).into_iter().collect();
                let message = format!("acceptedResourceRoles can only contain {}", roles.join(" and "));
                fault("/acceptedResourceRoles", message);
            }
        }
        if self.leaves_network_open(app) {
            fault("/networks", NETWORK_NEEDS_NAME.to_owned());
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

    /// Names container networks that have no name; whether there is none for them.
    fn leaves_network_open(&self, app: &mut App) -> bool {
        let networks = app.0.get_mut("networks").and_then(Value::as_array_mut).into_iter().flatten();
        let on_container = networks.filter(|network| network.get("mode").is_some_and(|m| m == "container"));
        let mut open = false;
        for network in on_container.filter(|network| network.get("name").is_none_or(Value::is_null)) {
            match &self.network {
                Some(name) => network["name"] = name.as_str().into(),
                None => open = true,
            }
        }
        open
    }
}

/// `NetworkValidation.scala`, with what to do.
const NETWORK_NEEDS_NAME: &str = "Network name must be specified when container network is selected. Name it, or start \
                                  Marathon with --default_network_name (the local Marathon: with --default-network-name)";

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
mod tests;
