//! Objects of steps: on the disk without a key until the step's outcome is durable, and then under it.
//!
//! A key whose change is on its way is held: who reads or writes it waits. All keys of a step are held at
//! once or none. Refuses to decide whether an outcome counts: it is told, or the change is given up.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;
use parking_lot::MutexGuard;

use crate::bucket::{Bucket, etag};
use crate::buckets::{Buckets, Inner, Origin};
use crate::name::{STAGED, check_key};
use crate::upload::{place_file, sync_above};
use crate::{Error, Upload};

/// How long one waits for a change that is on its way: a commit takes milliseconds, unless the disk is full.
const WAIT: Duration = Duration::from_secs(60);

/// What is counted and held under one lock.
#[derive(Debug, Default)]
pub(crate) struct Naming {
    /// How many objects each kept bucket has.
    pub(crate) counts: BTreeMap<String, u64>,
    /// Keys whose change is on its way, by bucket.
    held: BTreeMap<Arc<str>, BTreeSet<String>>,
}

impl Naming {
    fn is_held(&self, bucket: &str, key: &str) -> bool {
        self.held.get(bucket).is_some_and(|keys| keys.contains(key))
    }

    /// Whether a held key lies below this one, or this one below it.
    fn is_in_the_way(&self, bucket: &str, key: &str) -> bool {
        let below = |short: &str, long: &str| {
            long.strip_prefix(short)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        let keys = self.held.get(bucket);
        keys.is_some_and(|keys| keys.iter().any(|held| below(held, key) || below(key, held)))
    }
}

/// An object that is whole and on the disk, and has no key. Dropping it removes it.
#[derive(Debug)]
pub struct Staged {
    bucket: Bucket,
    key: String,
    name: String,
    size: u64,
    kept: bool,
}

impl Staged {
    /// Bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its bytes, from the first.
    /// # Errors
    /// `BUCKET0008`.
    pub fn open(&self) -> Result<std::fs::File, Error> {
        let file = self.bucket.root()?.open(&self.name);
        let failed = |e| Error::system(format!("object {} cannot be read", self.key), &e);
        Ok(file.map_err(failed)?.into_std())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Ok(dir) = self.bucket.root() {
            // What cannot be removed now is swept at the next start.
            let _ = dir.remove_file(&self.name);
        }
    }
}

impl Upload {
    /// Brings it to the disk and leaves it without a key.
    /// # Errors
    /// `BUCKET0008`.
    pub fn stage(self) -> Result<Staged, Error> {
        let (bucket, key, name, size) = self.staged()?;
        Ok(Staged {
            bucket,
            key,
            name,
            size,
            kept: false,
        })
    }
}

/// What a step does to an object.
#[derive(Debug)]
pub enum Change {
    /// It gets these bytes.
    Put(Staged),
    /// It goes; one that is not there is no error.
    Delete {
        /// Its bucket.
        bucket: Bucket,
        /// Its key.
        key: String,
    },
}

impl Change {
    fn place(&self) -> (&Bucket, &str) {
        match self {
            Change::Put(staged) => (&staged.bucket, &staged.key),
            Change::Delete { bucket, key } => (bucket, key),
        }
    }
}

/// What a step saw of an object that it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The bucket's name.
    pub bucket: Arc<str>,
    /// The key.
    pub key: Arc<str>,
    /// Its tag; `None`: there was none.
    pub etag: Option<String>,
}

/// Why changes are not held.
#[derive(Debug)]
pub enum Unheld {
    /// What the step saw is so no more, or another's change is on its way.
    Changed,
    /// They cannot be made.
    Refused(Error),
}

impl From<Error> for Unheld {
    fn from(e: Error) -> Unheld {
        Unheld::Refused(e)
    }
}

/// A change to come as a row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landing {
    /// Names the change, and the file that is to get the key.
    pub name: String,
    /// The bucket's name.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// Nothing gets the key: the object with this tag goes.
    pub gone: Option<String>,
}

/// Changes whose keys are held. Dropping it gives up those that have not landed.
#[derive(Debug)]
pub struct Holding {
    all: Arc<Inner>,
    changes: Vec<(Landing, Option<Staged>)>,
    /// Objects that are counted already, by bucket.
    counted: Vec<String>,
    over: bool,
}

impl Buckets {
    /// Removes files of steps whose changes never will be: those of this server that are not in `landings`.
    /// # Errors
    /// `BUCKET0008`.
    pub fn sweep_staged(&self, landings: &BTreeSet<String>) -> Result<(), Error> {
        let kept = self.0.kept.iter();
        let granted = self.0.granted.values();
        let dirs = granted.filter(|(_, write)| *write).map(|(dir, _)| dir);
        let mine = self.0.staged_prefix();
        let sweep = |dir: &Dir| -> io::Result<()> {
            for entry in dir.entries()? {
                let name = entry?.file_name();
                let ours = name.to_str().filter(|name| name.starts_with(&mine));
                if ours.is_some_and(|name| !landings.contains(name)) {
                    dir.remove_file(&name)?;
                }
            }
            Ok(())
        };
        for dir in kept.chain(dirs) {
            sweep(dir).map_err(|e| Error::system("unfinished objects cannot be removed", &e))?;
        }
        Ok(())
    }

    /// Holds the keys of these changes, all or none. Blocks for a look at each, and never for another.
    /// # Errors
    /// Why not.
    pub fn hold(&self, changes: Vec<Change>, seen: &[Seen]) -> Result<Holding, Unheld> {
        let mut naming = self.0.naming.lock();
        for change in &changes {
            let (bucket, key) = change.place();
            if naming.is_held(bucket.name(), key) {
                return Err(Unheld::Changed);
            }
        }
        for seen in seen {
            if self.tag(&seen.bucket, &seen.key)? != seen.etag {
                return Err(Unheld::Changed);
            }
        }
        let mut holding = Holding {
            all: Arc::clone(&self.0),
            changes: Vec::with_capacity(changes.len()),
            counted: Vec::new(),
            over: false,
        };
        let fits = self.hold_each(&mut naming, &mut holding, changes);
        // It takes the lock to let go.
        drop(naming);
        fits.map(|()| holding)
    }

    fn hold_each(
        &self,
        naming: &mut Naming,
        holding: &mut Holding,
        changes: Vec<Change>,
    ) -> Result<(), Unheld> {
        for change in changes {
            let (bucket, key) = change.place();
            // Of a deletion nobody has looked at the key yet: it must not lead into another bucket.
            check_key(key)?;
            bucket.writable()?;
            let gone = match &change {
                Change::Put(_) => {
                    let new = bucket.is_free(naming, key)?;
                    if new && bucket.origin() == Origin::Kept {
                        bucket.room(naming)?;
                        *naming.counts.entry(bucket.name().to_owned()).or_default() += 1;
                        holding.counted.push(bucket.name().to_owned());
                    }
                    None
                }
                Change::Delete { .. } => match self.tag(bucket.name(), key)? {
                    None => continue,
                    there => there,
                },
            };
            let held = naming.held.entry(bucket.name().into()).or_default();
            held.insert(key.to_owned());
            let (bucket, key) = (bucket.name().to_owned(), key.to_owned());
            let (name, staged) = match change {
                Change::Put(staged) => (staged.name.clone(), Some(staged)),
                Change::Delete { .. } => (self.0.staged_name(), None),
            };
            let landing = Landing {
                name,
                bucket,
                key,
                gone,
            };
            holding.changes.push((landing, staged));
        }
        Ok(())
    }

    /// Does what a row asks for, if it is not done: after a crash, before anybody reads.
    /// # Errors
    /// `BUCKET0001`, `BUCKET0003`, `BUCKET0008`.
    pub fn land(&self, landing: &Landing) -> Result<(), Error> {
        let bucket = self.bucket(&landing.bucket)?;
        check_key(&landing.key)?;
        let mut naming = self.0.naming.lock();
        let done = bucket.change(landing)?;
        // Counted anew when somebody asks.
        naming.counts.remove(&landing.bucket);
        drop(naming);
        bucket.sync(done)
    }

    fn tag(&self, bucket: &str, key: &str) -> Result<Option<String>, Error> {
        match self.bucket(bucket)?.tag(key) {
            Ok(tag) => Ok(Some(tag)),
            Err(Error::NoObject { .. } | Error::NoBucket { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

impl Bucket {
    /// Waits until no change of a key is on its way, and locks names.
    /// # Errors
    /// `BUCKET0010`: that takes too long.
    pub(crate) fn settled(&self, key: &str) -> Result<MutexGuard<'_, Naming>, Error> {
        self.when(key, |naming| !naming.is_held(&self.name, key))
    }

    /// The same, for every key that begins so.
    pub(crate) fn settled_below(&self, prefix: &str) -> Result<MutexGuard<'_, Naming>, Error> {
        let free = |naming: &Naming| {
            let held = naming.held.get(&self.name);
            held.is_none_or(|keys| !keys.iter().any(|key| key.starts_with(prefix)))
        };
        self.when(prefix, free)
    }

    fn when(
        &self,
        key: &str,
        free: impl Fn(&Naming) -> bool,
    ) -> Result<MutexGuard<'_, Naming>, Error> {
        let mut naming = self.all.naming.lock();
        let held = |naming: &mut Naming| !free(naming);
        let waited = self.all.freed.wait_while_for(&mut naming, held, WAIT);
        if waited.timed_out() {
            return Err(Error::OnItsWay {
                bucket: self.name.to_string(),
                key: key.to_owned(),
            });
        }
        Ok(naming)
    }

    /// Whether nothing is under a key, and nothing in its way.
    /// # Errors
    /// `BUCKET0007`, `BUCKET0008`, `BUCKET0011`.
    pub(crate) fn is_free(&self, naming: &Naming, key: &str) -> Result<bool, Error> {
        let conflict = |reason| {
            Err(Error::Conflict {
                bucket: self.name.to_string(),
                key: key.to_owned(),
                reason,
            })
        };
        if naming.is_in_the_way(&self.name, key) {
            return conflict("a step writes an object above or below it");
        }
        let (dir, path) = self.place(key)?;
        match dir.symlink_metadata(&path) {
            Ok(there) if there.is_dir() => conflict("objects lie below it, as in a folder"),
            Ok(_) => Ok(false),
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
                conflict("an object has the first part of it as its key")
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
            // Found now, before anybody is told that the object will be there.
            Err(e) => Err(self.reading(key, &e)),
        }
    }

    /// Renames or removes, unless that was done before. Names must be locked: a folder that looks
    /// empty would go.
    fn change(&self, landing: &Landing) -> Result<Done, Error> {
        let failed = |e: io::Error| {
            let what = format!("object {} of bucket {} cannot land", landing.key, self.name);
            Error::system(what, &e)
        };
        let (dir, path) = self.place(&landing.key)?;
        match &landing.gone {
            None => match dir.symlink_metadata(&landing.name) {
                Ok(_) => {
                    place_file(dir, &landing.name, &path).map_err(failed)?;
                    Ok(Done::Placed(path))
                }
                // It has its key already, and perhaps another object has it since.
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Done::Before),
                Err(e) => Err(failed(e)),
            },
            Some(tag) => match dir.metadata(&path) {
                Ok(there) if etag(&there) == *tag => {
                    dir.remove_file(&path).map_err(failed)?;
                    Ok(Done::Removed(self.remove_empty_above(dir, &path)))
                }
                // Another has come since, or none is there.
                Ok(_) => Ok(Done::Before),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Done::Before),
                Err(e) => Err(failed(e)),
            },
        }
    }

    /// Brings a change of names to the disk.
    fn sync(&self, done: Done) -> Result<(), Error> {
        let (Done::Placed(path) | Done::Removed(path)) = done else {
            return Ok(());
        };
        match sync_above(self.root()?, &path) {
            Ok(()) => Ok(()),
            // Somebody has emptied its folder since.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Error::system(
                format!("bucket {} cannot be synced", self.name),
                &e,
            )),
        }
    }
}

/// What a change came to: the path whose folders have another name in them, or one less.
enum Done {
    Placed(String),
    Removed(String),
    /// It was made before.
    Before,
}

impl Holding {
    /// The rows that make the changes sure, once they are durable.
    pub fn landings(&self) -> impl Iterator<Item = &Landing> {
        self.changes.iter().map(|(landing, _)| landing)
    }

    /// Whether they will be made is not this process's to say any more: dropped, they are left to
    /// [`Buckets::land`].
    pub fn leave(&mut self) {
        for staged in self
            .changes
            .iter_mut()
            .filter_map(|(_, staged)| staged.as_mut())
        {
            staged.kept = true;
        }
    }

    /// Makes the changes: what they rest on is durable. Those that fail are left to [`Buckets::land`].
    /// # Errors
    /// The first failure. What did not fail is done.
    pub fn land(&mut self) -> Result<(), Error> {
        let mut first = Ok(());
        let mut left = Vec::new();
        self.over = true;
        self.leave();
        for (landing, staged) in std::mem::take(&mut self.changes) {
            let bucket = Bucket::new(Arc::clone(&self.all), &landing.bucket);
            match self.land_one(&bucket, &landing) {
                Ok(()) => self.free(&landing),
                Err(e) => {
                    left.push((landing, staged));
                    first = first.and(Err(e));
                }
            }
        }
        self.changes = left;
        first
    }

    fn land_one(&self, bucket: &Bucket, landing: &Landing) -> Result<(), Error> {
        let mut naming = self.all.naming.lock();
        let done = bucket.change(landing)?;
        if let (Done::Removed(_), Origin::Kept) = (&done, bucket.origin())
            && let Some(count) = naming.counts.get_mut(&landing.bucket)
        {
            *count = count.saturating_sub(1);
        }
        drop(naming);
        bucket.sync(done)
    }

    /// Lets go of a key, whose change is done or given up.
    fn free(&self, landing: &Landing) {
        let mut naming = self.all.naming.lock();
        if let Some(keys) = naming.held.get_mut(landing.bucket.as_str()) {
            keys.remove(&landing.key);
            if keys.is_empty() {
                naming.held.remove(landing.bucket.as_str());
            }
        }
        drop(naming);
        self.all.freed.notify_all();
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        if !self.over {
            let mut naming = self.all.naming.lock();
            for bucket in &self.counted {
                if let Some(count) = naming.counts.get_mut(bucket) {
                    *count = count.saturating_sub(1);
                }
            }
        }
        for (landing, _) in &self.changes {
            self.free(landing);
        }
    }
}

impl Inner {
    /// Begins the names of files that wait for a step's outcome.
    fn staged_prefix(&self) -> String {
        format!("{STAGED}{}-", self.instance)
    }

    /// A name for such a file.
    pub(crate) fn staged_name(&self) -> String {
        let number = self.number();
        format!("{}{}-{number}", self.staged_prefix(), std::process::id())
    }
}
