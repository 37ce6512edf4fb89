//! What Marathon says about itself.

use serde::Deserialize;

use std::ops::RangeInclusive;

use super::{each, lenient};

/// `GET /v2/info`, which takes a permission of its own on DC/OS Enterprise (`types/marathonInfo.raml`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Info {
    /// Its version, such as `1.11.24`.
    pub version: String,
    /// The leader's address, `host:port`.
    #[serde(default, deserialize_with = "lenient")]
    pub leader: Option<String>,
    /// The Mesos framework that it is.
    #[serde(default, rename = "frameworkId", deserialize_with = "lenient")]
    pub framework: Option<String>,
    /// How it was started.
    #[serde(default, deserialize_with = "lenient")]
    pub marathon_config: ServerConfig,
}

/// How Marathon was started, as far as it matters to apps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServerConfig {
    /// Features that are switched on, such as `secrets`.
    #[serde(deserialize_with = "each")]
    pub features: Vec<String>,
    /// The first of the service ports that it gives out.
    #[serde(deserialize_with = "lenient")]
    pub local_port_min: Option<u16>,
    /// The last of them.
    #[serde(deserialize_with = "lenient")]
    pub local_port_max: Option<u16>,
    /// The role of apps that name none.
    #[serde(deserialize_with = "lenient")]
    pub mesos_role: Option<String>,
    /// The network of apps in mode `container` that name none.
    #[serde(deserialize_with = "lenient")]
    pub default_network_name: Option<String>,
}

impl ServerConfig {
    /// The service ports that it gives out, both ends among them; none where it does not tell, or nothing that makes
    /// sense.
    #[must_use]
    pub fn service_ports(&self) -> Option<RangeInclusive<u16>> {
        Some(self.local_port_min?..=self.local_port_max?).filter(|ports| !ports.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn little_is_needed_and_much_is_read() {
        let least: Info = serde_json::from_value(json!({"version": "1.11.24"})).unwrap();
        assert_eq!(least, Info { version: "1.11.24".into(), ..Info::default() });
        let much = json!({"name": "marathon", "version": "1.8.222", "elected": true, "leader": "10.0.0.1:8080",
            "frameworkId": "f", "marathon_config": {"local_port_min": 10000, "local_port_max": 20000,
            "mesos_role": "slave_public", "features": ["secrets"], "default_network_name": null, "odd": {}}});
        let much: Info = serde_json::from_value(much).unwrap();
        assert_eq!((much.leader.as_deref(), much.framework.as_deref()), (Some("10.0.0.1:8080"), Some("f")));
        let config = much.marathon_config;
        assert_eq!(config.service_ports(), Some(10_000..=20_000));
        for (first, last) in [(None, Some(20_000)), (Some(10_000), None), (Some(2), Some(1))] {
            let config =
                ServerConfig { local_port_min: first, local_port_max: last, ..ServerConfig::default() };
            assert_eq!(config.service_ports(), None);
        }
        assert_eq!((config.features, config.default_network_name), (vec!["secrets".to_owned()], None));
        assert!(serde_json::from_value::<Info>(json!({"leader": "x"})).is_err());
    }
}
