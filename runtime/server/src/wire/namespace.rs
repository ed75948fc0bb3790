//! Namespaces of what steps keep.

use serde::{Deserialize, Serialize};
use stepwell_orchestrator::api;
use utoipa::ToSchema;

/// A namespace of what steps keep.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    /// `MODULE/NAME`, or `shared/NAME` where modules share it.
    pub name: String,
    /// Keys that have a value.
    pub keys: u64,
    /// Bytes of these keys and their values.
    pub bytes: u64,
    /// Most keys that it may have.
    pub keys_max: u64,
    /// Most bytes that it may have.
    pub bytes_max: u64,
}

/// One page of namespaces, by name; shared ones come first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NamespacePage {
    /// Those that have keys.
    pub namespaces: Vec<Namespace>,
    /// Pass as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One page of a namespace's keys, in the order of their bytes.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KeyPage {
    /// The keys.
    pub keys: Vec<String>,
    /// Pass as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The answer to the removal of all keys.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EmptiedNamespace {
    /// Keys that were deleted.
    pub deleted: u64,
}

impl From<api::NamespaceInfo> for Namespace {
    fn from(info: api::NamespaceInfo) -> Namespace {
        Namespace {
            name: info.name,
            keys: info.keys,
            bytes: info.bytes,
            keys_max: info.quota.keys,
            bytes_max: info.quota.bytes,
        }
    }
}
