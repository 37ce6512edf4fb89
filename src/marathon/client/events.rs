//! Marathon's event stream, as a hint that something happened.
//!
//! Events have no ids and are not told again, their order is not promised, and those that fall between two
//! connections are lost (`docs/docs/event-bus.md`, `core/event/impl/stream/HttpEventStreamHandleActor.scala` of
//! mesosphere/marathon). So none of them is believed: whoever hears one looks. A standby sends us to the leader, and
//! the stream ends where that changes. Jetty writes an empty line now and then, so silence means that
//! nobody is there any more.

use std::time::Duration;

use serde_json::Value;

use super::Client;
use super::call::{Call, transport};
use crate::marathon::error::MarathonError;
use crate::model::AppId;

/// What is listened to: ends of deployments and their steps, tasks that come, go or change their health, and changes
/// by anybody.
const KINDS: [&str; 10] = [
    "api_post_event",
    "app_terminated_event",
    "deployment_failed",
    "deployment_step_success",
    "deployment_success",
    "group_change_success",
    "health_status_changed_event",
    "instance_health_changed_event",
    "status_update_event",
    "unknown_instance_terminated_event",
];

/// How long a stream may be silent: a few of Jetty's signs of life (10 s).
const SILENCE: Duration = Duration::from_secs(60);

/// The longest event that is read, in bytes. Those of deployments hold whole plans before Marathon 1.7.
const LONGEST_EVENT: usize = 1 << 20;

/// Something that a stream said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The stream is open; what happened before is not told.
    Open,
    /// Something happened.
    Event {
        /// What, such as `deployment_success`.
        kind: String,
        /// The app that it happened to, where one is named.
        app: Option<AppId>,
    },
    /// Something happened that is too long to tell.
    TooLong,
}

impl Client {
    /// Listens until the stream ends, and tells what is heard. Returns why it ended: [`MarathonError::Timeout`] after a
    /// silence, [`MarathonError::StreamEnded`] where the server closed it, else as with other calls where it did not
    /// begin. It takes none of the turns of calls.
    pub async fn listen(&self, heard: &mut (dyn FnMut(Heard) + Send)) -> MarathonError {
        let mut response = match self.clock.timeout(self.timeouts.read, Box::pin(self.open_stream())).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return error,
            Err(passed) => return MarathonError::Timeout(passed.0),
        };
        heard(Heard::Open);
        let mut frames = Frames::default();
        loop {
            match self.clock.timeout(SILENCE, response.chunk()).await {
                Ok(Ok(Some(chunk))) => frames.feed(&chunk, heard),
                Ok(Ok(None)) => return MarathonError::StreamEnded,
                Ok(Err(error)) => return transport(error),
                Err(passed) => return MarathonError::Timeout(passed.0),
            }
        }
    }

    async fn open_stream(&self) -> Result<reqwest::Response, MarathonError> {
        let mut query: Vec<_> = KINDS.iter().map(|kind| ("event_type", *kind)).collect();
        // Without whole plans in 1.5 and 1.6; later ones never have them.
        query.push(("plan-format", "light"));
        let call = Call { query: &query, accept: "text/event-stream", ..Call::get("/v2/events") };
        let grant = self.credentials.grant().await.map_err(MarathonError::Credentials)?;
        let first = self.stream_anywhere(&call, grant.as_ref()).await;
        let (Err(MarathonError::Unauthorized { .. }), Some(shown)) = (&first, &grant) else { return first };
        match self.credentials.after_refusal(shown).await.map_err(MarathonError::Credentials)? {
            Some(newer) => self.stream_anywhere(&call, Some(&newer)).await,
            None => first,
        }
    }
}

/// Takes a stream apart (the event stream format of the HTML standard), however it is cut into pieces.
#[derive(Default)]
struct Frames {
    line: Vec<u8>,
    kind: String,
    data: String,
    /// The bytes of the event so far.
    length: usize,
    after_return: bool,
}

impl Frames {
    fn feed(&mut self, bytes: &[u8], heard: &mut (dyn FnMut(Heard) + Send)) {
        for byte in bytes {
            let after_return = std::mem::replace(&mut self.after_return, *byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => self.end_line(heard),
                _ if self.length >= LONGEST_EVENT => {}
                byte => {
                    self.length += 1;
                    self.line.push(*byte);
                }
            }
        }
    }

    fn end_line(&mut self, heard: &mut (dyn FnMut(Heard) + Send)) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return self.end_event(heard);
        }
        if line.first() == Some(&b':') {
            // Signs of life are no part of an event.
            self.length -= line.len();
            return;
        }
        let line = String::from_utf8_lossy(&line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => self.data.push_str(value),
            _ => {}
        }
    }

    fn end_event(&mut self, heard: &mut (dyn FnMut(Heard) + Send)) {
        let after_return = self.after_return;
        let Self { kind, data, length, .. } =
            std::mem::replace(self, Self { after_return, ..Self::default() });
        if length >= LONGEST_EVENT {
            heard(Heard::TooLong);
        } else if !data.is_empty() {
            let data: Value = serde_json::from_str(&data).unwrap_or_default();
            heard(Heard::Event { kind, app: app_of(&data) });
        }
    }
}

/// The app that an event is about; none where it is about more, or about something else.
fn app_of(data: &Value) -> Option<AppId> {
    let named = data.get("appId").or_else(|| data.get("runSpecId"));
    let id = named.or_else(|| data.get("appDefinition")?.get("id"));
    AppId::absolute(id?.as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn heard_in<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Heard> {
        let (mut frames, mut all) = (Frames::default(), Vec::new());
        for piece in pieces {
            frames.feed(piece, &mut |heard| all.push(heard));
        }
        all
    }

    fn event(kind: &str, app: Option<&str>) -> Heard {
        Heard::Event { kind: kind.into(), app: app.map(|id| AppId::new(id).unwrap()) }
    }

    const STREAM: &str = ": hello\n\nevent: status_update_event\ndata: {\"appId\": \"/a\",\ndata: \"x\": 1}\n\n\
                          \r\n\revent: deployment_success\r\ndata:{\"id\": \"d\"}\r\n\r\nid: 5\nretry: 1\nevent: x\n\n\
                          event: api_post_event\rdata: {\"appDefinition\": {\"id\": \"b\"}}\r\rdata: no JSON\n\ndata: lost";

    fn expected() -> Vec<Heard> {
        vec![
            event("status_update_event", Some("/a")),
            event("deployment_success", None),
            event("api_post_event", Some("/b")),
            event("", None),
        ]
    }

    #[test]
    fn frames_are_read_with_every_end_of_line() {
        assert_eq!(heard_in([STREAM.as_bytes()]), expected());
    }

    proptest! {
        #[test]
        fn how_a_stream_is_cut_does_not_matter(cuts in proptest::collection::vec(0..STREAM.len(), 0..20)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|pair| &STREAM.as_bytes()[pair[0]..pair[1]]);
            prop_assert_eq!(heard_in(pieces), expected());
        }

        #[test]
        fn nothing_that_comes_is_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            heard_in([bytes.as_slice()]);
        }
    }

    #[test]
    fn an_event_that_is_too_long_is_counted_and_forgotten() {
        let long = format!("data: {}\n\nevent: x\ndata: {{}}\n\n", "y".repeat(LONGEST_EVENT));
        assert_eq!(heard_in([long.as_bytes()]), [Heard::TooLong, event("x", None)]);
        let mut frames = Frames::default();
        for _ in 0..3 {
            frames.feed(&vec![b'y'; LONGEST_EVENT], &mut |_| {});
        }
        assert!(frames.line.len() <= LONGEST_EVENT);
    }

    #[test]
    fn apps_are_named_in_three_ways() {
        for data in [
            json!({"appId": "/a"}),
            json!({"runSpecId": "/a"}),
            json!({"appDefinition": {"id": "/a"}, "clientIp": "x"}),
        ] {
            assert_eq!(app_of(&data), Some(AppId::new("/a").unwrap()), "{data}");
        }
        for data in [json!({}), json!({"appId": 5}), json!({"appId": "/A b"}), json!(null)] {
            assert_eq!(app_of(&data), None, "{data}");
        }
    }
}
