//! A request apart from its path: what handlers share.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts as _, Query, Request};
use axum::http::{HeaderMap, Method};
use serde_json::Value;

use super::query::Parameters;
use super::{Api, body};
use crate::marathon_local::refusal::Refusal;
use crate::model::{App, AppId};

/// A request apart from its path.
pub struct Asked {
    /// Its verb.
    pub method: Method,
    /// Its parameters.
    pub query: Parameters,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, which may be too large or cut off.
    body: Result<Bytes, BytesRejection>,
}

impl FromRequest<Api> for Asked {
    type Rejection = QueryRejection;

    async fn from_request(request: Request, api: &Api) -> Result<Self, QueryRejection> {
        let (mut parts, body) = request.into_parts();
        let Query(query) = Query::from_request_parts(&mut parts, api).await?;
        let (method, headers) = (parts.method.clone(), parts.headers.clone());
        let body = Bytes::from_request(Request::from_parts(parts, body), api).await;
        Ok(Self { method, query, headers, body })
    }
}

impl Asked {
    /// Whether other deployments may be cancelled for it; where it does not say, they may not.
    pub fn force(&self) -> bool {
        self.query.flag("force", false)
    }

    /// Its body as any JSON.
    ///
    /// # Errors
    /// As [`body::json`].
    pub fn json(self) -> Result<Value, Refusal> {
        body::json(&self.headers, self.body)
    }

    /// Its body as an object.
    ///
    /// # Errors
    /// As [`body::object`].
    pub fn object(self) -> Result<App, Refusal> {
        body::object(&self.headers, self.body)
    }

    /// Its body as an object that names its id.
    ///
    /// # Errors
    /// As [`body::object`], and 422 where the id is missing or none.
    pub fn named(self) -> Result<(AppId, App), Refusal> {
        let object = self.object()?;
        Ok((body::named_id(&object)?, object))
    }

    /// Its body as a list of apps.
    ///
    /// # Errors
    /// As [`body::apps`].
    pub fn apps(self) -> Result<Vec<(AppId, App)>, Refusal> {
        body::apps(&self.headers, self.body)
    }
}
