//! Changes of definitions and groups: all that change together become one deployment, or nothing.
//!
//! Source: `DeploymentPlan.scala`, `impl/DeploymentManagerActor.scala` and `GroupManagerImpl.scala` of
//! mesosphere/marathon.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Engine, Unsaved, uuid};
use crate::marathon_local::definition::instances;
use crate::marathon_local::group::{GroupId, GroupRecord};
use crate::marathon_local::plan::{self, Dependencies, Fate, Planned};
use crate::marathon_local::pod;
use crate::marathon_local::ports;
use crate::marathon_local::refusal::{MOST_DEPLOYMENTS, Refusal};
use crate::marathon_local::state::{AppRecord, Deployment, RootChange, Step, Timing};
use crate::marathon_local::update;
use crate::model::{App, AppId};

/// What is to become of an app or pod.
#[derive(Debug)]
pub(super) enum Change {
    /// This canonical definition.
    Put(App),
    /// All its tasks are replaced.
    Restart,
    /// It goes.
    Remove,
}

/// Everything that is to change at once.
#[derive(Debug, Default)]
pub(super) struct Update {
    /// Apps and pods.
    pub(super) specs: BTreeMap<AppId, Change>,
    /// Groups; none: they go.
    pub(super) groups: BTreeMap<GroupId, Option<GroupRecord>>,
    /// Tasks that go first where there are too many, by their ids.
    pub(super) kill: BTreeSet<String>,
    /// The group that events call changed; none: the root.
    pub(super) about: Option<GroupId>,
}

impl Update {
    /// One app or pod.
    pub(super) fn of(id: &AppId, change: Change) -> Self {
        let about = GroupId::parent_of(id.as_str());
        Self { specs: BTreeMap::from([(id.clone(), change)]), about, ..Self::default() }
    }
}

/// A change that was accepted.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) version: String,
    pub(super) deployment: String,
}

/// What an update does, once it is allowed.
#[derive(Debug)]
pub(super) struct Plan {
    /// The definitions to put in force; none where it goes. Without those that stay as they are.
    puts: BTreeMap<AppId, Option<(App, Timing)>>,
    groups: BTreeMap<GroupId, Option<GroupRecord>>,
    kill: BTreeSet<String>,
    /// The steps of the deployment.
    pub(super) steps: Vec<Step>,
}

impl Engine {
    /// Puts an update in force, unless a deployment holds an app of it and `force` is not given.
    pub(super) fn change(&mut self, update: Update, force: bool) -> Result<Changed, Refusal> {
        let about = update.about.clone();
        self.room(about.as_ref())?;
        let plan = self.plan(update);
        let plan = plan.inspect_err(|refusal| self.announce_refused(about.as_ref(), refusal))?;
        let deployment = uuid(&self.context.entropy);
        if let Err(refusal) = self.no_locks(&plan, force) {
            self.announce_refused_plan(&deployment, &plan.steps, &refusal);
            self.announce_refused(about.as_ref(), &refusal);
            return Err(refusal);
        }
        Ok(self.put_in_force(plan, deployment, about.as_ref(), force))
    }

    /// The number of deployments is limited. That is looked at before anything else, and force does not help against it.
    pub(super) fn room(&self, about: Option<&GroupId>) -> Result<(), Refusal> {
        if self.state.deployments.len() < MOST_DEPLOYMENTS {
            return Ok(());
        }
        self.announce_refused(about, &Refusal::TooManyDeployments);
        Err(Refusal::TooManyDeployments)
    }

    fn put_in_force(
        &mut self,
        plan: Plan,
        deployment: String,
        about: Option<&GroupId>,
        force: bool,
    ) -> Changed {
        let affected: Vec<_> = plan.puts.keys().cloned().collect();
        let version = self.new_version();
        self.cancel_all_over(&affected);
        self.name_tasks(&plan.kill, &deployment);
        let groups = self.put_groups(plan.groups);
        let apps = self.put_specs(plan.puts, &version);
        self.unsaved = Unsaved::Change;
        self.announce_group_change(about, &version);
        if plan.steps.is_empty() {
            // What changes nothing is done at once, and whoever waits for it is told.
            self.announce_success(&deployment, &version, &[]);
        } else {
            tracing::info!(deployment, steps = ?plan.steps, "a deployment begins");
            let deployment = Deployment {
                id: deployment.clone(),
                version: version.clone(),
                steps: plan.steps,
                current: 0,
                originals: apps.clone(),
                groups: groups.clone(),
            };
            self.announce_step(&deployment);
            self.hide_for_a_while(&deployment.id, force);
            self.state.deployments.push(deployment);
        }
        let kept = self.context.installation.profile.versions_kept();
        self.state.remember(RootChange { version: version.clone(), apps, groups }, kept);
        self.touched.extend(affected);
        Changed { version, deployment }
    }

    /// What an update would do.
    pub(super) fn plan(&self, update: Update) -> Result<Plan, Refusal> {
        let (mut puts, mut fates) = (BTreeMap::new(), BTreeMap::new());
        let mut taken: BTreeSet<u16> =
            self.state.apps.values().flat_map(|r| ports::numbers(&r.app)).collect();
        for (id, change) in update.specs {
            let record = self.state.apps.get(&id);
            let (put, fate) = match (change, record) {
                (Change::Put(app), None) => {
                    (Some((with_ports(app, None, &mut taken)?, Timing::Config)), Some(Fate::New))
                }
                (Change::Put(app), Some(record)) => {
                    let app = with_ports(app, Some(&record.app), &mut taken)?;
                    let fate = update::fate(&record.app, &app);
                    let timing = if fate == Some(Fate::Scale) { Timing::Scaling } else { Timing::Config };
                    (Some((app, timing)), fate)
                }
                (Change::Restart, Some(record)) => {
                    (Some((record.app.clone(), Timing::Restart)), Some(Fate::Restart))
                }
                (Change::Remove, Some(_)) => (None, Some(Fate::Gone)),
                (Change::Restart | Change::Remove, None) => return Err(Refusal::NoApp(id.to_string())),
            };
            let Some(fate) = fate else { continue };
            // There is nothing to replace where nothing is to run.
            let stopped = put.as_ref().is_some_and(|(app, _)| instances(app) == 0);
            let fate = if fate == Fate::Restart && stopped { Fate::Scale } else { fate };
            let spec = put.as_ref().map(|(app, _)| app).or(record.map(|r| &r.app));
            fates.insert(id.clone(), Planned { fate, pod: spec.is_some_and(pod::is_pod) });
            puts.insert(id, put);
        }
        let groups = self.groups_with_parents(update.groups, &puts);
        self.no_clash(&puts, &groups)?;
        let steps = self.steps(&puts, &groups, &fates)?;
        Ok(Plan { puts, groups, kill: update.kill, steps })
    }

    fn steps(
        &self,
        puts: &BTreeMap<AppId, Option<(App, Timing)>>,
        groups: &BTreeMap<GroupId, Option<GroupRecord>>,
        fates: &BTreeMap<AppId, Planned>,
    ) -> Result<Vec<Step>, Refusal> {
        let mut after = self.state.groups.clone();
        for (id, group) in groups {
            match group {
                Some(group) => drop(after.insert(id.clone(), group.clone())),
                None => drop(after.remove(id)),
            }
        }
        let old = self.state.apps.iter().filter(|(id, _)| !puts.contains_key(*id));
        let old = old.map(|(id, record)| (id, &record.app));
        let new = puts.iter().filter_map(|(id, put)| Some((id, &put.as_ref()?.0)));
        let specs = old.chain(new).map(|(id, app)| (id, named_dependencies(app))).collect();
        let dependencies = Dependencies { specs, groups: &after };
        plan::steps(fates, &dependencies)
            .map_err(|plan::Circle| Refusal::Clash("Dependency graph has cyclic dependencies."))
    }

    /// Groups that are to be put, with those that new apps lie in; without those that stay as they are.
    fn groups_with_parents(
        &self,
        mut groups: BTreeMap<GroupId, Option<GroupRecord>>,
        puts: &BTreeMap<AppId, Option<(App, Timing)>>,
    ) -> BTreeMap<GroupId, Option<GroupRecord>> {
        let put = puts.iter().filter(|(_, put)| put.is_some()).map(|(id, _)| id.as_str());
        let kept: Vec<_> = groups.iter().filter(|(_, g)| g.is_some()).map(|(id, _)| id.to_string()).collect();
        let named = put.chain(kept.iter().map(String::as_str));
        let parents: BTreeSet<_> = named.flat_map(GroupId::ancestors_of).filter(|g| !g.is_root()).collect();
        for parent in parents {
            if !self.state.groups.contains_key(&parent) {
                let record = self.context.installation.new_group(&parent);
                groups.entry(parent).or_insert(Some(record));
            }
        }
        // An empty group gives way to an app of its name.
        for (id, _) in puts.iter().filter(|(_, put)| put.is_some()) {
            let same = GroupId::parse(id.as_str(), &GroupId::root()).ok();
            if let Some(same) = same.filter(|same| self.state.groups.contains_key(same)) {
                groups.entry(same).or_insert(None);
            }
        }
        groups.retain(|id, group| self.state.groups.get(id) != group.as_ref());
        groups
    }

    /// Apps, pods and groups share one space of names.
    fn no_clash(
        &self,
        puts: &BTreeMap<AppId, Option<(App, Timing)>>,
        groups: &BTreeMap<GroupId, Option<GroupRecord>>,
    ) -> Result<(), Refusal> {
        let exists = |id: &AppId| match puts.get(id) {
            Some(put) => put.is_some(),
            None => self.state.apps.contains_key(id),
        };
        let clash = "Groups and Applications may not have the same identifier.";
        for id in puts.iter().filter(|(_, put)| put.is_some()).map(|(id, _)| id) {
            let below = self.state.apps.keys().chain(puts.keys());
            if below.into_iter().any(|other| other.is_below(id.as_str()) && exists(other)) {
                return Err(Refusal::Clash(clash));
            }
        }
        for id in groups.iter().filter(|(_, group)| group.is_some()).map(|(id, _)| id) {
            if AppId::new(id.as_str()).is_ok_and(|id| exists(&id)) {
                return Err(Refusal::Clash(clash));
            }
        }
        Ok(())
    }

    /// What changes nothing conflicts with nothing.
    fn no_locks(&self, plan: &Plan, force: bool) -> Result<(), Refusal> {
        let over = |deployment: &&Deployment| plan.puts.keys().any(|id| deployment.affects(id));
        let locks: Vec<_> = self.state.deployments.iter().filter(over).map(|d| d.id.clone()).collect();
        if locks.is_empty() || force { Ok(()) } else { Err(Refusal::Locked(locks)) }
    }

    fn cancel_all_over(&mut self, affected: &[AppId]) {
        let over = |deployment: &Deployment| affected.iter().any(|id| deployment.affects(id));
        let (cancelled, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.state.deployments).into_iter().partition(over);
        self.state.deployments = kept;
        for deployment in cancelled {
            self.hidden.remove(&deployment.id);
            self.announce_cancelled(&deployment);
            self.touched.extend(deployment.originals.into_keys());
        }
    }

    fn put_groups(
        &mut self,
        groups: BTreeMap<GroupId, Option<GroupRecord>>,
    ) -> BTreeMap<GroupId, Option<GroupRecord>> {
        let mut before = BTreeMap::new();
        for (id, group) in groups {
            let old = match group {
                Some(group) => self.state.groups.insert(id.clone(), group),
                None => self.state.groups.remove(&id),
            };
            before.insert(id, old);
        }
        before
    }

    fn put_specs(
        &mut self,
        puts: BTreeMap<AppId, Option<(App, Timing)>>,
        version: &str,
    ) -> BTreeMap<AppId, Option<App>> {
        let (mut before, kept) = (BTreeMap::new(), self.context.installation.profile.versions_kept());
        for (id, put) in puts {
            before.insert(id.clone(), self.state.apps.get(&id).map(|record| record.app.clone()));
            // Where only the number changes, launches that are due stay so.
            if put.as_ref().is_none_or(|(_, timing)| *timing != Timing::Scaling) {
                self.withheld.remove(&id);
            }
            match (put, self.state.apps.get_mut(&id)) {
                (None, _) => {
                    self.state.apps.remove(&id);
                    self.vacant.remove(&id);
                    self.delays.forget(&id);
                    self.announce_checks_removed(&id, before.get(&id).and_then(Option::as_ref));
                }
                (Some((app, timing)), Some(record)) => record.put(app, version, timing, kept),
                (Some((app, _)), None) => {
                    self.state.apps.insert(id.clone(), AppRecord::new(app, version));
                    self.announce_checks_added(&id);
                }
            }
        }
        before
    }

    /// The ids of the deployments that hold an app and can be seen.
    pub(super) fn locks(&self, id: &AppId) -> Vec<String> {
        let visible = self.state.deployments.iter().filter(|d| d.affects(id) && self.is_visible(d));
        visible.map(|d| d.id.clone()).collect()
    }

    /// Ends a deployment where it is, or undoes it by a new one.
    pub(super) fn cancel(&mut self, id: &str, force: bool) -> Result<Option<Changed>, Refusal> {
        let position = self.state.deployments.iter().position(|d| d.id == id && self.is_visible(d));
        let Some(position) = position else { return Err(Refusal::NoDeployment(id.to_owned())) };
        let undoing = if force { None } else { Some(self.plan_undoing(position)?) };
        let undoing = match undoing {
            // A restart: all is as it was before, and nothing stands in its way (`GroupVersioningUtil.scala`).
            Some(plan) if plan.steps.is_empty() => {
                return Ok(Some(self.put_in_force(plan, uuid(&self.context.entropy), None, true)));
            }
            other => other,
        };
        let cancelled = self.state.deployments.remove(position);
        self.unsaved = Unsaved::Change;
        self.hidden.remove(&cancelled.id);
        self.announce_cancelled(&cancelled);
        self.touched.extend(cancelled.originals.into_keys());
        Ok(undoing.map(|plan| self.put_in_force(plan, uuid(&self.context.entropy), None, true)))
    }

    /// What undoes a deployment, if it can be undone: otherwise it goes on.
    fn plan_undoing(&self, position: usize) -> Result<Plan, Refusal> {
        self.room(None)?;
        let deployment = self.state.deployments.get(position).cloned();
        let plan = deployment.map_or_else(Update::default, |deployment| self.undoing(deployment));
        self.plan(plan).inspect_err(|refusal| self.announce_refused(None, refusal))
    }

    /// What undoes a deployment. Apps were locked while it ran, groups were not: of those only what it
    /// added and is still empty goes, and what they depended on comes back.
    fn undoing(&self, deployment: Deployment) -> Update {
        let mut update = Update::default();
        for (id, original) in deployment.originals {
            match original {
                Some(app) => drop(update.specs.insert(id, Change::Put(unversioned(app)))),
                None if self.state.apps.contains_key(&id) => drop(update.specs.insert(id, Change::Remove)),
                None => {}
            }
        }
        for (id, original) in deployment.groups {
            let used = |app: &AppId| {
                app.is_below(id.as_str()) && !matches!(update.specs.get(app), Some(Change::Remove))
            };
            let is_used = self.state.apps.keys().any(used);
            if original.is_some() || !is_used {
                update.groups.insert(id, original);
            }
        }
        update
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

/// The apps and groups that a definition names as what it depends on.
fn named_dependencies(app: &App) -> Vec<&str> {
    let list = app.get("dependencies").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A definition of the past without its times, which belong to the past.
pub(super) fn unversioned(mut app: App) -> App {
    app.0.remove("version");
    app.0.remove("versionInfo");
    app
}

fn with_ports(mut app: App, old: Option<&App>, taken: &mut BTreeSet<u16>) -> Result<App, Refusal> {
    if pod::is_pod(&app) {
        return Ok(app);
    }
    if ports::assign_service_ports(&mut app, old, taken) {
        taken.extend(ports::numbers(&app));
        Ok(app)
    } else {
        let range = ports::SERVICE_PORTS;
        Err(Refusal::Argument(format!(
            "All ports in the range [{}-{}) are already in use",
            range.start(),
            range.end()
        )))
    }
}
