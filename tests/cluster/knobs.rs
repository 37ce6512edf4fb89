//! How much is done. Little by default, so that `cargo test` stays quick; CI and the nightly run say more.

use std::time::Duration;

use crate::program::variable;

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    variable(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text:?}?")))
}

/// How often an instance on a directory is killed (`DCOS_REGISTRY_KILLS`).
pub fn kills() -> u64 {
    number("DCOS_REGISTRY_KILLS", 3)
}

/// How often the lead changes hands by force (`DCOS_REGISTRY_TAKEOVERS`).
pub fn takeovers() -> u64 {
    number("DCOS_REGISTRY_TAKEOVERS", 3)
}

/// What decides when harm is done and what is published (`DCOS_REGISTRY_SEED`).
pub fn seed() -> u64 {
    number("DCOS_REGISTRY_SEED", 1)
}

/// The ttl of the lease (`DCOS_REGISTRY_TTL`, such as `12s`): a tenth of what users have unless said otherwise.
pub fn ttl() -> Duration {
    let text = variable("DCOS_REGISTRY_TTL").unwrap_or_else(|| "1200ms".to_owned());
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().unwrap_or_else(|_| panic!("DCOS_REGISTRY_TTL: {text:?}?"));
    match unit {
        "s" => Duration::from_secs(number),
        "ms" => Duration::from_millis(number),
        _ => panic!("DCOS_REGISTRY_TTL: {text:?} has no unit"),
    }
}

/// Whether times are judged, not only printed (`DCOS_REGISTRY_STRICT`): on a machine with nothing else to do, with
/// the release build.
pub fn strict() -> bool {
    variable("DCOS_REGISTRY_STRICT").is_some()
}

/// Whether what needs many seconds of waiting is done (`DCOS_REGISTRY_SLOW`).
pub fn slow() -> bool {
    variable("DCOS_REGISTRY_SLOW").is_some()
}

/// Prints times: how many, the median, the 99th percentile, the longest.
pub fn print_times(what: &str, times: &[Duration]) {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1));
    if let (Some(median), Some(late), Some(longest)) = (at(50), at(99), sorted.last()) {
        println!("{what}: {} times, p50 {median:.3?}, p99 {late:.3?}, max {longest:.3?}", sorted.len());
    }
}
