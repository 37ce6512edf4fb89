//! `/repo` and `/resource`: headers and bodies for what the registry holds.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};

use super::hot::{self, Kept};
use super::server::Quick;
use super::{Site, failure, problem};
use crate::registry::repo::{media_type, negotiate};
use crate::registry::resource::{ResourcePath, Wanted, entity_tag, matches_none, repr_digest, wanted};

const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// Says that the store could not be asked for anything newer.
const STALE: HeaderName = HeaderName::from_static("x-dcos-registry-stale");

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// `GET /repo`. Always 200 with the whole document: Cosmos takes nothing else.
pub(super) async fn repo(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let accept: Vec<_> = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
    let format = negotiate(Some(&accept.join(",")));
    // Cosmos drops a cluster's whole catalog when one repository fails; what is known is better than nothing.
    let fresh = site.refresh().await;
    let (document, stale) = match site.repo.document(format, fresh).await {
        Ok(served) => (served.document, served.stale || !fresh),
        Err(error) => return failure(error.class(), error.label(), &error),
    };
    let packed = accepts_gzip(text(&headers, header::ACCEPT_ENCODING));
    let response = Response::builder()
        .header(header::CONTENT_TYPE, media_type(format))
        .header(header::VARY, "Accept, Accept-Encoding")
        .header(header::CACHE_CONTROL, "no-cache");
    let response = if stale { response.header(STALE, "true") } else { response };
    let response = if packed {
        response
            .header(header::CONTENT_ENCODING, "gzip")
            .header(header::CONTENT_LENGTH, document.gzip.len())
            .body(Body::from(document.gzip))
    } else {
        response
            .header(header::CONTENT_LENGTH, document.plain_length)
            .header(header::ETAG, entity_tag(document.digest))
            .header(REPR_DIGEST, repr_digest(document.digest))
            .body(Body::from_stream(document.plain()))
    };
    response.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// Whether gzip is accepted with a weight above zero.
fn accepts_gzip(header: Option<&str>) -> bool {
    let refused = |parameters: &str| {
        let weight = parameters.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok());
        weight.is_some_and(|weight| weight <= 0.0)
    };
    header.unwrap_or_default().split(',').any(|coding| {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !refused(parameters)
    })
}

/// The route of resources.
pub(super) const RESOURCE: &str = "/resource/{coordinate}/{digest}/{name}";

/// What makes a GET ask for less than the whole.
const PARTIAL: [HeaderName; 3] = [header::RANGE, header::IF_RANGE, header::IF_NONE_MATCH];

/// Answers from memory what it can, and measures that as the route would. Reading is for everybody, so that nothing
/// is left out by coming before the routes.
pub(super) fn quick(site: Arc<Site>) -> Arc<Quick> {
    let measured = site.metrics.http_route(RESOURCE, StatusCode::OK.as_u16());
    Arc::new(move |method, uri, headers| {
        let path = uri.path();
        if *method != Method::GET
            || !path.starts_with("/resource/")
            || PARTIAL.iter().any(|name| headers.contains_key(name))
        {
            return None;
        }
        let begun = site.clock.boot();
        let response = site.hot.answer(path, &site.storage.catalog, begun)?;
        measured.answered(site.clock.boot().saturating_sub(begun));
        Some(response)
    })
}

/// `GET /resource/<coordinate>/<digest>/<file name>`.
pub(super) async fn resource(
    State(site): State<Arc<Site>>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let seq = site.storage.catalog.seq();
    // What is not even text names nothing.
    let Ok(Path((coordinate, digest, name))) = path else { return missing() };
    let Some(path) = ResourcePath::parse(&coordinate, &digest, &name) else { return missing() };
    let mut state = site.storage.catalog.state();
    if state.member(&path.coordinate, &path.digest).is_none() {
        // Another instance may just have published it; and what cannot be looked up is not said to be missing.
        if !site.refresh().await {
            let message = "the store cannot be asked whether this was published; try again";
            return problem(StatusCode::SERVICE_UNAVAILABLE, "StoreUnreachable", message);
        }
        state = site.storage.catalog.state();
    }
    let found = state.member(&path.coordinate, &path.digest).filter(|(member, _)| member.name == path.name);
    let Some((member, blob)) = found else { return missing() };
    let tag = entity_tag(path.digest);
    let base = Response::builder()
        .header(header::ETAG, &tag)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CACHE_CONTROL, "public, max-age=31536000, immutable")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(REPR_DIGEST, repr_digest(path.digest));
    if matches_none(text(&headers, header::IF_NONE_MATCH), &tag) {
        return finish(base.status(StatusCode::NOT_MODIFIED).body(Body::empty()));
    }
    let range = text(&headers, header::RANGE);
    let part = match wanted(range, text(&headers, header::IF_RANGE), &tag, blob.size) {
        Wanted::Unsatisfiable => {
            let base = base.header(header::CONTENT_RANGE, format!("bytes */{}", blob.size));
            return finish(base.status(StatusCode::RANGE_NOT_SATISFIABLE).body(Body::empty()));
        }
        Wanted::Whole => None,
        Wanted::Part(part) => Some(part),
    };
    let span = part.clone().unwrap_or(0..blob.size);
    let mut base = base
        .header(header::CONTENT_TYPE, member.media_type)
        .header(header::CONTENT_LENGTH, span.end - span.start)
        .header(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", path.name));
    if part.is_some() {
        let content_range = format!("bytes {}-{}/{}", span.start, span.end - 1, blob.size);
        base = base.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, content_range);
    }
    if method == Method::HEAD {
        return match site.storage.whole(&path.digest) {
            Ok(_) => finish(base.body(Body::empty())),
            Err(error) => failure(error.class(), error.label(), &error),
        };
    }
    if part.is_none() && blob.size <= hot::LARGEST {
        let media_type = member.media_type.to_owned();
        let since = site.clock.boot();
        return match site.storage.read_all(&path.digest, hot::LARGEST).await {
            Ok(bytes) => {
                let response = finish(base.body(Body::from(bytes.clone())));
                let headers = response.headers().clone();
                let (seq, used) = (seq.into(), false.into());
                site.hot.keep(uri.path(), Kept { path, blob, media_type, headers, bytes, since, seq, used });
                response
            }
            Err(error) => failure(error.class(), error.label(), &error),
        };
    }
    match site.storage.read(&path.digest, span).await {
        Ok(bytes) => finish(base.body(Body::from_stream(bytes))),
        Err(error) => failure(error.class(), error.label(), &error),
    }
}

fn finish(response: Result<Response, axum::http::Error>) -> Response {
    response.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

fn missing() -> Response {
    problem(StatusCode::NOT_FOUND, "ResourceNotFound", "no published package has this resource")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_only_to_those_who_take_it() {
        for yes in ["gzip", "deflate, GZIP;q=0.5", "gzip;q=1.0"] {
            assert!(accepts_gzip(Some(yes)), "{yes}");
        }
        for no in ["", "identity", "gzip;q=0", "gzip; q=0.0", "x-gzipped"] {
            assert!(!accepts_gzip(Some(no)), "{no}");
        }
        assert!(!accepts_gzip(None));
    }
}
