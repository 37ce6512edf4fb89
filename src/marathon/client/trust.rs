//! Why a server is not believed to be who it should be, in words that say what to do.
//!
//! The TLS library knows it, and hides it at the end of a chain of errors that all say only that sending failed.

use std::error::Error;

use reqwest::Url;
use rustls::CertificateError;

/// What is wrong with the certificate of the server that was asked; none where the call failed by something else.
pub(super) fn distrust(error: &reqwest::Error) -> Option<String> {
    let mut causes = std::iter::successors(error.source(), |cause| under(*cause));
    let wrong = causes.find_map(|cause| match cause.downcast_ref() {
        Some(rustls::Error::InvalidCertificate(wrong)) => Some(wrong),
        _ => None,
    })?;
    let server = error.url().map_or_else(|| "the server".to_owned(), place);
    Some(match wrong {
        // A CA that was made anew under its old name is found by that, and did not sign this.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the certificate of {server} is signed by nobody that is trusted here; write the file with the cluster's CA \
             certificate, in PEM form, as marathon.ca"
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
            "the certificate of {server} is made out to {}; write one of its names in marathon.url, or add this one to \
             the certificate",
            names(wrong)
        ),
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => format!(
            "the certificate of {server} is not valid at this time ({wrong}); renew it, or set the clock of this machine"
        ),
        other => format!("the certificate of {server} cannot be used: {other}"),
    })
}

/// The cause of an error. An I/O error that carries another one names only the cause of that.
fn under<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let carried = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    carried.map(|carried| carried as &(dyn Error + 'static)).or_else(|| error.source())
}

/// Host and port of a URL, without anything else that it may carry.
fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The names that a certificate is made out to.
fn names(wrong: &CertificateError) -> String {
    match wrong {
        CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
            // They come with the word for their kind around them, as in `DnsName("master.mesos")`.
            let bare = |name: &String| {
                let inner = name.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')'));
                inner.unwrap_or(name).trim_matches('"').to_owned()
            };
            let mut names: Vec<_> = presented.iter().take(5).map(bare).collect();
            if presented.len() > names.len() {
                names.push("others".to_owned());
            }
            names.join(", ")
        }
        _ => "another name".to_owned(),
    }
}
