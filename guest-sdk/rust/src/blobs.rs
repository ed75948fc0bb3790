//! Objects of buckets, over `wasi:blobstore`, in buckets that the manifest grants: read and written in
//! pieces, so that none is held in memory.
//!
//! [`Reader`] and [`Writer`] are [`Read`] and [`Write`]; [`named`] brings a failure back out of their errors.
//! What a step writes or deletes is seen by others with its outcome, all of it or nothing; it sees its own
//! at once. Refuses nothing itself: the host does, with names such as `Stepwell.ObjectMissing`.

use std::io::{self, Read, Write};

use crate::Failure;
use bindings::wasi::blobstore::blobstore;
use bindings::wasi::blobstore::container::{Container, StreamObjectNames};
use bindings::wasi::blobstore::types::{IncomingValue, OutgoingValue};
use bindings::wasi::io::streams::{InputStream, OutputStream, StreamError};

#[allow(missing_docs, clippy::all, reason = "generated from wit/")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package stepwell:blobs-client;
            world client {
                import wasi:blobstore/types@0.2.0-draft;
                import wasi:blobstore/container@0.2.0-draft;
                import wasi:blobstore/blobstore@0.2.0-draft;
            }
        ",
        path: ["wasi/io", "wit/blobstore@0.2.0-draft"],
        world: "stepwell:blobs-client/client",
        generate_all,
    });
}

/// Most bytes that are asked for at once.
const READ_BYTES: usize = 256 << 10;
/// Names that are asked for at once.
const NAMES: u64 = 1_000;

/// A bucket.
#[derive(Debug)]
pub struct Bucket(Container);

/// What is known of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// Bytes.
    pub size: u64,
    /// When it was written, in seconds since 1970.
    pub written_s: u64,
}

impl Bucket {
    /// Opens a bucket; it need not have objects yet.
    /// # Errors
    /// `Stepwell.NotGranted`.
    pub fn open(name: &str) -> Result<Bucket, Failure> {
        blobstore::get_container(name).map(Bucket).map_err(failure)
    }

    /// What is known of an object; `None`: there is none.
    /// # Errors
    /// `Stepwell.ObjectRefused`: the key is no name; `Stepwell.ObjectFailed`.
    pub fn info(&self, key: &str) -> Result<Option<Info>, Failure> {
        match self.0.object_info(key).map_err(failure) {
            Ok(info) => Ok(Some(Info {
                size: info.size,
                written_s: info.created_at,
            })),
            Err(failure) if failure.error == MISSING => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Reads an object from its first byte to its last.
    /// # Errors
    /// `Stepwell.ObjectMissing`; as [`Bucket::info`].
    pub fn read(&self, key: &str) -> Result<Reader, Failure> {
        self.read_range(key, 0, u64::MAX)
    }

    /// Reads `length` bytes of an object from `start` on; fewer where it ends.
    /// # Errors
    /// As [`Bucket::read`].
    pub fn read_range(&self, key: &str, start: u64, length: u64) -> Result<Reader, Failure> {
        let Some(last) = length.checked_sub(1) else {
            return Ok(Reader {
                stream: None,
                left: 0,
            });
        };
        let end = start.saturating_add(last);
        let value = self.0.get_data(key, start, end).map_err(failure)?;
        let left = value.size();
        let stream = IncomingValue::incoming_value_consume_async(value).map_err(failure)?;
        Ok(Reader {
            stream: Some(stream),
            left,
        })
    }

    /// Begins an object, in place of one that is there. Nothing comes of it before [`Writer::finish`].
    /// # Errors
    /// `Stepwell.NotGranted`: the bucket may only be read; `Stepwell.ObjectRefused`.
    pub fn write(&self, key: &str) -> Result<Writer, Failure> {
        let value = OutgoingValue::new_outgoing_value();
        self.0.write_data(key, &value).map_err(failure)?;
        let body = value.outgoing_value_write_body();
        let stream = body.map_err(|()| Failure::new("Stepwell.ObjectFailed", "no body"))?;
        Ok(Writer {
            stream: Some(stream),
            value,
        })
    }

    /// Deletes an object; one that is not there is no error.
    /// # Errors
    /// As [`Bucket::write`].
    pub fn delete(&self, key: &str) -> Result<(), Failure> {
        self.0.delete_object(key).map_err(failure)
    }

    /// The keys of its objects, in order; pages come as they are wanted.
    /// # Errors
    /// `Stepwell.ObjectFailed`.
    pub fn keys(&self) -> Result<Keys, Failure> {
        Ok(Keys {
            names: self.0.list_objects().map_err(failure)?,
            page: Vec::new().into_iter(),
            end: false,
        })
    }
}

/// An object that is being read; [`Read`] by pieces.
#[derive(Debug)]
pub struct Reader {
    stream: Option<InputStream>,
    left: u64,
}

impl Reader {
    /// Bytes that are left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The next piece as it comes; `None`: it was the last.
    /// # Errors
    /// `Stepwell.ObjectChanged`: somebody writes into the file; `Stepwell.ObjectFailed`.
    pub fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        self.piece(READ_BYTES)
    }

    fn piece(&mut self, bytes: usize) -> Result<Option<Vec<u8>>, Failure> {
        let Some(stream) = &self.stream else {
            return Ok(None);
        };
        match stream.blocking_read(bytes as u64) {
            Ok(piece) => {
                self.left = self.left.saturating_sub(piece.len() as u64);
                Ok(Some(piece))
            }
            Err(StreamError::Closed) => Ok(None),
            Err(StreamError::LastOperationFailed(e)) => Err(failure(e.to_debug_string())),
        }
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let piece = self.piece(buffer.len().min(READ_BYTES)).map_err(in_io)?;
        let piece = piece.unwrap_or_default();
        let (filled, _) = buffer.split_at_mut(piece.len());
        filled.copy_from_slice(&piece);
        Ok(piece.len())
    }
}

/// An object that is being written; [`Write`] by pieces.
#[derive(Debug)]
pub struct Writer {
    // Before the value: a stream goes before what it came from.
    stream: Option<OutputStream>,
    value: OutgoingValue,
}

impl Writer {
    /// Ends the object: with the step's outcome it has its key.
    /// # Errors
    /// `Stepwell.ObjectRefused`: it is too large; `Stepwell.ObjectFailed`.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.stream = None;
        OutgoingValue::finish(self.value).map_err(failure)
    }

    fn piece(&self, bytes: &[u8]) -> Result<usize, Failure> {
        let told = |e| match e {
            StreamError::Closed => Failure::new("Stepwell.ObjectFailed", "the object is over"),
            StreamError::LastOperationFailed(e) => failure(e.to_debug_string()),
        };
        let Some(stream) = &self.stream else {
            return Ok(0);
        };
        let room = usize::try_from(stream.check_write().map_err(told)?).unwrap_or(usize::MAX);
        let (now, _) = bytes.split_at(room.min(bytes.len()));
        stream.write(now).map_err(told)?;
        Ok(now.len())
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece(bytes).map_err(in_io)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A listing.
#[derive(Debug)]
pub struct Keys {
    names: StreamObjectNames,
    page: std::vec::IntoIter<String>,
    end: bool,
}

impl Iterator for Keys {
    type Item = Result<String, Failure>;

    fn next(&mut self) -> Option<Result<String, Failure>> {
        loop {
            if let Some(key) = self.page.next() {
                return Some(Ok(key));
            }
            if self.end {
                return None;
            }
            match self.names.read_stream_object_names(NAMES) {
                Ok((page, end)) => (self.page, self.end) = (page.into_iter(), end),
                Err(why) => {
                    self.end = true;
                    return Some(Err(failure(why)));
                }
            }
        }
    }
}

const MISSING: &str = "Stepwell.ObjectMissing";

/// The failure behind an error of [`Read`] or [`Write`], by its name: `?` alone would make it
/// `Step.Failed`. For [`Result::map_err`].
#[must_use]
pub fn named(e: io::Error) -> Failure {
    match e.downcast::<Told>() {
        Ok(Told(failure)) => failure,
        Err(e) => e.into(),
    }
}

fn failure(text: String) -> Failure {
    Failure::told(&text)
}

/// A failure on its way through [`io::Error`].
#[derive(Debug)]
struct Told(Failure);

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.0.error, self.0.cause)
    }
}

impl std::error::Error for Told {}

fn in_io(failure: Failure) -> io::Error {
    io::Error::other(Told(failure))
}
