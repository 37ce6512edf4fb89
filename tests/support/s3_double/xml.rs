//! As much XML as the S3 interface needs: documents written by hand, and texts picked out of what clients send.

use std::fmt::Write as _;

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
const NAMESPACE: &str = "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";

/// A document being written.
#[derive(Default)]
pub struct Xml(String);

impl Xml {
    /// `<name>text</name>`
    pub fn text(mut self, name: &str, text: impl std::fmt::Display) -> Self {
        let text = escaped(&text.to_string());
        write!(self.0, "<{name}>{text}</{name}>").unwrap();
        self
    }

    /// `<name>` around what another one holds.
    pub fn element(mut self, name: &str, inner: &Self) -> Self {
        write!(self.0, "<{name}>{}</{name}>", inner.0).unwrap();
        self
    }

    /// The whole document.
    pub fn document(self, root: &str) -> String {
        format!("{HEAD}<{root} {NAMESPACE}>{}</{root}>", self.0)
    }
}

/// The document of an error, which has no namespace.
pub fn error(code: &str, message: &str, resource: &str) -> String {
    let inner = Xml::default().text("Code", code).text("Message", message).text("Resource", resource).0;
    format!("{HEAD}<Error>{inner}<RequestId>double</RequestId></Error>")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The texts of all elements of a name, in their order.
pub fn texts(document: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let ends = document.split(&open).skip(1);
    ends.filter_map(|rest| rest.split_once(&close)).map(|(text, _)| unescaped(text)).collect()
}

fn unescaped(text: &str) -> String {
    let plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    plain.replace("&apos;", "'").replace("&amp;", "&")
}
