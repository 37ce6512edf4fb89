//! Errors as answers: which status, and the JSON that Cosmos writes for them.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::model::ErrorClass;

/// After how many seconds a client may ask again that was told to. The store is asked again sooner.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

/// Labels whose errors have a status of their own, whatever their class.
const STATUS_OF_LABEL: &[(&str, StatusCode)] = &[
    // Waiting does not help, somebody must make room; and it is no fault of the request.
    ("DiskFull", StatusCode::INSUFFICIENT_STORAGE),
    ("VersionImmutable", StatusCode::CONFLICT),
    ("ReleaseVersionTaken", StatusCode::CONFLICT),
    ("RegistryMoved", StatusCode::CONFLICT),
    // Written by a newer program: another instance may take it, this one never will.
    ("NewerFormat", StatusCode::CONFLICT),
    // Nothing is wrong with the request; somebody must mend the store.
    ("WriteRefused", StatusCode::SERVICE_UNAVAILABLE),
    ("DocumentTooLarge", StatusCode::PAYLOAD_TOO_LARGE),
    ("RecordTooLarge", StatusCode::PAYLOAD_TOO_LARGE),
];

/// Labels of bundles that are too large or too many of something.
const LARGE: &[&str] = &["TooManyEntries", "DirectoryTooLarge", "EntryTooLarge", "TooLarge", "Ratio"];

/// Labels of what is no bundle, or a damaged one: sending it again whole may help.
const MALFORMED: &[&str] = &[
    "NotZip",
    "Truncated",
    "TrailingData",
    "Gap",
    "Overlap",
    "Split",
    "Zip64",
    "BadDirectory",
    "UnsafeName",
    "DuplicateEntry",
    "UnknownEntry",
    "NotAFile",
    "Encrypted",
    "UnknownMethod",
    "UnknownFlags",
    "BadExtraField",
    "HeaderMismatch",
    "BadDescriptor",
    "StoredSize",
    "MissingEntry",
    "Damaged",
    "InvalidJson",
    "WrongDigest",
    "WrongLength",
    "SourceDamaged",
];

/// Labels of bundles that are whole and hold a package that is not taken: it must be built otherwise.
const UNACCEPTABLE: &[&str] = &[
    "InvalidMetadata",
    "InvalidManifest",
    "FormatVersion",
    "MissingBlob",
    "OrphanBlob",
    "MemberSize",
    "SizeDiffers",
    "NotEmbedded",
    "Reference",
    "UnusedMember",
    "WrongHash",
    "Images",
];

/// The statuses of bundles that are refused.
const OF_BUNDLES: &[(&[&str], StatusCode)] = &[
    (LARGE, StatusCode::PAYLOAD_TOO_LARGE),
    (MALFORMED, StatusCode::BAD_REQUEST),
    (UNACCEPTABLE, StatusCode::UNPROCESSABLE_ENTITY),
];

/// An error as Cosmos writes them: `{type, message}`. A 503 says when to ask again.
pub fn problem(status: StatusCode, kind: &str, message: &str) -> Response {
    problem_with(status, kind, message, None)
}

/// An error with what a program may want to know of it: `{type, message, data}`.
pub fn problem_with(status: StatusCode, kind: &str, message: &str, data: Option<Value>) -> Response {
    let mut body = json!({"type": kind, "message": message});
    if let Some(data) = data {
        body["data"] = data;
    }
    let mut response = (status, axum::Json(body)).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}

/// An error of the library as an answer: what its label says, else 503 for what may pass by itself and 500 for
/// what will not.
pub fn failure(class: ErrorClass, label: &str, error: &dyn std::error::Error) -> Response {
    failure_with(class, label, error, None)
}

/// As [`failure`], with data.
pub fn failure_with(
    class: ErrorClass,
    label: &str,
    error: &dyn std::error::Error,
    data: Option<Value>,
) -> Response {
    let status = status_of(class, label);
    let message = crate::telemetry::chain(error);
    if status.is_server_error() {
        tracing::error!(label, message, "a request failed");
    } else {
        tracing::debug!(label, message, "a request was refused");
    }
    problem_with(status, label, &message, data)
}

fn status_of(class: ErrorClass, label: &str) -> StatusCode {
    if let Some((_, status)) = STATUS_OF_LABEL.iter().find(|(named, _)| *named == label) {
        return *status;
    }
    if let Some((_, status)) = OF_BUNDLES.iter().find(|(labels, _)| labels.contains(&label)) {
        return *status;
    }
    match class {
        ErrorClass::Retry | ErrorClass::Wait => StatusCode::SERVICE_UNAVAILABLE,
        ErrorClass::Stall | ErrorClass::Fatal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_decides_before_the_class() {
        let cases = [
            (ErrorClass::Retry, "DiskFull", 507),
            (ErrorClass::Stall, "DiskFull", 507),
            (ErrorClass::Stall, "VersionImmutable", 409),
            (ErrorClass::Stall, "DocumentTooLarge", 413),
            (ErrorClass::Retry, "OutcomeUnknown", 503),
            (ErrorClass::Wait, "Locked", 503),
            (ErrorClass::Stall, "BlobDamaged", 500),
            (ErrorClass::Fatal, "NewerFormat", 409),
            (ErrorClass::Stall, "WriteRefused", 503),
        ];
        for (class, label, status) in cases {
            let response = failure(class, label, &std::io::Error::other("why"));
            assert_eq!(response.status().as_u16(), status, "{label}");
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), status == 503, "{label}");
        }
    }
}
