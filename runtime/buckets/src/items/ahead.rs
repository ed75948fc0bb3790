//! What the page that follows will begin with: a listing is read ahead of the pages that a Map
//! asks for, and an object that cannot be entered in its middle stays open where a page ended.
//! So a large folder, or a compressed file, is read once and not once for each page.
//!
//! Refuses to be asked for anything but the page that follows: everybody else gets what is there now.

use std::collections::VecDeque;
use std::fmt;

use super::Under;
use crate::listing::BATCH;
use crate::{Buckets, Error, ObjectInfo, ObjectPage};

/// Things of one kind that are remembered at a time; the oldest goes first.
const REMEMBERED: usize = 8;

/// The remembered rests.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// What comes after a key: of which bucket, prefix and key.
    listings: Recent<(String, String, String), ObjectPage>,
    /// Objects by their etag and the place in them.
    objects: Recent<(String, u64), Under<std::fs::File>>,
}

/// The newest few of something.
struct Recent<K, V>(VecDeque<(K, V)>);

impl<K, V> Default for Recent<K, V> {
    fn default() -> Recent<K, V> {
        Recent(VecDeque::new())
    }
}

impl<K: fmt::Debug, V> fmt::Debug for Recent<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(k, _)| k))
            .finish()
    }
}

impl<K: PartialEq, V> Recent<K, V> {
    fn take(&mut self, key: &K) -> Option<V> {
        let at = self.0.iter().position(|(known, _)| known == key)?;
        self.0.remove(at).map(|(_, value)| value)
    }

    fn keep(&mut self, key: K, value: V) {
        // The same page read twice, as after a crash, has one rest: what was seen last.
        self.0.retain(|(known, _)| *known != key);
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((key, value));
    }
}

/// The objects after a key: what was remembered, or else a new look.
pub(super) fn take(
    buckets: &Buckets,
    bucket: &str,
    prefix: &str,
    after: Option<&str>,
) -> Result<ObjectPage, Error> {
    if let Some(after) = after {
        let key = (bucket.to_owned(), prefix.to_owned(), after.to_owned());
        if let Some(page) = buckets.0.ahead.lock().listings.take(&key) {
            return Ok(page);
        }
    }
    buckets.bucket(bucket)?.list(prefix, after, BATCH)
}

/// Remembers what was read and not asked for yet.
pub(super) fn keep(
    buckets: &Buckets,
    bucket: &str,
    prefix: &str,
    after: &str,
    objects: Vec<ObjectInfo>,
    more: bool,
) {
    if !objects.is_empty() {
        let key = (bucket.to_owned(), prefix.to_owned(), after.to_owned());
        let page = ObjectPage { objects, more };
        buckets.0.ahead.lock().listings.keep(key, page);
    }
}

/// An object that is open at this place, if it is.
pub(super) fn take_object(
    buckets: &Buckets,
    etag: &str,
    offset: u64,
) -> Option<Under<std::fs::File>> {
    let key = (etag.to_owned(), offset);
    buckets.0.ahead.lock().objects.take(&key)
}

/// Leaves an object open where the next page begins.
pub(super) fn keep_object(buckets: &Buckets, etag: &str, offset: u64, under: Under<std::fs::File>) {
    let key = (etag.to_owned(), offset);
    buckets.0.ahead.lock().objects.keep(key, under);
}
