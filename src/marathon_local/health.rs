//! What a task's health checks have told so far, and what follows. Pure.
//!
//! Rules: `HealthCheckActor.scala` and `Health.scala` of mesosphere/marathon.

use std::time::Duration;

use jiff::Timestamp;

use super::definition::HealthCheck;

/// The results of one check of one task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// When it first succeeded.
    pub first_success: Option<Timestamp>,
    /// When it last succeeded.
    pub last_success: Option<Timestamp>,
    /// When it last failed, and why.
    pub last_failure: Option<(Timestamp, String)>,
}

impl Health {
    /// Whether the last result was a success.
    pub fn alive(&self) -> bool {
        self.last_success.is_some() && self.consecutive_failures == 0
    }

    /// Whether there is any result that counts.
    pub fn is_known(&self) -> bool {
        self.last_success.is_some() || self.last_failure.is_some()
    }

    /// Takes a result. Returns the reason when the task must be killed.
    ///
    /// Until the first success, failures within the grace period do not count at all.
    pub fn record(
        &mut self,
        check: &HealthCheck,
        result: Result<(), String>,
        running_for: Duration,
        now: Timestamp,
    ) -> Option<String> {
        match result {
            Ok(()) => {
                self.first_success.get_or_insert(now);
                self.last_success = Some(now);
                self.consecutive_failures = 0;
                None
            }
            Err(_) if self.first_success.is_none() && running_for < check.grace => None,
            Err(reason) => {
                self.consecutive_failures += 1;
                self.last_failure = Some((now, reason.clone()));
                check.failures_to_kill.filter(|most| self.consecutive_failures >= *most).map(|_| reason)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marathon_local::definition::{CheckedPort, Probe};

    fn check(failures_to_kill: Option<u32>) -> HealthCheck {
        HealthCheck {
            probe: Probe::Tcp(CheckedPort::Index(0)),
            grace: Duration::from_secs(10),
            delay: Duration::ZERO,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            failures_to_kill,
            of_mesos: true,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn failures_in_the_grace_period_do_not_count_before_the_first_success() {
        let (check, mut health) = (check(Some(1)), Health::default());
        assert_eq!(health.record(&check, Err("no".into()), Duration::from_secs(9), at(9)), None);
        assert!(!health.is_known() && !health.alive());
        assert_eq!(health.record(&check, Ok(()), Duration::from_secs(9), at(9)), None);
        assert!(health.alive());
        let killed = health.record(&check, Err("no".into()), Duration::from_secs(9), at(10));
        assert_eq!(killed.as_deref(), Some("no"));
        assert!(!health.alive() && health.is_known());
    }

    #[test]
    fn only_failures_in_a_row_kill() {
        let (check, mut health) = (check(Some(2)), Health::default());
        let late = Duration::from_secs(60);
        assert_eq!(health.record(&check, Err("1".into()), late, at(60)), None);
        assert_eq!(health.record(&check, Ok(()), late, at(61)), None);
        assert_eq!(health.record(&check, Err("2".into()), late, at(62)), None);
        assert_eq!(health.record(&check, Err("3".into()), late, at(63)).as_deref(), Some("3"));
        assert_eq!((health.first_success, health.last_success), (Some(at(61)), Some(at(61))));
    }

    #[test]
    fn a_check_without_a_limit_never_kills() {
        let (check, mut health) = (check(None), Health::default());
        for second in 60..160 {
            assert_eq!(health.record(&check, Err("no".into()), Duration::from_secs(60), at(second)), None);
        }
        assert_eq!(health.consecutive_failures, 100);
    }
}
