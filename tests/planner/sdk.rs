//! Services of the DC/OS SDK: what their removal takes, what holds it back, and when they are ready.

use dcos_registry::controller::followup::Followups;
use dcos_registry::controller::plan::plan;
use dcos_registry::controller::report;
use dcos_registry::controller::stage::Accepted;
use dcos_registry::marathon::follow::{Followup, Verdict};
use dcos_registry::marathon::sdk::{UNINSTALL_LABEL, UNINSTALL_VARIABLE};
use dcos_registry::model::{
    BlockedReason, Completeness, Operation, Plan, PlanElement, PlanProgress, SchedulerPlan, UnitState,
    WaitingReason,
};
use serde_json::{Value, json};

use crate::removals;
use crate::world::{World, app_id};

const ID: &str = "/data/kafka";

/// One scheduler and one other app.
fn both() -> Accepted {
    removals::manifest(&[("kafka", ID, scheduler(json!({}))), ("other", "/t/other", json!({}))])
}

fn other() -> Accepted {
    removals::manifest(&[("other", "/t/other", json!({}))])
}

fn scheduler(spec: Value) -> Value {
    let mut spec = spec;
    spec["app"] = json!({"labels": {UNINSTALL_LABEL: "true"}, "env": {"A": "x"}});
    spec
}

fn converged() -> World {
    let mut world = World::new();
    world.observation.admin_router = true;
    world.converge(&both());
    world
}

/// As [`converged`], where the document is gone and the first step done.
fn uninstalling() -> World {
    let mut world = converged();
    let plan = world.plan(&other());
    world.apply(&plan, &other());
    world
}

fn says(world: &mut World, plan: SchedulerPlan) {
    world.observation.scheduler_plans.insert(app_id(ID), plan);
}

fn labels(plan: &Plan) -> Vec<&'static str> {
    plan.actions.iter().map(|action| action.operation.label()).collect()
}

fn waits(plan: &Plan) -> (WaitingReason, &str) {
    assert_eq!((labels(plan), plan.waiting.len()), (vec![], 1), "{}", report::plan_text(plan));
    (plan.waiting[0].reason, &plan.waiting[0].message)
}

fn blocked(plan: &Plan) -> (BlockedReason, &str) {
    assert_eq!((labels(plan), plan.blocked.len()), (vec![], 1), "{}", report::plan_text(plan));
    (plan.blocked[0].reason, &plan.blocked[0].message)
}

fn progress() -> PlanProgress {
    let element =
        |name: &str, status: &str| Some(PlanElement { name: name.to_owned(), status: status.to_owned() });
    PlanProgress {
        status: "IN_PROGRESS".to_owned(),
        phase: element("unreserve-resources-a1", "IN_PROGRESS"),
        step: element("r7", "PENDING"),
        done: 2,
        total: 5,
        errors: Vec::new(),
    }
}

#[test]
fn a_scheduler_uninstalls_before_its_app_is_deleted() {
    let mut world = converged();
    // What it says while it still deploys means nothing for the removal.
    says(&mut world, SchedulerPlan::Complete);
    let plan = world.plan(&other());
    let [action] = &plan.actions[..] else { panic!("{}", report::plan_text(&plan)) };
    let Operation::UninstallApp { app, observed_version, cancels, .. } = &action.operation else { panic!() };
    assert_eq!(app.get("env"), Some(&json!({"A": "x", UNINSTALL_VARIABLE: "true"})));
    assert_eq!((observed_version.is_empty(), &cancels[..], app.version()), (false, &[][..], ""));
    let text = report::plan_text(&plan);
    assert!(text.contains("- uninstall /data/kafka"), "{text}");
    assert!(text.contains("no way back") && text.contains("1 to delete"), "{text}");
    world.apply(&plan, &other());

    world.observation.scheduler_plans.clear();
    assert_eq!(waits(&world.plan(&other())).0, WaitingReason::Uninstalling);
    for (plan, word) in [
        (SchedulerPlan::NotThere, "no such plan"),
        (SchedulerPlan::Unreadable("status 503".to_owned()), "status 503"),
        (SchedulerPlan::InProgress(progress()), "step r7 is PENDING"),
        (
            SchedulerPlan::Failed(PlanProgress { errors: vec!["agent a1 is gone".to_owned()], ..progress() }),
            "agent a1 is gone",
        ),
    ] {
        says(&mut world, plan);
        let plan = world.plan(&other());
        let (reason, message) = waits(&plan);
        assert!(reason == WaitingReason::Uninstalling && message.contains(word), "{message}");
    }
    says(&mut world, SchedulerPlan::Complete);
    let plan = world.plan(&other());
    let [action] = &plan.actions[..] else { panic!("{}", report::plan_text(&plan)) };
    assert!(matches!(&action.operation, Operation::DeleteApp { cancels, .. } if cancels.is_empty()));
    world.apply(&plan, &other());
    assert_eq!(labels(&world.plan(&other())), ["forget"]);
}

#[test]
fn a_complete_plan_counts_only_once_the_deployment_is_over() {
    let mut world = uninstalling();
    says(&mut world, SchedulerPlan::Complete);
    let app = world.observation.apps.get_mut(&app_id(ID)).unwrap();
    app.0.insert("deployments".to_owned(), json!([{"id": "d1"}]));
    assert!(waits(&world.plan(&other())).1.contains("d1"));
}

/// A crash between announcing the first step and asking for it.
#[test]
fn an_announced_uninstallation_that_was_never_sent_is_planned_anew() {
    let mut world = converged();
    let app = world.observation.apps[&app_id(ID)].clone();
    let plan = world.plan(&other());
    world.apply(&plan, &other());
    world.observation.apps.insert(app_id(ID), app);
    assert_eq!(labels(&world.plan(&other())), ["uninstall"]);
    // What was not sent does not bind us: without the permission it is not sent any more.
    world.settings.limits.prune = false;
    assert_eq!(blocked(&world.plan(&other())).0, BlockedReason::PruneDisabled);
    // Nor is there anything to wait for when the document is back.
    let plan = world.plan(&both());
    assert_eq!(labels(&plan), ["adopt"]);
    world.apply(&plan, &both());
    assert_eq!(labels(&world.plan(&both())), Vec::<&str>::new());
}

#[test]
fn every_guard_is_asked_before_the_first_step_and_none_after_it() {
    let mut guarded = converged();
    guarded.settings.limits.prune = false;
    assert_eq!(blocked(&guarded.plan(&other())).0, BlockedReason::PruneDisabled);
    let mut guarded = converged();
    guarded.settings.limits.max_deletions = 0;
    assert_eq!(blocked(&guarded.plan(&other())).0, BlockedReason::TooManyDeletions);
    let mut guarded = converged();
    guarded.settings.limits.allow_app_ids = vec!["/t".to_owned()];
    assert_eq!(blocked(&guarded.plan(&other())).0, BlockedReason::AppIdNotAllowed);
    let mut guarded = converged();
    guarded.inventory.apps.get_mut(&app_id(ID)).unwrap().protect = true;
    assert_eq!(blocked(&guarded.plan(&other())).0, BlockedReason::Protected);
    let mut guarded = converged();
    guarded.observation.marathon = Completeness::Partial("half of it was read".to_owned());
    assert_eq!(blocked(&guarded.plan(&other())).0, BlockedReason::IncompleteObservation);
    let mut guarded = converged();
    let app = guarded.observation.apps.get_mut(&app_id(ID)).unwrap();
    app.0.insert("deployments".to_owned(), json!([{"id": "a stranger's"}]));
    assert_eq!(waits(&guarded.plan(&other())).0, WaitingReason::ForeignDeployment);

    let mut begun = uninstalling();
    begun.settings.limits.prune = false;
    begun.settings.limits.max_deletions = 0;
    says(&mut begun, SchedulerPlan::Complete);
    assert_eq!(labels(&begun.plan(&other())), ["delete"]);
    let (mut unread, mut forbidden) = (begun.clone(), begun);
    unread.observation.marathon = Completeness::Partial("half of it was read".to_owned());
    assert_eq!(labels(&unread.plan(&other())), Vec::<&str>::new());
    forbidden.settings.limits.allow_app_ids = vec!["/t".to_owned()];
    assert_eq!(blocked(&forbidden.plan(&other())).0, BlockedReason::AppIdNotAllowed);

    // That somebody else lets it uninstall lifts no guard of ours.
    let mut strange = uninstalling();
    strange.inventory.intents.clear();
    strange.settings.limits.prune = false;
    says(&mut strange, SchedulerPlan::Complete);
    assert_eq!(blocked(&strange.plan(&other())).0, BlockedReason::PruneDisabled);
}

#[test]
fn without_admin_router_nothing_is_begun_and_the_message_says_what_to_write() {
    let mut world = converged();
    world.observation.admin_router = false;
    let plan = world.plan(&other());
    let (reason, message) = blocked(&plan);
    assert!(reason == BlockedReason::NoAdminRouter && message.contains("marathon.adminRouter"), "{message}");
    let mut world = uninstalling();
    world.observation.admin_router = false;
    let plan = world.plan(&other());
    assert!(waits(&plan).1.contains("marathon.adminRouter"), "{}", report::plan_text(&plan));
}

#[test]
fn a_document_that_says_absent_takes_the_same_way() {
    let absent = removals::manifest(&[
        ("kafka", ID, scheduler(json!({"state": "absent"}))),
        ("other", "/t/other", json!({})),
    ]);
    let mut world = converged();
    let plan = world.plan(&absent);
    assert_eq!(labels(&plan), ["uninstall"]);
    world.apply(&plan, &absent);
    let plan = world.plan(&absent);
    assert_eq!(waits(&plan).0, WaitingReason::Uninstalling);
    assert!(
        matches!(&plan.units[0].state, UnitState::Progressing { reason, .. } if reason == "Uninstalling")
    );
    says(&mut world, SchedulerPlan::Complete);
    assert_eq!(labels(&world.plan(&absent)), ["delete"]);
}

#[test]
fn a_service_that_is_desired_again_is_created_anew_when_it_is_gone() {
    let mut world = uninstalling();
    says(&mut world, SchedulerPlan::InProgress(progress()));
    let plan = world.plan(&both());
    let (reason, message) = blocked(&plan);
    assert_eq!(reason, BlockedReason::Uninstalling);
    assert!(message.contains("cannot go back") && message.contains("step r7"), "{message}");
    says(&mut world, SchedulerPlan::Complete);
    let protected = removals::manifest(&[
        ("kafka", ID, scheduler(json!({"protect": true}))),
        ("other", "/t/other", json!({})),
    ]);
    assert!(blocked(&world.plan(&protected)).1.contains("protected"));
    let plan = world.plan(&both());
    assert_eq!(labels(&plan), ["delete"]);
    world.apply(&plan, &both());
    let plan = world.plan(&both());
    assert_eq!(labels(&plan), ["create"]);
    world.apply(&plan, &both());
    world.observation.scheduler_plans.clear();
    assert_eq!(labels(&world.plan(&both())), Vec::<&str>::new());
}

#[test]
fn a_scheduler_is_ready_when_its_plan_is_complete_or_cannot_be_read() {
    let mut world = converged();
    let state = |world: &World| world.plan(&both()).units[0].state.clone();
    for plan in [
        None,
        Some(SchedulerPlan::Complete),
        Some(SchedulerPlan::NotThere),
        Some(SchedulerPlan::Unreadable("status 503".to_owned())),
    ] {
        world.observation.scheduler_plans = plan.clone().map(|plan| (app_id(ID), plan)).into_iter().collect();
        assert!(matches!(state(&world), UnitState::Ready { .. }), "{plan:?}");
    }
    // While its last change is under way nobody calls it ready before its scheduler does.
    says(&mut world, SchedulerPlan::NotThere);
    let verdict = Verdict::UnderWay { seems: None };
    let change = Followup { verdict, reason: "Admin Router knows no plan of it yet".to_owned() };
    let under_way = Followups::from([(app_id(ID), change)]);
    let (desired, inventory) = (both().desired, &world.inventory);
    let plan = plan(&desired, &world.observation, inventory, &under_way, &world.settings);
    assert_eq!(waits(&plan), (WaitingReason::NotHealthy, "Admin Router knows no plan of it yet"));
    let failed = PlanProgress { errors: vec!["no such disk".to_owned()], ..progress() };
    for (plan, word) in [
        (SchedulerPlan::InProgress(progress()), "step r7 is PENDING"),
        (SchedulerPlan::Failed(failed), "no such disk"),
    ] {
        says(&mut world, plan);
        let UnitState::Progressing { reason, message } = state(&world) else { panic!("{:?}", state(&world)) };
        assert!(reason == "NotHealthy" && message.contains(word), "{message}");
    }
}
