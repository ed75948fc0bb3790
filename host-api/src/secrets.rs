//! Secrets by name: the port by which attempts read them, and `stepwell:secrets` for guests.
//!
//! Refuses what the manifest does not grant, and to keep a value anywhere but in memory.
//! Source: `wit/secrets@1.0.0/secrets.wit`.

use std::collections::BTreeMap;

use stepwell_types::{Failure, Grants, Secret};

use crate::bindings::stepwell::secrets::secrets;
use crate::host::Host;

/// Bytes of a secret's digest key.
pub(crate) const DIGEST_KEY_BYTES: usize = 32;

/// A secret that was read.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Which version.
    pub version: u32,
    /// Its value.
    pub value: Secret,
    /// Keys the digests of requests that may hold the value; `None`: there is nothing to compare
    /// them with.
    pub digest_key: Option<Secret>,
}

/// Where attempts read secrets.
pub trait Secrets: Send + Sync {
    /// A version of a secret, by default the newest. `None`: there is no such secret, or no such
    /// version any more.
    /// # Errors
    /// `Stepwell.SecretUnreadable`.
    fn open(&self, name: &str, version: Option<u32>) -> Result<Option<Opened>, Failure>;
}

/// Secrets that are given for one run, without a store.
#[derive(Debug, Default)]
pub struct GivenSecrets(pub BTreeMap<String, Secret>);

impl Secrets for GivenSecrets {
    fn open(&self, name: &str, version: Option<u32>) -> Result<Option<Opened>, Failure> {
        let Some(value) = self.0.get(name) else {
            let cause = format!("secret {name:?} was not given; `--secret {name}=FILE` gives it");
            return Err(Failure::new("Stepwell.SecretUnknown", cause));
        };
        Ok(Some(Opened {
            version: version.unwrap_or(1),
            value: value.clone(),
            digest_key: None,
        }))
    }
}

/// Whether a manifest names the secret.
/// # Errors
/// `Stepwell.NotGranted`.
pub(crate) fn granted(grants: Option<&Grants>, name: &str) -> Result<(), Failure> {
    if grants.is_some_and(|grants| grants.secrets.iter().any(|known| **known == *name)) {
        return Ok(());
    }
    let shown = crate::shown(name);
    Err(Failure::new(
        "Stepwell.NotGranted",
        format!(
            "the manifest does not grant secret {shown:?}; add it under `secrets` and publish again"
        ),
    ))
}

impl secrets::Host for Host {
    fn get(&mut self, name: String) -> Result<Vec<u8>, secrets::Error> {
        let outside = self.outside();
        if granted(outside.grants().map(|g| &**g), &name).is_err() {
            return Err(secrets::Error::NotGranted);
        }
        // What cannot be opened ends the attempt; the guest's next step is its last.
        match outside.journal.secret(&name) {
            Ok(Some(value)) => Ok(value.bytes().to_vec()),
            Ok(None) | Err(_) => Err(secrets::Error::Unknown),
        }
    }
}
