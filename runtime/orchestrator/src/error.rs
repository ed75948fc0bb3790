//! What the orchestrator refuses, and why.

use stepwell_flow::Diagnostic;
use stepwell_interpreter::SignalsFull;
use stepwell_types::{ExecutionId, Failure};

/// A refusal or a failure of the runtime itself. A step's failure is data, not this.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No such execution.
    #[error("RUN0001: there is no execution {0}; `stepwell list` shows those that there are")]
    NoExecution(String),
    /// No such flow or version, and what there is instead.
    #[error("RUN0002: there is no flow {0}")]
    NoFlow(String),
    /// No such module or version, and what there is instead.
    #[error("RUN0003: there is no module {0}")]
    NoModule(String),
    /// The name is taken by an execution with another input.
    #[error(
        "RUN0004: execution name {name} of flow {flow} is taken by {existing}, which had another input (of an endpoint: another query, body or header of your own); send the same again, or choose another name"
    )]
    NameTaken {
        /// The flow's name.
        flow: String,
        /// The execution's name.
        name: String,
        /// Who has it.
        existing: ExecutionId,
    },
    /// Too much work is in memory already.
    #[error("RUN0005: the server is busy: {reason}; try again in {retry_after_s} s")]
    Busy {
        /// Which limit was met.
        reason: &'static str,
        /// Seconds after which another try makes sense.
        retry_after_s: u32,
    },
    /// The disk is almost full.
    #[error(
        "RUN0006: the data directory has {free_mib} MiB left, below the floor of {floor_mib} MiB; new work is refused until there is room"
    )]
    DiskFull {
        /// What is left.
        free_mib: u64,
        /// What admission wants left.
        floor_mib: u64,
    },
    /// The server is stopping.
    #[error("RUN0007: the server is stopping; try again when it is back")]
    Stopping,
    /// The definition has errors.
    #[error("RUN0008: the flow is not valid: {} problem(s)", errors(.0))]
    BadFlow(Vec<Diagnostic>),
    /// A substitution or a binding beside a definition cannot be used.
    #[error("RUN0021: {0}")]
    BadFilling(String),
    /// The token was never handed out, or belongs to an older attempt.
    #[error("RUN0009: the task token is not valid")]
    BadToken,
    /// The task that the token names has ended otherwise.
    #[error(
        "RUN0010: the task has already ended; this answer came too late or differs from the first"
    )]
    TaskOver,
    /// The execution has ended.
    #[error("RUN0011: execution {0} has already ended; `stepwell describe {0}` shows how")]
    Ended(ExecutionId),
    /// No further signal fits.
    #[error(
        "RUN0030: execution {id} takes no signal now: {why}; send it again when some were waited for"
    )]
    SignalsFull {
        /// Which.
        id: ExecutionId,
        /// Which bound was met.
        why: SignalsFull,
    },
    /// The sender's key was used for another signal.
    #[error(
        "RUN0031: another signal came to execution {0} under this key; send the same again, or choose another key"
    )]
    SignalKeyTaken(ExecutionId),
    /// An express execution.
    #[error(
        "RUN0032: execution {0} is an express one and takes no signals; publish its flow as a standard one"
    )]
    NoSignals(ExecutionId),
    /// The store failed; what was asked may or may not have happened.
    #[error("RUN0012: the store failed: {0}")]
    Store(String),
    /// The module is used by flows.
    #[error("RUN0013: module {name} is used by {}; a flow version keeps its modules until the flow is deleted", .used_by.join(", "))]
    ModuleInUse {
        /// Which module.
        name: String,
        /// `flow@version` each.
        used_by: Vec<String>,
    },
    /// The flow is in use.
    #[error("RUN0029: flow {name} is used by {by}, so it is not deleted")]
    FlowInUse {
        /// Which flow.
        name: String,
        /// The first that uses it.
        by: String,
    },
    /// A name is empty, too long or has characters outside `[A-Za-z0-9._-]`.
    #[error(
        "RUN0014: {what} {name:?} is not a valid name: 1 to 128 of A-Z a-z 0-9 . _ -, beginning with a letter or digit"
    )]
    BadName {
        /// What is named.
        what: &'static str,
        /// The name, cut.
        name: String,
    },
    /// Two flows want one endpoint, or a flow wants too many.
    #[error("RUN0015: trigger {method} {path}: {reason}")]
    BadTrigger {
        /// Its method.
        method: String,
        /// Its path.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The module was refused.
    #[error("{code}: {message}")]
    BadModule {
        /// `BOX####`.
        code: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
    /// The execution is parked.
    #[error(
        "RUN0017: execution {0} is parked: the engine refuses to go on with it; see its description, then cancel it"
    )]
    Parked(ExecutionId),
    /// The execution cannot be redriven.
    #[error("RUN0018: no redrive of {id}: {reason}")]
    NotRedrivable {
        /// Which.
        id: ExecutionId,
        /// What stands in the way.
        reason: String,
    },
    /// The execution can be redriven, but not so.
    #[error("RUN0019: no such redrive of {id}: {reason}")]
    BadRedrive {
        /// Which.
        id: ExecutionId,
        /// What does not fit, and what would.
        reason: String,
    },
    /// An express execution of which no history is kept.
    #[error(
        "RUN0020: execution {0} is an express one, and no history of it is kept; publish its flow with `--history all` for that of later ones"
    )]
    NoHistory(ExecutionId),
    /// An express execution that the engine cannot go on with; nothing of it is stored.
    #[error("RUN0023: express execution {id} came to no end: {}", .why.cause)]
    Broken {
        /// Which.
        id: ExecutionId,
        /// What went wrong.
        why: Failure,
    },
    /// This release cannot walk an execution's log to its end.
    #[error(
        "RUN0024: the history of execution {id} cannot be told past event {event}: {why}; try the release that ran it"
    )]
    HistoryEnds {
        /// Which.
        id: ExecutionId,
        /// The last event that can be told.
        event: u64,
        /// What went wrong.
        why: String,
    },
    /// The first turn of an execution took too long.
    #[error(
        "RUN0022: the flow's expressions took too long on this input; execution {0} was not started"
    )]
    TurnStuck(ExecutionId),
    /// A manifest says what it cannot mean.
    #[error("RUN0026: the manifest of grants is wrong: {0}")]
    BadGrants(String),
    /// A definition names what its manifest does not grant.
    #[error("RUN0043: the flow's own manifest does not grant what the flow names: {}", .0.join("; "))]
    Ungranted(Vec<String>),
    /// A new version would reach further than the last one.
    #[error(
        "RUN0027: {what} {name} would reach further than version {version}: {}; say so again with `--confirm-grants` (`confirm_grants=true`)", .beyond.join(", ")
    )]
    WiderGrants {
        /// `module` or `flow`.
        what: &'static str,
        /// Its name.
        name: String,
        /// The newest version.
        version: u32,
        /// What is new, a line each.
        beyond: Vec<String>,
    },
    /// No such secret.
    #[error("RUN0028: there is no secret named {0}")]
    NoSecret(String),
    /// A module's name that namespaces have a meaning for.
    #[error("RUN0041: no module may be called `shared`: namespaces that modules share are")]
    SharedModule,
    /// No such namespace, or no such key in it.
    #[error("RUN0040: there is no {0}")]
    NotKept(String),
    /// The vault refused or failed.
    #[error("{code}: {message}")]
    Vault {
        /// `HOST####`.
        code: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
    /// There is no such attempt of a module's step.
    #[error(
        "RUN0025: execution {id} has no such attempt of a module's step in state {state:?}; {}", attempts(.others)
    )]
    NoAttempt {
        /// Which execution.
        id: ExecutionId,
        /// The state's name.
        state: String,
        /// Its states that ran steps of modules.
        others: Vec<String>,
    },
    /// The payload is too large.
    #[error("RUN0016: {what} has {bytes} bytes, more than the {max} allowed")]
    TooLarge {
        /// Which payload.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// The bound.
        max: u64,
    },
}

/// How many of them forbid the flow.
fn errors(found: &[Diagnostic]) -> usize {
    found
        .iter()
        .filter(|d| d.severity == stepwell_flow::Severity::Error)
        .count()
}

fn attempts(others: &[String]) -> String {
    if others.is_empty() {
        return "no module's step of it was recorded".to_owned();
    }
    format!("states with such steps: {}", others.join(", "))
}

impl Error {
    /// The stable code; `docs/errors/<code>.md` explains it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Error::NoExecution(_) => "RUN0001",
            Error::NoFlow(_) => "RUN0002",
            Error::NoModule(_) => "RUN0003",
            Error::NameTaken { .. } => "RUN0004",
            Error::Busy { .. } => "RUN0005",
            Error::DiskFull { .. } => "RUN0006",
            Error::Stopping => "RUN0007",
            Error::BadFlow(_) => "RUN0008",
            Error::BadFilling(_) => "RUN0021",
            Error::BadToken => "RUN0009",
            Error::TaskOver => "RUN0010",
            Error::Ended(_) => "RUN0011",
            Error::Store(_) => "RUN0012",
            Error::ModuleInUse { .. } => "RUN0013",
            Error::FlowInUse { .. } => "RUN0029",
            Error::BadName { .. } => "RUN0014",
            Error::BadTrigger { .. } => "RUN0015",
            Error::BadModule { code, .. } => code,
            Error::TooLarge { .. } => "RUN0016",
            Error::Parked(_) => "RUN0017",
            Error::NotRedrivable { .. } => "RUN0018",
            Error::BadRedrive { .. } => "RUN0019",
            Error::NoHistory(_) => "RUN0020",
            Error::TurnStuck(_) => "RUN0022",
            Error::Broken { .. } => "RUN0023",
            Error::HistoryEnds { .. } => "RUN0024",
            Error::BadGrants(_) => "RUN0026",
            Error::WiderGrants { .. } => "RUN0027",
            Error::NoAttempt { .. } => "RUN0025",
            Error::NoSecret(_) => "RUN0028",
            Error::SignalsFull { .. } => "RUN0030",
            Error::SignalKeyTaken(_) => "RUN0031",
            Error::NoSignals(_) => "RUN0032",
            Error::NotKept(_) => "RUN0040",
            Error::Ungranted(_) => "RUN0043",
            Error::SharedModule => "RUN0041",
            Error::Vault { code, .. } => code,
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn retry(&self) -> bool {
        matches!(
            self,
            Error::Busy { .. } | Error::DiskFull { .. } | Error::Stopping
        )
    }
}

impl From<stepwell_store::Error> for Error {
    fn from(e: stepwell_store::Error) -> Error {
        Error::Store(e.to_string())
    }
}
