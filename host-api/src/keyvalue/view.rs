//! One attempt's view of the namespaces: what it read, what it wrote, and what it sees of both.
//!
//! Refuses to read a key twice in two ways: a value that changed in the middle ends the attempt's
//! run, and it begins anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stepwell_store::NamespaceSize;
use stepwell_types::{Digest, Failure};

use super::namespaces::{Namespaces, digest, weight};
use super::{KEY_BYTES_MAX, KEYS_MAX, PAGE, READ_BYTES_MAX, VALUE_BYTES_MAX, WRITTEN_BYTES_MAX};
use crate::Journal;
use crate::journal::Seen;

/// A namespace and a key.
pub type Place = (Arc<str>, Arc<str>);

/// What is noted where there was no value.
const NONE: [u8; 32] = [0; 32];
/// What is noted where a namespace had no room.
const FULL: [u8; 32] = [0xff; 32];

/// All that an attempt touched.
#[derive(Debug, Default)]
pub struct Touched {
    pub(super) reads: BTreeMap<Place, Option<Digest>>,
    pub(super) lists: Vec<Listed>,
    pub(super) writes: BTreeMap<Place, Option<Vec<u8>>>,
    /// What it saw and did of objects.
    pub(crate) objects: crate::blobs::Touched,
    /// Some of it changed before the attempt was over.
    stale: bool,
}

impl Touched {
    /// Whether some of what was read changed before the attempt was over.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.stale || self.objects.stale
    }

    /// What was read alone: of an attempt that failed nothing is written.
    pub fn give_up_writes(&mut self) {
        self.writes.clear();
        self.objects.give_up_changes();
    }

    pub(super) fn first_namespace(&self) -> Option<Arc<str>> {
        let places = self.writes.keys().chain(self.reads.keys());
        let lists = self.lists.iter().map(|list| &list.namespace);
        places
            .map(|(namespace, _)| namespace)
            .chain(lists)
            .min()
            .cloned()
            .or_else(|| self.objects.first())
    }
}

/// A page of keys that was read.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) namespace: Arc<str>,
    pub(super) after: Option<Arc<str>>,
    pub(super) limit: usize,
    pub(super) keys: Digest,
}

impl Listed {
    pub(super) fn digest(keys: &[Arc<str>]) -> Digest {
        let mut bytes = Vec::new();
        for key in keys {
            bytes.extend((key.len() as u64).to_be_bytes());
            bytes.extend(key.as_bytes());
        }
        Digest::of(&bytes)
    }
}

/// What stops an operation.
#[derive(Debug)]
pub enum Stop {
    /// The guest is told.
    Refused(String),
    /// What the attempt read has changed: it begins anew, or ends.
    Changed,
    /// The attempt ends.
    Failed(Failure),
}

/// What an attempt sees.
pub struct View {
    all: Namespaces,
    journal: Arc<Journal>,
    touched: Touched,
    written_bytes: usize,
    read_bytes: usize,
    /// By how much its writes make namespaces larger, as it looked when each key was first written.
    growth: BTreeMap<Arc<str>, NamespaceSize>,
    /// Where pages of listings begin, by cursor.
    cursors: Vec<(Arc<str>, Arc<str>)>,
    /// What the journal told of an attempt that is only looked at again.
    told: BTreeMap<Place, Option<Vec<u8>>>,
}

impl View {
    /// That of an attempt that begins, or resumes, with this journal.
    #[must_use]
    pub fn new(all: Namespaces, journal: Arc<Journal>) -> View {
        View {
            all,
            journal,
            touched: Touched::default(),
            written_bytes: 0,
            read_bytes: 0,
            growth: BTreeMap::new(),
            cursors: Vec::new(),
            told: BTreeMap::new(),
        }
    }

    /// What was touched, when the attempt is over.
    #[must_use]
    pub fn end(self) -> Touched {
        self.touched
    }

    /// What was read has changed.
    pub(super) fn lose(&mut self) {
        self.touched.stale = true;
    }

    /// A key's value: its own write, or what is durable. Waits for one that is on its way.
    /// # Errors
    /// What stops it.
    pub async fn get(&mut self, place: &Place) -> Result<Option<Vec<u8>>, Stop> {
        check_key(&place.1)?;
        if let Some(written) = self.touched.writes.get(place) {
            return Ok(written.clone());
        }
        let before = self.touched.reads.get(place).copied();
        if before.is_none() {
            self.room()?;
            self.all.free(&place.0, Some(&place.1)).await;
        }
        let value = self.durable(place)?;
        let seen = digest(value.as_deref());
        match before {
            Some(before) if before != seen => return Err(Stop::Changed),
            Some(_) => {}
            None => {
                self.read_bytes += value.as_ref().map_or(0, Vec::len);
                if self.read_bytes > READ_BYTES_MAX {
                    let why = format!("a step reads at most {READ_BYTES_MAX} bytes");
                    return Err(Stop::Refused(why));
                }
                let bytes = value.as_deref().unwrap_or_default();
                self.saw(&seen.map_or(NONE, |digest| digest.0), bytes)?;
                self.touched.reads.insert(place.clone(), seen);
            }
        }
        Ok(value)
    }

    /// What is durable under a key, or was when the attempt ran that is looked at again.
    fn durable(&mut self, place: &Place) -> Result<Option<Vec<u8>>, Stop> {
        if !self.journal.is_again() {
            return self.all.read(place).map_err(Stop::Failed);
        }
        if let Some(value) = self.told.get(place) {
            return Ok(value.clone());
        }
        let what = || format!("what {:?} was in the namespace {}", place.1, place.0);
        let value = match self.journal.told(&what).map_err(Stop::Failed)? {
            Seen { digest: NONE, .. } => None,
            Seen {
                what: Some(value), ..
            } => Some(value),
            Seen { what: None, .. } => return Err(Stop::Failed(self.journal.untold(&what()))),
        };
        self.told.insert(place.clone(), value.clone());
        Ok(value)
    }

    /// Writes a value, or takes one away: to land with the outcome.
    /// # Errors
    /// What stops it.
    pub fn put(&mut self, place: Place, value: Option<Vec<u8>>) -> Result<(), Stop> {
        check_key(&place.1)?;
        // Whoever lists keys sees them.
        let kept = self.journal.keeps_back("the key", &place.1);
        kept.map_err(|e| Stop::Refused(format!("{}: {}", e.error, e.cause)))?;
        let bytes = value.as_ref().map_or(0, Vec::len);
        if bytes > VALUE_BYTES_MAX {
            return Err(Stop::Refused(format!(
                "the value has {bytes} bytes, the limit is {VALUE_BYTES_MAX}"
            )));
        }
        if !self.touched.writes.contains_key(&place) {
            self.room()?;
        }
        let taken = |value: Option<&Vec<u8>>| place.1.len() + value.map_or(0, Vec::len);
        let own = self.touched.writes.get(&place);
        let old = own.map_or(0, |old| taken(old.as_ref()));
        let total = self.written_bytes - old + taken(value.as_ref());
        if total > WRITTEN_BYTES_MAX {
            return Err(Stop::Refused(format!(
                "a step writes at most {WRITTEN_BYTES_MAX} bytes"
            )));
        }
        self.grow(&place, value.as_deref())?;
        self.written_bytes = total;
        self.touched.writes.insert(place, value);
        Ok(())
    }

    /// Whether there is room for the namespace to grow by a write; if so it is counted.
    fn grow(&mut self, place: &Place, value: Option<&[u8]>) -> Result<(), Stop> {
        let (operation, refused) = self.journal.operation();
        let mut grown = None;
        let full = match refused {
            Some(full) => Some(full),
            None if self.journal.is_again() => None,
            None => {
                let before = match self.touched.writes.get(place) {
                    Some(own) => weight(&place.1, own.as_deref()),
                    None => self.all.weight(place).map_err(Stop::Failed)?,
                };
                let growth = self.growth.get(&place.0).copied().unwrap_or_default();
                let growth = growth + weight(&place.1, value) - before;
                grown = Some(growth);
                self.all.has_room(&place.0, growth).err()
            }
        };
        if let Some(full) = full {
            self.journal.refused(operation, &full);
            // What it learns by this, it must learn again after a crash.
            self.saw(&FULL, &[])?;
            return Err(Stop::Refused(format!("{}: {}", full.error, full.cause)));
        }
        if let Some(growth) = grown {
            self.growth.insert(place.0.clone(), growth);
        }
        Ok(())
    }

    /// A page of keys in order, and where the next begins.
    pub(super) async fn list(
        &mut self,
        namespace: &Arc<str>,
        cursor: Option<u64>,
    ) -> Result<(Vec<String>, Option<u64>), Stop> {
        let after = match cursor {
            None => None,
            Some(cursor) => {
                let at = usize::try_from(cursor)
                    .ok()
                    .and_then(|n| self.cursors.get(n));
                let mine = at.filter(|(of, _)| of == namespace);
                let mine = mine.ok_or_else(|| Stop::Refused("no such cursor".to_owned()))?;
                Some(mine.1.clone())
            }
        };
        self.room()?;
        self.all.free(namespace, None).await;
        let keys = self.page(namespace, after.as_ref())?;
        let seen = Listed::digest(&keys);
        self.saw(&seen.0, &crate::journal::page(&keys))?;
        self.touched.lists.push(Listed {
            namespace: namespace.clone(),
            after: after.clone(),
            limit: PAGE,
            keys: seen,
        });
        // Up to the page's last key, its own writes count; past it they come with a later page.
        let end = keys.last().filter(|_| keys.len() == PAGE).cloned();
        let mut all: BTreeSet<Arc<str>> = keys.into_iter().collect();
        for ((of, key), value) in &self.touched.writes {
            let within = of == namespace
                && after.as_ref().is_none_or(|after| key > after)
                && end.as_ref().is_none_or(|end| key <= end);
            match value {
                Some(_) if within => all.insert(key.clone()),
                None if within => all.remove(key),
                _ => false,
            };
        }
        let next = end.map(|end| {
            self.cursors.push((namespace.clone(), end));
            self.cursors.len() as u64 - 1
        });
        Ok((all.iter().map(ToString::to_string).collect(), next))
    }

    /// The keys of a page, or those that the attempt saw that is looked at again.
    fn page(&self, namespace: &Arc<str>, after: Option<&Arc<str>>) -> Result<Vec<Arc<str>>, Stop> {
        if !self.journal.is_again() {
            return self.all.keys(namespace, after, PAGE).map_err(Stop::Failed);
        }
        let what = || format!("which keys were in the namespace {namespace}");
        let seen = self.journal.told(&what).map_err(Stop::Failed)?;
        let keys = seen
            .what
            .and_then(|bytes| postcard::from_bytes(&bytes).ok());
        let keys: Vec<String> = keys.ok_or_else(|| Stop::Failed(self.journal.untold(&what())))?;
        Ok(keys.into_iter().map(Arc::from).collect())
    }

    /// What was read is as it was before a crash, if there was one.
    fn saw(&self, digest: &[u8; 32], what: &[u8]) -> Result<(), Stop> {
        match self.journal.saw(digest, what.len(), || what.to_vec()) {
            true => Ok(()),
            false => Err(Stop::Changed),
        }
    }

    fn room(&self) -> Result<(), Stop> {
        let touched = &self.touched;
        if touched.reads.len() + touched.writes.len() + touched.lists.len() < KEYS_MAX {
            return Ok(());
        }
        Err(Stop::Refused(format!(
            "a step reads and writes at most {KEYS_MAX} keys"
        )))
    }
}

fn check_key(key: &str) -> Result<(), Stop> {
    if (1..=KEY_BYTES_MAX).contains(&key.len()) {
        return Ok(());
    }
    Err(Stop::Refused(format!(
        "a key has 1 to {KEY_BYTES_MAX} bytes"
    )))
}
