//! What the steps of an execution logged, and the programs that they ran elsewhere, read from its log.
//!
//! Refuses to store a line a second time: they lie between the events, and those say which state it was.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use stepwell_interpreter::codec::Logged;
use stepwell_interpreter::{Command, NoHistory, troubled};
use stepwell_types::{EntryId, ExecutionId, LogLevel, Timestamp};

use crate::api::Page;
use crate::bookmarks::Bookmarks;
use crate::driver::read_some;
use crate::history::{Cursor, program_for};
use crate::walk::walk;
use crate::{Error, Orchestrator};

/// Log rows read at a time.
const ROWS: usize = 64;
/// Bytes of text of one page.
const PAGE_BYTES: usize = 4 << 20;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its number among all lines of the execution, from 1.
    pub number: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// The state's name; `None` where the log can no longer be walked.
    pub state: Option<Arc<str>>,
    /// The state entry.
    pub entry: EntryId,
    /// The attempt, from 0.
    pub attempt: u32,
    /// Severity.
    pub level: LogLevel,
    /// The text.
    pub message: String,
}

impl Orchestrator {
    /// A page of lines after number `after`, oldest first, of one state or of all. Those of a step come
    /// when its attempt has ended, those of a program elsewhere while it runs. At most `limit` lines,
    /// and about 4 MiB.
    /// # Errors
    /// `RUN0001`, `RUN0012`; `RUN0020` of an express execution of which nothing is kept; `RUN0024`.
    pub async fn logs(
        &self,
        id: ExecutionId,
        state: Option<Arc<str>>,
        after: u64,
        limit: usize,
    ) -> Result<Page<LogEntry, u64>, Error> {
        let cursor = self.cursor(id)?;
        let shared = self.shared.clone();
        self.reading(move || {
            let known = shared.line_bookmarks.take(&(id, state.clone(), after));
            let mut lines = known.unwrap_or_else(|| Lines::of(cursor));
            let page = lines.page(state.as_deref(), after, limit)?;
            // Whoever follows asks for what comes after it.
            let last = page.items.last().map_or(after, |line| line.number);
            let bytes = lines.bytes();
            shared.line_bookmarks.put((id, state, last), lines, bytes);
            Ok(page)
        })
        .await
    }
}

/// Where pages of lines ended: the execution, whose lines, and the last one that was given.
pub(crate) type LineBookmarks = Bookmarks<(ExecutionId, Option<Arc<str>>, u64), Lines>;

/// A place in an execution's lines.
pub(crate) struct Lines {
    cursor: Cursor,
    /// Whose entry is whose state.
    states: HashMap<EntryId, Arc<str>>,
    /// The events from here on are not walked.
    lost: bool,
    /// Lines so far, all states'.
    number: u64,
    /// Those that were wanted and did not fit.
    ahead: VecDeque<LogEntry>,
}

impl Lines {
    fn of(cursor: Cursor) -> Lines {
        Lines {
            cursor,
            states: HashMap::new(),
            lost: false,
            number: 0,
            ahead: VecDeque::new(),
        }
    }

    /// Bytes of memory, about.
    fn bytes(&self) -> usize {
        let ahead: usize = self.ahead.iter().map(|line| line.message.len() + 64).sum();
        self.cursor.state.memory_bytes() + self.states.len() * 32 + ahead
    }

    fn page(
        &mut self,
        of: Option<&str>,
        after: u64,
        limit: usize,
    ) -> Result<Page<LogEntry, u64>, Error> {
        let mut bytes = 0;
        let mut page = Page {
            items: Vec::<LogEntry>::new(),
            next: None,
        };
        loop {
            while let Some(line) = self.ahead.pop_front() {
                if page.items.len() >= limit || bytes >= PAGE_BYTES {
                    self.ahead.push_front(line);
                    page.next = page.items.last().map(|last| last.number);
                    return Ok(page);
                }
                bytes += line.message.len();
                page.items.push(line);
            }
            let cursor = &mut self.cursor;
            let records = read_some(&*cursor.reader, cursor.id, cursor.read, ROWS)?;
            if records.is_empty() {
                return Ok(page);
            }
            cursor.read += records.len() as u64;
            for logged in records {
                let Logged::Logs {
                    at,
                    entry,
                    attempt,
                    lines,
                } = logged
                else {
                    self.pass(&logged);
                    continue;
                };
                let state = self.states.get(&entry);
                for line in lines {
                    self.number += 1;
                    let other = of.is_some_and(|of| state.is_none_or(|state| **state != *of));
                    if self.number <= after || other {
                        continue;
                    }
                    self.ahead.push_back(LogEntry {
                        number: self.number,
                        at,
                        state: state.cloned(),
                        entry,
                        attempt,
                        level: line.level,
                        message: line.message,
                    });
                }
            }
        }
    }

    /// Walks an event, to learn which state the next lines are of.
    fn pass(&mut self, logged: &Logged) {
        let (at, event, whole) = match logged {
            Logged::Event(record) => (record.at, &record.event, true),
            Logged::Troubled { at, event } => (*at, event, false),
            _ => return,
        };
        if self.lost {
            return;
        }
        let cursor = &mut self.cursor;
        let (programs, state) = (&*cursor.programs, &mut cursor.state);
        let Ok(program) = program_for(programs, &mut cursor.program, state, event) else {
            // A version that cannot be compiled any more: what was logged is there all the same.
            self.lost = true;
            return;
        };
        let (mut commands, seen) = (Vec::new(), &mut NoHistory);
        match whole {
            true => {
                let input = (event, at);
                self.lost |= walk(programs, program, state, input, seen, &mut commands).is_err();
            }
            false => troubled(state, event, at, seen, &mut commands),
        }
        for command in commands {
            if let Command::Run(step) = command {
                self.states.insert(step.entry, step.state);
            }
        }
    }
}
