//! The digests of `States.Hash`.
//!
//! Refuses to be used for anything secret: MD5 and SHA-1 are here because the language names them.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// Lower-case hex; `None`: no such algorithm.
pub(crate) fn hex(algorithm: &str, text: &str) -> Option<String> {
    Some(match algorithm {
        "MD5" => of::<Md5>(text),
        "SHA-1" => of::<Sha1>(text),
        "SHA-256" => of::<Sha256>(text),
        "SHA-384" => of::<Sha384>(text),
        "SHA-512" => of::<Sha512>(text),
        _ => return None,
    })
}

fn of<D: Digest>(text: &str) -> String {
    use std::fmt::Write as _;
    D::digest(text.as_bytes())
        .iter()
        .fold(String::new(), |mut out, byte| {
            // Writing to a String cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}
