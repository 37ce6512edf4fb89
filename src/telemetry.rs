//! Log output, and the one list of metrics.
//!
//! Logs go to stderr, because stdout belongs to what a command prints. Who sets this up decides format and
//! filter; nothing is read from the environment here.

pub mod metrics;

use std::io::IsTerminal as _;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;

use crate::model::ErrorClass;

pub use metrics::Metrics;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people; in colour on a terminal.
    #[default]
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

impl FromStr for LogFormat {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(TelemetryError::Format(other.chars().take(80).collect())),
        }
    }
}

/// Why logs or metrics cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// An unknown format.
    #[error("{0:?} is no log format: write text or json")]
    Format(String),
    /// A filter that cannot be parsed.
    #[error(
        "the log filter is not valid: write a level, or target=level pairs, such as info,dcos_registry=debug"
    )]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Logging was set up before.
    #[error("logging is set up already")]
    Installed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A metric was declared wrongly or twice.
    #[error("a metric cannot be registered")]
    Metric(#[source] prometheus::Error),
}

impl TelemetryError {
    /// What to do about it: the process starts with telemetry or not at all.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Fatal
    }

    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Format(_) => "LogFormat",
            Self::Filter(_) => "LogFilter",
            Self::Installed(_) => "LogInstalled",
            Self::Metric(_) => "Metric",
        }
    }
}

/// An error with its causes on one line, for the edge where errors are printed. Some crates repeat a cause in the
/// text of the error above it, and quote what a server sent with all its lines; here each is said once. The lines of
/// the error itself stay, where it lists several faults.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = one_line(&error.to_string());
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> =
        text.split(char::is_control).map(str::trim).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// A failure that may come again and again, as of a poll while the store is away. It is reported the first time, the
/// second, the fourth, and so on, so that an outage does not fill the log; and once more when it is over.
pub struct Trouble {
    what: &'static str,
    times: u64,
}

impl Trouble {
    /// What fails, as it shall be reported.
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        Self { what, times: 0 }
    }

    /// It failed.
    pub fn again(&mut self, error: &dyn std::error::Error) {
        self.times += 1;
        let (what, times, error) = (self.what, self.times, chain(error));
        if times.is_power_of_two() {
            tracing::warn!(error, times, "{what}");
        } else {
            tracing::debug!(error, times, "{what}");
        }
    }

    /// It did not fail.
    pub fn over(&mut self) {
        let times = std::mem::take(&mut self.times);
        if times > 0 {
            tracing::info!(times, "over: {}", self.what);
        }
    }

    /// Takes note of how it went.
    pub fn heed<T, E: std::error::Error>(&mut self, result: &Result<T, E>) {
        match result {
            Ok(_) => self.over(),
            Err(error) => self.again(error),
        }
    }
}

/// Sends events to stderr from now on, for the whole process.
///
/// # Errors
/// When the filter cannot be parsed, or when it was done before.
pub fn init(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(filter).map_err(TelemetryError::Filter)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    installed.map_err(TelemetryError::Installed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Level(&'static str, #[source] Option<Box<Level>>);

    #[test]
    fn a_chain_is_one_line_that_says_each_cause_once() {
        let lowest = Level("<Error>\r\n\t<Code>X</Code>\n</Error>", None);
        let repeated = Level("GET failed - refused", Some(Box::new(lowest)));
        let top = Level("cannot read: GET failed - refused", Some(Box::new(repeated)));
        assert_eq!(chain(&top), "cannot read: GET failed - refused: <Error> <Code>X</Code> </Error>");
    }

    #[test]
    fn bad_settings_are_named() {
        assert!(matches!("xml".parse::<LogFormat>(), Err(TelemetryError::Format(_))));
        assert_eq!("json".parse::<LogFormat>().unwrap(), LogFormat::Json);
        assert!(matches!(init(LogFormat::Text, "a=b=c"), Err(TelemetryError::Filter(_))));
    }
}
