//! `resource.json` as templates see it: the re-encoded model of Cosmos, in which every member that the model knows
//! is there, null where the file has none, and everything else is gone.

use serde_json::Value;

use crate::universe::PackagingVersion;

type Encode = fn(Option<&Value>) -> Value;

/// The value of `resource` in the context of a template.
#[must_use]
pub fn resource_context(resource: &Value, version: PackagingVersion) -> Value {
    let parts: &[(&str, Encode)] = &[("assets", assets), ("images", images), ("cli", cli)];
    let known = if version == PackagingVersion::V2 { &parts[..2] } else { parts };
    model(Some(resource), known)
}

fn assets(value: Option<&Value>) -> Value {
    model(value, &[("uris", as_is), ("container", container)])
}

fn container(value: Option<&Value>) -> Value {
    model(value, &[("docker", as_is)])
}

fn images(value: Option<&Value>) -> Value {
    let known: &[(&str, Encode)] =
        &[("icon-small", as_is), ("icon-medium", as_is), ("icon-large", as_is), ("screenshots", as_is)];
    model(value, known)
}

fn cli(value: Option<&Value>) -> Value {
    model(value, &[("binaries", binaries)])
}

fn binaries(value: Option<&Value>) -> Value {
    model(value, &[("windows", platform), ("linux", platform), ("darwin", platform)])
}

fn platform(value: Option<&Value>) -> Value {
    model(value, &[("x86-64", binary)])
}

fn binary(value: Option<&Value>) -> Value {
    model(value, &[("kind", as_is), ("url", as_is), ("contentHash", hashes)])
}

fn hashes(value: Option<&Value>) -> Value {
    let items = value.and_then(Value::as_array);
    let hash = |item| model(Some(item), &[("algo", as_is), ("value", as_is)]);
    items.map_or(Value::Null, |items| items.iter().map(hash).collect())
}

fn as_is(value: Option<&Value>) -> Value {
    value.cloned().unwrap_or_default()
}

fn model(value: Option<&Value>, known: &[(&str, Encode)]) -> Value {
    let Some(Value::Object(map)) = value else { return Value::Null };
    Value::Object(known.iter().map(|(name, encode)| ((*name).to_owned(), encode(map.get(*name)))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn absent_members_are_null_and_unknown_ones_vanish() {
        let resource = json!({"assets": {"uris": {"a": "b"}, "x": 1}, "other": 2});
        let expected =
            json!({"assets": {"uris": {"a": "b"}, "container": null}, "images": null, "cli": null});
        assert_eq!(resource_context(&resource, PackagingVersion::V4), expected);
        let context = resource_context(&resource, PackagingVersion::V2);
        assert!(context.get("cli").is_none(), "packaging version 2.0 has no CLI: {context}");
    }

    #[test]
    fn binaries_keep_what_the_model_knows() {
        let binary =
            json!({"kind": "zip", "url": "u", "contentHash": [{"algo": "sha256", "value": "v", "x": 1}]});
        let resource = json!({"cli": {"binaries": {"linux": {"x86-64": binary}}}});
        let context = resource_context(&resource, PackagingVersion::V3);
        assert_eq!(context["cli"]["binaries"]["windows"], json!(null));
        assert_eq!(
            context["cli"]["binaries"]["linux"]["x86-64"]["contentHash"],
            json!([{"algo": "sha256", "value": "v"}])
        );
    }
}
