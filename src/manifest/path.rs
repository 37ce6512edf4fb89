//! How a place inside a document is written: `spec.options.cpus`, `spec.dependsOn[0]`, `labels["a.b"]`.

/// The path of a member of the mapping at `parent`.
pub fn child_path(parent: &str, key: &str) -> String {
    let simple = !key.is_empty() && !key.contains(['.', '[', ']', '"', ' ']);
    match (simple, parent.is_empty()) {
        (true, true) => key.into(),
        (true, false) => format!("{parent}.{key}"),
        (false, _) => format!("{parent}[{key:?}]"),
    }
}

/// The path of an item of the list at `parent`.
pub fn item_path(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

/// The path of what holds the thing at `path`; none for the document itself.
pub fn parent_path(path: &str) -> Option<&str> {
    if path.is_empty() {
        return None;
    }
    let cut = match path.strip_suffix("\"]") {
        // The quoted key may hold dots and brackets itself.
        Some(quoted) => quoted.rfind("[\""),
        None => path.rfind(['.', '[']),
    };
    Some(&path[..cut.unwrap_or(0)])
}

/// Follows a JSON pointer from `base`: `/server/cpus` below `spec.options` is `spec.options.server.cpus`.
pub fn pointer_path(base: &str, pointer: &str) -> String {
    pointer.split('/').skip(1).fold(base.to_owned(), |path, segment| {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        match segment.parse() {
            Ok(index) => item_path(&path, index),
            Err(_) => child_path(&path, &segment),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_down_and_up_again() {
        let path = child_path(&item_path(&child_path("spec", "list"), 3), "a.b");
        assert_eq!(path, "spec.list[3][\"a.b\"]");
        assert_eq!(parent_path(&path), Some("spec.list[3]"));
        assert_eq!(parent_path("spec.list[3]"), Some("spec.list"));
        assert_eq!(parent_path("spec.list"), Some("spec"));
        assert_eq!(parent_path("spec"), Some(""));
        assert_eq!(parent_path(""), None);
    }

    #[test]
    fn pointers_become_paths() {
        assert_eq!(pointer_path("spec.options", "/server/cpus"), "spec.options.server.cpus");
        assert_eq!(pointer_path("spec.options", "/a~1b/0"), "spec.options.a/b[0]");
        assert_eq!(pointer_path("spec.options", ""), "spec.options");
    }
}
