//! Which changes are followed, and when the scheduler of an SDK service has the last word.

use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::controller::desired::Goal;
use crate::manifest::{DriftPolicy, ForeignDeployments, Recreate};
use crate::model::{
    App, Completeness, Digest, Epoch, Intent, IntentVerb, PlanProgress, Revision, SourceName, UnitId,
    UnitKind,
};

const BEGUN: Timestamp = Timestamp::UNIX_EPOCH;
const VERSION: &str = "2026-01-02T00:00:00.000Z";

fn unit() -> UnitId {
    UnitId { source: SourceName::new("test").unwrap(), kind: UnitKind::App, name: "a".parse().unwrap() }
}

fn id() -> AppId {
    AppId::new("/a").unwrap()
}

fn app(command: &str) -> App {
    App::from_value(json!({"id": "/a", "cmd": command, "instances": 1})).unwrap()
}

/// One app whose change was taken and runs well by now.
struct Desk {
    desired: Desired,
    observed: Observation,
    inventory: Inventory,
    age: i64,
}

impl Desk {
    fn new() -> Self {
        let wanted = crate::marathon::normalize::normalize(&app("new")).unwrap();
        let unit_of = DesiredUnit {
            goal: Goal::App { app: wanted.clone(), written: app("new") },
            app_id: Some(id()),
            depends_on: Vec::new(),
            drift: DriftPolicy::Enforce,
            ignore: Vec::new(),
            protect: false,
            absent: false,
            timeout: Some(Duration::from_secs(60)),
            on_failure: OnFailure::Rollback,
            foreign_deployments: ForeignDeployments::Wait,
            recreate: Recreate::Never,
        };
        let desired = Desired {
            source: SourceName::new("test").unwrap(),
            revision: Revision("r1".into()),
            units: BTreeMap::from([(unit(), unit_of)]),
            order: vec![unit()],
        };
        let good = Good {
            version: "2026-01-01T00:00:00.000Z".into(),
            applied: app("old"),
            applied_digest: Digest::of(b"old"),
        };
        let owned = Owned {
            unit: unit(),
            applied: wanted.clone().into_app(),
            applied_digest: wanted.digest(),
            version: VERSION.into(),
            deployment: None,
            unchanged_puts: 0,
            protect: false,
            rollout: Some(Rollout { since: BEGUN, from: None, forced: false, good: Some(good) }),
            inputs: None,
            failed: None,
        };
        let mut seen = wanted.into_app();
        let status = json!({
            "version": VERSION, "deployments": [], "tasksStaged": 0, "tasksRunning": 1, "tasksHealthy": 0,
            "tasksUnhealthy": 0, "versionInfo": {"lastConfigChangeAt": VERSION},
        });
        seen.0.extend(status.as_object().unwrap().clone());
        let observed = Observation {
            marathon: Completeness::Complete,
            apps: BTreeMap::from([(id(), seen)]),
            ..Observation::default()
        };
        let inventory = Inventory { apps: BTreeMap::from([(id(), owned)]), ..Inventory::default() };
        Self { desired, observed, inventory, age: 1 }
    }

    fn look(&self) -> Followups {
        self.look_at(self.age, self.age)
    }

    /// A look so many seconds after the change by the wall clock, and after it became known by the boot clock.
    fn look_at(&self, wall: i64, boot: i64) -> Followups {
        let mut known = Known::default();
        known.note(&self.inventory, Duration::from_secs(1000));
        let wall = BEGUN.saturating_add(SignedDuration::from_secs(wall)).unwrap();
        let boot = Duration::from_secs(1000) + Duration::from_secs(boot.unsigned_abs());
        let now = Now { wall, boot, known: &known };
        follow_up(&self.desired, &self.observed, &self.inventory, &Followups::new(), now)
    }

    fn verdict(&self) -> Option<Verdict> {
        self.look().get(&id()).map(|followup| followup.verdict)
    }
}

#[test]
fn only_what_is_under_way_and_was_looked_at_is_judged() {
    assert_eq!(Desk::new().verdict(), Some(Verdict::Ended(Ending::Done)));

    let mut ended = Desk::new();
    ended.inventory.apps.get_mut(&id()).unwrap().rollout = None;
    assert_eq!(ended.verdict(), None);

    let mut unknown = Desk::new();
    let owned = unknown.inventory.apps[&id()].clone();
    let intent = Intent {
        unit: unit(),
        verb: IntentVerb::Update,
        body: owned.applied_digest,
        applied: owned.applied,
        observed_version: String::new(),
        inputs: None,
        failed: None,
        replaced: None,
        epoch: Epoch(1),
    };
    unknown.inventory.intents.insert(id(), intent);
    assert_eq!(unknown.verdict(), None);

    let mut unwanted = Desk::new();
    unwanted.desired.units.clear();
    assert_eq!(unwanted.verdict(), None);

    let mut unseen = Desk::new();
    unseen.observed.apps.clear();
    assert_eq!(unseen.verdict(), Some(Verdict::Ended(Ending::RolledBack)), "what was made is gone again");
    unseen.observed.marathon = Completeness::Partial("cut off".into());
    assert_eq!(unseen.verdict(), None);
}

#[test]
fn a_change_is_no_older_than_it_has_been_known() {
    let mut desk = Desk::new();
    let progress = PlanProgress { status: "IN_PROGRESS".into(), ..PlanProgress::default() };
    desk.observed.scheduler_plans.insert(id(), SchedulerPlan::InProgress(progress));
    let verdict = |wall, boot| desk.look_at(wall, boot).remove(&id()).unwrap().verdict;
    // The wall clock of who began it was an hour behind, or ours was put forward.
    assert_eq!(verdict(3600, 60), Verdict::UnderWay { seems: None });
    assert_eq!(verdict(3600, 61), Verdict::Stuck);
    assert_eq!(verdict(60, 3600), Verdict::UnderWay { seems: None });
    // Another change of the same app has time of its own.
    let mut known = Known::default();
    known.note(&desk.inventory, Duration::from_secs(1));
    let mut later = desk.inventory.clone();
    let rollout = later.apps.get_mut(&id()).unwrap().rollout.as_mut().unwrap();
    rollout.since = BEGUN.saturating_add(SignedDuration::from_secs(5)).unwrap();
    known.note(&later, Duration::from_secs(9));
    assert_eq!(known.age(&id(), Duration::from_secs(10)), Duration::from_secs(1));
}

#[test]
fn a_service_is_done_when_its_scheduler_says_so() {
    let mut desk = Desk::new();
    let progress =
        PlanProgress { status: "IN_PROGRESS".into(), done: 1, total: 3, ..PlanProgress::default() };
    desk.observed.scheduler_plans.insert(id(), SchedulerPlan::InProgress(progress.clone()));
    assert_eq!(desk.verdict(), Some(Verdict::UnderWay { seems: None }));
    desk.age = 61;
    let followup = desk.look().remove(&id()).unwrap();
    assert_eq!(followup.verdict, Verdict::Stuck);
    let told = "not done within 60 s: its scheduler runs, and its plan is IN_PROGRESS, 1 of 3 steps done";
    assert_eq!(followup.reason, told);
    let restored = to_restore(&desk.desired, &desk.inventory, &desk.look());
    assert_eq!(restored, BTreeMap::from([(id(), "2026-01-01T00:00:00.000Z".to_owned())]));

    desk.observed.scheduler_plans.insert(id(), SchedulerPlan::Failed(progress));
    assert_eq!(desk.verdict(), Some(Verdict::Stuck));
    desk.observed.scheduler_plans.insert(id(), SchedulerPlan::Complete);
    assert_eq!(desk.verdict(), Some(Verdict::Ended(Ending::Done)));
    // Whoever cannot be asked is asked again while there is time; then Marathon's word counts.
    for plan in [SchedulerPlan::NotThere, SchedulerPlan::Unreadable("away".into())] {
        desk.observed.scheduler_plans.insert(id(), plan);
        desk.age = 60;
        assert_eq!(desk.verdict(), Some(Verdict::UnderWay { seems: None }));
        desk.age = 61;
        assert_eq!(desk.verdict(), Some(Verdict::Ended(Ending::Done)));
    }
}
