//! The port to objects in buckets: for programs elsewhere that read and leave files, and for steps.
//!
//! Refuses to know how they are kept: `cli` plugs the buckets in. All calls block: they are made on
//! threads that may.

use std::any::Any;
use std::io::{Read, Write};
use std::sync::Arc;

use stepwell_types::{Failure, Hold, ObjectWrite, Timestamp};

/// Error name of what a step cannot ask of an object.
pub(crate) const REFUSED: &str = "Stepwell.ObjectRefused";

/// Opens objects. What steps need is refused where it is not said how.
pub trait Objects: Send + Sync {
    /// The bytes of an object, and how many they are.
    /// # Errors
    /// `Stepwell.FileTransferFailed`: there is no such bucket or object, or it cannot be read.
    fn open(&self, bucket: &str, key: &str) -> Result<(Box<dyn Read + Send>, u64), Failure>;

    /// A place for a new object, in place of one that is there.
    /// # Errors
    /// `Stepwell.FileTransferFailed`: the bucket is missing or not to be written, or the key is no name.
    fn create(&self, bucket: &str, key: &str) -> Result<Box<dyn NewObject>, Failure>;

    /// An object for a step to read. Waits for a change of it that is on its way.
    /// # Errors
    /// `Stepwell.ObjectRefused`: there is no such bucket, or the key is no name; `Stepwell.ObjectFailed`.
    fn find(&self, bucket: &str, key: &str) -> Result<Option<Found>, Failure> {
        Err(none(bucket, key))
    }

    /// At most `limit` keys after this one, in order, and whether there are more.
    /// # Errors
    /// As [`Objects::find`].
    fn list(
        &self,
        bucket: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<String>, bool), Failure> {
        let _ = (after, limit);
        Err(none(bucket, ""))
    }

    /// Begins an object that gets its key when a step's outcome is durable.
    /// # Errors
    /// As [`Objects::find`], or the bucket is not to be written.
    fn begin(&self, bucket: &str, key: &str) -> Result<Box<dyn Begun>, Failure> {
        Err(none(bucket, key))
    }

    /// Holds the keys of a step's changes, all or none, until they are durable or given up.
    /// # Errors
    /// Why not.
    fn hold(&self, changes: Vec<ObjectChange>, seen: &[SeenObject]) -> Result<HeldObjects, Unheld> {
        let _ = (changes, seen);
        Err(Unheld::Failed(refused("no step has objects here")))
    }

    /// Most bytes of one object.
    fn bytes_max(&self) -> u64 {
        0
    }
}

/// An object on its way; dropping it leaves nothing.
pub trait NewObject: Write + Send {
    /// Puts it in its place.
    /// # Errors
    /// `Stepwell.FileTransferFailed`.
    fn finish(self: Box<Self>) -> Result<(), Failure>;
}

/// An object that was found.
#[derive(Clone)]
pub struct Found {
    /// Bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Timestamp,
    /// Another object under the same key has another one.
    pub etag: Arc<str>,
    /// Its bytes: these, whatever becomes of the key.
    pub bytes: Arc<dyn Bytes>,
}

/// The bytes of an object that is open.
pub trait Bytes: Send + Sync {
    /// So many bytes from this place on; fewer where it ends.
    /// # Errors
    /// `Stepwell.ObjectChanged`: somebody writes into it; `Stepwell.ObjectFailed`.
    fn read_at(&self, at: u64, bytes: usize) -> Result<Vec<u8>, Failure>;
}

/// An object that a step writes; dropping it leaves nothing.
pub trait Begun: Send {
    /// Takes the next bytes.
    /// # Errors
    /// `Stepwell.ObjectRefused`: it would be too large; `Stepwell.ObjectFailed`.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure>;

    /// Brings it to the disk, where it waits for its key.
    /// # Errors
    /// `Stepwell.ObjectFailed`.
    fn finish(self: Box<Self>) -> Result<Box<dyn Whole>, Failure>;
}

/// An object that is whole and has no key yet; dropping it leaves nothing.
pub trait Whole: Any + Send + Sync {
    /// Its bytes.
    fn size(&self) -> u64;

    /// Opens it.
    /// # Errors
    /// `Stepwell.ObjectFailed`.
    fn open(&self) -> Result<Arc<dyn Bytes>, Failure>;
}

/// What a step does to an object.
pub struct ObjectChange {
    /// Its bucket.
    pub bucket: Arc<str>,
    /// Its key.
    pub key: Arc<str>,
    /// What gets the key; `None`: the object goes.
    pub put: Option<Box<dyn Whole>>,
}

/// What a step saw of an object that it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenObject {
    /// Its bucket.
    pub bucket: Arc<str>,
    /// Its key.
    pub key: Arc<str>,
    /// Its tag; `None`: there was none.
    pub etag: Option<Arc<str>>,
}

/// Changes whose keys are held.
pub struct HeldObjects {
    /// What the outcome's commit must hold.
    pub writes: Vec<ObjectWrite>,
    /// Told when that is durable.
    pub hold: Hold,
}

/// Why changes are not held.
#[derive(Debug)]
pub enum Unheld {
    /// What the step saw is so no more, or another's change is on its way.
    Changed,
    /// `Stepwell.ObjectRefused`, `Stepwell.ObjectFailed`: they cannot be made.
    Failed(Failure),
}

/// No buckets at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObjects;

impl Objects for NoObjects {
    fn open(&self, bucket: &str, _key: &str) -> Result<(Box<dyn Read + Send>, u64), Failure> {
        Err(failed(format!("there is no bucket `{bucket}`")))
    }

    fn create(&self, bucket: &str, _key: &str) -> Result<Box<dyn NewObject>, Failure> {
        Err(failed(format!("there is no bucket `{bucket}`")))
    }
}

fn none(bucket: &str, key: &str) -> Failure {
    refused(format!(
        "no step has objects here, such as `{bucket}/{key}`"
    ))
}

/// A file did not get where it should.
#[must_use]
pub fn failed(cause: impl Into<Arc<str>>) -> Failure {
    Failure::new("Stepwell.FileTransferFailed", cause)
}

/// A step asks of an object what cannot be.
#[must_use]
pub fn refused(cause: impl Into<Arc<str>>) -> Failure {
    Failure::new(REFUSED, cause)
}
