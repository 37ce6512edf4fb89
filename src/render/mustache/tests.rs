//! The rules of mustache.java one by one. Expectations follow its source (`MustacheParser`, `BaseObjectHandler`,
//! `ReflectionObjectHandler`, `IterableCode`) and the corpus, not the mustache specification.

use serde_json::{Value, json};

use super::{DEEPEST, LARGEST, Rendered, Template, TemplateError};

fn rendered(template: &str, options: &Value) -> Result<Rendered, TemplateError> {
    Template::parse(template)?.render(options.as_object().unwrap())
}

/// Each case: template, options, text.
fn check(cases: &[(&str, Value, &str)]) {
    for (template, options, text) in cases {
        let result = rendered(template, options).unwrap_or_else(|e| panic!("{template:?}: {e}"));
        assert_eq!(result.text, *text, "{template:?} with {options}");
    }
}

fn fault(template: &str) -> TemplateError {
    rendered(template, &json!({})).expect_err(template)
}

#[test]
fn values_are_never_escaped_again() {
    let options = json!({"x": "<a & \"b\">"});
    check(&[
        ("{{x}}", options.clone(), r#"<a & \"b\">"#),
        ("{{{x}}}", options.clone(), r#"<a & \"b\">"#),
        ("{{&x}}", options.clone(), r#"<a & \"b\">"#),
        ("{{ x }}-{{{ x }}}-{{& x }}", json!({"x": 1}), "1-1-1"),
    ]);
}

#[test]
fn what_is_missing_or_null_is_the_empty_string() {
    check(&[
        ("[{{x}}]", json!({}), "[]"),
        ("[{{x}}]", json!({"x": null}), "[]"),
        ("[{{x.y.z}}]", json!({"x": {"y": null}}), "[]"),
        ("[{{x}}]", json!({"x": false}), "[false]"),
        ("[{{x}}]", json!({"x": ""}), "[]"),
    ]);
}

#[test]
fn lists_and_maps_print_as_java_prints_them() {
    check(&[
        ("{{x}}", json!({"x": [1, "a", true, ["b"]]}), r#"[1, "a", true, ["b"]]"#),
        ("{{x}}", json!({"x": []}), "[]"),
        ("{{x}}", json!({"x": {"k": "v", "n": null}}), "{k=v, n=null}"),
        ("{{x}}", json!({"x": [{"k": "v"}]}), "[{k=v}]"),
    ]);
}

#[test]
fn falsy_values_leave_sections_out() {
    for falsy in [json!(null), json!(false), json!(""), json!([])] {
        check(&[("{{#x}}yes{{/x}}{{^x}}no{{/x}}", json!({"x": falsy}), "no")]);
    }
    check(&[("{{#x}}yes{{/x}}{{^x}}no{{/x}}", json!({}), "no")]);
    for truthy in [json!(true), json!(0), json!({}), json!("false"), json!([0]), json!(0.5)] {
        check(&[("{{#x}}yes{{/x}}{{^x}}no{{/x}}", json!({"x": truthy}), "yes")]);
    }
}

#[test]
fn sections_iterate_lists_and_push_everything_else() {
    check(&[
        ("{{#x}}{{.}},{{/x}}", json!({"x": [1, 2, 3]}), "1,2,3,"),
        ("{{#x}}{{.}},{{/x}}", json!({"x": ["a", "b"]}), "\"a\",\"b\","),
        ("{{#x}}{{y}}{{/x}}", json!({"x": {"y": "in"}, "y": "out"}), "in"),
        ("{{#x}}{{z}}{{/x}}", json!({"x": {"y": "in"}, "z": "out"}), "out"),
        ("{{#x}}{{.}}{{/x}}", json!({"x": "text"}), "text"),
        ("{{#x}}{{y}}{{/x}}", json!({"x": true, "y": "out"}), "out"),
        ("{{#x}}{{#y}}{{.}}{{/y}};{{/x}}", json!({"x": [{"y": [1, 2]}, {"y": []}]}), "12;;"),
        ("{{#x}}{{n}}{{/x}}", json!({"x": [{"n": 1}, {"n": 2}]}), "12"),
        ("{{#x}}{{.}}{{/x}}", json!({"x": [[1, 2], [3]]}), "[1, 2][3]"),
    ]);
}

#[test]
fn null_elements_are_visited_but_are_no_scope() {
    check(&[
        ("{{#x}}({{y}}){{/x}}", json!({"x": [null, {"y": 1}], "y": 0}), "(0)(1)"),
        ("{{#s}}{{#x}}{{.}}{{/x}}{{/s}}", json!({"s": "outer", "x": [null]}), "outer"),
    ]);
}

#[test]
fn an_inverted_section_pushes_nothing() {
    check(&[("{{#a}}{{^x}}{{.}}{{/x}}{{/a}}", json!({"a": "scope", "x": []}), "scope")]);
}

#[test]
fn the_whole_dotted_name_is_tried_as_a_key_first() {
    check(&[
        ("{{a.b}}", json!({"a.b": "literal", "a": {"b": "nested"}}), "literal"),
        ("{{a.b}}", json!({"a": {"b": "nested"}}), "nested"),
        ("{{a.b.c}}", json!({"a": {"b": {"c": 1}}}), "1"),
        ("{{a.b.c}}", json!({"a": {"b.c": 1}}), ""),
    ]);
}

#[test]
fn outer_scopes_are_asked_only_until_the_path_was_found() {
    let outer = json!({"a": {"b": {"c": "outer"}, "d": "outer"}, "in": {"a": {"x": 1}}});
    check(&[
        // The last part is missing in the inner `a`: the outer one is not asked.
        ("{{#in}}{{a.d}}{{/in}}", outer.clone(), ""),
        // A part before it is missing there: it is.
        ("{{#in}}{{a.b.c}}{{/in}}", outer, "outer"),
        ("{{#in}}{{a}}{{/in}}", json!({"a": "outer", "in": {"a": null}}), ""),
        ("{{#in}}{{a.b}}{{/in}}", json!({"a": {"b": "outer"}, "in": {"a": null}}), ""),
    ]);
}

#[test]
fn lists_and_strings_have_the_members_that_java_reflection_finds() {
    check(&[
        ("{{x.isEmpty}}", json!({"x": []}), "true"),
        ("{{x.isEmpty}}", json!({"x": [1]}), "false"),
        ("{{^x.isEmpty}}some{{/x.isEmpty}}", json!({"x": [1]}), "some"),
        ("{{#x.isEmpty}}none{{/x.isEmpty}}", json!({"x": []}), "none"),
        ("{{x.empty}} {{x.size}}", json!({"x": [1, 2]}), "false 2"),
        ("{{x.isEmpty}} {{x.length}}", json!({"x": "a\"ä"}), "false 4"),
        ("{{#x.isEmpty}}none{{/x.isEmpty}}", json!({"x": ""}), "none"),
        // Maps offer their keys only.
        ("[{{x.isEmpty}}{{x.size}}]", json!({"x": {}}), "[]"),
        ("{{x.size}}", json!({"x": {"size": "key"}}), "key"),
        ("[{{x.isEmpty}}]", json!({"x": 5}), "[]"),
        // A string that is a scope hides outer names that Java finds on it.
        ("{{#s}}{{length}}{{/s}}", json!({"s": "abc", "length": "outer"}), "3"),
    ]);
}

#[test]
fn comments_and_pragmas_print_nothing() {
    check(&[
        ("a{{! x }}b", json!({}), "ab"),
        ("a{{! one\ntwo }}b{{x}}", json!({}), "ab"),
        ("a{{%implicit-iterator x}}b", json!({}), "ab"),
        ("{{!\n}}{{x}}", json!({}), ""),
    ]);
}

#[test]
fn delimiters_can_change_and_change_back() {
    check(&[
        ("{{=<% %>=}}<% x %>{{x}}<%={{ }}=%>{{x}}", json!({"x": 1}), "1{{x}}1"),
        ("{{=| |=}}|x|{{x}}", json!({"x": 1}), "1{{x}}"),
        ("{{=<% %>=}}<%{x}%>", json!({"x": 1}), "1"),
        ("{{=<% %>=}}<%#x%><%.%><%/x%>", json!({"x": [1, 2]}), "12"),
        // A change inside of a section ends with it.
        ("{{#x}}{{=<% %>=}}<%.%><%/x%>{{y}}", json!({"x": [1], "y": 2}), "12"),
    ]);
}

#[test]
fn carriage_returns_vanish() {
    check(&[("a\r\nb\r", json!({}), "a\nb"), ("{{#x}}\r\n1\r\n{{/x}}\r\n2", json!({"x": true}), "1\n2")]);
}

#[test]
fn lines_that_hold_only_a_section_tag_vanish() {
    check(&[
        ("{\n  {{#x}}\n  1\n  {{/x}}\n}", json!({"x": true}), "{\n  1\n}"),
        ("{\n  {{#x}}\n  1\n  {{/x}}\n}", json!({"x": false}), "{\n}"),
        ("a {{#x}}\nb{{/x}}\nc", json!({"x": true}), "a b\nc"),
        ("{{#x}}b{{/x}}\nc", json!({"x": true}), "b\nc"),
        ("  {{#x}}b{{/x}}\nc", json!({"x": true}), "  b\nc"),
        // White space before a closing tag goes with it, even on the line of the opening one.
        ("{{#x}} {{/x}}.", json!({"x": true}), "."),
        ("{{#x}}a {{/x}}.", json!({"x": true}), "a ."),
        // A value does not count as text of its line.
        ("{{#x}}{{y}}\n{{/x}}.", json!({"x": true, "y": 1}), "1."),
    ]);
}

#[test]
fn braces_that_open_no_tag_are_text() {
    check(&[
        ("{ {a} }}", json!({}), "{ {a} }}"),
        ("{\"a\": {\"b\": {{x}}}}", json!({"x": 1}), "{\"a\": {\"b\": 1}}"),
        ("{{x}y}}", json!({"x}y": 1}), "1"),
        ("{", json!({}), "{"),
    ]);
}

#[test]
fn a_blank_before_the_sigil_makes_it_a_name() {
    check(&[("[{{ #x }}]", json!({"x": true}), "[]"), ("{{ #x }}", json!({"#x": 1}), "1")]);
}

#[test]
fn a_block_prints_its_own_text() {
    check(&[("{{$title}}a{{x}}{{/title}}", json!({"x": 1}), "a1")]);
}

#[test]
fn as_json_inserts_a_string_of_the_top_level() {
    let options = json!({"x": "[\"a\", 1]", "n": 1, "o": {"x": "inner"}, "t": "{{n}}"});
    check(&[
        ("{{#asJson}}x{{/asJson}}", options.clone(), "[\"a\", 1]"),
        ("{{#asJson}}n{{/asJson}}", options.clone(), "null"),
        ("{{#asJson}}o.x{{/asJson}}", options.clone(), "null"),
        ("{{#asJson}} x{{/asJson}}", options.clone(), "null"),
        ("{{#o}}{{#asJson}}x{{/asJson}}{{/o}}", options.clone(), "[\"a\", 1]"),
        // The text is a template of its own.
        ("{{#asJson}}t{{/asJson}}", options.clone(), "1"),
        ("{{#asJson}}{{n}}{{/asJson}}", options.clone(), "null"),
        ("{{asJson}}{{^asJson}}no{{/asJson}}", options, "null"),
    ]);
}

#[test]
fn as_json_cannot_call_itself_for_ever() {
    let options = json!({"x": "{{#asJson}}x{{/asJson}}"});
    let error = rendered("{{#asJson}}x{{/asJson}}", &options).unwrap_err();
    assert!(error.message.contains("deeper"), "{error}");
    let error = rendered("\n{{#asJson}}x{{/asJson}}", &json!({"x": "{{#a}}"})).unwrap_err();
    assert_eq!((error.line, error.message.contains("option x")), (2, true), "{error}");
}

#[test]
fn faults_tell_their_line() {
    for (template, line, word) in [
        ("a\n{{#x}}\nb\n", 2, "never closed"),
        ("a\n{{#x}}\n{{/y}}", 3, "x of line 2 is open"),
        ("\n\n{{/y}}", 3, "no section is open"),
        ("\n{{x", 2, "never closed by }}"),
        ("\n{{#x", 2, "never closed by }}"),
        ("\n{{}}", 2, "empty"),
        ("\n{{> other}}", 2, "partials"),
        ("\n{{< parent}}{{/parent}}", 2, "partials"),
        ("\n{{{x}} }", 2, "}}}"),
        ("\n{{=<<< %>=}}", 2, "delimiters"),
        ("\n{{= =}}", 2, "delimiters"),
        ("{{! a\nb }}\n{{>x}}", 3, "partials"),
    ] {
        let error = fault(template);
        assert!(error.line == line && error.message.contains(word), "{template:?}: {error}");
    }
}

#[test]
fn nesting_steps_and_size_are_bounded() {
    let deep = format!("{}{}", "{{#x}}".repeat(DEEPEST + 1), "{{/x}}".repeat(DEEPEST + 1));
    assert!(fault(&deep).message.contains("deeper"));
    let fitting = format!("{}{}", "{{#x}}".repeat(DEEPEST), "{{/x}}".repeat(DEEPEST));
    assert!(rendered(&fitting, &json!({"x": 1})).is_ok());

    let list: Vec<u8> = vec![0; 100];
    let many = "{{#x}}{{#x}}{{#x}}{{#x}}{{/x}}{{/x}}{{/x}}{{/x}}";
    assert!(rendered(many, &json!({"x": list})).unwrap_err().message.contains("steps"));

    let text = "x".repeat(LARGEST / 100);
    let large = rendered("{{#x}}{{t}}{{t}}{{/x}}", &json!({"x": list, "t": text})).unwrap_err();
    assert!(large.message.contains("MiB"), "{large}");
}

#[test]
fn names_without_a_value_are_remembered_once() {
    let result = rendered("{{a}}\n{{b.c}}{{a}}{{#d}}{{e}}{{/d}}{{n}}", &json!({"b": {}, "n": null})).unwrap();
    let expected = [("a".to_owned(), 1), ("b.c".to_owned(), 2), ("n".to_owned(), 2)];
    assert_eq!(result.without_value, expected);
}

proptest::proptest! {
    /// Whatever strangers write: an answer, a fault, never a panic.
    #[test]
    fn any_text_is_answered(pieces in proptest::collection::vec(
        proptest::sample::select(vec![
            "{{", "}}", "{", "}", "#", "^", "/", "$", "=", "!", "&", "%", "<% %>", "<%", "%>", ".", "x", "x.isEmpty",
            "asJson", " ", "\n", "\r", "ä", "\"", "{{#x}}", "{{/x}}", "{{.}}", "{{{x}}}", "{{#asJson}}t{{/asJson}}",
        ]),
        0..40,
    )) {
        let options = json!({"x": [1, null, "a", {"x": {"y": [[]]}}], "t": "{{#x}}", "": 1, ".": 2});
        let text = pieces.concat();
        if let Err(error) = rendered(&text, &options) {
            let lines = text.matches('\n').count() + 1;
            proptest::prop_assert!((1..=lines).contains(&error.line), "{error} in {text:?}");
        }
    }
}
