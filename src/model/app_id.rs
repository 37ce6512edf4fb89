//! The path of a Marathon app.
//!
//! Rules: `state/PathId.scala` and `AppValidation.scala` of mesosphere/marathon: segments of lower-case
//! letters, digits, `-` and `.`, neither first nor last a `-`; some words are no last segment.

use super::name::checked_string;

checked_string!(
    /// An absolute Marathon app id, such as `/quickstart/hello`.
    AppId,
    "app id",
    "write an absolute path such as /group/app: segments of lower-case letters, digits, '-' and '.', \
     letters or digits first and last in each, and the last segment not restart, tasks or versions",
    is_app_id
);

impl AppId {
    /// Reads an id that may lack its leading slash, as templates often do.
    ///
    /// # Errors
    /// When the rest is no valid path.
    pub fn absolute(text: &str) -> Result<Self, super::InvalidName> {
        if text.starts_with('/') { Self::new(text) } else { Self::new(&format!("/{text}")) }
    }

    /// Whether the app lies in the group (`/` holds everything, `/a/` and `/a` hold `/a/b` but not `/ab`).
    #[must_use]
    pub fn is_below(&self, group: &str) -> bool {
        let group = group.trim_end_matches('/');
        self.as_str().strip_prefix(group).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The name under which DC/OS balances the service of this app inside the cluster: its segments without
    /// the slashes, in the domain of the layer 4 load balancer (documents of the package registry).
    #[must_use]
    pub fn l4lb_host(&self) -> String {
        format!("{}.marathon.l4lb.thisdcos.directory", self.as_str().replace('/', ""))
    }
}

fn is_app_id(text: &str) -> bool {
    let Some(path) = text.strip_prefix('/') else { return false };
    let last = path.rsplit('/').next().unwrap_or_default();
    text.len() <= 255 && path.split('/').all(is_segment) && !matches!(last, "restart" | "tasks" | "versions")
}

fn is_segment(segment: &str) -> bool {
    segment.split('.').all(|label| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        label.starts_with(inner) && label.ends_with(inner) && label.chars().all(|c| inner(c) || c == '-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_marathons_path_rules() {
        for good in ["/a", "/a/b-c/d.e", "/restart/x", "/0"] {
            assert!(AppId::new(good).is_ok(), "{good}");
        }
        for bad in
            ["", "/", "a", "/A", "/a/", "//a", "/a_b", "/-a", "/a-", "/a/restart", "/a/..", "/.", "/a.-b"]
        {
            assert!(AppId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_host_of_a_service_is_its_path_without_slashes() {
        let host = |id| AppId::absolute(id).unwrap().l4lb_host();
        assert_eq!(host("dcos-registry"), "dcos-registry.marathon.l4lb.thisdcos.directory");
        assert_eq!(
            host("/my/custom/dcos-registry"),
            "mycustomdcos-registry.marathon.l4lb.thisdcos.directory"
        );
    }

    #[test]
    fn groups_hold_whole_segments_only() {
        let id = AppId::new("/demo/hello").unwrap();
        assert!(id.is_below("/") && id.is_below("/demo") && id.is_below("/demo/"));
        assert!(!id.is_below("/dem") && !id.is_below("/demo/hello"));
    }
}
