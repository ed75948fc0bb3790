//! The data directory: whose it is, who has it open, and what wrote it.
//!
//! Refuses, before anything is touched, a directory with foreign files, one in use and
//! one of a newer release. Its files:
//!
//! | file | what |
//! |---|---|
//! | `FORMAT` | the on-disk format, as text; written last when the store is made |
//! | `LOCK` | held while the store is open |
//! | `ballast` | space to give up |
//! | `watermark` | how far the rows are surely on the disk |
//! | `rows/` | RocksDB's own |

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use stepwell_store::Error;

use crate::log_frames::{self, Fault};
use crate::{FORMAT, ballast, error, watermark};

const FORMAT_FILE: &str = "FORMAT";
const FORMAT_FILE_NEW: &str = "FORMAT.new";
const LOCK_FILE: &str = "LOCK";
const ROWS: &str = "rows";

/// What may be in a directory whose store was not finished, or hardly begun. A mounted
/// volume has a `lost+found` of its own.
const OURS: [&str; 6] = [
    FORMAT_FILE_NEW,
    LOCK_FILE,
    ROWS,
    ballast::FILE,
    watermark::FILE,
    "lost+found",
];

/// A data directory that this process holds.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// Whether the store in it is complete: its rows must be there.
    pub(crate) complete: bool,
    // Closing it gives the lock back.
    _lock: File,
}

impl Directory {
    /// Makes the directory if it is missing, and takes it.
    pub(crate) fn claim(path: &Path) -> Result<Directory, Error> {
        match fs::create_dir(path) {
            Ok(()) => sync_parent(path)?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(error::file("make its directory", path, e)),
        }
        // A first look before anything is written, even a lock file.
        read_format(path)?;
        let lock = lock(path)?;
        // Another process may have made the store while we waited for nothing.
        let complete = read_format(path)?.is_some();
        // Fresh rows in place of lost ones would look like an empty store.
        if complete && !path.join(ROWS).join("CURRENT").exists() {
            return Err(Error::Damaged {
                detail: format!("{} is not there", path.join(ROWS).join("CURRENT").display()),
            });
        }
        Ok(Directory {
            path: path.to_owned(),
            complete,
            _lock: lock,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn rows(&self) -> PathBuf {
        self.path.join(ROWS)
    }

    /// Marks the store as complete. Durable when it returns.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        let (new, to) = (self.path.join(FORMAT_FILE_NEW), self.path.join(FORMAT_FILE));
        let write = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            writeln!(file, "stepwell {FORMAT}")?;
            file.sync_all()?;
            fs::rename(&new, &to)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|e| error::file("write its format", &to, e))?;
        self.complete = true;
        Ok(())
    }

    /// RocksDB's write-ahead logs, which opening replays.
    fn logs(&self) -> io::Result<Vec<PathBuf>> {
        self.row_files(is_log)
    }

    fn row_files(&self, which: impl Fn(&Path) -> bool) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(self.rows()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        let paths: Vec<PathBuf> = paths.collect::<io::Result<_>>()?;
        Ok(paths.into_iter().filter(|path| which(path)).collect())
    }

    /// How many bytes the logs have.
    pub(crate) fn log_bytes(&self) -> Result<u64, Error> {
        let sum = || -> io::Result<u64> {
            let mut sum = 0;
            for log in self.logs()? {
                sum += fs::metadata(log)?.len();
            }
            Ok(sum)
        };
        match sum() {
            // One went meanwhile.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
            sum => sum.map_err(|e| error::file("list its logs", &self.rows(), e)),
        }
    }

    /// Refuses a log or a manifest with which RocksDB would never be done, and a log of which it would
    /// miss a part without a word. The files stay as they are.
    pub(crate) fn check_frames(&self) -> Result<(), Error> {
        let framed = self
            .row_files(|path| is_log(path) || is_manifest(path))
            .map_err(|e| error::file("list its logs", &self.rows(), e))?;
        for path in framed {
            let found = File::open(&path)
                .and_then(|file| log_frames::fault(file, is_log(&path)))
                .map_err(|e| error::file("read its log", &path, e))?;
            let Some((at, fault)) = found else { continue };
            let what = match fault {
                Fault::Recycled(kind) => format!(
                    "{kind}, a kind of record that it cannot have and that RocksDB would read for ever"
                ),
                Fault::Zeros => "0 as what is around it, and records follow, with which RocksDB would go on as if nothing were missing".to_owned(),
            };
            let or = match is_log(&path) {
                true => ", or overwrite that byte with 255 to go on without what is behind it",
                false => "",
            };
            return Err(Error::Damaged {
                detail: format!(
                    "byte {at} of {} is {what}; restore a backup{or}",
                    path.display()
                ),
            });
        }
        Ok(())
    }

    /// Brings the logs to the disk. A process that was killed may have written what it never synced;
    /// RocksDB replays that and syncs new logs only, so that what is built on it would outlive it.
    pub(crate) fn sync_logs(&self) -> Result<(), Error> {
        let sync = || -> io::Result<()> {
            let logs = self.logs()?;
            for log in &logs {
                File::open(log)?.sync_all()?;
            }
            match logs.is_empty() {
                true => Ok(()),
                false => File::open(self.rows())?.sync_all(),
            }
        };
        sync().map_err(|e| error::file("sync its logs", &self.rows(), e))
    }

    /// Bytes that this process may still write.
    pub(crate) fn free_bytes(&self) -> Result<u64, Error> {
        let stat = rustix::fs::statvfs(&self.path)
            .map_err(|e| error::file("ask for free space", &self.path, e))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "log")
}

fn is_manifest(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"MANIFEST-"))
}

/// Makes the directory's name durable, without which nothing in it is.
fn sync_parent(path: &Path) -> Result<(), Error> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)
        .and_then(|parent| parent.sync_all())
        .map_err(|e| error::file("sync the parent of its directory", path, e))
}

/// The format of the store in the directory; `None` when there is none yet.
fn read_format(path: &Path) -> Result<Option<u32>, Error> {
    let file = path.join(FORMAT_FILE);
    let text = match File::open(&file) {
        Ok(from) => read_start(from).map_err(|e| error::file("read its format", &file, e))?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return refuse_foreign(path, &OURS).map(|()| None);
        }
        Err(e) => return Err(error::file("read its format", &file, e)),
    };
    let found = std::str::from_utf8(&text)
        .ok()
        .and_then(|text| text.trim_end().strip_prefix("stepwell "))
        .and_then(|number| number.parse().ok());
    match found {
        Some(found) if found > FORMAT => Err(Error::NewerFormat {
            found,
            known: FORMAT,
        }),
        Some(0) | None => Err(Error::Damaged {
            detail: format!("{} does not hold `stepwell NUMBER`", file.display()),
        }),
        Some(found) => Ok(Some(found)),
    }
}

/// Whether a store was finished there.
pub(crate) fn has_format(path: &Path) -> bool {
    path.join(FORMAT_FILE).exists()
}

/// The first bytes of a file: as many as a format could have.
fn read_start(file: File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.take(64).read_to_end(&mut text)?;
    Ok(text)
}

/// Refuses a directory with anything in it but these names. One that is missing is fine.
pub(crate) fn refuse_foreign(path: &Path, ours: &[&str]) -> Result<(), Error> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(error::file("list its directory", path, e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| error::file("list its directory", path, e))?;
        let name = entry.file_name();
        if !ours.iter().any(|ours| name == **ours) {
            return Err(Error::Foreign {
                path: path.display().to_string(),
                found: name.to_string_lossy().into_owned(),
            });
        }
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, Error> {
    let file = path.join(LOCK_FILE);
    let lock = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&file)
        .map_err(|e| error::file("open its lock", &file, e))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked {
            path: path.display().to_string(),
        }),
        Err(e) => Err(error::file("lock", &file, e)),
    }
}
