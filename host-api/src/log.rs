//! `stepwell:log`: a step's lines, bounded.
//!
//! Refuses to print: the lines leave with the attempt's outcome.
//! Source: `wit/log@1.0.0/log.wit`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stepwell_types::{LogLevel, LogLine};

use crate::bindings::stepwell::log::log;
use crate::host::Host;

/// How much one attempt may log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// Most lines.
    pub lines: usize,
    /// Most bytes of text in all lines.
    pub bytes: usize,
}

/// The lines of one attempt. Costs nothing until the first one.
#[derive(Debug)]
pub struct Logs {
    limits: LogLimits,
    buffer: Option<SharedLogs>,
}

/// The lines, as the WASI streams share them.
pub(crate) type SharedLogs = Arc<Mutex<Buffer>>;

/// Lines within limits, and how much was not kept.
#[derive(Debug)]
pub(crate) struct Buffer {
    lines: Vec<LogLine>,
    lines_left: usize,
    bytes_left: usize,
    cut_lines: u64,
    cut_bytes: u64,
}

impl Logs {
    /// No lines yet.
    #[must_use]
    pub fn new(limits: LogLimits) -> Logs {
        Logs {
            limits,
            buffer: None,
        }
    }

    /// Adds one line, or counts what has no room.
    pub fn push(&mut self, level: LogLevel, message: &str) {
        lock(self.shared()).push(level, message);
    }

    /// All lines; the last says what was cut, if anything was.
    #[must_use]
    pub fn take(&mut self) -> Vec<LogLine> {
        match &self.buffer {
            None => Vec::new(),
            Some(buffer) => lock(buffer).take(),
        }
    }

    pub(crate) fn shared(&mut self) -> &SharedLogs {
        let limits = self.limits;
        self.buffer.get_or_insert_with(|| {
            Arc::new(Mutex::new(Buffer {
                lines: Vec::new(),
                lines_left: limits.lines,
                bytes_left: limits.bytes,
                cut_lines: 0,
                cut_bytes: 0,
            }))
        })
    }
}

/// Takes the lock: a panic while it is held leaves whole lines behind.
pub(crate) fn lock(buffer: &SharedLogs) -> MutexGuard<'_, Buffer> {
    buffer.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Buffer {
    pub(crate) fn push(&mut self, level: LogLevel, message: &str) {
        let room = if self.lines_left == 0 {
            0
        } else {
            message.floor_char_boundary(self.bytes_left)
        };
        let (kept, cut) = message.split_at(room);
        self.cut_bytes += cut.len() as u64;
        if self.lines_left == 0 || (kept.is_empty() && !message.is_empty()) {
            self.cut_lines += 1;
            return;
        }
        self.lines_left -= 1;
        self.bytes_left -= kept.len();
        self.lines.push(LogLine {
            level,
            message: kept.to_owned(),
        });
    }

    fn take(&mut self) -> Vec<LogLine> {
        let mut lines = std::mem::take(&mut self.lines);
        if self.cut_lines > 0 || self.cut_bytes > 0 {
            lines.push(LogLine {
                level: LogLevel::Warn,
                message: format!(
                    "the log of this attempt was cut: {} more lines, {} bytes not kept",
                    self.cut_lines, self.cut_bytes
                ),
            });
        }
        lines
    }
}

impl log::Host for Host {
    fn log(&mut self, level: log::Level, message: String) {
        let level = match level {
            log::Level::Trace => LogLevel::Trace,
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        self.logs.push(level, &message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: usize, bytes: usize, pushed: &[&str], kept: &[&str]) {
        let mut logs = Logs::new(LogLimits { lines, bytes });
        for message in pushed {
            logs.push(LogLevel::Info, message);
        }
        let messages: Vec<String> = logs.take().into_iter().map(|l| l.message).collect();
        assert_eq!(messages, kept, "{lines} lines, {bytes} bytes of {pushed:?}");
    }

    #[test]
    fn lines_stay_within_limits_and_say_when_cut() {
        check(3, 100, &[], &[]);
        check(3, 100, &["a", ""], &["a", ""]);
        check(
            1,
            100,
            &["a", "bc"],
            &[
                "a",
                "the log of this attempt was cut: 1 more lines, 2 bytes not kept",
            ],
        );
        // Cut between characters, never within one.
        check(
            3,
            3,
            &["aüü", "x"],
            &[
                "aü",
                "the log of this attempt was cut: 1 more lines, 3 bytes not kept",
            ],
        );
    }
}
