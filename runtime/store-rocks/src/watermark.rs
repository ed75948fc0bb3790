//! The watermark: the number of the last change that is surely on the disk, noted beside the rows.
//!
//! RocksDB takes a damaged or shortened log for one whose tail a power cut has torn, and opens with
//! what is before. A tail was never promised to anybody; what is below the watermark was. It is
//! noted after the sync of a commit, so that it is never above what was promised, whatever ends the
//! process or the machine. Refuses to be synced itself: one that lags only sees less.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use stepwell_store::Error;

use crate::directory::Directory;
use crate::error;

pub(crate) const FILE: &str = "watermark";

/// `stepmark`; another meaning gets another word.
const MAGIC: u64 = u64::from_be_bytes(*b"stepmark");

#[derive(Debug)]
pub(crate) struct Watermark(File);

impl Watermark {
    /// Opens the file, which is made if it is missing, and gives what it says.
    pub(crate) fn open(directory: &Directory) -> Result<(Watermark, Option<u64>), Error> {
        let path = directory.path().join(FILE);
        let open = || -> io::Result<(Watermark, Option<u64>)> {
            let file = File::options()
                .create(true)
                .read(true)
                .write(true)
                .truncate(false)
                .open(&path)?;
            let mut bytes = [0; 16];
            let known = match file.read_exact_at(&mut bytes, 0) {
                Ok(()) => read(bytes),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => None,
                Err(e) => return Err(e),
            };
            Ok((Watermark(file), known))
        };
        open().map_err(|e| error::file("open its watermark", &path, e))
    }

    /// All changes up to this number are on the disk. A disk that is full or fails leaves the
    /// number before it, which is true as well.
    pub(crate) fn note(&self, number: u64) {
        let word = u128::from(MAGIC) << 64 | u128::from(number);
        let _ = self.0.write_all_at(&word.to_be_bytes(), 0);
    }
}

fn read(bytes: [u8; 16]) -> Option<u64> {
    let word = u128::from_be_bytes(bytes);
    let number = u64::try_from(word & u128::from(u64::MAX)).ok()?;
    (word >> 64 == u128::from(MAGIC)).then_some(number)
}
