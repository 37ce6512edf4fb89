//! A file's text as documents, each a tree.

use saphyr_parser::{Event, Parser, ScanError};

use super::build::{Builder, MOST_PROBLEMS};
use super::{Data, Node};
use crate::model::{Problem, SnapshotPath};

/// One document of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Which one of the file, counted from 0; empty ones count.
    pub index: usize,
    /// Its tree.
    pub root: Node,
}

/// What a file holds.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The documents that could be read; empty ones are left out.
    pub documents: Vec<Document>,
    /// Whether the file may hold documents that could not be read.
    pub cut_short: bool,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// Reads a file's text. After a fault that stops the parser it goes on at the next `---`, so that one
/// document's fault does not hide another's.
pub fn load(file: &SnapshotPath, text: &str) -> Loaded {
    let mut loaded = Loaded::default();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut skipped, mut index) = (0, 0);
    while let Some(begun) = load_until_fault(file, rest, skipped, &mut index, &mut loaded) {
        loaded.cut_short = true;
        if loaded.problems.len() >= MOST_PROBLEMS {
            break;
        }
        let Some((lines, next)) = next_marker(rest, begun) else { break };
        skipped += lines;
        rest = next;
        index += 1;
    }
    // The parser looks ahead: a fault can show up both before its document and in it.
    loaded.problems.dedup();
    loaded
}

/// Reads documents up to the end (none) or to a fault that stops the parser. Returns where in the text
/// the faulty document began, as a number of lines.
fn load_until_fault(
    file: &SnapshotPath,
    text: &str,
    skipped: usize,
    index: &mut usize,
    loaded: &mut Loaded,
) -> Option<usize> {
    let mut builder = Builder::new(file, &mut loaded.problems);
    let mut parser = Parser::new_from_str(text);
    let mut begun = 1;
    loop {
        let (event, span) = match parser.next_event() {
            None | Some(Ok((Event::StreamEnd, _))) => return None,
            Some(Ok(event)) => event,
            Some(Err(error)) => {
                report_syntax(&mut builder, &error, skipped, text);
                return Some(begun);
            }
        };
        let line = span.start.line().max(1);
        if let Event::DocumentStart(_) = event {
            begun = line;
        } else if event == Event::DocumentEnd {
            let root = builder.end_document().filter(|root| root.data != Data::Null);
            loaded.documents.extend(root.map(|root| Document { index: *index, root }));
            *index += 1;
        } else if builder.take(event, skipped + line).is_err() {
            return Some(begun);
        }
    }
}

/// Reports what the parser says.
fn report_syntax(builder: &mut Builder<'_>, error: &ScanError, skipped: usize, text: &str) {
    // A fault at the end may be reported on the line after the last one.
    let line = error.marker().line().min(text.lines().count()).max(1);
    let content = text.lines().nth(line - 1).unwrap_or_default();
    let indent = &content[..content.len() - content.trim_start().len()];
    let suggestion = if indent.contains('\t') { "indent with spaces, not with tabs" } else { "" };
    builder.report(skipped + line, format!("syntax error: {}", error.info()), suggestion);
}

/// The text from the first document marker below a line (counted from 1), and how many lines lie above it.
/// A `---` at the beginning of a line always ends a document, also inside quotes and brackets.
fn next_marker(text: &str, line: usize) -> Option<(usize, &str)> {
    let mut offset = 0;
    for (number, content) in text.split_inclusive('\n').enumerate() {
        let after = content.strip_prefix("---");
        if number >= line
            && after.is_some_and(|after| after.trim_start().len() < after.len() || after.is_empty())
        {
            return Some((number, &text[offset..]));
        }
        offset += content.len();
    }
    None
}
