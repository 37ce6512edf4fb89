//! Text -> nodes. White space is treated as mustache.java treats it, which is not what the mustache
//! specification says: see [`Block`].

use std::iter::Peekable;
use std::str::Chars;

use super::{DEEPEST, Node, TemplateError};

/// Parses a whole template.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser { rest: text.chars().peekable(), line: 1 };
    parser.block(None, &Marks { open: "{{".into(), close: "}}".into() }, 0)
}

/// The delimiters, each of one or two characters.
#[derive(Clone)]
struct Marks {
    open: Box<str>,
    close: Box<str>,
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
}

/// The section that a block lies in.
struct Opened<'a> {
    name: &'a str,
    line: usize,
}

/// What has been read of a block. The end of a line is dropped if the line held nothing but white space and the
/// opening or the (multi-line) closing of a section; so is the white space before such a tag.
struct Block {
    nodes: Vec<Node>,
    text: String,
    only_white: bool,
    after_section: bool,
}

impl Block {
    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.nodes.push(Node::Text(std::mem::take(&mut self.text)));
        }
    }

    fn end_line(&mut self) {
        if !self.after_section || !self.only_white {
            self.text.push('\n');
        }
        self.flush();
        self.after_section = false;
        self.only_white = true;
    }
}

impl Parser<'_> {
    /// Reads up to the closing tag of the section, or up to the end outside of any.
    fn block(
        &mut self,
        opened: Option<&Opened>,
        marks: &Marks,
        depth: usize,
    ) -> Result<Vec<Node>, TemplateError> {
        if depth > DEEPEST {
            return Err(TemplateError::new(self.line, format!("sections are nested deeper than {DEEPEST}")));
        }
        let mut marks = marks.clone();
        let mut block = Block {
            nodes: Vec::new(),
            text: String::new(),
            only_white: true,
            after_section: opened.is_some(),
        };
        while let Some(c) = self.next() {
            match c {
                '\r' => {}
                '\n' => block.end_line(),
                c if self.opens(c, &marks) => {
                    if self.tag(&mut block, opened, &mut marks, depth)? {
                        return Ok(block.nodes);
                    }
                }
                c => {
                    block.only_white &= c == ' ' || c == '\t';
                    block.text.push(c);
                }
            }
        }
        if let Some(Opened { name, line }) = opened {
            return Err(TemplateError::new(*line, format!("the section {name} is never closed")));
        }
        block.flush();
        Ok(block.nodes)
    }

    /// Reads one tag. True where it closes the block.
    fn tag(
        &mut self,
        block: &mut Block,
        opened: Option<&Opened>,
        marks: &mut Marks,
        depth: usize,
    ) -> Result<bool, TemplateError> {
        let line = self.line;
        let command = self.command(marks)?;
        let Some(sigil) = command.chars().next() else {
            return Err(TemplateError::new(line, "the tag is empty"));
        };
        let name = trim(&command[sigil.len_utf8()..]);
        match sigil {
            '#' | '^' | '$' => self.section(block, sigil, &Opened { name, line }, marks, depth)?,
            '/' => {
                if !block.only_white {
                    block.flush();
                }
                return closes(opened, name, line);
            }
            '>' | '<' => {
                return Err(TemplateError::new(
                    line,
                    "partials are not supported: a package has one template",
                ));
            }
            // A pragma; mustache.java warns and goes on.
            '%' => {}
            '!' => block.flush(),
            '=' => {
                block.flush();
                *marks =
                    delimiters(&command).ok_or_else(|| TemplateError::new(line, "invalid delimiters"))?;
            }
            '{' => {
                let name = self.unescaped(name, marks, line)?;
                block.flush();
                block.nodes.push(Node::Value { name, line });
            }
            '&' => {
                block.flush();
                block.nodes.push(Node::Value { name: name.to_owned(), line });
            }
            // Also `{{ #name}}`: what follows the first blank is a name, whatever it looks like.
            _ => {
                block.flush();
                block.nodes.push(Node::Value { name: trim(&command).to_owned(), line });
            }
        }
        Ok(false)
    }

    fn section(
        &mut self,
        block: &mut Block,
        sigil: char,
        opened: &Opened,
        marks: &Marks,
        depth: usize,
    ) -> Result<(), TemplateError> {
        let nodes = self.block(Some(opened), marks, depth + 1)?;
        let several_lines = self.line > opened.line;
        if !block.only_white || !several_lines {
            block.flush();
        }
        block.text.clear();
        block.after_section = several_lines;
        let (name, line) = (opened.name.to_owned(), opened.line);
        block.nodes.push(match sigil {
            '$' => Node::Block(nodes),
            _ => Node::Section { name, line, inverted: sigil == '^', nodes },
        });
        Ok(())
    }

    /// The name in `{{{name}}}`, whose last brace is still to come.
    fn unescaped(&mut self, name: &str, marks: &Marks, line: usize) -> Result<String, TemplateError> {
        let unclosed = || TemplateError::new(line, "a tag that opens with {{{ must close with }}}");
        if marks.close.ends_with("}}") {
            return if self.next() == Some('}') { Ok(name.to_owned()) } else { Err(unclosed()) };
        }
        name.strip_suffix('}').map(|name| trim(name).to_owned()).ok_or_else(unclosed)
    }

    /// Whether a tag opens with this character; if so, its opening is taken.
    fn opens(&mut self, c: char, marks: &Marks) -> bool {
        let mut open = marks.open.chars();
        open.next() == Some(c) && open.next().is_none_or(|second| self.rest.next_if_eq(&second).is_some())
    }

    /// What stands between the delimiters.
    fn command(&mut self, marks: &Marks) -> Result<String, TemplateError> {
        let line = self.line;
        let mut command = String::new();
        while let Some(c) = self.next() {
            let mut close = marks.close.chars();
            if close.next() == Some(c)
                && close.next().is_none_or(|second| self.rest.next_if_eq(&second).is_some())
            {
                return Ok(command);
            }
            command.push(c);
        }
        Err(TemplateError::new(line, format!("the tag is never closed by {}", marks.close)))
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        self.line += usize::from(c == '\n');
        Some(c)
    }
}

fn closes(opened: Option<&Opened>, name: &str, line: usize) -> Result<bool, TemplateError> {
    match opened {
        Some(opened) if opened.name == name => Ok(true),
        Some(opened) => Err(TemplateError::new(
            line,
            format!("{name} is closed here, but {} of line {} is open", opened.name, opened.line),
        )),
        None => Err(TemplateError::new(line, format!("{name} is closed here, but no section is open"))),
    }
}

/// `=<% %>=` -> the new delimiters, of one or two characters each.
fn delimiters(command: &str) -> Option<Marks> {
    let all: Vec<char> = command.chars().filter(|c| !c.is_whitespace()).collect();
    if !matches!(all.len(), 4 | 6) || all.last() != Some(&'=') {
        return None;
    }
    let half = all.len() / 2;
    Some(Marks { open: all[1..half].iter().collect(), close: all[half..all.len() - 1].iter().collect() })
}

/// Java's `trim`: everything up to the blank goes.
fn trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}
