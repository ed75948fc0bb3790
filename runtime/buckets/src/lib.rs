//! Buckets: named places for large objects, pages of items read from them, result files written to them.
//!
//! Refuses to know flows or the network. Refuses every path out of a bucket: names are checked,
//! and directories are opened through cap-std, which follows no link to the outside.
//! All calls block; whoever runs a loop makes them elsewhere.

pub mod bucket;
pub mod buckets;
pub mod error;
pub mod holding;
pub mod items;
pub mod landing;
pub mod listing;
pub mod name;
pub mod results;
pub mod upload;

pub use bucket::{Bucket, Object};
pub use buckets::{BucketInfo, Buckets, Grant, Options};
pub use error::Error;
pub use holding::Holding;
pub use landing::{Change, Landing, Seen, Staged, Unheld};
pub use listing::{ObjectInfo, ObjectPage};
pub use upload::Upload;
