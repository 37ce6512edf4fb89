//! YAML as JSON, with anchors and `<<` (this mapping, with some members changed), and no key twice.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: BTreeMap<usize, Value>,
    line: usize,
}

/// The one document of a text.
///
/// # Errors
/// What is wrong, with the line.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: BTreeMap::new(), line: 0 };
    loop {
        match reader.next()? {
            Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
            event => return reader.value(event).map_err(|e| format!("line {}: {e}", reader.line)),
        }
    }
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Event<'a>, String> {
        let (event, span) = self.parser.next_event().ok_or("ends too early")?.map_err(|e| e.to_string())?;
        self.line = span.start.line();
        Ok(event)
    }

    fn value(&mut self, event: Event<'a>) -> Result<Value, String> {
        let (anchor, value) = match event {
            Event::Alias(anchor) => return self.anchors.get(&anchor).cloned().ok_or("unknown alias".into()),
            Event::Scalar(text, style, anchor, _) => (anchor, scalar(&text, style)),
            Event::SequenceStart(anchor, _) => (anchor, self.list()?),
            Event::MappingStart(anchor, _) => (anchor, self.map()?),
            other => return Err(format!("unexpected {other:?}")),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn list(&mut self) -> Result<Value, String> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Value::Array(items)),
                event => items.push(self.value(event)?),
            }
        }
    }

    fn map(&mut self) -> Result<Value, String> {
        let (mut base, mut map) = (Map::new(), Map::new());
        loop {
            let key = match self.next()? {
                Event::MappingEnd => break,
                Event::Scalar(key, ..) => key.into_owned(),
                other => return Err(format!("a key must be a text, not {other:?}")),
            };
            let event = self.next()?;
            let value = self.value(event)?;
            if key == "<<" {
                base = value.as_object().cloned().ok_or("<< must name a mapping")?;
            } else if map.insert(key.clone(), value).is_some() {
                return Err(format!("the key {key} is there twice"));
            }
        }
        base.extend(map);
        Ok(Value::Object(base))
    }
}

/// An unquoted word is null, true, false or a number where it looks like one.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return text.into();
    }
    match serde_json::from_str(text) {
        Ok(value @ (Value::Null | Value::Bool(_) | Value::Number(_))) => value,
        _ if matches!(text, "" | "~") => Value::Null,
        _ => text.into(),
    }
}

#[test]
fn tables_are_read_and_slips_are_seen() {
    let text = "a: &x {b: 1, c: [x, 'true', true, ~]}\nd: {<<: *x, b: 2}";
    let read = serde_json::json!({"a": {"b": 1, "c": ["x", "true", true, null]},
        "d": {"b": 2, "c": ["x", "true", true, null]}});
    assert_eq!(parse(text), Ok(read));
    assert!(parse("a: 1\na: 2").unwrap_err().contains("twice"));
    let row = |rest: &str| {
        let text = format!("upstream: x\nrows:\n  - says: s\n    post: {{id: a}}\n    {rest}");
        super::row::Table::of(parse(&text).unwrap()).map(|_| ())
    };
    assert_eq!(row("then: {has: {/id: /a}}"), Ok(()));
    assert!(row("than: {has: {/id: /a}}").unwrap_err().contains("than"));
    assert!(row("then: {hass: {/id: /a}}").unwrap_err().contains("hass"));
    assert!(row("normalize: {id: a}").unwrap_err().contains("exactly one"));
}
