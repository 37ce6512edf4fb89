//! Changes of definitions: each becomes a deployment, or nothing.
//!
//! Source: `DeploymentPlan.scala`, `impl/DeploymentManagerActor.scala` and `GroupManagerImpl.scala` of
//! mesosphere/marathon.

use std::collections::BTreeSet;

use super::{Engine, Unsaved, uuid};
use crate::marathon_local::ports;
use crate::marathon_local::refusal::{MOST_DEPLOYMENTS, Refusal};
use crate::marathon_local::state::{ActionKind, AppRecord, Deployment, Timing};
use crate::marathon_local::update::{self, Effect};
use crate::model::{App, AppId};

/// What is to become of an app.
pub(super) enum Change {
    /// This canonical definition.
    Put(App),
    /// All its tasks are replaced.
    Restart,
    /// It goes.
    Remove,
}

/// A change that was accepted.
pub(super) struct Changed {
    pub(super) version: String,
    pub(super) deployment: String,
}

/// What a change does to the records, once it is allowed.
struct Planned {
    /// The definition to put in force; none where the app goes.
    put: Option<(App, Timing)>,
    actions: &'static [ActionKind],
}

impl Engine {
    /// Puts a change in force, unless a deployment holds the app and `force` is not given.
    pub(super) fn change(&mut self, id: &AppId, change: Change, force: bool) -> Result<Changed, Refusal> {
        let planned = self.planned(id, change)?;
        let deployment = uuid(&self.context.entropy);
        let version = self.new_version();
        if planned.actions.is_empty() {
            // Nothing changes: an empty plan conflicts with nothing and is done at once.
            return Ok(Changed { version, deployment });
        }
        self.allow(id, force)?;
        self.state.deployments.retain(|d| !d.affects(id));
        let original = self.state.apps.get(id).map(|r| r.app.clone());
        if planned.put.as_ref().is_none_or(|(_, timing)| *timing != Timing::Scaling) {
            self.delays.forget(id);
        }
        self.withheld.remove(id);
        match planned.put {
            None => drop(self.state.apps.remove(id)),
            Some((app, timing)) => match self.state.apps.get_mut(id) {
                Some(record) => record.put(app, &version, timing),
                None => drop(self.state.apps.insert(id.clone(), AppRecord::new(app, &version))),
            },
        }
        let plan = Deployment::of(deployment.clone(), &version, id, original, planned.actions);
        tracing::info!(app = %id, deployment, actions = ?planned.actions, "a deployment begins");
        self.state.deployments.push(plan);
        self.unsaved = Unsaved::Change;
        self.touched.insert(id.clone());
        Ok(Changed { version, deployment })
    }

    /// The limit is looked at before the locks, and force does not help against it.
    fn allow(&self, id: &AppId, force: bool) -> Result<(), Refusal> {
        if self.state.deployments.len() >= MOST_DEPLOYMENTS {
            return Err(Refusal::TooManyDeployments);
        }
        let locks = self.locks(id);
        if locks.is_empty() || force { Ok(()) } else { Err(Refusal::Locked(locks)) }
    }

    /// The ids of the deployments that hold an app.
    pub(super) fn locks(&self, id: &AppId) -> Vec<String> {
        self.state.deployments.iter().filter(|d| d.affects(id)).map(|d| d.id.clone()).collect()
    }

    fn planned(&self, id: &AppId, change: Change) -> Result<Planned, Refusal> {
        let record = self.state.apps.get(id);
        match (change, record) {
            (Change::Put(app), None) => {
                let app = self.with_ports(app, None)?;
                let actions = &[ActionKind::StartApplication, ActionKind::ScaleApplication];
                Ok(Planned { put: Some((app, Timing::Config)), actions })
            }
            (Change::Put(app), Some(record)) => {
                let app = self.with_ports(app, Some(&record.app))?;
                let effect = update::effect(&record.app, &app);
                let timing = if effect == Effect::Scale { Timing::Scaling } else { Timing::Config };
                let actions = update::actions(effect, &app);
                Ok(Planned { put: Some((app, timing)), actions })
            }
            (Change::Restart, Some(record)) => {
                let actions = update::actions(Effect::Restart, &record.app);
                Ok(Planned { put: Some((record.app.clone(), Timing::Restart)), actions })
            }
            (Change::Remove, Some(_)) => Ok(Planned { put: None, actions: &[ActionKind::StopApplication] }),
            (Change::Restart | Change::Remove, None) => Err(Refusal::NoApp(id.to_string())),
        }
    }

    fn with_ports(&self, mut app: App, old: Option<&App>) -> Result<App, Refusal> {
        let taken: BTreeSet<u16> = self.state.apps.values().flat_map(|r| ports::numbers(&r.app)).collect();
        if ports::assign_service_ports(&mut app, old, &taken) {
            Ok(app)
        } else {
            let range = ports::SERVICE_PORTS;
            Err(Refusal::Argument(format!(
                "All ports in the range [{}-{}) are already in use",
                range.start, range.end
            )))
        }
    }

    /// Ends a deployment where it is, or undoes it by a new one.
    pub(super) fn cancel(&mut self, id: &str, force: bool) -> Result<Option<Changed>, Refusal> {
        let position = self.state.deployments.iter().position(|d| d.id == id);
        let Some(position) = position else { return Err(Refusal::NoDeployment(id.to_owned())) };
        if !force && self.state.deployments.len() >= MOST_DEPLOYMENTS {
            return Err(Refusal::TooManyDeployments);
        }
        let cancelled = self.state.deployments.remove(position);
        self.unsaved = Unsaved::Change;
        self.touched.extend(cancelled.originals.keys().cloned());
        if force {
            return Ok(None);
        }
        let mut changed = Changed { version: self.new_version(), deployment: uuid(&self.context.entropy) };
        for (app, original) in cancelled.originals {
            let change = original.map_or(Change::Remove, Change::Put);
            match self.change(&app, change, true) {
                Ok(undone) => changed = undone,
                // It is not there any more, which is how it was before.
                Err(Refusal::NoApp(_)) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(Some(changed))
    }

    /// A version that is newer than all before it.
    fn new_version(&mut self) -> String {
        let now = self.context.clock.wall();
        let last: Option<jiff::Timestamp> = self.state.last_version.parse().ok();
        let next = last.map_or(now, |last| now.max(last + jiff::SignedDuration::from_millis(1)));
        self.state.last_version = super::view::time(next);
        self.state.last_version.clone()
    }
}
