//! Virtual addresses that apps announce by labels of their ports, as DC/OS balances them. Pure.
//!
//! A label `VIP_0: "/name:443"` on a port makes it reachable as `name.marathon.l4lb.thisdcos.directory:443` inside
//! a cluster (dcos-docs-site, networking/load-balancing-vips). There is no load balancer here: the list says where
//! a client of this machine finds the tasks.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::definition;
use crate::model::App;

/// The domain of named addresses.
const DOMAIN: &str = "marathon.l4lb.thisdcos.directory";

/// One port of one app that is announced under an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vip {
    /// Host and port.
    pub address: String,
    /// The app.
    pub app: String,
    /// The position of the port in the app.
    pub port: usize,
    /// Where the tasks are that serve: `host:port`.
    pub backends: Vec<String>,
}

/// The addresses that a definition announces: position of the port and address.
pub fn announced(app: &App) -> Vec<(usize, String)> {
    let list = if definition::is_on_host_network(app) {
        app.get("portDefinitions")
    } else {
        app.get("container").and_then(|c| c.get("portMappings"))
    };
    let ports = list.and_then(Value::as_array).into_iter().flatten().enumerate();
    let labels = ports.flat_map(|(position, port)| {
        let labels = port.get("labels").and_then(Value::as_object).into_iter().flatten();
        labels.map(move |(key, value)| (position, key, value))
    });
    let is_vip = |key: &str| key.strip_prefix("VIP_").or_else(|| key.strip_prefix("vip_")).is_some();
    labels
        .filter(|(_, key, _)| is_vip(key))
        .filter_map(|(position, _, value)| Some((position, address(value.as_str()?)?)))
        .collect()
}

/// The full address of a label: a name becomes a host of the domain, an IP address stays.
fn address(label: &str) -> Option<String> {
    let (host, port) = label.rsplit_once(':')?;
    port.parse::<u16>().ok().filter(|port| *port > 0)?;
    match host.strip_prefix('/') {
        Some(name) => {
            let name: String = name.chars().filter(|c| *c != '/').collect();
            (!name.is_empty()).then(|| format!("{name}.{DOMAIN}:{port}"))
        }
        None => host.parse::<std::net::IpAddr>().ok().map(|_| label.to_owned()),
    }
}

/// The list as it is answered, with those that more than one app announces.
pub fn json(vips: &[Vip]) -> Value {
    let mut by_address: BTreeMap<&str, Vec<&Vip>> = BTreeMap::new();
    for vip in vips {
        by_address.entry(&vip.address).or_default().push(vip);
    }
    let listed = by_address.iter().map(|(address, vips)| {
        let backends: Vec<_> = vips.iter().flat_map(|vip| &vip.backends).collect();
        let apps: BTreeSet<_> = vips.iter().map(|vip| vip.app.as_str()).collect();
        ((*address).to_owned(), json!({"apps": apps, "backends": backends}))
    });
    let conflicts = by_address.iter().filter(|(_, vips)| vips.len() > 1).map(|(address, vips)| {
        let by: Vec<_> = vips.iter().map(|vip| json!({"app": vip.app, "portIndex": vip.port})).collect();
        json!({"address": address, "announcedBy": by})
    });
    let conflicts: Vec<_> = conflicts.collect();
    json!({"vips": listed.collect::<serde_json::Map<_, _>>(), "conflicts": conflicts})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_ports_announce_addresses() {
        let app = App::from_value(json!({"portDefinitions": [
            {"port": 0}, {"port": 0, "labels": {"VIP_0": "/my/registry:443", "other": "/x:1"}},
            {"port": 0, "labels": {"VIP_0": "1.2.3.4:80", "VIP_1": "nonsense", "VIP_2": "/n:0"}}]}));
        let mapped = App::from_value(json!({"networks": [{"mode": "container/bridge"}],
            "container": {"portMappings": [{"labels": {"VIP_0": "web:80"}}, {"labels": {"VIP_0": "/web:80"}}]}}));
        assert_eq!(
            announced(&app.unwrap()),
            [(1, "myregistry.marathon.l4lb.thisdcos.directory:443".to_owned()), (2, "1.2.3.4:80".to_owned())]
        );
        assert_eq!(announced(&mapped.unwrap()), [(1, "web.marathon.l4lb.thisdcos.directory:80".to_owned())]);
    }

    #[test]
    fn an_address_that_is_announced_twice_is_told() {
        let vip = |address: &str, app: &str, backend: &str| Vip {
            address: address.into(),
            app: app.into(),
            port: 0,
            backends: vec![backend.into()],
        };
        let list = json(&[vip("a:1", "/x", "h:1"), vip("a:1", "/y", "h:2"), vip("b:1", "/x", "h:3")]);
        assert_eq!(list["vips"]["a:1"], json!({"apps": ["/x", "/y"], "backends": ["h:1", "h:2"]}));
        assert_eq!(list["vips"]["b:1"], json!({"apps": ["/x"], "backends": ["h:3"]}));
        let by = json!([{"app": "/x", "portIndex": 0}, {"app": "/y", "portIndex": 0}]);
        assert_eq!(list["conflicts"], json!([{"address": "a:1", "announcedBy": by}]));
    }
}
