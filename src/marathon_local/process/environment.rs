//! The environment of a task, as Marathon and Mesos make it. Pure.
//!
//! Names and rules: `EnvironmentHelper.scala` and `docs/docs/task-environment-vars.md` of
//! mesosphere/marathon. Nothing of the daemon's own environment is passed on.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::secrets::Secrets;
use crate::marathon_local::definition;
use crate::marathon_local::executor::TaskSpec;
use crate::model::App;

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Marathon leaves out labels that are longer than this.
const LONGEST_LABEL: usize = 512;

/// All variables of a task. The app's own come last and win, but for those that name task and sandbox.
///
/// # Errors
/// A variable whose value is a secret that cannot be had.
pub fn of(task: &TaskSpec, sandbox: &Path, secrets: &Secrets) -> Result<BTreeMap<String, String>, String> {
    let mut env = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
    env.insert("HOST".to_owned(), task.host.to_string());
    env.extend(ports(task));
    env.extend(context(&task.app));
    env.extend(labels(&task.app));
    for (name, value) in task.app.get("env").and_then(Value::as_object).into_iter().flatten() {
        let secret = value.get("secret").and_then(Value::as_str);
        let value = match (value.as_str(), secret) {
            (Some(text), _) => text.to_owned(),
            (None, Some(secret)) => secrets
                .of(&task.app, secret)
                .map_err(|reason| format!("the environment variable {name} is a secret: {reason}"))?,
            (None, None) => continue,
        };
        env.insert(name.clone(), value);
    }
    let sandbox = sandbox.display().to_string();
    env.extend([("MESOS_TASK_ID".to_owned(), task.id.clone()), ("MESOS_SANDBOX".to_owned(), sandbox)]);
    Ok(env)
}

fn ports(task: &TaskSpec) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let definitions = definition::ports(&task.app);
    for (index, port) in task.ports.iter().enumerate() {
        env.insert(format!("PORT{index}"), port.to_string());
        let Some(definition) = definitions.get(index) else { continue };
        let number = if definition.number == 0 { *port } else { definition.number };
        env.insert(format!("PORT_{number}"), port.to_string());
        if let Some(name) = &definition.name {
            env.insert(format!("PORT_{}", name.to_uppercase()), port.to_string());
        }
    }
    if let Some(first) = task.ports.first() {
        let all: Vec<_> = task.ports.iter().map(ToString::to_string).collect();
        env.insert("PORT".to_owned(), first.to_string());
        env.insert("PORTS".to_owned(), all.join(","));
    }
    env
}

fn context(app: &App) -> BTreeMap<String, String> {
    let number = |key: &str| app.get(key).and_then(Value::as_f64).unwrap_or(0.0);
    let mut env = BTreeMap::from([
        ("MARATHON_APP_ID".to_owned(), app.id().unwrap_or_default().to_owned()),
        ("MARATHON_APP_VERSION".to_owned(), app.version().to_owned()),
    ]);
    for resource in ["cpus", "mem", "disk", "gpus"] {
        // Scala prints resources as doubles: 1.0, not 1; gpus are whole numbers.
        let value =
            if resource == "gpus" { number(resource).to_string() } else { format!("{:?}", number(resource)) };
        env.insert(format!("MARATHON_APP_RESOURCE_{}", resource.to_uppercase()), value);
    }
    env
}

fn labels(app: &App) -> BTreeMap<String, String> {
    const PREFIX: &str = "MARATHON_APP_LABEL_";
    let mut env = BTreeMap::new();
    for (name, value) in app.get("labels").and_then(Value::as_object).into_iter().flatten() {
        if let Some(value) = value.as_str()
            && value.len() < LONGEST_LABEL
            && name.len() < LONGEST_LABEL - PREFIX.len()
        {
            env.insert(escaped(name), value.to_owned());
        }
    }
    let names: Vec<_> = env.keys().cloned().collect();
    let mut env: BTreeMap<_, _> =
        env.into_iter().map(|(name, value)| (format!("{PREFIX}{name}"), value)).collect();
    env.insert("MARATHON_APP_LABELS".to_owned(), names.join(" "));
    env
}

/// A label's name as part of a variable's name: runs of other characters become one underscore.
fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_alphanumeric() || c == '_' {
            out.push(c.to_ascii_uppercase());
        } else if !out.ends_with('_') {
            out.push('_');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn env(app: Value) -> Result<BTreeMap<String, String>, String> {
        let task = TaskSpec {
            id: "a.instance-1._app.1".into(),
            app_id: crate::model::AppId::new("/a").unwrap(),
            app: App::from_value(app).unwrap(),
            host: [127, 0, 0, 1].into(),
            ports: vec![31_000, 31_001],
        };
        of(&task, Path::new("/s"), &Secrets::none())
    }

    #[test]
    fn a_task_gets_what_marathon_gives() {
        let env = env(json!({
            "id": "/a", "version": "2020-01-01T00:00:00.000Z", "cpus": 0.1, "mem": 32, "gpus": 0,
            "portDefinitions": [{"port": 10_000, "name": "web"}, {"port": 0}],
            "labels": {"the key-1": "v", "long": "x".repeat(600)}, "env": {"GREETING": "hi", "HOST": "own"},
        }))
        .unwrap();
        for (name, value) in [
            ("PORT", "31000"),
            ("PORT0", "31000"),
            ("PORT1", "31001"),
            ("PORTS", "31000,31001"),
            ("PORT_10000", "31000"),
            ("PORT_31001", "31001"),
            ("PORT_WEB", "31000"),
            ("GREETING", "hi"),
            ("HOST", "own"),
            ("MARATHON_APP_ID", "/a"),
            ("MARATHON_APP_RESOURCE_CPUS", "0.1"),
            ("MARATHON_APP_RESOURCE_MEM", "32.0"),
            ("MARATHON_APP_RESOURCE_GPUS", "0"),
            ("MARATHON_APP_LABELS", "THE_KEY_1"),
            ("MARATHON_APP_LABEL_THE_KEY_1", "v"),
            ("MESOS_SANDBOX", "/s"),
            ("MESOS_TASK_ID", "a.instance-1._app.1"),
        ] {
            assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!env.contains_key("HOME"));
    }

    #[test]
    fn secrets_are_refused_by_name() {
        let error = env(json!({"id": "/a", "env": {"PASSWORD": {"secret": "p"}}})).unwrap_err();
        assert!(error.contains("PASSWORD"), "{error}");
    }
}
