//! Plays a power cut after a `kill -9`: throws away what was written but never synced. And, in
//! [`names`], plays a name server.
//!
//! A kill leaves the page cache whole, so on its own it cannot tell a commit that was
//! synced from one that was only written. A [`Recorder`] preloads `synced.c` into the
//! program under test; after the kill, [`Recorder::discard_unsynced`] gives every directory the
//! names that it had at its last sync, and cuts every file to the size it had at its own.
//!
//! What it plays: names (creation, rename, removal) are durable by `fsync` of their directory alone,
//! contents by `fsync` or `fdatasync` of their file, and a file that was never synced is gone.
//! That is as little as POSIX promises; many file systems keep more.
//! It refuses to play what needs more than names and sizes: a part of a file written over
//! in place stays as it was written last. `msync` and raw system calls that pass by
//! libc are not seen, so what they sync counts as unsynced. Linux only.

#![cfg(target_os = "linux")]

mod durable;
pub mod names;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

/// Entries of the table. The same number stands in `synced.c`.
const SLOTS: usize = 1 << 16;
const SLOT_BYTES: usize = 16;

/// What a power cut leaves of the bytes after the last sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    Gone,
    /// A part of them, drawn from this seed, of which the last block is garbage: what
    /// reached the disk by itself.
    Torn(u64),
}

/// What [`Recorder::discard_unsynced`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discarded {
    /// Files that lost their tail.
    pub cut: u64,
    /// Files that were never synced.
    pub removed: u64,
    /// Names that were made, given away or removed, and are as before.
    pub names: u64,
    /// Bytes that are gone, of both.
    pub bytes: u64,
}

/// Records the syncs of a program below some directories.
#[derive(Debug)]
pub struct Recorder {
    library: PathBuf,
    table: PathBuf,
    /// What each directory had at its last sync.
    names: PathBuf,
    dirs: Vec<PathBuf>,
}

impl Recorder {
    /// Compiles the library into `work` with `cc`, which Rust needs as its linker
    /// anyway. `dirs` are where the program writes, its data directory for instance; they are made if
    /// they are missing, and what is in them now counts as
    /// durable. `work` must be on the same file system and not below one of them.
    /// # Errors
    /// When the compiler fails, or a file system keeps no time of birth.
    pub fn new(work: &Path, dirs: &[&Path]) -> io::Result<Recorder> {
        let whole = |dir: &&Path| {
            fs::create_dir_all(dir)?;
            fs::canonicalize(dir)
        };
        let recorder = Recorder {
            library: compiled(work, "synced", include_str!("synced.c"))?,
            table: work.join("synced"),
            names: work.join("synced-names"),
            dirs: dirs.iter().map(whole).collect::<io::Result<_>>()?,
        };
        recorder.restart()?;
        Ok(recorder)
    }

    /// Forgets the syncs so far: what is in the directory now counts as durable. To
    /// be called before each start of the program.
    /// # Errors
    /// The file system's.
    pub fn restart(&self) -> io::Result<()> {
        let mut table = vec![0u8; SLOTS * SLOT_BYTES];
        durable::forget(&self.names)?;
        for dir in &self.dirs {
            durable::note(&self.names, dir)?;
            for path in files(dir)? {
                let (key, size) = identity(&path)?;
                let slot = find(&table, key).ok_or_else(|| io::Error::other("too many files"))?;
                table[slot..slot + 8].copy_from_slice(&key.to_ne_bytes());
                table[slot + 8..slot + 16].copy_from_slice(&size.to_ne_bytes());
            }
        }
        fs::write(&self.table, table)
    }

    /// The environment with which the program under test is to be started.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, OsString); 4] {
        let dirs: Vec<OsString> = self.dirs.iter().map(|dir| dir.clone().into()).collect();
        [
            ("LD_PRELOAD", self.library.clone().into()),
            ("STEPWELL_SYNCED", self.table.clone().into()),
            ("STEPWELL_SYNCED_NAMES", self.names.clone().into()),
            ("STEPWELL_SYNCED_DIRS", dirs.join(&OsString::from(":"))),
        ]
    }

    /// Throws away what the program did below the directories and never synced. The
    /// program must be dead.
    /// # Errors
    /// The file system's.
    pub fn discard_unsynced(&self, tail: Tail) -> io::Result<Discarded> {
        let table = fs::read(&self.table)?;
        let mut done = Discarded::default();
        let mut all = Vec::new();
        for dir in &self.dirs {
            done.names += durable::restore(&self.names, dir)?;
            all.extend(files(dir)?);
        }
        for path in all {
            let (key, size) = identity(&path)?;
            let slot = find(&table, key).ok_or_else(|| io::Error::other("the table is full"))?;
            if word(&table, slot) != key {
                fs::remove_file(&path)?;
                done.removed += 1;
                done.bytes += size;
                continue;
            }
            let synced = word(&table, slot + 8);
            if synced < size {
                let kept = cut(&path, synced, size, tail)?;
                done.cut += 1;
                done.bytes += size - kept;
            }
        }
        Ok(done)
    }
}

/// The library of a source, compiled into `work`.
fn compiled(work: &Path, name: &str, text: &str) -> io::Result<PathBuf> {
    let source = work.join(format!("{name}.c"));
    let library = work.join(format!("lib{name}.so"));
    fs::write(&source, text)?;
    let built = Command::new("cc")
        .args([
            "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-pthread", "-o",
        ])
        .args([&library, &source])
        .output()?;
    if !built.status.success() {
        let why = String::from_utf8_lossy(&built.stderr).into_owned();
        return Err(io::Error::other(format!("cc: {why}")));
    }
    Ok(library)
}

fn cut(path: &Path, synced: u64, size: u64, tail: Tail) -> io::Result<u64> {
    use std::os::unix::fs::FileExt;
    let file = File::options().write(true).open(path)?;
    let kept = match tail {
        Tail::Gone => synced,
        Tail::Torn(seed) => {
            let drawn = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) ^ size;
            synced + drawn % (size - synced + 1)
        }
    };
    file.set_len(kept)?;
    if tail != Tail::Gone {
        let garbage = usize::try_from((kept - synced).min(512)).map_err(io::Error::other)?;
        file.write_all_at(&vec![0xa5; garbage], kept - garbage as u64)?;
    }
    Ok(kept)
}

/// Regular files below `dir`; none when it does not exist yet.
fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let entries = match fs::read_dir(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                dirs.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

/// The key of a file in the table, and its size.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let wanted = StatxFlags::INO | StatxFlags::SIZE | StatxFlags::BTIME;
    let s = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, wanted)?;
    if s.stx_mask & StatxFlags::BTIME.bits() == 0 {
        let why = "the file system keeps no time of birth, which tells reused inodes apart";
        return Err(io::Error::other(why));
    }
    // As `key_of` in `synced.c`.
    let key = s.stx_ino.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ s.stx_btime
            .tv_sec
            .cast_unsigned()
            .wrapping_mul(0xbf58_476d_1ce4_e5b9)
        ^ u64::from(s.stx_btime.tv_nsec).wrapping_mul(0x94d0_49bb_1331_11eb);
    Ok((key.max(1), s.stx_size))
}

/// Where in the table the key is, or the free place where it belongs.
fn find(table: &[u8], key: u64) -> Option<usize> {
    (0..SLOTS as u64)
        .map(|i| (key.wrapping_add(i) % SLOTS as u64) as usize * SLOT_BYTES)
        .find(|slot| matches!(word(table, *slot), found if found == 0 || found == key))
}

fn word(table: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    if let Some(found) = table.get(at..at + 8) {
        bytes.copy_from_slice(found);
    }
    u64::from_ne_bytes(bytes)
}
