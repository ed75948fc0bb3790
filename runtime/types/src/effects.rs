//! What a step changed, on its way from the runner into the commit of its outcome.
//!
//! Refuses to know what a hold holds: when it may let go is all that matters.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A step's writes, which land with its outcome or not at all.
#[derive(Debug, Clone)]
pub struct Effects {
    /// Each key once.
    pub writes: Vec<KeyValueWrite>,
    /// By how much namespaces grow for it, each once.
    pub growth: Vec<Growth>,
    /// Each object once.
    pub objects: Vec<ObjectWrite>,
    /// Told when the writes are durable, and dropped then or when they are given up.
    pub hold: Hold,
}

impl PartialEq for Effects {
    fn eq(&self, other: &Effects) -> bool {
        (&self.writes, &self.growth, &self.objects)
            == (&other.writes, &other.growth, &other.objects)
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

/// What becomes of one object. It is done when this is durable, and after a crash again until it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectWrite {
    /// Names the change, and the file that is to get the key.
    pub name: Arc<str>,
    /// The bucket.
    pub bucket: Arc<str>,
    /// The directory that it is; `None`: the server keeps it. A later start may have another of that name.
    pub place: Option<Arc<str>>,
    /// The key.
    pub key: Arc<str>,
    /// Nothing gets the key: the object with this tag goes.
    pub gone: Option<Arc<str>>,
}

/// By how much a namespace grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// The namespace, with whose it is.
    pub namespace: Arc<str>,
    /// Keys; less than nothing: it has fewer.
    pub keys: i64,
    /// Bytes of keys and values.
    pub bytes: i64,
}

/// What is held until a step's writes are durable, or given up. Nothing here may block.
pub trait Held: Send + Sync {
    /// The writes are in a batch: what is dropped from now on is not given up, but may be durable.
    fn committing(&self) {}
    /// The writes are durable. Called at most once.
    fn landed(&self);
}

/// Keeps others from what is written until it is told that it landed, or its last copy is dropped.
#[derive(Clone)]
pub struct Hold(Arc<dyn Held>);

impl Hold {
    /// Holds this.
    #[must_use]
    pub fn new(held: impl Held + 'static) -> Hold {
        Hold(Arc::new(held))
    }

    /// The writes are in a batch.
    pub fn committing(&self) {
        self.0.committing();
    }

    /// The writes are durable: lets go.
    pub fn landed(self) {
        self.0.landed();
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hold")
    }
}
