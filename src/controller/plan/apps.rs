//! The verdict on one app: create, update, leave alone, wait, or refuse.

use serde_json::json;

use super::{Held, Planner, Standing, Verdict, deployments_are_ours, to_cancel};
use crate::controller::desired::{DesiredUnit, Goal, PackageVersionOf, WantedApp, wanted_app};
use crate::controller::guard;
use crate::manifest::{DriftPolicy, ForeignDeployments};
use crate::marathon::diff::{Difference, condense, diff_for, diff_remembered, to_send};
use crate::marathon::health::{Evidence, Health, HealthReport, judge, too_early};
use crate::marathon::normalize::{Canonical, FieldError, normalize_observed};
use crate::marathon::room;
use crate::marathon::sdk::SdkService;
use crate::model::{
    App, AppId, BlockedReason, BookEntry, Cause, Change, Digest, Drift, Effect, Intent, IntentVerb,
    Operation, Owned, UnitId, UnitKind, UnitState, WaitingReason, Warning,
};

/// A unit together with the app that it wants.
pub(super) struct Wish<'a> {
    pub(super) id: &'a UnitId,
    pub(super) unit: &'a DesiredUnit,
    pub(super) app_id: &'a AppId,
    pub(super) wanted: Canonical,
    inputs: Digest,
}

impl Wish<'_> {
    fn book(&self) -> BookEntry {
        BookEntry {
            applied: condense(&self.wanted),
            applied_digest: self.wanted.digest(),
            inputs: Some(self.inputs),
            protect: self.unit.protect,
            failed: None,
        }
    }
}

impl Planner<'_> {
    /// Decides about a Service or App unit. Returns the app's id and the verdict.
    pub(super) fn app(&mut self, id: &UnitId, unit: &DesiredUnit) -> (String, Verdict) {
        let Some(app_id) = &self.published_id(unit).or_else(|| unit.app_id.clone()) else {
            let message = "the app has no id; give the unit an appId".to_owned();
            return (id.to_string(), Verdict::Held(Held::Blocked(BlockedReason::RenderFailed, message)));
        };
        let verdict = self.app_verdict(id, unit, app_id).unwrap_or_else(Verdict::Held);
        if !matches!(verdict, Verdict::Act { .. }) {
            self.confirm(id, app_id);
        }
        (app_id.to_string(), verdict)
    }

    /// The id that the template of the published package gives, where the files differ from what is published: new
    /// files that are not taken must not move the app either.
    fn published_id(&self, unit: &DesiredUnit) -> Option<AppId> {
        let Goal::Service { package, options, named: None } = &unit.goal else { return None };
        let Goal::Package { content, digest } = &self.desired.units.get(package)?.goal else { return None };
        let published = self.observed.packages.get(&content.coordinate).filter(|p| p.digest != *digest)?;
        let (metadata, release) = (published.metadata.as_deref()?, published.release_version);
        let version = PackageVersionOf { coordinate: &content.coordinate, metadata, release };
        let app = version.render(options, None, &self.settings.public_url).ok()?;
        AppId::absolute(app.id()?).ok()
    }

    /// The verdict; the early ends come as errors.
    fn app_verdict(&mut self, id: &UnitId, unit: &DesiredUnit, app_id: &AppId) -> Result<Verdict, Held> {
        self.claim(id, app_id)?;
        guard::may_touch(app_id, &self.settings.limits, self.settings.own_app.as_ref())
            .map_err(|(reason, message)| Held::Blocked(reason, message))?;
        if unit.absent {
            return self.absent(id, unit, app_id);
        }
        let WantedApp { app: wanted, warnings } = self.wanted(unit, app_id)?;
        if !warnings.is_empty() {
            self.warnings.insert(id.clone(), warnings);
        }
        let wish = Wish { id, unit, app_id, wanted, inputs: self.inputs(unit, app_id) };
        let owned = self.inventory.apps.get(app_id);
        let Some(seen) = self.observed.apps.get(app_id) else { return self.create(&wish, owned) };
        if let Some(resumed) = self.announced(id, unit, app_id, seen) {
            return Ok(resumed);
        }
        match owned {
            Some(owned) if owned.unit.source == id.source => {
                let uninstalls = self.desired_again(app_id, &wish.wanted, unit.protect, seen);
                uninstalls.unwrap_or_else(|| self.compare(&wish, owned, seen))
            }
            _ => Err(self.not_owned(id, unit, app_id, seen)),
        }
    }

    /// Takes the app into the books, where it is what this source announced.
    fn announced(&self, id: &UnitId, unit: &DesiredUnit, app_id: &AppId, seen: &App) -> Option<Verdict> {
        let intent = self.inventory.intents.get(app_id).filter(|intent| intent.unit.source == id.source)?;
        was_applied(intent, seen, &unit.ignore)
            .then(|| resume(app_id, intent, unit.protect, seen, &unit.ignore))
    }

    /// Why an app that stands there is not touched: it is another source's, it is not what we announced, or we know
    /// nothing of it. Never is the first advice to remove what may well be in use.
    fn not_owned(&self, id: &UnitId, unit: &DesiredUnit, app_id: &AppId, seen: &App) -> Held {
        let (owned, intent) = (self.inventory.apps.get(app_id), self.inventory.intents.get(app_id));
        let holder = owned.map(|owned| &owned.unit).or_else(|| intent.map(|intent| &intent.unit));
        let message = match (holder, intent) {
            (Some(holder), _) if holder.source != id.source => format!(
                "the app {app_id} is that of {holder} of the source {}; if that source is called {} now, give it its old name \
                 back in the configuration; if both are meant, choose another appId, or remove the unit there first, which \
                 stops the app",
                holder.source, id.source
            ),
            (_, Some(intent)) => {
                let changes = diff_remembered(&intent.applied, seen, None, &unit.ignore).map(|d| d.changes);
                let differs = changes.map_or_else(
                    |_| "differs".to_owned(),
                    |changes| format!("differs in {}", paths(&changes)),
                );
                format!(
                    "a write of {app_id} for {} was announced and its end is not known, but the app that stands there {differs} \
                     from what was announced; if it was changed since, take that change back, and the app is taken into \
                     the books; if it is somebody else's, choose another appId",
                    intent.unit
                )
            }
            _ => format!(
                "an app {app_id} exists that is not in the books of this controller; choose another appId, or, only if \
                 nobody needs that app, remove it"
            ),
        };
        Held::Blocked(BlockedReason::NotOwned, message)
    }

    /// One app, one unit: the first in the order of the units has it.
    fn claim(&mut self, id: &UnitId, app_id: &AppId) -> Result<(), Held> {
        if let Some(other) = self.claims.get(app_id) {
            let message = format!("{other} already claims {app_id}; give one of them another appId");
            return Err(Held::Blocked(BlockedReason::AppIdConflict, message));
        }
        self.claims.insert(app_id.clone(), id.clone());
        Ok(())
    }

    /// The app as it shall be: from the published package where it is published, else from the files.
    fn wanted(&self, unit: &DesiredUnit, app_id: &AppId) -> Result<WantedApp, Held> {
        let failed = |message| Held::Blocked(BlockedReason::RenderFailed, message);
        let Goal::Service { package, .. } = &unit.goal else {
            return wanted_app(unit, app_id, None, &self.settings.public_url, self.profile).map_err(failed);
        };
        let Some(Goal::Package { content, .. }) = self.desired.units.get(package).map(|unit| &unit.goal)
        else {
            return Err(Held::Waiting(WaitingReason::DependencyNotReady, format!("{package} is not there")));
        };
        if let Some(reason) = self.observed.registry.reason() {
            return Err(Held::Waiting(WaitingReason::NotObserved, format!("the registry: {reason}")));
        }
        let published = self.observed.packages.get(&content.coordinate);
        let metadata = published.and_then(|p| p.metadata.as_deref()).unwrap_or(&content.metadata);
        let release = published.map_or_else(|| self.planned_release(package), |p| p.release_version);
        let package = PackageVersionOf { coordinate: &content.coordinate, metadata, release };
        wanted_app(unit, app_id, Some(&package), &self.settings.public_url, self.profile).map_err(failed)
    }

    /// Digest of all that the app is rendered from, but for this program and the Marathon that it is for.
    fn inputs(&self, unit: &DesiredUnit, app_id: &AppId) -> Digest {
        let inputs = match &unit.goal {
            Goal::App { written, .. } => json!([app_id, written]),
            Goal::Service { package, options, named } => {
                let version = self.desired.units.get(package).and_then(|unit| match &unit.goal {
                    Goal::Package { content, digest } => {
                        let published = self.observed.packages.get(&content.coordinate);
                        let release =
                            published.map_or_else(|| self.planned_release(package), |p| p.release_version);
                        Some((&content.coordinate, published.map_or(*digest, |p| p.digest), release))
                    }
                    _ => None,
                });
                json!([app_id, version, options, named, self.settings.public_url])
            }
            Goal::Package { .. } => json!([app_id]),
        };
        Digest::of(inputs.to_string().as_bytes())
    }

    /// The release version that this plan gives to a Package unit.
    fn planned_release(&self, package: &UnitId) -> u64 {
        let of_unit = self.plan.actions.iter().filter(|action| action.unit == *package);
        let mut releases = of_unit.filter_map(|action| match action.operation {
            Operation::Publish { release_version, .. } => Some(release_version),
            _ => None,
        });
        releases.next().unwrap_or_default()
    }

    fn absent(&self, id: &UnitId, unit: &DesiredUnit, app_id: &AppId) -> Result<Verdict, Held> {
        let owned = self.inventory.apps.get(app_id).is_some_and(|owned| owned.unit.source == id.source);
        match self.observed.apps.get(app_id) {
            Some(seen) if !owned => {
                self.announced(id, unit, app_id, seen).ok_or_else(|| self.not_owned(id, unit, app_id, seen))
            }
            Some(_) if unit.protect => {
                let message = "state is absent, but it is protected; take protect away, too, to remove it";
                Err(Held::Blocked(BlockedReason::Protected, message.to_owned()))
            }
            Some(app) => Ok(self.delete(app_id, app, unit.foreign_deployments)),
            None => match self.observed.marathon.reason() {
                Some(reason) => Err(not_observed(reason)),
                None if owned => Ok(forget(app_id)),
                None => Ok(Verdict::Settled(UnitState::Ready { message: "absent, as desired".to_owned() })),
            },
        }
    }

    /// A removal that nothing forbids but a stranger's deployment.
    pub(super) fn delete(&self, app_id: &AppId, app: &App, foreign: ForeignDeployments) -> Verdict {
        if let Some(service) = SdkService::of(app) {
            return self.uninstall(app_id, app, service, foreign);
        }
        let begun =
            self.inventory.intents.get(app_id).is_some_and(|intent| intent.verb == IntentVerb::Delete);
        // A deployment of ours that the books know is an older one: the removal that a crash cut short was never
        // sent, or the older one would have been cancelled.
        if begun && !deployments_are_ours(app, self.inventory) {
            let message = "its tasks are being stopped".to_owned();
            return Verdict::Held(Held::Waiting(WaitingReason::DeploymentRunning, message));
        }
        let cancels = match to_cancel(app, self.inventory, foreign) {
            Ok(cancels) => cancels,
            Err(held) => return Verdict::Held(held),
        };
        let observed_version = app.version().to_owned();
        let app_id = app_id.clone();
        let operation = Operation::DeleteApp { app_id, observed_version, cancels, recreation: None };
        Verdict::Act { operation, cause: Cause::Removed, changes: Vec::new() }
    }

    fn create(&self, wish: &Wish<'_>, owned: Option<&Owned>) -> Result<Verdict, Held> {
        if let Some(reason) = self.observed.marathon.reason() {
            return Err(not_observed(reason));
        }
        if let Some(back) = owned.and_then(|owned| self.create_former(wish, owned)) {
            return Ok(back);
        }
        self.wait_for_dependencies(wish.unit)?;
        let book = wish.book();
        let removed =
            || self.inventory.intents.get(wish.app_id).is_some_and(|i| i.verb == IntentVerb::Delete);
        let cause = match owned {
            // We removed it ourselves, and it is desired again.
            Some(_) if removed() => Cause::Changed,
            Some(owned) if owned.applied_digest == book.applied_digest => Cause::Drifted,
            Some(_) => Cause::Changed,
            None if self.inventory.intents.contains_key(wish.app_id) => Cause::Resumed,
            None => Cause::New,
        };
        let operation =
            Operation::CreateApp { app_id: wish.app_id.clone(), app: App::clone(&wish.wanted), book };
        Ok(Verdict::Act { operation, cause, changes: Vec::new() })
    }

    fn compare(&mut self, wish: &Wish<'_>, owned: &Owned, seen: &App) -> Result<Verdict, Held> {
        let (applied, ignore) = (Some(&owned.applied), &wish.unit.ignore);
        let difference =
            diff_for(&wish.wanted, seen, applied, ignore, self.profile).map_err(|faults| refused(&faults))?;
        let book = wish.book();
        let changed = owned.applied_digest != book.applied_digest;
        if difference.changes.is_empty() {
            // Only our books differ: the document has another name, says the same in other words, a write was
            // done whose answer was lost, or what Marathon would not take is there all the same.
            let same_book = !changed
                && owned.unit == *wish.id
                && owned.protect == wish.unit.protect
                && owned.inputs == book.inputs
                && owned.unchanged_puts == 0
                && owned.failed.is_none()
                && !self.inventory.intents.contains_key(wish.app_id);
            let deployment = owned.deployment.clone();
            let rebook = || adopt(wish.app_id, book, Cause::Changed, seen, deployment);
            return if same_book { self.stand(wish, owned, seen) } else { Ok(rebook()) };
        }
        self.refuse_failed(wish, book.applied_digest, owned, seen)?;
        if changed && owned.inputs == book.inputs {
            return Err(rendered_anew(&difference));
        }
        if !changed && wish.unit.drift != DriftPolicy::Enforce {
            return Ok(self.tolerate(wish, difference.changes, seen));
        }
        if changed && difference.effect == Effect::Recreate && !self.is_new(wish, seen) {
            return self.recreate(wish, owned, seen, difference);
        }
        refuse_harm(&difference, !changed && owned.unchanged_puts >= 2)?;
        self.warn_of_no_room(wish, &difference, seen);
        let cancels = to_cancel(seen, self.inventory, wish.unit.foreign_deployments)?;
        self.wait_for_dependencies(wish.unit)?;
        let operation = Operation::UpdateApp {
            app_id: wish.app_id.clone(),
            app: to_send(&wish.wanted, seen, applied, ignore).map_err(|faults| refused(&faults))?,
            book,
            observed_version: seen.version().to_owned(),
            effect: difference.effect,
            from_good: owned.rollout.is_none()
                && diff_remembered(&owned.applied, seen, None, ignore).is_ok_and(|d| d.changes.is_empty()),
            cancels,
        };
        let cause = if changed { Cause::Changed } else { Cause::Drifted };
        Ok(Verdict::Act { operation, cause, changes: difference.changes })
    }

    /// Tells beforehand that Marathon would never begin with what is to be sent.
    fn warn_of_no_room(&mut self, wish: &Wish<'_>, difference: &Difference, seen: &App) {
        let replaces = difference.effect == Effect::Restart && self.profile.heeds_health();
        if replaces && room::is_missing(&normalize_observed(seen), &wish.wanted) {
            let path = "/upgradeStrategy/maximumOverCapacity".to_owned();
            let warning = Warning { path, message: room::ADVICE.to_owned() };
            self.warnings.entry(wish.id.clone()).or_default().push(warning);
        }
    }

    /// Drift that the unit only wants to hear of (`warn`), or not even that (`off`).
    fn tolerate(&mut self, wish: &Wish<'_>, changes: Vec<Change>, seen: &App) -> Verdict {
        if wish.unit.drift == DriftPolicy::Warn {
            let (unit, app_id) = (wish.id.clone(), wish.app_id.clone());
            self.plan.drift.push(Drift { unit, app_id, changes, corrected: false });
        }
        self.settle(seen)
    }

    /// How an app fares.
    pub(super) fn report(&self, seen: &App) -> HealthReport {
        let (deployments, queue) = (&self.observed.deployments, &self.observed.queue);
        judge(Some(seen), &Evidence { deployments, queue, last_failure: None })
    }

    /// The state of an app that is as desired, with what a person needs to know where it does not run.
    pub(super) fn settle(&self, seen: &App) -> Verdict {
        let report = self.report(seen);
        let (running, message) = (seen.deployments().next().is_some(), report.reason);
        match report.health {
            Health::Healthy => self.healthy(seen, message),
            Health::Suspended => Verdict::Settled(UnitState::Ready { message }),
            Health::Unknown => {
                Verdict::Settled(UnitState::Unknown { reason: "HealthUnknown".to_owned(), message })
            }
            Health::Progressing | Health::Degraded | Health::Missing => {
                let reason =
                    if running { WaitingReason::DeploymentRunning } else { WaitingReason::NotHealthy };
                Verdict::Held(Held::Waiting(reason, message))
            }
        }
    }

    /// The verdict on an app that Marathon calls healthy. So it calls one whose task ends a second after it began, too, when
    /// a look falls into that second. Ready is what has run for a while, and whose change has ended; of a service its
    /// scheduler has the first word.
    fn healthy(&self, seen: &App, message: String) -> Verdict {
        let id = seen.id().and_then(|id| AppId::absolute(id).ok());
        let under_way = |id: &AppId| {
            let change = self.followups.get(id).filter(|change| change.verdict.is_under_way());
            change.map(|change| change.reason.clone())
        };
        let early = || {
            let why = too_early(seen, self.observed.looked_at?)?;
            Some(format!("{message}, but {why}"))
        };
        match id.and_then(|id| self.has_to_deploy(&id).or_else(|| under_way(&id))).or_else(early) {
            Some(why) => Verdict::Held(Held::Waiting(WaitingReason::NotHealthy, why)),
            None => Verdict::Settled(UnitState::Ready { message }),
        }
    }

    /// Holds an action back until everything it depends on is ready, or made ready by this plan.
    pub(super) fn wait_for_dependencies(&self, unit: &DesiredUnit) -> Result<(), Held> {
        let missing = unit.depends_on.iter().find(|dependency| match self.standings.get(dependency) {
            Some(Standing::Ready) => false,
            // An action publishes a package for good; an app is ready only when its tasks are healthy.
            Some(Standing::After(_)) => dependency.kind != UnitKind::Package,
            _ => true,
        });
        match missing {
            None => Ok(()),
            Some(missing) => {
                Err(Held::Waiting(WaitingReason::DependencyNotReady, format!("{missing} is not ready")))
            }
        }
    }
}

pub(super) fn refused(faults: &[FieldError]) -> Held {
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    Held::Blocked(BlockedReason::RenderFailed, faults.join("; "))
}

/// A unit that did not change and is rendered differently.
fn rendered_anew(difference: &Difference) -> Held {
    let message = format!(
        "it did not change, and is rendered differently by this version of the controller or for this Marathon, in {}; \
         change the unit, if only a label, to have that put in force",
        paths(&difference.changes)
    );
    Held::Blocked(BlockedReason::RendererChanged, message)
}

/// What is not done though it is due: destroying volumes where no change of the unit asks for it, and putting the same
/// thing for ever.
pub(super) fn refuse_harm(difference: &Difference, fruitless: bool) -> Result<(), Held> {
    let paths = paths(&difference.changes);
    if difference.effect == Effect::Recreate {
        let message = format!(
            "changing {paths} back destroys the app's volumes, and only a change of the unit may do that, where it says \
             recreate: allowed; remove the app by hand where losing them is meant"
        );
        return Err(Held::Blocked(BlockedReason::WouldRecreate, message));
    }
    if fruitless {
        let message = format!("Marathon took the definition twice and still differs in {paths}");
        return Err(Held::Blocked(BlockedReason::NotConvergent, message));
    }
    Ok(())
}

/// The places of changes, for people.
pub(super) fn paths(changes: &[Change]) -> String {
    changes.iter().map(|change| change.path.as_str()).collect::<Vec<_>>().join(", ")
}

pub(super) fn not_observed(reason: &str) -> Held {
    Held::Waiting(WaitingReason::NotObserved, format!("Marathon: {reason}"))
}

pub(super) fn forget(app_id: &AppId) -> Verdict {
    let operation = Operation::Forget { app_id: app_id.clone() };
    Verdict::Act { operation, cause: Cause::Removed, changes: Vec::new() }
}

pub(super) fn foreign_deployment(app: &App) -> Held {
    let ids: Vec<_> = app.deployments().collect();
    let message = format!("deployment {} holds the app and is not ours", ids.join(", "));
    Held::Waiting(WaitingReason::ForeignDeployment, message)
}

/// Whether the app that stands there is what an announced write makes of it. The write was done then, and a crash
/// or a lost connection swallowed the answer.
pub(super) fn was_applied(intent: &Intent, seen: &App, ignore: &[String]) -> bool {
    let same = || diff_remembered(&intent.applied, seen, None, ignore).is_ok_and(|d| d.changes.is_empty());
    matches!(intent.verb, IntentVerb::Create | IntentVerb::Update)
        && intent.observed_version != seen.version()
        && same()
}

/// Takes into the books what such a write has done. The deployment that holds the app may be that of the write; only where
/// that is certain it is ours, and may be cancelled.
pub(super) fn resume(
    app_id: &AppId,
    intent: &Intent,
    protect: bool,
    seen: &App,
    ignore: &[String],
) -> Verdict {
    let (applied, applied_digest) = (intent.applied.clone(), intent.body);
    let last = seen.deployments().next().filter(|_| is_last_change(seen, ignore));
    let deployment = last.map(str::to_owned);
    let (inputs, failed) = (intent.inputs, intent.failed.clone());
    let book = BookEntry { applied, applied_digest, inputs, protect, failed };
    adopt(app_id, book, Cause::Resumed, seen, deployment)
}

/// Whether an app that is what we put there was not changed since: the times that Marathon keeps tell a change of the
/// configuration from a restart and a scaling (`state/VersionInfo.scala` and `upgrade/GroupVersioningUtil.scala` of
/// mesosphere/marathon). Where the number of instances is not ours, a scaling is not, either.
fn is_last_change(seen: &App, ignore: &[String]) -> bool {
    let info = |key: &str| seen.get("versionInfo")?.get(key)?.as_str();
    let (scaled, configured) = (info("lastScalingAt"), info("lastConfigChangeAt"));
    let is_last = |time: Option<&str>| time == Some(seen.version());
    is_last(scaled) && (is_last(configured) || !ignore.iter().any(|pointer| pointer == "/instances"))
}

fn adopt(app_id: &AppId, book: BookEntry, cause: Cause, seen: &App, deployment: Option<String>) -> Verdict {
    let (app_id, observed_version) = (app_id.clone(), seen.version().to_owned());
    let operation = Operation::Adopt { app_id, book, observed_version, deployment };
    Verdict::Act { operation, cause, changes: Vec::new() }
}
