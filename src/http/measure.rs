//! Counts and times every request by route, never by path: paths are without number.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::Site;

/// Measures one request.
pub(super) async fn measure(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let begun = site.clock.boot();
    let response = next.run(request).await;
    let took = site.clock.boot().saturating_sub(begun);
    site.metrics.http_request(&route, response.status().as_u16(), took);
    response
}
