//! `wasi:blobstore`: objects of buckets that steps read in pieces, and write with their outcome.
//!
//! What a guest opened stays what it was while it reads. What it writes or deletes is seen by others
//! when its outcome is durable, all of it or nothing; and if another has changed such an object since
//! the guest saw it, the guest runs again.
//! Refuses buckets that the manifest does not grant, and to hold an object in memory.

mod again;
mod guest;
mod streams;
mod view;

pub use guest::{Container, Incoming, Names, Outgoing};
pub(crate) use guest::{changed, link};
pub(crate) use view::Blobs;
pub use view::Touched;

/// Most objects that one attempt may look for, change, or list pages of.
const OBJECTS_MAX: usize = 1_000;
/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 1_024;
/// Most objects that one call deletes.
const MANY_MAX: usize = 1_000;
/// Most objects that are open in one attempt at once, for reading or writing.
const OPEN_MAX: usize = 16;
/// Bytes that are read or written at once.
const PIECE_BYTES: usize = 256 << 10;
/// Most bytes of an object that are given to a guest as one list.
const WHOLE_BYTES_MAX: u64 = 32 << 20;
/// Most bytes that are held of an object that has no name yet.
const UNNAMED_BYTES_MAX: usize = 1 << 20;
/// Keys of one page of a listing.
const PAGE: usize = 1_000;
