//! `kind: Service` and `kind: App`, and the fields that they share.

use std::time::Duration;

use jiff::SignedDuration;

use super::document::{
    AppSpec, DriftPolicy, ForeignDeployments, OnFailure, Presence, Recreate, ServiceSpec, Upkeep,
};
use super::fields::{Faults, Fields, Located};
use super::read::{Reference, read_depends_on};
use crate::model::{App, AppId, UnitId, UnitKind, UnitName};

const SERVICE_KEYS: [&str; 3] = ["package", "appId", "options"];
const APP_KEYS: [&str; 1] = ["app"];

/// The keys that Service and App share.
const UPKEEP_KEYS: [&str; 9] = [
    "dependsOn",
    "drift",
    "ignore",
    "protect",
    "wait",
    "onFailure",
    "foreignDeployments",
    "recreate",
    "state",
];

const DEFAULT_WAIT: Duration = Duration::from_secs(600);
const LONGEST_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Reads the spec of a Service.
pub fn read_service(
    id: &UnitId,
    spec: Located<'_>,
    references: &mut Vec<Reference>,
    faults: &mut Faults<'_>,
) -> Option<ServiceSpec> {
    let spec = spec.fields(&[&SERVICE_KEYS[..], &UPKEEP_KEYS].concat(), faults)?;
    let before = faults.problems.len();
    let package = spec.required("package", "and the name of a Package unit", faults);
    let package = package.and_then(|at| Some((at.name::<UnitName>(faults)?, at)));
    if let Some((name, at)) = &package {
        let unit = UnitId { source: id.source.clone(), kind: UnitKind::Package, name: name.clone() };
        references.push(Reference { unit, path: at.path.clone(), line: at.line });
    }
    let app_id = spec.optional("appId").and_then(|at| read_app_id(&at, faults));
    let options = spec.optional("options").and_then(|at| at.object(faults)).unwrap_or_default();
    let upkeep = read_upkeep(id, &spec, references, faults);
    if faults.problems.len() > before {
        return None;
    }
    Some(ServiceSpec { package: package?.0, app_id, options, upkeep })
}

/// Reads the spec of an App.
pub fn read_app(
    id: &UnitId,
    spec: Located<'_>,
    references: &mut Vec<Reference>,
    faults: &mut Faults<'_>,
) -> Option<AppSpec> {
    let spec = spec.fields(&[&APP_KEYS[..], &UPKEEP_KEYS].concat(), faults)?;
    let before = faults.problems.len();
    let app = spec.required("app", "and a Marathon app below it", faults);
    let app = app.and_then(|at| Some((App(at.object(faults)?), at)));
    let app_id = app.as_ref().and_then(|(_, at)| {
        let members = Fields::of_any(at.clone())?;
        read_app_id(&members.required("id", "/group/app", faults)?, faults)
    });
    let upkeep = read_upkeep(id, &spec, references, faults);
    if faults.problems.len() > before {
        return None;
    }
    Some(AppSpec { app_id: app_id?, app: app?.0, upkeep })
}

fn read_app_id(at: &Located<'_>, faults: &mut Faults<'_>) -> Option<AppId> {
    let text = at.text(faults)?;
    let checked = AppId::new(text);
    if let Err(invalid) = &checked {
        let absolute = AppId::absolute(text);
        let suggestion = absolute.map_or_else(|_| invalid.rule.to_owned(), |id| format!("write {id}"));
        at.fault(faults, format!("{:?} is not a valid app id", invalid.value), suggestion);
    }
    checked.ok()
}

fn read_upkeep(
    id: &UnitId,
    spec: &Fields<'_>,
    references: &mut Vec<Reference>,
    faults: &mut Faults<'_>,
) -> Upkeep {
    read_depends_on(id, spec, references, faults);
    let drifts = [("enforce", DriftPolicy::Enforce), ("warn", DriftPolicy::Warn), ("off", DriftPolicy::Off)];
    let states = [("present", Presence::Present), ("absent", Presence::Absent)];
    let remedies = [("hold", OnFailure::Hold), ("rollback", OnFailure::Rollback)];
    let on_failure = spec.optional("onFailure").and_then(|at| at.word(&remedies, faults));
    let foreign = [("wait", ForeignDeployments::Wait), ("cancel", ForeignDeployments::Cancel)];
    let foreign = spec.optional("foreignDeployments").and_then(|at| at.word(&foreign, faults));
    let recreations = [("never", Recreate::Never), ("allowed", Recreate::Allowed)];
    let recreate = spec.optional("recreate").and_then(|at| at.word(&recreations, faults));
    let drift = spec.optional("drift").and_then(|at| at.word(&drifts, faults));
    let state = spec.optional("state").and_then(|at| at.word(&states, faults));
    Upkeep {
        drift: drift.unwrap_or(DriftPolicy::Enforce),
        ignore: spec.optional("ignore").map(|at| read_pointers(&at, faults)).unwrap_or_default(),
        protect: spec.optional("protect").and_then(|at| at.flag(faults)).unwrap_or_default(),
        wait: spec.optional("wait").and_then(|at| read_wait(at, faults)).unwrap_or(DEFAULT_WAIT),
        on_failure: on_failure.unwrap_or(OnFailure::Hold),
        foreign_deployments: foreign.unwrap_or(ForeignDeployments::Wait),
        recreate: recreate.unwrap_or(Recreate::Never),
        state: state.unwrap_or(Presence::Present),
    }
}

/// JSON pointers (RFC 6901), sorted, each once. The empty one, which means everything, is refused.
fn read_pointers(list: &Located<'_>, faults: &mut Faults<'_>) -> Vec<String> {
    let mut pointers = Vec::new();
    for item in list.items(faults) {
        let Some(text) = item.text(faults) else { continue };
        let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        if text.starts_with('/') && text.len() > 1 && escapes {
            pointers.push(text.to_owned());
        } else {
            let shown: String = text.chars().take(80).collect();
            item.fault(
                faults,
                format!("{shown:?} is no JSON pointer"),
                "write a pointer such as /instances or /env/WHO",
            );
        }
    }
    pointers.sort();
    pointers.dedup();
    pointers
}

fn read_wait(at: Located<'_>, faults: &mut Faults<'_>) -> Option<Duration> {
    let fields = at.fields(&["timeout"], faults)?;
    let timeout = fields.optional("timeout")?;
    let duration = match &timeout.node.data {
        super::tree::Data::Text(text) => text.parse::<SignedDuration>().ok(),
        _ => None,
    };
    let duration = duration.and_then(|duration| Duration::try_from(duration).ok());
    match duration {
        Some(duration) if (Duration::from_secs(1)..=LONGEST_WAIT).contains(&duration) => Some(duration),
        Some(_) => {
            timeout.fault(faults, "out of range", "write a duration between 1s and 168h");
            None
        }
        None => {
            timeout.fault(faults, "not a duration", "write a duration such as 90s, 10m or 1h");
            None
        }
    }
}
