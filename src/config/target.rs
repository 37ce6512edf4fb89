//! A back end named on the command line of the `storage` commands.

use std::path::{Path, PathBuf};

use super::s3::{self, Given};
use super::values::Advice;
use super::{
    Backend, ConfigError, Environment, Overrides, RunSettings, S3Credentials, S3Settings, StorageSettings,
};

/// What the command line says beside the name of a back end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackendOptions {
    /// `--endpoint`: the URL of the S3 server.
    pub endpoint: Option<String>,
    /// `--region`.
    pub region: Option<String>,
    /// `--path-style`: whether the bucket stands in the path of URLs.
    pub path_style: Option<bool>,
    /// `--credentials`: a file as the AWS command line has it.
    pub credentials: Option<PathBuf>,
    /// `--profile`: the profile in that file.
    pub profile: Option<String>,
    /// `--ca`: a PEM file of certificates to trust besides the system's.
    pub ca: Option<PathBuf>,
    /// `--spool`: a directory for temporary data.
    pub spool: Option<PathBuf>,
    /// `--unsafe-single-writer`: the operator's word that nobody else writes.
    pub unsafe_single_writer: bool,
}

impl BackendOptions {
    /// The first given option that only S3 has.
    fn s3_only(&self) -> Option<&'static str> {
        let given = [
            ("--endpoint", self.endpoint.is_some()),
            ("--region", self.region.is_some()),
            ("--path-style", self.path_style.is_some()),
            ("--credentials", self.credentials.is_some()),
            ("--profile", self.profile.is_some()),
            ("--ca", self.ca.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }
}

impl Backend {
    /// Reads a back end as the command line names it: `s3://bucket/path`, or the path of a directory, which has
    /// a slash in it (`/var/lib/x`, `./x`) so that a bucket's bare name is not taken for one.
    ///
    /// # Errors
    /// When the text names no back end, or an option does not fit it.
    pub fn parse(
        text: &str,
        options: &BackendOptions,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let refused = |Advice { message, suggestion }| {
            // What follows is never a password: URLs of servers are options.
            let target = text.chars().take(200).collect();
            ConfigError::Backend { target, message, suggestion }
        };
        match text.strip_prefix("s3://") {
            Some(rest) => bucket(rest, options, environment).map(Self::S3).map_err(refused),
            None => directory(text, options).map_err(refused),
        }
    }
}

fn directory(text: &str, options: &BackendOptions) -> Result<Backend, Advice> {
    if text.contains("://") {
        return Err(Advice::new(
            "is no back end",
            "write s3://bucket/path with --endpoint, or the path of a directory",
        ));
    }
    if !text.contains('/') && text != "." && text != ".." {
        let suggestion = match text {
            "" => "write s3://bucket/path, or the path of a directory".to_owned(),
            _ => format!("write ./{text} for a directory or s3://{text} for a bucket"),
        };
        return Err(Advice::new("is no back end", suggestion));
    }
    if let Some(option) = options.s3_only() {
        let message = format!("is a directory, and {option} is for buckets");
        return Err(Advice::new(message, format!("leave {option} out, or write s3://bucket/path")));
    }
    let path = std::path::absolute(text).map_err(|_| Advice::new("is no path", "write an absolute path"))?;
    Ok(Backend::Local { path })
}

fn bucket(text: &str, options: &BackendOptions, environment: &Environment) -> Result<S3Settings, Advice> {
    if text.contains(['?', '#', '@']) {
        let suggestion = "write s3://bucket/path, and the rest as --endpoint, --region or --credentials";
        return Err(Advice::new("holds more than bucket and path", suggestion));
    }
    let (bucket, path) = text.split_once('/').unwrap_or((text, ""));
    let bucket = s3::bucket(bucket)?;
    let of_endpoint =
        |advice: Advice| Advice { message: format!("--endpoint: {}", advice.message), ..advice };
    let endpoint = match &options.endpoint {
        Some(url) => Some(s3::endpoint(url, Some(&bucket), options.path_style).map_err(of_endpoint)?),
        None => None,
    };
    let credentials = match (&options.credentials, &options.profile) {
        (Some(path), profile) => {
            let profile = profile.clone().unwrap_or_else(|| "default".to_owned());
            Some(S3Credentials::File { path: path.clone(), profile })
        }
        (None, Some(_)) => {
            return Err(Advice::new("--profile is given without a file", "add --credentials FILE"));
        }
        (None, None) => None,
    };
    let given = Given {
        path: s3::prefix(path)?,
        bucket,
        endpoint,
        region: options.region.clone(),
        path_style: options.path_style,
        credentials,
        ca: options.ca.clone(),
    };
    Ok(given.settle(environment))
}

/// The storage that a `storage` command works on: the one of a daemon's file, or a back end by its name.
///
/// # Errors
/// When neither or both are given, or what is given cannot be used.
pub fn storage_from_cli(
    target: Option<&str>,
    config: Option<&Path>,
    options: &BackendOptions,
    environment: &Environment,
) -> Result<StorageSettings, ConfigError> {
    let mut storage = match (target, config) {
        (Some(target), None) => {
            StorageSettings::of(Backend::parse(target, options, environment)?, environment)
        }
        (None, Some(path)) => {
            if let Some(option) = options.s3_only() {
                return Err(ConfigError::OptionBesideFile { option, path: path.to_owned() });
            }
            RunSettings::load(path, environment, &Overrides::default())?.storage
        }
        _ => return Err(ConfigError::WhichStorage),
    };
    storage.unsafe_single_writer |= options.unsafe_single_writer;
    if let Some(spool) = &options.spool {
        storage.spool.clone_from(spool);
    }
    Ok(storage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, options: &BackendOptions) -> Result<Backend, String> {
        Backend::parse(text, options, &Environment::fixed([])).map_err(|error| error.to_string())
    }

    #[test]
    fn a_back_end_is_a_bucket_or_a_path_with_a_slash() {
        let options = BackendOptions {
            endpoint: Some("http://127.0.0.1:9000/".into()),
            credentials: Some("/keys".into()),
            ..BackendOptions::default()
        };
        let backend = parse("s3://b/some/path/", &options).unwrap();
        assert_eq!(backend.to_string(), "s3://b/some/path at http://127.0.0.1:9000");
        let Backend::S3(s3) = backend else { panic!() };
        assert!(s3.path_style && s3.allow_http);
        assert_eq!(s3.credentials, S3Credentials::File { path: "/keys".into(), profile: "default".into() });
        let none = BackendOptions::default();
        assert_eq!(parse("s3://b", &none).unwrap().to_string(), "s3://b in us-east-1");
        assert_eq!(parse("/var/lib/x", &none).unwrap().to_string(), "/var/lib/x");
        let here = std::env::current_dir().unwrap();
        assert_eq!(parse("./x", &none).unwrap(), Backend::Local { path: here.join("x") });
    }

    #[test]
    fn what_names_no_back_end_is_told_what_would() {
        let none = BackendOptions::default();
        let refused = |text| parse(text, &none).unwrap_err();
        assert_eq!(refused("x"), "x: is no back end (write ./x for a directory or s3://x for a bucket)");
        assert!(refused("").contains("write s3://bucket/path"));
        assert!(refused("https://minio/b").contains("--endpoint"));
        assert!(refused("s3://").contains("is empty"));
        assert!(refused("s3://b/a//c").contains("not a path inside a bucket"));
        assert!(refused("s3://b/p?endpoint=x").contains("--endpoint"));
        let options = BackendOptions { endpoint: Some("minio:9000".into()), ..none.clone() };
        assert_eq!(
            parse("s3://b", &options).unwrap_err(),
            "s3://b: --endpoint: the URL has no scheme (write https://minio:9000)"
        );
        assert!(parse("./x", &options).unwrap_err().contains("--endpoint is for buckets"));
        let options = BackendOptions { profile: Some("p".into()), ..none };
        assert!(parse("s3://b", &options).unwrap_err().contains("--credentials"));
    }

    #[test]
    fn the_storage_is_named_once() {
        let (none, empty) = (Environment::fixed([]), BackendOptions::default());
        assert!(storage_from_cli(None, None, &empty, &none).is_err());
        assert!(storage_from_cli(Some("./x"), Some(Path::new("f")), &empty, &none).is_err());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.yaml");
        std::fs::write(&file, "storage: {local: {path: data}}").unwrap();
        let options = BackendOptions { spool: Some("/s".into()), unsafe_single_writer: true, ..empty };
        let storage = storage_from_cli(None, Some(&file), &options, &none).unwrap();
        assert_eq!(storage.backend, Backend::Local { path: folder.path().join("data") });
        assert_eq!((&*storage.spool, storage.unsafe_single_writer), (Path::new("/s"), true));
        let options = BackendOptions { region: Some("x".into()), ..options };
        assert!(storage_from_cli(None, Some(&file), &options, &none).is_err());
    }
}
