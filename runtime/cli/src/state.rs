//! `[state]`: how much steps may keep, and the namespaces behind the orchestrator's port.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use stepwell_host_api::Namespaces;
use stepwell_host_api::keyvalue::{EACH, Quotas};
use stepwell_orchestrator::Error;
use stepwell_orchestrator::ports::{Answer, Keeper};
use stepwell_store::Quota;
use stepwell_types::Effects;

/// `[state]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct State {
    /// Most keys of a namespace. Default 1,000,000.
    pub keys_max: Option<u64>,
    /// Most bytes of a namespace's keys and values. Default 268,435,456.
    pub bytes_max: Option<u64>,
    /// Other bounds for some, by name: `MODULE/NAME` or `shared/NAME`.
    pub namespaces: BTreeMap<String, Bounds>,
}

/// `[state.namespaces.NAME]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// Most keys. Default: as all.
    pub keys_max: Option<u64>,
    /// Most bytes. Default: as all.
    pub bytes_max: Option<u64>,
}

impl State {
    /// As the namespaces take it.
    pub fn quotas(&self) -> Quotas {
        let each = Quota {
            keys: self.keys_max.unwrap_or(EACH.keys),
            bytes: self.bytes_max.unwrap_or(EACH.bytes),
        };
        let named = self.namespaces.iter().map(|(name, bounds)| {
            let quota = Quota {
                keys: bounds.keys_max.unwrap_or(each.keys),
                bytes: bounds.bytes_max.unwrap_or(each.bytes),
            };
            (name.clone(), quota)
        });
        Quotas {
            each,
            named: named.collect(),
        }
    }
}

/// Namespaces as the orchestrator sees them.
pub struct Kept(pub Namespaces);

impl Keeper for Kept {
    fn quota(&self, namespace: &str) -> Quota {
        self.0.quotas().of(namespace)
    }

    fn remove(&self, namespace: Arc<str>, keys: Vec<Arc<str>>) -> Answer<'_, Option<Effects>> {
        Box::pin(async move {
            let removal = self.0.remove(&namespace, &keys).await;
            removal.map_err(|failure| Error::Store(failure.cause.to_string()))
        })
    }
}
