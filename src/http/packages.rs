//! `/api/v1/packages`: taking bundles in, saying what there is, taking packages away.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::answer::{failure_with, problem_with};
use super::body::{BodyError, announced};
use super::{Site, failure, problem};
use crate::controller::View;
use crate::model::{Coordinate, UnitKind};
use crate::registry::intake::{IntakeError, Taken};
use crate::registry::packages::{details, summary};
use crate::storage::catalog::{CatalogRejection, PackageEntry};
use crate::storage::publish::{PublishError, Published};
use crate::storage::records::CommitError;

/// `POST /api/v1/packages`: the body is a whole bundle.
pub(super) async fn upload(State(site): State<Arc<Site>>, headers: HeaderMap, body: Body) -> Response {
    match Box::pin(site.intake.receive(announced(&headers), body.into_data_stream())).await {
        Ok(taken) => accepted(&taken),
        Err(error) => refused(&error),
    }
}

fn accepted(taken: &Taken) -> Response {
    let Taken { coordinate, published: Published { digest, release_version, already, .. } } = taken;
    let body = json!({
        "name": coordinate.name,
        "version": coordinate.version,
        "releaseVersion": release_version,
        "digest": digest,
        "coordinate": coordinate.encode(),
        "already": already,
    });
    let status = if *already { StatusCode::OK } else { StatusCode::CREATED };
    let place = format!("/api/v1/packages/{}/{}", coordinate.name, coordinate.version);
    (status, [(header::LOCATION, place)], Json(body)).into_response()
}

fn refused(error: &IntakeError) -> Response {
    if let IntakeError::Body(source) = error
        && let Some(body) = BodyError::among(&**source)
    {
        return body.response();
    }
    failure_with(error.class(), error.label(), error, data(error))
}

/// What a program may want to know of an error.
fn data(error: &IntakeError) -> Option<Value> {
    let IntakeError::Publish(error) = error else { return None };
    match error {
        PublishError::VersionImmutable { coordinate, published } => {
            Some(json!({"name": coordinate.name, "version": coordinate.version, "published": published}))
        }
        PublishError::Store { coordinate, role, .. } => {
            Some(json!({"name": coordinate.name, "version": coordinate.version, "role": role}))
        }
        PublishError::Commit { source, .. } => match &**source {
            CommitError::Rejected(CatalogRejection::ReleaseVersionTaken { release_version, holder }) => Some(
                json!({"releaseVersion": release_version, "name": holder.name, "version": holder.version}),
            ),
            _ => None,
        },
        _ => None,
    }
}

/// `GET /api/v1/packages`: all package versions, sorted by name and the text of the version.
pub(super) async fn list(State(site): State<Arc<Site>>) -> Response {
    if let Err(error) = site.storage.catalog.follow().await {
        return failure(error.class(), error.label(), &error);
    }
    let state = site.storage.catalog.state();
    let packages: Vec<_> = state.packages().map(|entry| summary(entry)).collect();
    Json(json!({"packages": packages})).into_response()
}

type Named = Result<Path<(String, String)>, PathRejection>;

/// `GET /api/v1/packages/{name}/{version}`: one, with its files.
pub(super) async fn show(State(site): State<Arc<Site>>, path: Named) -> Response {
    match find(&site, path).await {
        Ok(entry) => Json(details(&entry)).into_response(),
        Err(response) => *response,
    }
}

/// `DELETE /api/v1/packages/{name}/{version}`: takes it away, unless the manifest in force wants it.
pub(super) async fn remove(State(site): State<Arc<Site>>, path: Named) -> Response {
    let coordinate = match find(&site, path).await {
        Ok(entry) => entry.coordinate.clone(),
        Err(response) => return *response,
    };
    let view = site.controller.as_ref().map(|controller| controller.view().borrow().clone());
    if let Some(refusal) = view.and_then(|view| wanted(&view, &coordinate)) {
        return refusal;
    }
    match site.storage.catalog.unpublish(coordinate.clone()).await {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(CommitError::Rejected(CatalogRejection::NotPublished { .. })) => {
            missing(&format!("{coordinate} is not published"))
        }
        Err(error) => failure(error.class(), error.label(), &error),
    }
}

/// The package version that a path names, as of now: what others published a moment ago is there, and that
/// something is missing is said only of a catalog that was read.
async fn find(site: &Site, path: Named) -> Result<Arc<PackageEntry>, Box<Response>> {
    let named = path
        .ok()
        .and_then(|Path((name, version))| Some(Coordinate::new(name.parse().ok()?, version.parse().ok()?)));
    let Some(coordinate) = named else {
        return Err(Box::new(missing("no package can have that name and version")));
    };
    let followed = site.storage.catalog.follow().await;
    followed.map_err(|error| Box::new(failure(error.class(), error.label(), &error)))?;
    let state = site.storage.catalog.state();
    let entry = state.entry(&coordinate).cloned();
    entry.ok_or_else(|| Box::new(missing(&format!("{coordinate} is not published"))))
}

/// Why a package cannot be taken away: the controller of this process would publish it again at once, and the
/// services that are rendered from it would stall meanwhile. What it wants is known once it has looked.
fn wanted(view: &View, coordinate: &Coordinate) -> Option<Response> {
    if view.passes == 0 {
        let message = "it is not known yet whether the manifest wants this package; try again";
        return Some(problem(StatusCode::SERVICE_UNAVAILABLE, "ManifestUnread", message));
    }
    let text = coordinate.to_string();
    let unit = view.units.iter().find(|unit| unit.unit.kind == UnitKind::Package && unit.target == text)?;
    let message = format!("{coordinate} is wanted by {}; take it out of the manifest first", unit.unit);
    let data = json!({"unit": unit.unit.to_string()});
    Some(problem_with(StatusCode::CONFLICT, "PackageWanted", &message, Some(data)))
}

fn missing(message: &str) -> Response {
    problem(StatusCode::NOT_FOUND, "PackageNotFound", message)
}

#[cfg(test)]
pub(super) mod tests;
