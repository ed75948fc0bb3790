//! Buckets and their objects.

use serde::{Deserialize, Serialize};
use stepwell_buckets::buckets::Origin;
use stepwell_buckets::{BucketInfo, ObjectInfo};
use utoipa::ToSchema;

use super::json::Rfc3339;

/// A bucket.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// `kept`: its objects were uploaded. `granted`: a directory of the server's configuration.
    pub origin: String,
    /// Whether objects may be put and deleted.
    pub write: bool,
}

/// All buckets, by name.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BucketList {
    /// The buckets.
    pub buckets: Vec<Bucket>,
}

/// An object.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// When it was written, RFC 3339.
    pub modified: String,
    /// Another object under the same key has another one.
    pub etag: String,
}

/// The answer to an upload.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UploadedObject {
    /// What is there now.
    #[serde(flatten)]
    pub object: Object,
    /// `false`: it took another object's place.
    pub new: bool,
}

/// One page of objects, in the order of their keys' bytes.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ObjectPage {
    /// The objects.
    pub objects: Vec<Object>,
    /// Pass as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl From<BucketInfo> for Bucket {
    fn from(info: BucketInfo) -> Bucket {
        let (origin, write) = match info.origin {
            Origin::Kept => ("kept", true),
            Origin::Granted { write } => ("granted", write),
        };
        Bucket {
            name: info.name,
            origin: origin.to_owned(),
            write,
        }
    }
}

impl From<ObjectInfo> for Object {
    fn from(info: ObjectInfo) -> Object {
        Object {
            key: info.key,
            size: info.size,
            modified: Rfc3339(info.modified).to_string(),
            etag: info.etag,
        }
    }
}
