//! What a step changed, on its way from the runner into the commit of its outcome.
//!
//! Refuses to know what a hold holds: letting go of it is all that matters.

use std::any::Any;
use std::sync::Arc;

/// A step's writes, which land with its outcome or not at all.
#[derive(Debug, Clone)]
pub struct Effects {
    /// Each key once.
    pub writes: Vec<KeyValueWrite>,
    /// Dropped when the writes are durable, or given up.
    pub hold: Hold,
}

impl PartialEq for Effects {
    fn eq(&self, other: &Effects) -> bool {
        self.writes == other.writes
    }
}

/// One key's new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValueWrite {
    /// The namespace, with whose it is.
    pub namespace: Arc<str>,
    /// The key.
    pub key: Arc<str>,
    /// `None`: the key goes.
    pub value: Option<Vec<u8>>,
}

/// Keeps others from what is written until the last copy is dropped.
#[derive(Clone)]
pub struct Hold(#[allow(dead_code, reason = "held for its drop")] Arc<dyn Any + Send + Sync>);

impl Hold {
    /// Holds this.
    #[must_use]
    pub fn new(held: impl Any + Send + Sync) -> Hold {
        Hold(Arc::new(held))
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hold")
    }
}
