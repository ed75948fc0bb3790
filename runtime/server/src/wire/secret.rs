//! Secrets, without their values.

use serde::{Deserialize, Serialize};
use stepwell_orchestrator::api;
use utoipa::ToSchema;

use super::json::Rfc3339;

/// A version of a secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretVersion {
    /// From 1; a number never names two values.
    pub version: u32,
    /// When it was set, RFC 3339.
    pub set: String,
}

/// A secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// The versions that are kept, oldest first. The last one is read.
    pub versions: Vec<SecretVersion>,
}

/// One page of secrets, by name.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SecretPage {
    /// The secrets.
    pub secrets: Vec<Secret>,
    /// Pass as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The answer to a new master key.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RotatedKey {
    /// Secrets that were sealed anew.
    pub secrets: usize,
}

impl From<api::SecretVersion> for SecretVersion {
    fn from(v: api::SecretVersion) -> SecretVersion {
        SecretVersion {
            version: v.version,
            set: Rfc3339(v.set).to_string(),
        }
    }
}

impl From<api::SecretInfo> for Secret {
    fn from(info: api::SecretInfo) -> Secret {
        Secret {
            name: info.name.to_string(),
            versions: info.versions.into_iter().map(Into::into).collect(),
        }
    }
}
