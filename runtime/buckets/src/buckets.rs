//! All buckets of one server or one run: those that it keeps, and those that it was granted.
//!
//! Refuses to grant by default: a directory is reachable only when the configuration names it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use parking_lot::{Condvar, Mutex};

use crate::bucket::Bucket;
use crate::items::Ahead;
use crate::landing::Naming;
use crate::name::{STAGED, UNFINISHED, check_bucket};
use crate::{Error, listing};

/// Largest object, in bytes, unless the configuration says otherwise.
pub const OBJECT_BYTES_MAX: u64 = 5 << 30;
/// Most buckets that a server keeps.
pub const BUCKETS_MAX: u64 = 1_000;
/// Most objects in one bucket that a server keeps.
pub const OBJECTS_MAX: u64 = 1_000_000;

/// A directory that is a bucket.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The bucket's name.
    pub name: String,
    /// The directory.
    pub path: PathBuf,
    /// Whether flows and clients may change it.
    pub write: bool,
}

/// What [`Buckets::open`] is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where uploaded objects are kept; made when it is missing. `None`: none are taken.
    pub kept: Option<PathBuf>,
    /// Directories by name.
    pub granted: Vec<Grant>,
    /// Largest object that is taken in, in bytes. Default [`OBJECT_BYTES_MAX`].
    pub object_bytes_max: u64,
    /// Tells this server's unfinished objects from those of others in a granted directory.
    pub instance: String,
}

/// Where a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Kept by the server: it has objects as long as somebody has put some.
    Kept,
    /// A directory of the configuration.
    Granted {
        /// Whether it may be changed.
        write: bool,
    },
}

/// A bucket, for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketInfo {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub origin: Origin,
}

/// Cheap to clone; all clones are the same buckets.
#[derive(Debug, Clone)]
pub struct Buckets(pub(crate) Arc<Inner>);

/// A directory of the configuration, open.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) dir: Dir,
    pub(crate) write: bool,
    /// Where it lies, without links: the same bucket of another start is in the same place.
    pub(crate) path: Arc<str>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) kept: Option<Dir>,
    pub(crate) granted: BTreeMap<String, Granted>,
    pub(crate) object_bytes_max: u64,
    /// Held while an object gets or loses its name: what is counted is what there is.
    pub(crate) naming: Mutex<Naming>,
    /// Told when a key is let go.
    pub(crate) freed: Condvar,
    pub(crate) instance: String,
    /// What Maps will ask for next.
    pub(crate) ahead: Mutex<Ahead>,
    unfinished: AtomicU64,
}

impl Buckets {
    /// No bucket at all.
    #[must_use]
    pub fn none() -> Buckets {
        Buckets(Arc::new(Inner {
            kept: None,
            granted: BTreeMap::new(),
            object_bytes_max: OBJECT_BYTES_MAX,
            naming: Mutex::default(),
            freed: Condvar::new(),
            instance: String::new(),
            ahead: Mutex::default(),
            unfinished: AtomicU64::new(0),
        }))
    }

    /// Opens the directories. What a dead process was writing is swept from the kept ones.
    /// # Errors
    /// `BUCKET0008`, `BUCKET0009`.
    pub fn open(options: &Options) -> Result<Buckets, Error> {
        let mut granted = BTreeMap::new();
        for grant in &options.granted {
            let bad = |reason: String| Error::BadGrant {
                name: grant.name.clone(),
                reason,
            };
            check_bucket(&grant.name).map_err(|e| bad(e.to_string()))?;
            let dir = Dir::open_ambient_dir(&grant.path, ambient_authority());
            let dir = dir.map_err(|e| {
                bad(format!(
                    "the directory {} cannot be opened: {e}",
                    grant.path.display()
                ))
            })?;
            let path = std::fs::canonicalize(&grant.path).unwrap_or_else(|_| grant.path.clone());
            let directory = Granted {
                dir,
                write: grant.write,
                path: path.to_string_lossy().into(),
            };
            if granted.insert(grant.name.clone(), directory).is_some() {
                return Err(bad("it is given twice".to_owned()));
            }
        }
        let kept = match &options.kept {
            None => None,
            Some(path) => {
                let failed =
                    |e| Error::system(format!("cannot open the buckets in {}", path.display()), &e);
                std::fs::create_dir_all(path).map_err(failed)?;
                let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(failed)?;
                sweep(&dir).map_err(failed)?;
                Some(dir)
            }
        };
        Ok(Buckets(Arc::new(Inner {
            kept,
            granted,
            object_bytes_max: options.object_bytes_max,
            naming: Mutex::default(),
            freed: Condvar::new(),
            instance: options.instance.clone(),
            ahead: Mutex::default(),
            unfinished: AtomicU64::new(0),
        })))
    }

    /// A bucket to read from or write to. One that the server keeps need not have objects yet.
    /// # Errors
    /// `BUCKET0001` where none are kept, `BUCKET0003`.
    pub fn bucket(&self, name: &str) -> Result<Bucket, Error> {
        check_bucket(name)?;
        if self.0.granted.contains_key(name) || self.0.kept.is_some() {
            return Ok(Bucket::new(Arc::clone(&self.0), name));
        }
        Err(self.0.no_bucket(name))
    }

    /// Whether the configuration grants a bucket of this name.
    #[must_use]
    pub fn is_granted(&self, name: &str) -> bool {
        self.0.granted.contains_key(name)
    }

    /// Bytes that are free on the disk where a bucket lies; `None`: the system does not say.
    #[must_use]
    pub fn free_bytes(&self, name: &str) -> Option<u64> {
        let granted = self.0.granted.get(name).map(|granted| &granted.dir);
        let about = rustix::fs::fstatvfs(granted.or(self.0.kept.as_ref())?).ok()?;
        Some(about.f_bavail.saturating_mul(about.f_frsize))
    }

    /// Largest object that is taken in, in bytes.
    #[must_use]
    pub fn object_bytes_max(&self) -> u64 {
        self.0.object_bytes_max
    }

    /// All buckets, by name.
    /// # Errors
    /// `BUCKET0008`.
    pub fn list(&self) -> Result<Vec<BucketInfo>, Error> {
        let mut all: BTreeMap<String, Origin> = BTreeMap::new();
        for name in self.0.kept_names()? {
            all.insert(name, Origin::Kept);
        }
        for (name, Granted { write, .. }) in &self.0.granted {
            all.insert(name.clone(), Origin::Granted { write: *write });
        }
        let info = |(name, origin)| BucketInfo { name, origin };
        Ok(all.into_iter().map(info).collect())
    }
}

impl Inner {
    pub(crate) fn no_bucket(&self, name: &str) -> Error {
        let mut known: Vec<String> = self.granted.keys().cloned().collect();
        known.extend(self.kept_names().unwrap_or_default());
        known.sort();
        known.dedup();
        known.truncate(20);
        let known = if known.is_empty() {
            "there are none".to_owned()
        } else {
            format!("known are {}", known.join(", "))
        };
        let how = if self.kept.is_some() {
            "an uploaded object makes one, or `[buckets]` in the configuration"
        } else {
            "--bucket NAME=DIR makes one"
        };
        Error::NoBucket {
            name: name.to_owned(),
            hint: format!("{known}; {how}"),
        }
    }

    /// Buckets with uploaded objects; at most [`BUCKETS_MAX`].
    pub(crate) fn kept_names(&self) -> Result<Vec<String>, Error> {
        let Some(kept) = &self.kept else {
            return Ok(Vec::new());
        };
        let failed = |e| Error::system("the buckets cannot be listed", &e);
        let mut names = Vec::new();
        for entry in kept.entries().map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_dir()
                && let Ok(name) = entry.file_name().into_string()
                && check_bucket(&name).is_ok()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// How many objects the server keeps in a bucket: counted once, then kept up to date.
    pub(crate) fn count(&self, naming: &mut Naming, name: &str) -> Result<u64, Error> {
        if let Some(count) = naming.counts.get(name) {
            return Ok(*count);
        }
        let Some(kept) = &self.kept else { return Ok(0) };
        let count = match kept.open_dir(name) {
            Ok(dir) => listing::count(&dir, 0)
                .map_err(|e| Error::system(format!("bucket {name} cannot be counted"), &e))?,
            Err(_) => 0,
        };
        naming.counts.insert(name.to_owned(), count);
        Ok(count)
    }

    /// A name for a file that is being written, which no other writer of this process has.
    pub(crate) fn unfinished_name(&self) -> String {
        format!("{UNFINISHED}{}-{}", std::process::id(), self.number())
    }

    pub(crate) fn number(&self) -> u64 {
        self.unfinished.fetch_add(1, Ordering::Relaxed)
    }
}

fn sweep(dir: &Dir) -> std::io::Result<()> {
    for entry in dir.entries()? {
        let name = entry?.file_name();
        let part = |name: &str| name.starts_with(UNFINISHED) && !name.starts_with(STAGED);
        if name.to_str().is_some_and(part) {
            dir.remove_file(&name)?;
        }
    }
    Ok(())
}
