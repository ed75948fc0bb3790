//! Plugs the sandbox, the bridges and the machine into the orchestrator's ports.
//!
//! Refuses to decide: each adapter hands over and translates, nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stepwell_buckets::{Buckets, Grant, buckets};
use stepwell_host_api::gate::{Boxed, Gate, Verdict};
use stepwell_host_api::http::{ConnectionOptions, HttpBridge, HttpOptions};
use stepwell_host_api::objects::Objects;
use stepwell_host_api::wasi::{Directories, DirectoryGrant};
use stepwell_host_api::{
    Bridges, ExecutionBridge, Executions, Journal, Limiter, Namespaces, Secrets,
};
use stepwell_orchestrator as orchestrator;
use stepwell_orchestrator::api::ModuleAbout;
use stepwell_orchestrator::gate::{GateHandle, Verdict as Ruling};
use stepwell_orchestrator::ports::{
    Answer, BlackBox, LastLife, ModuleStore, ModuleUpload, StepFuture, StepKey, StepRunner,
};
use stepwell_sandbox::{CompileLimits, Limits, Modules, Pool, Sandbox, Upload};
use stepwell_server::wire::trace::StepLimits;
use stepwell_types::limits::MODULE_BYTES_MAX;
use stepwell_types::{
    AttemptId, BridgeAnswer, BridgeCall, Digest, Failure, LogLine, Spent, StepOutcome, StepRequest,
    StepTarget,
};

use crate::config::{Config, Http, Steps};
use crate::elsewhere::Elsewhere;
use crate::exit::Trouble;
use crate::input;
use crate::map;
use crate::objects::room::Room;
use crate::system::{self, SystemClock};

/// Runs steps of every kind.
pub struct Runner {
    /// For modules; a one-shot run without modules has none.
    pub sandbox: Option<Arc<Sandbox>>,
    /// To the outside, for modules and Tasks alike.
    pub bridges: Bridges,
    /// For a distributed Map's items and results.
    pub buckets: Buckets,
    /// What results leave the disk.
    pub room: Arc<Room>,
}

impl StepRunner for Runner {
    fn run(&self, request: StepRequest, gate: GateHandle) -> StepFuture {
        let secrets = Arc::clone(&self.bridges.secrets);
        match (&request.target, &self.sandbox) {
            (StepTarget::Wasm { .. }, Some(sandbox)) => sandbox.run(request, Arc::new(Door(gate))),
            (StepTarget::Wasm { .. }, None) => {
                refused("Stepwell.ModuleMissing", "no module is here")
            }
            (StepTarget::Http, _) => {
                let http = Arc::clone(&self.bridges.http);
                Box::pin(async move { http.run(&journal(gate, secrets, request)).await })
            }
            (StepTarget::Container, _) => {
                let containers = self.bridges.containers.clone();
                Box::pin(async move { containers.run(&journal(gate, secrets, request)).await })
            }
            (StepTarget::Machine, _) => {
                let machines = self.bridges.machines.clone();
                Box::pin(async move { machines.run(&journal(gate, secrets, request)).await })
            }
            (StepTarget::ReadItems(wanted), _) => {
                let (buckets, wanted) = (self.buckets.clone(), Arc::clone(wanted));
                let grants = request.grants;
                Box::pin(map::read(buckets, wanted, grants))
            }
            // Nothing is recorded: the same file written again is the same file.
            (StepTarget::WriteResults(wanted), _) => {
                let by = request.id();
                let results = map::Results {
                    buckets: self.buckets.clone(),
                    room: Arc::clone(&self.room),
                    wanted: Arc::clone(wanted),
                    grants: request.grants,
                    records: request.input,
                };
                Box::pin(results.write(by, gate))
            }
            (
                StepTarget::Callback
                | StepTarget::Flow(_)
                | StepTarget::SendSignal
                | StepTarget::WaitSignal
                | StepTarget::Activity { .. }
                | StepTarget::CollectResults
                | StepTarget::Chosen,
                _,
            ) => refused("Stepwell.EngineFault", "this is not a step that runs here"),
        }
    }
}

/// The journal of a Task's attempt that begins now.
fn journal(gate: GateHandle, secrets: Arc<dyn Secrets>, request: StepRequest) -> Arc<Journal> {
    let gate = Arc::new(Door(gate));
    Journal::new(gate, secrets, Arc::new(request), SystemClock.wall())
}

fn refused(error: &'static str, cause: &'static str) -> StepFuture {
    Box::pin(std::future::ready(StepOutcome {
        result: Err(Failure::new(error, cause)),
        spent: Spent::default(),
        logs: Vec::new(),
        effects: None,
        notes: None,
    }))
}

/// The orchestrator's gate as the bridges see it.
pub struct Door(pub GateHandle);

impl Gate for Door {
    fn admit(&self, call: BridgeCall) -> Boxed<'static, Verdict> {
        let ruling = self.0.admit(call);
        Box::pin(async move {
            match ruling.await {
                Ruling::Go => Verdict::Go,
                Ruling::Diverged => Verdict::Diverged,
                Ruling::Stopped => Verdict::Stopped,
            }
        })
    }

    fn waits(&self, by: AttemptId) {
        self.0.waits(by);
    }

    fn answered(&self, answer: BridgeAnswer) {
        self.0.answered(answer);
    }

    fn is_open(&self) -> bool {
        self.0.is_open()
    }

    fn log(&self, call: &BridgeCall, lines: Vec<LogLine>) {
        self.0.log(call, lines);
    }

    fn logged<'a>(&'a self, call: &'a BridgeCall) -> Boxed<'a, usize> {
        self.0.logged(call)
    }
}

/// The sandbox's modules as the orchestrator sees them.
pub struct Shelf {
    modules: Modules,
    /// What is to stay free of the disk: said when it is full.
    floor_bytes: u64,
}

impl Shelf {
    /// Over these modules, on a disk of which so much is to stay free.
    pub fn new(modules: Modules, floor_bytes: u64) -> Shelf {
        Shelf {
            modules,
            floor_bytes,
        }
    }
}

impl ModuleStore for Shelf {
    fn begin(&self) -> Answer<'_, Box<dyn ModuleUpload>> {
        let upload = self
            .modules
            .upload()
            .map_err(|e| translate(e, self.floor_bytes));
        Box::pin(async move {
            Ok(Box::new(Arrival(upload?, self.floor_bytes)) as Box<dyn ModuleUpload>)
        })
    }

    fn remove(&self, digest: Digest) -> Answer<'_, ()> {
        let removed = self.modules.delete(&digest).map(|_| ());
        let removed = removed.map_err(|e| translate(e, self.floor_bytes));
        Box::pin(std::future::ready(removed))
    }

    fn keep_only(&self, named: &BTreeSet<Digest>) -> Result<(), orchestrator::Error> {
        let removed = self.modules.keep_only(named);
        let removed = removed.map_err(|e| translate(e, self.floor_bytes))?;
        if removed > 0 {
            tracing::info!(
                modules = removed,
                "removed what uploads left that never ended"
            );
        }
        Ok(())
    }

    fn wasm(&self, digest: Digest) -> Answer<'_, Option<Vec<u8>>> {
        Box::pin(async move {
            let wasm = self.modules.wasm(&digest).await;
            wasm.map_err(|e| translate(e, self.floor_bytes))
        })
    }

    fn exports(&self, digest: Digest, function: Option<&str>) -> bool {
        let Ok(Some(info)) = self.modules.describe(&digest) else {
            return false;
        };
        info.functions.iter().any(|known| match function {
            Some(wanted) => {
                known == wanted
                    || known
                        .rsplit_once('#')
                        .is_some_and(|(_, name)| name == wanted)
            }
            None => known.starts_with("stepwell:step/handler@") && known.ends_with("#run"),
        })
    }
}

/// An upload, and what is to stay free of the disk.
struct Arrival(Upload, u64);

impl ModuleUpload for Arrival {
    fn write<'a>(&'a mut self, chunk: &'a [u8]) -> Answer<'a, ()> {
        let written = self.0.write(chunk).map_err(|e| translate(e, self.1));
        Box::pin(std::future::ready(written))
    }

    fn finish(self: Box<Self>) -> Answer<'static, (Digest, ModuleAbout)> {
        Box::pin(async move {
            let floor = self.1;
            let info = self.0.finish().await.map_err(|e| translate(e, floor))?;
            let about = ModuleAbout {
                wasm_bytes: info.size_bytes,
                artifact_bytes: info.artifact_bytes,
                compile_ms: info.compile_ms,
                imports: info.imports,
                exports: info.exports,
            };
            Ok((info.digest, about))
        })
    }
}

/// The sandbox's refusal in the orchestrator's words; the code stays.
fn translate(e: stepwell_sandbox::Error, floor_bytes: u64) -> orchestrator::Error {
    if let stepwell_sandbox::Error::Full { .. } = e {
        return orchestrator::Error::DiskFull {
            free_mib: 0,
            floor_mib: floor_bytes >> 20,
        };
    }
    let code = e.code();
    let text = e.to_string();
    let message = text.strip_prefix(code).unwrap_or(&text);
    let message = message.strip_prefix(": ").unwrap_or(message).to_owned();
    orchestrator::Error::BadModule { code, message }
}

/// The record of what is on a processor. Without a file (a full disk, say) nothing is kept.
pub struct Recorder(Option<stepwell_store_rocks::BlackBox>);

impl Recorder {
    /// Over this file, which is made if it is missing.
    pub fn open(file: &Path) -> Recorder {
        let opened = stepwell_store_rocks::BlackBox::open(file);
        Recorder(opened.map_or_else(
            |reason| {
                tracing::warn!(%reason, "a step that kills the server will not be told from others");
                None
            },
            Some,
        ))
    }
}

impl BlackBox for Recorder {
    fn last(&self) -> LastLife {
        let (life, steps) = self.0.as_ref().map(|b| b.last()).unwrap_or_default();
        LastLife { life, steps }
    }

    fn begin(&self, life: u64) {
        if let Some(file) = &self.0 {
            file.begin(life);
        }
    }

    fn enter(&self, (execution, entry, attempt): StepKey) {
        if let Some(file) = &self.0 {
            file.enter(execution, entry, attempt);
        }
    }

    fn leave(&self) {
        if let Some(file) = &self.0 {
            file.leave();
        }
    }
}

/// The bounds of an attempt, and the pool that fits them and the machine.
pub fn limits(config: &Config) -> (Limits, Pool) {
    let limits = attempt(config);
    let pool = Pool::sized(system::cores(), system::memory_bytes_free(), &limits);
    (limits, pool)
}

/// The bounds of an attempt, for whoever runs one again elsewhere.
pub fn told(config: &Config) -> StepLimits {
    let limits = attempt(config);
    let (http, base) = (&config.http, HttpOptions::default());
    StepLimits {
        fuel: limits.fuel,
        memory_mib: limits.memory_bytes >> 20,
        table_elements: limits.table_elements,
        wall_ms: limits.wall_ms,
        output_bytes: limits.output_bytes as u64,
        log_bytes: limits.log_bytes as u64,
        object_bytes: config.object_bytes_max.unwrap_or(buckets::OBJECT_BYTES_MAX),
        http_request_bytes: http
            .guest_request_bytes_max
            .unwrap_or(base.guest_request_bytes_max),
        http_response_bytes: http.response_bytes_max.unwrap_or(base.response_bytes_max),
    }
}

/// A configuration with these bounds and nothing else.
pub fn bounded(limits: &StepLimits) -> Config {
    let bytes = |n: u64| usize::try_from(n).ok();
    Config {
        steps: Steps {
            fuel: Some(limits.fuel),
            memory_mib: Some(limits.memory_mib),
            table_elements: Some(limits.table_elements),
            wall_ms: Some(limits.wall_ms),
            output_bytes: bytes(limits.output_bytes),
            log_bytes: bytes(limits.log_bytes),
        },
        http: Http {
            guest_request_bytes_max: Some(limits.http_request_bytes),
            response_bytes_max: Some(limits.http_response_bytes),
            ..Http::default()
        },
        object_bytes_max: Some(limits.object_bytes),
        ..Config::default()
    }
}

fn attempt(config: &Config) -> Limits {
    let steps = &config.steps;
    let base = Limits::default();
    Limits {
        fuel: steps.fuel.unwrap_or(base.fuel),
        memory_bytes: steps.memory_mib.map_or(base.memory_bytes, |mib| mib << 20),
        table_elements: steps.table_elements.unwrap_or(base.table_elements),
        wall_ms: steps.wall_ms.unwrap_or(base.wall_ms),
        output_bytes: steps.output_bytes.unwrap_or(base.output_bytes),
        log_bytes: steps.log_bytes.unwrap_or(base.log_bytes),
        ..base
    }
}

/// Opens the sandbox over a folder of modules.
pub fn sandbox(
    modules_dir: PathBuf,
    config: &Config,
    bridges: Bridges,
) -> Result<Arc<Sandbox>, Trouble> {
    let (limits, pool) = limits(config);
    let compile = &config.compile;
    let base = CompileLimits::default();
    let mib = |mib: u64| mib.saturating_mul(1 << 20);
    Sandbox::open(stepwell_sandbox::Options {
        modules_dir,
        compiler: compiler()?,
        module_bytes_max: config.upload_bytes_max.unwrap_or(MODULE_BYTES_MAX),
        limits,
        compile_limits: CompileLimits {
            memory_bytes: compile.memory_mib.map_or(base.memory_bytes, mib),
            cpu_s: compile.cpu_seconds.unwrap_or(base.cpu_s),
            wall_ms: compile.wall_ms.unwrap_or(base.wall_ms),
            ..base
        },
        pool,
        directories: directories(config),
        bridges,
        clock: Arc::new(SystemClock),
    })
    .map_err(Trouble::system)
}

fn directories(config: &Config) -> Directories {
    let grant = |d: &crate::config::Directory| DirectoryGrant {
        host: d.host.clone(),
        guest: d.guest.clone(),
        write: d.write,
    };
    Directories(config.directories.iter().map(grant).collect())
}

/// The buckets of the configuration, and those that are kept below `kept`.
pub fn buckets(
    config: &Config,
    kept: Option<PathBuf>,
    instance: String,
) -> Result<Buckets, Trouble> {
    let grant = |(name, bucket): (&String, &crate::config::Bucket)| Grant {
        name: name.clone(),
        path: bucket.path.clone(),
        write: bucket.write,
    };
    let max = config.object_bytes_max;
    Buckets::open(&stepwell_buckets::Options {
        kept,
        granted: config.buckets.iter().map(grant).collect(),
        object_bytes_max: max.unwrap_or(buckets::OBJECT_BYTES_MAX),
        instance,
    })
    .map_err(Trouble::system)
}

/// This very binary, as the compiling child.
fn compiler() -> Result<Vec<OsString>, Trouble> {
    let own = std::env::current_exe()
        .map_err(|e| Trouble::system(format!("cannot find this program's own file: {e}")))?;
    Ok(vec![own.into(), "compile-module".into()])
}

/// The bridges to the outside, the secrets that calls may need, and what steps keep.
pub fn bridges(
    config: &Config,
    limiter: &Limiter,
    elsewhere: &Elsewhere,
    secrets: Arc<dyn Secrets>,
    (keyvalue, objects): (Namespaces, Arc<dyn Objects>),
    executions: Arc<dyn Executions>,
) -> Result<Bridges, Trouble> {
    Ok(Bridges {
        http: http(config, limiter)?,
        containers: elsewhere.containers.clone(),
        machines: elsewhere.machines.clone(),
        secrets,
        keyvalue,
        executions: ExecutionBridge::new(executions),
        objects,
    })
}

fn http(config: &Config, limiter: &Limiter) -> Result<Arc<HttpBridge>, Trouble> {
    let base = HttpOptions::default();
    let http = &config.http;
    let options = HttpOptions {
        allow: http.allow.clone(),
        request_bytes_max: http.request_bytes_max.unwrap_or(base.request_bytes_max),
        guest_request_bytes_max: http
            .guest_request_bytes_max
            .unwrap_or(base.guest_request_bytes_max),
        response_bytes_max: http.response_bytes_max.unwrap_or(base.response_bytes_max),
        answers_bytes_max: http.answers_bytes_max.unwrap_or(base.answers_bytes_max),
        connections: connections(config)?,
        authorities: authorities(config)?,
    };
    let clock = Arc::new(|| SystemClock.wall());
    let bridge = HttpBridge::new(options, limiter.clone(), clock);
    let bridge = bridge.map_err(Trouble::configuration)?;
    Ok(Arc::new(bridge))
}

/// The files of certificates that the configuration names, read.
fn authorities(config: &Config) -> Result<Vec<(String, String)>, Trouble> {
    let read = |file: &PathBuf| Ok((file.display().to_string(), input::text(file, 4 << 20)?));
    config.http.ca_files.iter().map(read).collect()
}

/// The configured connections, with the secrets that lie in files.
fn connections(config: &Config) -> Result<BTreeMap<String, ConnectionOptions>, Trouble> {
    let mut all = BTreeMap::new();
    for (name, connection) in &config.connections {
        let mut secret_headers = BTreeMap::new();
        for (header, file) in &connection.header_files {
            let value = input::text(file, 64 << 10)?.trim().to_owned();
            secret_headers.insert(header.clone(), value);
        }
        let options = ConnectionOptions {
            url: connection.url.clone(),
            headers: connection.headers.clone(),
            secret_headers,
        };
        all.insert(name.clone(), options);
    }
    Ok(all)
}
