//! The folder of modules on disk: names, digests, and files that appear whole or not at all.
//!
//! Refuses to hand out an artifact whose bytes are not those that were written
//! for this engine. Someone who may write to the folder is not kept out: the
//! data directory belongs to the server alone.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};
use stepwell_types::Digest;

/// Prefix of files that are being written.
const TEMPORARY: &str = "tmp-";

pub(crate) struct Folder {
    path: PathBuf,
    /// Names the engine that artifacts are for.
    fingerprint: String,
    next: AtomicU64,
}

impl Folder {
    /// Opens or makes the folder and removes what an earlier process left half-written.
    pub(crate) fn open(path: PathBuf, fingerprint: String) -> io::Result<Folder> {
        fs::create_dir_all(&path)?;
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                // Another process may clean up as well.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Folder {
            path,
            fingerprint,
            next: AtomicU64::new(0),
        })
    }

    pub(crate) fn wasm(&self, digest: &Digest) -> PathBuf {
        self.path.join(format!("{digest}.wasm"))
    }

    pub(crate) fn info(&self, digest: &Digest) -> PathBuf {
        self.path.join(format!("{digest}.json"))
    }

    pub(crate) fn artifact(&self, digest: &Digest) -> PathBuf {
        self.path
            .join(format!("{digest}.{}.cwasm", self.fingerprint))
    }

    /// Holds the digest of the artifact beside it.
    fn sum(&self, digest: &Digest) -> PathBuf {
        self.path.join(format!("{digest}.{}.sum", self.fingerprint))
    }

    /// A name for a file that is being written.
    pub(crate) fn temporary(&self) -> PathBuf {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        self.path
            .join(format!("{TEMPORARY}{}-{n}", std::process::id()))
    }

    /// Every module that has its `.wasm` here, sorted.
    pub(crate) fn digests(&self) -> io::Result<Vec<Digest>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let digest: Option<Digest> = name
                .to_str()
                .and_then(|n| n.strip_suffix(".wasm"))
                .and_then(|n| n.parse().ok());
            found.extend(digest);
        }
        found.sort();
        Ok(found)
    }

    /// Every digest of which there is any file.
    pub(crate) fn mentioned(&self) -> io::Result<BTreeSet<Digest>> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let digest = name.to_str().and_then(|name| name.split_once('.'));
            found.extend(digest.and_then(|(digest, _)| digest.parse::<Digest>().ok()));
        }
        Ok(found)
    }

    /// Moves a written file to its name, durably.
    pub(crate) fn place(&self, from: &Path, to: &Path) -> io::Result<()> {
        File::open(from)?.sync_all()?;
        fs::rename(from, to)?;
        File::open(&self.path)?.sync_all()
    }

    /// Writes a small file whole, durably.
    pub(crate) fn write(&self, to: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.temporary();
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        drop(file);
        self.place(&temporary, to)
    }

    /// Takes over a fresh artifact, and forgets those for other engines. The sum
    /// goes last: without it the artifact doesn't count.
    pub(crate) fn place_artifact(&self, digest: &Digest, from: &Path) -> io::Result<()> {
        let sum = hash_file(from)?;
        self.remove_where(|name| {
            name.strip_prefix(&format!("{digest}."))
                .is_some_and(|rest| rest.ends_with(".cwasm") || rest.ends_with(".sum"))
        })?;
        self.place(from, &self.artifact(digest))?;
        self.write(&self.sum(digest), sum.to_string().as_bytes())
    }

    /// The artifact for this engine, if its bytes are those that were written.
    pub(crate) fn checked_artifact(&self, digest: &Digest) -> Option<PathBuf> {
        let sum: Digest = fs::read_to_string(self.sum(digest)).ok()?.parse().ok()?;
        let path = self.artifact(digest);
        (hash_file(&path).ok()? == sum).then_some(path)
    }

    /// Removes all files of a module; whether there were any.
    pub(crate) fn remove(&self, digest: &Digest) -> io::Result<bool> {
        self.remove_where(|name| name.starts_with(&format!("{digest}.")))
    }

    fn remove_where(&self, goes: impl Fn(&str) -> bool) -> io::Result<bool> {
        let mut any = false;
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(&goes) {
                fs::remove_file(entry.path())?;
                any = true;
            }
        }
        Ok(any)
    }
}

/// The digest of a file's bytes.
pub(crate) fn hash_file(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 256 << 10];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(Digest(hash.finalize().into())),
            n => hash.update(&chunk[..n]),
        }
    }
}
