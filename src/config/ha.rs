//! The times of the lease, and what must hold between them.
//!
//! The holder stops acting when it could not commit for `deadline`; the others take over when they received
//! nothing for `ttl`. So a holder must be able to renew, and to see that it could not, within its deadline,
//! and a write to Marathon that it began must end before the deadline does.

use std::time::Duration;

use super::values::{Context, duration};
use crate::manifest::fields::{Fields, Located};

/// How much longer than the deadline the ttl should be: clocks may run at rates that differ by this factor.
const RATIO: (u32, u32) = (14, 10);

/// Times of the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HaSettings {
    /// Others take over when no sign of life came for so long.
    pub ttl: Duration,
    /// The holder stops acting when it could not renew for so long.
    pub deadline: Duration,
    /// How often the holder renews.
    pub renew: Duration,
    /// How often the others look.
    pub poll: Duration,
    /// How long a request to the store may take when the lease depends on it.
    pub lease_call_timeout: Duration,
    /// How long a request that changes something in Marathon may take.
    pub marathon_write_timeout: Duration,
    /// What is left over for delays that nobody counts, such as those of the scheduler.
    pub margin: Duration,
}

impl Default for HaSettings {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(12),
            deadline: Duration::from_secs(8),
            renew: Duration::from_secs(4),
            poll: Duration::from_secs(2),
            lease_call_timeout: Duration::from_millis(1500),
            marathon_write_timeout: Duration::from_secs(3),
            margin: Duration::from_secs(1),
        }
    }
}

impl HaSettings {
    /// The defaults stretched or shrunk to a ttl. Poll and margin only shrink: a slow store is no reason to
    /// look less often.
    #[must_use]
    pub fn of_ttl(ttl: Duration) -> Self {
        let standard = Self::default();
        let scaled = |time: Duration| {
            let nanoseconds = time.as_nanos().saturating_mul(ttl.as_nanos()) / standard.ttl.as_nanos();
            Duration::from_nanos(nanoseconds.try_into().unwrap_or(u64::MAX))
        };
        Self {
            ttl,
            deadline: scaled(standard.deadline),
            renew: scaled(standard.renew),
            poll: scaled(standard.poll).min(standard.poll),
            lease_call_timeout: scaled(standard.lease_call_timeout),
            marathon_write_timeout: scaled(standard.marathon_write_timeout),
            margin: scaled(standard.margin).min(standard.margin),
        }
    }

    /// What keeps these times from being used: the key, what is wrong, what to write.
    fn faults(&self) -> Vec<(&'static str, String, String)> {
        let mut faults = Vec::new();
        let needed = self.renew + 2 * self.lease_call_timeout + self.margin;
        if needed > self.deadline {
            faults.push((
                "deadline",
                format!(
                    "the deadline of {:?} is shorter than renew + 2 x leaseCallTimeout + margin, which is {needed:?}",
                    self.deadline
                ),
                format!("write at least {needed:?}, or lower renew or leaseCallTimeout"),
            ));
        }
        let left = self.deadline.saturating_sub(self.renew + self.margin);
        if self.marathon_write_timeout > left {
            faults.push((
                "marathonWriteTimeout",
                format!(
                    "{:?} is longer than deadline - renew - margin, which is {left:?}",
                    self.marathon_write_timeout
                ),
                "lower it, or raise the deadline".to_owned(),
            ));
        }
        if self.deadline >= self.ttl {
            faults.push((
                "ttl",
                format!("the ttl of {:?} is not longer than the deadline of {:?}", self.ttl, self.deadline),
                format!("write at least {:?}", self.advised_ttl()),
            ));
        }
        if self.poll >= self.ttl {
            let message = format!("poll of {:?} is not shorter than the ttl of {:?}", self.poll, self.ttl);
            faults.push(("poll", message, "write a sixth of the ttl".to_owned()));
        }
        faults
    }

    fn advised_ttl(&self) -> Duration {
        self.deadline * RATIO.0 / RATIO.1
    }

    /// Whether two leaders are excluded though clocks run at rates that differ by a factor of 1.4.
    #[must_use]
    pub fn is_roomy(&self) -> bool {
        self.ttl >= self.advised_ttl()
    }
}

const KEYS: [&str; 7] =
    ["ttl", "deadline", "renew", "poll", "leaseCallTimeout", "marathonWriteTimeout", "margin"];

/// Reads `ha`. What is left out follows the ttl in proportion.
pub fn read(at: Located<'_>, context: &mut Context<'_>) -> Option<HaSettings> {
    let before = context.faults.problems.len();
    let fields = at.fields(&KEYS, &mut context.faults)?;
    let mut time = |key: &str| fields.optional(key).and_then(|at| duration(&at, context));
    let mut ha = HaSettings::of_ttl(time("ttl").unwrap_or(HaSettings::default().ttl));
    for (key, target) in [
        ("deadline", &mut ha.deadline),
        ("renew", &mut ha.renew),
        ("poll", &mut ha.poll),
        ("leaseCallTimeout", &mut ha.lease_call_timeout),
        ("marathonWriteTimeout", &mut ha.marathon_write_timeout),
        ("margin", &mut ha.margin),
    ] {
        *target = time(key).unwrap_or(*target);
    }
    if context.faults.problems.len() > before {
        return None;
    }
    report(&ha, &fields, context);
    Some(ha)
}

fn report(ha: &HaSettings, fields: &Fields<'_>, context: &mut Context<'_>) {
    let faults = ha.faults();
    for (key, message, suggestion) in &faults {
        let at = fields.optional(key).unwrap_or_else(|| fields.at.clone());
        at.fault(&mut context.faults, message, suggestion);
    }
    if faults.is_empty() && !ha.is_roomy() {
        let at = fields.optional("ttl").unwrap_or_else(|| fields.at.clone());
        let message = format!(
            "the ttl of {:?} is less than 1.4 x the deadline of {:?}: two leaders are excluded only while the clocks of all machines run nearly alike",
            ha.ttl, ha.deadline
        );
        context.warn(&at, message, format!("write at least {:?}", ha.advised_ttl()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_at_every_scale() {
        assert_eq!(HaSettings::of_ttl(Duration::from_secs(12)), HaSettings::default());
        let tenth = HaSettings::of_ttl(Duration::from_millis(1200));
        assert_eq!(tenth.deadline, Duration::from_millis(800));
        assert_eq!(tenth.lease_call_timeout, Duration::from_millis(150));
        assert_eq!(tenth.margin, Duration::from_millis(100));
        for milliseconds in [1, 7, 999, 1200, 12_000, 35_000, 1_234_567] {
            let ha = HaSettings::of_ttl(Duration::from_millis(milliseconds));
            assert_eq!(ha.faults(), [], "{milliseconds}");
            assert!(ha.is_roomy());
        }
    }

    #[test]
    fn each_rule_is_held() {
        let seconds = Duration::from_secs;
        let keys = |ha: HaSettings| ha.faults().into_iter().map(|(key, ..)| key).collect::<Vec<_>>();
        let good = HaSettings::default();
        let nanosecond = Duration::from_nanos(1);
        assert_eq!(
            keys(HaSettings { lease_call_timeout: good.lease_call_timeout + nanosecond, ..good }),
            ["deadline"]
        );
        let slow = good.marathon_write_timeout + nanosecond;
        assert_eq!(keys(HaSettings { marathon_write_timeout: slow, ..good }), ["marathonWriteTimeout"]);
        assert_eq!(keys(HaSettings { ttl: good.deadline, ..good }), ["ttl"]);
        assert_eq!(keys(HaSettings { poll: good.ttl, ..good }), ["poll"]);
        assert_eq!(keys(HaSettings { renew: seconds(60), ..good }), ["deadline", "marathonWriteTimeout"]);
    }
}
