//! The bridges of a server, and what an attempt needs to use them.

use std::sync::Arc;

use stepwell_types::{Grants, StepRequest, StepTarget, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::container::{ContainerBridge, ContainerOptions};
use crate::execution::NoExecutions;
use crate::gate::Gate;
use crate::http::WallClock;
use crate::machine::{MachineBridge, MachinesOptions};
use crate::objects::NoObjects;
use crate::secrets::GivenSecrets;
use crate::waits::Steady;
use crate::{ExecutionBridge, HttpBridge, Journal, Limiter, Namespaces, Secrets};

/// One of each kind; shared by every attempt, whichever door it comes by.
#[derive(Clone)]
pub struct Bridges {
    /// HTTP: `wasi:http` for guests, `http:request` for Tasks.
    pub http: Arc<HttpBridge>,
    /// Containers: `stepwell:container` for guests, `container:run` for Tasks.
    pub containers: ContainerBridge,
    /// Machines: `stepwell:machine` for guests, `vm:run` for Tasks.
    pub machines: MachineBridge,
    /// What both doors read secrets from.
    pub secrets: Arc<dyn Secrets>,
    /// What steps keep.
    pub keyvalue: Namespaces,
    /// Other executions: `stepwell:execution` for guests.
    pub executions: ExecutionBridge,
}

impl Bridges {
    /// HTTP and nothing else: no container, machine, secret, and namespaces in memory.
    #[must_use]
    pub fn http_alone(http: HttpBridge, limiter: &Limiter, clock: &WallClock) -> Bridges {
        let objects = || Arc::new(NoObjects);
        let stopping = CancellationToken::new;
        Bridges {
            http: Arc::new(http),
            containers: ContainerBridge::new(
                ContainerOptions::default(),
                objects(),
                clock.clone(),
                limiter.clone(),
                stopping(),
            ),
            machines: MachineBridge::new(
                MachinesOptions::default(),
                objects(),
                clock.clone(),
                limiter.clone(),
                stopping(),
            ),
            secrets: Arc::new(GivenSecrets::default()),
            keyvalue: Namespaces::in_memory(),
            executions: ExecutionBridge::new(Arc::new(NoExecutions)),
        }
    }
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
