//! Health, plan and status as JSON.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};

use super::{Site, failure, problem};
use crate::controller::View;
use crate::model::{Blocked, Problem, Revision, UnitStatus};
use crate::registry;
use crate::storage::gate::Writing;

/// How long somebody who asks for a plan waits for it.
const PLAN_LIMIT: Duration = Duration::from_secs(30);

/// The answer of `/api/v1/status`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusDocument {
    /// The revision in force.
    pub revision: Option<Revision>,
    /// Why a newer one is not.
    pub problems: Vec<Problem>,
    /// All units.
    pub units: Vec<UnitStatus>,
    /// What is not desired any more and is not removed, with the reason.
    pub kept: Vec<Blocked>,
    /// This instance and the one that leads.
    #[serde(default)]
    pub lead: LeadDocument,
}

/// Who acts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeadDocument {
    /// Whether it is the instance that answers.
    pub here: bool,
    /// The instance that holds the lease, as far as is known here.
    pub holder: Option<String>,
    /// The lease's number.
    pub epoch: u64,
    /// Why nothing is done, where an operator wanted that.
    pub suspended: Option<String>,
    /// Why nothing, or only the leader, may write to the store.
    pub writing: Option<String>,
}

impl LeadDocument {
    fn of(site: &Site) -> Self {
        let state = site.storage.control.state();
        let writing = match site.storage.writing() {
            Writing::Open => None,
            Writing::Unproven => Some("it is not known yet whether the store can be shared".to_owned()),
            Writing::Refused(reason) => Some(format!("the store cannot be shared: {reason}")),
            Writing::ReadOnly(reason) => Some(format!("the storage is read-only: {reason}")),
            Writing::SingleWriter { reason, .. } => Some(format!(
                "UNSAFE: the store cannot be shared, and only a promise keeps others away: {reason}"
            )),
        };
        Self {
            here: site.leader.as_ref().is_some_and(|leader| leader.is_leading()),
            holder: state.holder.clone(),
            epoch: state.epoch.0,
            suspended: state.suspended.as_ref().map(|suspension| suspension.reason.clone()),
            writing,
        }
    }
}

/// `/` and `/health`: depends on nothing outside the process.
pub(super) async fn health(State(site): State<Arc<Site>>) -> Response {
    let packages = site.storage.catalog.state().version_count();
    Json(registry::health(packages, &site.storage.writing())).into_response()
}

/// `/readyz`: whether the storage can be read.
pub(super) async fn ready(State(site): State<Arc<Site>>) -> Response {
    if let Err(error) = site.storage.check() {
        return failure(error.class(), error.label(), &error);
    }
    match site.storage.catalog.follow().await {
        Ok(_) => "ok".into_response(),
        Err(error) => failure(error.class(), error.label(), &error),
    }
}

/// `/api/v1/plan`: what would be done if a pass began now.
pub(super) async fn plan(State(site): State<Arc<Site>>) -> Response {
    let Some(controller) = &site.controller else { return no_controller() };
    match site.clock.timeout(PLAN_LIMIT, controller.plan_now()).await {
        Ok(plan) => Json(plan).into_response(),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, "PlanTimeout", &error.to_string()),
    }
}

/// `/api/v1/status`: what the last pass found.
pub(super) async fn status(State(site): State<Arc<Site>>) -> Response {
    let view = site.controller.as_ref().map(|controller| controller.view().borrow().clone());
    let View { revision, problems, units, kept, .. } = view.unwrap_or_default();
    let lead = LeadDocument::of(&site);
    Json(StatusDocument { revision, problems, units, kept, lead }).into_response()
}

fn no_controller() -> Response {
    problem(StatusCode::NOT_FOUND, "NoController", "no controller runs in this process")
}
