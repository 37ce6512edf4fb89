//! What a path below `/v2/apps/`, `/v2/groups/` and `/v2/pods/` means. Pure.

use axum::http::Method;

/// What a path of apps names. Ids are without their leading slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An app.
    App(String),
    /// All apps below a group.
    Below(String),
    /// The restart of an app.
    Restart(String),
    /// The versions of an app.
    Versions(String),
    /// A version of an app.
    Version(String, String),
    /// The tasks of an app.
    Tasks(String),
    /// The tasks of all apps below a group.
    TasksBelow(String),
    /// A task of an app.
    Task(String, String),
}

impl Target {
    /// Takes a path apart. Slashes before and behind it do not count: many clients write ids with theirs.
    pub fn of(path: &str, method: &Method) -> Self {
        let path = path.trim_matches('/');
        if let Some((app, task)) = split(path, "tasks").filter(|_| method == Method::DELETE) {
            return Self::Task(app, task);
        }
        if let Some((app, version)) = split(path, "versions").filter(|_| method != Method::DELETE) {
            return Self::Version(app, version);
        }
        match path.rsplit_once('/') {
            Some((app, "tasks")) => match app.strip_suffix('*').filter(|group| is_whole(group)) {
                Some(group) => Self::TasksBelow(trimmed(group)),
                None => Self::Tasks(trimmed(app)),
            },
            // DELETE of .../restart is the deletion of an app of that name there, and so it is here.
            _ if method == Method::DELETE => Self::App(path.to_owned()),
            Some((app, "restart")) => Self::Restart(trimmed(app)),
            Some((app, "versions")) => Self::Versions(trimmed(app)),
            Some((group, "*")) => Self::Below(format!("/{}", trimmed(group))),
            _ if path == "*" => Self::Below("/".to_owned()),
            _ => Self::App(path.to_owned()),
        }
    }
}

/// What a path of groups names when it is read. Ids are without their leading slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupTarget {
    /// A group.
    Group(String),
    /// All apps below a group.
    Apps(String),
    /// The versions of a group.
    Versions(String),
    /// A version of a group.
    Version(String, String),
}

impl GroupTarget {
    /// Takes a path apart.
    pub fn of(path: &str) -> Self {
        let path = path.trim_matches('/');
        if let Some(version) = path.strip_prefix("versions/").filter(|version| !version.contains('/')) {
            return Self::Version(String::new(), version.to_owned());
        }
        if let Some((group, version)) = split(path, "versions") {
            return Self::Version(group, version);
        }
        match (path, path.rsplit_once('/')) {
            ("apps", _) => Self::Apps(String::new()),
            ("versions", _) => Self::Versions(String::new()),
            (_, Some((group, "apps"))) => Self::Apps(trimmed(group)),
            (_, Some((group, "versions"))) => Self::Versions(trimmed(group)),
            _ => Self::Group(path.to_owned()),
        }
    }
}

/// What a path of pods names. Ids are without their leading slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodTarget {
    /// A pod.
    Pod(String),
    /// The status of a pod.
    Status(String),
    /// The status of all pods.
    AllStatus,
    /// The versions of a pod.
    Versions(String),
    /// A version of a pod.
    Version(String, String),
    /// The instances of a pod.
    Instances(String),
    /// An instance of a pod.
    Instance(String, String),
}

impl PodTarget {
    /// Takes a path apart.
    pub fn of(path: &str) -> Self {
        let path = path.trim_matches('/');
        let Some((pod, what)) = path.split_once("::") else { return Self::Pod(path.to_owned()) };
        let pod = trimmed(pod);
        match (what.split_once('/'), what) {
            (None, "status") if pod.is_empty() => Self::AllStatus,
            (None, "status") => Self::Status(pod),
            (None, "versions") => Self::Versions(pod),
            (None, "instances") => Self::Instances(pod),
            (Some(("versions", version)), _) => Self::Version(pod, version.to_owned()),
            (Some(("instances", instance)), _) => Self::Instance(pod, instance.to_owned()),
            _ => Self::Pod(path.to_owned()),
        }
    }
}

fn trimmed(id: &str) -> String {
    id.trim_matches('/').to_owned()
}

/// Whether what stands before a star is empty or a whole path.
fn is_whole(group: &str) -> bool {
    group.is_empty() || group.ends_with('/')
}

/// `a/b/versions/x` as `a/b` and `x`.
fn split(path: &str, word: &str) -> Option<(String, String)> {
    let (before, after) = path.rsplit_once('/')?;
    let id = before.strip_suffix(word)?.strip_suffix('/')?;
    Some((trimmed(id), after.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_split_off_and_ids_may_be_deep() {
        let get = |path: &str| Target::of(path, &Method::GET);
        let s = str::to_owned;
        assert_eq!(get("a"), Target::App(s("a")));
        assert_eq!(get("/a/b/c/"), Target::App(s("a/b/c")));
        assert_eq!(get("a/b/restart"), Target::Restart(s("a/b")));
        assert_eq!(get("a/b/versions"), Target::Versions(s("a/b")));
        assert_eq!(
            get("a/versions/2020-01-01T00:00:00.000Z"),
            Target::Version(s("a"), s("2020-01-01T00:00:00.000Z"))
        );
        assert_eq!(get("a/b/tasks"), Target::Tasks(s("a/b")));
        assert_eq!(get("a/b/*"), Target::Below(s("/a/b")));
        assert_eq!(get("*"), Target::Below(s("/")));
        assert_eq!(get("restart"), Target::App(s("restart")));
        assert_eq!(get("a/*/tasks"), Target::TasksBelow(s("a")));
        assert_eq!(get("*/tasks"), Target::TasksBelow(s("")));
        let delete = |path: &str| Target::of(path, &Method::DELETE);
        assert_eq!(delete("a/restart"), Target::App(s("a/restart")));
        assert_eq!(delete("a/b/tasks"), Target::Tasks(s("a/b")));
        assert_eq!(delete("a/b/tasks/t.x"), Target::Task(s("a/b"), s("t.x")));
        assert_eq!(delete("a/versions/v"), Target::App(s("a/versions/v")));
    }

    #[test]
    fn groups_and_pods_have_their_suffixes() {
        let s = str::to_owned;
        for (path, target) in [
            ("a/b", GroupTarget::Group(s("a/b"))),
            ("apps", GroupTarget::Apps(s(""))),
            ("a/apps", GroupTarget::Apps(s("a"))),
            ("versions", GroupTarget::Versions(s(""))),
            ("a/versions", GroupTarget::Versions(s("a"))),
            ("versions/v", GroupTarget::Version(s(""), s("v"))),
            ("a/versions/v", GroupTarget::Version(s("a"), s("v"))),
        ] {
            assert_eq!(GroupTarget::of(path), target);
        }
        for (path, target) in [
            ("a/b", PodTarget::Pod(s("a/b"))),
            ("::status", PodTarget::AllStatus),
            ("/a::status", PodTarget::Status(s("a"))),
            ("a::versions", PodTarget::Versions(s("a"))),
            ("a::versions/v", PodTarget::Version(s("a"), s("v"))),
            ("a::instances", PodTarget::Instances(s("a"))),
            ("a::instances/i", PodTarget::Instance(s("a"), s("i"))),
        ] {
            assert_eq!(PodTarget::of(path), target);
        }
    }
}
