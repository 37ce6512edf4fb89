//! Tests of the trees: lines, YAML 1.2 words, budgets, faults.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::json;

use super::load::Loaded;
use super::*;
use crate::model::SnapshotPath;

fn read(text: &str) -> Loaded {
    load(&SnapshotPath::root().join("a.yaml").unwrap(), text)
}

fn only(text: &str) -> Node {
    let mut loaded = read(text);
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.documents.len(), 1);
    loaded.documents.remove(0).root
}

fn faults(text: &str) -> Vec<String> {
    read(text).problems.iter().map(ToString::to_string).collect()
}

#[test]
fn keys_and_values_know_their_lines() {
    let root = only("# head\na: 1\nb:\n  - x\n  - y: |\n      many\n      lines\n    z: 2\n");
    let Data::Map(entries) = &root.data else { panic!() };
    assert_eq!(entries.iter().map(|e| e.line).collect::<Vec<_>>(), [2, 3]);
    let Data::List(items) = &entries[1].value.data else { panic!() };
    let Data::Map(inner) = &items[1].data else { panic!() };
    assert_eq!(inner.iter().map(|e| e.line).collect::<Vec<_>>(), [5, 8]);
    assert_eq!(root.to_json(), json!({"a": 1, "b": ["x", {"y": "many\nlines\n", "z": 2}]}));
}

#[test]
fn json_takes_the_same_way() {
    let text = "{\n\t\"a\": [1, -2.5e3, true, null, \"\\u00e4\\n\\/\"],\n\t\"b\": {\"c\": {}}\n}\n";
    let root = only(text);
    assert_eq!(root.to_json(), serde_json::from_str::<serde_json::Value>(text).unwrap());
    let Data::Map(entries) = &root.data else { panic!() };
    assert_eq!(entries[1].line, 3);
}

#[test]
fn several_documents_count_and_empty_ones_vanish() {
    let loaded = read("\u{feff}a: 1\n---\n# nothing\n---\nb: 2\n...\n---\n~\n");
    assert_eq!(loaded.problems, []);
    let seen: Vec<_> = loaded.documents.iter().map(|d| (d.index, d.root.line)).collect();
    assert_eq!(seen, [(0, 1), (2, 5)]);
    assert!(read("").documents.is_empty() && read("# only a comment\n").documents.is_empty());
}

#[test]
fn aliases_are_expanded() {
    let root = only("a: &x {k: [1]}\nb: *x\n");
    assert_eq!(root.to_json(), json!({"a": {"k": [1]}, "b": {"k": [1]}}));
    assert_eq!(root.get("b").unwrap().line, 2);
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..30 {
        let list = vec![format!("*a{}", i - 1); 10].join(", ");
        writeln!(text, "a{i}: &a{i} [{list}]").unwrap();
    }
    let loaded = read(&text);
    assert!(loaded.cut_short);
    assert_eq!(loaded.problems.len(), 1);
    assert_eq!(loaded.problems[0].message, "the aliases make the file too large");
    assert!(loaded.problems[0].line.is_some_and(|line| line < 10));
}

#[test]
fn aliases_cannot_nest_beyond_the_depth() {
    let mut text = String::from("a0: &a0 [x]\n");
    for i in 1..80 {
        writeln!(text, "a{i}: &a{i} [*a{}]", i - 1).unwrap();
    }
    assert_eq!(faults(&text), ["a.yaml:64: a63[0]: nested deeper than 64 levels"]);
}

#[test]
fn nesting_is_bounded_in_both_styles() {
    assert!(faults(&"[".repeat(200))[0].starts_with("a.yaml:1: "), "flow");
    let block: String = (0..100).fold(String::new(), |text, i| format!("{text}{}k:\n", " ".repeat(i)));
    assert!(faults(&block)[0].ends_with("nested deeper than 64 levels"), "block");
}

#[test]
fn a_key_given_twice_names_both_lines() {
    assert_eq!(
        faults("a: 1\nb:\n  c: 1\n  c: 2\n"),
        ["a.yaml:4: b: the key c is given twice, first on line 3 (remove one of them)"]
    );
    assert_eq!(faults("{\"a\": 1, \"a\": 1}").len(), 1);
}

#[test]
fn odd_keys_tags_and_numbers_say_what_to_write() {
    for (text, message) in [
        ("x:\n  <<: {a: 1}\n", "a.yaml:2: x: merge keys (<<) are not supported (write the keys out)"),
        ("1: a\n", "a.yaml:1: the key 1 is a number, not text (write \"1\")"),
        ("true: a\n", "a.yaml:1: the key true is not text (write \"true\")"),
        ("? [a]\n: b\n", "a.yaml:1: a key must be text (write key: value; quote text with { or [)"),
        ("a: !secret b\n", "a.yaml:1: a: the tag does not fit \"b\" (leave the tag out)"),
        ("a: !!set {b}\n", "a.yaml:1: a: the tag has no meaning here (leave the tag out)"),
        ("a: .inf\n", "a.yaml:1: a: .inf is no number that JSON knows (write a finite number or \".inf\")"),
        ("a: &x [*x]\n", "a.yaml:1: a[0]: the alias names nothing that ends before it (write the value out)"),
    ] {
        assert_eq!(faults(text), [message], "{text}");
    }
    assert_eq!(only("\"<<\": 1\n").to_json(), json!({"<<": 1}));
}

#[test]
fn a_syntax_error_does_not_hide_the_next_document() {
    let loaded = read("a: 1\n---\nb: [1\n---\nc: 2\nc: 3\n");
    assert!(loaded.cut_short);
    assert_eq!(loaded.documents.iter().map(|d| d.root.line).collect::<Vec<_>>(), [1, 5]);
    assert_eq!(loaded.problems.len(), 2, "{:?}", loaded.problems);
    assert_eq!(loaded.problems[1].line, Some(6));
}

#[test]
fn tabs_are_named() {
    let loaded = read("a:\n\tb: 1\n");
    assert_eq!(loaded.problems[0].line, Some(2), "{:?}", loaded.problems);
    assert_eq!(loaded.problems[0].suggestion, "indent with spaces, not with tabs");
}

#[test]
fn a_flood_of_faults_is_cut() {
    assert_eq!(faults(&"a: 1\n".repeat(5000)).len(), 100);
    assert!(faults(&"--- ]\n".repeat(5000)).len() <= 101);
}

proptest! {
    #[test]
    fn random_text_never_panics(text in "\\PC{0,200}") {
        read(&text);
    }

    #[test]
    fn yaml_shaped_text_never_panics(text in "([-:?,&*!|>'\"%#@`{}\\[\\]\\\\ \t\nab1~.<]|--- |\\.\\.\\.|\r\n){0,120}") {
        read(&text);
    }
}
