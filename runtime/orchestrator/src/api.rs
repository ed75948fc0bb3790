//! What the edges may ask of the orchestrator, and what they get: plain types.
//!
//! Refuses wire formats: `server` and `cli` have their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use stepwell_flow::Diagnostic;
pub use stepwell_flow::program::{Keep, Mode};
use stepwell_interpreter::redrive::Refusal;
pub use stepwell_interpreter::{Active, Awaits};
use stepwell_store::Quota;
use stepwell_types::limits::{REDRIVES_MAX, TRANSITIONS_MAX};
use stepwell_types::{Data, Digest, ExecutionId, Failure, Grants, TaskToken, Timestamp, Waiting};

/// A version of a secret, without its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretVersion {
    /// From 1; a number never names two values.
    pub version: u32,
    /// When it was set.
    pub set: Timestamp,
}

/// A secret, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretInfo {
    /// Its name.
    pub name: Arc<str>,
    /// The versions that are kept, oldest first; at least one.
    pub versions: Vec<SecretVersion>,
}

/// A namespace of what steps keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceInfo {
    /// As people write it: `MODULE/NAME`, or `shared/NAME`.
    pub name: String,
    /// Keys that have a value.
    pub keys: u64,
    /// Bytes of these keys and their values.
    pub bytes: u64,
    /// What it may have of both.
    pub quota: Quota,
}

/// Where an execution stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Accepted and not ended.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended by a failure that nothing caught.
    Failed,
    /// Its own `TimeoutSeconds` passed.
    TimedOut,
    /// Cancelled.
    Aborted,
}

/// What `describe` and lists show of an execution. Only what is durable.
#[derive(Debug, Clone)]
pub struct Execution {
    /// Its id.
    pub id: ExecutionId,
    /// Its name (the id when it was given none).
    pub name: Arc<str>,
    /// The flow's name.
    pub flow: Arc<str>,
    /// The version that it runs.
    pub version: u32,
    /// Where it stands.
    pub status: Status,
    /// When it was accepted.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Raw input; left out of lists.
    pub input: Option<Data>,
    /// Output of a success; left out of lists.
    pub output: Option<Data>,
    /// Error and cause of any other end.
    pub failure: Option<Failure>,
    /// The state whose failure ended it.
    pub failed_in: Option<Arc<str>>,
    /// State transitions so far.
    pub transitions: u64,
    /// Fuel so far.
    pub fuel: u64,
    /// Set when the engine refuses to go on with it until an operator looks: the reason.
    pub parked: Option<Failure>,
    /// Redrives so far.
    pub redrives: u32,
    /// When the last of them was.
    pub redriven: Option<Timestamp>,
    /// Its flow was deleted, and none of its name was published since.
    pub flow_gone: bool,
    /// The execution that started it, if one did.
    pub parent: Option<ExecutionId>,
    /// That one's name, if it was given one; left out of lists.
    pub parent_name: Option<Arc<str>>,
    /// An express execution: kept in memory, with a history only if its flow asks for one.
    pub express: bool,
    /// The states that it is in: how many, and those that were entered first. Left out of lists, and of
    /// express executions, which tell nobody where they are.
    pub active: (usize, Vec<ActiveState>),
    /// Calls to the outside that wait for their turn, and up to 100 steps that wait to begin; left out of lists.
    pub waiting: Vec<Waiting>,
    /// Signals that came before a Task waited for them: how many, and the first of them.
    pub signals: (usize, Vec<KeptSignal>),
}

impl Execution {
    /// Whether a redrive would be taken, as far as a summary tells.
    /// # Errors
    /// Why not.
    pub fn redrivable(&self) -> Result<(), Refusal> {
        match self.status {
            _ if self.express => Err(Refusal::Express),
            Status::Running => Err(Refusal::Running),
            Status::Succeeded => Err(Refusal::Succeeded),
            _ if self.flow_gone => Err(Refusal::FlowGone),
            _ if self.transitions >= TRANSITIONS_MAX => Err(Refusal::Transitions),
            _ if self.redrives >= REDRIVES_MAX => Err(Refusal::TooOften),
            _ => Ok(()),
        }
    }
}

/// A state that an execution is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveState {
    /// As its log tells.
    pub is: Active,
    /// What a call of it waits for before it may leave, or its step before it may begin.
    pub queue: Option<Waiting>,
}

/// The answer to a redrive.
#[derive(Debug, Clone)]
pub struct Redriven {
    /// The execution.
    pub id: ExecutionId,
    /// The version that it goes on with.
    pub version: u32,
    /// Which redrive it was, from 1.
    pub count: u32,
    /// When.
    pub redriven: Timestamp,
}

/// The answer to a start.
#[derive(Debug, Clone)]
pub struct Started {
    /// The execution.
    pub id: ExecutionId,
    /// Its name.
    pub name: Arc<str>,
    /// The version that it runs.
    pub version: u32,
    /// When it was accepted.
    pub started: Timestamp,
    /// Whether this very call started it; `false`: it was there under this name.
    pub new: bool,
}

/// One page of something.
#[derive(Debug, Clone)]
pub struct Page<T, C> {
    /// The rows.
    pub items: Vec<T>,
    /// Hand it back for the next page; `None`: this was the last.
    pub next: Option<C>,
}

/// Which executions a list shows. Newest first.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Only this flow's.
    pub flow: Option<Arc<str>>,
    /// Only in this status.
    pub status: Option<Status>,
    /// Only those that this execution started.
    pub parent: Option<ExecutionId>,
}

/// One line of history: the JSON object that Step Functions would show, with `state` and `index`
/// of the state that it is about.
#[derive(Debug, Clone)]
pub struct HistoryLine {
    /// Counts from 1.
    pub id: u64,
    /// The event type, e.g. `TaskStateEntered`.
    pub kind: String,
    /// The whole event as JSON text.
    pub json: Data,
}

/// A task that waits for its token to come back.
#[derive(Debug, Clone)]
pub struct OpenTask {
    /// The state's name.
    pub state: Arc<str>,
    /// What an outside program hands back.
    pub token: TaskToken,
    /// The effective input that the task was given.
    pub input: Data,
    /// When it times out.
    pub deadline: Option<Timestamp>,
}

/// A task of an activity, as its worker gets it.
#[derive(Debug, Clone)]
pub struct ActivityTask {
    /// What the worker hands back with its answer.
    pub token: TaskToken,
    /// The activity.
    pub activity: Arc<str>,
    /// Whose task it is.
    pub execution: ExecutionId,
    /// The execution's flow.
    pub flow: Arc<str>,
    /// The effective input that the task was given.
    pub input: Data,
}

/// A published flow version.
#[derive(Debug, Clone)]
pub struct FlowInfo {
    /// Its name.
    pub name: Arc<str>,
    /// From 1.
    pub version: u32,
    /// When it was published.
    pub published: Timestamp,
    /// Digest of the definition's text.
    pub digest: Digest,
    /// The text as it was published; left out of lists.
    pub definition: Option<Arc<str>>,
    /// Module names that it uses, and what they resolved to.
    pub modules: Vec<(Arc<str>, Digest)>,
    /// How its executions are kept.
    pub mode: Mode,
    /// What its `${NAME}` were filled in with.
    pub substitutions: Vec<(Arc<str>, Arc<str>)>,
    /// Resources of its text that were bound to others when it was published, and to which.
    pub resources: Vec<(Arc<str>, Arc<str>)>,
    /// Its HTTP endpoints (of the newest version).
    pub triggers: Vec<HttpTrigger>,
    /// What its Task resources may reach; `None`: it has no manifest.
    pub grants: Option<Arc<Grants>>,
}

/// What a new version may reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permission {
    /// Its manifest; `None`: that of the version before.
    pub grants: Option<Grants>,
    /// It may reach further than the version before.
    pub confirmed: bool,
}

/// What fills in a definition that is published, and what its resources mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filling {
    /// Values of `${NAME}`.
    pub substitutions: BTreeMap<String, String>,
    /// Resources, or patterns with `*`, and what they mean: one of our resources, or a flow or call as JSON. Before the server's own map.
    pub resources: BTreeMap<String, String>,
    /// What its Task resources may reach.
    pub permission: Permission,
}

/// The forms in which a flow is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Picture {
    /// For Markdown that renders Mermaid.
    Mermaid,
    /// For Graphviz.
    Dot,
    /// For browsers.
    Svg,
}

/// The answer to a publish.
#[derive(Debug, Clone)]
pub struct Published {
    /// What is there now.
    pub flow: FlowInfo,
    /// `false`: the newest version already was this very text with these modules.
    pub new: bool,
    /// What it, and each of its modules, may reach that the version before might not, a line each.
    pub gained: Vec<String>,
    /// What the version before might reach that it may not.
    pub lost: Vec<String>,
    /// Warnings.
    pub diagnostics: Vec<Diagnostic>,
}

/// An HTTP endpoint of a flow's own, below the server's `/t` prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpTrigger {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: Arc<str>,
    /// Begins with `/`; a segment `{name}` matches any one segment.
    pub path: Arc<str>,
    /// `true`: the response is the execution's result; `false`: 202 at once.
    pub wait: bool,
}

/// An uploaded module.
#[derive(Debug, Clone)]
pub struct ModuleInfo {
    /// Its name.
    pub name: Arc<str>,
    /// From 1; each upload of other bytes under the name counts one up.
    pub version: u32,
    /// Digest of the `.wasm`.
    pub digest: Digest,
    /// When it was uploaded.
    pub uploaded: Timestamp,
    /// What the component holds.
    pub about: ModuleAbout,
    /// Flows that use it, `name@version`; left out of lists.
    pub used_by: Vec<String>,
    /// What it may reach.
    pub grants: Arc<Grants>,
}

/// The answer to an upload.
#[derive(Debug, Clone)]
pub struct Uploaded {
    /// What is there now.
    pub module: ModuleInfo,
    /// `false`: the newest version already was these bytes with these grants.
    pub new: bool,
    /// What it imports and may reach that the version before did not, a line each.
    pub gained: Vec<String>,
    /// What the version before did that it does not.
    pub lost: Vec<String>,
}

/// What a component holds, as the sandbox read it.
#[derive(Debug, Clone, Default)]
pub struct ModuleAbout {
    /// Bytes of the `.wasm`.
    pub wasm_bytes: u64,
    /// Bytes of the compiled artifact.
    pub artifact_bytes: u64,
    /// What compiling took, in milliseconds.
    pub compile_ms: u64,
    /// WIT interfaces that it imports.
    pub imports: Vec<String>,
    /// WIT interfaces and functions that it exports.
    pub exports: Vec<String>,
}

/// Usage of one flow on one UTC day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Executions accepted.
    pub started: u64,
    /// Entries into states.
    pub transitions: u64,
    /// Attempts that ended.
    pub attempts: u64,
    /// wasmtime fuel.
    pub fuel: u64,
    /// Wall microseconds of steps.
    pub step_us: u64,
    /// Payload bytes in and out of steps.
    pub bytes: u64,
}

/// A row of the usage report.
#[derive(Debug, Clone)]
pub struct UsageRow {
    /// The flow's name.
    pub flow: Arc<str>,
    /// Days since 1970-01-01 UTC.
    pub day: u32,
    /// What was used.
    pub usage: Usage,
}

/// A signal that an execution keeps until a Task waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSignal {
    /// Its name.
    pub name: Arc<str>,
    /// Bytes of its data.
    pub bytes: usize,
    /// The execution that sent it, if one did.
    pub sender: Option<ExecutionId>,
    /// When it came.
    pub received: Timestamp,
}

/// Counters and gauges for Prometheus. Counters start at 0 with the process and
/// count after the commit.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Executions accepted.
    pub started: u64,
    /// Executions redriven.
    pub redriven: u64,
    /// Executions ended, in the order succeeded, failed, timed out, aborted.
    pub ended: [u64; 4],
    /// Entries into states.
    pub transitions: u64,
    /// Attempts that ended.
    pub attempts: u64,
    /// wasmtime fuel.
    pub fuel: u64,
    /// Group commits (each is one sync).
    pub commits: u64,
    /// Bytes handed to the store.
    pub commit_bytes: u64,
    /// Microseconds spent in commits.
    pub commit_us: u64,
    /// Starts refused by admission.
    pub refused: u64,
    /// Signals: delivered to a Task that waited, kept for one because none did, refused.
    pub signals: [u64; 3],
    /// Executions in memory.
    pub hot: u64,
    /// Executions accepted and not ended. One loop's may be below 0, as after a change of `loops` what
    /// another has counted ends there; the sum is right.
    pub open: i64,
    /// Attempts that run outside their first slice.
    pub steps_running: u64,
}
