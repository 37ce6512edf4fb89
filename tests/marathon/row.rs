//! The shape of the table. Unknown keys are refused: a misspelt expectation would pass for ever.
//!
//! A row does one of these:
//!
//! - `normalize`: gives an app definition to `marathon::normalize`;
//! - `diff`: compares a desired app (`to`) with an observed one (`from`);
//! - `post`: creates an app at a local Marathon of the row's own, and reads it again;
//! - `steps`: sends requests to it, one after another, with `apps` created before.
//!
//! Places are JSON pointers, but those of faults are written as Marathon writes them: `/healthChecks(0)/path`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The rows of one test file of mesosphere/marathon.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The file, below the root of that repository.
    pub upstream: String,
    /// Values that rows share by anchors.
    #[serde(default, rename = "shared")]
    _shared: Value,
    pub rows: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The behaviour.
    pub says: String,
    /// Why our code does not behave so.
    pub unmet: Option<String>,
    /// The version of Marathon that the behaviour belongs to; the newest when left out.
    pub profile: Option<String>,
    /// The role of Marathon itself; the star when left out.
    pub role: Option<String>,
    /// The name of container networks that name none.
    pub network: Option<String>,
    /// Whether new top-level groups enforce their name as role.
    #[serde(default)]
    pub new_groups_enforce: bool,
    /// Whether Marathon can use secrets.
    #[serde(default = "yes")]
    pub secrets: bool,
    normalize: Option<Value>,
    diff: Option<Diff>,
    post: Option<Value>,
    steps: Option<Vec<Step>>,
    /// Definitions that are created before the first step.
    #[serde(default)]
    pub apps: Vec<Value>,
    /// What comes of `normalize` and `post`.
    #[serde(default, rename = "then")]
    pub expected: Expected,
}

fn yes() -> bool {
    true
}

/// A comparison and what it says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diff {
    pub from: Value,
    pub to: Value,
    pub effect: String,
    /// The places that differ, in order; not looked at when left out.
    pub changes: Option<Vec<String>>,
}

/// A request and what comes of it.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The method and the path.
    pub send: String,
    #[serde(default)]
    pub body: Value,
    /// A body that is no JSON.
    pub text: Option<String>,
    /// Headers of the request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub then: Expected,
    /// Texts of the answer, by place. This step and later ones write `{name}` for them.
    #[serde(default)]
    pub keep: BTreeMap<String, String>,
    /// Whether to send it again until it is so.
    #[serde(default)]
    pub until: bool,
}

/// What is to come of something.
#[derive(Deserialize, Default, Clone)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The status; 200 (201 after `post`), or 422 with `refused`, when left out.
    pub status: Option<u16>,
    /// Values by place.
    #[serde(default)]
    pub has: BTreeMap<String, Value>,
    /// Lists by place whose order does not count.
    #[serde(default)]
    pub unordered: BTreeMap<String, Vec<Value>>,
    /// Places that are there, whatever they hold.
    #[serde(default)]
    pub present: Vec<String>,
    /// Places that are not there.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// The place of a fault, or `true` where the upstream test does not tell it; all that is looked at besides
    /// is `message`.
    pub refused: Option<Refused>,
    /// A part of what is said.
    pub message: Option<String>,
    /// Headers of the answer.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The whole body, where it is no JSON.
    pub text: Option<String>,
}

/// Where a fault is.
#[derive(Deserialize, Clone)]
#[serde(untagged)]
pub enum Refused {
    At(String),
    Somewhere(True),
}

/// The word `true`.
#[derive(Deserialize, Clone)]
#[serde(try_from = "bool")]
pub struct True;

impl TryFrom<bool> for True {
    type Error = &'static str;

    fn try_from(is: bool) -> Result<Self, Self::Error> {
        is.then_some(Self).ok_or("leave `refused` out where nothing is refused")
    }
}

/// What a row does.
pub enum Action<'a> {
    Normalize(&'a Value),
    Diff(&'a Diff),
    Steps(Vec<Step>),
}

impl Table {
    /// # Errors
    /// What is wrong with the table.
    pub fn of(value: Value) -> Result<Self, String> {
        let table: Self = serde_json::from_value(value).map_err(|e| e.to_string())?;
        let mut said = std::collections::BTreeSet::new();
        for (index, row) in table.rows.iter().enumerate() {
            row.action().map_err(|e| format!("row {} ({}) {e}", index + 1, row.says))?;
            if !said.insert(&row.says) {
                return Err(format!("row {} says the same as another: {}", index + 1, row.says));
            }
        }
        Ok(table)
    }
}

impl Row {
    /// # Errors
    /// When the row does nothing, or more than one thing.
    pub fn action(&self) -> Result<Action<'_>, String> {
        match (&self.normalize, &self.diff, &self.post, &self.steps) {
            (Some(app), None, None, None) => Ok(Action::Normalize(app)),
            (None, Some(diff), None, None) => Ok(Action::Diff(diff)),
            (None, None, Some(app), None) => Ok(Action::Steps(self.creation(app))),
            (None, None, None, Some(steps)) if !steps.is_empty() => Ok(Action::Steps(steps.clone())),
            _ => Err("needs exactly one of normalize, diff, post and steps".to_owned()),
        }
    }

    /// The creation of an app; when it is to succeed, what was answered is also there to be read.
    fn creation(&self, app: &Value) -> Vec<Step> {
        let mut then = self.expected.clone();
        let created = then.refused.is_none() && then.status.is_none();
        if created {
            then.status = Some(201);
        }
        let mut steps = vec![Step::new("POST /v2/apps", app.clone(), then.clone())];
        if created {
            let id = app.get("id").and_then(Value::as_str).unwrap_or_default().trim_matches('/');
            let place = |(place, value): (String, Value)| (format!("/app{place}"), value);
            let read = Expected {
                has: then.has.into_iter().map(place).collect(),
                unordered: then.unordered.into_iter().map(|(p, list)| (format!("/app{p}"), list)).collect(),
                present: then.present.into_iter().map(|p| format!("/app{p}")).collect(),
                lacks: then.lacks.into_iter().map(|p| format!("/app{p}")).collect(),
                ..Expected::default()
            };
            steps.push(Step::new(&format!("GET /v2/apps/{id}"), Value::Null, read));
        }
        steps
    }
}

impl Step {
    pub fn new(send: &str, body: Value, then: Expected) -> Self {
        Self {
            send: send.to_owned(),
            body,
            text: None,
            headers: BTreeMap::new(),
            then,
            keep: BTreeMap::new(),
            until: false,
        }
    }
}

impl Expected {
    /// The status that is to come.
    pub fn status(&self) -> u16 {
        self.status.unwrap_or(if self.refused.is_some() { 422 } else { 200 })
    }
}
