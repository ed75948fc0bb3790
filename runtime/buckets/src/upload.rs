//! An object that is being written: a file without a key until all of it is on the disk.
//!
//! Refuses halves: what is dropped, or cut off by a crash, never gets the key.

use std::io::Write as _;

use cap_std::fs::{Dir, File, OpenOptions};

use crate::Error;
use crate::bucket::{Bucket, etag, modified};
use crate::buckets::{BUCKETS_MAX, OBJECTS_MAX, Origin};
use crate::landing::{Naming, is_nothing};
use crate::listing::ObjectInfo;

/// Tries of a name for the unfinished file: a dead process of the same number may have left some.
const TRIES: u32 = 1_000;

/// One upload in flight. Dropping it discards what was written.
#[derive(Debug)]
pub struct Upload {
    bucket: Bucket,
    key: String,
    file: File,
    name: String,
    size: u64,
    finished: bool,
}

impl Upload {
    pub(crate) fn begin(
        bucket: Bucket,
        key: &str,
        name: impl Fn() -> String,
    ) -> Result<Upload, Error> {
        let dir = bucket.root()?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        for _ in 0..TRIES {
            let name = name();
            match dir.open_with(&name, &options) {
                Ok(file) => {
                    return Ok(Upload {
                        key: key.to_owned(),
                        file,
                        name,
                        size: 0,
                        finished: false,
                        bucket,
                    });
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(failed(&bucket, key, &e)),
            }
        }
        let e = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        Err(failed(&bucket, key, &e))
    }

    /// Takes the next bytes.
    /// # Errors
    /// `BUCKET0005`, `BUCKET0008`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let max = self.bucket.all.object_bytes_max;
        self.size = self.size.saturating_add(bytes.len() as u64);
        if self.size > max {
            return Err(Error::TooLarge { max });
        }
        let written = self.file.write_all(bytes);
        written.map_err(|e| failed(&self.bucket, &self.key, &e))
    }

    /// Brings it to the disk and gives it its key. An object that had the key is replaced.
    /// `true`: there was none.
    /// # Errors
    /// `BUCKET0006` to `BUCKET0008`, `BUCKET0011`.
    pub fn finish(mut self) -> Result<(ObjectInfo, bool), Error> {
        let bucket = self.bucket.clone();
        let fail = |e: std::io::Error| failed(&bucket, &self.key, &e);
        self.file.sync_all().map_err(fail)?;
        let about = self.file.metadata().map_err(fail)?;
        let (dir, path) = bucket.place(&self.key)?;
        let mut naming = bucket.settled(&self.key)?;
        let new = bucket.is_free(&naming, &self.key)?;
        let kept = bucket.origin() == Origin::Kept;
        if kept && new {
            bucket.room(&mut naming)?;
        }
        place_file(dir, &self.name, &path).map_err(fail)?;
        self.finished = true;
        if kept && new {
            *naming.counts.entry(bucket.name().to_owned()).or_default() += 1;
        }
        drop(naming);
        sync_above(dir, &path).map_err(fail)?;
        let info = ObjectInfo {
            key: std::mem::take(&mut self.key),
            size: self.size,
            modified: modified(&about),
            etag: etag(&about),
        };
        Ok((info, new))
    }

    /// Brings it to the disk under the name that is no key, and leaves it there: its bucket, the key
    /// that is meant, that name, and bytes.
    pub(crate) fn staged(mut self) -> Result<(Bucket, String, String, u64), Error> {
        let bucket = self.bucket.clone();
        let dir = bucket.root()?;
        let synced = self.file.sync_all();
        let synced = synced.and_then(|()| sync_above(dir, &self.name));
        synced.map_err(|e| failed(&bucket, &self.key, &e))?;
        self.finished = true;
        let (key, name) = (
            std::mem::take(&mut self.key),
            std::mem::take(&mut self.name),
        );
        Ok((bucket, key, name, self.size))
    }
}

impl Bucket {
    /// Whether one more object, perhaps in one more bucket, fits.
    pub(crate) fn room(&self, naming: &mut Naming) -> Result<(), Error> {
        let all = &self.all;
        let name = self.name();
        let count = all.count(naming, name)?;
        if count >= OBJECTS_MAX {
            let what = format!("objects in bucket {name}");
            return Err(Error::Full {
                what,
                max: OBJECTS_MAX,
            });
        }
        if count == 0 {
            let names = all.kept_names()?;
            let is_new = !names.iter().any(|n| n == name);
            if is_new && names.len() as u64 >= BUCKETS_MAX {
                let what = "buckets".to_owned();
                return Err(Error::Full {
                    what,
                    max: BUCKETS_MAX,
                });
            }
        }
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if let Ok(dir) = self.bucket.root() {
            // What cannot be removed now is swept at the next start.
            let _ = dir.remove_file(&self.name);
        }
    }
}

/// Gives a file its path in the same directory.
pub(crate) fn place_file(dir: &Dir, name: &str, path: &str) -> std::io::Result<()> {
    if let Some((folder, _)) = path.rsplit_once('/') {
        dir.create_dir_all(folder)?;
    }
    dir.rename(name, dir, path)
}

fn failed(bucket: &Bucket, key: &str, e: &std::io::Error) -> Error {
    let what = format!("object {key} of bucket {} cannot be written", bucket.name());
    Error::system(what, e)
}

/// A name is on the disk when its directory is, and so on upwards.
pub(crate) fn sync_above(dir: &Dir, path: &str) -> std::io::Result<()> {
    let mut at = path;
    loop {
        let above = at.rsplit_once('/').map(|(above, _)| above);
        // A directory is synced through a descriptor that may be read from.
        match dir
            .open(above.unwrap_or("."))
            .and_then(|dir| dir.sync_all())
        {
            // Somebody has emptied the folder since, and it went.
            Err(e) if is_nothing(&e) => {}
            synced => synced?,
        }
        match above {
            Some(above) => at = above,
            None => return Ok(()),
        }
    }
}
