//! The key file: master keys, the newest first, in a file that only its owner may read.
//!
//! Refuses a file that others may read or write, and to change one in place.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

use crate::Error;

/// Before each key in the file.
const MARK: &str = "stepwell-key-1 ";
/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Most bytes of a key file.
const FILE_BYTES_MAX: u64 = 16 << 10;
/// What the file says of itself.
const HEAD: &str = "\
# The master key of a Stepwell data directory: it opens the secrets there.
# Without it they are lost. Keep a copy apart from copies of the data directory.
";

/// Names a key without telling anything of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct KeyId(pub(super) [u8; 8]);

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The keys of the file, the newest first.
#[derive(Clone, Default)]
pub(super) struct Keys(Arc<Vec<(KeyId, Zeroizing<[u8; KEY_BYTES]>)>>);

impl Keys {
    /// Those of the file; none when there is no file.
    pub(super) fn read(file: &Path) -> Result<Keys, Error> {
        let bad = |detail: String| unusable(file, detail);
        // A link, a pipe or a device is none of ours.
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(NOFOLLOW | NONBLOCK)
            .open(file);
        let opened = match opened {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Keys::default()),
            opened => opened.map_err(|e| bad(format!("it cannot be read: {e}")))?,
        };
        let about = opened.metadata().map_err(|e| bad(e.to_string()))?;
        if !about.is_file() {
            return Err(bad("it is no file".to_owned()));
        }
        if about.mode() & 0o077 != 0 {
            let mode = about.mode() & 0o777;
            return Err(bad(format!(
                "other users may use it (mode {mode:o}); `chmod 600` keeps them out"
            )));
        }
        let mut text = Zeroizing::new(String::new());
        let read = opened.take(FILE_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|e| bad(format!("it cannot be read: {e}")))?;
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys = lines.map(|line| line.strip_prefix(MARK).and_then(key));
        let keys: Option<Vec<_>> = keys.collect();
        match keys.filter(|keys| !keys.is_empty()) {
            Some(keys) => Ok(Keys(Arc::new(keys))),
            None => Err(bad(format!(
                "it is no key file: a line begins with `{}` and has 64 hexadecimal digits",
                MARK.trim()
            ))),
        }
    }

    /// A first key, in a new file.
    pub(super) fn create(file: &Path, draw: &dyn Fn() -> [u8; 16]) -> Result<Keys, Error> {
        if file.exists() {
            let detail = "it came after the server started; start the server again".to_owned();
            return Err(unusable(file, detail));
        }
        let keys = Keys(Arc::new(vec![new(draw)]));
        keys.write(file)?;
        Ok(keys)
    }

    /// These keys after a new one, in the file too.
    pub(super) fn with_new(&self, file: &Path, draw: &dyn Fn() -> [u8; 16]) -> Result<Keys, Error> {
        let mut keys = vec![new(draw)];
        keys.extend(self.0.iter().cloned());
        let keys = Keys(Arc::new(keys));
        keys.write(file)?;
        Ok(keys)
    }

    /// Those of these ids.
    pub(super) fn only(&self, ids: &BTreeSet<KeyId>) -> Keys {
        let kept = self.0.iter().filter(|(id, _)| ids.contains(id));
        Keys(Arc::new(kept.cloned().collect()))
    }

    /// Whether the file still holds these keys.
    pub(super) fn still_in(&self, file: &Path) -> Result<(), Error> {
        let ids = |keys: &Keys| keys.0.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        if ids(&Keys::read(file)?) == ids(self) {
            return Ok(());
        }
        let detail = "it was changed after the server started; start the server again".to_owned();
        Err(unusable(file, detail))
    }

    /// The newest without the others.
    pub(super) fn newest_alone(&self) -> Keys {
        Keys(Arc::new(self.0.iter().take(1).cloned().collect()))
    }

    /// Puts the keys in the file's place: all of them, or the file stays as it was.
    pub(super) fn write(&self, file: &Path) -> Result<(), Error> {
        let mut text = Zeroizing::new(HEAD.to_owned());
        for (_, key) in self.0.iter() {
            text.push_str(MARK);
            for byte in key.iter() {
                for digit in [byte >> 4, byte & 15] {
                    text.push(char::from_digit(digit.into(), 16).unwrap_or_default());
                }
            }
            text.push('\n');
        }
        let mut new = file.as_os_str().to_owned();
        new.push(".new");
        let new = Path::new(&new);
        let write = || {
            // What an interrupted process left may have another mode.
            match std::fs::remove_file(new) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            let mut made = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(new)?;
            made.write_all(text.as_bytes())?;
            made.sync_all()?;
            std::fs::rename(new, file)?;
            sync_name(file)
        };
        write().map_err(|e| unusable(file, format!("it cannot be written: {e}")))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn newest(&self) -> Option<(KeyId, &[u8])> {
        self.0.first().map(|(id, key)| (*id, key.as_slice()))
    }

    pub(super) fn get(&self, id: KeyId) -> Option<&[u8]> {
        let found = self.0.iter().find(|(known, _)| *known == id);
        found.map(|(_, key)| key.as_slice())
    }
}

/// Brings a file's name to the disk.
pub(super) fn sync_name(file: &Path) -> std::io::Result<()> {
    let folder = file.parent().filter(|f| !f.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

const NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

fn new(draw: &dyn Fn() -> [u8; 16]) -> (KeyId, Zeroizing<[u8; KEY_BYTES]>) {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    for half in key.chunks_exact_mut(16) {
        let mut bytes = draw();
        half.copy_from_slice(&bytes);
        bytes.zeroize();
    }
    (id(&key), key)
}

fn key(digits: &str) -> Option<(KeyId, Zeroizing<[u8; KEY_BYTES]>)> {
    if digits.len() != 2 * KEY_BYTES {
        return None;
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    for (i, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some((id(&key), key))
}

fn id(key: &[u8; KEY_BYTES]) -> KeyId {
    let mut hash = Sha256::new_with_prefix(b"stepwell key id\0");
    hash.update(key);
    let digest: [u8; 32] = hash.finalize().into();
    let mut id = [0; 8];
    id.copy_from_slice(&digest[..8]);
    KeyId(id)
}

fn unusable(file: &Path, detail: String) -> Error {
    Error::KeyFile {
        file: file.display().to_string(),
        detail,
    }
}
