//! Changes whose keys are held, and how many of them land together.
//!
//! Refuses to let go of a key before its directory is on the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Error;
use crate::bucket::Bucket;
use crate::buckets::{Inner, Origin};
use crate::landing::{Done, Landing, Staged, is_nothing};

/// Changes whose keys are held. Dropping it gives up those that have not landed.
#[derive(Debug)]
pub struct Holding {
    all: Arc<Inner>,
    pub(crate) changes: Vec<(Landing, Option<Staged>)>,
    /// Objects that are counted already, by bucket.
    pub(crate) counted: Vec<String>,
    /// They may be durable: it is not for this process to give them up.
    left: bool,
    /// A process before this one held them: nothing of them is counted yet.
    uncounted: bool,
}

impl Holding {
    pub(crate) fn new(all: Arc<Inner>) -> Holding {
        Holding {
            all,
            changes: Vec::new(),
            counted: Vec::new(),
            left: false,
            uncounted: false,
        }
    }

    /// For changes that were sure before this process began, and are not made yet.
    pub(crate) fn late(all: Arc<Inner>) -> Holding {
        let mut late = Holding::new(all);
        late.left = true;
        late.uncounted = true;
        late
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The rows that make the changes sure, once they are durable.
    pub fn landings(&self) -> impl Iterator<Item = &Landing> {
        self.changes.iter().map(|(landing, _)| landing)
    }

    /// Whether they will be made is not this process's to say any more: dropped, they are left to
    /// [`crate::Buckets::land_all`], and until then nobody writes to their keys.
    pub fn leave(&mut self) {
        self.left = true;
        let staged = self.changes.iter_mut();
        for staged in staged.filter_map(|(_, staged)| staged.as_mut()) {
            staged.kept = true;
        }
    }

    /// Lets readers see what is there: the changes come later, if at all. Writers are refused, as a late
    /// change would replace what they write.
    pub fn give_way(&mut self) {
        let mut naming = self.all.naming.lock();
        for (landing, _) in &self.changes {
            naming.give_way(&landing.bucket, &landing.key);
        }
        drop(naming);
        self.all.freed.notify_all();
    }

    /// Makes the changes: what they rest on is durable. Those that fail stay, to be tried again.
    /// # Errors
    /// The first failure. What did not fail is done.
    pub fn land(&mut self) -> Result<(), Error> {
        let landed = Holding::land_all(std::slice::from_mut(self));
        landed.into_iter().collect()
    }

    /// The same of many: first all names, then each directory is brought to the disk once.
    /// # Errors
    /// Of each as [`Holding::land`].
    pub fn land_all(holdings: &mut [Holding]) -> Vec<Result<(), Error>> {
        let made: Vec<Vec<_>> = holdings.iter_mut().map(Holding::make).collect();
        let mut syncs = Syncs::default();
        let mut all = Vec::new();
        for (holding, made) in holdings.iter_mut().zip(made) {
            let mut first = Ok(());
            let mut left = Vec::new();
            let mut freed = Vec::new();
            for ((landing, staged), made) in
                std::mem::take(&mut holding.changes).into_iter().zip(made)
            {
                let bucket = Bucket::new(Arc::clone(&holding.all), &landing.bucket);
                match made.and_then(|done| syncs.sync(&bucket, &done, &landing)) {
                    Ok(()) => freed.push(landing),
                    Err(e) => {
                        left.push((landing, staged));
                        first = first.and(Err(e));
                    }
                }
            }
            holding.changes = left;
            holding.free(&freed);
            all.push(first);
        }
        // Once for all: each who waits looks through what is held.
        if let Some(holding) = holdings.first() {
            holding.all.freed.notify_all();
        }
        all
    }

    fn make(&mut self) -> Vec<Result<Done, Error>> {
        self.leave();
        let make = |(landing, _): &(Landing, Option<Staged>)| -> Result<Done, Error> {
            let bucket = Bucket::new(Arc::clone(&self.all), &landing.bucket);
            let mut naming = self.all.naming.lock();
            let done = bucket.change(landing)?;
            if self.uncounted {
                naming.counts.remove(&landing.bucket);
            } else if let (Done::Removed(_), Origin::Kept) = (&done, bucket.origin())
                && let Some(count) = naming.counts.get_mut(&landing.bucket)
            {
                *count = count.saturating_sub(1);
            }
            Ok(done)
        };
        self.changes.iter().map(make).collect()
    }

    fn free(&self, landings: &[Landing]) {
        let mut naming = self.all.naming.lock();
        for landing in landings {
            naming.free(&landing.bucket, &landing.key);
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        if self.left {
            return self.give_way();
        }
        let mut naming = self.all.naming.lock();
        for bucket in &self.counted {
            if let Some(count) = naming.counts.get_mut(bucket) {
                *count = count.saturating_sub(1);
            }
        }
        for (landing, _) in &self.changes {
            naming.free(&landing.bucket, &landing.key);
        }
        drop(naming);
        self.all.freed.notify_all();
    }
}

/// A directory: the granted bucket that it is in, `None` of those that are kept, and its path.
type Place = (Option<Arc<str>>, String);

/// Brings directories to the disk, each once. Good for changes of names that were made before it began.
#[derive(Default)]
pub(crate) struct Syncs {
    done: BTreeMap<Place, Result<(), Error>>,
}

impl Syncs {
    /// Those above what a change made or removed. What was made before may not be on the disk yet either.
    pub(crate) fn sync(
        &mut self,
        bucket: &Bucket,
        done: &Done,
        landing: &Landing,
    ) -> Result<(), Error> {
        let path = match done {
            Done::Removed(path) => path.clone(),
            Done::Placed | Done::Before => bucket.place(&landing.key)?.1,
        };
        let root = match bucket.origin() {
            Origin::Granted { .. } => Some(bucket.name.clone()),
            Origin::Kept => None,
        };
        let mut at = path.as_str();
        loop {
            let above = at.rsplit_once('/').map_or(".", |(above, _)| above);
            let place = (root.clone(), above.to_owned());
            match self.done.get(&place) {
                Some(done) => done.clone()?,
                None => {
                    let done = sync(bucket, above);
                    self.done.insert(place, done.clone());
                    done?;
                }
            }
            if above == "." {
                return Ok(());
            }
            at = above;
        }
    }
}

fn sync(bucket: &Bucket, path: &str) -> Result<(), Error> {
    // A directory is synced through a descriptor that may be read from.
    let synced = bucket.root()?.open(path).and_then(|dir| dir.sync_all());
    match synced {
        // Somebody has emptied the folder since.
        Err(e) if is_nothing(&e) => Ok(()),
        synced => synced
            .map_err(|e| Error::system(format!("bucket {} cannot be synced", bucket.name()), &e)),
    }
}
