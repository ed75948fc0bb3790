//! A vault that is shut, and a keeper of nothing.

use std::sync::Arc;

use stepwell_orchestrator::Error;
use stepwell_orchestrator::api::SecretVersion;
use stepwell_orchestrator::ports::{Answer, Keeper, Vault};
use stepwell_store::Quota;
use stepwell_types::{Effects, Secret, Timestamp};

/// What a vault answers whose key file is not there.
pub struct NoVault;

impl NoVault {
    fn refuses<T>() -> Result<T, Error> {
        Err(Error::Vault {
            code: "HOST0006",
            message: "no key file".into(),
        })
    }
}

impl Vault for NoVault {
    fn add(
        &self,
        _: &str,
        _: Option<&[u8]>,
        _: &Secret,
        _: usize,
        _: Timestamp,
    ) -> Result<(Vec<u8>, u32), Error> {
        NoVault::refuses()
    }

    fn clear(&self, _: &str, _: &[u8]) -> Result<Vec<u8>, Error> {
        NoVault::refuses()
    }

    fn versions(&self, _: &str, _: &[u8]) -> Result<Vec<SecretVersion>, Error> {
        NoVault::refuses()
    }

    fn begin_rotation(&self) -> Result<(), Error> {
        NoVault::refuses()
    }

    fn reseal(&self, _: &str, _: &[u8]) -> Result<Vec<u8>, Error> {
        NoVault::refuses()
    }

    fn end_rotation(&self) -> Result<(), Error> {
        NoVault::refuses()
    }
}

/// A keeper of nothing.
pub struct Kept;

impl Keeper for Kept {
    fn quota(&self, _: &str) -> Quota {
        Quota { keys: 0, bytes: 0 }
    }

    fn remove(&self, _: Arc<str>, _: Vec<Arc<str>>) -> Answer<'_, Option<Effects>> {
        Box::pin(async { Ok(None) })
    }
}
