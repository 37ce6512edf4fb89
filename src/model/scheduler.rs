//! What the scheduler of an SDK service says about its deploy plan.

use std::fmt;

/// The answer to `GET /service/<name>/<api version>/plans/deploy`, as far as anything follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchedulerPlan {
    /// Every step is done.
    Complete,
    /// It is on its way.
    InProgress(PlanProgress),
    /// Some of it cannot be done.
    Failed(PlanProgress),
    /// Whoever answered knows no such service, or no such plan.
    NotThere,
    /// It could not be read; why.
    Unreadable(String),
}

/// How far a plan is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanProgress {
    /// The plan's own word, such as `IN_PROGRESS`.
    pub status: String,
    /// The first phase that is not complete.
    pub phase: Option<PlanElement>,
    /// The first step of that phase that is not complete.
    pub step: Option<PlanElement>,
    /// How many steps are complete.
    pub done: usize,
    /// How many there are.
    pub total: usize,
    /// What the scheduler calls errors.
    pub errors: Vec<String>,
}

/// A phase or step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanElement {
    /// Its name.
    pub name: String,
    /// Its own word for how far it is, such as `PENDING`.
    pub status: String,
}

impl fmt::Display for PlanElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.name, self.status)
    }
}

impl fmt::Display for PlanProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its plan is {}, {} of {} steps done", self.status, self.done, self.total)?;
        if let Some(phase) = &self.phase {
            write!(f, "; phase {phase}")?;
        }
        if let Some(step) = &self.step {
            write!(f, ", step {step}")?;
        }
        if !self.errors.is_empty() {
            write!(f, "; errors: {}", self.errors.join("; "))?;
        }
        Ok(())
    }
}
