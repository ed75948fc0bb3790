//! What the Task resources `container:run` and `vm:run` take as their input.
//!
//! Refuses to judge beyond form: what is granted is the bridge's.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The input of the Task resource `container:run`.
///
/// JSON names in lower case, or capitalised as in Step Functions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerCall {
    /// The image, spelt as the server's configuration grants it.
    #[serde(alias = "Image")]
    pub image: String,
    /// Arguments in place of the image's own; none: the image's.
    #[serde(default, alias = "Command")]
    pub command: Option<Vec<String>>,
    /// The program in place of the image's own.
    #[serde(default, alias = "Entrypoint")]
    pub entrypoint: Option<Vec<String>>,
    /// Who runs it, `USER[:GROUP]`; none: the image's.
    #[serde(default, alias = "User")]
    pub user: Option<String>,
    /// A network that the server's configuration grants; none: no network.
    #[serde(default, alias = "Network")]
    pub network: Option<String>,
    /// Memory in MiB, swap included; default 256.
    #[serde(default, alias = "MemoryMib")]
    pub memory_mib: Option<u64>,
    /// Processors; default 1.
    #[serde(default, alias = "Cpus")]
    pub cpus: Option<f64>,
    /// Processes and threads; default 128.
    #[serde(default, alias = "Pids")]
    pub pids: Option<u64>,
    /// When the image is fetched; default never.
    #[serde(default, alias = "Pull")]
    pub pull: Pull,
    /// What it has in common with a run anywhere else.
    #[serde(flatten)]
    pub program: ProgramCall,
}

/// What every call to run a program elsewhere says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProgramCall {
    /// Variables: a string, number or truth value each.
    #[serde(default, alias = "Environment")]
    pub environment: Map<String, Value>,
    /// An absolute path there; none: the image's, or on a machine a directory of its own that goes with it.
    #[serde(default, alias = "WorkingDirectory")]
    pub working_directory: Option<String>,
    /// Standard input: a string goes raw, anything else as JSON; none: it is empty.
    #[serde(default, alias = "Input")]
    pub input: Option<Value>,
    /// Files that are there before it starts.
    #[serde(default, alias = "Files")]
    pub files: Vec<FileIn>,
    /// Directories that are made before it starts, whose files become objects after it has ended.
    #[serde(default, alias = "Outputs")]
    pub outputs: Vec<FilesOut>,
    /// What standard output holds; default text.
    #[serde(default, alias = "Output")]
    pub output: OutputForm,
    /// The exit codes that are no failure; default 0 alone.
    #[serde(default, alias = "ExitCodes")]
    pub exit_codes: Option<Vec<i64>>,
    /// Milliseconds from its start until it is killed; default 900,000.
    #[serde(default, alias = "TimeoutMs")]
    pub timeout_ms: Option<u64>,
    /// Largest standard output in bytes; default 1 MiB.
    #[serde(default, alias = "StdoutBytesMax")]
    pub stdout_bytes_max: Option<u64>,
}

/// What a program's standard output holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputForm {
    /// Text, or base 64 where it is none.
    #[default]
    Text,
    /// One JSON value; anything else fails.
    Json,
}

/// When a container's image is fetched from its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pull {
    /// It must be on the engine's machine.
    #[default]
    Never,
    /// If it is not there.
    Missing,
    /// Before every run.
    Always,
}

/// A file for a program that runs elsewhere: an object's bytes, or content given here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileIn {
    /// Where the program finds it; absolute, or on a machine in its own directory.
    #[serde(alias = "Path")]
    pub path: String,
    /// The object's bucket.
    #[serde(default, alias = "Bucket")]
    pub bucket: Option<String>,
    /// The object's key.
    #[serde(default, alias = "Key")]
    pub key: Option<String>,
    /// In place of an object: a string goes raw, anything else as JSON.
    #[serde(default, alias = "Content")]
    pub content: Option<Value>,
}

/// A directory whose files become objects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesOut {
    /// Where the program leaves them; absolute, or on a machine in its own directory.
    #[serde(alias = "Path")]
    pub path: String,
    /// The objects' bucket.
    #[serde(alias = "Bucket")]
    pub bucket: String,
    /// Goes before each file's path within the directory.
    #[serde(default, alias = "Prefix")]
    pub prefix: String,
}

/// The input of the Task resource `vm:run`, its names written likewise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineCall {
    /// A machine of the server's configuration.
    #[serde(alias = "Machine")]
    pub machine: String,
    /// The program and its arguments. No shell reads them.
    #[serde(alias = "Command")]
    pub command: Vec<String>,
    /// What it has in common with a run anywhere else.
    #[serde(flatten)]
    pub program: ProgramCall,
}
