//! What a bucket needs, the same from the daemon's file, the install options and the command line.

use std::path::PathBuf;

use super::values::{Advice, server_url};
use super::{Environment, S3Credentials, S3Settings};

/// The endpoint that messages show.
pub const EXAMPLE: &str = "https://s3.us-east-1.amazonaws.com";
/// The region that most servers which are not Amazon's take.
const REGION: &str = "us-east-1";
/// The domain of Amazon's endpoints.
const AMAZON: &str = ".amazonaws.com";
/// S3 takes no longer keys (1024 bytes); what we put below the prefix needs some 200 of them.
const LONGEST_PATH: usize = 512;

/// What was given; the rest follows from it.
#[derive(Default)]
pub struct Given {
    /// The bucket.
    pub bucket: String,
    /// The checked prefix.
    pub path: String,
    /// The checked endpoint.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Whether the bucket stands in the path.
    pub path_style: Option<bool>,
    /// Where the keys come from.
    pub credentials: Option<S3Credentials>,
    /// Certificates to trust.
    pub ca: Option<PathBuf>,
}

impl Given {
    /// The settings with the defaults: the region of an endpoint of Amazon's, else of the environment, else
    /// us-east-1; the bucket in the path of URLs except with Amazon; keys from the environment where it has
    /// them, else those of the role of the machine.
    pub fn settle(self, environment: &Environment) -> S3Settings {
        let amazon = self.endpoint.as_deref().is_none_or(|endpoint| host(endpoint).ends_with(AMAZON));
        let of_environment =
            || ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(|name| environment.filled(name));
        let of_endpoint = self.endpoint.as_deref().and_then(amazon_region);
        let credentials = self.credentials.unwrap_or_else(|| {
            let known = environment.filled("AWS_ACCESS_KEY_ID").is_some();
            if known { S3Credentials::Environment } else { S3Credentials::InstanceRole }
        });
        S3Settings {
            region: self.region.or(of_endpoint).or_else(of_environment).unwrap_or_else(|| REGION.to_owned()),
            path_style: self.path_style.unwrap_or(!amazon),
            allow_http: self.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http:")),
            bucket: self.bucket,
            path: self.path,
            endpoint: self.endpoint,
            credentials,
            ca: self.ca,
        }
    }
}

fn host(endpoint: &str) -> &str {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    rest.split(['/', ':']).next().unwrap_or(rest)
}

/// The region in the name of an endpoint: `s3.<region>.amazonaws.com`, in older ones `s3-<region>`.
fn amazon_region(endpoint: &str) -> Option<String> {
    let name = host(endpoint).strip_suffix(AMAZON)?;
    let region = name.strip_prefix("s3.dualstack.").or_else(|| name.strip_prefix("s3."));
    let region = region.or_else(|| name.strip_prefix("s3-"))?;
    Some(region.to_owned())
}

/// Checks the name of a bucket. Other servers take names that Amazon does not, so this is wider than its rules.
pub fn bucket(text: &str) -> Result<String, Advice> {
    let suggestion = "write the bucket's name, such as my-bucket";
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.trim().is_empty() {
        return Err(Advice::new("is empty", suggestion));
    }
    if let Some((bucket, path)) = text.trim_start_matches("s3://").split_once('/') {
        let suggestion = format!("write bucket {bucket} and path {path}");
        return Err(Advice::new("a bucket's name has no slash in it", suggestion));
    }
    if !text.chars().all(valid) || text.len() > 255 || text.starts_with('.') {
        return Err(Advice::new("not a bucket's name", suggestion));
    }
    Ok(text.to_owned())
}

/// Checks the prefix of all keys, and takes the slashes off its ends.
pub fn prefix(text: &str) -> Result<String, Advice> {
    let trimmed = text.trim_matches('/');
    let bad = |segment: &str| matches!(segment, "" | "." | "..") || segment.contains(char::is_control);
    if !trimmed.is_empty() && (trimmed.len() > LONGEST_PATH || trimmed.split('/').any(bad)) {
        let suggestion = "write segments with one slash between them, such as my-path/registry";
        return Err(Advice::new("not a path inside a bucket", suggestion));
    }
    Ok(trimmed.to_owned())
}

/// Checks an endpoint. With the bucket in the path of URLs, the endpoint itself must not name it.
pub fn endpoint(text: &str, bucket: Option<&str>, path_style: Option<bool>) -> Result<String, Advice> {
    let url = server_url(text, EXAMPLE).map_err(|advice| match &*advice.message {
        "is empty" => Advice::new(
            "is empty",
            format!("write the URL of the S3 server, such as {EXAMPLE}, or leave the key out for Amazon S3"),
        ),
        _ => advice,
    })?;
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", &url));
    let server = rest.split('/').next().unwrap_or(rest);
    if server.len() < rest.len() {
        let suggestion = format!("write {scheme}://{server}; bucket and path are settings of their own");
        return Err(Advice::new("the endpoint holds a path", suggestion));
    }
    let without_bucket = bucket.and_then(|bucket| server.strip_prefix(bucket)?.strip_prefix('.'));
    if path_style != Some(false)
        && let Some(server) = without_bucket
    {
        return Err(Advice::new("the endpoint holds the bucket", format!("write {scheme}://{server}")));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_follows_from_what_is_given() {
        let none = Environment::fixed([]);
        let at = |endpoint: &str| Given { endpoint: Some(endpoint.to_owned()), ..Given::default() };
        let amazon = at("https://s3.eu-west-1.amazonaws.com").settle(&none);
        assert_eq!((&*amazon.region, amazon.path_style, amazon.allow_http), ("eu-west-1", false, false));
        assert_eq!(amazon.credentials, S3Credentials::InstanceRole);
        let minio = at("http://minio:9000").settle(&Environment::fixed([("AWS_REGION", "x")]));
        assert_eq!((&*minio.region, minio.path_style, minio.allow_http), ("x", true, true));
        let keys = Environment::fixed([("AWS_ACCESS_KEY_ID", "a")]);
        assert_eq!(Given::default().settle(&keys).credentials, S3Credentials::Environment);
        assert_eq!(at("https://s3.amazonaws.com").settle(&none).region, "us-east-1");
        assert_eq!(at("https://s3-us-west-2.amazonaws.com").settle(&none).region, "us-west-2");
    }

    #[test]
    fn parts_that_belong_elsewhere_are_shown_their_place() {
        assert_eq!(prefix("/a/b/"), Ok("a/b".into()));
        assert_eq!(prefix("/"), Ok(String::new()));
        for bad in ["a//b", "../a", "a/./b", "a\nb"] {
            assert!(prefix(bad).is_err(), "{bad:?}");
        }
        let slash = bucket("s3://b/p/q").unwrap_err();
        assert_eq!(slash.suggestion, "write bucket b and path p/q");
        assert!(bucket("a b").is_err() && bucket("").is_err() && bucket("My_bucket.1").is_ok());
        let path = endpoint("https://minio:9000/b", None, None).unwrap_err();
        assert!(path.suggestion.starts_with("write https://minio:9000;"), "{path:?}");
        let name = endpoint("https://b.s3.amazonaws.com", Some("b"), None).unwrap_err();
        assert_eq!(name.suggestion, "write https://s3.amazonaws.com");
        assert!(endpoint("https://b.s3.amazonaws.com", Some("b"), Some(false)).is_ok());
        assert!(endpoint("https://bs3.amazonaws.com", Some("b"), None).is_ok());
    }
}
