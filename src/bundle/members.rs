//! Finds the files that `resource.json` names and puts references in the place of their paths.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{MOST_PROBLEMS, MemberFiles};
use crate::model::{
    Digest, Member, Problem, ResourceUri, Snapshot, SnapshotFile, SnapshotPath, resource_uris,
};
use crate::universe::line_of;

/// The members of a package and where their bytes are. The URIs in the metadata become references.
///
/// # Errors
/// All URIs that name no file of the package.
pub fn embed(
    snapshot: &Snapshot,
    directory: &SnapshotPath,
    metadata: &mut Value,
) -> Result<(Vec<Member>, MemberFiles), Vec<Problem>> {
    let mut embedding = Embedding::new(snapshot, directory);
    embedding.refuse_docker_images(metadata);
    for uri in resource_uris(metadata) {
        embedding.embed(uri);
    }
    embedding.check_hashes(metadata);
    let Embedding { mut members, files, mut problems, .. } = embedding;
    if !problems.is_empty() {
        problems.sort();
        problems.truncate(MOST_PROBLEMS);
        return Err(problems);
    }
    members.sort();
    Ok((members, files))
}

/// Puts references in the place of those URIs that name a file of the package, and leaves the others alone.
pub fn refer(snapshot: &Snapshot, directory: &SnapshotPath, metadata: &mut Value) {
    let embedding = Embedding::new(snapshot, directory);
    for ResourceUri { uri, .. } in resource_uris(metadata) {
        if let Ok((name, file)) = embedding.find(uri) {
            *uri = format!("{}/{name}", file.digest);
        }
    }
}

struct Embedding<'a> {
    snapshot: &'a Snapshot,
    directory: &'a SnapshotPath,
    /// `resource.json` itself, for the lines of problems.
    file: SnapshotPath,
    members: Vec<Member>,
    files: MemberFiles,
    problems: Vec<Problem>,
}

impl<'a> Embedding<'a> {
    fn new(snapshot: &'a Snapshot, directory: &'a SnapshotPath) -> Self {
        let file = directory.join("resource.json").unwrap_or_default();
        let (members, files, problems) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { snapshot, directory, file, members, files, problems }
    }

    fn problem(&mut self, path: &str, message: String, suggestion: &str) {
        if self.problems.len() >= MOST_PROBLEMS {
            return;
        }
        let text = self.snapshot.files.get(&self.file).and_then(SnapshotFile::bytes).unwrap_or_default();
        let line = line_of(&String::from_utf8_lossy(text), path);
        let problem = Problem::of_file(&self.file, message).at_path(path).suggest(suggestion);
        self.problems.push(match line {
            Some(line) => problem.at_line(line),
            None => problem,
        });
    }

    /// Makes one URI a member.
    fn embed(&mut self, uri: ResourceUri<'_>) {
        let ResourceUri { role, path, uri } = uri;
        match self.find(uri) {
            Ok((name, file)) => {
                *uri = format!("{}/{name}", file.digest);
                let media_type = media_type(&name).to_owned();
                self.files.insert(file.digest, file.clone());
                self.members.push(Member { role, name, digest: file.digest, size: file.size, media_type });
            }
            Err((message, suggestion)) => self.problem(&path, message, suggestion),
        }
    }

    /// The file that a URI names, with the name that it is served under.
    fn find(&self, uri: &str) -> Result<(String, &'a SnapshotFile), (String, &'static str)> {
        let shown: String = uri.chars().take(200).collect();
        if let Some((scheme, host)) = split_url(uri) {
            let put = "put the file beside package.json and write its path";
            return Err(if matches!(scheme, "http" | "https") {
                (format!("{shown}: fetching from {host} is not allowed for this source"), put)
            } else {
                (format!("{shown}: files cannot be fetched by {scheme}"), put)
            });
        }
        if uri.is_empty() || uri.starts_with('/') {
            return Err((format!("{shown:?} is no path of a file"), "write a path relative to package.json"));
        }
        let Some(path) = self.directory.join(uri) else {
            return Err((
                format!("{shown} leaves the source's root folder"),
                "keep the file in the package directory",
            ));
        };
        let Some(file) = self.snapshot.files.get(&path) else {
            return Err((format!("there is no file {path} in the source"), "add it, or correct the path"));
        };
        let name = path.file_name();
        if !can_be_served(name) {
            let message = format!("the file name {name:?} cannot be part of a URL as it stands");
            return Err((message, "rename the file: letters, digits, '.', '_' and '-'"));
        }
        Ok((name.to_owned(), file))
    }

    fn refuse_docker_images(&mut self, metadata: &Value) {
        let images = metadata.pointer("/resource/assets/container/docker").and_then(Value::as_object);
        for (alias, image) in images.into_iter().flatten() {
            let path = format!("assets.container.docker.{alias}");
            let shown: String = image.as_str().unwrap_or_default().chars().take(200).collect();
            let message = format!("{shown}: Docker images cannot be embedded yet");
            self.problem(&path, message, "leave the image out of resource.json and name it in the template");
        }
    }

    /// Where `resource.json` states a binary's SHA-256, the file must have it.
    fn check_hashes(&mut self, metadata: &Value) {
        for (path, digest) in wrong_hashes(metadata, &self.members) {
            let message = format!("the file's SHA-256 is {}", digest.hex());
            self.problem(&path, message, "correct the value, or put the right file there");
        }
    }
}

/// The places inside `resource` that state another SHA-256 of a binary than the member has, each with the
/// digest that the member does have.
pub(super) fn wrong_hashes(metadata: &Value, members: &[Member]) -> Vec<(String, Digest)> {
    let mut wrong = Vec::new();
    let systems = metadata.pointer("/resource/cli/binaries").and_then(Value::as_object);
    for (system, machines) in systems.into_iter().flatten() {
        for (machine, binary) in machines.as_object().into_iter().flatten() {
            let role = format!("cli/{system}/{machine}");
            let Some(digest) = members.iter().find(|m| m.role == role).map(|m| m.digest) else {
                continue;
            };
            let hashes = binary.get("contentHash").and_then(Value::as_array);
            for (index, hash) in hashes.into_iter().flatten().enumerate() {
                let stated = hash.get("value").and_then(Value::as_str).unwrap_or_default();
                if !stated.eq_ignore_ascii_case(&digest.hex()) {
                    wrong.push((
                        format!("cli.binaries.{system}.{machine}.contentHash[{index}].value"),
                        digest,
                    ));
                }
            }
        }
    }
    wrong
}

/// Whether a file can be served under this name: the name becomes part of a URL, and Mesos names the fetched
/// file by that part as it stands.
pub(super) fn can_be_served(name: &str) -> bool {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    plain && (1..=255).contains(&name.len()) && name != "." && name != ".."
}

/// Scheme and host of a URL; none for a path. A scheme is a letter and then letters, digits, `+`, `-`
/// and `.` up to a colon (RFC 3986).
fn split_url(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = uri.split_once(':')?;
    let inner = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(inner) {
        return None;
    }
    let authority = rest.trim_start_matches('/').split(['/', '?', '#']).next().unwrap_or_default();
    Some((scheme, authority.rsplit('@').next().unwrap_or_default()))
}

/// The media type that a file's extension suggests.
pub(super) fn media_type(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    match extension.as_str() {
        "css" => "text/css",
        "gif" => "image/gif",
        "gz" | "tgz" => "application/gzip",
        "html" => "text/html",
        "jar" => "application/java-archive",
        "jpg" | "jpeg" => "image/jpeg",
        "js" => "text/javascript",
        "json" => "application/json",
        "png" => "image/png",
        "sh" => "application/x-sh",
        "svg" => "image/svg+xml",
        "tar" => "application/x-tar",
        "txt" | "md" | "log" => "text/plain",
        "xml" => "application/xml",
        "xz" | "txz" => "application/x-xz",
        "yaml" | "yml" => "application/yaml",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_paths() {
        assert_eq!(split_url("https://u:p@a.example:80/x"), Some(("https", "a.example:80")));
        assert_eq!(split_url("hdfs://n/x"), Some(("hdfs", "n")));
        assert_eq!(split_url("sha256:00/x"), Some(("sha256", "00")));
        for path in ["a.sh", "./a:b", "a/b:c", "", "1a:b"] {
            assert_eq!(split_url(path), None, "{path}");
        }
    }
}
