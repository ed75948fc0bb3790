//! The bridges of a server, and what an attempt needs to use them.

use std::sync::Arc;

use stepwell_types::{Grants, StepRequest, StepTarget, Timestamp};

use crate::gate::Gate;
use crate::waits::Steady;
use crate::{HttpBridge, Journal, Namespaces, Secrets};

/// One of each kind; shared by every attempt, whichever door it comes by.
#[derive(Clone)]
pub struct Bridges {
    /// HTTP: `wasi:http` for guests, `http:request` for Tasks.
    pub http: Arc<HttpBridge>,
    /// What both doors read secrets from.
    pub secrets: Arc<dyn Secrets>,
    /// What steps keep.
    pub keyvalue: Namespaces,
}

/// What leads one attempt of a guest outside.
pub struct Outside {
    /// Its journal: every call goes through it.
    pub journal: Arc<Journal>,
    /// What its module was granted; `None`: nothing.
    pub grants: Option<Arc<Grants>>,
    /// Its module, whose own namespaces it may open.
    pub module: Arc<str>,
    /// What it calls through.
    pub bridges: Bridges,
    /// How long it takes.
    pub steady: Arc<dyn Steady>,
}

impl Outside {
    /// For the attempt that a request asks for, which begins at `now`.
    #[must_use]
    pub fn new(
        request: &StepRequest,
        gate: Arc<dyn Gate>,
        bridges: Bridges,
        steady: Arc<dyn Steady>,
        now: Timestamp,
    ) -> Outside {
        Outside {
            journal: Journal::new(gate, request, now),
            grants: request.grants.clone(),
            module: match &request.target {
                StepTarget::Wasm { name, .. } => name.clone(),
                _ => Arc::default(),
            },
            bridges,
            steady,
        }
    }
}
