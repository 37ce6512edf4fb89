//! Port numbers that the server assigned.
//!
//! Marathon hands old numbers out by order, not by name, when it is asked for 0 again: a port taken out of
//! the middle would move the others and restart everything. So the numbers are sent back by name, or by
//! position where a port has no name.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Object;
use crate::marathon::normalize::ports;
use crate::marathon::profile::Profile;

/// Puts the observed numbers where the desired app says 0.
pub(super) fn take_assigned(target: &mut Object, observed: &Object) {
    let there = observed.get("portDefinitions").and_then(Value::as_array);
    if let (Some(Value::Array(ports)), Some(there)) = (target.get_mut("portDefinitions"), there) {
        assign(ports, there, "port");
    }
    let there = observed.get("container").and_then(|c| c.get("portMappings")?.as_array());
    let mappings = target.get_mut("container").and_then(|c| c.get_mut("portMappings"));
    if let (Some(Value::Array(ports)), Some(there)) = (mappings, there) {
        assign(ports, there, "servicePort");
    }
}

fn assign(ports: &mut [Value], there: &[Value], key: &str) {
    let number = |port: &Value| port.get(key).and_then(Value::as_u64).filter(|n| *n != 0);
    let mut taken: BTreeSet<_> = ports.iter().filter_map(number).collect();
    for (i, port) in ports.iter_mut().enumerate().filter(|(_, port)| number(port).is_none()) {
        let same = match port.get("name") {
            Some(name) => there.iter().find(|other| other.get("name") == Some(name)),
            None => there.get(i).filter(|other| other.get("name").is_none()),
        };
        if let Some(n) = same.and_then(number)
            && taken.insert(n)
        {
            port[key] = n.into();
        }
    }
}

/// Whether the ports of hosts change. To Marathon those are the port definitions, required or not, and the host ports
/// of mappings, and it looks at them after it gave numbers for 0: first those of its range that the old definition had
/// and the new one does not name, in their order (`state/AppDefinition.scala` and
/// `core/group/impl/AssignDynamicServiceLogic.scala` of mesosphere/marathon).
pub(super) fn moves_on_hosts(observed: &Object, target: &Object, profile: Profile) -> bool {
    let mut asked = numbers(target, "hostPort");
    if target.contains_key("portDefinitions") {
        let mut had = numbers(observed, "servicePort");
        let given = |port: u64| u16::try_from(port).is_ok_and(|port| profile.service_ports().contains(&port));
        had.retain(|port| given(*port) && !asked.contains(port));
        let mut had = had.into_iter();
        for port in asked.iter_mut().filter(|port| **port == 0) {
            // What is taken anew was nobody's, so it is none of the old ones.
            *port = had.next().unwrap_or(u64::MAX);
        }
    }
    let set = |numbers: Vec<u64>| numbers.into_iter().collect::<BTreeSet<_>>();
    set(numbers(observed, "hostPort")) != set(asked)
}

/// The numbers of port definitions, or those numbers of mappings, in their order.
fn numbers(app: &Object, of_mapping: &str) -> Vec<u64> {
    let key = if app.contains_key("portDefinitions") { "port" } else { of_mapping };
    ports(app).iter().filter_map(|port| port.get(key)?.as_u64()).collect()
}
