//! What a program writes, as it comes: standard output within a bound, the end of standard
//! error, and its lines into the execution's log.
//!
//! Refuses to log a line twice, also when the output is read again from its beginning.

use bollard::container::LogOutput;
use futures_util::{Stream, StreamExt as _};
use std::time::Duration;
use stepwell_types::{BridgeCall, LogLevel, LogLine};

use super::program::STDERR_BYTES;
use crate::Journal;
use crate::gate::Gate;

/// Most lines of one run in the execution's log.
const LINES_MAX: usize = 1_000;
/// Longest line there, in bytes; longer ones are cut.
const LINE_BYTES_MAX: usize = 1_024;
/// Of a line, how many bytes are searched for secrets before it is cut.
const SEARCHED_BYTES_MAX: usize = 64 << 10;
/// Lines that go into the log together.
const BATCH: usize = 64;
/// How long a line waits for others.
const LINGER: Duration = Duration::from_millis(200);
/// Most bytes of standard error: it lies on the engine's disk.
pub(crate) const STDERR_BYTES_MAX: u64 = 16 << 20;

/// Why output could not be collected.
#[derive(Debug)]
pub(crate) enum Broken {
    /// It is over its bound; this much of it is standard output.
    TooMuch(u64),
    /// The stream broke off.
    Stream(String),
}

/// Standard error's lines on their way into the log.
pub(crate) struct Lines<'a> {
    gate: &'a dyn Gate,
    call: &'a BridgeCall,
    /// Knows what must not be in them.
    journal: &'a Journal,
    /// Lines in the log so far.
    sent: usize,
    /// Lines seen in this reading.
    seen: usize,
    partial: Vec<u8>,
    waiting: Vec<LogLine>,
}

impl<'a> Lines<'a> {
    /// `sent` lines of this attempt are in the log already.
    pub(crate) fn new(journal: &'a Journal, call: &'a BridgeCall, sent: usize) -> Lines<'a> {
        Lines {
            gate: &*journal.asker().gate,
            call,
            journal,
            sent,
            seen: 0,
            partial: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// What comes next is from the beginning.
    pub(crate) fn again(&mut self) {
        self.flush();
        self.seen = 0;
        self.partial.clear();
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let room = SEARCHED_BYTES_MAX.saturating_sub(self.partial.len());
            let (text, whole) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            self.partial.extend(text.iter().take(room));
            if whole {
                self.line();
            }
        }
    }

    /// The last line may lack its end.
    pub(crate) fn finish(&mut self) {
        if !self.partial.is_empty() {
            self.line();
        }
        self.flush();
    }

    fn line(&mut self) {
        self.seen += 1;
        let bytes = std::mem::take(&mut self.partial);
        if self.seen <= self.sent + self.waiting.len() || self.seen > LINES_MAX {
            return;
        }
        let message = match self.seen == LINES_MAX {
            true => "no further lines are kept".to_owned(),
            false => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let mut text = self.journal.hide(text);
                text.truncate(text.floor_char_boundary(LINE_BYTES_MAX));
                text
            }
        };
        self.waiting.push(LogLine {
            level: LogLevel::Warn,
            message,
        });
        if self.waiting.len() >= BATCH {
            self.flush();
        }
    }

    pub(crate) fn flush(&mut self) {
        if !self.waiting.is_empty() {
            self.sent += self.waiting.len();
            self.gate.log(self.call, std::mem::take(&mut self.waiting));
        }
    }
}

/// Reads output from its beginning to its end: all of standard output, and the end of
/// standard error.
/// # Errors
/// More than `stdout_bytes_max` bytes, or far too many on standard error; a broken stream.
pub(crate) async fn collect<E: std::error::Error>(
    mut output: impl Stream<Item = Result<LogOutput, E>> + Unpin,
    stdout_bytes_max: u64,
    lines: &mut Lines<'_>,
) -> Result<(Vec<u8>, Vec<u8>), Broken> {
    let (mut stdout, mut stderr, mut stderr_bytes) = (Vec::new(), Vec::new(), 0);
    lines.again();
    loop {
        let next = match tokio::time::timeout(LINGER, output.next()).await {
            Ok(next) => next,
            Err(_) => {
                lines.flush();
                continue;
            }
        };
        match next {
            None => break,
            Some(Err(e)) => {
                lines.flush();
                return Err(Broken::Stream(e.to_string()));
            }
            Some(Ok(LogOutput::StdErr { message })) => {
                lines.push(&message);
                stderr.extend_from_slice(&message);
                stderr_bytes += message.len() as u64;
                keep_end(&mut stderr, STDERR_BYTES);
            }
            Some(Ok(other)) => stdout.extend_from_slice(&other.into_bytes()),
        }
        if stdout.len() as u64 > stdout_bytes_max || stderr_bytes > STDERR_BYTES_MAX {
            lines.flush();
            return Err(Broken::TooMuch(stdout.len() as u64));
        }
    }
    lines.finish();
    Ok((stdout, stderr))
}

pub(crate) fn keep_end(bytes: &mut Vec<u8>, max: usize) {
    if bytes.len() > max {
        let excess = bytes.len() - max;
        bytes.drain(..excess);
    }
}
