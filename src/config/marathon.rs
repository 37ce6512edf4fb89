//! `marathon` in the daemon's file: where the cluster's Marathon is, whom to trust, and who we are there.

use std::path::PathBuf;

use super::values::{Context, checked, filled, path, server_url};
use super::{MarathonAuth, MarathonSettings};
use crate::manifest::fields::{Fields, Located};
use crate::manifest::tree::Data;

const EXAMPLE: &str = "https://marathon.mesos:8443";
const ROUTER_EXAMPLE: &str = "https://leader.mesos";
const KINDS: [&str; 3] = ["basic", "token", "serviceAccount"];
/// More members than a cluster has masters.
const MOST_URLS: usize = 16;

/// Reads `marathon`. None after a fault was reported.
pub fn read(at: Located<'_>, context: &mut Context<'_>) -> Option<MarathonSettings> {
    let fields = at.fields(&["url", "adminRouter", "ca", "auth"], &mut context.faults)?;
    let urls = fields.required("url", EXAMPLE, &mut context.faults).and_then(|at| read_urls(&at, context));
    let admin_router = fields.optional("adminRouter").map(|at| read_url(&at, ROUTER_EXAMPLE, context));
    let ca = fields.optional("ca").and_then(|at| path(&at, context));
    let auth = match fields.optional("auth") {
        Some(at) => read_auth(at, context),
        None => Some(MarathonAuth::None),
    };
    let settings = MarathonSettings {
        urls: urls?,
        admin_router: admin_router.map_or(Some(None), |url| url.map(Some))?,
        ca,
        auth: auth?,
    };
    if settings.auth != MarathonAuth::None
        && settings.urls.iter().chain(&settings.admin_router).any(|url| url.starts_with("http://"))
        && let Some(at) = fields.optional("auth")
    {
        let message = "who we are is sent to an http:// URL, where everybody on the way can read it";
        context.warn(&at, message, "write https:// URLs, and the cluster's certificate under ca");
    }
    Some(settings)
}

/// One URL, or a list of them.
fn read_urls(at: &Located<'_>, context: &mut Context<'_>) -> Option<Vec<String>> {
    let items = match &at.node.data {
        Data::List(_) => at.items(&mut context.faults),
        _ => vec![at.clone()],
    };
    if items.is_empty() || items.len() > MOST_URLS {
        let message = format!("{} URLs", items.len());
        at.fault(&mut context.faults, message, format!("write 1 to {MOST_URLS}, such as {EXAMPLE}"));
        return None;
    }
    let mut urls = Vec::new();
    let mut complete = true;
    for item in items {
        let Some(url) = read_url(&item, EXAMPLE, context) else {
            complete = false;
            continue;
        };
        if urls.contains(&url) {
            item.fault(&mut context.faults, "is there twice", "leave it out");
        }
        urls.push(url);
    }
    complete.then_some(urls)
}

fn read_url(at: &Located<'_>, example: &str, context: &mut Context<'_>) -> Option<String> {
    let url = server_url(at.text(&mut context.faults)?, example);
    checked(at, url, context)
}

fn read_auth(at: Located<'_>, context: &mut Context<'_>) -> Option<MarathonAuth> {
    if at.node.text() == Some("none") {
        return Some(MarathonAuth::None);
    }
    let whole = at.clone();
    let fields = at.fields(&KINDS, &mut context.faults)?;
    let given: Vec<_> = KINDS.into_iter().filter_map(|kind| Some((kind, fields.optional(kind)?))).collect();
    match given.as_slice() {
        [("basic", at)] => read_basic(at.clone(), context),
        [("token", at)] => secret_file(at, context).map(MarathonAuth::Token),
        [(_, at)] => secret_file(at, context).map(MarathonAuth::ServiceAccount),
        [] if fields.meant(&KINDS) => None,
        _ => {
            let message = format!("{} ways to log in, and one is needed", given.len());
            let suggestion = "write one of basic: {user: NAME, password: {file: FILE}}, token: {file: FILE} and \
                              serviceAccount: {file: FILE}";
            whole.fault(&mut context.faults, message, suggestion);
            None
        }
    }
}

fn read_basic(at: Located<'_>, context: &mut Context<'_>) -> Option<MarathonAuth> {
    let fields = at.fields(&["user", "password"], &mut context.faults)?;
    let user = fields.required("user", "the user's name", &mut context.faults);
    let user = user.and_then(|at| read_user(&at, context));
    let password = required_file(&fields, "password", context);
    Some(MarathonAuth::Basic { user: user?, password: password? })
}

/// A colon would end the name where it is read (RFC 7617).
fn read_user(at: &Located<'_>, context: &mut Context<'_>) -> Option<String> {
    let user = filled(at, "the user's name", context)?;
    if user.contains(':') || user.contains(char::is_control) {
        at.fault(&mut context.faults, "holds a colon or a control character", "write the user's name alone");
        return None;
    }
    Some(user.to_owned())
}

fn required_file(fields: &Fields<'_>, key: &str, context: &mut Context<'_>) -> Option<PathBuf> {
    let at = fields.required(key, "{file: /path/to/file}", &mut context.faults)?;
    secret_file(&at, context)
}

/// The file of a secret. Secrets themselves do not stand in a configuration, and are not repeated in messages.
fn secret_file(at: &Located<'_>, context: &mut Context<'_>) -> Option<PathBuf> {
    match at.node.get("file") {
        Some(file) if file.text().is_some() => {
            let fields = at.clone().fields(&["file"], &mut context.faults)?;
            fields.optional("file").and_then(|at| path(&at, context))
        }
        _ if at.node.data == Data::Invalid => None,
        _ => {
            let message = "comes from a file, which may change while we run";
            at.fault(&mut context.faults, message, "write {file: /path/to/file}");
            None
        }
    }
}
