//! The vault: secrets sealed in the store by a master key that lies in a file of its own.
//!
//! A row holds a secret's versions, each sealed with AES-256-GCM under a random nonce. The secret's
//! name, the version and the key's id are bound to it: a row that was moved or mended does not open.
//! Refuses to write: it gives rows to who may, and reads what is durable.

mod keys;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use stepwell_store::{Key, Range, Reader};
use stepwell_types::limits::{SECRET_BYTES_MAX, SECRETS_MAX};
use stepwell_types::{Failure, Secret, Timestamp};
use zeroize::Zeroizing;

use crate::Error;
use crate::secrets::{DIGEST_KEY_BYTES, Opened, Secrets};
use keys::{KeyId, Keys};

/// First byte of a secret's row.
const ROW_VERSION: u8 = 1;
/// Versions that are kept: an attempt that began with an older one can still end.
const VERSIONS_KEPT: usize = 8;
/// Rows read at a time.
const ROWS: usize = 16;

/// Draws 16 unpredictable bytes: given by `cli`.
pub type Draw = Arc<dyn Fn() -> [u8; 16] + Send + Sync>;

/// A secret's row.
#[derive(Default, Serialize, Deserialize)]
struct Row {
    /// The last version that was given out; it is never given out again.
    last: u32,
    /// Oldest first.
    versions: Vec<Sealed>,
}

/// One version, sealed.
#[derive(Serialize, Deserialize)]
struct Sealed {
    version: u32,
    at: Timestamp,
    key: KeyId,
    nonce: [u8; NONCE_LEN],
    /// The digest key, the value, and the seal's tag.
    bytes: Vec<u8>,
}

/// A version of a secret, as lists show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// From 1; a number never names two values.
    pub version: u32,
    /// When it was set.
    pub at: Timestamp,
}

/// Seals and opens secrets. Cheap to clone.
#[derive(Clone)]
pub struct Vault(Arc<Inner>);

struct Inner {
    reader: Arc<dyn Reader>,
    file: PathBuf,
    draw: Draw,
    /// Empty until there is a key file.
    keys: Mutex<Keys>,
}

impl Vault {
    /// A vault over the rows of a store. The key file is made when the first secret is set.
    /// # Errors
    /// `HOST0006`: the file is there, and is no key file or open to others.
    pub fn open(reader: Arc<dyn Reader>, file: PathBuf, draw: Draw) -> Result<Vault, Error> {
        let keys = Keys::read(&file)?;
        // A process that was killed may have given it its name and no more, and what is sealed from here on
        // needs it. One may not look into every folder in which one's key is.
        let _ = keys::sync_name(&file);
        Ok(Vault(Arc::new(Inner {
            reader,
            file,
            draw,
            keys: Mutex::new(keys),
        })))
    }

    /// Whether the key file opens every secret in the store.
    /// # Errors
    /// `HOST0007`; `HOST0008` when the store or a row cannot be read.
    pub fn check(&self) -> Result<(), Error> {
        self.check_with(&self.0.keys.lock().clone())
    }

    fn check_with(&self, keys: &Keys) -> Result<(), Error> {
        match self.used()?.into_iter().find(|id| keys.get(*id).is_none()) {
            None => Ok(()),
            Some(id) => Err(self.no_key(id)),
        }
    }

    /// The keys that rows are sealed with.
    fn used(&self) -> Result<BTreeSet<KeyId>, Error> {
        let mut used = BTreeSet::new();
        let mut after: Option<Arc<str>> = None;
        loop {
            let range = Range::Secrets {
                after: after.clone(),
            };
            let rows = self.0.reader.scan(&range, ROWS);
            let rows = rows.map_err(|e| damaged("", &e.to_string()))?;
            for (key, value) in &rows {
                let Key::Secret { name } = key else { continue };
                let row = read_row(name, value)?;
                used.extend(row.versions.iter().map(|sealed| sealed.key));
                after = Some(name.clone());
            }
            if rows.len() < ROWS {
                return Ok(used);
            }
        }
    }

    /// The row of a secret with one version more, and that version's number.
    /// # Errors
    /// `HOST0006` to `HOST0008`; `HOST0009`: it is empty, too large, or one too many.
    pub fn add(
        &self,
        name: &str,
        row: Option<&[u8]>,
        value: &Secret,
        at: Timestamp,
    ) -> Result<(Vec<u8>, u32), Error> {
        let bytes = value.bytes().len();
        if bytes == 0 || bytes > SECRET_BYTES_MAX {
            return Err(Error::SecretRefused {
                detail: format!("it has {bytes} bytes; 1 to {SECRET_BYTES_MAX} are possible"),
            });
        }
        // A new key beside rows of another would hide that the right one is missing. The caller
        // sets one secret at a time.
        let mut keys = self.0.keys.lock().clone();
        self.check_with(&keys)?;
        if keys.is_empty() {
            keys = Keys::create(&self.0.file, &*self.0.draw)?;
            *self.0.keys.lock() = keys.clone();
        }
        let mut row = match row {
            Some(bytes) => read_row(name, bytes)?,
            None => Row::default(),
        };
        row.last += 1;
        let plain = Zeroizing::new([&drawn(&self.0.draw)[..], value.bytes()].concat());
        let sealed = self.seal(&keys, name, row.last, at, &plain)?;
        row.versions.push(sealed);
        let old = row.versions.len().saturating_sub(VERSIONS_KEPT);
        row.versions.drain(..old);
        Ok((write_row(&row), row.last))
    }

    /// The row of a secret that is no more: it remembers the last version's number.
    /// # Errors
    /// `HOST0008`.
    pub fn clear(name: &str, row: &[u8]) -> Result<Vec<u8>, Error> {
        let mut row = read_row(name, row)?;
        row.versions.clear();
        Ok(write_row(&row))
    }

    /// The versions in a row, oldest first; none: the secret was deleted.
    /// # Errors
    /// `HOST0008`.
    pub fn versions(name: &str, row: &[u8]) -> Result<Vec<Version>, Error> {
        let row = read_row(name, row)?;
        let about = |sealed: &Sealed| Version {
            version: sealed.version,
            at: sealed.at,
        };
        Ok(row.versions.iter().map(about).collect())
    }

    /// Puts a new master key before the others in the file. Rows are to be sealed anew then, and
    /// the old keys dropped; who is interrupted begins again.
    /// # Errors
    /// `HOST0006` to `HOST0008`.
    pub fn begin_rotation(&self) -> Result<(), Error> {
        let keys = self.0.keys.lock().clone();
        let used = self.used()?;
        if let Some(id) = used.iter().find(|id| keys.get(**id).is_none()) {
            return Err(self.no_key(*id));
        }
        keys.still_in(&self.0.file)?;
        // Of rotations that were interrupted some may be there that nothing needs.
        let keys = keys.only(&used).with_new(&self.0.file, &*self.0.draw)?;
        *self.0.keys.lock() = keys;
        Ok(())
    }

    /// A row sealed anew with the newest key.
    /// # Errors
    /// `HOST0007`, `HOST0008`.
    pub fn reseal(&self, name: &str, row: &[u8]) -> Result<Vec<u8>, Error> {
        let keys = self.0.keys.lock().clone();
        let mut row = read_row(name, row)?;
        for sealed in &mut row.versions {
            let plain = self.unseal(&keys, name, sealed)?;
            *sealed = self.seal(&keys, name, sealed.version, sealed.at, &plain)?;
        }
        Ok(write_row(&row))
    }

    /// Drops all keys but the newest.
    /// # Errors
    /// `HOST0006`; `HOST0007`: a row still needs an older one.
    pub fn end_rotation(&self) -> Result<(), Error> {
        let keys = self.0.keys.lock().clone();
        let newest = keys.newest_alone();
        self.check_with(&newest)?;
        keys.still_in(&self.0.file)?;
        newest.write(&self.0.file)?;
        *self.0.keys.lock() = newest;
        Ok(())
    }

    fn seal(
        &self,
        keys: &Keys,
        name: &str,
        version: u32,
        at: Timestamp,
        plain: &[u8],
    ) -> Result<Sealed, Error> {
        let (id, key) = keys.newest().ok_or_else(|| damaged(name, "no key"))?;
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&(self.0.draw)()[..NONCE_LEN]);
        // With room for the tag: growing would leave a copy of the value behind.
        let mut bytes = Vec::with_capacity(plain.len() + AES_256_GCM.tag_len());
        bytes.extend_from_slice(plain);
        let aad = Aad::from(bound(name, version, id));
        cipher(key)?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut bytes)
            .map_err(|_| damaged(name, "it cannot be sealed"))?;
        Ok(Sealed {
            version,
            at,
            key: id,
            nonce,
            bytes,
        })
    }

    fn unseal(
        &self,
        keys: &Keys,
        name: &str,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let key = keys
            .get(sealed.key)
            .ok_or_else(|| self.no_key(sealed.key))?;
        let mut bytes = Zeroizing::new(sealed.bytes.clone());
        let aad = Aad::from(bound(name, sealed.version, sealed.key));
        let nonce = Nonce::assume_unique_for_key(sealed.nonce);
        let opened = cipher(key)?.open_in_place(nonce, aad, &mut bytes);
        let len = opened
            .map_err(|_| damaged(name, "its seal is broken"))?
            .len();
        bytes.truncate(len);
        Ok(bytes)
    }

    fn no_key(&self, id: KeyId) -> Error {
        Error::OtherKey {
            file: self.0.file.display().to_string(),
            id: id.to_string(),
        }
    }

    fn read(&self, name: &str, version: Option<u32>) -> Result<Option<Opened>, Error> {
        let key = Key::Secret { name: name.into() };
        let row = self.0.reader.get(&key);
        let Some(row) = row.map_err(|e| damaged(name, &e.to_string()))? else {
            return Ok(None);
        };
        let row = read_row(name, &row)?;
        let sealed = match version {
            None => row.versions.last(),
            Some(version) => row.versions.iter().find(|s| s.version == version),
        };
        let Some(sealed) = sealed else {
            return Ok(None);
        };
        let keys = self.0.keys.lock().clone();
        let plain = self.unseal(&keys, name, sealed)?;
        let (digest_key, value) = plain
            .split_first_chunk::<DIGEST_KEY_BYTES>()
            .ok_or_else(|| damaged(name, "it is too short"))?;
        Ok(Some(Opened {
            version: sealed.version,
            value: Secret::new(value.to_vec()),
            digest_key: Some(Secret::new(digest_key.to_vec())),
        }))
    }
}

impl Secrets for Vault {
    fn open(&self, name: &str, version: Option<u32>) -> Result<Option<Opened>, Failure> {
        self.read(name, version).map_err(|e| {
            tracing::error!(code = e.code(), secret = name, reason = %e, "a secret cannot be opened");
            Failure::new("Stepwell.SecretUnreadable", e.to_string())
        })
    }
}

/// Whether there may be another secret beside `count`.
/// # Errors
/// `HOST0009`.
pub fn room(count: usize) -> Result<(), Error> {
    if count < SECRETS_MAX {
        return Ok(());
    }
    Err(Error::SecretRefused {
        detail: format!("there are {count} secrets, and no more are possible"),
    })
}

/// What is bound to a sealed value beside the key.
fn bound(name: &str, version: u32, key: KeyId) -> Vec<u8> {
    let mut bytes = b"stepwell secret\0".to_vec();
    bytes.push(ROW_VERSION);
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&key.0);
    bytes.extend_from_slice(name.as_bytes());
    bytes
}

fn cipher(key: &[u8]) -> Result<LessSafeKey, Error> {
    let key = UnboundKey::new(&AES_256_GCM, key);
    Ok(LessSafeKey::new(
        key.map_err(|_| damaged("", "the key has another length"))?,
    ))
}

fn drawn(draw: &Draw) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([draw(), draw()].concat())
}

fn read_row(name: &str, bytes: &[u8]) -> Result<Row, Error> {
    match bytes.split_first() {
        Some((&ROW_VERSION, rest)) => {
            postcard::from_bytes(rest).map_err(|_| damaged(name, "its row cannot be read"))
        }
        _ => Err(damaged(name, "its row is of another release")),
    }
}

fn write_row(row: &Row) -> Vec<u8> {
    let mut bytes = vec![ROW_VERSION];
    // Plain data into memory: the encoder has no way to fail.
    bytes.extend(postcard::to_allocvec(row).unwrap_or_default());
    bytes
}

fn damaged(name: &str, detail: &str) -> Error {
    Error::SecretDamaged {
        name: name.to_owned(),
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests;
