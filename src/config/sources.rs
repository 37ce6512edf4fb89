//! `sources` in the daemon's file: where manifests come from, and what each source may do.

use std::time::Duration;

use super::SourceSettings;
use super::values::{Context, count, duration, flag, misplaced, path};
use crate::controller::guard::Limits;
use crate::manifest::fields::{Fields, Located};
use crate::manifest::tree::Data;
use crate::model::{AppId, SourceName};

/// How often a source is looked at when nobody says.
const INTERVAL: Duration = Duration::from_secs(60);

/// Reads `sources`.
pub fn read(root: &Fields<'_>, context: &mut Context<'_>) -> Vec<SourceSettings> {
    let Some(list) = root.optional("sources") else { return Vec::new() };
    let mut sources: Vec<SourceSettings> = Vec::new();
    let items = list.items(&mut context.faults);
    if !items.is_empty() && root.optional("marathon").is_none() {
        let message = "there are sources, and no Marathon to bring them to";
        list.fault(&mut context.faults, message, "write marathon: {url: http://marathon.mesos:8080}");
    }
    for item in items {
        let at = item.clone();
        let Some(source) = read_source(item, context) else { continue };
        if sources.iter().any(|other| other.name == source.name) {
            let message = format!("two sources are called {}", source.name);
            at.fault(&mut context.faults, message, "give them different names");
        }
        sources.push(source);
    }
    sources
}

fn read_source(at: Located<'_>, context: &mut Context<'_>) -> Option<SourceSettings> {
    let keys = [
        "name",
        "directory",
        "interval",
        "prune",
        "allowEmpty",
        "limits",
        "allow",
        "git",
        "bucket",
        "windows",
    ];
    let fields = at.fields(&keys, &mut context.faults)?;
    let later = "is not supported yet";
    misplaced(&fields, &["git", "bucket"], later, "write directory: /path/to/manifests", context);
    misplaced(&fields, &["windows"], later, "remove it", context);
    let name: Option<SourceName> =
        fields.required("name", "platform", &mut context.faults).and_then(|at| at.name(&mut context.faults));
    let elsewhere = fields.optional("git").or_else(|| fields.optional("bucket")).is_some();
    let required =
        |context: &mut Context<'_>| fields.required("directory", "/path/to/manifests", &mut context.faults);
    let directory = if elsewhere { None } else { required(context) };
    let directory = directory.and_then(|at| match &at.node.data {
        Data::Map(_) => {
            let fields = at.fields(&["path"], &mut context.faults)?;
            let at = fields.required("path", "/path/to/manifests", &mut context.faults)?;
            path(&at, context)
        }
        _ => path(&at, context),
    });
    let interval = fields.optional("interval").and_then(|at| duration(&at, context));
    let limits = read_limits(&fields, context);
    Some(SourceSettings {
        name: name?,
        directory: directory?,
        interval: interval.unwrap_or(INTERVAL),
        limits,
    })
}

fn read_limits(source: &Fields<'_>, context: &mut Context<'_>) -> Limits {
    let mut limits = Limits::default();
    let mut set = |key: &str, target: &mut bool| {
        *target = source.optional(key).and_then(|at| flag(&at, context)).unwrap_or(*target);
    };
    set("prune", &mut limits.prune);
    set("allowEmpty", &mut limits.allow_empty);
    if let Some(at) = source.optional("limits")
        && let Some(fields) = at.fields(&["maxDeletions", "maxDeletionsPercent"], &mut context.faults)
    {
        let most = fields.optional("maxDeletions").and_then(|at| count(&at, context));
        limits.max_deletions = most.unwrap_or(limits.max_deletions);
        if let Some(at) = fields.optional("maxDeletionsPercent")
            && let Some(percent) = count(&at, context)
        {
            if percent > 100 {
                at.fault(&mut context.faults, "more than everything", "write a number from 0 to 100");
            }
            limits.max_deletions_percent = percent;
        }
    }
    if let Some(at) = source.optional("allow")
        && let Some(fields) = at.fields(&["appIds", "packages", "fetchHosts"], &mut context.faults)
    {
        misplaced(&fields, &["packages", "fetchHosts"], "is not supported yet", "remove it", context);
        if let Some(at) = fields.optional("appIds") {
            let items = at.items(&mut context.faults);
            limits.allow_app_ids = items.iter().filter_map(|at| group(at, context)).collect();
        }
    }
    limits
}

/// Reads a group of apps, such as `/platform/`.
fn group(at: &Located<'_>, context: &mut Context<'_>) -> Option<String> {
    let text = at.text(&mut context.faults)?;
    let path = text.strip_suffix('/').unwrap_or(text);
    if text != "/" && AppId::new(path).is_err() {
        let message = format!("{:?} is not a group of apps", text.chars().take(80).collect::<String>());
        at.fault(&mut context.faults, message, "write / for all, or a path such as /platform/");
        return None;
    }
    Some(text.to_owned())
}
