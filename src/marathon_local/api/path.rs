//! What a path below `/v2/apps/` means. Pure.

use axum::http::Method;

/// What a path names. Ids are without their leading slash.
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
}

impl Target {
    /// Takes a path apart. Slashes before and behind it do not count: many clients write ids with theirs.
    pub fn of(path: &str, method: &Method) -> Self {
        let path = path.trim_matches('/');
        let id = |id: &str| id.trim_matches('/').to_owned();
        if method == Method::DELETE {
            // DELETE of .../restart is the deletion of an app of that name there, and so it is here.
            return Self::App(id(path));
        }
        if let Some((app, version)) = path.rsplit_once("/versions/").filter(|(_, v)| !v.contains('/')) {
            return Self::Version(id(app), version.to_owned());
        }
        match path.rsplit_once('/') {
            Some((app, "restart")) => Self::Restart(id(app)),
            Some((app, "versions")) => Self::Versions(id(app)),
            Some((app, "tasks")) => Self::Tasks(id(app)),
            Some((group, "*")) => Self::Below(format!("/{}", id(group))),
            _ if path == "*" => Self::Below("/".to_owned()),
            _ => Self::App(id(path)),
        }
    }
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
        assert_eq!(Target::of("a/restart", &Method::DELETE), Target::App(s("a/restart")));
    }
}
