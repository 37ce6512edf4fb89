//! Groups: nested, ordered by dependencies, tried out, scaled, taken back.

use dcos_registry::marathon_local::Profile;
use serde_json::{Value, json};

use super::harness::Local;

/// A shop whose parts need each other.
fn shop() -> Value {
    json!({
        "id": "/shop",
        "apps": [{"id": "web", "cmd": "sleep 1000", "dependencies": ["api"]}, {"id": "api", "cmd": "sleep 1000"}],
        "groups": [{"id": "store", "apps": [{"id": "db", "cmd": "sleep 1000", "instances": 2}]}],
        "dependencies": [],
    })
}

/// The steps as text: `StartApplication /a, ScaleApplication /b`.
fn steps(plan: &Value) -> Vec<String> {
    let text = |action: &Value| {
        format!("{} {}", action["action"].as_str().unwrap(), action["app"].as_str().unwrap())
    };
    let step =
        |step: &Value| step["actions"].as_array().unwrap().iter().map(text).collect::<Vec<_>>().join(", ");
    plan["steps"].as_array().unwrap().iter().map(step).collect()
}

fn ids(group: &Value, key: &str) -> Vec<String> {
    group[key].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_tried_out_made_and_seen() {
    let local = Local::simulated(Profile::V1_11).await;
    let mut body = shop();
    body["apps"][1]["dependencies"] = json!(["store"]);
    let tried = local.expect(200, "PUT", "/v2/groups/shop?dryRun=true", &body).await;
    let order = [
        "StartApplication /shop/api, StartApplication /shop/store/db, StartApplication /shop/web",
        "ScaleApplication /shop/store/db",
        "ScaleApplication /shop/api",
        "ScaleApplication /shop/web",
    ];
    assert_eq!(steps(&tried), order);
    assert_eq!(local.get("/v2/groups/shop").await.status, 404, "nothing was done");

    local.outcome("/shop/store", json!({"outcome": "neverStarts"})).await;
    let made = local.send("POST", "/v2/groups", &body.to_string()).await;
    let location = format!("http://{}/shop", local.marathon.address());
    assert_eq!((made.status, made.headers["location"].to_str().unwrap()), (201, location.as_str()));
    let deployment = &local.get("/v2/deployments").await.body[0];
    assert_eq!(
        (steps(deployment), &deployment["currentStep"]),
        (order.map(str::to_owned).to_vec(), &json!(2))
    );
    assert_eq!(deployment["affectedApps"], json!(["/shop/api", "/shop/store/db", "/shop/web"]));
    assert_eq!(local.app("/shop/web").await["tasks"], json!([]), "it waits for what it depends on");
    local.expect(204, "DELETE", "/local/outcomes", &json!(null)).await;
    local
        .expect(
            202,
            "DELETE",
            &format!("/v2/deployments/{}?force=true", deployment["id"].as_str().unwrap()),
            &json!(null),
        )
        .await;
    local.expect(200, "DELETE", "/v2/groups/shop?force=true", &json!(null)).await;
    local.calm().await;

    local.expect(201, "POST", "/v2/groups", &body).await;
    local.calm().await;
    let shop = local.get("/v2/groups/shop").await.body;
    assert_eq!(
        (ids(&shop, "apps"), ids(&shop, "groups")),
        (vec!["/shop/api".into(), "/shop/web".into()], vec!["/shop/store".to_owned()])
    );
    assert_eq!(shop["groups"][0]["apps"][0]["tasksRunning"], 2);
    assert_eq!((&shop["enforceRole"], &shop["groups"][0]["enforceRole"]), (&json!(false), &json!(null)));
    assert_eq!(shop["apps"][1]["dependencies"], json!(["/shop/api"]), "relative ids became absolute");
    assert_eq!(local.get("/v2/groups?embed=group.groups").await.body["groups"][0]["apps"], json!([]));
    let with_tasks = local.get("/v2/groups/shop?embed=group.apps&embed=group.apps.tasks").await.body;
    assert!(with_tasks["apps"][0]["tasks"].is_array() && with_tasks["groups"] == json!([]));
    let all = local.get("/v2/groups/shop/apps").await.body;
    assert_eq!(all.as_array().unwrap().len(), 3);
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_body_leaves_out_goes() {
    let local = Local::simulated(Profile::V1_11).await;
    local.expect(201, "POST", "/v2/groups", &shop()).await;
    local.calm().await;
    let first = local.app("/shop/api").await;
    // A list that is not there leaves what is there; a list that is there is the whole truth.
    let update = json!({"apps": [{"id": "api", "cmd": "sleep 1000"}, {"id": "/shop/new", "cmd": "sleep 1"}]});
    let tried = local.expect(200, "PUT", "/v2/groups/shop?dryRun=true", &update).await;
    assert_eq!(
        steps(&tried),
        ["StopApplication /shop/web", "StartApplication /shop/new", "ScaleApplication /shop/new"]
    );
    local.expect(200, "PUT", "/v2/groups/shop", &update).await;
    local.calm().await;
    assert_eq!(local.get("/v2/apps/shop/web").await.status, 404);
    assert_eq!(
        local.app("/shop/api").await["version"],
        first["version"],
        "what stays the same is left alone"
    );
    assert_eq!(local.get("/v2/apps/shop/store/db").await.status, 200);
    local.expect(200, "PUT", "/v2/groups/shop", &json!({"groups": []})).await;
    local.calm().await;
    assert_eq!(local.get("/v2/groups/shop/store").await.status, 404);
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_scaled_and_taken_back() {
    let local = Local::simulated(Profile::V1_11).await;
    let made = local.expect(201, "POST", "/v2/groups", &shop()).await;
    local.calm().await;
    let instances = async |id: &str| local.app(id).await["instances"].clone();
    local.expect(200, "PUT", "/v2/groups/shop", &json!({"scaleBy": 1.5})).await;
    local.calm().await;
    assert_eq!((instances("/shop/web").await, instances("/shop/store/db").await), (json!(2), json!(3)));

    let versions = local.get("/v2/groups/shop/versions").await.body;
    assert!(versions.as_array().unwrap().contains(&made["version"]), "{versions}");
    let version = made["version"].as_str().unwrap();
    let old = local.get(&format!("/v2/groups/shop/versions/{version}")).await.body;
    assert_eq!((&old["version"], &old["apps"][0]["instances"]), (&made["version"], &json!(1)));
    local.expect(200, "DELETE", "/v2/apps/shop/web", &json!(null)).await;
    local.calm().await;
    let tried = local.expect(200, "PUT", "/v2/groups/shop?dryRun=true", &json!({"version": version})).await;
    assert_eq!(
        steps(&tried),
        [
            "StartApplication /shop/web",
            "ScaleApplication /shop/api, ScaleApplication /shop/store/db",
            "ScaleApplication /shop/web"
        ]
    );
    local.expect(200, "PUT", "/v2/groups/shop", &json!({"version": version})).await;
    local.calm().await;
    assert_eq!((instances("/shop/web").await, instances("/shop/store/db").await), (json!(1), json!(2)));

    let bad = local.expect(422, "PUT", "/v2/groups/shop", &json!({"scaleBy": 2, "apps": []})).await;
    assert_eq!(bad["details"][0]["path"], "/scaleBy");
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_deleted_without_force_and_circles_are_refused() {
    let local = Local::simulated(Profile::V1_11).await;
    local.outcome("/shop/web", json!({"outcome": "neverStarts"})).await;
    local.expect(201, "POST", "/v2/groups", &shop()).await;
    let locked = local.expect(409, "DELETE", "/v2/groups/shop", &json!(null)).await;
    assert!(locked["deployments"][0]["id"].is_string(), "{locked}");
    let again = local.expect(409, "POST", "/v2/groups", &shop()).await;
    assert_eq!(again, json!({"message": "Group /shop is already created. Use PUT to change this group."}));
    local.expect(200, "DELETE", "/v2/groups/shop?force=true", &json!(null)).await;
    local.calm().await;
    assert_eq!(local.get("/v2/apps").await.body, json!({"apps": []}));

    let circle = json!({"id": "/g", "apps": [{"id": "a", "cmd": "sleep 1", "dependencies": ["b"]},
        {"id": "b", "cmd": "sleep 1", "dependencies": ["a"]}]});
    let refused = local.expect(422, "POST", "/v2/groups", &circle).await;
    let details = json!([{"path": "/", "errors": ["Dependency graph has cyclic dependencies."]}]);
    assert_eq!(refused, json!({"message": "Object is not valid", "details": details}));
    let stranger = json!({"id": "/g", "apps": [{"id": "/h/a", "cmd": "sleep 1"}]});
    let refused = local.expect(422, "POST", "/v2/groups", &stranger).await;
    assert_eq!(refused["details"][0]["path"], "/apps(0)/id");
    let nested =
        json!({"id": "/g", "groups": [{"id": "h", "apps": [{"id": "a", "cmd": "sleep 1", "cpus": -1}]}]});
    let refused = local.expect(422, "POST", "/v2/groups", &nested).await;
    assert_eq!(refused["details"][0]["path"], "/groups(0)/apps(0)/cpus");
    local.expect(201, "PUT", "/v2/apps/g/a", &json!({"cmd": "sleep 1000"})).await;
    local.calm().await;
    let clash = local.expect(422, "PUT", "/v2/apps/g", &json!({"cmd": "sleep 1000"})).await;
    assert_eq!(clash["details"][0]["errors"][0], "Groups and Applications may not have the same identifier.");
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_may_enforce_its_role() {
    let local = Local::simulated(Profile::V1_11).await;
    let dev = json!({"id": "/dev", "enforceRole": true, "apps": [{"id": "a", "cmd": "sleep 1000"}]});
    local.expect(201, "POST", "/v2/groups", &dev).await;
    local.calm().await;
    assert_eq!(local.app("/dev/a").await["role"], "dev");
    let app = |role: &str| json!({"cmd": "sleep 1000", "role": role});
    let refused = local.expect(422, "PUT", "/v2/apps/dev/b", &app("*")).await;
    assert_eq!(refused["details"][0]["path"], "/role");
    // Who says nothing of it asks for what new groups have.
    for both in [json!({"id": "/dev", "enforceRole": false, "apps": []}), json!({"id": "/dev", "apps": []})] {
        let refused = local.expect(422, "PUT", "/v2/groups/dev", &both).await;
        assert_eq!(refused["details"][0]["path"], "/enforceRole");
    }
    local.expect(200, "PUT", "/v2/groups/dev", &json!({"dependencies": []})).await;
    assert_eq!(local.get("/v2/groups/dev").await.body["enforceRole"], false);
    local.expect(200, "PUT", "/v2/groups/dev", &json!({"enforceRole": true})).await;
    let patched = local.send("PATCH", "/v2/groups/dev", r#"{"enforceRole": false}"#).await;
    assert_eq!((patched.status, patched.body), (200, Value::Null));
    local.expect(201, "PUT", "/v2/apps/dev/b", &app("*")).await;
    // A full PUT without a role takes the default one, which is no longer that of the group.
    local.expect(200, "PUT", "/v2/apps/dev/a?partialUpdate=false", &json!({"cmd": "sleep 1000"})).await;
    assert_eq!(local.app("/dev/a").await["role"], "*");
    local.stop().await;
}
