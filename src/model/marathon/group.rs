//! Groups and pods, and what Marathon would do with a group.
//!
//! Shapes: `types/group.raml`, `types/pod.raml` and `types/deploymentPlan.raml` of mesosphere/marathon.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Step, each, lenient};
use crate::model::App;

/// A group with what it holds, from `GET /v2/groups`. The server leaves out what the caller may not see.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Group {
    /// Its id, with a slash before it.
    #[serde(deserialize_with = "lenient")]
    pub id: String,
    /// When anything in it changed last.
    #[serde(deserialize_with = "lenient")]
    pub version: String,
    /// Its own apps.
    #[serde(deserialize_with = "each")]
    pub apps: Vec<App>,
    /// Its own pods.
    #[serde(deserialize_with = "each")]
    pub pods: Vec<Pod>,
    /// The groups in it.
    #[serde(deserialize_with = "each")]
    pub groups: Vec<Self>,
    /// The groups that must be up before it.
    #[serde(deserialize_with = "each")]
    pub dependencies: Vec<String>,
    /// Whether its apps get the role of the group (1.9 and later, top-level groups).
    #[serde(deserialize_with = "lenient")]
    pub enforce_role: bool,
}

impl Group {
    /// It and all groups below it, each before those in it.
    #[must_use]
    pub fn with_descendants(&self) -> Vec<&Self> {
        let mut found = vec![self];
        let mut next = 0;
        while let Some(group) = found.get(next).copied() {
            found.extend(&group.groups);
            next += 1;
        }
        found
    }
}

/// A pod as JSON, for the reason that apps are: what is sent back must hold every field that a server knows.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Pod(pub Map<String, Value>);

impl Pod {
    /// `id` as written.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.0.get("id")?.as_str()
    }

    /// The observed `version`; empty where there is none.
    #[must_use]
    pub fn version(&self) -> &str {
        self.0.get("version").and_then(Value::as_str).unwrap_or_default()
    }

    /// `scaling.instances`; Marathon's default is 1.
    #[must_use]
    pub fn instances(&self) -> u64 {
        let scaling = self.0.get("scaling");
        scaling.and_then(|scaling| scaling.get("instances")?.as_u64()).unwrap_or(1)
    }
}

/// What Marathon would do, from a PUT of a group with `dryRun=true`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct GroupPlan {
    /// The steps, one after the other.
    #[serde(deserialize_with = "each")]
    pub steps: Vec<Step>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn groups_are_walked_from_the_top() {
        let group = json!({"id": "/", "version": "v", "apps": [{"id": "/a"}, 5], "enforceRole": null, "groups": [
            {"id": "/g", "groups": [{"id": "/g/h", "pods": [{"id": "/g/h/p", "version": "w", "scaling":
                {"kind": "fixed", "instances": 3}}, {"id": "/g/h/q"}]}], "dependencies": ["/x"]},
            {"id": "/k", "apps": {}, "odd": 1},
        ]});
        let group: Group = serde_json::from_value(group).unwrap();
        let ids: Vec<_> = group.with_descendants().iter().map(|group| group.id.as_str()).collect();
        assert_eq!(ids, ["/", "/g", "/k", "/g/h"]);
        assert_eq!((group.apps.len(), group.apps[0].id()), (1, Some("/a")));
        let pods = &group.groups[0].groups[0].pods;
        assert_eq!((pods[0].id(), pods[0].version(), pods[0].instances()), (Some("/g/h/p"), "w", 3));
        assert_eq!((pods[1].version(), pods[1].instances()), ("", 1));
    }

    #[test]
    fn a_plan_is_a_list_of_steps() {
        let plan =
            json!({"steps": [{"actions": [{"action": "StopApplication", "app": "/a"}]}, {"actions": []}]});
        let plan: GroupPlan = serde_json::from_value(plan).unwrap();
        assert_eq!(plan.steps.len(), 2);
        assert_eq!(plan.steps[0].actions[0].action, "StopApplication");
        assert_eq!(plan.steps[0].actions[0].app.as_deref(), Some("/a"));
    }
}
