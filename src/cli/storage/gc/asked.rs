//! Has it done by whoever leads: through the log, or through a daemon, which asks through the log as well.

use std::time::Duration;

use serde_json::Value;

use super::{Collected, Guarded};
use crate::cli::daemon::{self, DaemonError};
use crate::cli::storage::remote::{DaemonArguments, Order};
use crate::cli::storage::{Desk, Result};
use crate::storage::Storage;
use crate::storage::collect::CollectReport;
use crate::storage::control::{Answer, Request};
use crate::telemetry::chain;

/// How often an answer is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// Whoever leads has not done it.
#[derive(Debug, thiserror::Error)]
enum AskedError {
    /// He said so.
    #[error("the instance that leads refused: {0}")]
    Refused(String),
    /// He said nothing.
    #[error("the instance that leads ({holder}) did not answer within {waited:?}; it may still do it")]
    Silent {
        /// Who, as far as is known here.
        holder: String,
        /// How long.
        waited: Duration,
    },
    /// He said something strange.
    #[error("the instance that leads answered: {0}")]
    Strange(String),
}

/// Asks through the log.
pub(super) async fn of_leader(
    storage: &Storage,
    allow: Option<u64>,
    wait: Duration,
    desk: &Desk,
) -> Result<Collected> {
    let id = desk.opening.entropy.nonce();
    storage.control.request(&id, Request::Collect { dry_run: false, allow }).await?;
    let clock = &desk.opening.clock;
    let answered = clock.timeout(wait, async {
        loop {
            if let Some(answer) = storage.control.state().answer(&id) {
                return answer.clone();
            }
            if let Err(error) = storage.control.follow().await {
                tracing::warn!(error = chain(&error), "the control log cannot be read");
            }
            clock.sleep(LOOK).await;
        }
    });
    if let Ok(answer) = answered.await {
        return Ok(read(answer)?);
    }
    let holder = storage.control.state().holder.clone().unwrap_or_default();
    Err(AskedError::Silent { holder, waited: wait }.into())
}

/// Asks a daemon, and again until it knows.
pub(super) async fn of_daemon(
    daemon: &DaemonArguments,
    server: &str,
    order: &Order,
    wait: Duration,
    desk: &Desk,
) -> Result<Collected> {
    let clock = &desk.opening.clock;
    let asked = async {
        let mut said: Result<Value> = daemon.order(server, "gc", order).await;
        loop {
            let id = match said {
                Err(error) => return refusal(error),
                Ok(body) => match understand(&body)? {
                    Said::Done(collected) => return Ok(*collected),
                    Said::Later { id } => id,
                },
            };
            clock.sleep(LOOK).await;
            let asked = daemon::ask(server, &format!("/api/v1/requests/{id}")).await;
            said = asked.map_err(Into::into);
        }
    };
    match clock.timeout(wait, asked).await {
        Ok(collected) => collected,
        Err(_) => Err(AskedError::Silent { holder: format!("behind {server}"), waited: wait }.into()),
    }
}

/// What a daemon said.
#[derive(Debug, PartialEq)]
enum Said {
    Done(Box<Collected>),
    /// It does not know yet.
    Later {
        /// The name to ask again with.
        id: String,
    },
}

/// Reads what a daemon said: what the leader answered, a report where only that was wanted, or a name to ask again
/// with.
fn understand(body: &Value) -> std::result::Result<Said, AskedError> {
    if let Ok(answer) = serde_json::from_value::<Answer>(body.clone()) {
        return read(answer).map(|collected| Said::Done(Box::new(collected)));
    }
    if let Ok(report) = serde_json::from_value::<CollectReport>(body.clone()) {
        return Ok(Said::Done(Box::new(Ok(report))));
    }
    match body.get("id").and_then(Value::as_str) {
        Some(id) if id.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Ok(Said::Later { id: id.to_owned() })
        }
        _ => Err(AskedError::Strange(body.to_string().chars().take(200).collect())),
    }
}

/// A refusal of a daemon: the guard's, or another.
fn refusal(error: Box<dyn std::error::Error>) -> Result<Collected> {
    if let Some(DaemonError::Refused { message, data, .. }) = error.downcast_ref()
        && let Some(going) = going(data.as_ref())
    {
        return Ok(Err(Guarded { message: message.clone(), going }));
    }
    Err(error)
}

/// How many copies must be allowed to go, where it was the guard that refused.
fn going(detail: Option<&Value>) -> Option<u64> {
    detail?.get("needsAllow")?.as_u64()
}

/// What an answer says: a report, where it was done.
fn read(answer: Answer) -> std::result::Result<Collected, AskedError> {
    let Answer { done, message, detail } = answer;
    if !done {
        return match going(detail.as_ref()) {
            Some(going) => Ok(Err(Guarded { message, going })),
            None => Err(AskedError::Refused(message)),
        };
    }
    match detail.and_then(|detail| serde_json::from_value(detail).ok()) {
        Some(report) => Ok(Ok(report)),
        None => Err(AskedError::Strange(message)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_daemon_says_is_understood_in_all_its_forms() {
        let report = CollectReport { copies: 7, ..CollectReport::default() };
        let as_json = serde_json::to_value(&report).unwrap();
        let done = || Said::Done(Box::new(Ok(report.clone())));
        assert_eq!(understand(&as_json).unwrap(), done());
        let answer = json!({"done": true, "message": "", "detail": as_json});
        assert_eq!(understand(&answer).unwrap(), done());
        let guarded = json!({"done": false, "message": "too many", "detail": {"needsAllow": 27}});
        let stopped = Guarded { message: "too many".into(), going: 27 };
        assert_eq!(understand(&guarded).unwrap(), Said::Done(Box::new(Err(stopped))));
        let later = understand(&json!({"id": "0a1b", "message": "wait"})).unwrap();
        assert_eq!(later, Said::Later { id: "0a1b".into() });
        for strange in [json!({"id": "../x"}), json!({}), json!({"done": true, "message": "yes"})] {
            assert!(matches!(understand(&strange), Err(AskedError::Strange(_))));
        }
        let refused = understand(&json!({"done": false, "message": "moved"})).unwrap_err();
        assert_eq!(refused.to_string(), "the instance that leads refused: moved");
    }

    #[test]
    fn the_guard_of_a_daemon_is_told_from_other_refusals() {
        let refused = |data| DaemonError::Refused {
            server: "http://x".into(),
            status: 409,
            message: "too many".into(),
            data,
        };
        let guarded = refusal(refused(Some(json!({"needsAllow": 3}))).into()).unwrap();
        assert_eq!(guarded.unwrap_err(), Guarded { message: "too many".into(), going: 3 });
        assert!(refusal(refused(None).into()).unwrap_err().to_string().contains("409: too many"));
    }
}
