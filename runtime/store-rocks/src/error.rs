//! Turns the backend's and the system's words into the store's errors.

use std::io;
use std::path::Path;

use rocksdb::ErrorKind;
use stepwell_store::Error;

/// What RocksDB said while we tried to `action`.
pub(crate) fn rocks(action: &'static str, error: &rocksdb::Error) -> Error {
    let detail = error.to_string();
    match error.kind() {
        ErrorKind::Corruption => Error::Damaged {
            detail: format!("RocksDB cannot {action}: {detail}"),
        },
        _ => Error::Medium { action, detail },
    }
}

/// What the system said about a file of the data directory.
pub(crate) fn file(action: &'static str, path: &Path, error: impl Into<io::Error>) -> Error {
    Error::Medium {
        action,
        detail: format!("{}: {}", path.display(), error.into()),
    }
}
