//! Port numbers that the server assigned.
//!
//! Marathon hands old numbers out by order, not by name, when it is asked for 0 again: a port taken out of
//! the middle would move the others and restart everything. So the numbers are sent back by name, or by
//! position where a port has no name.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Object;

/// Puts the observed numbers where the desired app says 0.
pub(super) fn take_assigned(target: &mut Object, observed: &Object) {
    let there = observed.get("portDefinitions").and_then(Value::as_array);
    if let (Some(Value::Array(ports)), Some(there)) = (target.get_mut("portDefinitions"), there) {
        assign(ports, there, "port");
    }
    let mappings =
        |app: &Object| app.get("container").and_then(|c| c.get("portMappings")?.as_array().cloned());
    let there = mappings(observed).unwrap_or_default();
    let container = target.get_mut("container").and_then(|c| c.get_mut("portMappings"));
    if let Some(Value::Array(ports)) = container {
        assign(ports, &there, "servicePort");
    }
}

fn assign(ports: &mut [Value], there: &[Value], key: &str) {
    let number = |port: &Value| port.get(key).and_then(Value::as_u64).filter(|n| *n != 0);
    let mut taken: BTreeSet<_> = ports.iter().filter_map(number).collect();
    let unnamed: Vec<_> = there.iter().map(|port| port.get("name").is_none()).collect();
    for (i, port) in ports.iter_mut().enumerate().filter(|(_, port)| number(port).is_none()) {
        let same = match port.get("name") {
            Some(name) => there.iter().find(|other| other.get("name") == Some(name)),
            None => there.get(i).filter(|_| unnamed[i]),
        };
        if let Some(n) = same.and_then(number)
            && taken.insert(n)
        {
            port[key] = n.into();
        }
    }
}
