//! Uploads in parts.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::header::{self, HeaderName};
use bytes::BytesMut;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::ask::Ask;
use super::reply::Reply;
use super::world::{Bucket, Object, etag, kept_headers};
use super::xml::{Xml, texts};

/// Every part but the last has at least this size.
const SMALLEST_PART: usize = 5 << 20;

/// An upload that was begun.
pub struct Upload {
    pub key: String,
    headers: Vec<(HeaderName, String)>,
    parts: BTreeMap<u32, Bytes>,
}

impl Bucket {
    pub fn create_upload(&mut self, ask: &Ask) -> Reply {
        let key = ask.key().to_owned();
        self.begun += 1;
        let id = format!("upload-{}", self.begun);
        let document = Xml::default().text("Bucket", &ask.bucket).text("Key", &key).text("UploadId", &id);
        self.uploads.insert(id, Upload { key, headers: kept_headers(ask), parts: BTreeMap::new() });
        Reply::xml(200, document.document("InitiateMultipartUploadResult"))
    }

    pub fn put_part(&mut self, ask: &Ask) -> Reply {
        let Some(upload) = self.uploads.get_mut(ask.query("uploadId")) else { return no_such_upload(ask) };
        let number = ask.query("partNumber").parse().ok().filter(|number| (1..=10_000).contains(number));
        let Some(number) = number else {
            let message = "Part number must be an integer between 1 and 10000, inclusive";
            return Reply::error(400, "InvalidArgument", message, ask.key());
        };
        upload.parts.insert(number, ask.body.clone());
        Reply::empty(200).with(header::ETAG, etag(&ask.body))
    }

    /// Completing twice succeeds twice, as with AWS, unless the store forgets, as MinIO does.
    pub fn complete_upload(&mut self, ask: &Ask, now: Timestamp, forgets: bool) -> Reply {
        let id = ask.query("uploadId");
        if let Some(etag) = self.completed.get(id).filter(|_| !forgets) {
            return completed(ask, etag);
        }
        let Some(upload) = self.uploads.get(id) else { return no_such_upload(ask) };
        let object = match joined(upload, ask, now) {
            Ok(object) => object,
            Err(refusal) => return refusal,
        };
        let etag = object.etag.clone();
        self.uploads.remove(id);
        self.completed.insert(id.to_owned(), etag.clone());
        self.set(ask.key(), Some(Arc::new(object)));
        completed(ask, &etag)
    }

    pub fn abort_upload(&mut self, ask: &Ask) -> Reply {
        match self.uploads.remove(ask.query("uploadId")) {
            Some(_) => Reply::empty(204),
            None => no_such_upload(ask),
        }
    }

    pub fn list_uploads(&self, ask: &Ask) -> Reply {
        let mut document = Xml::default().text("Bucket", &ask.bucket).text("IsTruncated", false);
        for (id, upload) in self.uploads.iter().filter(|(_, upload)| upload.key.starts_with(ask.key())) {
            document =
                document.element("Upload", &Xml::default().text("Key", &upload.key).text("UploadId", id));
        }
        Reply::xml(200, document.document("ListMultipartUploadsResult"))
    }
}

fn joined(upload: &Upload, ask: &Ask, now: Timestamp) -> Result<Object, Reply> {
    let refuse = |code, message| Err(Reply::error(400, code, message, ask.key()));
    let named = String::from_utf8_lossy(&ask.body);
    let (numbers, etags) = (texts(&named, "PartNumber"), texts(&named, "ETag"));
    let (mut body, mut sums, mut previous) = (BytesMut::new(), Sha256::new(), None);
    for (number, wanted) in numbers.iter().zip(&etags) {
        let part = number.parse().ok().and_then(|number: u32| upload.parts.get(&number));
        let Some(part) = part.filter(|part| etag(part).trim_matches('"') == wanted.trim_matches('"')) else {
            return refuse("InvalidPart", "One or more of the specified parts could not be found.");
        };
        if previous.is_some_and(|size| size < SMALLEST_PART) {
            return refuse("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size");
        }
        previous = Some(part.len());
        sums.update(etag(part));
        body.extend_from_slice(part);
    }
    if numbers.is_empty() || numbers.len() != etags.len() {
        return refuse("MalformedXML", "The XML you provided was not well-formed");
    }
    let mut object = Object::new(body.freeze(), now, upload.headers.clone());
    object.etag = format!("\"{}-{}\"", &HEXLOWER.encode(&sums.finalize())[..32], numbers.len());
    Ok(object)
}

fn completed(ask: &Ask, etag: &str) -> Reply {
    let document = Xml::default().text("Bucket", &ask.bucket).text("Key", ask.key()).text("ETag", etag);
    Reply::xml(200, document.document("CompleteMultipartUploadResult"))
}

fn no_such_upload(ask: &Ask) -> Reply {
    Reply::error(404, "NoSuchUpload", "The specified upload does not exist.", ask.key())
}
