//! What a task's health checks have told so far, and what follows. Pure.
//!
//! Rules: `HealthCheckActor.scala`, `Health.scala` and `Task.scala` of mesosphere/marathon, and for the checks that Mesos
//! makes `checks/health_checker.cpp` of apache/mesos: Marathon hears of those only when their result is another one
//! than before, and without a reason.

use std::time::Duration;

use jiff::Timestamp;

use super::definition::HealthCheck;

/// The results of one check of one task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Failures since the last success that Marathon knows of.
    pub consecutive_failures: u32,
    /// When it first succeeded.
    pub first_success: Option<Timestamp>,
    /// When it last succeeded.
    pub last_success: Option<Timestamp>,
    /// When it last failed, and why.
    pub last_failure: Option<(Timestamp, String)>,
    /// Failures since the last success, as whoever makes the check counts them.
    failures: u32,
    /// Whether a failure did not count, which Marathon holds for a result all the same where the check is its own.
    excused: bool,
}

/// What follows of a result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether Marathon takes note of it.
    pub told: bool,
    /// Whether the task must be killed, by whoever makes the check.
    pub kill: bool,
}

impl Health {
    /// Whether the last result was a success.
    pub fn alive(&self) -> bool {
        self.last_success.is_some() && self.consecutive_failures == 0
    }

    /// Whether Marathon has any result.
    pub fn is_known(&self) -> bool {
        self.last_success.is_some() || self.last_failure.is_some() || self.excused
    }

    /// Takes a result.
    ///
    /// Until the first success, failures within the grace period do not count at all.
    pub fn record(
        &mut self,
        check: &HealthCheck,
        result: Result<(), String>,
        running_for: Duration,
        now: Timestamp,
    ) -> Verdict {
        match result {
            Ok(()) => {
                self.failures = 0;
                let told = !check.of_mesos || !self.alive();
                if told {
                    self.first_success.get_or_insert(now);
                    self.last_success = Some(now);
                    self.consecutive_failures = 0;
                }
                Verdict { told, kill: false }
            }
            Err(_) if self.first_success.is_none() && running_for < check.grace => {
                self.excused |= !check.of_mesos;
                Verdict::default()
            }
            Err(reason) => {
                self.failures += 1;
                let told = !check.of_mesos || self.consecutive_failures == 0;
                if told {
                    self.consecutive_failures += 1;
                    let reason = if check.of_mesos { String::new() } else { reason };
                    self.last_failure = Some((now, reason));
                }
                let kill = check.failures_to_kill.is_some_and(|most| self.failures >= most);
                Verdict { told, kill }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marathon_local::definition::{CheckedPort, Probe};

    const NOTED: Verdict = Verdict { told: true, kill: false };
    const LATE: Duration = Duration::from_secs(60);

    fn check(of_mesos: bool, failures_to_kill: Option<u32>) -> HealthCheck {
        HealthCheck {
            probe: Probe::Tcp(CheckedPort::Index(0)),
            grace: Duration::from_secs(10),
            delay: Duration::ZERO,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            failures_to_kill,
            of_mesos,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn failures_in_the_grace_period_do_not_count_before_the_first_success() {
        for of_mesos in [true, false] {
            let (check, mut health) = (check(of_mesos, Some(1)), Health::default());
            let early = Duration::from_secs(9);
            assert_eq!(health.record(&check, Err("no".into()), early, at(9)), Verdict::default());
            assert_eq!((health.is_known(), health.alive()), (!of_mesos, false), "Mesos does not tell of it");
            assert_eq!(health.record(&check, Ok(()), early, at(9)), NOTED);
            assert!(health.alive());
            let killed = health.record(&check, Err("no".into()), early, at(10));
            assert_eq!(killed, Verdict { told: true, kill: true });
            assert!(!health.alive() && health.is_known());
        }
    }

    #[test]
    fn only_failures_in_a_row_kill() {
        let (check, mut health) = (check(false, Some(2)), Health::default());
        assert_eq!(health.record(&check, Err("1".into()), LATE, at(60)), NOTED);
        assert_eq!(health.record(&check, Ok(()), LATE, at(61)), NOTED);
        assert_eq!(health.record(&check, Err("2".into()), LATE, at(62)), NOTED);
        assert!(health.record(&check, Err("3".into()), LATE, at(63)).kill);
        assert_eq!((health.first_success, health.last_success), (Some(at(61)), Some(at(61))));
        assert_eq!((health.consecutive_failures, health.last_failure), (2, Some((at(63), "3".to_owned()))));
    }

    #[test]
    fn mesos_tells_of_another_result_only_and_counts_for_itself() {
        let (check, mut health) = (check(true, Some(3)), Health::default());
        let next = |health: &mut Health, well: bool, second: i64| {
            let result = if well { Ok(()) } else { Err("no".to_owned()) };
            health.record(&check, result, LATE, at(second))
        };
        assert_eq!(next(&mut health, true, 60), NOTED);
        assert_eq!(next(&mut health, true, 61), Verdict::default());
        assert_eq!(next(&mut health, false, 62), NOTED);
        assert_eq!(next(&mut health, false, 63), Verdict::default());
        assert_eq!(next(&mut health, false, 64), Verdict { told: false, kill: true });
        assert_eq!((health.last_success, health.consecutive_failures), (Some(at(60)), 1));
        assert_eq!(health.last_failure, Some((at(62), String::new())));
    }

    #[test]
    fn a_check_without_a_limit_never_kills() {
        let (check, mut health) = (check(false, None), Health::default());
        for second in 60..160 {
            assert_eq!(health.record(&check, Err("no".into()), LATE, at(second)), NOTED);
        }
        assert_eq!(health.consecutive_failures, 100);
    }
}
