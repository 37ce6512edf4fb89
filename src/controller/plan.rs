//! The planner: desired state, observation and inventory in, plan out.
//!
//! Pure, synchronous and deterministic: the same function serves the command line, the HTTP API and the
//! executor, so what was shown is what runs. It never removes anything on the strength of something that
//! was not read, and says for everything it does not do why.
//!
//! `apps` decides about one app, `recreate` about a change that destroys its volumes, `rollback` about a change that
//! failed, `sdk` about what is different with SDK services, `removals` about what is no longer desired; this file walks the
//! units in the order of their dependencies and writes the verdicts down.

mod apps;
mod recreate;
mod removals;
mod rollback;
mod sdk;

use std::collections::BTreeMap;

use crate::controller::desired::{Desired, DesiredUnit, Goal};
use crate::controller::followup::Followups;
use crate::controller::guard::Limits;
use crate::manifest::ForeignDeployments;
use crate::marathon::profile::Profile;
use crate::model::{
    Action, App, AppId, Blocked, BlockedReason, Cause, Change, Digest, Drift, Inventory, Observation,
    Operation, PackageContent, Plan, UnitId, UnitPlan, UnitState, Waiting, WaitingReason, Warning,
};

/// What the planner knows besides its three inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanSettings {
    /// The URL under which tasks reach the registry, without a slash at the end.
    pub public_url: String,
    /// What the source may do.
    pub limits: Limits,
    /// Our own app, where we run under Marathon.
    pub own_app: Option<AppId>,
}

/// Works out what must be done to get from the observed to the desired state.
#[must_use]
pub fn plan(
    desired: &Desired,
    observed: &Observation,
    inventory: &Inventory,
    followups: &Followups,
    settings: &PlanSettings,
) -> Plan {
    let mut planner = Planner {
        desired,
        observed,
        inventory,
        followups,
        settings,
        profile: profile(observed),
        plan: Plan { revision: Some(desired.revision.clone()), ..Plan::default() },
        standings: BTreeMap::new(),
        claims: BTreeMap::new(),
        warnings: BTreeMap::new(),
        recreations: recreate::Recreations::default(),
    };
    for id in &desired.order {
        if let Some(unit) = desired.units.get(id) {
            planner.unit(id, unit);
        }
    }
    planner.removals();
    planner.finish()
}

/// What is known of the server.
fn profile(observed: &Observation) -> Profile {
    let line = observed.marathon_version.as_deref().map(Profile::of).unwrap_or_default();
    line.with_service_ports(observed.service_ports.as_ref())
}

/// Where a unit stands for those that depend on it.
enum Standing {
    /// It is there and usable.
    Ready,
    /// It will be once the action at this index is done.
    After(usize),
    /// It is not, and this plan does not get it there.
    NotReady,
}

/// What is decided about one unit.
#[expect(clippy::large_enum_variant, reason = "one is made for each unit, and gone when it is written down")]
enum Verdict {
    /// Do something.
    Act { operation: Operation, cause: Cause, changes: Vec<Change> },
    /// Something is due and is not done.
    Held(Held),
    /// Nothing to do; this is its state.
    Settled(UnitState),
}

/// Why something that is due is not done.
enum Held {
    /// A guard holds it back.
    Blocked(BlockedReason, String),
    /// It waits for something.
    Waiting(WaitingReason, String),
}

struct Planner<'a> {
    desired: &'a Desired,
    observed: &'a Observation,
    inventory: &'a Inventory,
    followups: &'a Followups,
    settings: &'a PlanSettings,
    profile: Profile,
    plan: Plan,
    standings: BTreeMap<UnitId, Standing>,
    claims: BTreeMap<AppId, UnitId>,
    /// What the authors of units should know, until it is written down.
    warnings: BTreeMap<UnitId, Vec<Warning>>,
    recreations: recreate::Recreations,
}

impl Planner<'_> {
    fn unit(&mut self, id: &UnitId, unit: &DesiredUnit) {
        let (target, verdict) = match &unit.goal {
            Goal::Package { content, digest } => {
                (content.coordinate.to_string(), self.package(content, *digest))
            }
            Goal::Service { .. } | Goal::App { .. } => self.app(id, unit),
        };
        if let Some(verdict) = self.keep_back(id, verdict) {
            self.record(id, target, verdict);
        }
    }

    fn package(&self, content: &PackageContent, digest: Digest) -> Verdict {
        if let Some(reason) = self.observed.registry.reason() {
            let message = format!("the registry: {reason}");
            return Verdict::Held(Held::Waiting(WaitingReason::NotObserved, message));
        }
        match self.observed.packages.get(&content.coordinate) {
            Some(published) if published.digest == digest => Verdict::Settled(UnitState::Ready {
                message: format!("published as release {}", published.release_version),
            }),
            Some(published) => Verdict::Held(Held::Blocked(
                BlockedReason::VersionImmutable,
                format!(
                    "version {} is published with other content ({} there, {} in the files): a published version \
                     never changes, so raise the version",
                    content.coordinate.version,
                    short(published.digest),
                    short(digest)
                ),
            )),
            None => Verdict::Act {
                operation: Operation::Publish {
                    coordinate: content.coordinate.clone(),
                    digest,
                    release_version: self.release_for(content),
                },
                cause: Cause::New,
                changes: Vec::new(),
            },
        }
    }

    /// The source's own release version where it has one that is free, else one more than the highest.
    fn release_for(&self, content: &PackageContent) -> u64 {
        let name = &content.coordinate.name;
        let planned = self.plan.actions.iter().filter_map(|action| match &action.operation {
            Operation::Publish { coordinate, release_version, .. } if coordinate.name == *name => {
                Some(*release_version)
            }
            _ => None,
        });
        let published = self.observed.packages.iter().filter(|(c, _)| c.name == *name);
        let taken: Vec<u64> = published.map(|(_, p)| p.release_version).chain(planned).collect();
        match content.release_version {
            Some(own) if !taken.contains(&own) => own,
            _ => taken.iter().max().map_or(0, |highest| highest + 1),
        }
    }

    fn record(&mut self, id: &UnitId, target: String, verdict: Verdict) {
        let (state, standing) = match verdict {
            Verdict::Act { operation, cause, changes } => self.record_action(id, operation, cause, changes),
            Verdict::Held(held) => self.record_held(id, &target, held),
            Verdict::Settled(state) => {
                let ready = matches!(state, UnitState::Ready { .. });
                (state, if ready { Standing::Ready } else { Standing::NotReady })
            }
        };
        self.standings.insert(id.clone(), standing);
        let warnings = self.warnings.remove(id).unwrap_or_default();
        self.plan.units.push(UnitPlan { unit: id.clone(), target, state, warnings });
    }

    fn record_held(&mut self, id: &UnitId, target: &str, held: Held) -> (UnitState, Standing) {
        let (unit, target) = (id.clone(), target.to_owned());
        match held {
            Held::Blocked(reason, message) => {
                let state = UnitState::Stalled { reason: reason.as_str().into(), message: message.clone() };
                self.plan.blocked.push(Blocked { unit, target, reason, message });
                // What was published before stays usable; only the new files are not taken.
                let usable = reason == BlockedReason::VersionImmutable;
                (state, if usable { Standing::Ready } else { Standing::NotReady })
            }
            Held::Waiting(reason, message) => {
                let (word, text) = (reason.as_str().to_owned(), message.clone());
                self.plan.waiting.push(Waiting { unit, target, reason, message });
                let state = match reason {
                    WaitingReason::NotObserved => UnitState::Unknown { reason: word, message: text },
                    _ => UnitState::Progressing { reason: word, message: text },
                };
                (state, Standing::NotReady)
            }
        }
    }

    fn record_action(
        &mut self,
        id: &UnitId,
        operation: Operation,
        cause: Cause,
        changes: Vec<Change>,
    ) -> (UnitState, Standing) {
        let after = self.desired.units.get(id).map(|unit| self.actions_before(unit)).unwrap_or_default();
        let index = self.plan.actions.len();
        if cause == Cause::Drifted
            && let Some(app_id) = operation.app_id()
        {
            self.plan.drift.push(Drift {
                unit: id.clone(),
                app_id: app_id.clone(),
                changes: changes.clone(),
                corrected: true,
            });
        }
        let message = match &operation {
            Operation::Publish { .. } => "is being published",
            Operation::CreateApp { .. } => "is being created",
            Operation::UpdateApp { .. } => "is being updated",
            Operation::DeleteApp { .. } if cause == Cause::Changed => "is being deleted, to be created anew",
            Operation::UninstallApp { .. } | Operation::DeleteApp { .. } => "is being removed",
            Operation::Adopt { .. } | Operation::Confirm { .. } | Operation::Forget { .. } => {
                "is being taken into the books"
            }
        };
        let state =
            UnitState::Progressing { reason: operation.label().to_owned(), message: message.to_owned() };
        self.plan.actions.push(Action { unit: id.clone(), operation, cause, changes, after });
        (state, Standing::After(index))
    }

    /// The actions of this plan that a unit's own action must follow.
    fn actions_before(&self, unit: &DesiredUnit) -> Vec<usize> {
        let mut after: Vec<usize> = unit
            .depends_on
            .iter()
            .filter_map(|dependency| match self.standings.get(dependency) {
                Some(Standing::After(index)) => Some(*index),
                _ => None,
            })
            .collect();
        after.sort_unstable();
        after.dedup();
        after
    }

    fn finish(mut self) -> Plan {
        let owned = &self.inventory.apps;
        let free =
            self.observed.apps.keys().filter(|id| !owned.contains_key(id) && !self.claims.contains_key(id));
        self.plan.unmanaged = free.cloned().collect();
        self.plan.units.sort_by(|a, b| a.unit.cmp(&b.unit));
        self.plan
    }
}

/// Twelve hex digits are enough for a person to tell two digests apart.
fn short(digest: Digest) -> String {
    digest.hex().chars().take(12).collect()
}

/// Whether every deployment that holds the app was started by us.
fn deployments_are_ours(app: &App, inventory: &Inventory) -> bool {
    app.deployments().all(|id| is_ours(id, inventory))
}

/// The deployments that a write to the app cancels, where it may.
fn to_cancel(app: &App, inventory: &Inventory, foreign: ForeignDeployments) -> Result<Vec<String>, Held> {
    if foreign == ForeignDeployments::Cancel || deployments_are_ours(app, inventory) {
        return Ok(app.deployments().map(str::to_owned).collect());
    }
    Err(apps::foreign_deployment(app))
}

fn is_ours(deployment: &str, inventory: &Inventory) -> bool {
    inventory.apps.values().any(|owned| owned.deployment.as_deref() == Some(deployment))
}
