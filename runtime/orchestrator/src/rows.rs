//! The orchestrator's own rows as bytes: a version byte, then a compact encoding.
//!
//! Events and checkpoints are the interpreter's (`interpreter/codec.rs`); these are
//! the rows around them.

use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use stepwell_flow::program::{Mode, TaskGrants};
use stepwell_types::{Data, Digest, ExecutionId, Failure, Grants, Timestamp};

use crate::Error;
use crate::suspects::Deaths;

/// The version of every row kind in this file.
const VERSION: u8 = 13;

/// What lists and `describe` show of an execution.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SummaryRow {
    /// The flow's name.
    pub flow: Arc<str>,
    /// Its version.
    pub version: u32,
    /// The execution's name; `None`: its id.
    pub name: Option<Arc<str>>,
    /// 0 running, 1 succeeded, 2 failed, 3 timed out, 4 aborted.
    pub status: u8,
    /// When it was accepted.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Output of a success.
    pub output: Option<Kept>,
    /// Error and cause of any other end.
    pub failure: Option<Failure>,
    /// The state whose failure that was.
    pub failed_in: Option<Arc<str>>,
    /// Entries into states.
    pub transitions: u64,
    /// Fuel.
    pub fuel: u64,
    /// Why the engine refuses to go on with it.
    pub parked: Option<Failure>,
    /// Redrives.
    pub redrives: u32,
    /// When the last of them was.
    pub redriven: Option<Timestamp>,
    /// Who started it, if an execution did.
    pub parent: Option<ExecutionId>,
    /// An express execution.
    pub express: bool,
    /// To read it back from its log may take long.
    pub heavy: bool,
}

/// A signal that came under a key of its sender's.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct SignalRow {
    /// Of its name and data.
    pub content: Digest,
}

/// What a child of a distributed Map ended with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MapResultRow {
    /// It did not succeed.
    pub failed: bool,
    /// What is told of it.
    pub record: Kept,
}

/// A payload in a row, or where it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Kept {
    /// The text itself.
    Inline(Data),
    /// A blob row.
    Blob(Digest),
}

/// Who has an execution name, and with which input.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct NameRow {
    /// Who.
    pub execution: ExecutionId,
    /// Digest of the input's text.
    pub input: Digest,
}

/// The steps of one shard that were on a processor when the process died.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspectsRow {
    /// Execution, entry, attempt, and at how many deaths.
    pub steps: Vec<(ExecutionId, u64, u32, Deaths)>,
}

/// A resume point: all events before `seq` are in the state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckpointRow {
    /// Number of the first event that is not in the state.
    pub seq: u64,
    /// `interpreter::codec`'s bytes.
    pub state: Vec<u8>,
    /// Fuel of the attempts before it.
    pub fuel: u64,
    /// Time of the newest event before it.
    pub last_at: Timestamp,
    /// Journals of the attempts that run.
    pub journals: Vec<JournalRow>,
}

/// Where the journal of an attempt that runs begins: it is not repeated in a checkpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JournalRow {
    /// The state entry.
    pub entry: u64,
    /// The attempt.
    pub attempt: u32,
    /// Number of the first record of the log row in which it begins.
    pub from: u64,
}

/// A published flow version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FlowRow {
    /// When.
    pub published: Timestamp,
    /// The text as it came.
    pub definition: Arc<str>,
    /// Module names as written and what they resolved to.
    pub modules: Vec<(Arc<str>, Digest)>,
    /// How its executions are kept.
    pub mode: Mode,
    /// What its `${NAME}` were filled in with.
    pub substitutions: Vec<(Arc<str>, Arc<str>)>,
    /// Resources that mean others here, and which.
    pub resources: Vec<(Arc<str>, Arc<str>)>,
    /// What its Tasks may reach, as manifests said when it was published.
    pub grants: TaskGrants,
}

/// A module's versions, oldest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ModuleRow {
    /// Never empty.
    pub versions: Vec<ModuleVersion>,
}

/// One uploaded version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModuleVersion {
    /// Of the `.wasm`.
    pub digest: Digest,
    /// When.
    pub uploaded: Timestamp,
    /// Bytes of the `.wasm`.
    pub wasm_bytes: u64,
    /// Bytes of the artifact.
    pub artifact_bytes: u64,
    /// Milliseconds to compile.
    pub compile_ms: u64,
    /// Imported interfaces.
    pub imports: Vec<String>,
    /// Exported interfaces and functions.
    pub exports: Vec<String>,
    /// What it may reach.
    pub grants: Arc<Grants>,
}

/// A flow's HTTP endpoints: method, path, wait.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TriggerRow {
    /// In the order of the publish.
    pub endpoints: Vec<(Arc<str>, Arc<str>, bool)>,
}

/// Usage of one flow and day, as one loop counted it since the day began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// Executions accepted.
    pub started: u64,
    /// Entries into states.
    pub transitions: u64,
    /// Attempts ended.
    pub attempts: u64,
    /// Fuel.
    pub fuel: u64,
    /// Microseconds of steps.
    pub step_us: u64,
    /// Payload bytes of steps.
    pub bytes: u64,
}

/// The bytes of a row.
pub fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    // Into memory, of plain types: the encoder has no way to fail.
    let mut bytes = vec![VERSION];
    if let Ok(body) = postcard::to_allocvec(row) {
        bytes.extend_from_slice(&body);
    }
    bytes
}

/// The row of some bytes.
/// # Errors
/// `RUN0012` for damaged bytes or a newer version.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    match bytes.split_first() {
        Some((&VERSION, body)) => postcard::from_bytes(body)
            .map_err(|e| Error::Store(format!("a stored row is damaged: {e}"))),
        Some((v, _)) => Err(Error::Store(format!(
            "a stored row has version {v}, this release knows {VERSION}"
        ))),
        None => Err(Error::Store("a stored row is empty".into())),
    }
}
