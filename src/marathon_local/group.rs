//! Groups: their ids, and the body that changes them. Pure.
//!
//! Sources: `state/PathId.scala`, `raml/GroupConversion.scala` and `types/group.raml` of mesosphere/marathon.
//! Apps and pods know their group by their id; what is kept of a group is only what it has besides.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use crate::marathon::normalize::FieldError;
use crate::model::{App, AppId};

/// How deep groups may lie in one body.
const DEEPEST: usize = 32;

/// The absolute id of a group; `/` is the root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct GroupId(String);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl GroupId {
    /// The group that holds all others.
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// Reads an id that may be relative to another one, such as `a`, `../b` or `/c/d`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, base: &Self) -> Result<Self, String> {
        let path = canonical(text, base.as_str());
        match AppId::new(&path) {
            _ if path == "/" => Ok(Self(path)),
            Ok(_) => Ok(Self(path)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the root.
    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }

    /// Whether its parent is the root.
    pub fn is_top_level(&self) -> bool {
        !self.is_root() && !self.0.trim_start_matches('/').contains('/')
    }

    /// The group that an app, a pod or a group lies in; none for the root.
    pub fn parent_of(id: &str) -> Option<Self> {
        let (parent, name) = id.rsplit_once('/')?;
        match (parent, name) {
            (_, "") => None,
            ("", _) => Some(Self::root()),
            (parent, _) => Some(Self(parent.to_owned())),
        }
    }

    /// All groups that something lies in, the nearest first and the root last.
    pub fn ancestors_of(id: &str) -> impl Iterator<Item = Self> {
        std::iter::successors(Self::parent_of(id), |group| Self::parent_of(&group.0))
    }

    /// Whether it lies in another group, at any depth.
    pub fn is_below(&self, group: &Self) -> bool {
        self != group
            && (group.is_root() || self.0.strip_prefix(&group.0).is_some_and(|r| r.starts_with('/')))
    }

    /// Whether something lies directly in this group.
    pub fn is_parent_of(&self, id: &str) -> bool {
        Self::parent_of(id).as_ref() == Some(self)
    }
}

/// An id without `.`, `..` and superfluous slashes, seen from another one where it is relative.
pub fn canonical(text: &str, base: &str) -> String {
    let start = if text.starts_with('/') { "" } else { base };
    let mut path: Vec<&str> = Vec::new();
    for segment in start.split('/').chain(text.split('/')) {
        match segment {
            "" | "." => {}
            ".." => drop(path.pop()),
            segment => path.push(segment),
        }
    }
    format!("/{}", path.join("/"))
}

/// What is kept of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupRecord {
    /// The apps and groups that everything in it depends on.
    pub dependencies: BTreeSet<String>,
    /// Whether apps in it must have its name as role (top-level groups only).
    pub enforce_role: bool,
}

/// The body of a POST or PUT of a group. What is null is as if it were not there.
#[derive(Debug, Default, PartialEq)]
pub struct GroupBody {
    /// Its id, maybe relative to the group it lies in.
    pub id: Option<String>,
    /// All apps directly in it; none: as they are.
    pub apps: Option<Vec<App>>,
    /// All groups directly in it; none: as they are.
    pub groups: Option<Vec<GroupBody>>,
    /// What everything in it depends on.
    pub dependencies: Option<Vec<String>>,
    /// By what the number of instances is multiplied.
    pub scale_by: Option<f64>,
    /// The version to go back to.
    pub version: Option<String>,
    /// Whether apps must have its role.
    pub enforce_role: Option<bool>,
}

impl GroupBody {
    /// Reads a body; fields that are not known are passed by, as Marathon does.
    ///
    /// # Errors
    /// All faults.
    pub fn read(value: &Value) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let body = Reader { errors: &mut errors }.group(value, "", 0);
        if errors.is_empty() { Ok(body) } else { Err(errors) }
    }

    /// Whether it changes apps, and not only what the group has besides.
    pub fn modifies_apps(&self) -> bool {
        let below = || self.groups.iter().flatten().any(Self::modifies_apps);
        self.version.is_some() || self.scale_by.is_some() || self.apps.is_some() || below()
    }
}

struct Reader<'a> {
    errors: &'a mut Vec<FieldError>,
}

impl Reader<'_> {
    fn fault(&mut self, path: String, message: &str) {
        self.errors.push(FieldError { path, message: message.to_owned() });
    }

    fn group(&mut self, value: &Value, path: &str, depth: usize) -> GroupBody {
        let Some(map) = value.as_object() else {
            self.fault(path.to_owned(), "error.expected.jsobject");
            return GroupBody::default();
        };
        if depth > DEEPEST {
            self.fault(path.to_owned(), "groups lie too deep");
            return GroupBody::default();
        }
        let body = GroupBody {
            id: self.member(map, path, "id", "jsstring", |v| v.as_str().map(str::to_owned)),
            apps: self.apps(map, path),
            groups: self.groups(map, path, depth),
            dependencies: self.member(map, path, "dependencies", "jsarray", |v| {
                v.as_array()?.iter().map(|d| d.as_str().map(str::to_owned)).collect()
            }),
            scale_by: self.member(map, path, "scaleBy", "jsnumber", |v| v.as_f64().filter(|n| *n >= 0.0)),
            version: self.member(map, path, "version", "jsstring", |v| v.as_str().map(str::to_owned)),
            enforce_role: self.member(map, path, "enforceRole", "jsboolean", Value::as_bool),
        };
        let alone = body.apps.is_none() && body.groups.is_none() && body.dependencies.is_none();
        let alone = alone && body.enforce_role.is_none() && (depth == 0);
        for (key, there, other) in [
            ("version", body.version.is_some(), body.scale_by.is_some()),
            ("scaleBy", body.scale_by.is_some(), body.version.is_some()),
        ] {
            if there && (!alone || other) {
                self.fault(format!("{path}/{key}"), "not allowed in conjunction with other properties");
            }
        }
        body
    }

    fn member<T>(
        &mut self,
        map: &Map<String, Value>,
        path: &str,
        key: &str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = map.get(key).filter(|value| !value.is_null())?;
        let read = read(value);
        if read.is_none() {
            self.fault(format!("{path}/{key}"), &format!("error.expected.{expected}"));
        }
        read
    }

    fn apps(&mut self, map: &Map<String, Value>, path: &str) -> Option<Vec<App>> {
        let list = self.member(map, path, "apps", "jsarray", |v| v.as_array().cloned())?;
        let mut apps = Vec::with_capacity(list.len());
        for (position, app) in list.into_iter().enumerate() {
            match App::from_value(app) {
                Some(app) if app.id().is_some() => apps.push(app),
                Some(_) => self.fault(format!("{path}/apps/{position}/id"), "is required"),
                None => self.fault(format!("{path}/apps/{position}"), "error.expected.jsobject"),
            }
        }
        Some(apps)
    }

    fn groups(&mut self, map: &Map<String, Value>, path: &str, depth: usize) -> Option<Vec<GroupBody>> {
        let list = self.member(map, path, "groups", "jsarray", |v| v.as_array().cloned())?;
        let mut groups = Vec::with_capacity(list.len());
        for (position, group) in list.iter().enumerate() {
            let path = format!("{path}/groups/{position}");
            let group = self.group(group, &path, depth + 1);
            if group.id.is_none() {
                self.fault(format!("{path}/id"), "is required");
            }
            groups.push(group);
        }
        Some(groups)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn relative_ids_are_seen_from_their_group() {
        for (text, base, path) in [
            ("a", "/", "/a"),
            ("a/b", "/g", "/g/a/b"),
            ("../b", "/g/h", "/g/b"),
            ("/x", "/g", "/x"),
            ("./x/", "/g", "/g/x"),
            ("../../..", "/g", "/"),
        ] {
            assert_eq!(canonical(text, base), path, "{text} from {base}");
        }
        assert!(GroupId::parse("No", &GroupId::root()).is_err());
        assert!(GroupId::parse("", &GroupId::root()).unwrap().is_root());
    }

    #[test]
    fn groups_know_what_lies_in_them() {
        let group = |text| GroupId::parse(text, &GroupId::root()).unwrap();
        let above: Vec<_> = GroupId::ancestors_of("/a/b/c").map(|g| g.to_string()).collect();
        assert_eq!(above, ["/a/b", "/a", "/"]);
        assert!(group("/a").is_parent_of("/a/b") && !group("/a").is_parent_of("/a/b/c"));
        assert!(group("/a/b").is_below(&group("/a")) && !group("/ab").is_below(&group("/a")));
        assert!(group("/a").is_below(&group("/")) && !group("/").is_below(&group("/")));
        assert!(group("/a").is_top_level() && !group("/a/b").is_top_level() && !group("/").is_top_level());
    }

    #[test]
    fn faults_of_a_body_have_their_places() {
        let places = |value: Value| {
            let errors = GroupBody::read(&value).unwrap_err();
            errors.into_iter().map(|e| e.path).collect::<Vec<_>>()
        };
        assert_eq!(places(json!([])), [""]);
        assert_eq!(places(json!({"id": 1, "scaleBy": -1})), ["/id", "/scaleBy"]);
        assert_eq!(
            places(json!({"groups": [{"apps": [{}, 2]}]})),
            ["/groups/0/apps/0/id", "/groups/0/apps/1", "/groups/0/id"]
        );
        assert_eq!(places(json!({"version": "v", "apps": []})), ["/version"]);
        assert_eq!(places(json!({"version": "v", "scaleBy": 2})), ["/version", "/scaleBy"]);
        let body = GroupBody::read(&json!({"id": "a", "apps": null, "unknown": 1})).unwrap();
        assert_eq!(body, GroupBody { id: Some("a".into()), ..GroupBody::default() });
    }
}
