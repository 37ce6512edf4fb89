//! What operators asked of whoever leads, through any instance: it stands in the control log, and so does the answer.

use tracing::warn;

use crate::storage::Storage;
use crate::storage::control::{Answer, ControlOperation, Request};
use crate::storage::lease::Tenure;
use crate::telemetry::chain;

/// Carries out what concerns the controller itself, before a pass.
pub(super) async fn decide(storage: &Storage, tenure: &Tenure) {
    for pending in storage.control.state().requests.clone() {
        let (operation, message) = match pending.request {
            Request::Suspend { reason } => {
                let message = format!("suspended: {reason}");
                (ControlOperation::Suspended { reason }, message)
            }
            Request::Resume => (ControlOperation::Resumed, "resumed".to_owned()),
            Request::Reconcile | Request::Collect { .. } => continue,
        };
        let answer = Answer { done: true, message, detail: None };
        record(tenure, vec![operation, ControlOperation::Answered { id: pending.id, answer }]).await;
    }
}

/// Answers those who wanted a pass, after it.
pub(super) async fn confirm(storage: &Storage, tenure: &Tenure) {
    for pending in storage.control.state().requests.clone() {
        if pending.request != Request::Reconcile {
            continue;
        }
        let message = match storage.standstill() {
            Some(why) => format!("looked at everything and did nothing: suspended ({why})"),
            None => "looked at everything".to_owned(),
        };
        let answer = Answer { done: true, message, detail: None };
        record(tenure, vec![ControlOperation::Answered { id: pending.id, answer }]).await;
    }
}

pub(super) async fn record(tenure: &Tenure, operations: Vec<ControlOperation>) {
    if let Err(error) = tenure.commit(operations).await {
        warn!(error = chain(&error), "a request is not answered yet");
    }
}
