//! Secrets by name, where the module's manifest grants them.
//!
//! What a step returns, fails with or logs holds none of them: a result with one in it becomes the failure
//! `Stepwell.SecretInOutput`. Refuses nothing itself: the host does.

use crate::Failure;
use bindings::stepwell::secrets::secrets::{self, Error};

#[allow(missing_docs, clippy::all, reason = "generated from wit/")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package stepwell:secrets-client;
            world client {
                import stepwell:secrets/secrets@1.0.0;
            }
        ",
        path: ["wit/secrets@1.0.0"],
        world: "stepwell:secrets-client/client",
        generate_all,
    });
}

/// A secret's bytes.
/// # Errors
/// `Stepwell.NotGranted` or `Stepwell.SecretUnknown`.
pub fn get(name: &str) -> Result<Vec<u8>, Failure> {
    secrets::get(name).map_err(|e| match e {
        Error::NotGranted => Failure::new(
            "Stepwell.NotGranted",
            format!("the manifest does not grant secret {name:?}"),
        ),
        Error::Unknown => Failure::new(
            "Stepwell.SecretUnknown",
            format!("the server has no secret {name:?}"),
        ),
    })
}

/// A secret that is text, without white space around it.
/// # Errors
/// As [`get`], and `Step.InvalidSecret`: it is no text.
pub fn text(name: &str) -> Result<String, Failure> {
    let text = String::from_utf8(get(name)?);
    let text = text
        .map_err(|_| Failure::new("Step.InvalidSecret", format!("secret {name:?} is no text")))?;
    Ok(text.trim().to_owned())
}
