//! Rendering as a whole: options, labels, and what goes wrong.

use data_encoding::BASE64;
use serde_json::{Map, Value, json};

use super::*;
use crate::marathon::labels::decoded;
use crate::model::{PackageName, PackageVersion};
use crate::universe::PackagingVersion;

fn definition(config: Option<Value>, template: &str) -> PackageDefinition {
    let fields = json!({
        "packagingVersion": "4.0", "name": "hello", "version": "1.0", "maintainer": "m@example.com",
        "description": "d", "tags": []
    });
    PackageDefinition {
        packaging_version: PackagingVersion::V4,
        name: PackageName::new("hello").unwrap(),
        version: PackageVersion::new("1.0").unwrap(),
        release_version: None,
        fields: fields.as_object().unwrap().clone(),
        resource: Some(json!({"assets": {"uris": {"a": "http://x/a"}}})),
        config,
        template: Some(template.to_owned()),
        command: None,
    }
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn rendered(config: &Value, template: &str, options: &Value) -> Result<Value, RenderError> {
    render_template(&definition(Some(config.clone()), template), &object(options), true)
}

fn violations(config: &Value, options: &Value) -> Vec<Violation> {
    validate(config, &object(options))
}

#[test]
fn defaults_come_from_properties_only() {
    let config = json!({
        "default": {"root": 1},
        "properties": {
            "a": {"default": 1},
            "b": {"default": null},
            "c": {"default": {"x": 1}, "properties": {"y": {"default": 2}}},
            "d": {"properties": {"e": {"properties": {"f": {"default": "deep"}}}, "g": {}}},
            "h": {"properties": {"i": {"type": "string"}}},
            "j": {"oneOf": [{"default": 3}]},
            "k": 5
        }
    });
    let expected = json!({"a": 1, "b": null, "c": {"x": 1}, "d": {"e": {"f": "deep"}}});
    assert_eq!(Value::Object(defaults(Some(&config))), expected);
    assert!(defaults(None).is_empty() && defaults(Some(&json!({"properties": []}))).is_empty());
}

#[test]
fn merging_is_deep_for_objects_only() {
    let mut base = object(&json!({"a": {"b": 1, "c": 2}, "l": [1, 2], "o": {"x": 1}, "s": 1}));
    merge(&mut base, &object(&json!({"a": {"b": 3, "d": 4}, "l": [5], "o": 7, "s": {"y": 1}, "n": null})));
    let expected = json!({"a": {"b": 3, "c": 2, "d": 4}, "l": [5], "o": 7, "s": {"y": 1}, "n": null});
    assert_eq!(Value::Object(base), expected);
}

#[test]
fn options_win_over_defaults_and_resource_over_options() {
    let config =
        json!({"properties": {"cpus": {"type": "number", "default": 1}, "resource": {"type": "object"}}});
    let template = r#"{"cpus": {{cpus}}, "uri": "{{resource.assets.uris.a}}", "mem": {{resource.mem}}}"#;
    let options = json!({"cpus": 0.5, "resource": {"mem": 32, "assets": {"uris": {"a": "mine"}}}});
    let app = rendered(&config, template, &options).unwrap();
    assert_eq!(app, json!({"cpus": 0.5, "uri": "http://x/a", "mem": 32}));
}

#[test]
fn violations_name_the_option_the_rule_and_the_remedy() {
    let config = json!({
        "$schema": "http://json-schema.org/schema#",
        "type": "object", "additionalProperties": false, "required": ["user"],
        "properties": {
            "user": {"type": "string"},
            "service": {"type": "object", "additionalProperties": false, "properties": {
                "cpus": {"type": "number", "minimum": 0.1, "default": 0, "description": "CPU shares"}, "mode": {"enum": ["a", "b"]}, "instances": {"type": "integer", "default": 1},
                "name": {"type": "string", "pattern": "^[a-z]+$"}
            }}
        }
    });
    let options =
        json!({"usr": "x", "service": {"cpu": 1, "cpus": 0, "mode": "c", "instances": "2", "name": "A"}});
    let found: Vec<_> = violations(&config, &options).iter().map(ToString::to_string).collect();
    let expected = [
        "\"user\" is required but missing (write it)",
        "\"usr\" is no known option (did you mean user?)",
        "/service: \"cpu\" is no known option (did you mean cpus?)",
        "/service/cpus: 0 is less than the minimum of 0.1 (it means: CPU shares)",
        "/service/instances: \"2\" is not of type \"integer\" (such as 1)",
        "/service/mode: \"c\" is not allowed (one of [\"a\",\"b\"])",
        "/service/name: \"A\" does not match \"^[a-z]+$\" (see the package's config.json)",
    ];
    for line in expected {
        assert!(found.iter().any(|f| f == line), "{line} in {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    let keywords: Vec<_> = violations(&config, &options).into_iter().map(|v| v.keyword).collect();
    assert!(
        keywords.contains(&"required".to_owned()) && keywords.contains(&"additionalProperties".to_owned())
    );
}

#[test]
fn whole_numbers_are_integers_however_they_are_written() {
    let config = json!({"properties": {"n": {"type": "integer", "maximum": 5}, "l": {"type": "integer"}}});
    let options = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(violations(&config, &options(r#"{"n": 2.0, "l": 1.7976931348623157E308}"#)), []);
    for large in ["1e19", "-1e19", "9007199254740993.0", "1e300", "18446744073709551616"] {
        assert_eq!(violations(&config, &options(&format!("{{\"l\": {large}}}"))), [], "{large}");
    }
    assert_eq!(violations(&config, &options(r#"{"n": 2.5}"#)).len(), 1);
    assert_eq!(violations(&config, &options(r#"{"n": 6.0}"#))[0].keyword, "maximum");
}

#[test]
fn draft_4_is_forced_whatever_the_schema_says() {
    // Draft 6 and later know no boolean `exclusiveMinimum`.
    for other in ["http://json-schema.org/draft-07/schema#", "http://example.com/none", "no uri"] {
        let config = json!({"$schema": other, "properties": {"n": {"minimum": 1, "exclusiveMinimum": true}}});
        assert_eq!(violations(&config, &json!({"n": 2})), [], "{other}");
        assert_eq!(violations(&config, &json!({"n": 1})).len(), 1, "{other}");
    }
}

#[test]
fn patterns_may_look_around() {
    let config = json!({"properties": {"n": {"pattern": "^(?!.*--)[a-z-]+$"}}});
    assert_eq!(violations(&config, &json!({"n": "a-b"})), []);
    assert_eq!(violations(&config, &json!({"n": "a--b"}))[0].keyword, "pattern");
}

#[test]
fn a_pattern_that_never_ends_is_a_violation() {
    let config = json!({"properties": {"n": {"pattern": "^(a+)+(?=b)\\1$"}}});
    assert_eq!(violations(&config, &json!({"n": "a".repeat(40)})).len(), 1);
}

#[test]
fn an_unusable_schema_is_one_clear_violation() {
    for config in [
        json!({"properties": {"n": {"pattern": "("}}}),
        json!({"properties": {"n": {"type": "strong"}}}),
        json!({"properties": {"n": {"required": false}}}),
        json!({"properties": {"n": {"$ref": "http://127.0.0.1:9/x"}}}),
    ] {
        let found = violations(&config, &json!({"n": "x"}));
        assert_eq!(found.len(), 1, "{config}: {found:?}");
        assert!(found[0].keyword == "schema" && found[0].message.contains("config.json"), "{}", found[0]);
    }
}

#[test]
fn unknown_keywords_do_no_harm() {
    let config = json!({
        "id": "no uri at all", "extraProperties": false, "type:": "x", "media": {"type": 5},
        "properties": {"id": {"type": "string", "id": "x y"}, "n": {"type": "integer", "media": 1}}
    });
    assert_eq!(violations(&config, &json!({"id": "a", "n": 1})), []);
    assert_eq!(violations(&config, &json!({"id": "a", "n": "1"})).len(), 1);
}

#[test]
fn validation_is_left_out_where_nothing_is_set() {
    let config = json!({"type": "object", "required": ["x"], "properties": {"x": {"type": "string"}}});
    assert_eq!(rendered(&config, "{}", &json!({})), Ok(json!({})));
    assert!(
        matches!(rendered(&config, "{}", &json!({"y": 1})), Err(RenderError::Options(v)) if v.len() == 1)
    );
    let error = rendered(&config, "{}", &json!({"x": 1})).unwrap_err();
    assert_eq!(error.label(), "InvalidOptions");
    assert!(error.to_string().contains("/x: 1 is not of type"), "{error}");
    let package = definition(Some(config), "{}");
    assert!(render_template(&package, &object(&json!({"x": 1})), false).is_ok());
}

#[test]
fn options_without_a_schema_are_refused() {
    let package = definition(None, "{}");
    let error = render_template(&package, &object(&json!({"a": 1, "b": 2})), true).unwrap_err();
    assert_eq!(error, RenderError::OptionsNotAllowed(vec!["a".into(), "b".into()]));
    assert!(render_template(&package, &Map::new(), true).is_ok());
}

#[test]
fn what_is_no_json_object_is_explained() {
    let none = json!({});
    let error = rendered(&none, "{\n  \"a\": {{x.y}},\n  \"b\": 1\n}", &none).unwrap_err();
    let RenderError::NotJson(details) = &error else { panic!("{error}") };
    assert_eq!((details.line, details.excerpt.as_str()), (2, "\"a\": ,"));
    assert_eq!(details.without_value, [("x.y".to_owned(), 2)]);
    assert!(error.to_string().contains("x.y (template line 2)"), "{error}");

    let config = json!({"properties": {"r": {"default": "[\"*\"]"}}});
    let error = rendered(&config, "{\"roles\": {{{r}}}}", &none).unwrap_err().to_string();
    assert!(error.contains("also by {{{name}}}"), "{error}");

    let error = rendered(&none, "{\n\"a\": 1,\n\n}", &none).unwrap_err();
    let RenderError::NotJson(details) = &error else { panic!("{error}") };
    assert_eq!(
        details.excerpt, "\"a\": 1, }",
        "the line above is shown where the fault is at a line's start"
    );

    assert_eq!(rendered(&none, "[]", &none), Err(RenderError::NotAnObject("an array")));
    assert_eq!(rendered(&none, "1", &none), Err(RenderError::NotAnObject("a single value")));
    assert_eq!(rendered(&none, "", &none).unwrap_err().label(), "RenderedNoJson");
    assert_eq!(rendered(&none, "{{#x}}", &none).unwrap_err().label(), "InvalidTemplate");
    let long = format!("{{\"ä\": \"{}\" x", "ä".repeat(5_000));
    assert!(rendered(&none, &long, &none).unwrap_err().to_string().chars().count() < 400);
}

#[test]
fn a_package_without_a_template_has_no_app() {
    let package = PackageDefinition { template: None, ..definition(None, "") };
    assert_eq!(render_template(&package, &Map::new(), true), Err(RenderError::NoTemplate));
}

fn request<'a>(package: &'a PackageDefinition, options: &'a Map<String, Value>) -> RenderRequest<'a> {
    RenderRequest {
        definition: package,
        release_version: 7,
        options,
        app_id: None,
        repository: "http://registry/repo",
        validate: true,
    }
}

#[test]
fn labels_are_those_of_cosmos() {
    let config = json!({"properties": {"a": {}, "d": {"default": 1}}});
    let template = r#"{"id": "x", "labels": {"OWN": "1", "DCOS_PACKAGE_NAME": "forged"}}"#;
    let package = definition(Some(config), template);
    let options = object(&json!({"a": {"b": null, "c": [null, {"d": null}]}}));
    let app = render(&request(&package, &options)).unwrap();
    let labels = app.get("labels").and_then(Value::as_object).unwrap();
    assert_eq!(labels.len(), 6);
    assert_eq!(app.label("OWN"), Some("1"));
    assert_eq!(app.label("DCOS_PACKAGE_NAME"), Some("hello"), "the package's own labels win");
    assert_eq!(app.label("DCOS_PACKAGE_VERSION"), Some("1.0"));
    assert_eq!(app.label("DCOS_PACKAGE_SOURCE"), Some("http://registry/repo"));
    let stored = decoded("DCOS_PACKAGE_OPTIONS", app.label("DCOS_PACKAGE_OPTIONS").unwrap());
    assert_eq!(
        stored,
        Some(json!({"a": {"c": [null, {}]}})),
        "user options only, members that are null dropped"
    );
    let text = BASE64.decode(app.label("DCOS_PACKAGE_DEFINITION").unwrap().as_bytes()).unwrap();
    let envelope: Value = serde_json::from_slice(&text).unwrap();
    let media = "application/vnd.dcos.universe.package+json;charset=utf-8;version=v4";
    assert_eq!(envelope["metadata"], json!({"Content-Type": media, "Content-Encoding": "gzip"}));
    let stored = decoded("DCOS_PACKAGE_DEFINITION", app.label("DCOS_PACKAGE_DEFINITION").unwrap()).unwrap();
    let stored = stored["data"].clone();
    assert_eq!(stored["releaseVersion"], 7);
    assert_eq!(PackageDefinition::from_metadata(&stored, None), Ok(package.clone()));
    assert_eq!(render(&request(&package, &options)).unwrap(), app, "the same input gives the same bytes");
}

#[test]
fn no_options_are_the_empty_object() {
    let package = definition(None, "{}");
    let app = render(&request(&package, &Map::new())).unwrap();
    assert_eq!(app.label("DCOS_PACKAGE_OPTIONS"), Some("e30="));
    assert_eq!(app.id(), None);
}

#[test]
fn an_app_id_replaces_the_templates() {
    let package = definition(None, r#"{"id": "/own", "labels": null}"#);
    let id = AppId::new("/demo/hello").unwrap();
    let options = Map::new();
    let app = render(&RenderRequest { app_id: Some(&id), ..request(&package, &options) }).unwrap();
    assert_eq!(app.id(), Some("/demo/hello"));
    assert_eq!(render(&request(&package, &options)).unwrap().id(), Some("/own"));
}

#[test]
fn labels_that_are_no_strings_are_refused() {
    for (labels, place) in [(r#"{"A": 1}"#, ".A"), (r#"{"A": null}"#, ".A"), ("[]", ""), ("\"x\"", "")] {
        let package = definition(None, &format!("{{\"labels\": {labels}}}"));
        let error = render(&request(&package, &Map::new())).unwrap_err();
        assert!(matches!(&error, RenderError::Labels { place: p, .. } if p == place), "{labels}: {error}");
    }
}
