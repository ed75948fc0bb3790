//! A listing is read ahead of the pages that a Map asks for: a large folder is read once for
//! [`BATCH`] objects, and not once for each page.
//!
//! Refuses to be asked for anything but the page that follows: everybody else gets what is there now.

use std::collections::VecDeque;

use crate::listing::BATCH;
use crate::{Buckets, Error, ObjectInfo, ObjectPage};

/// Listings that are remembered at a time; the oldest goes first.
const LISTINGS_MAX: usize = 8;

/// What comes after a key of a listing.
#[derive(Debug)]
struct Rest {
    bucket: String,
    prefix: String,
    after: String,
    page: ObjectPage,
}

/// The remembered rests.
#[derive(Debug, Default)]
pub(crate) struct Ahead(VecDeque<Rest>);

/// The objects after a key: what was remembered, or else a new look.
pub(super) fn take(
    buckets: &Buckets,
    bucket: &str,
    prefix: &str,
    after: Option<&str>,
) -> Result<ObjectPage, Error> {
    {
        let Ahead(rests) = &mut *buckets.0.ahead.lock();
        let known = rests
            .iter()
            .position(|r| r.bucket == bucket && r.prefix == prefix && Some(&*r.after) == after);
        if let Some(rest) = known.and_then(|at| rests.remove(at)) {
            return Ok(rest.page);
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
    if objects.is_empty() {
        return;
    }
    let Ahead(rests) = &mut *buckets.0.ahead.lock();
    // The same page read twice, as after a crash, has one rest: what was seen last.
    rests.retain(|r| r.bucket != bucket || r.prefix != prefix || r.after != after);
    if rests.len() == LISTINGS_MAX {
        rests.pop_front();
    }
    rests.push_back(Rest {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        after: after.to_owned(),
        page: ObjectPage { objects, more },
    });
}
