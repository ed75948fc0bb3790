//! What a distributed Map asks of the places where its items and results lie.
//!
//! Items are read a page at a time and results are written a file at a time: nobody holds
//! them all. Both requests are idempotent, so they are repeated after a crash and recorded
//! like any attempt of a step. Refuses to know where a bucket is: the runner does.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Data;

/// Most items of one page.
pub const PAGE_ITEMS_MAX: u32 = 1_000;
/// Bytes of JSON text after which a page ends; one larger item is a page of its own.
pub const PAGE_BYTES_MAX: u32 = 1 << 20;
/// Longest cursor, in bytes.
pub const CURSOR_BYTES_MAX: usize = 16 << 10;
/// Bytes of records after which a file of results ends.
pub const RESULT_FILE_BYTES: usize = 4 << 20;

/// Where a Map's items lie.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ItemSource {
    /// The bucket's name, as the definition gives it.
    pub bucket: Arc<str>,
    /// What in it.
    pub place: ItemPlace,
}

impl std::fmt::Display for ItemSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bucket = &self.bucket;
        match &self.place {
            ItemPlace::Object { key, .. } => write!(f, "object {key} of bucket {bucket}"),
            ItemPlace::Listing { prefix } => {
                write!(f, "the listing of {prefix:?} in bucket {bucket}")
            }
        }
    }
}

/// Which items of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ItemPlace {
    /// The contents of one object (`s3:getObject`).
    Object {
        /// Its key.
        key: Arc<str>,
        /// How its bytes are items.
        format: ItemFormat,
    },
    /// The objects themselves (`s3:listObjectsV2`), in the order of their keys: an item is
    /// `{"Etag", "Key", "LastModified", "Size", "StorageClass"}`, `LastModified` in seconds.
    Listing {
        /// What their keys begin with; empty: all of the bucket.
        prefix: Arc<str>,
    },
}

/// How the bytes of an object are items. They may be packed with gzip.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ItemFormat {
    /// One JSON document with an array: each element is an item.
    Json {
        /// `ItemsPointer`: a JSON pointer (RFC 6901) to the array; `None`: the document is it.
        /// Of an object instead of an array each field is an item `{"Key", "Value"}`.
        pointer: Option<Arc<str>>,
    },
    /// A JSON value a line; empty lines are none.
    JsonLines,
    /// A row a line (RFC 4180): an item is an object of strings by column.
    Csv {
        /// The columns' names; `None`: the first row holds them.
        header: Option<Arc<[Arc<str>]>>,
        /// One ASCII byte.
        delimiter: u8,
    },
    /// The `manifest.json` of an S3 Inventory: the rows of the CSV files that it names, which
    /// lie in the same bucket. An item is an object of strings by column.
    Inventory,
}

/// Where to go on reading: made by whoever reads, and given back unread. At most
/// [`CURSOR_BYTES_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ItemCursor(pub Arc<str>);

/// The request [`crate::StepTarget::ReadItems`]: one page.
///
/// Its answer is an [`ItemPage`] as JSON. A failure is `States.ItemReaderFailed`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ItemRead {
    /// Where from.
    pub source: ItemSource,
    /// `None`: from the beginning.
    pub cursor: Option<ItemCursor>,
    /// Most items wanted, from 1 to [`PAGE_ITEMS_MAX`].
    pub items_max: u32,
    /// Bytes after which the page is to end; it has one item at least.
    pub bytes_max: u32,
}

/// The answer to an [`ItemRead`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemPage {
    /// In the order of the source. May be empty, and need not be the last for that.
    pub items: Vec<serde_json::Value>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<ItemCursor>,
    /// Which version of its source it was read from, where that has versions: a redriven Map
    /// does not mix them.
    pub version: Option<Arc<str>>,
    /// The items are the fields of an object, each `{"Key", "Value"}`.
    pub keyed: bool,
}

impl ItemPage {
    /// The page as an attempt's answer.
    #[must_use]
    pub fn answer(&self) -> Data {
        Data::from_value(serde_json::json!({
            "items": self.items,
            "next": self.next.as_ref().map(|cursor| &*cursor.0),
            "version": self.version,
            "keyed": self.keyed,
        }))
    }
}

/// Where a Map's results go.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ResultTarget {
    /// The bucket's name, as the definition gives it.
    pub bucket: Arc<str>,
    /// What all keys begin with; empty: nothing.
    pub prefix: Arc<str>,
    /// What a record becomes in the file.
    pub transformation: Transformation,
    /// How a file holds them.
    pub output: OutputType,
}

/// `WriterConfig.Transformation`. The records that a [`ResultChunk`] holds are made for it:
/// only `Flatten` leaves the writer something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Transformation {
    /// A record tells of the whole child: input, output, times, status.
    None,
    /// A record is the child's output; of a failed one as with `None`.
    Compact,
    /// As `Compact`, and an output that is an array is as many records as it has elements.
    Flatten,
}

/// `WriterConfig.OutputType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OutputType {
    /// One array.
    Json,
    /// A value a line.
    JsonLines,
}

/// Which results a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ResultKind {
    /// Of children that succeeded: `SUCCEEDED_0.json`.
    Succeeded,
    /// Of the others: `FAILED_0.json`.
    Failed,
}

/// The request [`crate::StepTarget::WriteResults`]: one file. The attempt's input is what
/// goes in: an array of records, or for the manifest the whole document.
///
/// The file's key is `PREFIX/RUN/SUCCEEDED_0.json` (or `.jsonl`), and `PREFIX/RUN/manifest.json`;
/// writing it again replaces it. The answer is a [`ResultFile`] as JSON. A failure is
/// `States.ResultWriterFailed`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ResultWrite {
    /// Where to.
    pub target: ResultTarget,
    /// The Map Run's own folder below the prefix: letters, digits and `-` only.
    pub run: Arc<str>,
    /// Which file.
    pub chunk: ResultChunk,
}

/// One of a run's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ResultChunk {
    /// Results.
    Records {
        /// Which.
        kind: ResultKind,
        /// Number among those of its kind, from 0.
        number: u32,
        /// The first slot that may be in it. For whoever gathers the records; no part of the name.
        from: u32,
    },
    /// What files there are.
    Manifest,
}

/// The answer to a [`ResultWrite`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ResultFile {
    /// The object's key in the bucket.
    pub key: Arc<str>,
    /// Bytes.
    pub size: u64,
}

impl ResultWrite {
    /// The key of the file.
    #[must_use]
    pub fn key(&self) -> String {
        let prefix = self.target.prefix.trim_end_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        let run = &self.run;
        match self.chunk {
            ResultChunk::Manifest => format!("{prefix}{slash}{run}/manifest.json"),
            ResultChunk::Records { kind, number, .. } => {
                let kind = match kind {
                    ResultKind::Succeeded => "SUCCEEDED",
                    ResultKind::Failed => "FAILED",
                };
                let end = match self.target.output {
                    OutputType::Json => "json",
                    OutputType::JsonLines => "jsonl",
                };
                format!("{prefix}{slash}{run}/{kind}_{number}.{end}")
            }
        }
    }
}
