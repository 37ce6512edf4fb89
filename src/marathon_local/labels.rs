//! Label selectors: `a==b, c in (d, e), f`. Pure.
//!
//! Source: `api/v2/LabelSelector.scala` of mesosphere/marathon. All conditions must hold; `!=` and `notin` hold only
//! where the label exists. Characters other than letters, digits and `._-` are escaped with a backslash.

use std::iter::Peekable;
use std::str::Chars;

use crate::model::App;

/// Conditions that must all hold.
#[derive(Debug, PartialEq, Eq)]
pub struct Selectors(Vec<Selector>);

#[derive(Debug, PartialEq, Eq)]
struct Selector {
    key: String,
    wanted: Wanted,
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Exists,
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Selectors {
    /// Reads a query.
    ///
    /// # Errors
    /// In the words of Marathon, with what was found instead of what.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { rest: text.chars().peekable() };
        let read = parser.selectors();
        read.map_err(|reason| format!("Can not parse label selector {text}. Reason: {reason}"))
    }

    /// Whether all conditions hold for an app.
    pub fn fit(&self, app: &App) -> bool {
        self.0.iter().all(|selector| match (app.label(&selector.key), &selector.wanted) {
            (None, _) => false,
            (Some(_), Wanted::Exists) => true,
            (Some(value), Wanted::In(values)) => values.iter().any(|v| v == value),
            (Some(value), Wanted::NotIn(values)) => values.iter().all(|v| v != value),
        })
    }
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Parser<'_> {
    fn selectors(&mut self) -> Result<Selectors, String> {
        let mut selectors = Vec::new();
        if self.peek().is_none() {
            return Ok(Selectors(selectors));
        }
        loop {
            selectors.push(self.selector()?);
            match self.peek() {
                None => return Ok(Selectors(selectors)),
                Some(',') => drop(self.rest.next()),
                Some(other) => return Err(format!("end of input or ',' expected but {other:?} found")),
            }
        }
    }

    fn selector(&mut self) -> Result<Selector, String> {
        let key = self.term()?;
        let wanted = match self.peek() {
            None | Some(',') => Wanted::Exists,
            Some(first @ ('=' | '!')) => {
                self.rest.next();
                if self.rest.next() != Some('=') {
                    return Err(format!("'==' or '!=' expected after {key:?}"));
                }
                let value = vec![self.term()?];
                if first == '=' { Wanted::In(value) } else { Wanted::NotIn(value) }
            }
            Some(_) => match self.term()?.as_str() {
                "in" => Wanted::In(self.set()?),
                "notin" => Wanted::NotIn(self.set()?),
                other => return Err(format!("'in' or 'notin' expected but {other:?} found")),
            },
        };
        Ok(Selector { key, wanted })
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        self.expect('(')?;
        let mut values = Vec::new();
        if self.peek() == Some(')') {
            self.rest.next();
            return Ok(values);
        }
        loop {
            values.push(self.term()?);
            match self.peek() {
                Some(',') => drop(self.rest.next()),
                _ => break,
            }
        }
        self.expect(')')?;
        Ok(values)
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        match self.peek() {
            Some(found) if found == wanted => {
                self.rest.next();
                Ok(())
            }
            Some(found) => Err(format!("{wanted:?} expected but {found:?} found")),
            None => Err(format!("{wanted:?} expected but end of source found")),
        }
    }

    fn term(&mut self) -> Result<String, String> {
        let mut term = String::new();
        self.peek();
        while let Some(next) = self.rest.peek().copied() {
            match next {
                '\\' => {
                    self.rest.next();
                    term.extend(self.rest.next());
                }
                c if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') => {
                    self.rest.next();
                    term.push(c);
                }
                _ => break,
            }
        }
        match (term.is_empty(), self.rest.peek()) {
            (false, _) => Ok(term),
            (true, Some(found)) => Err(format!("a label or value expected but {found:?} found")),
            (true, None) => Err("a label or value expected but end of source found".to_owned()),
        }
    }

    /// The next character that is no white space.
    fn peek(&mut self) -> Option<char> {
        while self.rest.peek().is_some_and(|c| c.is_whitespace()) {
            self.rest.next();
        }
        self.rest.peek().copied()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fits(query: &str) -> bool {
        let app =
            App::from_value(json!({"labels": {"env": "prod", "tier": "web", "!!": "---", "a.b": "x_y"}}));
        Selectors::parse(query).unwrap().fit(&app.unwrap())
    }

    #[test]
    fn conditions_hold_as_marathon_has_them() {
        for query in [
            "",
            "env",
            "env==prod",
            "env == prod, tier!=db",
            "env in (test, prod)",
            "env notin(test)",
            "env in (prod),tier,a.b==x_y",
            r"\!\! in (\-\-\-, \&)",
            "tier notin ()",
        ] {
            assert!(fits(query), "{query}");
        }
        for query in [
            "missing",
            "env==test",
            "missing!=x",
            "missing notin (x)",
            "env in ()",
            "env, missing",
            "env!=prod",
        ] {
            assert!(!fits(query), "{query}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        for query in ["a b", "a==", "a in", "a in (b", "a in b", ",", "a=b", "a,,b", "a==b c", "ä"] {
            let error = Selectors::parse(query).unwrap_err();
            assert!(error.starts_with(&format!("Can not parse label selector {query}. Reason: ")), "{error}");
        }
    }
}
