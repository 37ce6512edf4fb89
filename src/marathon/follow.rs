//! What became of a change that Marathon accepted.
//!
//! Pure. A deployment never fails by itself and has no deadline, and that it is not listed says nothing: it is done,
//! failed, cancelled or replaced. So success is read off the app, and time is ours to keep:
//!
//! - done: nothing holds the app, it is what we put there, and it is healthy; where nothing checks it, or tasks of it
//!   have failed already, it must have run for a while. A change without effect keeps the
//!   app's version and has no steps; that is done, too;
//! - superseded: the app has a newer version with another configuration, so somebody else writes;
//! - rolled back: it is what it was before, or gone if it is we who made it. Undoing a deployment gives the app a newer
//!   version, so versions alone do not tell this from the case before;
//! - halted: nothing holds it, it is what we put there, and old tasks run beside new ones: the deployment was
//!   cancelled by force;
//! - stuck: our own deadline passed.
//!
//! After a forced change the answer may be out before the new deployment can be seen and after the old one is gone
//! (`DeploymentManagerActor.scala`), and tasks may change between two looks. So what ends a change must be seen twice
//! in a row where it was forced, and a halt always.
//!
//! Sources: `core/deployment/DeploymentPlan.scala`, `core/deployment/impl/DeploymentManagerActor.scala` and
//! `upgrade/GroupVersioningUtil.scala` of mesosphere/marathon.

use std::time::Duration;

use jiff::Timestamp;

use super::diff::diff_remembered;
use super::health::{Cause, Evidence, Health, judge, too_early};
use crate::model::App;

/// A change that is followed.
#[derive(Debug, Clone, Copy)]
pub struct Followed<'a> {
    /// The deployment that carries it out, where the answer named it.
    pub deployment: Option<&'a str>,
    /// The version that the answer named.
    pub version: &'a str,
    /// The canonical app that was wanted; long texts may be condensed.
    pub wanted: &'a App,
    /// JSON pointers that are not ours.
    pub ignore: &'a [String],
    /// What was there before, with its version; none where the app was created.
    pub before: Option<Before<'a>>,
    /// Whether it was forced over other deployments.
    pub forced: bool,
    /// The time since the answer.
    pub age: Duration,
    /// How long it may take.
    pub deadline: Duration,
    /// Our wall clock.
    pub now: Timestamp,
}

/// An app as it was before a change.
#[derive(Debug, Clone, Copy)]
pub struct Before<'a> {
    /// Its observed version.
    pub version: &'a str,
    /// What was last wanted and ran well, in canonical form and without what the server filled in, where it is
    /// remembered; long texts may be condensed.
    pub app: Option<&'a App>,
}

/// How a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// As it should.
    Done,
    /// Somebody else put something else there.
    Superseded,
    /// The app is what it was before.
    RolledBack,
    /// It was stopped half-way.
    Halted,
    /// The app is gone.
    Removed,
}

impl Ending {
    /// The ending as a word for labels and conditions.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "Done",
            Self::Superseded => "Superseded",
            Self::RolledBack => "RolledBack",
            Self::Halted => "Halted",
            Self::Removed => "Removed",
        }
    }
}

/// What is known of a change now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is under way, within its time. What it seems to end in has to be seen once more.
    UnderWay {
        /// What this look alone would say.
        seems: Option<Ending>,
    },
    /// It ended.
    Ended(Ending),
    /// Its time is over, and it has not ended.
    Stuck,
}

impl Verdict {
    /// Whether its end is to come.
    #[must_use]
    pub fn is_under_way(self) -> bool {
        matches!(self, Self::UnderWay { .. })
    }

    /// Whether the change failed by itself; what somebody else did is no failure of the change.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Stuck | Self::Ended(Ending::Halted))
    }
}

/// A verdict with its reason, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followup {
    /// The verdict.
    pub verdict: Verdict,
    /// Why; of a change that is stuck, everything that is known to be in its way.
    pub reason: String,
}

/// Judges a change by the app as `GET /v2/apps/{id}` gives it (none where Marathon itself says that there is none)
/// and by what else is known. `earlier` is what the look before this one said. Who could not read the app does
/// not ask.
#[must_use]
pub fn follow(
    change: &Followed<'_>,
    app: Option<&App>,
    evidence: &Evidence<'_>,
    earlier: Option<Verdict>,
) -> Followup {
    let Look { ending, too_early, reason } = look(change, app, evidence);
    let seen_before = match earlier {
        Some(Verdict::UnderWay { seems }) => seems == ending,
        Some(Verdict::Ended(before)) => Some(before) == ending,
        _ => false,
    };
    let verdict = match ending {
        seems if too_early => Verdict::UnderWay { seems },
        Some(ending) if seen_before || !(change.forced || ending == Ending::Halted) => Verdict::Ended(ending),
        seems if change.age <= change.deadline => Verdict::UnderWay { seems },
        // What only has to be seen once more is not stuck.
        Some(ending) => Verdict::UnderWay { seems: Some(ending) },
        None => Verdict::Stuck,
    };
    let reason = match verdict {
        Verdict::Stuck => format!("not done within {} s: {reason}", change.deadline.as_secs()),
        Verdict::UnderWay { seems: Some(_) } if !too_early => {
            format!("{reason}; that is to be seen once more")
        }
        _ => reason,
    };
    Followup { verdict, reason }
}

/// What one look says.
struct Look {
    ending: Option<Ending>,
    /// Whether that may look otherwise in a moment.
    too_early: bool,
    reason: String,
}

fn look(change: &Followed<'_>, app: Option<&App>, evidence: &Evidence<'_>) -> Look {
    let says = |ending: Option<Ending>, reason: String| Look { ending, too_early: false, reason };
    let Some(app) = app else {
        return match change.before {
            Some(_) => says(Some(Ending::Removed), "somebody removed the app".into()),
            None => says(Some(Ending::RolledBack), "the app that was created is gone again".into()),
        };
    };
    let report = judge(Some(app), evidence);
    let ours = change.deployment.is_some_and(|own| {
        app.deployments().any(|id| id == own) || evidence.deployments.iter().any(|listed| listed.id == own)
    });
    if ours {
        return says(None, report.reason);
    }
    let former = change.before.and_then(|before| before.app);
    if !is(change.wanted, app, former, change.ignore) {
        return says(Some(replaced(change, app)), differs(change, app));
    }
    if report.cause == Cause::Mixed {
        let reason = format!("nothing carries the change on any more: {}", report.reason);
        return says(Some(Ending::Halted), reason);
    }
    match report.health {
        Health::Suspended => says(Some(Ending::Done), report.reason),
        Health::Healthy => match too_early(app, change.now) {
            Some(why) => Look {
                ending: Some(Ending::Done),
                too_early: true,
                reason: format!("{}, but {why}", report.reason),
            },
            None => says(Some(Ending::Done), report.reason),
        },
        _ => says(None, report.reason),
    }
}

/// Who is to blame for an app that is not what we put there.
fn replaced(change: &Followed<'_>, app: &App) -> Ending {
    let back = change.before.is_some_and(|before| {
        before.version == app.version()
            || before.app.is_some_and(|before| is(before, app, Some(change.wanted), change.ignore))
    });
    // A version older than ours was there before, whatever it held.
    if back || time(app.version()) < time(change.version) { Ending::RolledBack } else { Ending::Superseded }
}

fn differs(change: &Followed<'_>, app: &App) -> String {
    let former = change.before.and_then(|before| before.app);
    let paths = match diff_remembered(change.wanted, app, former, change.ignore) {
        Ok(difference) => {
            let paths: Vec<_> = difference.changes.iter().take(3).map(|change| change.path.clone()).collect();
            paths.join(", ")
        }
        Err(_) => "its definition".into(),
    };
    format!("version {} stands there in the place of {}, with another {paths}", app.version(), change.version)
}

/// Whether an observed app is that canonical one and not the other. What the server filled in does not count.
fn is(canonical: &App, observed: &App, other: Option<&App>, ignore: &[String]) -> bool {
    let difference = diff_remembered(canonical, observed, other, ignore);
    difference.is_ok_and(|difference| difference.changes.is_empty())
}

fn time(version: &str) -> Option<Timestamp> {
    version.parse().ok()
}

/// What may be done about a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing is called for.
    None,
    /// Put the last good definition back, by force only over deployments of our own.
    Restore {
        /// Whether to force.
        force: bool,
    },
    /// It is called for and not possible, for this reason.
    Refused(String),
}

/// What to do about a verdict where the last good definition shall come back. It is put back by a PUT, never by undoing the
/// deployment: that can delete apps and stop all tasks. What somebody else did is not fought, and only deployments that
/// may be cancelled are: our own, and somebody else's where we were told.
#[must_use]
pub fn remedy(
    verdict: Verdict,
    has_last_good: bool,
    app: Option<&App>,
    may_cancel: impl Fn(&str) -> bool,
) -> Remedy {
    let Some(app) = app.filter(|_| verdict.is_failure()) else { return Remedy::None };
    if !has_last_good {
        return Remedy::Refused(
            "no definition that ran well is remembered: there was none, or it is too long".into(),
        );
    }
    if let Some(foreign) = app.deployments().find(|id| !may_cancel(id)) {
        return Remedy::Refused(format!("deployment {foreign} holds the app and is not ours"));
    }
    Remedy::Restore { force: app.deployments().next().is_some() }
}

#[cfg(test)]
mod tests;
