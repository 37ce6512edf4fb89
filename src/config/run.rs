//! The daemon's file in our own format.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::storage::{self, BACKENDS, SWITCHES};
use super::values::{Context, checked, filled, flag, misplaced, path, server_url};
use super::{HaSettings, RunSettings, TlsSettings, ha, marathon, sources};
use crate::manifest::fields::{Fields, Located};
use crate::model::{AppId, Problem};

/// The keys of a file in this format.
pub const KEYS: [&str; 12] = [
    "name",
    "aliases",
    "publicUrl",
    "listen",
    "allowPlain",
    "tls",
    "auth",
    "storage",
    "marathon",
    "sources",
    "ha",
    "notify",
];

/// The name that the service has when nobody says.
pub const NAME: &str = "dcos-registry";
/// The port when neither the configuration nor Marathon names one.
const PORT: u16 = 5080;
/// Reads a file in our own format. None after a fault was reported, which may also be beside a result.
pub fn read(root: Located<'_>, context: &mut Context<'_>) -> Option<RunSettings> {
    let mut keys = KEYS.to_vec();
    keys.extend(BACKENDS);
    keys.extend(SWITCHES);
    // These two tell the other format; here they only serve to see what a slip meant.
    keys.extend(["registry", "service"]);
    let root = root.fields(&keys, &mut context.faults)?;
    misplaced(&root, &BACKENDS, "stands at the top", "move it below storage:", context);
    misplaced(&root, &SWITCHES, "stands at the top", "move it below storage:", context);
    misplaced(&root, &["notify"], "is not supported yet", "remove it", context);
    let name = root.optional("name").and_then(|at| app_id(&at, context));
    let aliases = root.optional("aliases").map(|at| at.items(&mut context.faults)).unwrap_or_default();
    let configured_url = root.optional("publicUrl").and_then(|at| {
        let url = server_url(filled(&at, "https://host", context)?, "https://host");
        checked(&at, url, context)
    });
    let (listen, tls) = read_listener(&root, context);
    let tokens = root.optional("auth").and_then(|at| read_auth(at, context));
    let example = "{local: {path: /var/lib/dcos-registry}}";
    let storage = root.required("storage", example, &mut context.faults);
    let storage = storage.and_then(|at| storage::read(at, context));
    let marathon = root.optional("marathon").and_then(|at| marathon::read(at, context));
    let sources = sources::read(&root, context);
    let ha = root.optional("ha").and_then(|at| ha::read(at, context)).unwrap_or_default();
    let own_app = own_app(context);
    let aliases = aliases.iter().filter_map(|at| app_id(at, context)).collect();
    Some(RunSettings {
        name: name.or_else(|| AppId::absolute(NAME).ok())?,
        aliases,
        configured_url,
        listen: listen?,
        tls,
        tokens,
        storage: storage?,
        marathon,
        sources,
        ha,
        own_app,
        service_account: None,
        warnings: Vec::new(),
    })
}

/// Reads the name of a service, which may lie in folders.
pub fn app_id(at: &Located<'_>, context: &mut Context<'_>) -> Option<AppId> {
    let text = filled(at, NAME, context)?;
    match AppId::absolute(text) {
        Ok(id) => Some(id),
        Err(invalid) => {
            let message = format!("{:?} is not the name of a service", invalid.value);
            at.fault(
                &mut context.faults,
                message,
                "write a name such as dcos-registry or /folder/dcos-registry",
            );
            None
        }
    }
}

/// The app that we are, as Marathon told us.
pub fn own_app(context: &mut Context<'_>) -> Option<AppId> {
    let id = context.environment.filled("MARATHON_APP_ID")?;
    let parsed = AppId::new(&id);
    if parsed.is_err() {
        let message = "MARATHON_APP_ID in the environment is no app id, so our own app could not be spared";
        let problem = Problem::of_file(context.faults.file, message);
        context.faults.problems.push(problem.suggest("unset it where Marathon did not set it"));
    }
    parsed.ok()
}

/// Reads where to listen and with which certificate: nothing listens beyond loopback without TLS or an explicit
/// word.
fn read_listener(root: &Fields<'_>, context: &mut Context<'_>) -> (Option<SocketAddr>, Option<TlsSettings>) {
    let tls = match &context.overrides.tls {
        Some(tls) => Some(tls.clone()),
        None => root.optional("tls").and_then(|at| read_tls(at, context)),
    };
    let plain = root.optional("allowPlain").and_then(|at| flag(&at, context)).unwrap_or(false);
    // A faulty certificate is reported once, as such.
    let open = plain || context.overrides.allow_plain || tls.is_some() || root.optional("tls").is_some();
    let given = root.optional("listen").filter(|_| context.overrides.listen.is_none());
    let Some(at) = given else { return (Some(listener(open, context)), tls) };
    let address = address(&at, context);
    if let Some(address) = address
        && !open
        && !address.ip().is_loopback()
    {
        at.fault(&mut context.faults, unprotected(address), WAYS_OUT);
    }
    (address, tls)
}

const WAYS_OUT: &str = "set tls: {certificate: FILE, key: FILE}; or, where something before it encrypts, allowPlain: true; or listen on 127.0.0.1";

fn unprotected(address: SocketAddr) -> String {
    format!("{address} is reachable from outside, and there is no TLS")
}

/// The listener that the command line names, else one on the port from Marathon: for all who may reach it where
/// that is `open`, else for this machine.
pub fn listener(open: bool, context: &mut Context<'_>) -> SocketAddr {
    if let Some(address) = context.overrides.listen {
        if !open && !address.ip().is_loopback() {
            let problem = Problem::of_file(context.faults.file, format!("--listen {}", unprotected(address)));
            context.faults.problems.push(problem.suggest(WAYS_OUT));
        }
        return address;
    }
    let port = context.environment.marathon_port();
    let ip = if open && port.is_some() { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
    SocketAddr::new(IpAddr::V4(ip), port.unwrap_or(PORT))
}

fn address(at: &Located<'_>, context: &mut Context<'_>) -> Option<SocketAddr> {
    let text = at.text(&mut context.faults)?;
    let parsed = text.trim().parse();
    if parsed.is_err() {
        let shown: String = text.chars().take(60).collect();
        let message = format!("{shown:?} is not an address with a port");
        at.fault(&mut context.faults, message, "write an IP address and a port, such as 127.0.0.1:5080");
    }
    parsed.ok()
}

fn read_tls(at: Located<'_>, context: &mut Context<'_>) -> Option<TlsSettings> {
    let fields = at.fields(&["certificate", "key"], &mut context.faults)?;
    let mut file = |key: &str, example: &str| {
        let at = fields.required(key, example, &mut context.faults)?;
        path(&at, context)
    };
    let certificate = file("certificate", "/path/to/certificate.pem");
    let key = file("key", "/path/to/key.pem");
    Some(TlsSettings { certificate: certificate?, key: key? })
}

/// Reads the file of tokens. Tokens themselves do not stand in a configuration, and are not repeated in messages.
fn read_auth(at: Located<'_>, context: &mut Context<'_>) -> Option<PathBuf> {
    let fields = at.fields(&["tokens"], &mut context.faults)?;
    let at = fields.required("tokens", "{file: /path/to/tokens}", &mut context.faults)?;
    match at.node.get("file") {
        Some(file) if file.text().is_some() => {
            let tokens = at.fields(&["file"], &mut context.faults)?;
            tokens.optional("file").and_then(|at| path(&at, context))
        }
        _ => {
            let message = "tokens come from a file, which may change while we run";
            at.fault(&mut context.faults, message, "write {file: /path/to/tokens}, one token per line there");
            None
        }
    }
}

/// The settings that a file without them has.
pub fn of_storage(name: AppId, storage: super::StorageSettings, context: &mut Context<'_>) -> RunSettings {
    let tls = context.overrides.tls.clone();
    let open = tls.is_some() || context.overrides.allow_plain;
    RunSettings {
        name,
        aliases: Vec::new(),
        configured_url: None,
        listen: listener(open, context),
        tls,
        tokens: None,
        storage,
        marathon: None,
        sources: Vec::new(),
        ha: HaSettings::default(),
        own_app: own_app(context),
        service_account: None,
        warnings: Vec::new(),
    }
}
