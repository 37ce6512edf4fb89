//! Whether a task may be placed on the one agent of this machine. Pure.
//!
//! A cluster of one agent: its hostname is the address of our tasks, it has no attributes, no region and no zone, and
//! its resources are reserved for nobody. What does not fit waits for an offer that does, which here never comes, as on
//! a cluster without such an agent.
//!
//! Sources: `mesos/Constraints.scala` and `mesos/ResourceMatcher.scala` of mesosphere/marathon. Java's regular expressions
//! are read by `fancy_regex`, which knows their usual forms; one that it cannot read fits nothing.
//!
//! What does not fit is asked again every second, for every app that waits. Reading an expression costs far more than all
//! the rest, and on one agent its answer is always the same: [`Expressions`] remembers it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::definition;
use super::profile::{Profile, UNRESERVED};
use crate::model::{App, AppId};

/// How many answers are remembered. Beyond that all are forgotten and found anew.
const REMEMBERED: usize = 4_096;

/// The longest expression, in bytes, whose answer is remembered.
const LONGEST: usize = 1_024;

/// A task that is to be placed.
#[derive(Debug, Clone, Copy)]
pub struct Placement<'a> {
    /// Its app.
    pub app: &'a AppId,
    /// The definition that it is to run.
    pub definition: &'a App,
    /// The version of Marathon.
    pub profile: Profile,
    /// The agent.
    pub host: IpAddr,
    /// How many tasks the app has there already. Those of older configurations do not count: they are about to be replaced.
    pub placed: u64,
}

/// Why the agent does not fit, in Marathon's word for it; none where it does.
pub fn misfit(task: &Placement<'_>, expressions: &Expressions) -> Option<&'static str> {
    let list = |key: &str| task.definition.get(key).and_then(Value::as_array).into_iter().flatten();
    let mut roles = list("acceptedResourceRoles").filter_map(Value::as_str).peekable();
    if roles.peek().is_some() && !roles.any(|role| role == UNRESERVED) {
        return Some("UnfulfilledRole");
    }
    let unmet = list("constraints").any(|constraint| !task.meets(constraint, expressions));
    unmet.then_some("UnfulfilledConstraint")
}

impl Placement<'_> {
    fn meets(&self, constraint: &Value, expressions: &Expressions) -> bool {
        let part = |index: usize| constraint.get(index).and_then(Value::as_str).unwrap_or_default();
        let (field, operator, value) = (part(0), part(1), part(2));
        if !matches!(field, "hostname" | "@hostname") {
            // What the agent does not have is unlike everything, and nothing else.
            return operator == "UNLIKE";
        }
        let host = self.host.to_string();
        match operator {
            "LIKE" => expressions.answer(value, self.host, || matches(value, &host)) == Some(true),
            "UNLIKE" => expressions.answer(value, self.host, || matches(value, &host)) == Some(false),
            "UNIQUE" => self.placed == 0,
            "CLUSTER" => value.is_empty() || value == host,
            "IS" => value == host,
            "MAX_PER" => value.parse().is_ok_and(|most: i64| self.placed < u64::try_from(most).unwrap_or(0)),
            "GROUP_BY" => self.placed == 0 || self.keeps_groups_even(value.parse().unwrap_or(0)),
            _ => false,
        }
    }

    /// Whether another task in the only group that there is leaves enough for the others. Before 1.11 the others came first.
    /// Without a number of groups the ones that there are count (`docs/constraints.md`).
    fn keeps_groups_even(&self, groups: u64) -> bool {
        if groups <= 1 {
            return true;
        }
        let wanted = definition::instances(self.definition);
        let (each, rest) = (wanted / groups, wanted % groups);
        self.profile >= Profile::V1_11 && self.placed < each + u64::from(rest > 0)
    }
}

/// Which expressions match the name of the agent, as far as that was asked.
#[derive(Default)]
pub struct Expressions(Mutex<BTreeMap<String, (IpAddr, Option<bool>)>>);

impl Expressions {
    /// The remembered answer, or the one that is found now; none where the expression is none.
    fn answer(&self, expression: &str, host: IpAddr, find: impl FnOnce() -> Option<bool>) -> Option<bool> {
        if expression.len() > LONGEST {
            return find();
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, answer)) = known.get(expression)
            && *of == host
        {
            return *answer;
        }
        if known.len() >= REMEMBERED {
            known.clear();
        }
        let answer = find();
        known.insert(expression.to_owned(), (host, answer));
        answer
    }
}

/// Whether an expression matches a whole text, as Java's `matches` means it; none where it is no expression.
fn matches(expression: &str, text: &str) -> Option<bool> {
    if expression.is_empty() {
        return None;
    }
    fancy_regex::Regex::new(&format!("\\A(?:{expression})\\z")).ok()?.is_match(text).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reason(definition: Value, placed: u64, profile: Profile) -> Option<&'static str> {
        let (app, definition) = (AppId::new("/a").unwrap(), App::from_value(definition).unwrap());
        let host = [127, 0, 0, 1].into();
        let task = Placement { app: &app, definition: &definition, profile, host, placed };
        misfit(&task, &Expressions::default())
    }

    /// How many tasks of 10 fit under a constraint.
    fn fitting(constraint: &Value, profile: Profile) -> u64 {
        let app = json!({"instances": 10, "constraints": [constraint]});
        (0..10).take_while(|placed| reason(app.clone(), *placed, profile).is_none()).count() as u64
    }

    #[test]
    fn constraints_are_those_of_a_cluster_of_one_agent() {
        for (constraint, fit) in [
            (json!(["hostname", "LIKE", "nowhere"]), 0),
            (json!(["hostname", "LIKE", "127"]), 0),
            (json!(["hostname", "LIKE", r"127\.0\..*|nowhere"]), 10),
            (json!(["@hostname", "LIKE", "(?!10).*"]), 10),
            (json!(["hostname", "LIKE", "("]), 0),
            (json!(["hostname", "UNLIKE", "("]), 0),
            (json!(["hostname", "UNLIKE", "nowhere"]), 10),
            (json!(["hostname", "UNLIKE", ".*"]), 0),
            (json!(["hostname", "UNIQUE"]), 1),
            (json!(["hostname", "CLUSTER"]), 10),
            (json!(["hostname", "CLUSTER", "127.0.0.1"]), 10),
            (json!(["hostname", "CLUSTER", "127.0.0.2"]), 0),
            (json!(["hostname", "IS", "127.0.0.1"]), 10),
            (json!(["hostname", "IS", "127.*"]), 0),
            (json!(["hostname", "MAX_PER", "3"]), 3),
            (json!(["hostname", "MAX_PER", "0"]), 0),
            (json!(["hostname", "GROUP_BY"]), 10),
            (json!(["hostname", "GROUP_BY", "1"]), 10),
            (json!(["hostname", "GROUP_BY", "2"]), 5),
            (json!(["hostname", "GROUP_BY", "3"]), 4),
            (json!(["hostname", "GROUP_BY", "20"]), 1),
            (json!(["rack", "UNIQUE"]), 0),
            (json!(["rack", "GROUP_BY"]), 0),
            (json!(["@zone", "IS", "a"]), 0),
            (json!(["rack", "UNLIKE", "a"]), 10),
        ] {
            assert_eq!(fitting(&constraint, Profile::V1_11), fit, "{constraint}");
        }
        assert_eq!(fitting(&json!(["hostname", "GROUP_BY", "2"]), Profile::V1_8), 1);
        assert_eq!(fitting(&json!(["hostname", "GROUP_BY"]), Profile::V1_8), 10);
    }

    #[test]
    fn an_expression_is_read_once() {
        let (expressions, here, there) =
            (Expressions::default(), [127, 0, 0, 1].into(), [10, 0, 0, 1].into());
        let app = json!({"constraints": [["hostname", "LIKE", "127.*"], ["hostname", "UNLIKE", "("]]});
        let (id, definition) = (AppId::new("/a").unwrap(), App::from_value(app).unwrap());
        let task =
            Placement { app: &id, definition: &definition, profile: Profile::V1_11, host: here, placed: 0 };
        assert_eq!(misfit(&task, &expressions), Some("UnfulfilledConstraint"));
        let read_again = || panic!("it is known");
        assert_eq!(expressions.answer("127.*", here, read_again), Some(true));
        assert_eq!(expressions.answer("(", here, read_again), None, "also that it is none");
        assert_eq!(expressions.answer("127.*", there, || Some(false)), Some(false), "of one agent only");
        for number in 0..2 * REMEMBERED {
            expressions.answer(&number.to_string(), here, || None);
        }
        expressions.answer(&"x".repeat(LONGEST + 1), here, || None);
        let known = expressions.0.lock().unwrap();
        assert!(known.len() <= REMEMBERED && known.keys().all(|expression| expression.len() <= LONGEST));
    }

    #[test]
    fn all_constraints_must_be_met_and_roles_come_first() {
        let both = json!([["hostname", "UNIQUE"], ["hostname", "CLUSTER", "nowhere"]]);
        let reason = |app: Value| reason(app, 0, Profile::V1_11);
        assert_eq!(reason(json!({"constraints": both})), Some("UnfulfilledConstraint"));
        assert_eq!(
            reason(json!({"constraints": both, "acceptedResourceRoles": ["dev"]})),
            Some("UnfulfilledRole")
        );
        for roles in [json!([]), json!(["*"]), json!(["*", "dev"])] {
            assert_eq!(reason(json!({"acceptedResourceRoles": roles})), None);
        }
    }
}
