//! The install options of the package registry for DC/OS, as the documents of DC/OS have them.
//!
//! Under DC/OS they go through the package's template. Here the same file serves as configuration: what it calls
//! the path of a secret is the file that Marathon mounts for it, in the sandbox where the path is relative. With
//! neither a mount volume nor S3, packages lie in `package-registry` in the sandbox, which is where the app
//! must mount its persistent volume. The resources of the service are Marathon's business; that
//! they are numbers is checked, no more. Values are taken as they stand: `{env: …}` and `{file: …}` mean nothing
//! here.

use std::path::PathBuf;

use super::run::{self, app_id};
use super::s3::Given;
use super::storage::{pinned_hostname, place};
use super::values::{Context, count, filled, misplaced};
use super::{Backend, RunSettings, S3Credentials, StorageSettings};
use crate::manifest::fields::{Fields, Located};
use crate::manifest::tree::{Data, Node};
use crate::model::AppId;

/// Where packages lie in the sandbox when nobody says: the volume's name in the documents.
const CONTAINER_PATH: &str = "package-registry";
/// The profile that the documents use.
const PROFILE: &str = "default";

const S3_KEYS: [&str; 5] =
    ["credential-secret-path", "credential-profile-name", "bucket", "path", "endpoint"];

/// Whether a document holds install options.
pub fn is_meant(root: &Node) -> bool {
    root.get("registry").is_some() || root.get("service").is_some()
}

/// Reads a file of install options. None after a fault was reported, which may also be beside a result.
pub fn read(root: Located<'_>, context: &mut Context<'_>) -> Option<RunSettings> {
    let mut keys = vec!["registry", "service"];
    keys.extend(run::KEYS);
    let root = root.fields(&keys, &mut context.faults)?;
    let message =
        "stands beside the install options of DC/OS (registry, service), which are a format of their own";
    misplaced(&root, &run::KEYS, message, "write all of the file in one of the two formats", context);
    let registry = match root.optional("registry") {
        Some(at) => Some(at.fields(
            &["s3", "mount-volume", "service-account-secret-path", "service"],
            &mut context.faults,
        )?),
        None => None,
    };
    if let Some(registry) = &registry {
        let message = "stands inside registry";
        misplaced(
            registry,
            &["service"],
            message,
            "close registry before it: service stands beside registry",
            context,
        );
    }
    let backend = read_backend(registry.as_ref(), context);
    let account = registry.as_ref().and_then(|registry| read_account(registry, context));
    let name = read_service(&root, backend.as_ref(), context)?;
    let storage = StorageSettings::of(backend?, context.environment);
    let mut settings = run::of_storage(name, storage, context);
    settings.service_account = account;
    if settings.listen.ip().is_loopback() && settings.own_app.is_some() {
        let message = "these options name no certificate, so only this machine reaches the registry";
        let suggestion = "start with --tls-certificate and --tls-key, or with --allow-plain";
        context.warn(&root.at, message, suggestion);
    }
    Some(settings)
}

/// Reads the file of the service account, which the original got its certificate with.
fn read_account(registry: &Fields<'_>, context: &mut Context<'_>) -> Option<PathBuf> {
    let key = "service-account-secret-path";
    let account = secret(registry, key, context)?;
    let at = registry.optional(key)?;
    context.warn(
        &at,
        "the service account is not used yet",
        "give a certificate with --tls-certificate and --tls-key",
    );
    Some(account)
}

fn read_backend(registry: Option<&Fields<'_>>, context: &mut Context<'_>) -> Option<Backend> {
    let local = || Backend::Local { path: context.environment.in_sandbox(CONTAINER_PATH) };
    let Some(registry) = registry else { return Some(local()) };
    match (registry.optional("s3"), registry.optional("mount-volume")) {
        (Some(at), None) => read_s3(at, context),
        (None, Some(at)) => read_mount(at, context),
        // Which one was meant is told already where it was misspelt.
        (None, None) => (!registry.meant(&["s3", "mount-volume"])).then(local),
        (Some(_), Some(at)) => {
            let message = "s3 and mount-volume are both given, and packages lie in one place";
            at.fault(&mut context.faults, message, "remove one of them");
            None
        }
    }
}

fn read_s3(at: Located<'_>, context: &mut Context<'_>) -> Option<Backend> {
    let fields = at.fields(&S3_KEYS, &mut context.faults)?;
    let given = place(&fields, None, context);
    let before = context.faults.problems.len();
    let path = secret(&fields, "credential-secret-path", context);
    let profile = fields.optional("credential-profile-name");
    let profile = profile.as_ref().and_then(|at| filled(at, PROFILE, context)).unwrap_or(PROFILE).to_owned();
    if context.faults.problems.len() > before {
        return None;
    }
    let credentials = path.map(|path| S3Credentials::File { path, profile });
    Some(Backend::S3(Given { credentials, ..given? }.settle(context.environment)))
}

fn read_mount(at: Located<'_>, context: &mut Context<'_>) -> Option<Backend> {
    let fields = at.fields(&["container-path", "pinned-hostname"], &mut context.faults)?;
    let path = fields.required("container-path", "\"package-registry\"", &mut context.faults);
    let path = path.and_then(|at| filled(&at, "\"package-registry\"", context));
    let example = "the host name of the agent that has the volume, as `dcos node` shows it";
    let pinned = fields.required("pinned-hostname", example, &mut context.faults);
    let pinned = pinned.and_then(|at| pinned_hostname(&at, context));
    Some(Backend::MountVolume { path: context.environment.in_sandbox(path?), pinned_hostname: Some(pinned?) })
}

/// The file of a secret.
fn secret(fields: &Fields<'_>, key: &str, context: &mut Context<'_>) -> Option<PathBuf> {
    let at = fields.optional(key)?;
    let path = filled(&at, "the path of the secret, or leave the key out", context)?;
    Some(context.environment.in_sandbox(path))
}

/// Reads `service`, and returns the service's name.
fn read_service(root: &Fields<'_>, backend: Option<&Backend>, context: &mut Context<'_>) -> Option<AppId> {
    let usual = || AppId::absolute(run::NAME).ok();
    let Some(at) = root.optional("service") else { return usual() };
    let fields = at.fields(&["name", "instances", "cpus", "mem", "disk"], &mut context.faults)?;
    for at in ["cpus", "mem", "disk"].iter().filter_map(|key| fields.optional(key)) {
        if !matches!(at.node.data, Data::Number(..) | Data::Invalid) {
            at.fault(&mut context.faults, "not a number", "write a number without quotes");
        }
    }
    if let Some(at) = fields.optional("instances")
        && let Some(instances) = count(&at, context)
        && instances > 1
        && matches!(backend, Some(Backend::Local { .. } | Backend::MountVolume { .. }))
    {
        let message = format!("{instances} instances cannot share a directory or volume");
        at.fault(&mut context.faults, message, "write 1, or keep packages in S3");
    }
    match fields.optional("name") {
        Some(at) => app_id(&at, context),
        None => usual(),
    }
}
