//! Pods, as far as listing, deploying and rewriting need them.

use dcos_registry::marathon_local::Profile;
use serde_json::{Value, json};

use super::harness::Local;

fn pod() -> Value {
    json!({
        "id": "/p",
        "labels": {"a": "b"},
        "scaling": {"kind": "fixed", "instances": 2},
        "containers": [
            {"name": "web", "resources": {"cpus": 0.1, "mem": 32}, "image": {"kind": "DOCKER", "id": "registry.local/web:1"},
             "endpoints": [{"name": "http", "hostPort": 0}],
             "healthCheck": {"http": {"endpoint": "http"}, "delaySeconds": 0, "intervalSeconds": 1}},
            {"name": "side", "resources": {"cpus": 0.1, "mem": 32}, "exec": {"command": {"shell": "sleep 1000"}},
             "artifacts": [{"uri": "https://registry.local/x.tgz"}]},
        ],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_lives() {
    let local = Local::simulated(Profile::V1_11).await;
    assert_eq!(local.send("HEAD", "/v2/pods", "").await.status, 200, "there are pods");
    let created = local.send("POST", "/v2/pods", &pod().to_string()).await;
    assert_eq!((created.status, created.headers.contains_key("marathon-deployment-id")), (201, true));
    assert_eq!(
        (&created.body["id"], &created.body["containers"][0]["resources"]["disk"]),
        (&json!("/p"), &json!(0))
    );
    assert!(created.body["version"].is_string() && created.body.get("versionInfo").is_none());
    local.expect(409, "POST", "/v2/pods", &pod()).await;
    local.calm().await;
    let status = local
        .wait("the pod", async || {
            let status = local.get("/v2/pods/p::status").await.body;
            if status["status"] == "STABLE" { Ok(status) } else { Err(status.to_string()) }
        })
        .await;
    assert_eq!(status["instances"].as_array().unwrap().len(), 2);
    let container = &status["instances"][0]["containers"][0];
    assert!(container["endpoints"][0]["allocatedHostPort"].as_u64().unwrap() > 0, "{container}");
    assert_eq!(container["conditions"][0]["value"], "true");
    assert_eq!(local.get("/v2/pods").await.body[0]["id"], "/p");
    assert_eq!(local.get("/v2/pods/::status").await.body[0]["id"], "/p");
    assert_eq!(local.get("/v2/apps").await.body, json!({"apps": []}), "a pod is no app");
    assert_eq!(local.get("/v2/groups").await.body["pods"][0]["id"], "/p");
    local.expect(404, "GET", "/v2/apps/p", &json!(null)).await;
    local.expect(422, "POST", "/v2/apps", &json!({"id": "/p", "cmd": "sleep 1"})).await;

    // The same again restarts nothing; a new image does.
    let version = created.body["version"].clone();
    let same = local.send("PUT", "/v2/pods/p", &pod().to_string()).await;
    assert_eq!((same.status, &same.body["version"]), (200, &version));
    let mut new = pod();
    new["containers"][0]["image"]["id"] = json!("dcos-registry.local/web:1");
    let instance = |status: &Value| status["instances"][0]["id"].as_str().unwrap().to_owned();
    let old = instance(&status);
    local.expect(200, "PUT", "/v2/pods/p", &new).await;
    assert_eq!(
        local.get("/v2/deployments").await.body[0]["steps"][0]["actions"][0],
        json!({"action": "RestartPod", "pod": "/p"})
    );
    local.calm().await;
    let after = local.get("/v2/pods/p::status").await.body;
    assert_ne!(instance(&after), old);
    assert_eq!(after["spec"]["containers"][0]["image"]["id"], "dcos-registry.local/web:1");
    let versions = local.get("/v2/pods/p::versions").await.body;
    assert_eq!(versions.as_array().unwrap().len(), 2);
    let first = local.get(&format!("/v2/pods/p::versions/{}", version.as_str().unwrap())).await.body;
    assert_eq!(first["containers"][0]["image"]["id"], "registry.local/web:1");

    let wrong = local.expect(400, "PUT", "/v2/pods/other", &pod()).await;
    assert_eq!(wrong, json!({"message": "'/other' does not match definition's id ('/p')"}));
    let killed = local
        .expect(200, "DELETE", &format!("/v2/pods/p::instances/{}", instance(&after)), &json!(null))
        .await;
    assert_eq!(killed["instanceId"]["idString"], json!(instance(&after)));
    local.expect(404, "DELETE", "/v2/pods/p::instances/p.instance-none", &json!(null)).await;
    let gone = local.send("DELETE", "/v2/pods/p", "").await;
    assert_eq!((gone.status, &gone.body), (202, &Value::Null));
    let deployment = gone.headers["marathon-deployment-id"].to_str().unwrap();
    let location = format!("http://{}/{deployment}", local.marathon.address());
    assert_eq!(gone.headers["location"], location.as_str());
    local.calm().await;
    assert_eq!(local.get("/v2/pods").await.body, json!([]));
    local.stop().await;
}
