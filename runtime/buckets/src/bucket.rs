//! One bucket: objects by key.
//!
//! Refuses to hold an object in memory: reads and writes are streams.

use std::io;
use std::sync::Arc;

use cap_std::fs::{Dir, File, Metadata};
use stepwell_types::Timestamp;

use crate::buckets::{Inner, Origin};
use crate::landing::is_nothing;
use crate::listing::{self, ObjectPage};
use crate::name::{KEY_BYTES_MAX, check_key};
use crate::upload::sync_above;
use crate::{Error, Upload};

/// A bucket by name. Cheap to make; holds nothing open.
#[derive(Debug, Clone)]
pub struct Bucket {
    pub(crate) all: Arc<Inner>,
    pub(crate) name: Arc<str>,
}

/// An object, open for reading.
#[derive(Debug)]
pub struct Object {
    /// Its bytes, from the first.
    pub file: std::fs::File,
    /// Bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Timestamp,
    /// Another object under the same key has another one. Quoted, as in HTTP.
    pub etag: String,
}

impl Object {
    /// Whether nobody has written into the file since it was opened, as may happen in a granted
    /// directory. That it was replaced does not count: what is open is the old one.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        self.file.metadata().is_ok_and(|about| {
            tag(about.ino(), about.len(), about.mtime(), about.mtime_nsec()) == self.etag
        })
    }
}

impl Bucket {
    pub(crate) fn new(all: Arc<Inner>, name: &str) -> Bucket {
        Bucket {
            all,
            name: name.into(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Opens an object.
    /// # Errors
    /// `BUCKET0001` to `BUCKET0003`, `BUCKET0008`, `BUCKET0011`.
    pub fn get(&self, key: &str) -> Result<Object, Error> {
        check_key(key)?;
        self.seen(key)?;
        let (dir, path) = self.place(key)?;
        let open = || -> io::Result<(File, Metadata)> {
            // A pipe or device would hang or lie; only a file is an object.
            object(dir, &path)?;
            let file = dir.open(&path)?;
            let about = file.metadata()?;
            Ok((file, about))
        };
        let (file, about) = open().map_err(|e| self.reading(key, &e))?;
        Ok(Object {
            file: file.into_std(),
            size: about.len(),
            modified: modified(&about),
            etag: etag(&about),
        })
    }

    /// The tag of an object, whatever is on its way.
    pub(crate) fn tag(&self, key: &str) -> Result<String, Error> {
        check_key(key)?;
        let (dir, path) = self.place(key)?;
        let about = object(dir, &path).map_err(|e| self.reading(key, &e))?;
        Ok(etag(&about))
    }

    /// Begins a new object. Nothing is seen of it until [`Upload::finish`].
    /// # Errors
    /// `BUCKET0001`, `BUCKET0003`, `BUCKET0004`, `BUCKET0008`.
    pub fn put(&self, key: &str) -> Result<Upload, Error> {
        check_key(key)?;
        self.writable()?;
        Upload::begin(self.clone(), key, || self.all.unfinished_name())
    }

    /// Begins a new object of a step, which is to wait for the step's outcome ([`Upload::stage`]).
    /// # Errors
    /// As [`Bucket::put`].
    pub fn put_later(&self, key: &str) -> Result<Upload, Error> {
        check_key(key)?;
        self.writable()?;
        Upload::begin(self.clone(), key, || self.all.staged_name())
    }

    /// Removes an object. A kept bucket goes with its last object.
    /// # Errors
    /// `BUCKET0001` to `BUCKET0004`, `BUCKET0008`, `BUCKET0011`.
    pub fn delete(&self, key: &str) -> Result<(), Error> {
        check_key(key)?;
        self.writable()?;
        let (dir, path) = self.place(key)?;
        let mut naming = self.settled(key)?;
        let is_file = dir.symlink_metadata(&path).map(|m| !m.is_dir());
        match is_file {
            Ok(true) => {}
            Ok(false) => return Err(self.no_object(key)),
            Err(e) => return Err(self.reading(key, &e)),
        }
        dir.remove_file(&path).map_err(|e| self.reading(key, &e))?;
        let mut gone = path.clone();
        if self.origin() == Origin::Kept {
            let count = self.all.count(&mut naming, &self.name)?;
            let count = count.saturating_sub(1);
            naming.counts.insert(self.name.to_string(), count);
            gone = self.remove_empty_above(dir, &path);
        }
        drop(naming);
        // Nobody is told of it before that is so after a power cut too.
        sync_above(dir, &gone).map_err(|e| self.reading(key, &e))
    }

    /// Folders are no objects: empty ones of a kept bucket would be in the way of other keys. The
    /// path of the topmost that went, or the given one.
    pub(crate) fn remove_empty_above(&self, dir: &Dir, path: &str) -> String {
        let mut folder = path;
        if self.origin() == Origin::Kept {
            while let Some((above, _)) = folder.rsplit_once('/') {
                if dir.remove_dir(above).is_err() {
                    break;
                }
                folder = above;
            }
        }
        folder.to_owned()
    }

    /// Lists objects whose keys begin with `prefix`, in the order of their bytes, those after
    /// `after` alone; at most `limit`.
    /// # Errors
    /// `BUCKET0001`, `BUCKET0003`, `BUCKET0008`.
    pub fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ObjectPage, Error> {
        if prefix.len() > KEY_BYTES_MAX {
            let name = prefix.chars().take(100).collect();
            let rule = "a prefix has at most 1024 bytes";
            return Err(Error::BadName {
                what: "prefix",
                name,
                rule,
            });
        }
        self.seen_below(prefix, after)?;
        let root;
        let dir = match self.all.granted.get(&*self.name) {
            Some(granted) => &granted.dir,
            None => {
                let kept = self.all.kept.as_ref().ok_or_else(|| self.no_bucket())?;
                root = kept.open_dir(&*self.name).map_err(|_| self.no_bucket())?;
                &root
            }
        };
        listing::page(dir, prefix, after, limit)
            .map_err(|e| Error::system(format!("bucket {} cannot be listed", self.name), &e))
    }

    /// Where it is.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match self.all.granted.get(&*self.name) {
            Some(granted) => Origin::Granted {
                write: granted.write,
            },
            None => Origin::Kept,
        }
    }

    /// The directory that it is; `None`: the server keeps it.
    pub(crate) fn lies_in(&self) -> Option<&Arc<str>> {
        let granted = self.all.granted.get(&*self.name);
        granted.map(|granted| &granted.path)
    }

    pub(crate) fn writable(&self) -> Result<(), Error> {
        match self.origin() {
            Origin::Kept | Origin::Granted { write: true } => Ok(()),
            Origin::Granted { write: false } => Err(Error::ReadOnly {
                bucket: self.name.to_string(),
            }),
        }
    }

    /// The directory that is open, and the path in it.
    pub(crate) fn place(&self, key: &str) -> Result<(&Dir, String), Error> {
        if let Some(granted) = self.all.granted.get(&*self.name) {
            return Ok((&granted.dir, key.to_owned()));
        }
        let kept = self.all.kept.as_ref().ok_or_else(|| self.no_bucket())?;
        Ok((kept, format!("{}/{key}", self.name)))
    }

    /// Where files without a key are: beside the buckets that are kept, or in the granted directory.
    pub(crate) fn root(&self) -> Result<&Dir, Error> {
        self.place("").map(|(dir, _)| dir)
    }

    fn no_bucket(&self) -> Error {
        self.all.no_bucket(&self.name)
    }

    fn no_object(&self, key: &str) -> Error {
        Error::NoObject {
            bucket: self.name.to_string(),
            key: key.to_owned(),
        }
    }

    pub(crate) fn reading(&self, key: &str, e: &io::Error) -> Error {
        if !is_nothing(e) {
            return Error::system(format!("object {key} of bucket {}", self.name), e);
        }
        let kept = self.all.kept.as_ref();
        if self.origin() == Origin::Kept && kept.is_none_or(|k| !k.is_dir(&*self.name)) {
            return self.no_bucket();
        }
        self.no_object(key)
    }
}

/// What is known of a file that is an object.
fn object(dir: &Dir, path: &str) -> io::Result<Metadata> {
    let about = dir.metadata(path)?;
    match about.is_file() {
        true => Ok(about),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

pub(crate) fn modified(about: &Metadata) -> Timestamp {
    let since = about
        .modified()
        .ok()
        .and_then(|t| t.into_std().duration_since(std::time::UNIX_EPOCH).ok());
    Timestamp(since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
}

/// Of the inode, the size and the moment of writing: objects are replaced, not changed, so that
/// a new one has another inode; and a file that somebody changes in place has another moment.
pub(crate) fn etag(about: &Metadata) -> String {
    use cap_std::fs::MetadataExt as _;
    tag(about.ino(), about.len(), about.mtime(), about.mtime_nsec())
}

fn tag(inode: u64, size: u64, seconds: i64, nanoseconds: i64) -> String {
    let written = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    format!("\"{inode:x}-{size:x}-{written:x}\"")
}
