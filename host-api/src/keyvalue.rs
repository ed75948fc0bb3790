//! `wasi:keyvalue`: namespaces of keys and values that steps keep, and write with their outcome.
//!
//! A guest reads what is durable, and its own writes. Those become visible with the step's outcome,
//! in one commit, if all that it read is still so; if not, it runs again. So a step is one
//! transaction, and transactions are as if one ran after another.
//! Refuses namespaces that the manifest does not grant.

mod guest;
mod namespaces;
mod quota;
mod view;

pub use guest::Bucket;
pub(crate) use guest::link;
pub use namespaces::{Conflict, Namespaces, Turn, conflict};
pub use quota::{EACH, Quotas};
pub use view::{Place, Stop, Touched, View};

/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 1_024;
/// Largest value, in bytes.
const VALUE_BYTES_MAX: usize = 1 << 20;
/// Most keys that one attempt may read and write.
const KEYS_MAX: usize = 10_000;
/// Most bytes of values that one attempt may read: they are read again when it ends.
const READ_BYTES_MAX: usize = 32 << 20;
/// Most bytes of keys and values that one attempt may write.
const WRITTEN_BYTES_MAX: usize = 8 << 20;
/// Keys of one page of a listing.
const PAGE: usize = 1_000;
/// Most keys of one call.
const MANY_MAX: usize = 1_000;
/// Most bytes of values that are given at once.
const MANY_BYTES_MAX: usize = 8 << 20;

#[cfg(test)]
mod tests;
