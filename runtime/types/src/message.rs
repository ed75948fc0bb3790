//! What one door hands to the next: a start, a step to run, its outcome.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::effects::Effects;
use crate::items::{ItemRead, ResultWrite};
use crate::journal::{AttemptId, Recorded};
use crate::{ChildMode, Data, Digest, EntryId, ExecutionId, Grants, TaskToken, Timestamp};

/// A wish to start one execution, from `trigger` to the orchestrator.
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// The flow's name.
    pub flow: Arc<str>,
    /// A published version, or the newest.
    pub version: Option<u32>,
    /// The execution's name: a second start of the same name is the same
    /// execution. `None`: named by its id.
    pub name: Option<Arc<str>>,
    /// Valid JSON, at most [`crate::limits::PAYLOAD_BYTES_MAX`].
    pub input: Data,
}

/// A failure as data: what a step, a state or an execution failed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Error name that `Retry` and `Catch` match, e.g. `States.Timeout`.
    pub error: Arc<str>,
    /// Human-readable text, often JSON.
    pub cause: Arc<str>,
}

impl Failure {
    /// A failure with this name and cause.
    pub fn new(error: impl Into<Arc<str>>, cause: impl Into<Arc<str>>) -> Failure {
        Failure {
            error: error.into(),
            cause: cause.into(),
        }
    }
}

/// What a Task's resource was resolved to when its flow was published.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StepTarget {
    /// A module's exported step function.
    Wasm {
        /// The name the flow used, for messages.
        name: Arc<str>,
        /// The component that runs, whatever the name means later.
        digest: Digest,
        /// The exported function; `None`: the generic step world's `run`.
        function: Option<Arc<str>>,
    },
    /// The bridge `http:request`: the input is a [`HttpCall`].
    Http,
    /// No step runs: an outside program ends the task with its token.
    Callback,
    /// No step runs: a worker polls for tasks of this activity, and ends each with its token.
    Activity {
        /// The activity's name.
        name: Arc<str>,
    },
    /// The task's input names what runs: the interpreter picks it when an attempt
    /// begins. Never reaches a runner.
    Chosen,
    /// No step runs: the orchestrator starts another execution.
    Flow(ChildMode),
    /// A distributed Map wants a page of its items.
    ReadItems(Arc<ItemRead>),
    /// A distributed Map has a file of results to write: the input is what goes in.
    WriteResults(Arc<ResultWrite>),
    /// No step runs: the orchestrator collects a distributed Map's results into an array.
    CollectResults,
    /// The bridge `container:run`: the input is a [`crate::ContainerCall`].
    Container,
    /// The bridge `vm:run`: the input is a [`crate::MachineCall`].
    Machine,
    /// No step runs: the orchestrator sends another execution a signal.
    SendSignal,
    /// No step runs: the execution waits for a signal.
    WaitSignal,
}

impl StepTarget {
    /// Whether running it touches the outside world, so that it must wait
    /// until what led to it is durable (output commit).
    #[must_use]
    pub fn leaves(&self) -> bool {
        !matches!(self, StepTarget::Wasm { .. })
    }

    /// Whether nothing runs at all: executions speak to one another.
    #[must_use]
    pub fn is_between(&self) -> bool {
        matches!(
            self,
            StepTarget::Flow(_) | StepTarget::SendSignal | StepTarget::WaitSignal
        )
    }

    /// Whether nothing runs here: an outside program alone ends the task.
    #[must_use]
    pub fn is_outside(&self) -> bool {
        matches!(self, StepTarget::Callback | StepTarget::Activity { .. })
    }
}

/// One attempt to run, from the orchestrator to the `StepRunner`.
#[derive(Debug, Clone)]
pub struct StepRequest {
    /// The execution.
    pub execution: ExecutionId,
    /// The execution's name.
    pub execution_name: Arc<str>,
    /// The flow's name.
    pub flow: Arc<str>,
    /// The state's name.
    pub state: Arc<str>,
    /// The state entry.
    pub entry: EntryId,
    /// From 0.
    pub attempt: u32,
    /// What runs.
    pub target: StepTarget,
    /// The effective input, valid JSON.
    pub input: Data,
    /// Wall time at which the attempt is abandoned; [`Timestamp::MAX`]: never. `None`: the runner's
    /// own limit holds.
    pub deadline: Option<Timestamp>,
    /// Present for `.waitForTaskToken`.
    pub token: Option<TaskToken>,
    /// Seed of the attempt's randomness, drawn from the execution's.
    pub seed: u64,
    /// What it may reach: of a module's step the module's manifest, of any other the flow's.
    /// `None`: there is no manifest.
    pub grants: Option<Arc<Grants>>,
    /// What it recorded before a crash.
    pub recorded: Option<Arc<Recorded>>,
    /// When its state was entered, if an earlier process did that: it goes before what came since.
    pub entered: Option<Timestamp>,
}

impl StepRequest {
    /// Names this attempt.
    #[must_use]
    pub fn id(&self) -> AttemptId {
        AttemptId {
            execution: self.execution,
            entry: self.entry,
            attempt: self.attempt,
        }
    }

    /// When the attempt began, if it is over and is only looked at again.
    #[must_use]
    pub fn again(&self) -> Option<Timestamp> {
        self.recorded.as_ref()?.again
    }

    /// The key under which outside systems deduplicate this state entry's
    /// `call`-th call. The same for every attempt, so that a retry is deduplicated too.
    #[must_use]
    pub fn idempotency_key(&self, call: u32) -> String {
        crate::journal::idempotency_key(self.execution, self.entry, call)
    }
}

/// What an attempt used, recorded with its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spent {
    /// wasmtime fuel.
    pub fuel: u64,
    /// Wall time in microseconds.
    pub time_us: u64,
    /// Bytes of input and output as JSON text.
    pub bytes: u64,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub struct StepOutcome {
    /// Valid JSON, or the named failure.
    pub result: Result<Data, Failure>,
    /// What it cost.
    pub spent: Spent,
    /// What the step logged, bounded by the runner.
    pub logs: Vec<LogLine>,
    /// What it wrote; lands if the outcome counts and is none of a failure.
    pub effects: Option<Effects>,
    /// What it saw since its last record, for whoever looks at it again.
    pub notes: Option<Vec<u8>>,
}

/// Severity of a step's log line.
/// Source: `wit/log@1.0.0/log.wit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogLevel {
    /// Finest detail.
    Trace,
    /// Detail for the developer.
    Debug,
    /// Worth knowing.
    Info,
    /// Looks wrong, goes on.
    Warn,
    /// Is wrong.
    Error,
}

/// One line that a step logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Severity.
    pub level: LogLevel,
    /// Text, bounded by the runner.
    pub message: String,
}

/// The input of the Task resource `http:request`.
///
/// JSON names as users of CloudFlow write them, or capitalised as in Step Functions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpCall {
    /// `GET`, `POST`, `PUT`, `PATCH`, `DELETE` or `HEAD`; default `GET`.
    #[serde(default = "get", alias = "Method")]
    pub method: String,
    /// Absolute `http` or `https` URL.
    #[serde(alias = "Url", alias = "URL")]
    pub url: String,
    /// Joined to the query that the URL has, percent-encoded: a text, number or boolean, or a list of them, under each name.
    #[serde(default, alias = "Query")]
    pub query: serde_json::Map<String, serde_json::Value>,
    /// Request headers, a string each.
    #[serde(default, alias = "Headers")]
    pub headers: serde_json::Map<String, serde_json::Value>,
    /// A string is sent raw; anything else as JSON.
    #[serde(default, alias = "Body")]
    pub body: Option<serde_json::Value>,
    /// Milliseconds for the whole call; default 30,000; 1 to 900,000.
    #[serde(default, alias = "TimeoutMs")]
    pub timeout_ms: Option<u64>,
    /// Largest response body in bytes; default 1 MiB; at most the host's own limit.
    #[serde(default, alias = "ResponseBytesMax")]
    pub response_bytes_max: Option<u64>,
    /// A connection of the server's configuration, whose headers go with the call.
    #[serde(default, alias = "Connection")]
    pub connection: Option<String>,
    /// How the call proves who sends it, by a secret that the flow's manifest grants.
    #[serde(default, alias = "Authentication")]
    pub authentication: Option<Authentication>,
}

/// How an HTTP call proves who sends it. `secret` is the name of a secret, never its value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Authentication {
    /// `Authorization: Bearer SECRET`.
    Bearer {
        /// The token.
        secret: Arc<str>,
    },
    /// `Authorization: Basic …`.
    Basic {
        /// The user; none: the secret is `USER:PASSWORD`.
        #[serde(default)]
        user: Option<Arc<str>>,
        /// The password.
        secret: Arc<str>,
    },
    /// A header of this name, an API key's for instance.
    Header {
        /// The header's name.
        name: Arc<str>,
        /// Its value.
        secret: Arc<str>,
    },
    /// A token of OAuth 2, by client credentials (RFC 6749, 4.4).
    OAuth2 {
        /// Where the token is asked for.
        token_url: Arc<str>,
        /// Who asks.
        client_id: Arc<str>,
        /// The client's secret.
        secret: Arc<str>,
        /// What is asked for; words with spaces between them.
        #[serde(default)]
        scope: Option<Arc<str>>,
        /// Whom the token is for, where the server wants to know.
        #[serde(default)]
        audience: Option<Arc<str>>,
        /// Whether id and secret go in the body; by default in a header, by Basic.
        #[serde(default)]
        in_body: bool,
    },
}

fn get() -> String {
    "GET".into()
}
