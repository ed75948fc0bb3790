//! The port to objects in buckets, for programs elsewhere that read and leave files.
//!
//! Refuses to know how they are kept: `cli` plugs the buckets in.

use std::io::{Read, Write};

use stepwell_types::Failure;

/// Opens objects. Blocks: called on threads that may.
pub trait Objects: Send + Sync {
    /// The bytes of an object, and how many they are.
    /// # Errors
    /// `Stepwell.FileTransferFailed`: there is no such bucket or object, or it cannot be read.
    fn open(&self, bucket: &str, key: &str) -> Result<(Box<dyn Read + Send>, u64), Failure>;

    /// A place for a new object, in place of one that is there.
    /// # Errors
    /// `Stepwell.FileTransferFailed`: the bucket is missing or not to be written, or the key is no name.
    fn create(&self, bucket: &str, key: &str) -> Result<Box<dyn NewObject>, Failure>;
}

/// An object on its way; dropping it leaves nothing.
pub trait NewObject: Write + Send {
    /// Puts it in its place.
    /// # Errors
    /// `Stepwell.FileTransferFailed`.
    fn finish(self: Box<Self>) -> Result<(), Failure>;
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

/// A file did not get where it should.
#[must_use]
pub fn failed(cause: impl Into<std::sync::Arc<str>>) -> Failure {
    Failure::new("Stepwell.FileTransferFailed", cause)
}
