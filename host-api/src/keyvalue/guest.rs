//! `wasi:keyvalue` as guests see it: a bucket is a namespace that the manifest grants.
//!
//! A namespace is the module's own; one that is granted as `shared/NAME` is the same for all modules.
//! Refuses to tell a namespace that is not granted from one that nobody has.
//! Source: `wit/keyvalue@0.2.0-draft`, the draft of `wasi:keyvalue`.

use std::sync::Arc;

use stepwell_store::namespace;
use wasmtime::component::{Linker, Resource};
use wasmtime::{Result as Trappable, bail};

use super::namespaces::conflict;
use super::view::Stop;
use super::{MANY_BYTES_MAX, MANY_MAX};
use crate::bindings::wasi::keyvalue::store::{Error, KeyResponse};
use crate::bindings::wasi::keyvalue::{atomics, batch, store};
use crate::host::{Doors, Host, HostView};

/// A namespace that a guest opened.
#[derive(Debug, Clone)]
pub struct Bucket {
    namespace: Arc<str>,
    write: bool,
}

type Answer<T> = Trappable<Result<T, Error>>;

/// Offers `wasi:keyvalue` to guests.
pub(crate) fn link<T: HostView>(linker: &mut Linker<T>) -> Trappable<()> {
    store::add_to_linker::<T, Doors>(linker, T::host)?;
    atomics::add_to_linker::<T, Doors>(linker, T::host)?;
    batch::add_to_linker::<T, Doors>(linker, T::host)
}

impl Host {
    fn bucket(&mut self, bucket: &Resource<Bucket>) -> Trappable<Bucket> {
        Ok(self.table().get(bucket)?.clone())
    }

    /// What a stopped operation is to the guest, or to its attempt.
    fn told<T>(&mut self, done: Result<T, Stop>) -> Answer<T> {
        match done {
            Ok(value) => Ok(Ok(value)),
            Err(Stop::Refused(why)) => Ok(Err(Error::Other(why))),
            Err(Stop::Failed(failure)) => {
                self.outside().journal.break_off(failure);
                bail!("the namespace cannot be read")
            }
            Err(Stop::Changed) => {
                // Without calls it begins anew; with some that is for its flow to say.
                if self.outside().journal.has_called() {
                    self.outside().journal.loses(conflict());
                }
                self.view().lose();
                bail!("what the step read has changed")
            }
        }
    }

    async fn value(&mut self, bucket: &Resource<Bucket>, key: &str) -> Answer<Option<Vec<u8>>> {
        let place = (self.bucket(bucket)?.namespace, Arc::from(key));
        let got = self.view().get(&place).await;
        self.told(got)
    }

    fn write(
        &mut self,
        bucket: &Resource<Bucket>,
        key: &str,
        value: Option<Vec<u8>>,
    ) -> Answer<()> {
        let bucket = self.bucket(bucket)?;
        if !bucket.write {
            return Ok(Err(Error::AccessDenied));
        }
        let place = (bucket.namespace, Arc::from(key));
        let put = self.view().put(place, value);
        self.told(put)
    }
}

impl store::Host for Host {
    fn open(&mut self, identifier: String) -> Answer<Resource<Bucket>> {
        let outside = self.outside();
        let grants = outside.grants();
        let mut known = grants.into_iter().flat_map(|grants| &grants.key_value);
        let Some(grant) = known.find(|grant| *grant.namespace == *identifier) else {
            return Ok(Err(Error::AccessDenied));
        };
        let bucket = Bucket {
            namespace: namespace::granted(outside.module(), &identifier),
            write: grant.write,
        };
        Ok(Ok(self.table().push(bucket)?))
    }
}

impl store::HostBucket for Host {
    async fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Option<Vec<u8>>> {
        self.value(&bucket, &key).await
    }

    fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Answer<()> {
        self.write(&bucket, &key, Some(value))
    }

    fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<()> {
        self.write(&bucket, &key, None)
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<bool> {
        let value = self.value(&bucket, &key).await?;
        Ok(value.map(|value| value.is_some()))
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<u64>,
    ) -> Answer<KeyResponse> {
        let namespace = self.bucket(&bucket)?.namespace;
        // It may take milliseconds.
        self.io().waits.step_aside().await;
        let page = self.view().list(&namespace, cursor).await;
        let page = page.map(|(keys, cursor)| KeyResponse { keys, cursor });
        self.told(page)
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> Trappable<()> {
        self.table().delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for Host {
    /// Numbers are decimal text, as other hosts of this interface keep them.
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: u64,
    ) -> Answer<u64> {
        let before = match self.value(&bucket, &key).await? {
            Ok(value) => value,
            Err(e) => return Ok(Err(e)),
        };
        let number = match &before {
            None => Some(0),
            Some(bytes) => std::str::from_utf8(bytes).ok().and_then(|t| t.parse().ok()),
        };
        let Some(sum) = number.and_then(|n: u64| n.checked_add(delta)) else {
            let why = "the value is no number from 0 to 18446744073709551615, or would be none";
            return Ok(Err(Error::Other(why.to_owned())));
        };
        let put = self.write(&bucket, &key, Some(sum.to_string().into_bytes()))?;
        Ok(put.map(|()| sum))
    }
}

/// The same key may come again and again: that is work without end, and no guest's code that a
/// deadline could interrupt.
fn few(keys: usize) -> Result<(), Error> {
    if keys <= MANY_MAX {
        return Ok(());
    }
    Err(Error::Other(format!(
        "a call takes at most {MANY_MAX} keys, and these are {keys}; call again with the rest"
    )))
}

impl batch::Host for Host {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<(String, Vec<u8>)>>> {
        if let Err(e) = few(keys.len()) {
            return Ok(Err(e));
        }
        let (mut all, mut bytes) = (Vec::with_capacity(keys.len()), 0);
        for key in keys {
            match self.value(&bucket, &key).await? {
                Ok(value) => all.push(value.map(|value| (key, value))),
                Err(e) => return Ok(Err(e)),
            }
            bytes += all
                .last()
                .and_then(Option::as_ref)
                .map_or(0, |(_, v)| v.len());
            if bytes > MANY_BYTES_MAX {
                let why =
                    format!("the values have more than {MANY_BYTES_MAX} bytes; ask for fewer");
                return Ok(Err(Error::Other(why)));
            }
        }
        Ok(Ok(all))
    }

    fn set_many(&mut self, bucket: Resource<Bucket>, pairs: Vec<(String, Vec<u8>)>) -> Answer<()> {
        if let Err(e) = few(pairs.len()) {
            return Ok(Err(e));
        }
        for (key, value) in pairs {
            if let Err(e) = self.write(&bucket, &key, Some(value))? {
                return Ok(Err(e));
            }
        }
        Ok(Ok(()))
    }

    fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Answer<()> {
        if let Err(e) = few(keys.len()) {
            return Ok(Err(e));
        }
        for key in keys {
            if let Err(e) = self.write(&bucket, &key, None)? {
                return Ok(Err(e));
            }
        }
        Ok(Ok(()))
    }
}
