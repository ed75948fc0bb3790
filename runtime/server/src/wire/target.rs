//! Targets outside: their circuits, and what is under way.

use serde::{Deserialize, Serialize};
use stepwell_types::{Circuit, TargetStatus};
use utoipa::ToSchema;

use super::json::Rfc3339;

/// One target as it stands.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Target {
    /// `host`, `image`, `machine` or `activity`.
    #[schema(example = "host")]
    pub kind: String,
    /// Its name; `*` is all of the kind together.
    #[schema(example = "api.example.com")]
    pub name: String,
    /// `closed`: calls go. `open`: they fail at once. `half-open`: one is let go, to find out.
    #[schema(example = "closed")]
    pub circuit: String,
    /// When an open circuit lets a call try, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_until: Option<String>,
    /// Until when it asked to be left alone (`Retry-After`), RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<String>,
    /// Calls under way.
    pub under_way: u32,
    /// Calls that wait for their turn.
    pub waiting: u32,
    /// Most calls at once; absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Most calls a second; absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_second: Option<f64>,
    /// Calls that were let go since the server began.
    pub calls: u64,
    /// Of these, those that failed as the circuit counts.
    pub failed: u64,
    /// Calls that an open circuit or a full queue refused.
    pub refused: u64,
    /// Connections that are open, of a machine; absent: of others it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
}

/// All targets that were called lately.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Targets {
    /// By kind and name.
    pub targets: Vec<Target>,
}

impl From<&TargetStatus> for Target {
    fn from(t: &TargetStatus) -> Target {
        let time = |at: Option<_>| at.map(|at| Rfc3339(at).to_string());
        Target {
            kind: t.target.kind.word().to_owned(),
            name: t.target.name.as_deref().unwrap_or("*").to_owned(),
            circuit: match t.circuit {
                Circuit::Closed => "closed",
                Circuit::Open => "open",
                Circuit::HalfOpen => "half-open",
            }
            .to_owned(),
            open_until: time(t.open_until),
            paused_until: time(t.paused_until),
            under_way: t.under_way,
            waiting: t.waiting,
            concurrency: t.concurrency,
            per_second: t.per_second,
            calls: t.calls,
            failed: t.failed,
            refused: t.refused,
            connections: t.connections,
        }
    }
}
