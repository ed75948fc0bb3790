//! The ballast: a file that is given up when the disk is full, so that the store can be
//! opened and the work that was accepted can end.
//!
//! Refuses to make a full disk fuller: it is only made when twice its size is free.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use rustix::fs::{FallocateFlags, fallocate};
use stepwell_store::Error;

use crate::directory::Directory;
use crate::error;

pub(crate) const FILE: &str = "ballast";

#[derive(Debug)]
pub(crate) struct Ballast {
    file: PathBuf,
    bytes: u64,
    there: bool,
}

impl Ballast {
    /// Looks for the file, and removes it when the disk has less free than it holds, or
    /// less than what RocksDB may write out while it opens: at most its logs.
    pub(crate) fn open(directory: &Directory, bytes: u64) -> Result<Ballast, Error> {
        let file = directory.path().join(FILE);
        let held = fs::metadata(&file).ok().map(|m| m.len());
        let mut there = held == Some(bytes) && bytes > 0;
        // One of another size, or whose making was cut short, is made anew.
        let needed = bytes.max(directory.log_bytes()?);
        if held.is_some() && (!there || directory.free_bytes()? < needed) {
            fs::remove_file(&file).map_err(|e| error::file("remove its ballast", &file, e))?;
            there = false;
        }
        Ok(Ballast { file, bytes, there })
    }

    /// Whether [`Ballast::renew`] has something to do.
    pub(crate) fn missing(&self) -> bool {
        !self.there && self.bytes > 0
    }

    /// Makes the file when it is missing and there is room.
    ///
    /// That it can't be made is no error: the store is as good without, until the
    /// disk is full.
    pub(crate) fn renew(&mut self, directory: &Directory) -> Result<(), Error> {
        if !self.missing() || directory.free_bytes()? / 2 < self.bytes {
            return Ok(());
        }
        self.there = allocate(&self.file, self.bytes).is_ok();
        if !self.there {
            // What was begun takes space for nothing; the next open removes it otherwise.
            let _ = fs::remove_file(&self.file);
        }
        Ok(())
    }
}

fn allocate(path: &PathBuf, bytes: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => {}
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            // Bytes that no file system can fold away.
            let mut block = vec![0u8; 64 << 10];
            let (mut left, mut n) = (bytes, 1u32);
            while left > 0 {
                for byte in &mut block {
                    n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    *byte = n.to_be_bytes()[0];
                }
                let part = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                file.write_all(block.get(..part).unwrap_or_default())?;
                left -= part as u64;
            }
        }
        Err(e) => return Err(e.into()),
    }
    file.sync_all()
}
