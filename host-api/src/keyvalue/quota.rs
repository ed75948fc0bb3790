//! How much a namespace may hold.
//!
//! Refuses growth beyond it, never what makes a namespace smaller: one that is over its quota, since
//! somebody lowered that, can be emptied by steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use stepwell_store::{NamespaceSize, Quota, namespace};
use stepwell_types::Failure;

/// What a namespace may hold unless the configuration says otherwise: a million keys, 256 MiB.
pub const EACH: Quota = Quota {
    keys: 1_000_000,
    bytes: 256 << 20,
};

/// The quotas of a server.
#[derive(Debug, Clone)]
pub struct Quotas {
    /// Of each namespace that has none of its own.
    pub each: Quota,
    /// By name, as people write it.
    pub named: BTreeMap<String, Quota>,
}

impl Default for Quotas {
    fn default() -> Quotas {
        Quotas {
            each: EACH,
            named: BTreeMap::new(),
        }
    }
}

impl Quotas {
    /// That of a namespace.
    #[must_use]
    pub fn of(&self, namespace: &str) -> Quota {
        if self.named.is_empty() {
            return self.each;
        }
        let named = self.named.get(&namespace::shown(namespace));
        named.copied().unwrap_or(self.each)
    }
}

/// What a step is told whose namespace would be larger than its quota.
pub(super) fn full(namespace: &Arc<str>, wanted: NamespaceSize, quota: Quota) -> Failure {
    Failure::new(
        "Stepwell.NamespaceFull",
        format!(
            "namespace {} may have {} keys and {} bytes, and would have {} and {}; delete keys, or raise its quota under [state] in the configuration",
            namespace::shown(namespace),
            quota.keys,
            quota.bytes,
            wanted.keys,
            wanted.bytes
        ),
    )
}
