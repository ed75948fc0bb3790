//! The step's configuration, over `wasi:config`: what the manifests of its module and its flow say.
//!
//! Refuses nothing itself. Secrets are elsewhere: a manifest is shown.

use crate::Failure;
use bindings::wasi::config::store::{self, Error};

#[allow(missing_docs, clippy::all, reason = "generated from wit/")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package stepwell:config-client;
            world client {
                import wasi:config/store@0.2.0-rc.1;
            }
        ",
        path: ["wit/config@0.2.0-rc.1"],
        world: "stepwell:config-client/client",
        generate_all,
    });
}

/// A key's value; `None`: nobody gave it one.
/// # Errors
/// `Step.Failed`: another host than Stepwell may have reasons.
pub fn get(key: &str) -> Result<Option<String>, Failure> {
    store::get(key).map_err(failure)
}

/// All keys and values.
/// # Errors
/// As [`get`].
pub fn all() -> Result<Vec<(String, String)>, Failure> {
    store::get_all().map_err(failure)
}

fn failure(e: Error) -> Failure {
    let (Error::Upstream(why) | Error::Io(why)) = e;
    Failure::new("Step.Failed", why)
}
