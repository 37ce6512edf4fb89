//! The calls beside those on apps: groups, deployments, the queue, versions, pods, and the server itself.

use std::fmt::Write as _;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::call::{Call, LONGEST_LISTING};
use super::{Client, DeploymentResult, Written, app_path, word};
use crate::marathon::error::MarathonError;
use crate::marathon::model::{Deployment, Group, GroupPlan, Info, Pod, Queue, QueueItem};
use crate::model::{App, AppId};

#[derive(Deserialize)]
struct Versions {
    versions: Vec<String>,
}

#[derive(Deserialize)]
struct Leader {
    leader: String,
}

impl Client {
    /// The deployments under way that the caller may see. That one is not among them says nothing about how it
    /// ended.
    ///
    /// # Errors
    /// See [`MarathonError`].
    pub async fn deployments(&self) -> Result<Vec<Deployment>, MarathonError> {
        self.ask(Call { limit: LONGEST_LISTING, ..Call::get("/v2/deployments") }).await?.json()
    }

    /// Ends a deployment, for one of our own only. With `force` it stops where it is and leaves old and new tasks
    /// side by side, and there is no answer; without, a new deployment undoes it, which deletes apps that it
    /// created.
    ///
    /// # Errors
    /// [`MarathonError::NotFound`] where it has ended; else as in [`Client::create`].
    pub async fn cancel(&self, deployment: &str, force: bool) -> Result<Option<Written>, MarathonError> {
        let path = format!("/v2/deployments/{}", segment(deployment)?);
        let query = [("force", word(force))];
        let answer = self.ask(Call { verb: Method::DELETE, query: &query, ..Call::get(&path) }).await?;
        if answer.body.is_empty() {
            return Ok(None);
        }
        let result: DeploymentResult = answer.json()?;
        let deployment = result.deployment_id.or(answer.deployment);
        Ok(Some(Written { version: result.version, deployment }))
    }

    /// What waits to be launched and why it is not yet.
    ///
    /// # Errors
    /// See [`MarathonError`].
    pub async fn queue(&self) -> Result<Vec<QueueItem>, MarathonError> {
        let call = Call { limit: LONGEST_LISTING, ..Call::get("/v2/queue") };
        Ok(self.ask(call).await?.json::<Queue>()?.queue)
    }

    /// As [`Client::queue`], with the last offers that did not fit, which makes the answer long.
    ///
    /// # Errors
    /// See [`MarathonError`].
    pub async fn queue_with_offers(&self) -> Result<Vec<QueueItem>, MarathonError> {
        let query = [("embed", "lastUnusedOffers")];
        let call = Call { query: &query, limit: LONGEST_LISTING, ..Call::get("/v2/queue") };
        Ok(self.ask(call).await?.json::<Queue>()?.queue)
    }

    /// A group with all below it, or everything where none is named. What the caller may not see is left out
    /// without a sign.
    ///
    /// # Errors
    /// [`MarathonError::NotFound`] where there is none.
    pub async fn group(&self, id: Option<&AppId>) -> Result<Group, MarathonError> {
        let query = [("embed", "group.groups"), ("embed", "group.apps"), ("embed", "group.pods")];
        let path = group_path(id);
        let call = Call { query: &query, limit: LONGEST_LISTING, ..Call::get(&path) };
        self.ask(call).await?.json()
    }

    /// What a PUT of that group would do; nothing is done. The body is the whole truth of the group: apps left out
    /// would be removed. Single apps cannot be planned like that.
    ///
    /// # Errors
    /// See [`MarathonError`].
    pub async fn plan_group(&self, id: Option<&AppId>, group: &Value) -> Result<GroupPlan, MarathonError> {
        let query = [("dryRun", "true"), ("force", "false")];
        let (verb, path) = (Method::PUT, group_path(id));
        self.ask(Call { verb, query: &query, body: Some(group), ..Call::get(&path) }).await?.json()
    }

    /// The versions of an app that Marathon still remembers, newest first.
    ///
    /// # Errors
    /// [`MarathonError::NotFound`] where there is no such app.
    pub async fn versions(&self, id: &AppId) -> Result<Vec<String>, MarathonError> {
        let path = format!("{}/versions", app_path(id));
        Ok(self.ask(Call::get(&path)).await?.json::<Versions>()?.versions)
    }

    /// An app as it was at one of its versions.
    ///
    /// # Errors
    /// [`MarathonError::NotFound`] where there is no such app or version.
    pub async fn app_at(&self, id: &AppId, version: &str) -> Result<App, MarathonError> {
        let path = format!("{}/versions/{}", app_path(id), segment(version)?);
        self.ask(Call::get(&path)).await?.json()
    }

    /// The pods that the caller may see.
    ///
    /// # Errors
    /// See [`MarathonError`].
    pub async fn pods(&self) -> Result<Vec<Pod>, MarathonError> {
        self.ask(Call { limit: LONGEST_LISTING, ..Call::get("/v2/pods") }).await?.json()
    }

    /// The leader as `host:port`; none while there is none.
    ///
    /// # Errors
    /// See [`MarathonError`].
    pub async fn leader(&self) -> Result<Option<String>, MarathonError> {
        match self.ask(Call::get("/v2/leader")).await {
            Ok(answer) => Ok(Some(answer.json::<Leader>()?.leader)),
            Err(MarathonError::NotFound { .. } | MarathonError::NoLeader { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What Marathon says about itself; a caller without permission must do without.
    ///
    /// # Errors
    /// See [`MarathonError`].
    pub async fn info(&self) -> Result<Info, MarathonError> {
        self.ask(Call::get("/v2/info")).await?.json()
    }

    /// Whether it answers at all; needs no permission.
    ///
    /// # Errors
    /// See [`MarathonError`].
    pub async fn ping(&self) -> Result<(), MarathonError> {
        self.ask(Call::get("/ping")).await.map(|_| ())
    }
}

fn group_path(id: Option<&AppId>) -> String {
    format!("/v2/groups{}", id.map(AppId::as_str).unwrap_or_default())
}

/// An id that goes into a path as one segment.
fn segment(id: &str) -> Result<String, MarathonError> {
    if id.trim_matches('.').is_empty() {
        return Err(MarathonError::NotFound { message: format!("{id:?} is no id") });
    }
    let mut encoded = String::new();
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    Ok(encoded)
}
