//! What is wrong with text that was meant to be JSON, in words that say what to do.
//!
//! The samples of the documents hold such faults, and people copy them: a quotation mark that stands alone, and
//! braces that were lost when a page was printed.

use serde::de::IgnoredAny;

use crate::model::{Problem, SnapshotPath};

/// The first fault of a text that looks like JSON; none where it does not, or has no fault as JSON.
pub fn diagnose(file: &SnapshotPath, text: &str) -> Option<Problem> {
    let text = text.trim_start_matches('\u{feff}');
    if !text.trim_start().starts_with(['{', '"']) {
        return None;
    }
    let error = serde_json::from_str::<IgnoredAny>(text).err()?;
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or(&said);
    let problem = Problem::of_file(file, format!("not valid JSON: {said} in column {}", error.column()));
    let scan = Scan::of(text);
    // A mark without a partner also confuses all that is counted after it.
    if let Some(line) = scan.alone {
        return Some(
            problem.at_line(line).suggest("a quotation mark on this line has no partner; remove it"),
        );
    }
    let advice = if text.trim_start().starts_with('"') {
        format!("write {{ before the first key, and {} after the last", "}".repeat(scan.open + 1))
    } else if error.is_eof() && scan.open > 0 {
        format!("write {} at the end", "}".repeat(scan.open))
    } else if said.contains("expected `,`") {
        "a comma or a closing } is missing before this place".to_owned()
    } else {
        String::new()
    };
    Some(problem.at_line(error.line()).suggest(advice))
}

/// What counting shows.
struct Scan {
    /// The first line on which text begins and does not end; JSON's texts end on their line.
    alone: Option<usize>,
    /// How many braces were opened and not closed.
    open: usize,
}

impl Scan {
    fn of(text: &str) -> Self {
        let mut scan = Self { alone: None, open: 0 };
        for (index, line) in text.lines().enumerate() {
            let (mut inside, mut escaped) = (false, false);
            for c in line.chars() {
                match c {
                    _ if escaped => escaped = false,
                    '\\' if inside => escaped = true,
                    '"' => inside = !inside,
                    '{' if !inside => scan.open += 1,
                    '}' if !inside => scan.open = scan.open.saturating_sub(1),
                    _ => {}
                }
            }
            if inside {
                scan.alone = scan.alone.or(Some(index + 1));
            }
        }
        scan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Option<String> {
        let file = SnapshotPath::from("o.json".to_owned());
        diagnose(&file, text).map(|problem| problem.to_string())
    }

    #[test]
    fn what_is_no_json_or_good_json_is_left_alone() {
        assert_eq!(said("storage: {"), None);
        assert_eq!(said("{\"a\": \"\\\"\"}"), None);
    }

    #[test]
    fn each_fault_says_what_to_write() {
        for (text, line, advice) in [
            ("{\n\"a\": 1\n\"\n}", 3, "a quotation mark on this line has no partner; remove it"),
            ("{\n\"a\": {\"b\": 1", 2, "write }} at the end"),
            ("\"a\": {\n\"b\": 1", 1, "write { before the first key, and }} after the last"),
            ("{\"a\": 1\n\"b\": 2}", 2, "a comma or a closing } is missing before this place"),
        ] {
            let said = said(text).unwrap();
            assert!(said.starts_with(&format!("o.json:{line}: not valid JSON: ")), "{said}");
            assert!(said.ends_with(&format!("({advice})")), "{said}");
        }
    }
}
