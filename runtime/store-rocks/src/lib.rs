//! The durable store: one directory, one embedded RocksDB, rows by typed key.
//!
//! Refuses to leak a RocksDB type, to open a directory that is not its own, in use
//! or from a newer release, and to go on after a failed commit.

mod ballast;
mod black_box;
mod columns;
mod database;
mod directory;
mod error;
mod keys;
mod log_frames;
mod watermark;

use std::path::Path;

pub use black_box::BlackBox;
pub use database::{RocksReader, RocksWriter};
pub use stepwell_store::Error;

/// The on-disk format that this release writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// How to open a store. Every field has a default in [`Options::default`].
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether a commit waits for the disk. Default `true`. `false` breaks the promise
    /// of [`stepwell_store::Writer::commit`] and is only for the test that shows so.
    pub sync: bool,
    /// Bytes of the ballast file: space that is given up so that a full disk can be
    /// opened again. Default 32 MiB; 0: none.
    pub ballast_bytes: u64,
    /// Bytes of the cache for blocks, indexes and filters. Default 64 MiB.
    pub cache_bytes: usize,
    /// Bytes of rows held in memory before they are written out as sorted files,
    /// over all columns. Default 96 MiB.
    pub memtable_bytes_max: usize,
    /// Bytes of write-ahead log kept, which a restart replays: 100 MiB take about a
    /// second. Default 128 MiB.
    pub wal_bytes_max: u64,
    /// Files kept open. Default 512, half of the usual limit of a process.
    pub open_files_max: i32,
    /// Threads that write out and merge files. Default 2: the cores are for steps.
    pub background_threads: i32,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            sync: true,
            ballast_bytes: 32 << 20,
            cache_bytes: 64 << 20,
            memtable_bytes_max: 96 << 20,
            wal_bytes_max: 128 << 20,
            open_files_max: 512,
            background_threads: 2,
        }
    }
}

/// Whether a store may be made in the folder `store` of `dir`, beside folders of these names:
/// there is one already, or nothing else is in `dir`. Nothing is touched.
/// # Errors
/// `STORE0005`: `dir` holds something else; `STORE0001`: it cannot be read.
pub fn may_hold(dir: &Path, store: &str, beside: &[&str]) -> Result<(), Error> {
    if directory::has_format(&dir.join(store)) {
        return Ok(());
    }
    let ours: Vec<&str> = beside
        .iter()
        .copied()
        .chain([store, "lost+found"])
        .collect();
    directory::refuse_foreign(dir, &ours)
}

/// Opens the store in `dir`, which is made if missing (its parent must exist).
///
/// `dir` must be empty or a store's own; other programs keep out of it. The lock is
/// held until the writer and the last clone of the reader are dropped.
/// # Errors
/// `STORE0001`: the medium failed; `STORE0002`: the files are damaged or
/// incomplete; `STORE0003`: a newer release wrote it (nothing was touched);
/// `STORE0004`: another process has it open; `STORE0005`: it is no store's directory.
pub fn open(dir: &Path, options: Options) -> Result<(RocksReader, RocksWriter), Error> {
    database::open(dir, &options)
}
