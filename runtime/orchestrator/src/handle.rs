//! The handle that the edges hold: asks the loops, reads the store, changes the catalog.

mod named;
mod state;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stepwell_flow::Diagnostic;
use stepwell_flow::program::Mode;
use stepwell_store::Key;
use stepwell_types::limits::{EXPRESS_SECONDS_MAX, PAYLOAD_BYTES_MAX, SIGNAL_BYTES_MAX};
use stepwell_types::{
    Data, Digest, ExecutionId, Failure, FlowRef, Secret, Signal, StartRequest, TargetKind,
    TargetName, TargetStatus, TaskToken, WaitReason, Waiting,
};

use crate::api::{
    Active, ActiveState, Execution, Filling, FlowInfo, HttpTrigger, ListFilter, Metrics,
    ModuleInfo, Page, Permission, Picture, Published, Redriven, SecretInfo, SecretVersion, Started,
    Status, UsageRow,
};
use crate::catalog::{Upload, check_name};
use crate::driver::{Redrive, Reply, Request, Ticket, TokenAnswer, read_execution};
use crate::gate::GateHandle;
use crate::lists::{read_list, read_usage};
use crate::shell::event_loop::LoopGate;
use crate::shell::{Shared, shard_for};
use crate::{Error, Executions};

/// After how long a start that is not durable yet is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long the answer of an express execution is waited for: its limit, and some time to stop.
const EXPRESS_WAIT: Duration = Duration::from_secs(EXPRESS_SECONDS_MAX + 10);

/// The way to a running engine. Cheap to clone.
#[derive(Clone)]
pub struct Orchestrator {
    pub(crate) shared: Arc<Shared>,
}

impl Orchestrator {
    pub(crate) fn new(shared: Arc<Shared>) -> Orchestrator {
        Orchestrator { shared }
    }

    /// The gate, for who looks after what attempts left elsewhere.
    #[must_use]
    pub fn gate(&self) -> GateHandle {
        Arc::new(LoopGate {
            shared: self.shared.clone(),
        })
    }

    /// The way of steps to other executions.
    #[must_use]
    pub fn executions(&self) -> Executions {
        let shared = self.shared.clone();
        Executions {
            ask: Arc::new(LoopGate { shared }),
            reader: self.shared.reader.clone(),
            clock: self.shared.clock.clone(),
            entropy: self.shared.entropy.clone(),
        }
    }

    /// Starts an execution; returns when that is durable.
    /// # Errors
    /// `RUN0002`, `RUN0004` to `RUN0007`, `RUN0014`, `RUN0016`.
    pub async fn start(&self, request: StartRequest) -> Result<Started, Error> {
        let (id, request) = self.start_request(request, false)?;
        match self.shared.ask(id, request).await? {
            Reply::Started(started) => Ok(started),
            _ => Err(Error::Stopping),
        }
    }

    /// Starts an execution and waits for its end, for `limit` and until the start is durable.
    /// `None`: it still runs.
    /// # Errors
    /// As [`Orchestrator::start`]; `RUN0023`.
    pub async fn start_and_wait(
        &self,
        request: StartRequest,
        limit: Duration,
    ) -> Result<(ExecutionId, Option<Execution>), Error> {
        let (id, request) = self.start_request(request, true)?;
        let Request::Start {
            flow, name, input, ..
        } = &request
        else {
            return Err(Error::Stopping);
        };
        let mode = self.shared.catalog.mode(flow)?;
        let express = mode != Mode::Standard;
        let named = name.as_ref().filter(|_| !express);
        let named = named.map(|name| (flow.name.clone(), name.clone(), input.clone()));
        let mut asked = pin!(self.shared.ask(id, request));
        // Nobody could ask for the end of an express execution later: it is waited for.
        let limit = if express { EXPRESS_WAIT } else { limit };
        let answer = match tokio::time::timeout(limit, &mut asked).await {
            Ok(answer) => answer,
            Err(_) if express => {
                let why = "it did not end within its limit";
                let why = Failure::new("Stepwell.EngineFault", why);
                return Err(Error::Broken { id, why });
            }
            // Whether it was accepted is known when that is durable.
            Err(_) => tokio::select! {
                biased;
                answer = &mut asked => answer,
                found = self.begun(id, named.as_ref()) => return Ok((found?, None)),
            },
        };
        let ended = match answer {
            Ok(Reply::Ended(Some(mut execution))) => {
                self.name_parent(&mut execution)?;
                return Ok((execution.id, Some(*execution)));
            }
            Ok(_) => true,
            Err(Error::Stopping) => false,
            Err(e) => return Err(e),
        };
        // An execution that was there under this name has another id.
        let id = match named {
            Some((flow, name, _)) => self.find(&flow, &name)?.unwrap_or(id),
            None => id,
        };
        match self.read(id) {
            Ok(mut found) => {
                self.name_parent(&mut found)?;
                Ok((id, Some(found).filter(|_| ended)))
            }
            Err(Error::NoExecution(_)) if !ended => Err(Error::Stopping),
            Err(e) => Err(e),
        }
    }

    /// Returns when a start is durable: the new execution's id, or that of the one which had
    /// the name and the input already.
    async fn begun(
        &self,
        id: ExecutionId,
        named: Option<&(Arc<str>, Arc<str>, Data)>,
    ) -> Result<ExecutionId, Error> {
        let watch = self.shared.watchers.follow(id);
        let named = named.map(|(flow, name, input)| {
            let (flow, name) = (flow.clone(), name.clone());
            (Key::Name { flow, name }, input)
        });
        loop {
            let found = match &named {
                None => self.read(id).map(|_| Some(id)),
                Some((key, input)) => self.started_as(key, input),
            };
            match found {
                Ok(Some(id)) => return Ok(id),
                Ok(None) | Err(Error::NoExecution(_)) => {}
                Err(e) => return Err(e),
            }
            // One that somebody else has just started under the name is told of to others.
            let _ = tokio::time::timeout(LOOK_AGAIN, watch.changed()).await;
        }
    }

    /// Waits for an execution's end, at most for `limit`. `None`: it still runs.
    /// # Errors
    /// `RUN0001`.
    pub async fn wait(&self, id: ExecutionId, limit: Duration) -> Result<Option<Execution>, Error> {
        match tokio::time::timeout(limit, self.shared.ask(id, Request::Wait(id))).await {
            Ok(Ok(_)) => Ok(Some(self.describe(id).await?)),
            Ok(Err(Error::Stopping)) | Err(_) => Ok(None),
            Ok(Err(e)) => Err(e),
        }
    }

    fn start_request(
        &self,
        request: StartRequest,
        wait: bool,
    ) -> Result<(ExecutionId, Request), Error> {
        if self.shared.is_stopping() {
            return Err(Error::Stopping);
        }
        if let Some(name) = &request.name {
            check_name("execution", name)?;
        }
        let bytes = request.input.len_bytes();
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(Error::TooLarge {
                what: "the input",
                bytes: bytes as u64,
                max: PAYLOAD_BYTES_MAX as u64,
            });
        }
        let newest = self.shared.catalog.newest(&request.flow)?;
        let version = request.version.unwrap_or(newest);
        let random = u128::from_be_bytes(self.shared.entropy.draw());
        let shard = shard_for(
            &request.flow,
            request.name.as_deref(),
            self.shared.inboxes.len(),
            (random >> 120) as u8,
        );
        let id = ExecutionId::new(self.shared.clock.now(), shard, random);
        let flow = FlowRef {
            name: request.flow,
            version,
        };
        let request = Request::Start {
            flow,
            name: request.name,
            input: request.input,
            id,
            seed: self.shared.entropy.draw(),
            wait,
        };
        Ok((id, request))
    }

    /// Everything about one execution, with input and output.
    /// # Errors
    /// `RUN0001`.
    pub async fn describe(&self, id: ExecutionId) -> Result<Execution, Error> {
        let mut found = self.read(id)?;
        let now = crate::history::progress(self, id, &found).await?;
        found.input = now.input;
        found.flow_gone = self.shared.catalog.newest(&found.flow).is_err();
        self.name_parent(&mut found)?;
        if found.status == Status::Running {
            found.waiting = self.shared.outward.waiting(id);
            if let Ok(Reply::Queued(queued)) = self.shared.ask(id, Request::Queued(id)).await {
                found.waiting.extend(queued);
            }
            let full = now.untaken.iter().filter(|(_, _, a, _)| self.in_hands(a).1);
            found
                .waiting
                .extend(full.map(|(entry, state, activity, since)| Waiting {
                    entry: *entry,
                    state: state.clone(),
                    target: Some(TargetName::new(TargetKind::Activity, activity.clone())),
                    reason: WaitReason::Concurrency,
                    since: *since,
                }));
            found.active = with_queues(now.active, &found.waiting);
            found.signals = now.signals;
            found.transitions = now.transitions;
            found.fuel = now.fuel;
        }
        Ok(found)
    }

    /// Every target outside that was called lately.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetStatus> {
        let mut targets = self.shared.outward.targets();
        for one in &mut targets {
            // Their queue is here, and so is who has what.
            if let (TargetKind::Activity, Some(name)) = (one.target.kind, &one.target.name) {
                one.under_way = u32::try_from(self.in_hands(name).0).unwrap_or(u32::MAX);
            }
        }
        targets
    }

    /// The summary of one execution.
    fn read(&self, id: ExecutionId) -> Result<Execution, Error> {
        read_execution(&*self.shared.reader, id)
    }

    /// A page of executions, newest first, without inputs and outputs.
    /// # Errors
    /// `RUN0012`.
    pub async fn list(
        &self,
        filter: ListFilter,
        before: Option<ExecutionId>,
        limit: usize,
    ) -> Result<Page<Execution, ExecutionId>, Error> {
        let reader = self.shared.reader.clone();
        let list = move || read_list(&*reader, &filter, before, limit);
        let mut page = self.reading(list).await?;
        for found in &mut page.items {
            found.flow_gone = self.shared.catalog.newest(&found.flow).is_err();
        }
        Ok(page)
    }

    /// Ends an execution; returns when that is durable.
    /// # Errors
    /// `RUN0001`, `RUN0011`.
    pub async fn cancel(&self, id: ExecutionId, failure: Failure) -> Result<(), Error> {
        self.shared
            .ask(id, Request::Cancel(id, failure))
            .await
            .map(|_| ())
    }

    /// Sends an execution a signal; returns when it is durable that it came. What is sent again
    /// under the same `key` comes once, also when the execution has ended since.
    /// # Errors
    /// `RUN0001`, `RUN0005` to `RUN0007`, `RUN0011`, `RUN0014`, `RUN0016`, `RUN0017`, `RUN0030`
    /// to `RUN0032`.
    pub async fn signal(
        &self,
        id: ExecutionId,
        name: &str,
        data: Data,
        key: Option<&str>,
    ) -> Result<(), Error> {
        check_name("signal", name)?;
        let bytes = data.len_bytes();
        if bytes > SIGNAL_BYTES_MAX {
            return Err(Error::TooLarge {
                what: "the signal's data",
                bytes: bytes as u64,
                max: SIGNAL_BYTES_MAX as u64,
            });
        }
        let signal = Signal {
            name: name.into(),
            data,
            sender: None,
        };
        // Apart from the keys of executions, which have no such beginning.
        let key = key.map(|key| Digest::of(format!("outside:{key}").as_bytes()));
        let request = Request::Signal(id, signal, key);
        self.shared.ask(id, request).await.map(|_| ())
    }

    /// Lets an execution that ended without success go on; returns when that is durable.
    /// # Errors
    /// `RUN0001`, `RUN0002`, `RUN0005` to `RUN0007`, `RUN0016`, `RUN0018`, `RUN0019`.
    pub async fn redrive(&self, id: ExecutionId, wish: Redrive) -> Result<Redriven, Error> {
        let bytes = wish.input.as_ref().map_or(0, Data::len_bytes);
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(Error::TooLarge {
                what: "the input",
                bytes: bytes as u64,
                max: PAYLOAD_BYTES_MAX as u64,
            });
        }
        // A deleted flow starts no work.
        self.shared.catalog.newest(&self.read(id)?.flow)?;
        match self.shared.ask(id, Request::Redrive(id, wish)).await? {
            Reply::Redriven(redriven) => Ok(redriven),
            _ => Err(Error::Stopping),
        }
    }

    /// A task ended well. The same answer again is no error.
    /// # Errors
    /// `RUN0009`, `RUN0010`, `RUN0016`.
    pub async fn token_succeed(&self, token: TaskToken, output: Data) -> Result<(), Error> {
        let bytes = output.len_bytes();
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(Error::TooLarge {
                what: "the output",
                bytes: bytes as u64,
                max: PAYLOAD_BYTES_MAX as u64,
            });
        }
        self.answer(token, TokenAnswer::Ended(Ok(output))).await
    }

    /// A task failed. The same answer again is no error.
    /// # Errors
    /// `RUN0009`, `RUN0010`.
    pub async fn token_fail(&self, token: TaskToken, failure: Failure) -> Result<(), Error> {
        self.answer(token, TokenAnswer::Ended(Err(failure))).await
    }

    /// A task is still at work.
    /// # Errors
    /// `RUN0009`, `RUN0010`.
    pub async fn token_heartbeat(&self, token: TaskToken) -> Result<(), Error> {
        self.answer(token, TokenAnswer::Heartbeat).await
    }

    async fn answer(&self, token: TaskToken, answer: TokenAnswer) -> Result<(), Error> {
        self.shared
            .ask(token.execution, Request::Token(token, answer))
            .await
            .map(|_| ())
    }

    /// Publishes a flow; `triggers` `None`: its endpoints stay as they are.
    /// # Errors
    /// `RUN0008`, `RUN0014` to `RUN0016`, `RUN0021`, `RUN0026`, `RUN0027`, `RUN0043`.
    pub async fn publish(
        &self,
        name: &str,
        definition: &str,
        filling: Filling,
        triggers: Option<Vec<HttpTrigger>>,
        mode: Mode,
    ) -> Result<Published, Error> {
        self.room()?;
        self.shared
            .catalog
            .publish(name, definition, filling, triggers, mode)
            .await
    }

    /// All problems of a definition; nothing is published.
    /// # Errors
    /// `RUN0021`.
    pub async fn validate(
        &self,
        definition: String,
        filling: Filling,
        mode: Mode,
    ) -> Result<Vec<Diagnostic>, Error> {
        let catalog = &self.shared.catalog;
        catalog.validate(definition, filling, mode).await
    }

    /// Draws a published version; `None`: the newest. Takes milliseconds for thousands of states.
    /// # Errors
    /// `RUN0002`.
    pub fn graph(&self, name: &str, version: Option<u32>, form: Picture) -> Result<String, Error> {
        let catalog = &self.shared.catalog;
        let version = match version {
            Some(version) => version,
            None => catalog.newest(name)?,
        };
        let flow = FlowRef {
            name: name.into(),
            version,
        };
        let program = catalog.programs().program(&flow)?;
        Ok(match form {
            Picture::Mermaid => stepwell_flow::graph::mermaid(&program),
            Picture::Dot => stepwell_flow::graph::dot(&program),
            Picture::Svg => stepwell_flow::graph::svg(&program),
        })
    }

    /// The newest version of each flow, by name.
    /// # Errors
    /// None today.
    pub fn flows(
        &self,
        after: Option<Arc<str>>,
        limit: usize,
    ) -> Result<Page<FlowInfo, Arc<str>>, Error> {
        Ok(self.shared.catalog.flows(after.as_deref(), limit))
    }

    /// One flow version with its text; `None`: the newest.
    /// # Errors
    /// `RUN0002`.
    pub fn flow(&self, name: &str, version: Option<u32>) -> Result<FlowInfo, Error> {
        self.shared.catalog.flow(name, version)
    }

    /// All versions of a flow, oldest first.
    /// # Errors
    /// `RUN0002`.
    pub fn flow_versions(&self, name: &str) -> Result<Vec<FlowInfo>, Error> {
        self.shared.catalog.flow_versions(name)
    }

    /// Deletes a flow: nobody can start it any more, and what has ended of it can be told of.
    /// # Errors
    /// `RUN0002`, `RUN0029`.
    pub async fn delete_flow(&self, name: &str) -> Result<(), Error> {
        let (shared, flow): (_, Arc<str>) = (self.shared.clone(), name.into());
        let settled = async move { shared.running(flow).await };
        self.shared.catalog.delete_flow(name, settled).await
    }

    /// Opens an upload of a module.
    /// # Errors
    /// `RUN0006`, `RUN0014`, `RUN0026`, `RUN0027`.
    pub async fn begin_upload(&self, name: &str, permission: Permission) -> Result<Upload, Error> {
        self.room()?;
        self.shared.catalog.begin_upload(name, permission).await
    }

    /// The newest version of each module, by name.
    /// # Errors
    /// None today.
    pub fn modules(
        &self,
        after: Option<Arc<str>>,
        limit: usize,
    ) -> Result<Page<ModuleInfo, Arc<str>>, Error> {
        Ok(self.shared.catalog.modules(after.as_deref(), limit))
    }

    /// One module version; `None`: the newest.
    /// # Errors
    /// `RUN0003`.
    pub fn module(&self, name: &str, version: Option<u32>) -> Result<ModuleInfo, Error> {
        self.shared.catalog.module(name, version)
    }

    /// The `.wasm` of a module, by name and digest.
    /// # Errors
    /// `RUN0003`, `BOX0010`.
    pub async fn module_wasm(&self, name: &str, digest: Digest) -> Result<Vec<u8>, Error> {
        self.shared.catalog.module_wasm(name, digest).await
    }

    /// Deletes a module that no flow version uses.
    /// # Errors
    /// `RUN0003`, `RUN0013`.
    pub async fn delete_module(&self, name: &str) -> Result<(), Error> {
        self.shared.catalog.delete_module(name).await
    }

    /// Sets a secret: its new version is what attempts that begin from now on read.
    /// # Errors
    /// `RUN0006`, `RUN0014`, `HOST0006` to `HOST0009`.
    pub async fn set_secret(&self, name: &str, value: Secret) -> Result<SecretVersion, Error> {
        self.room()?;
        self.shared.catalog.set_secret(name, value).await
    }

    /// Secrets by name, without their values.
    /// # Errors
    /// `RUN0012`, `HOST0008`.
    pub fn secrets(
        &self,
        after: Option<Arc<str>>,
        limit: usize,
    ) -> Result<Page<SecretInfo, Arc<str>>, Error> {
        self.shared.catalog.secrets(after, limit)
    }

    /// Deletes a secret with all versions.
    /// # Errors
    /// `RUN0028`, `HOST0008`.
    pub async fn delete_secret(&self, name: &str) -> Result<(), Error> {
        self.shared.catalog.delete_secret(name).await
    }

    /// Makes a new master key, seals all secrets with it and drops the old one; how many they are.
    /// # Errors
    /// `RUN0006`, `RUN0012`, `HOST0006` to `HOST0008`.
    pub async fn rotate_secret_key(&self) -> Result<usize, Error> {
        self.room()?;
        self.shared.catalog.rotate_secret_key().await
    }

    /// The flow whose endpoint a request meets, and the endpoint.
    #[must_use]
    pub fn trigger(&self, method: &str, path: &str) -> Option<(Arc<str>, HttpTrigger)> {
        self.shared.catalog.trigger(method, path)
    }

    /// The methods with which flows' endpoints answer at this path, sorted.
    #[must_use]
    pub fn trigger_methods(&self, path: &str) -> Vec<String> {
        self.shared.catalog.trigger_methods(path)
    }

    /// A page of usage by flow and day, after this flow's day.
    /// # Errors
    /// `RUN0012`.
    pub async fn usage(
        &self,
        flow: Option<&str>,
        after: Option<(Arc<str>, u32)>,
        limit: usize,
    ) -> Result<Page<UsageRow, (Arc<str>, u32)>, Error> {
        let (reader, flow) = (self.shared.reader.clone(), flow.map(Arc::from));
        self.reading(move || read_usage(&*reader, flow, after, limit))
            .await
    }

    /// Counters and gauges of all loops together.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.shared.metrics()
    }

    /// Whether new work would be taken.
    /// # Errors
    /// `RUN0006`, `RUN0007`.
    pub fn ready(&self) -> Result<(), Error> {
        if self.shared.is_stopping() {
            return Err(Error::Stopping);
        }
        self.room()
    }

    /// From now on starts are refused, and who polls is let go; call before
    /// [`crate::shell::Shell::stop`].
    pub fn close(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.watchers.let_go();
    }

    /// Whether the disk has room for more.
    /// # Errors
    /// `RUN0006`.
    pub fn room(&self) -> Result<(), Error> {
        match *self.shared.disk_full.lock() {
            None => Ok(()),
            Some((free_mib, floor_mib)) => Err(Error::DiskFull {
                free_mib,
                floor_mib,
            }),
        }
    }
}

/// States, each with what of it waits for its turn.
fn with_queues(active: (usize, Vec<Active>), waiting: &[Waiting]) -> (usize, Vec<ActiveState>) {
    let (count, first) = active;
    let with = |is: Active| ActiveState {
        queue: waiting.iter().find(|w| w.entry == is.entry).cloned(),
        is,
    };
    (count, first.into_iter().map(with).collect())
}

static TICKETS: AtomicU64 = AtomicU64::new(1);

impl Shared {
    /// A number that no other request of this process has.
    pub(crate) fn new_ticket(&self) -> Ticket {
        Ticket(TICKETS.fetch_add(1, Ordering::Relaxed))
    }

    /// A loop's newest counters.
    pub(crate) fn put_metrics(&self, index: usize, metrics: Metrics) {
        if let Some(slot) = self.metrics.get(index) {
            *slot.lock() = metrics;
        }
    }

    fn metrics(&self) -> Metrics {
        let mut sum = Metrics::default();
        for slot in &self.metrics {
            let m = slot.lock().clone();
            sum.started += m.started;
            sum.redriven += m.redriven;
            for (a, b) in sum.ended.iter_mut().zip(m.ended) {
                *a += b;
            }
            for (a, b) in sum.signals.iter_mut().zip(m.signals) {
                *a += b;
            }
            sum.transitions += m.transitions;
            sum.attempts += m.attempts;
            sum.fuel += m.fuel;
            sum.refused += m.refused;
            sum.hot += m.hot;
            sum.open += m.open;
            sum.steps_running += m.steps_running;
        }
        // One loop may have told of an end before another told of the beginning.
        sum.open = sum.open.max(0);
        let counts = &self.committer.counts;
        sum.commits = counts.commits.load(Ordering::Relaxed);
        sum.commit_bytes = counts.bytes.load(Ordering::Relaxed);
        sum.commit_us = counts.us.load(Ordering::Relaxed);
        sum
    }
}
