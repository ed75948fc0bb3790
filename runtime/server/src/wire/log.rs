//! Lines that steps, and programs that they ran elsewhere, have logged.

use serde::{Deserialize, Serialize};
use stepwell_orchestrator::api::Page;
use stepwell_orchestrator::logs::LogEntry;
use stepwell_types::LogLevel;
use utoipa::ToSchema;

use super::json::Rfc3339;

/// One line.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// Its number among all lines of the execution, from 1.
    pub number: u64,
    /// When it was recorded, RFC 3339.
    pub at: String,
    /// The state; absent where the execution's log can no longer be walked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The state entry.
    pub entry: u64,
    /// The attempt, from 0.
    pub attempt: u32,
    /// How severe.
    pub level: Level,
    /// The text.
    pub message: String,
}

/// Severity of a line. Standard error of a program elsewhere is `warn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
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

/// One page of lines, oldest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LogPage {
    /// The lines.
    pub lines: Vec<LogLine>,
    /// Pass as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

impl From<Page<LogEntry, u64>> for LogPage {
    fn from(page: Page<LogEntry, u64>) -> LogPage {
        LogPage {
            next: page.next,
            lines: page.items.into_iter().map(LogLine::from).collect(),
        }
    }
}

impl From<LogEntry> for LogLine {
    fn from(line: LogEntry) -> LogLine {
        LogLine {
            number: line.number,
            at: Rfc3339(line.at).to_string(),
            state: line.state.as_deref().map(str::to_owned),
            entry: line.entry.0,
            attempt: line.attempt,
            level: match line.level {
                LogLevel::Trace => Level::Trace,
                LogLevel::Debug => Level::Debug,
                LogLevel::Info => Level::Info,
                LogLevel::Warn => Level::Warn,
                LogLevel::Error => Level::Error,
            },
            message: line.message,
        }
    }
}
