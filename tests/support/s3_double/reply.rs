//! An answer before it becomes HTTP.

use axum::body::Bytes;
use axum::http::header::{self, HeaderName};

use super::xml;

/// Status, headers and body.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(HeaderName, String)>,
    pub body: Bytes,
    /// What `Content-Length` says; differs from the body's for HEAD, and where a fault says so.
    pub length: usize,
}

impl Reply {
    /// An answer without body.
    pub fn empty(status: u16) -> Self {
        Self::new(status, Bytes::new())
    }

    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self { status, headers: Vec::new(), length: body.len(), body }
    }

    /// An answer with an XML document.
    pub fn xml(status: u16, document: String) -> Self {
        Self::new(status, document).with(header::CONTENT_TYPE, "application/xml")
    }

    /// An error as S3 writes it.
    pub fn error(status: u16, code: &str, message: &str, resource: &str) -> Self {
        Self::xml(status, xml::error(code, message, resource))
    }

    /// The error that S3 gives a status for, where nothing more is known than the status.
    pub fn refusal(status: u16, resource: &str) -> Self {
        let code = match status {
            403 => "AccessDenied",
            404 => "NoSuchKey",
            409 => "ConditionalRequestConflict",
            412 => "PreconditionFailed",
            429 | 503 => "SlowDown",
            501 => "NotImplemented",
            _ => "InternalError",
        };
        Self::error(status, code, "the script of the double says so", resource)
    }

    pub fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same as HEAD is answered: the length stays, the body goes.
    pub fn without_body(mut self) -> Self {
        self.body = Bytes::new();
        self
    }
}
