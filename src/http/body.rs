//! Limits of request bodies: how large, and how long without a byte.
//!
//! Extractors that collect a body (`Bytes`, `Json`) have a limit of their own, [`COLLECTED`]. Whoever streams
//! one wraps the route in [`limited`].

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::MethodRouter;
use futures::{Stream, StreamExt as _, stream};

use super::problem;
use crate::clock::Clock;

/// The largest body that an extractor collects, in bytes.
pub const COLLECTED: usize = 1024 * 1024;

/// How long a sender may send nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// A body that is not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is too large.
    #[error("a body here may have {limit} bytes at most; this one has more")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// Its sender stopped.
    #[error("nothing of the body came for {} s; send it again", .0.as_secs())]
    Silent(Duration),
    /// The connection broke.
    #[error("the body broke off")]
    Broken(#[source] axum::Error),
}

impl BodyError {
    /// The error as a label.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "BodyTooLarge",
            Self::Silent(_) => "BodySilent",
            Self::Broken(_) => "BodyBroken",
        }
    }

    /// The answer for it.
    #[must_use]
    pub fn response(&self) -> Response {
        let status = match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Silent(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
        };
        problem(status, self.label(), &crate::telemetry::chain(self))
    }

    /// Finds it among the causes of what a handler got when it read the body.
    #[must_use]
    pub fn among<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // The source of an I/O error is the source of what it wraps, which itself would be passed over.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        Self::among(wrapped.map(|error| error as &(dyn Error + 'static)).or_else(|| error.source())?)
    }
}

/// Gives a route's bodies a limit in bytes and a limit of silence. A body whose announced length is larger is
/// refused before anything of it is read; one that turns out to be larger ends with a [`BodyError`].
pub fn limited<S>(route: MethodRouter<S>, limit: u64, clock: Clock) -> MethodRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    let layer = from_fn(move |request: Request, next: Next| {
        let clock = clock.clone();
        async move {
            if announced(request.headers()).is_some_and(|length| length > limit) {
                return BodyError::TooLarge { limit }.response();
            }
            let wrap = |body: Body| Body::from_stream(pieces(body.into_data_stream(), limit, clock));
            next.run(request.map(wrap)).await.into_response()
        }
    });
    route.layer::<_, Infallible>(layer).layer(DefaultBodyLimit::disable())
}

/// The length that a body is said to have, in bytes.
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What is left of a body.
struct Rest<B> {
    body: B,
    limit: u64,
    left: u64,
    clock: Clock,
}

fn pieces<B>(body: B, limit: u64, clock: Clock) -> impl Stream<Item = Result<Bytes, BodyError>>
where
    B: Stream<Item = Result<Bytes, axum::Error>> + Unpin,
{
    let rest = Rest { body, limit, left: limit, clock };
    stream::unfold(Some(rest), async |rest| {
        let mut rest = rest?;
        match rest.next().await? {
            Ok(piece) => Some((Ok(piece), Some(rest))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

impl<B: Stream<Item = Result<Bytes, axum::Error>> + Unpin> Rest<B> {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        let piece = match self.clock.timeout(SILENCE, self.body.next()).await {
            Err(passed) => return Some(Err(BodyError::Silent(passed.0))),
            Ok(piece) => piece?.map_err(BodyError::Broken),
        };
        Some(piece.and_then(|piece| {
            let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            self.left = self.left.checked_sub(length).ok_or(BodyError::TooLarge { limit: self.limit })?;
            Ok(piece)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(given: Vec<&'static str>, limit: u64) -> (String, Option<BodyError>) {
        let given = stream::iter(given.into_iter().map(|piece| Ok(Bytes::from(piece))));
        let mut pieces = Box::pin(pieces(given.chain(stream::pending()).take(4), limit, Clock::system()));
        let mut text = String::new();
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(piece) => text.push_str(std::str::from_utf8(&piece).unwrap()),
                Err(error) => {
                    assert!(pieces.next().await.is_none(), "nothing follows an error");
                    return (text, Some(error));
                }
            }
        }
        (text, None)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_ends_at_its_limit() {
        assert!(matches!(read(vec!["ab", "cd", "e", ""], 5).await, (text, None) if text == "abcde"));
        let (text, error) = read(vec!["ab", "cd", "e", "f"], 4).await;
        assert!(matches!(error, Some(BodyError::TooLarge { limit: 4 })), "{error:?}");
        assert_eq!(text, "abcd");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_sender_is_given_up() {
        let (text, error) = read(vec!["ab"], 5).await;
        assert!(matches!(error, Some(BodyError::Silent(_))), "{error:?}");
        assert_eq!(text, "ab");
    }

    #[test]
    fn the_cause_is_found_where_a_handler_sees_it() {
        let seen = axum::Error::new(std::io::Error::other(BodyError::TooLarge { limit: 4 }));
        assert_eq!(BodyError::among(&seen).unwrap().response().status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert!(BodyError::among(&std::io::Error::other("else")).is_none());
    }
}
