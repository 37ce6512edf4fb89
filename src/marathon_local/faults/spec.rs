//! The description of one switch: strict, because a typo would mean a fault that never comes. Pure.

use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use crate::model::AppId;

/// What a switch strikes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spec {
    /// The kind.
    pub(super) kind: Kind,
    /// How likely it strikes, from 0 to 1.
    pub(super) rate: f64,
    /// How often it strikes at most; none: until it is turned off.
    pub(super) times: Option<u64>,
    /// The methods of requests; empty: all that write.
    methods: Vec<String>,
    /// What the paths of requests begin with.
    path: String,
    /// The apps and groups; empty: all.
    apps: Vec<String>,
}

/// A kind of fault.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Requests are answered with an error and not carried out.
    Refuse {
        /// The status code.
        status: u16,
        /// The body.
        with: With,
    },
    /// Requests are carried out, and the connection is cut.
    CutAfterWrite,
    /// As before, and then nobody leads for a while; streams end, deployments begin their step anew.
    LeaderChange {
        /// For how long.
        milliseconds: u64,
    },
    /// Deployments do not come further.
    Stuck,
    /// A deployment that was begun by force cannot be seen at first.
    Gap {
        /// For how long.
        milliseconds: u64,
    },
    /// Apps are left out of listings, and forbidden when asked for.
    Hide,
    /// Requests need a token of a login after now.
    ExpireTokens {
        /// For how many requests a token is good.
        uses: u32,
    },
    /// Somebody else changes an app right after it was changed.
    SecondWriter {
        /// How.
        patch: Map<String, Value>,
    },
    /// The event stream.
    Events {
        /// How it fails.
        stream: Stream,
        /// How long each event takes, where it is slow.
        milliseconds: u64,
    },
}

/// The body of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum With {
    /// A JSON message.
    Json,
    /// The HTML page of a proxy in front.
    Html,
    /// A deployment of somebody else holds the app.
    Locked,
    /// An app of that id exists.
    Exists,
    /// There are too many deployments.
    TooMany,
    /// The plugin for authorization says no.
    Forbidden,
    /// A standby knows no leader.
    Leaderless,
    /// No body at all.
    Empty,
}

/// How an event stream fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stream {
    /// Events are late.
    Slow,
    /// Events are lost.
    Lossy,
    /// Events change places.
    Disorder,
    /// Events of deployments that nobody here began come in between.
    Foreign,
    /// Deployments are said to have succeeded that have not.
    Lying,
    /// Streams end.
    Cut,
}

/// What is wrong with a description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A field.
    #[error("{0}")]
    Field(String),
    /// There are too many switches.
    #[error("at most {0} faults can be on; turn some off with DELETE /local/faults/<id>")]
    TooMany(usize),
}

/// All fields of all kinds.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fields {
    kind: String,
    rate: Option<f64>,
    times: Option<u64>,
    #[serde(default)]
    methods: Vec<String>,
    path: Option<String>,
    #[serde(default)]
    apps: Vec<String>,
    status: Option<u16>,
    with: Option<With>,
    milliseconds: Option<u64>,
    uses: Option<u32>,
    patch: Option<Map<String, Value>>,
    stream: Option<Stream>,
}

/// The longest time that a fault may take: an hour.
const LONGEST: u64 = 3_600_000;

/// Reads a description.
///
/// # Errors
/// [`SpecError::Field`].
pub(super) fn read(value: &Value) -> Result<Spec, SpecError> {
    let fields = Fields::deserialize(value).map_err(|e| SpecError::Field(e.to_string()))?;
    let wrong = |text: String| Err(SpecError::Field(text));
    let rate = fields.rate.unwrap_or(1.0);
    if !(0.0..=1.0).contains(&rate) {
        return wrong(format!("rate must be 0 to 1, is {rate}"));
    }
    let milliseconds = fields.milliseconds.unwrap_or(1_000);
    if milliseconds > LONGEST {
        return wrong(format!("milliseconds must be at most {LONGEST}, is {milliseconds}"));
    }
    let kind = match fields.kind.as_str() {
        "refuse" => refuse(fields.status, fields.with)?,
        "cutAfterWrite" => Kind::CutAfterWrite,
        "leaderChange" => Kind::LeaderChange { milliseconds },
        "stuck" => Kind::Stuck,
        "gap" => Kind::Gap { milliseconds },
        "hide" => Kind::Hide,
        "expireTokens" => Kind::ExpireTokens { uses: fields.uses.unwrap_or(u32::MAX) },
        "secondWriter" => match fields.patch {
            Some(patch) => Kind::SecondWriter { patch },
            None => return wrong("secondWriter needs a patch".to_owned()),
        },
        "events" => match fields.stream {
            Some(stream) => Kind::Events { stream, milliseconds },
            None => {
                return wrong(
                    "events needs a stream: slow, lossy, disorder, foreign, lying or cut".to_owned(),
                );
            }
        },
        other => {
            return wrong(format!(
                "there is no kind {other:?}; write one of refuse, cutAfterWrite, leaderChange, stuck, gap, hide, \
                 expireTokens, secondWriter, events"
            ));
        }
    };
    Ok(Spec {
        kind,
        rate,
        times: fields.times,
        methods: fields.methods.iter().map(|method| method.to_uppercase()).collect(),
        path: fields.path.unwrap_or_else(|| "/v2/".to_owned()),
        apps: fields.apps,
    })
}

fn refuse(status: Option<u16>, with: Option<With>) -> Result<Kind, SpecError> {
    let with = with.unwrap_or(With::Json);
    let usual = match with {
        With::Locked | With::Exists => 409,
        With::TooMany | With::Forbidden => 403,
        With::Json | With::Html | With::Leaderless | With::Empty => 503,
    };
    let status = status.unwrap_or(usual);
    if (400..600).contains(&status) {
        Ok(Kind::Refuse { status, with })
    } else {
        Err(SpecError::Field(format!("status must be 400 to 599, is {status}")))
    }
}

impl Spec {
    /// Whether it is a fault of requests that fits this one.
    pub(super) fn strikes_request(&self, method: &str, path: &str) -> bool {
        let of_requests =
            matches!(self.kind, Kind::Refuse { .. } | Kind::CutAfterWrite | Kind::LeaderChange { .. });
        let writes = !matches!(method, "GET" | "HEAD" | "OPTIONS");
        let method_fits =
            if self.methods.is_empty() { writes } else { self.methods.iter().any(|m| m == method) };
        of_requests && method_fits && path.starts_with(&self.path)
    }

    /// Whether an app is one of its apps, or lies in one of its groups.
    pub(super) fn concerns(&self, app: &AppId) -> bool {
        self.apps.is_empty() || self.apps.iter().any(|name| app.as_str() == name || app.is_below(name))
    }

    pub(super) fn json(&self) -> Value {
        let mut json = json!({"rate": self.rate, "times": self.times, "methods": self.methods, "path": self.path,
            "apps": self.apps});
        let (kind, more) = match &self.kind {
            Kind::Refuse { status, with } => ("refuse", json!({"status": status, "with": with})),
            Kind::CutAfterWrite => ("cutAfterWrite", json!({})),
            Kind::LeaderChange { milliseconds } => ("leaderChange", json!({"milliseconds": milliseconds})),
            Kind::Stuck => ("stuck", json!({})),
            Kind::Gap { milliseconds } => ("gap", json!({"milliseconds": milliseconds})),
            Kind::Hide => ("hide", json!({})),
            Kind::ExpireTokens { uses } => ("expireTokens", json!({"uses": uses})),
            Kind::SecondWriter { patch } => ("secondWriter", json!({"patch": patch})),
            Kind::Events { stream, milliseconds } => {
                ("events", json!({"stream": stream, "milliseconds": milliseconds}))
            }
        };
        json["kind"] = kind.into();
        if let (Value::Object(json), Value::Object(more)) = (&mut json, more) {
            json.extend(more);
        }
        json
    }
}
