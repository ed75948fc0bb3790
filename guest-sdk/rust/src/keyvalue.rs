//! Keys and values that steps keep, over `wasi:keyvalue`, in namespaces that the manifest grants.
//!
//! A step is one transaction: what it writes becomes visible with its outcome, all of it or nothing, and if
//! what it read was changed by another meanwhile it runs again. Refuses nothing itself: the host does.
//!
//! A key has 1 to 1,024 bytes, a value at most 1 MiB. One step reads and writes at most 10,000 keys,
//! reads 32 MiB and writes 8 MiB; beyond that it gets `Stepwell.KeyValueRefused`.

use crate::Failure;
use bindings::wasi::keyvalue::store::{self, Bucket, Error};
use bindings::wasi::keyvalue::{atomics, batch};

#[allow(missing_docs, clippy::all, reason = "generated from wit/")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package stepwell:keyvalue-client;
            world client {
                import wasi:keyvalue/store@0.2.0-draft;
                import wasi:keyvalue/atomics@0.2.0-draft;
                import wasi:keyvalue/batch@0.2.0-draft;
            }
        ",
        path: ["wit/keyvalue@0.2.0-draft"],
        world: "stepwell:keyvalue-client/client",
        generate_all,
    });
}

/// A namespace.
#[derive(Debug)]
pub struct Namespace(Bucket);

impl Namespace {
    /// Opens a namespace: the module's own of this name, or for `shared/NAME` one of all modules.
    /// # Errors
    /// `Stepwell.NotGranted`.
    pub fn open(name: &str) -> Result<Namespace, Failure> {
        store::open(name).map(Namespace).map_err(failure)
    }

    /// A key's value.
    /// # Errors
    /// `Stepwell.KeyValueRefused`: a limit.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        self.0.get(key).map_err(failure)
    }

    /// The values of many keys, in their order; 8 MiB of them at most.
    /// # Errors
    /// As [`Namespace::get`].
    pub fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>, Failure> {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        let all = batch::get_many(&self.0, &keys).map_err(failure)?;
        Ok(all.into_iter().map(|pair| pair.map(|(_, v)| v)).collect())
    }

    /// Whether a key has a value.
    /// # Errors
    /// As [`Namespace::get`].
    pub fn exists(&self, key: &str) -> Result<bool, Failure> {
        self.0.exists(key).map_err(failure)
    }

    /// Gives a key a value.
    /// # Errors
    /// `Stepwell.NotGranted`: it may only be read; `Stepwell.NamespaceFull`; `Stepwell.KeyValueRefused`.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<(), Failure> {
        self.0.set(key, value).map_err(failure)
    }

    /// Gives many keys values.
    /// # Errors
    /// As [`Namespace::set`].
    pub fn set_many<'a>(
        &self,
        pairs: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<(), Failure> {
        let pairs = pairs.into_iter();
        let pairs: Vec<_> = pairs.map(|(k, v)| (k.to_owned(), v.to_vec())).collect();
        batch::set_many(&self.0, &pairs).map_err(failure)
    }

    /// Takes a key's value away; one that has none is no error.
    /// # Errors
    /// As [`Namespace::set`].
    pub fn delete(&self, key: &str) -> Result<(), Failure> {
        self.0.delete(key).map_err(failure)
    }

    /// Takes many keys' values away.
    /// # Errors
    /// As [`Namespace::set`].
    pub fn delete_many(&self, keys: &[&str]) -> Result<(), Failure> {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        batch::delete_many(&self.0, &keys).map_err(failure)
    }

    /// Adds to a number, which is kept as decimal text, and gives the sum; none there counts as 0.
    /// # Errors
    /// As [`Namespace::set`], or the value is no number.
    pub fn increment(&self, key: &str, delta: u64) -> Result<u64, Failure> {
        atomics::increment(&self.0, key, delta).map_err(failure)
    }

    /// All keys, in order, held in memory together.
    /// # Errors
    /// As [`Namespace::get`].
    pub fn keys(&self) -> Result<Vec<String>, Failure> {
        let (mut keys, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.0.list_keys(cursor).map_err(failure)?;
            keys.extend(page.keys);
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(keys);
            }
        }
    }
}

fn failure(e: Error) -> Failure {
    match e {
        Error::AccessDenied | Error::NoSuchStore => Failure::new(
            "Stepwell.NotGranted",
            "the manifest does not grant the namespace, or not for writing",
        ),
        // The host's own names come in front of its text.
        Error::Other(why) => match why.split_once(": ") {
            Some((name, why)) if name.starts_with("Stepwell.") => Failure::new(name, why),
            _ => Failure::new("Stepwell.KeyValueRefused", why),
        },
    }
}
