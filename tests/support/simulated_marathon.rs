//! A local Marathon with simulated tasks whose time is the runtime's paused one, asked without a connection.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use dcos_registry::clock::{Clock, Entropy};
use dcos_registry::marathon_local::{Cut, LocalConfig, MarathonLocal, Profile, Tasks};
use dcos_registry::workers::Workers;
use serde_json::Value;

/// Starts one that keeps nothing, and whose faults have those dice.
pub async fn start(profile: Profile, role: &str, seed: u64) -> (MarathonLocal, Clock, Workers) {
    let (clock, workers) = (Clock::simulated(1.0, Duration::from_secs(1_000)), Workers::new());
    let config = LocalConfig {
        dir: "never-made".into(),
        listen: ([127, 0, 0, 1], 0).into(),
        profile,
        role: role.to_owned(),
        default_network: None,
        new_groups_enforce: false,
        tasks: Tasks::Simulated,
        faults: Some(seed),
        clock: clock.clone(),
        entropy: Entropy::seeded(seed),
        workers: workers.clone(),
    };
    (MarathonLocal::start(config).await.unwrap(), clock, workers)
}

/// Status and body of an answer; a body that is not JSON is null.
///
/// # Errors
/// [`Cut`] where a fault cuts the connection.
pub async fn ask(
    marathon: &MarathonLocal,
    method: &str,
    path: &str,
    body: &Value,
) -> Result<(u16, Value), Cut> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = Request::builder().method(method).uri(path).header("host", "localhost");
    let request = request.header("content-type", "application/json").body(Body::from(body)).unwrap();
    let response = marathon.answer(request).await?;
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}
