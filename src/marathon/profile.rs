//! What a version of Marathon knows, and what else is told of a server that matters to apps.
//!
//! Pure. Of versions only what differs between 1.5 and 1.11 stands here; the tables of `normalize` are those of 1.11. Sources:
//! the change log of mesosphere/marathon and the RAML of its release branches. A server without `/v2/info`
//! for us is taken for the newest one that there is: 1.11 is the last line.

use std::fmt;
use std::ops::RangeInclusive;

/// The fields of an app that came later than 1.5, with the version. An older server drops them without a word, so
/// that an app which has them never becomes what it should be.
const LATER: [(&str, u64); 3] = [("executorResources", 6), ("role", 9), ("resourceLimits", 10)];

/// The last line of Marathon.
const LAST: u64 = 11;

/// The oldest line that we know.
const FIRST: u64 = 5;

/// Where Marathon takes service ports from, unless it was started with others (`--local_port_min`, `--local_port_max`).
const SERVICE_PORTS: (u16, u16) = (10_000, 20_000);

/// A line of Marathon, such as 1.8, and how a server of it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Profile {
    minor: u64,
    /// The first and the last one.
    service_ports: (u16, u16),
}

impl Default for Profile {
    fn default() -> Self {
        Self { minor: LAST, service_ports: SERVICE_PORTS }
    }
}

impl Profile {
    /// The line of a version such as `1.8.222` or `1.11.24-snapshot`. What is no version, or newer than any, is
    /// taken for the last line; what is older than any, for the first.
    #[must_use]
    pub fn of(version: &str) -> Self {
        let mut parts = version.split('.');
        let mut number = || {
            let part = parts.next()?;
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part.get(..digits)?.parse::<u64>().ok()
        };
        match (number(), number()) {
            (Some(0), Some(_)) => Self { minor: FIRST, ..Self::default() },
            (Some(1), Some(minor)) => Self { minor: minor.clamp(FIRST, LAST), ..Self::default() },
            _ => Self::default(),
        }
    }

    /// The same with the service ports that the server gives out; where it does not tell, those of Marathon's defaults.
    #[must_use]
    pub fn with_service_ports(self, told: Option<&RangeInclusive<u16>>) -> Self {
        Self { service_ports: told.map_or(SERVICE_PORTS, |ports| (*ports.start(), *ports.end())), ..self }
    }

    /// Where the server takes service ports from.
    #[must_use]
    pub fn service_ports(self) -> RangeInclusive<u16> {
        self.service_ports.0..=self.service_ports.1
    }

    /// The longest delay between two launches where an app does not say it, in seconds.
    #[must_use]
    pub fn launch_delay(self) -> u64 {
        if self.minor >= 8 { 300 } else { 3600 }
    }

    /// Whether replacements of this line heed the health of the tasks that they find; see [`super::room`].
    #[must_use]
    pub fn heeds_health(self) -> bool {
        self.minor >= 10
    }

    /// The fields that this line does not know, each with the line that brought it.
    pub fn lacks(self) -> impl Iterator<Item = (&'static str, Self)> {
        let later = LATER.into_iter().filter(move |(_, minor)| *minor > self.minor);
        later.map(move |(field, minor)| (field, Self { minor, ..self }))
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Marathon 1.{}", self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_marathon_writes_them() {
        let table = [
            ("1.5.0", "1.5"),
            ("1.8.222", "1.8"),
            ("1.10.26-SNAPSHOT", "1.10"),
            ("1.11.24", "1.11"),
            ("1.11", "1.11"),
            ("1.12.0", "1.11"),
            ("2.0.0", "1.11"),
            ("1.4.2", "1.5"),
            ("0.15.3", "1.5"),
            ("", "1.11"),
            ("1", "1.11"),
            ("v1.8", "1.11"),
            ("1.x", "1.11"),
        ];
        for (version, line) in table {
            assert_eq!(Profile::of(version).to_string(), format!("Marathon {line}"), "{version}");
        }
    }

    #[test]
    fn lines_differ_where_they_should() {
        let lacks = |version| Profile::of(version).lacks().map(|(field, _)| field).collect::<Vec<_>>();
        assert_eq!(lacks("1.5.1"), ["executorResources", "role", "resourceLimits"]);
        assert_eq!(lacks("1.8.1"), ["role", "resourceLimits"]);
        assert_eq!(lacks("1.9.100"), ["resourceLimits"]);
        assert!(lacks("1.10.1").is_empty() && lacks("1.11.1").is_empty());
    }
}
