//! What is noted of the objects that an attempt saw, and how one that is looked at again sees them.
//!
//! Small objects are in the journal whole, larger ones by their tags: those are read where they are, if
//! they are there still. Refuses to take another object for the one that was.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use stepwell_types::{Digest, Failure, Timestamp};

use super::view::{Place, Stop, apart};
use crate::Journal;
use crate::objects::{Bytes, Found, Objects};

/// What is noted where there was no object.
pub(super) const NONE: [u8; 32] = [0; 32];

/// What is noted of an object, beside the digest of its tag.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct About {
    size: u64,
    modified_ms: i64,
    etag: String,
    /// All of it, if it was small.
    bytes: Option<Vec<u8>>,
}

impl About {
    /// Of an object; its bytes too, if they are at most so many.
    pub(super) fn of(found: &Found, keeps: usize) -> About {
        let small = usize::try_from(found.size).ok().filter(|n| *n <= keeps);
        let bytes = small.and_then(|size| found.bytes.read_at(0, size).ok());
        About {
            size: found.size,
            modified_ms: found.modified.0,
            etag: found.etag.to_string(),
            bytes: bytes.filter(|bytes| bytes.len() as u64 == found.size),
        }
    }

    /// How many of the object's bytes it has.
    pub(super) fn kept(&self) -> usize {
        self.bytes.as_ref().map_or(0, Vec::len)
    }

    /// As it is noted.
    pub(super) fn noted(&self) -> Vec<u8> {
        // Plain data into memory: the encoder has no way to fail.
        postcard::to_allocvec(self).unwrap_or_default()
    }
}

/// Tells pages of keys apart.
pub(super) fn digest(keys: &[String]) -> [u8; 32] {
    Digest::of(keys.join("\n").as_bytes()).0
}

/// A page of keys, and whether there were more, as it is noted.
pub(super) fn page(keys: &[String], more: bool) -> Vec<u8> {
    postcard::to_allocvec(&(keys, more)).unwrap_or_default()
}

/// The object that an attempt saw that is looked at again.
pub(super) async fn found(
    journal: &Arc<Journal>,
    objects: &Arc<dyn Objects>,
    place: &Place,
) -> Result<Option<Found>, Stop> {
    let what = || format!("which object {} of bucket {} was", place.1, place.0);
    let seen = journal.told(&what).map_err(|_| Stop::Over)?;
    if seen.digest == NONE {
        return Ok(None);
    }
    let about = seen
        .what
        .and_then(|bytes| postcard::from_bytes(&bytes).ok());
    let later = Later {
        journal: journal.clone(),
        objects: objects.clone(),
        place: place.clone(),
        tag: seen.digest,
        found: OnceLock::new(),
    };
    let Some(about) = about else {
        // Its tag alone: all else is as it is there now.
        let there = apart(move || later.there().cloned()).await;
        return Ok(Some(there.map_err(|_| Stop::Over)?));
    };
    let About {
        size,
        modified_ms,
        etag,
        bytes,
    } = about;
    Ok(Some(Found {
        size,
        modified: Timestamp(modified_ms),
        etag: etag.into(),
        bytes: match bytes {
            Some(bytes) => Arc::new(Whole(bytes)),
            None => Arc::new(later),
        },
    }))
}

/// The page of keys that an attempt saw that is looked at again; of a large one the journal knows
/// only whether it is the same as that of `now`.
pub(super) async fn listed(
    journal: &Arc<Journal>,
    bucket: &Arc<str>,
    now: impl FnOnce() -> Result<(Vec<String>, bool), Failure> + Send + 'static,
) -> Result<(Vec<String>, bool), Stop> {
    let what = || format!("which objects bucket {bucket} had, and it has others now");
    let seen = journal.told(&what).map_err(|_| Stop::Over)?;
    if let Some(page) = seen
        .what
        .and_then(|bytes| postcard::from_bytes(&bytes).ok())
    {
        return Ok(page);
    }
    match apart(now).await {
        Ok((keys, more)) if digest(&keys) == seen.digest => Ok((keys, more)),
        _ => {
            journal.untold(&what());
            Err(Stop::Over)
        }
    }
}

/// An object that the journal has.
struct Whole(Vec<u8>);

impl Bytes for Whole {
    fn read_at(&self, at: u64, bytes: usize) -> Result<Vec<u8>, Failure> {
        let from = usize::try_from(at).unwrap_or(usize::MAX).min(self.0.len());
        let to = from.saturating_add(bytes).min(self.0.len());
        Ok(self.0[from..to].to_vec())
    }
}

/// An object of which the journal has the tag: looked for when its bytes are asked for.
struct Later {
    journal: Arc<Journal>,
    objects: Arc<dyn Objects>,
    place: Place,
    tag: [u8; 32],
    found: OnceLock<Result<Found, Failure>>,
}

impl Later {
    fn there(&self) -> Result<&Found, Failure> {
        let found = self.found.get_or_init(|| {
            let (bucket, key) = &self.place;
            let is = |found: &Found| Digest::of(found.etag.as_bytes()).0 == self.tag;
            let why = match self.objects.find(bucket, key) {
                Ok(Some(found)) if is(&found) => return Ok(found),
                Ok(Some(_)) => "there is another object now".to_owned(),
                Ok(None) => "it is gone".to_owned(),
                Err(failure) => failure.cause.to_string(),
            };
            Err(self
                .journal
                .untold(&format!("the bytes of {key} in bucket {bucket}: {why}")))
        });
        found.as_ref().map_err(Clone::clone)
    }
}

impl Bytes for Later {
    fn read_at(&self, at: u64, bytes: usize) -> Result<Vec<u8>, Failure> {
        self.there()?.bytes.read_at(at, bytes)
    }
}
