//! How the server stands: whether it answers, and takes new work.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the server stands.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Standing {
    /// `ok`: it answers. `ready`: it takes new work.
    pub status: String,
}

impl Standing {
    pub(crate) fn new(status: &str) -> Standing {
        Standing {
            status: status.to_owned(),
        }
    }
}
