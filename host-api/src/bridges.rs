//! The bridges of a server, and what an attempt needs to use them.

use std::sync::Arc;

use stepwell_types::{Effects, Grants, Held, Hold, StepRequest, StepTarget, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::container::{ContainerBridge, ContainerOptions};
use crate::execution::NoExecutions;
use crate::gate::Gate;
use crate::http::WallClock;
use crate::keyvalue::{Conflict, Touched, Turn};
use crate::machine::{MachineBridge, MachinesOptions};
use crate::objects::{NoObjects, Objects, Unheld};
use crate::secrets::GivenSecrets;
use crate::waits::Steady;
use crate::wasi::Directories;
use crate::{ExecutionBridge, HttpBridge, Journal, Limiter, Namespaces, Secrets, blobs};

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
    /// What steps read and write in buckets.
    pub objects: Arc<dyn Objects>,
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
            objects: objects(),
        }
    }

    /// Ends an attempt's transaction over namespaces and objects: as [`Namespaces::end`].
    /// # Errors
    /// The conflict: it has not happened.
    pub fn end(
        &self,
        mut touched: Touched,
        turn: &mut Option<Turn>,
    ) -> Result<Option<Effects>, Conflict> {
        let objects = std::mem::take(&mut touched.objects);
        if objects.stale {
            return Err(Conflict::Lost(blobs::changed()));
        }
        let (changes, seen) = objects.end();
        if changes.is_empty() {
            return self.keyvalue.end(touched, turn);
        }
        // Objects first: of those nothing has happened should the namespaces conflict.
        let held = self.objects.hold(changes, &seen).map_err(|e| match e {
            Unheld::Changed => Conflict::Lost(blobs::changed()),
            Unheld::Failed(failure) => Conflict::Failed(failure),
        })?;
        let kept = self.keyvalue.end(touched, turn)?;
        let both = kept.map(|kept| Effects {
            hold: Hold::new(Both(held.hold.clone(), kept.hold.clone())),
            objects: Vec::new(),
            ..kept
        });
        let effects = both.unwrap_or(Effects {
            writes: Vec::new(),
            growth: Vec::new(),
            objects: Vec::new(),
            hold: held.hold,
        });
        Ok(Some(Effects {
            objects: held.writes,
            ..effects
        }))
    }
}

/// Two holds that end together.
struct Both(Hold, Hold);

impl Held for Both {
    fn committing(&self) {
        self.0.committing();
        self.1.committing();
    }

    fn landed(&self) {
        self.0.clone().landed();
        self.1.clone().landed();
    }
}

/// What all guests' attempts have around them. An attempt shares it by one count: processors that
/// begin steps at once hand every count that they share to and fro.
pub struct Surroundings {
    /// What they call through.
    pub bridges: Bridges,
    /// Directories that they see, if their manifest names them.
    pub directories: Directories,
    /// How long they take.
    pub steady: Arc<dyn Steady>,
}

/// What leads one attempt of a guest outside.
pub struct Outside {
    /// Its journal: every call goes through it.
    pub journal: Arc<Journal>,
    /// What it shares with all others.
    pub around: Arc<Surroundings>,
}

impl Outside {
    /// For the attempt that a request asks for, which begins at `now`.
    #[must_use]
    pub fn new(
        request: Arc<StepRequest>,
        gate: Arc<dyn Gate>,
        around: Arc<Surroundings>,
        now: Timestamp,
    ) -> Outside {
        Outside {
            journal: Journal::new(gate, around.bridges.secrets.clone(), request, now),
            around,
        }
    }

    /// What its module was granted; `None`: nothing.
    pub(crate) fn grants(&self) -> Option<&Arc<Grants>> {
        self.journal.request().grants.as_ref()
    }

    /// Its module, whose own namespaces it may open.
    pub(crate) fn module(&self) -> &str {
        match &self.journal.request().target {
            StepTarget::Wasm { name, .. } => name,
            _ => "",
        }
    }

    /// What it calls through.
    pub(crate) fn bridges(&self) -> &Bridges {
        &self.around.bridges
    }
}
