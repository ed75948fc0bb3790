//! Exit statuses, which scripts depend on.

use std::fmt::Display;
use std::process::ExitCode;

use serde_json::{Value, json};

/// The configuration cannot be one.
const CONFIGURATION: &str = "CONF0001";

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Exit {
    /// 0: all well.
    Ok,
    /// 1: the execution, or the file under `validate`, is a failure.
    Failed,
    /// 2: the command line or the flow is wrong.
    Usage,
    /// 3: the server cannot be reached.
    Unreachable,
    /// 4: the server refused.
    Refused,
    /// 5: this machine failed: a file, the data directory, a socket.
    System,
    /// 6: the execution still runs when the patience of `--wait SECONDS` ends.
    StillRunning,
    /// What the compiling child says.
    Other(ExitCode),
}

impl Exit {
    /// The number; none for what the compiling child says.
    pub fn number(self) -> Option<u8> {
        Some(match self {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::Refused => 4,
            Exit::System => 5,
            Exit::StillRunning => 6,
            Exit::Other(_) => return None,
        })
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        match exit {
            Exit::Other(code) => code,
            known => known.number().map_or(ExitCode::FAILURE, ExitCode::from),
        }
    }
}

/// A command that did not come to its end.
#[derive(Debug)]
pub struct Trouble {
    /// The exit status.
    pub exit: Exit,
    /// For standard error; may be empty.
    pub message: String,
    /// The server's own words when it refused, or the diagnostics of a definition.
    pub problem: Option<Value>,
}

impl Trouble {
    /// Trouble of our own finding.
    pub fn new(exit: Exit, message: impl ToString) -> Trouble {
        Trouble {
            exit,
            message: message.to_string(),
            problem: None,
        }
    }

    /// Exit status 2.
    pub fn usage(message: impl ToString) -> Trouble {
        Trouble::new(Exit::Usage, message)
    }

    /// Exit status 2: the server's configuration.
    pub fn configuration(message: impl Display) -> Trouble {
        Trouble::usage(format!("{CONFIGURATION}: {message}"))
    }

    /// Exit status 5.
    pub fn system(message: impl ToString) -> Trouble {
        Trouble::new(Exit::System, message)
    }

    /// As `--json` shows it: `{"exit", "message", "problem"?}`.
    pub fn as_json(&self) -> Value {
        let mut shown = json!({ "exit": self.exit.number(), "message": self.message });
        if let Some(problem) = &self.problem {
            shown["problem"] = problem.clone();
        }
        shown
    }
}

/// Exit status 5, with the whole chain of reasons.
impl From<anyhow::Error> for Trouble {
    fn from(e: anyhow::Error) -> Trouble {
        Trouble::system(format!("{e:#}"))
    }
}
