//! `storage` in the daemon's file.

use super::s3::{self, Given};
use super::values::{Advice, Context, checked, filled, flag, path, report};
use super::{Backend, S3Credentials, S3Settings, StorageSettings};
use crate::manifest::fields::{Fields, Located};
use crate::manifest::tree::Data;

/// The back ends by their keys.
pub const BACKENDS: [&str; 3] = ["local", "mountVolume", "s3"];
/// The other keys.
pub const SWITCHES: [&str; 2] = ["unsafeSingleWriter", "spool"];

/// Reads `storage`.
pub fn read(at: Located<'_>, context: &mut Context<'_>) -> Option<StorageSettings> {
    let [local, mount, s3] = BACKENDS;
    let [single, spool] = SWITCHES;
    let fields = at.fields(&[local, mount, s3, single, spool], &mut context.faults)?;
    let backend = match one_of(&fields, &BACKENDS, context)? {
        (key, at) if key == local => read_local(at, context),
        (key, at) if key == mount => read_mount(at, context),
        (_, at) => read_s3(at, context).map(Backend::S3),
    };
    let single = fields.optional(single).and_then(|at| flag(&at, context));
    let spool = fields.optional(spool).and_then(|at| path(&at, context));
    let mut settings = StorageSettings::of(backend?, context.environment);
    settings.unsafe_single_writer = single.unwrap_or(false);
    settings.spool = spool.unwrap_or(settings.spool);
    Some(settings)
}

/// The one key that is given of those that exclude each other.
fn one_of<'n>(
    fields: &Fields<'n>,
    keys: &[&'static str],
    context: &mut Context<'_>,
) -> Option<(&'static str, Located<'n>)> {
    let mut given: Vec<_> = keys.iter().filter_map(|key| Some((*key, fields.optional(key)?))).collect();
    if given.len() == 1 {
        return given.pop();
    }
    if given.is_empty() {
        if fields.meant(keys) {
            return None;
        }
        let suggestion = format!("write one of {}", keys.join(", "));
        fields.at.fault(&mut context.faults, "names no back end", suggestion);
    } else {
        let names: Vec<&str> = given.iter().map(|(key, _)| *key).collect();
        let message = format!("{} are given, and packages lie in one place", names.join(" and "));
        fields.at.fault(&mut context.faults, message, "write exactly one of them");
    }
    None
}

fn read_local(at: Located<'_>, context: &mut Context<'_>) -> Option<Backend> {
    let fields = at.fields(&["path"], &mut context.faults)?;
    let at = fields.required("path", "/var/lib/dcos-registry", &mut context.faults)?;
    Some(Backend::Local { path: path(&at, context)? })
}

fn read_mount(at: Located<'_>, context: &mut Context<'_>) -> Option<Backend> {
    let fields = at.fields(&["containerPath", "pinnedHostname"], &mut context.faults)?;
    let container = fields.required("containerPath", "package-registry", &mut context.faults);
    let container = container.and_then(|at| filled(&at, "package-registry", context));
    let pinned = match fields.optional("pinnedHostname") {
        Some(at) => Some(pinned_hostname(&at, context)?),
        None => None,
    };
    Some(Backend::MountVolume { path: context.environment.in_sandbox(container?), pinned_hostname: pinned })
}

/// Reads the agent of a mount volume. Elsewhere the volume would be another one, or none.
pub fn pinned_hostname(at: &Located<'_>, context: &mut Context<'_>) -> Option<String> {
    let pinned = at.text(&mut context.faults)?.trim();
    if pinned.is_empty() {
        let suggestion = "write the host name of the agent that has the volume, as `dcos node` shows it";
        at.fault(&mut context.faults, "is empty", suggestion);
        return None;
    }
    // HOST is what Marathon calls the agent (TaskBuilder.scala of Marathon).
    if let Some(host) = context.environment.filled("HOST")
        && !host.eq_ignore_ascii_case(pinned)
    {
        let message = format!("the volume is on {pinned}, and this instance runs on {host}");
        let suggestion =
            format!("constrain the app to hostname {pinned}, or write {host} if the volume is there");
        at.fault(&mut context.faults, message, suggestion);
        return None;
    }
    Some(pinned.to_owned())
}

fn read_s3(at: Located<'_>, context: &mut Context<'_>) -> Option<S3Settings> {
    let keys = ["bucket", "path", "endpoint", "region", "pathStyle", "credentials", "ca"];
    let fields = at.fields(&keys, &mut context.faults)?;
    let path_style = fields.optional("pathStyle").and_then(|at| flag(&at, context));
    let given = place(&fields, path_style, context);
    let region = fields.optional("region").and_then(|at| filled(&at, "us-east-1", context));
    let credentials = fields.optional("credentials").and_then(|at| read_credentials(at, context));
    let ca = fields.optional("ca").and_then(|at| path(&at, context));
    let region = region.map(str::to_owned);
    let given = Given { region, path_style, credentials, ca, ..given? };
    Some(given.settle(context.environment))
}

/// Reads bucket, path and endpoint, which have the same names in the install options.
pub fn place(fields: &Fields<'_>, path_style: Option<bool>, context: &mut Context<'_>) -> Option<Given> {
    let bucket = fields.required("bucket", "my-bucket", &mut context.faults).and_then(|at| {
        let bucket = s3::bucket(at.text(&mut context.faults)?);
        checked(&at, bucket, context)
    });
    let prefix = fields.optional("path").and_then(|at| {
        let prefix = s3::prefix(at.text(&mut context.faults)?);
        checked(&at, prefix, context)
    });
    let endpoint = fields.optional("endpoint").and_then(|at| {
        let endpoint = s3::endpoint(at.text(&mut context.faults)?, bucket.as_deref(), path_style);
        checked(&at, endpoint, context)
    });
    Some(Given { bucket: bucket?, path: prefix.unwrap_or_default(), endpoint, ..Given::default() })
}

/// Reads where the keys of a bucket come from. What is written there is not repeated in messages: it may be
/// a key.
fn read_credentials(at: Located<'_>, context: &mut Context<'_>) -> Option<S3Credentials> {
    match &at.node.data {
        Data::Text(text) if &**text == "environment" => return Some(S3Credentials::Environment),
        Data::Text(text) if &**text == "instanceRole" => return Some(S3Credentials::InstanceRole),
        Data::Map(_) => {}
        Data::Invalid => return None,
        _ => {
            let suggestion = "write {file: /path, profile: default}, environment or instanceRole";
            report(&at, Advice::new("does not say where the keys come from", suggestion), context);
            return None;
        }
    }
    let fields = at.fields(&["file", "profile"], &mut context.faults)?;
    let file = fields.required("file", "/path/to/credentials", &mut context.faults);
    let file = file.and_then(|at| path(&at, context));
    let profile = match fields.optional("profile") {
        Some(at) => filled(&at, "default", context)?,
        None => "default",
    };
    Some(S3Credentials::File { path: file?, profile: profile.to_owned() })
}
