//! Exit statuses, which scripts depend on.

use std::process::ExitCode;

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

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        match exit {
            Exit::Ok => ExitCode::SUCCESS,
            Exit::Failed => ExitCode::from(1),
            Exit::Usage => ExitCode::from(2),
            Exit::Unreachable => ExitCode::from(3),
            Exit::Refused => ExitCode::from(4),
            Exit::System => ExitCode::from(5),
            Exit::StillRunning => ExitCode::from(6),
            Exit::Other(code) => code,
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
}

impl Trouble {
    /// Exit status 2.
    pub fn usage(message: impl ToString) -> Trouble {
        Trouble {
            exit: Exit::Usage,
            message: message.to_string(),
        }
    }

    /// Exit status 5.
    pub fn system(message: impl ToString) -> Trouble {
        Trouble {
            exit: Exit::System,
            message: message.to_string(),
        }
    }
}

/// Exit status 5, with the whole chain of reasons.
impl From<anyhow::Error> for Trouble {
    fn from(e: anyhow::Error) -> Trouble {
        Trouble::system(format!("{e:#}"))
    }
}
