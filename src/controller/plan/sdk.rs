//! Services of the DC/OS SDK: they are uninstalled before they are deleted, and they are ready when their scheduler says
//! so.
//!
//! The first write of a removal puts the scheduler into uninstall mode. Everything that may forbid a removal is asked
//! before that one; once it was ours and is to be seen in the app, the removal is carried to its end whatever pruning
//! and limits say by then, because the service is gone already and only an empty scheduler is left. An app that may not
//! be touched any more, and one that was not read, stay all the same.

use super::apps::not_observed;
use super::{Held, Planner, Verdict, to_cancel};
use crate::manifest::ForeignDeployments;
use crate::marathon::sdk::{Removal, SdkService};
use crate::model::{App, AppId, BlockedReason, Cause, IntentVerb, Operation, SchedulerPlan, WaitingReason};

impl Planner<'_> {
    /// The next step of the removal of a service, which nothing forbids.
    pub(super) fn uninstall(
        &self,
        app_id: &AppId,
        app: &App,
        service: SdkService<'_>,
        foreign: ForeignDeployments,
    ) -> Verdict {
        match service.removal(self.observed.scheduler_plans.get(app_id)) {
            Removal::Begin => {
                self.begin_to_uninstall(app_id, app, service, foreign).unwrap_or_else(Verdict::Held)
            }
            Removal::Wait(why) => {
                let why = if self.observed.admin_router { why } else { format!("{why}; {NO_ADMIN_ROUTER}") };
                Verdict::Held(Held::Waiting(WaitingReason::Uninstalling, why))
            }
            Removal::Delete => delete_scheduler(app_id, app, Cause::Removed),
        }
    }

    fn begin_to_uninstall(
        &self,
        app_id: &AppId,
        app: &App,
        service: SdkService<'_>,
        foreign: ForeignDeployments,
    ) -> Result<Verdict, Held> {
        if !self.observed.admin_router {
            return Err(Held::Blocked(BlockedReason::NoAdminRouter, NO_ADMIN_ROUTER.to_owned()));
        }
        let cancels = to_cancel(app, self.inventory, foreign)?;
        let operation = Operation::UninstallApp {
            app_id: app_id.clone(),
            app: service.to_uninstall(),
            observed_version: app.version().to_owned(),
            cancels,
        };
        Ok(Verdict::Act { operation, cause: Cause::Removed, changes: Vec::new() })
    }

    /// Whether the app is a service that we began to uninstall. That it uninstalls at somebody else's wish makes it
    /// none: what we may remove is asked then as ever.
    pub(super) fn began_to_uninstall(&self, app_id: &AppId, app: &App) -> bool {
        let intent = self.inventory.intents.get(app_id);
        SdkService::of(app).is_some_and(SdkService::is_uninstalling)
            && intent.is_some_and(|i| matches!(i.verb, IntentVerb::Uninstall | IntentVerb::Delete))
    }

    /// What becomes of a service that uninstalls though it is desired; none where it does not, or is desired so.
    pub(super) fn desired_again(
        &self,
        app_id: &AppId,
        wanted: &App,
        protect: bool,
        seen: &App,
    ) -> Option<Result<Verdict, Held>> {
        let uninstalls = |app: &App| SdkService::of(app).is_some_and(SdkService::is_uninstalling);
        let service = SdkService::of(seen).filter(|_| uninstalls(seen) && !uninstalls(wanted))?;
        if let Some(reason) = self.observed.marathon.reason() {
            return Some(Err(not_observed(reason)));
        }
        let why = match service.removal(self.observed.scheduler_plans.get(app_id)) {
            Removal::Delete if protect => {
                "it has uninstalled itself, and a protected app is not deleted; delete it by hand, or take protect away"
                    .to_owned()
            }
            Removal::Delete => return Some(Ok(delete_scheduler(app_id, seen, Cause::Resumed))),
            Removal::Wait(why) if self.observed.admin_router => why,
            _ => NO_ADMIN_ROUTER.to_owned(),
        };
        let message = format!(
            "it is being uninstalled, and a scheduler that has begun to cannot go back; it is created anew when it is \
             gone: {why}"
        );
        Some(Err(Held::Blocked(BlockedReason::Uninstalling, message)))
    }

    /// What a scheduler that runs has left to do; none where it says that its plan is done, or where it cannot be asked.
    pub(super) fn has_to_deploy(&self, id: &AppId) -> Option<String> {
        match self.observed.scheduler_plans.get(id)? {
            SchedulerPlan::InProgress(progress) | SchedulerPlan::Failed(progress) => {
                Some(format!("its scheduler runs, and {progress}"))
            }
            SchedulerPlan::Complete | SchedulerPlan::NotThere | SchedulerPlan::Unreadable(_) => None,
        }
    }
}

/// What to do where an SDK service is to be removed and nobody knows whom to ask how far it is.
const NO_ADMIN_ROUTER: &str = "it is an SDK service: it must uninstall itself first, and how far it is can only be asked \
                               through Admin Router; write marathon.adminRouter, such as https://leader.mesos";

/// Its deployment is over, and the version that was looked at must still be there: nothing is forced.
fn delete_scheduler(app_id: &AppId, app: &App, cause: Cause) -> Verdict {
    let observed_version = app.version().to_owned();
    let operation = Operation::DeleteApp {
        app_id: app_id.clone(),
        observed_version,
        cancels: Vec::new(),
        recreation: None,
    };
    Verdict::Act { operation, cause, changes: Vec::new() }
}
