//! Port numbers: service ports in definitions, and the ports that tasks get on this machine.
//!
//! Service ports follow `AssignDynamicServiceLogic.scala` of mesosphere/marathon: 0 takes, in order, the
//! old definition's ports that the new one does not name, then a free one of the range. Two definitions
//! that both say 0 thus stay the same.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::ops::{Range, RangeInclusive};

use super::definition;
use crate::clock::Entropy;
use crate::model::App;

/// Where service ports are taken from (`local_port_min`, `local_port_max`).
pub const SERVICE_PORTS: RangeInclusive<u16> = 10_000..=20_000;

/// Where a task's ports are taken from: the range that a Mesos agent offers by default.
const AGENT_PORTS: Range<u16> = 31_000..32_001;

/// Where they are taken from when those are used up; neither service ports nor the kernel's ephemeral ones.
const MORE_PORTS: Range<u16> = 20_001..31_000;

/// Gives every port of the definition that says 0 a number. False when the range is used up.
pub fn assign_service_ports(app: &mut App, old: Option<&App>, taken: &BTreeSet<u16>) -> bool {
    let wanted = numbers(app);
    let mut reusable: VecDeque<u16> = old.map(numbers).unwrap_or_default().into();
    reusable.retain(|port| SERVICE_PORTS.contains(port) && !wanted.contains(port));
    let mut used: BTreeSet<u16> = wanted.iter().chain(taken).chain(&reusable).copied().collect();
    let mut assigned = Vec::with_capacity(wanted.len());
    for port in wanted {
        let number = match port {
            0 => reusable.pop_front().or_else(|| SERVICE_PORTS.clone().find(|p| !used.contains(p))),
            number => Some(number),
        };
        let Some(number) = number else { return false };
        used.insert(number);
        assigned.push(number);
    }
    definition::set_ports(app, &assigned);
    true
}

/// The service ports of a definition.
pub fn numbers(app: &App) -> Vec<u16> {
    definition::ports(app).iter().map(|p| p.number).collect()
}

/// Ports on this machine for one task; none while they cannot be had.
///
/// That they are free is tried out by binding them, where tasks are real (`host` says where). Another process
/// may still take one before the task does: then the task fails and is started again, elsewhere.
pub fn allocate(
    app: &App,
    host: Option<IpAddr>,
    taken: &BTreeSet<u16>,
    entropy: &Entropy,
) -> Option<Vec<u16>> {
    let wanted = numbers(app);
    let is_bindable =
        |port: u16| host.is_none_or(|host| TcpListener::bind(SocketAddr::new(any(host), port)).is_ok());
    let free = |port: u16, own: &[u16]| !taken.contains(&port) && !own.contains(&port) && is_bindable(port);
    let mut ports = Vec::with_capacity(wanted.len());
    for port in wanted {
        let found = if definition::requires_ports(app) {
            Some(port).filter(|p| free(*p, &ports))
        } else {
            from_random_start(entropy).chain(MORE_PORTS).find(|p| free(*p, &ports))
        };
        ports.push(found?);
    }
    Some(ports)
}

/// The agent's ports, beginning anywhere, so that a port is not given out again at once.
fn from_random_start(entropy: &Entropy) -> impl Iterator<Item = u16> {
    let length = u64::from(AGENT_PORTS.end - AGENT_PORTS.start);
    let start = AGENT_PORTS.start + u16::try_from(entropy.next() % length).unwrap_or(0);
    (start..AGENT_PORTS.end).chain(AGENT_PORTS.start..start)
}

/// The wildcard address of the same family: a task may listen on any address of the machine.
fn any(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(_) => IpAddr::from([0, 0, 0, 0]),
        IpAddr::V6(_) => IpAddr::from([0_u16; 8]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn app(ports: &[u16]) -> App {
        let ports: Vec<_> = ports.iter().map(|p| json!({"port": p})).collect();
        App::from_value(json!({"id": "/x", "portDefinitions": ports})).unwrap()
    }

    fn assigned(new: &[u16], old: Option<&[u16]>, taken: &[u16]) -> Vec<u16> {
        let mut new = app(new);
        let taken = taken.iter().copied().collect();
        assert!(assign_service_ports(&mut new, old.map(app).as_ref(), &taken));
        numbers(&new)
    }

    #[test]
    fn zero_takes_the_old_ports_in_order_then_free_ones() {
        assert_eq!(assigned(&[0, 0], None, &[10_000]), [10_001, 10_002]);
        assert_eq!(assigned(&[0, 0], Some(&[10_005, 10_007]), &[]), [10_005, 10_007]);
        assert_eq!(assigned(&[0, 10_005], Some(&[10_005, 10_007]), &[]), [10_007, 10_005]);
        assert_eq!(assigned(&[0], Some(&[80]), &[]), [10_000], "80 lies outside the range");
    }

    #[test]
    fn a_range_that_is_used_up_is_told() {
        let taken = SERVICE_PORTS.collect();
        assert!(!assign_service_ports(&mut app(&[0]), None, &taken));
    }

    #[test]
    fn tasks_get_free_ports_of_the_agents_range() {
        let host = Some(IpAddr::from([127, 0, 0, 1]));
        let entropy = Entropy::seeded(3);
        let ports = allocate(&app(&[0, 0, 0]), host, &BTreeSet::new(), &entropy).unwrap();
        assert!(ports.iter().all(|p| AGENT_PORTS.contains(p)));
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 3);
        let port = allocate(&app(&[0]), host, &AGENT_PORTS.collect(), &entropy).unwrap()[0];
        assert!(MORE_PORTS.contains(&port));
        let all = AGENT_PORTS.chain(MORE_PORTS).collect();
        assert_eq!(allocate(&app(&[0]), host, &all, &entropy), None);
    }

    #[test]
    fn required_ports_must_be_free() {
        let host = IpAddr::from([127, 0, 0, 1]);
        let listener = TcpListener::bind((host, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut app = app(&[port]);
        app.0.insert("requirePorts".into(), json!(true));
        let allocated = || allocate(&app, Some(host), &BTreeSet::new(), &Entropy::seeded(1));
        assert_eq!(allocated(), None);
        let virtually = allocate(&app, None, &BTreeSet::new(), &Entropy::seeded(1));
        assert_eq!(
            virtually,
            Some(vec![port]),
            "the ports of tasks that are not real are not this machine's"
        );
        drop(listener);
        assert_eq!(allocated(), Some(vec![port]));
    }
}
