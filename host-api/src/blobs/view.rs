//! One attempt's view of objects: what it saw, what it changes, and what it sees of both.
//!
//! Refuses to see two objects under one key: one that was replaced in the middle ends the attempt's
//! run, and it begins anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stepwell_types::{Digest, Failure, Timestamp};

use super::again::{self, About};
use super::{OBJECTS_MAX, OPEN_MAX, PAGE};
use crate::Journal;
use crate::objects::{Begun, Bytes, Found, ObjectChange, Objects, SeenObject, Whole, refused};

/// A bucket and a key.
pub(super) type Place = (Arc<str>, Arc<str>);

/// All that an attempt saw and did.
#[derive(Default)]
pub struct Touched {
    seen: BTreeMap<Place, Option<Arc<str>>>,
    changes: BTreeMap<Place, Option<Box<dyn Whole>>>,
    /// Some of it changed before the attempt was over.
    pub(crate) stale: bool,
}

impl std::fmt::Debug for Touched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let changed: Vec<&Place> = self.changes.keys().collect();
        f.debug_struct("Touched")
            .field("seen", &self.seen)
            .field("changed", &changed)
            .finish_non_exhaustive()
    }
}

impl Touched {
    /// Nothing is changed: of an attempt that failed nothing is written.
    pub(crate) fn give_up_changes(&mut self) {
        self.changes.clear();
    }

    /// Where turns are waited for by those that change the same.
    pub(crate) fn first(&self) -> Option<Arc<str>> {
        let (bucket, key) = self.changes.keys().next()?;
        Some(format!("{bucket} {key}").into())
    }

    /// The changes, and what of them was seen before: an object that is only read may change.
    pub(crate) fn end(self) -> (Vec<ObjectChange>, Vec<SeenObject>) {
        let seen = self
            .seen
            .into_iter()
            .filter(|(place, _)| self.changes.contains_key(place))
            .map(|((bucket, key), etag)| SeenObject { bucket, key, etag })
            .collect();
        let change = |((bucket, key), put)| ObjectChange { bucket, key, put };
        (self.changes.into_iter().map(change).collect(), seen)
    }
}

/// What stops an operation.
#[derive(Debug)]
pub(super) enum Stop {
    /// The guest is told.
    Told(Failure),
    /// What the attempt saw has changed: it begins anew, or ends.
    Changed,
    /// The attempt ends, as its journal was told.
    Over,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Told(failure)
    }
}

/// An object as the guest sees it.
pub(super) struct Object {
    pub(super) size: u64,
    pub(super) modified: Timestamp,
    pub(super) bytes: Arc<dyn Bytes>,
}

/// A page of a listing.
pub(super) struct Listing {
    pub(super) keys: Vec<String>,
    /// Behind which key the next one begins; `None`: this is the last.
    pub(super) next: Option<Arc<str>>,
}

/// One of the objects that may be open at once; its place is free when it is dropped.
pub(super) type Permit = Arc<()>;

/// What an attempt sees.
pub(crate) struct Blobs {
    objects: Arc<dyn Objects>,
    journal: Arc<Journal>,
    touched: Touched,
    lists: usize,
    open: Permit,
    /// Bytes that it may write still.
    pub(super) room: Arc<AtomicU64>,
    /// What the journal told of an attempt that is only looked at again.
    told: BTreeMap<Place, Option<Found>>,
}

impl Blobs {
    pub(crate) fn new(objects: Arc<dyn Objects>, journal: Arc<Journal>) -> Blobs {
        let room = Arc::new(AtomicU64::new(objects.bytes_max()));
        Blobs {
            objects,
            journal,
            touched: Touched::default(),
            lists: 0,
            open: Permit::default(),
            room,
            told: BTreeMap::new(),
        }
    }

    /// What was touched, when the attempt is over.
    pub(crate) fn end(self) -> Touched {
        self.touched
    }

    /// What was seen has changed.
    pub(super) fn lose(&mut self) {
        self.touched.stale = true;
    }

    /// A place for one more open object.
    pub(super) fn permit(&self) -> Result<Permit, Stop> {
        match Arc::strong_count(&self.open) <= OPEN_MAX {
            true => Ok(self.open.clone()),
            false => Err(refused(format!(
                "a step has at most {OPEN_MAX} objects open at once"
            ))
            .into()),
        }
    }

    /// The object under a key: the step's own, or what is there.
    pub(super) async fn find(&mut self, place: &Place) -> Result<Option<Object>, Stop> {
        match self.touched.changes.get(place) {
            Some(None) => return Ok(None),
            Some(Some(own)) => {
                return Ok(Some(Object {
                    size: own.size(),
                    modified: self.journal.began(),
                    bytes: own.open().map_err(|failure| self.unnoted(failure))?,
                }));
            }
            None => {}
        }
        if !self.touched.seen.contains_key(place) {
            self.room()?;
        }
        let (found, about) = self.look(place).await?;
        self.saw(place, found.as_ref(), about)?;
        Ok(found.map(|found| Object {
            size: found.size,
            modified: found.modified,
            bytes: found.bytes,
        }))
    }

    /// What is under a key, or was when the attempt ran that is looked at again; and what is to be
    /// noted of it.
    async fn look(&mut self, place: &Place) -> Result<(Option<Found>, About), Stop> {
        let (operation, refused) = self.journal.operation();
        if let Some(failure) = refused {
            return Err(failure.into());
        }
        if self.journal.is_again() {
            if !self.told.contains_key(place) {
                let found = again::found(&self.journal, &self.objects, place).await?;
                self.told.insert(place.clone(), found);
            }
            let found = self.told.get(place).cloned().flatten();
            return Ok((found, About::default()));
        }
        let (objects, (bucket, key)) = (self.objects.clone(), place.clone());
        let new = !self.touched.seen.contains_key(place);
        let keeps = if new { self.journal.keeps() } else { 0 };
        let looked = apart(move || {
            let found = objects.find(&bucket, &key)?;
            let about = found.as_ref().map(|found| About::of(found, keeps));
            Ok((found, about.unwrap_or_default()))
        });
        let looked = looked.await;
        if let Err(failure) = &looked {
            self.journal.refused(operation, failure);
        }
        Ok(looked?)
    }

    /// It is what it was when the attempt first saw it, and before a crash, if there was one.
    fn saw(&mut self, place: &Place, found: Option<&Found>, about: About) -> Result<(), Stop> {
        let etag = found.map(|found| found.etag.clone());
        match self.touched.seen.get(place) {
            Some(before) if *before == etag => Ok(()),
            Some(_) => Err(Stop::Changed),
            None => {
                let digest = etag.as_ref().map(|etag| Digest::of(etag.as_bytes()));
                let digest = digest.map_or(again::NONE, |digest| digest.0);
                if !self.journal.saw(&digest, about.kept(), || about.noted()) {
                    return Err(Stop::Changed);
                }
                self.touched.seen.insert(place.clone(), etag);
                Ok(())
            }
        }
    }

    /// A failure that no note tells of.
    pub(super) fn unnoted(&self, failure: Failure) -> Stop {
        self.journal.unnoted(&failure);
        match self.journal.broken() {
            None => Stop::Told(failure),
            Some(_) => Stop::Over,
        }
    }

    /// The step's outcome brings this change.
    pub(super) fn change(&mut self, place: Place, put: Option<Box<dyn Whole>>) -> Result<(), Stop> {
        if !self.touched.changes.contains_key(&place) {
            self.room()?;
        }
        self.touched.changes.insert(place, put);
        Ok(())
    }

    /// A page of keys in order. One that the step's changes leave empty may have a next.
    pub(super) async fn list(
        &mut self,
        bucket: &Arc<str>,
        after: Option<&Arc<str>>,
        limit: usize,
    ) -> Result<Listing, Stop> {
        self.room()?;
        self.lists += 1;
        // Enough that what the step has deleted there leaves as many as are wanted.
        let gone = |(of, key): &Place| of == bucket && after.is_none_or(|after| key > after);
        let gone = self.touched.changes.keys().filter(|place| gone(place));
        let limit = limit.saturating_add(gone.count()).clamp(1, PAGE);
        let (keys, more) = self.page(bucket, after, limit).await?;
        let noted = again::page(&keys, more);
        if !self
            .journal
            .saw(&again::digest(&keys), noted.len(), || noted)
        {
            return Err(Stop::Changed);
        }
        // Up to the page's last key the step's own changes count; past it they come with a later page.
        let end = keys.last().filter(|_| more).cloned();
        let mut all: BTreeSet<String> = keys.into_iter().collect();
        for ((of, key), put) in &self.touched.changes {
            let within = of == bucket
                && after.is_none_or(|after| key > after)
                && end.as_ref().is_none_or(|end| **key <= **end);
            match put {
                Some(_) if within => all.insert(key.to_string()),
                None if within => all.remove(&**key),
                _ => false,
            };
        }
        Ok(Listing {
            keys: all.into_iter().collect(),
            next: end.map(Arc::from),
        })
    }

    /// A page of keys as others left them, or as the attempt saw it that is looked at again.
    async fn page(
        &self,
        bucket: &Arc<str>,
        after: Option<&Arc<str>>,
        limit: usize,
    ) -> Result<(Vec<String>, bool), Stop> {
        let (operation, refused) = self.journal.operation();
        if let Some(failure) = refused {
            return Err(failure.into());
        }
        let (objects, of, from) = (self.objects.clone(), bucket.clone(), after.cloned());
        let list = move || objects.list(&of, from.as_deref(), limit);
        if self.journal.is_again() {
            return again::listed(&self.journal, bucket, list).await;
        }
        let page = apart(list).await;
        if let Err(failure) = &page {
            self.journal.refused(operation, failure);
        }
        Ok(page?)
    }

    /// Begins an object that is to have this key with the step's outcome.
    pub(super) async fn begin(&self, (bucket, key): Place) -> Result<Box<dyn Begun>, Stop> {
        // Whoever lists keys sees them.
        self.journal.keeps_back("the key", &key)?;
        let (operation, refused) = self.journal.operation();
        if let Some(failure) = refused {
            return Err(failure.into());
        }
        let objects = self.objects.clone();
        let begun = apart(move || objects.begin(&bucket, &key)).await;
        if let Err(failure) = &begun {
            self.journal.refused(operation, failure);
        }
        Ok(begun?)
    }

    fn room(&self) -> Result<(), Stop> {
        let touched = &self.touched;
        if touched.seen.len() + touched.changes.len() + self.lists < OBJECTS_MAX {
            return Ok(());
        }
        let why =
            format!("a step looks for, changes and lists at most {OBJECTS_MAX} objects and pages");
        Err(refused(why).into())
    }
}

/// Takes bytes out of what may be written.
/// # Errors
/// `Stepwell.ObjectRefused`.
pub(super) fn take(room: &AtomicU64, bytes: usize) -> Result<(), Failure> {
    let bytes = bytes as u64;
    let take = |left: u64| left.checked_sub(bytes);
    let taken = room.fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
    taken.map(drop).map_err(|left| {
        refused(format!(
            "the step would write more than it may: {left} bytes are left"
        ))
    })
}

/// Runs what blocks on a thread that may.
pub(super) async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| {
        let cause = format!("a bucket's thread broke off: {e}");
        Err(Failure::new("Stepwell.ObjectFailed", cause))
    })
}
