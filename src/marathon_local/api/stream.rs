//! `/v2/events`: server-sent events (`HttpEventStreamServlet.scala`).

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use tokio::sync::mpsc;

use super::Api;
use super::answers::Accepted;
use super::query::Parameters;
use crate::marathon_local::refusal::Refusal;

/// How often a sign of life is sent.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Streams events of the types that the parameter `event_type` names, or of all. The parameter `plan-format` is
/// accepted; `light` is what there is.
pub async fn events(State(api): State<Api>, Query(query): Query<Parameters>, headers: HeaderMap) -> Response {
    if !Accepted::of(&headers).events {
        return api.answer(Err(Refusal::NoMethod));
    }
    let kinds = query.all("event_type").map(str::to_owned).collect();
    let Some(frames) = api.events.listen(&api.address.ip().to_string(), kinds) else {
        return api.answer(Err(Refusal::Unavailable));
    };
    let stream = futures::stream::unfold((api.clone(), frames), |(api, mut frames)| async move {
        let frame = next(&api, &mut frames).await?;
        Some((Ok::<_, std::convert::Infallible>(frame), (api, frames)))
    });
    let mut response = Response::new(Body::from_stream(stream));
    let kind = HeaderValue::from_static("text/event-stream;charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    api.mark(&mut response);
    response
}

/// The next frame, or a sign of life; none when the stream ends.
async fn next(api: &Api, frames: &mut mpsc::Receiver<Bytes>) -> Option<Bytes> {
    let received = async {
        tokio::select! {
            () = api.stop.cancelled() => None,
            frame = frames.recv() => frame,
        }
    };
    match api.clock.timeout(HEARTBEAT, received).await {
        Ok(frame) => {
            let frame = frame?;
            let delay = api.faults.event_delay();
            if !delay.is_zero() {
                api.clock.sleep(delay).await;
            }
            Some(frame)
        }
        Err(_) => Some(Bytes::from_static(b"\r\n")),
    }
}
