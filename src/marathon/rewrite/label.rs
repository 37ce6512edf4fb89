//! Package labels, decoded, changed and encoded again.
//!
//! Layers: base64 of JSON (`DCOS_PACKAGE_METADATA`, `_OPTIONS`, in old Cosmos `_COMMAND`); base64 of an envelope
//! `{metadata, data}` whose `data` is base64 of JSON, mostly gzipped (`_DEFINITION`; dcos/cosmos,
//! `model/StorageEnvelope.scala`); and within a package definition the template, which is base64, too. A label
//! in which no host is found keeps its text byte for byte.

use std::io::{Read as _, Write as _};

use data_encoding::BASE64;
use flate2::read::MultiGzDecoder;
use flate2::{Compression, GzBuilder};
use serde::Deserialize;

use super::json::change_strings;
use super::text::{Reading, replace};
use super::{Form, LeftReason, Rewriter};
use crate::marathon::labels::{LONGEST_JSON, LONGEST_TEXT};

/// The labels that ought to be encoded. What else begins like a package label is decoded if it can be.
const ENCODED: [&str; 4] =
    ["DCOS_PACKAGE_DEFINITION", "DCOS_PACKAGE_METADATA", "DCOS_PACKAGE_OPTIONS", "DCOS_PACKAGE_COMMAND"];

/// Where the template stands in a package definition.
const TEMPLATE: &str = "/marathon/v2AppMustacheTemplate";

/// Why a text could not be decoded.
#[derive(Debug)]
pub(super) struct Fault(pub(super) LeftReason);

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self(LeftReason::NotDecodable(format!("no JSON: {error}")))
    }
}

fn not_decodable(why: &str) -> Fault {
    Fault(LeftReason::NotDecodable(why.to_owned()))
}

/// A text taken out of base64.
struct Opened {
    text: String,
    form: Form,
}

/// What is read of an envelope.
#[derive(Deserialize)]
struct Envelope {
    metadata: EnvelopeMetadata,
    #[serde(rename = "data")]
    _data: String,
}

#[derive(Deserialize)]
struct EnvelopeMetadata {
    #[serde(rename = "Content-Encoding")]
    encoding: Option<String>,
}

/// The label with its hosts replaced; none where there is nothing to replace or the text cannot be read.
pub(super) fn rewrite(rewriter: &mut Rewriter<'_>, name: &str, text: &str) -> Option<String> {
    let begun = (rewriter.findings.len(), rewriter.left.len());
    match encoded(rewriter, text) {
        Ok(changed) => changed,
        Err(Fault(reason)) => {
            rewriter.findings.truncate(begun.0);
            rewriter.left.truncate(begun.1);
            let plain = !ENCODED.contains(&name) || text.trim_start().starts_with(['{', '[']);
            if plain {
                return rewriter.plain(text, Reading::Free);
            }
            if !text.is_empty() {
                rewriter.leave(None, reason);
            }
            None
        }
    }
}

fn encoded(rewriter: &mut Rewriter<'_>, text: &str) -> Result<Option<String>, Fault> {
    let Opened { text, form } = open(rewriter, text)?;
    let envelope = serde_json::from_str::<Envelope>(&text).ok();
    let changed = match envelope {
        None => document(rewriter, &text, "", form)?,
        Some(Envelope { metadata, .. }) => {
            if metadata.encoding.as_deref().is_some_and(|encoding| encoding != "gzip") {
                return Err(not_decodable("its Content-Encoding is not gzip"));
            }
            change_strings(&text, |pointer, data| {
                if pointer != "/data" {
                    return Ok(None);
                }
                let opened = open(rewriter, data)?;
                let form = opened.form.max(form);
                let changed = document(rewriter, &opened.text, "/data", form)?;
                Ok::<_, Fault>(changed.map(|changed| close(&changed, opened.form)))
            })?
        }
    };
    Ok(changed.map(|changed| close(&changed, form)))
}

/// Replaces the hosts in all strings of a JSON document.
fn document(
    rewriter: &mut Rewriter<'_>,
    text: &str,
    prefix: &str,
    form: Form,
) -> Result<Option<String>, Fault> {
    change_strings(text, |pointer, string| {
        let inside = || format!("{prefix}{pointer}");
        if pointer == TEMPLATE {
            return Ok(template(rewriter, string, &inside(), form));
        }
        let replaced = replace(string, Reading::Free, rewriter.renames);
        Ok(replaced.map(|replaced| rewriter.found(Some(&inside()), form, replaced)))
    })
}

/// The template of a definition; one that cannot be decoded is left, and the rest is done all the same.
fn template(rewriter: &mut Rewriter<'_>, text: &str, inside: &str, form: Form) -> Option<String> {
    match open(rewriter, text) {
        Err(Fault(reason)) => {
            rewriter.leave(Some(inside.to_owned()), reason);
            None
        }
        Ok(opened) => {
            let replaced = replace(&opened.text, Reading::Free, rewriter.renames)?;
            let changed = rewriter.found(Some(inside), form.max(opened.form), replaced);
            Some(close(&changed, opened.form))
        }
    }
}

fn open(rewriter: &mut Rewriter<'_>, text: &str) -> Result<Opened, Fault> {
    if text.len() > LONGEST_TEXT {
        return Err(Fault(LeftReason::TooLarge));
    }
    let bytes = BASE64.decode(text.as_bytes()).map_err(|_| not_decodable("no base64"))?;
    let is_gzip = bytes.starts_with(&[0x1f, 0x8b]);
    let bytes = if is_gzip { inflated(rewriter, &bytes)? } else { bytes };
    let text = String::from_utf8(bytes).map_err(|_| not_decodable("no UTF-8"))?;
    Ok(Opened { text, form: if is_gzip { Form::Gzip } else { Form::Base64 } })
}

fn inflated(rewriter: &mut Rewriter<'_>, packed: &[u8]) -> Result<Vec<u8>, Fault> {
    let limit = LONGEST_JSON.min(rewriter.budget);
    let mut plain = Vec::new();
    // One byte more than allowed, so that a text that is cut off does not pass for a whole one.
    let result = MultiGzDecoder::new(packed).take(limit + 1).read_to_end(&mut plain);
    rewriter.budget = rewriter.budget.saturating_sub(plain.len() as u64);
    result.map_err(|_| not_decodable("damaged gzip"))?;
    if plain.len() as u64 > limit { Err(Fault(LeftReason::TooLarge)) } else { Ok(plain) }
}

/// The way back. The gzip header carries no time, so the same content gives the same text.
fn close(text: &str, form: Form) -> String {
    if form != Form::Gzip {
        return BASE64.encode(text.as_bytes());
    }
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    // Writing into memory does not fail.
    let written = encoder.write_all(text.as_bytes());
    BASE64.encode(&written.and_then(|()| encoder.finish()).unwrap_or_default())
}
