//! Objects of steps: on the disk without a key until the step's outcome is durable, and then under it.
//!
//! A key whose change is on its way is held: who reads or writes it waits. All keys of a step are held at
//! once or none. Refuses to decide whether an outcome counts: it is told, or the change is given up.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;
use parking_lot::MutexGuard;

use crate::bucket::{Bucket, etag};
use crate::buckets::{Buckets, Inner, Origin};
use crate::holding::{Holding, Syncs};
use crate::name::{STAGED, check_key};
use crate::upload::place_file;
use crate::{Error, Upload};

/// How long one waits for a change that is on its way: a commit takes milliseconds, unless the disk is full.
const WAIT: Duration = Duration::from_secs(60);
/// Changes on their way with which no step begins another object: what waits is bounded, and so is how
/// long a reader waits for it.
const ON_THEIR_WAY: usize = 1_024;

/// What is counted and held under one lock.
#[derive(Debug, Default)]
pub(crate) struct Naming {
    /// How many objects each kept bucket has.
    pub(crate) counts: BTreeMap<String, u64>,
    /// Keys whose change is on its way, by bucket.
    held: BTreeMap<Arc<str>, BTreeMap<String, Held>>,
    /// That of the next change.
    number: u64,
}

/// What is on its way to a key.
#[derive(Debug)]
struct Held {
    /// Changes are numbered: who waits, waits for those before him.
    number: u64,
    /// The disk refuses it. Readers see what was before; a writer's object would be replaced by this older
    /// one when it lands after all.
    late: bool,
}

impl Naming {
    fn is_held(&self, bucket: &str, key: &str) -> bool {
        self.held_at(bucket, key).is_some()
    }

    fn held_at(&self, bucket: &str, key: &str) -> Option<&Held> {
        self.held.get(bucket)?.get(key)
    }

    fn is_late(&self, bucket: &str, key: &str) -> bool {
        self.held_at(bucket, key).is_some_and(|held| held.late)
    }

    fn hold(&mut self, bucket: &str, key: &str) {
        let held = Held {
            number: self.number,
            late: false,
        };
        self.number += 1;
        let keys = self.held.entry(bucket.into()).or_default();
        keys.insert(key.to_owned(), held);
    }

    /// From now on only writers are kept from a key.
    pub(crate) fn give_way(&mut self, bucket: &str, key: &str) {
        if !self.is_held(bucket, key) {
            self.hold(bucket, key);
        }
        let keys = self.held.get_mut(bucket);
        if let Some(held) = keys.and_then(|keys| keys.get_mut(key)) {
            held.late = true;
        }
    }

    /// Lets go of a key, whose change is done or given up.
    pub(crate) fn free(&mut self, bucket: &str, key: &str) {
        if let Some(keys) = self.held.get_mut(bucket) {
            keys.remove(key);
            if keys.is_empty() {
                self.held.remove(bucket);
            }
        }
    }

    fn on_their_way(&self) -> usize {
        let held = self.held.values().flat_map(BTreeMap::values);
        held.filter(|held| !held.late).count()
    }

    /// Whether a held key lies below this one, or this one below it.
    fn is_in_the_way(&self, bucket: &str, key: &str) -> bool {
        let below = |short: &str, long: &str| {
            long.strip_prefix(short)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        let keys = self.held.get(bucket);
        keys.is_some_and(|keys| keys.keys().any(|held| below(held, key) || below(key, held)))
    }
}

/// An object that is whole and on the disk, and has no key. Dropping it removes it.
#[derive(Debug)]
pub struct Staged {
    bucket: Bucket,
    key: String,
    name: String,
    size: u64,
    pub(crate) kept: bool,
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
    /// The directory that this bucket was; `None`: it was kept by the server.
    pub place: Option<String>,
    /// The key.
    pub key: String,
    /// Nothing gets the key: the object with this tag goes.
    pub gone: Option<String>,
}

impl Buckets {
    /// Removes files of steps whose changes never will be: those of this server that are not in `landings`.
    /// # Errors
    /// `BUCKET0008`.
    pub fn sweep_staged(&self, landings: &BTreeSet<String>) -> Result<(), Error> {
        let kept = self.0.kept.iter();
        let granted = self.0.granted.values();
        let dirs = granted.filter(|g| g.write).map(|granted| &granted.dir);
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
    pub fn hold(&self, mut changes: Vec<Change>, seen: &[Seen]) -> Result<Holding, Unheld> {
        // Taken from the end, in their order. What is left of them is dropped behind the lock: that
        // removes files.
        changes.reverse();
        let mut naming = self.0.naming.lock();
        for change in &changes {
            let (bucket, key) = change.place();
            if naming.is_late(bucket.name(), key) {
                return Err(Unheld::Refused(bucket.on_its_way(key)));
            }
            if naming.is_held(bucket.name(), key) {
                return Err(Unheld::Changed);
            }
        }
        for seen in seen {
            if self.tag(&seen.bucket, &seen.key)? != seen.etag {
                return Err(Unheld::Changed);
            }
        }
        let mut holding = Holding::new(Arc::clone(&self.0));
        let fits = self.hold_each(&mut naming, &mut holding, &mut changes);
        // It takes the lock to let go.
        drop(naming);
        fits.map(|()| holding)
    }

    fn hold_each(
        &self,
        naming: &mut Naming,
        holding: &mut Holding,
        changes: &mut Vec<Change>,
    ) -> Result<(), Unheld> {
        while let Some(change) = changes.last() {
            let (bucket, key) = change.place();
            // Of a deletion nobody has looked at the key yet: it must not lead into another bucket.
            check_key(key)?;
            bucket.writable()?;
            let gone = match change {
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
                    None => {
                        changes.pop();
                        continue;
                    }
                    there => there,
                },
            };
            naming.hold(bucket.name(), key);
            let place = bucket.lies_in().map(ToString::to_string);
            let (bucket, key) = (bucket.name().to_owned(), key.to_owned());
            let (name, staged) = match changes.pop() {
                Some(Change::Put(staged)) => (staged.name.clone(), Some(staged)),
                Some(Change::Delete { .. }) | None => (self.0.staged_name(), None),
            };
            let landing = Landing {
                name,
                bucket,
                place,
                key,
                gone,
            };
            holding.changes.push((landing, staged));
        }
        Ok(())
    }

    /// Waits until not too many changes are on their way: before a step begins another object.
    /// # Errors
    /// `BUCKET0012`: that takes too long.
    pub fn calm(&self) -> Result<(), Error> {
        let mut naming = self.0.naming.lock();
        let many = |naming: &mut Naming| naming.on_their_way() >= ON_THEIR_WAY;
        let waited = self.0.freed.wait_while_for(&mut naming, many, WAIT);
        match waited.timed_out() {
            true => Err(Error::Behind { max: ON_THEIR_WAY }),
            false => Ok(()),
        }
    }

    /// Does what rows ask for, if it is not done: after a crash, before anybody reads. What the disk
    /// refuses is in the holding, to be tried again, and until then nobody else writes to its key.
    /// # Errors
    /// Of each: `BUCKET0001`, `BUCKET0003`, `BUCKET0008`, `BUCKET0013`.
    pub fn land_all(&self, landings: &[Landing]) -> (Vec<Result<(), Error>>, Holding) {
        let there = landings.iter().map(|landing| self.place_of(landing));
        let there: Vec<Result<Bucket, Error>> = there.collect();
        let change = |(bucket, landing): (&Result<Bucket, Error>, &Landing)| {
            let bucket = bucket.as_ref().map_err(Clone::clone)?;
            let mut naming = self.0.naming.lock();
            let done = bucket.change(landing)?;
            // Counted anew when somebody asks.
            naming.counts.remove(&landing.bucket);
            Ok(done)
        };
        let changed: Vec<Result<Done, Error>> = there.iter().zip(landings).map(change).collect();
        let mut syncs = Syncs::default();
        let mut late = Holding::late(Arc::clone(&self.0));
        let mut all = Vec::new();
        for ((landing, bucket), changed) in landings.iter().zip(&there).zip(changed) {
            let landed = match bucket {
                Ok(bucket) => changed.and_then(|done| syncs.sync(bucket, &done, landing)),
                Err(e) => Err(e.clone()),
            };
            if landed.is_err() && bucket.is_ok() {
                late.changes.push((landing.clone(), None));
            }
            all.push(landed);
        }
        late.give_way();
        (all, late)
    }

    /// The bucket of a row, if it is still the one that the row means: in another directory of that name
    /// a file that is not there says nothing.
    fn place_of(&self, landing: &Landing) -> Result<Bucket, Error> {
        let bucket = self.bucket(&landing.bucket)?;
        check_key(&landing.key)?;
        let place = bucket.lies_in().map(|path| &**path);
        if place == landing.place.as_deref() {
            return Ok(bucket);
        }
        let lay = |place: Option<&str>| match place {
            Some(path) => format!("the directory {path}"),
            None => "kept by the server".to_owned(),
        };
        Err(Error::Elsewhere {
            bucket: landing.bucket.clone(),
            key: landing.key.clone(),
            was: lay(landing.place.as_deref()),
            is: lay(place),
        })
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
    /// Waits until no change of a key is on its way, and locks names: for a writer.
    /// # Errors
    /// `BUCKET0010`: that takes too long, or the disk refuses the change.
    pub(crate) fn settled(&self, key: &str) -> Result<MutexGuard<'_, Naming>, Error> {
        let waits = |naming: &Naming| {
            let held = naming.held_at(&self.name, key);
            held.is_some_and(|held| !held.late)
        };
        let naming = self.when(key, self.all.naming.lock(), waits)?;
        match naming.is_held(&self.name, key) {
            true => Err(self.on_its_way(key)),
            false => Ok(naming),
        }
    }

    /// Waits for the change of a key that is on its way now: for a reader.
    /// # Errors
    /// `BUCKET0010`: that takes too long.
    pub(crate) fn seen(&self, key: &str) -> Result<(), Error> {
        let naming = self.all.naming.lock();
        let next = naming.number;
        let waits = |naming: &Naming| {
            let held = naming.held_at(&self.name, key);
            held.is_some_and(|held| held.is_before(next))
        };
        self.when(key, naming, waits).map(drop)
    }

    /// The same, for every key that begins so and comes after that one. Changes that come meanwhile are
    /// not waited for: there might always be one.
    pub(crate) fn seen_below(&self, prefix: &str, after: Option<&str>) -> Result<(), Error> {
        let naming = self.all.naming.lock();
        let next = naming.number;
        let from = match after.filter(|after| *after >= prefix) {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(prefix),
        };
        let waits = |naming: &Naming| {
            let Some(keys) = naming.held.get(&self.name) else {
                return false;
            };
            keys.range::<str, _>((from, Bound::Unbounded))
                .take_while(|(key, _)| key.starts_with(prefix))
                .any(|(_, held)| held.is_before(next))
        };
        self.when(prefix, naming, waits).map(drop)
    }

    fn when<'a>(
        &'a self,
        key: &str,
        mut naming: MutexGuard<'a, Naming>,
        waits: impl Fn(&Naming) -> bool,
    ) -> Result<MutexGuard<'a, Naming>, Error> {
        let waits = |naming: &mut Naming| waits(naming);
        let waited = self.all.freed.wait_while_for(&mut naming, waits, WAIT);
        match waited.timed_out() {
            true => Err(self.on_its_way(key)),
            false => Ok(naming),
        }
    }

    fn on_its_way(&self, key: &str) -> Error {
        Error::OnItsWay {
            bucket: self.name.to_string(),
            key: key.to_owned(),
        }
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
    pub(crate) fn change(&self, landing: &Landing) -> Result<Done, Error> {
        let failed = |e: io::Error| {
            let what = format!("object {} of bucket {} cannot land", landing.key, self.name);
            Error::system(what, &e)
        };
        let (dir, path) = self.place(&landing.key)?;
        match &landing.gone {
            None => match dir.symlink_metadata(&landing.name) {
                Ok(_) => {
                    place_file(dir, &landing.name, &path).map_err(failed)?;
                    Ok(Done::Placed)
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
                // Another has come since, or none is there, and perhaps one where its folder was.
                Ok(_) => Ok(Done::Before),
                Err(e) if is_nothing(&e) => Ok(Done::Before),
                Err(e) => Err(failed(e)),
            },
        }
    }
}

/// Whether nothing is there, nor a folder that could hold it.
pub(crate) fn is_nothing(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// What a change came to.
pub(crate) enum Done {
    Placed,
    /// The topmost of its folders that went with it, or itself.
    Removed(String),
    /// It was made before, and is perhaps not on the disk yet.
    Before,
}

impl Held {
    /// Whether somebody who came when this was the next number waits for it.
    fn is_before(&self, next: u64) -> bool {
        self.number < next && !self.late
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
