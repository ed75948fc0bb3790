//! History and progress of an execution, rendered from its log when somebody reads.
//!
//! Refuses to store a second copy: the interpreter walks the recorded events again
//! and tells what happens.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::Stream;
use stepwell_flow::Program;
use stepwell_interpreter::codec::{Logged, Record};
use stepwell_interpreter::history::HistoryEvent;
use stepwell_interpreter::{Command, Event, Observer, State, troubled};
use stepwell_store::{Key, Range, Reader};
use stepwell_types::{Data, EntryId, ExecutionId, Timestamp};
use tokio::sync::Semaphore;

use crate::api::{Active, Execution, HistoryLine, KeptSignal, OpenTask, Page, Status};
use crate::bookmarks::Bookmarks;
use crate::driver::{Recovered, TURN_KILLS, moved, read_counted, read_state};
use crate::ports::Programs;
use crate::rows::{self, SummaryRow};
use crate::trace::{self, Trace, Wanted as WantedAttempt};
use crate::walk::walk;
use crate::watch::Watch;
use crate::{Error, Orchestrator};

/// Lines and bytes of one page or of one chunk of a tail.
const CHUNK_LINES: usize = 256;
const CHUNK_BYTES: usize = 4 << 20;
/// Log rows read at a time.
const ROWS: usize = 64;
/// States that `describe` tells of.
const STATES_SHOWN: usize = 100;
/// Kept signals that `describe` tells of.
const SIGNALS_SHOWN: usize = 100;
/// Histories and lists that are read at the same time; and descriptions, which do not wait for those.
pub(crate) const READERS_MAX: usize = 8;

/// Where pages of histories ended, by the execution and its last event that was given: the cursor, and
/// lines that it had walked beyond.
pub(crate) type Histories = Bookmarks<(ExecutionId, u64), (Cursor, VecDeque<HistoryLine>)>;

/// Reads an execution's history from some point on, as far as it is durable.
pub(crate) struct Cursor {
    pub reader: Arc<dyn Reader>,
    pub programs: Arc<dyn Programs>,
    /// What the next record is for; `None` before the first.
    pub program: Option<Arc<Program>>,
    pub id: ExecutionId,
    pub state: State,
    /// Records read so far, and those of them that are not walked yet.
    pub read: u64,
    pub pending: VecDeque<Logged>,
    /// Bytes of the large payloads that were read with those.
    pending_bytes: usize,
    /// Why it cannot go on.
    pub fault: Option<Error>,
}

impl Cursor {
    /// At the beginning of an execution.
    pub fn new(reader: Arc<dyn Reader>, programs: Arc<dyn Programs>, id: ExecutionId) -> Cursor {
        Cursor {
            reader,
            programs,
            program: None,
            id,
            state: State::new(id),
            read: 0,
            pending: VecDeque::new(),
            pending_bytes: 0,
            fault: None,
        }
    }
}

/// How far a walk came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Walked {
    /// To the end of what is durable.
    Whole,
    /// To its bound; the cursor can go on.
    Paused,
    /// To its bound in the middle of a record: only a fresh cursor can go on.
    Cut,
}

/// Keeps the wanted events of a walk, up to a bound.
struct Wanted<'a> {
    after: u64,
    lines: &'a mut VecDeque<HistoryLine>,
    bytes_left: usize,
    cut: bool,
}

impl Observer for Wanted<'_> {
    fn wants(&self) -> bool {
        !self.cut
    }

    fn event(&mut self, at: Timestamp, event: HistoryEvent) {
        if event.id <= self.after || self.cut {
            return;
        }
        if self.bytes_left == 0 {
            self.cut = true;
            return;
        }
        let json = Data::from_value(event.render_placed(at));
        // Printed once, here; the tree is not kept.
        let json = Data::from_valid_text(json.text().to_owned());
        self.bytes_left = self.bytes_left.saturating_sub(json.len_bytes());
        self.lines.push_back(HistoryLine {
            id: event.id,
            kind: event.kind.type_name(),
            json,
        });
    }
}

impl Cursor {
    /// Walks what is durable beyond the last call; about `limit` lines after event
    /// `after` are kept. Stops early when nobody wants them any more.
    pub fn advance(
        &mut self,
        after: u64,
        limit: usize,
        gone: &AtomicBool,
        lines: &mut VecDeque<HistoryLine>,
    ) -> Result<Walked, Error> {
        let mut commands = Vec::new();
        let mut bytes_left = CHUNK_BYTES;
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        loop {
            if self.pending.is_empty() {
                if bytes_left == 0 && self.has_more()? {
                    return Ok(Walked::Paused);
                }
                let (records, bytes) = read_counted(&*self.reader, self.id, self.read, ROWS)?;
                (self.pending, self.pending_bytes) = (records.into(), bytes);
                self.read += self.pending.len() as u64;
                if self.pending.is_empty() {
                    return Ok(Walked::Whole);
                }
            }
            while let Some(logged) = self.pending.pop_front() {
                if lines.len() >= limit || bytes_left == 0 || gone.load(Ordering::Relaxed) {
                    self.pending.push_front(logged);
                    return Ok(Walked::Paused);
                }
                let (at, event, whole) = match &logged {
                    Logged::Event(record) => (record.at, &record.event, true),
                    Logged::Troubled { at, event } => (*at, event, false),
                    _ => continue,
                };
                commands.clear();
                let mut wanted = Wanted {
                    after,
                    lines,
                    bytes_left,
                    cut: false,
                };
                let (programs, state) = (&*self.programs, &mut self.state);
                let program = program_for(programs, &mut self.program, state, event)?;
                let before = state.history_events();
                let (input, seen) = ((event, at), &mut wanted);
                let walked = match whole {
                    true => walk(programs, program, state, input, seen, &mut commands),
                    false => {
                        troubled(state, event, at, seen, &mut commands);
                        Ok(())
                    }
                };
                bytes_left = wanted.bytes_left;
                if let Err(why) = walked {
                    self.fault = Some(Error::HistoryEnds {
                        id: self.id,
                        event: before,
                        why,
                    });
                    lines.retain(|line| line.id <= before);
                    return Ok(Walked::Paused);
                }
                if wanted.cut {
                    return Ok(Walked::Cut);
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        self.state.outcome().is_some()
    }

    /// Whether there are records beyond those that were read.
    fn has_more(&self) -> Result<bool, Error> {
        let range = Range::Log {
            execution: self.id,
            from_seq: self.read,
        };
        Ok(!self.reader.keys(&range, 1)?.is_empty())
    }

    /// What it holds of payloads.
    fn memory_bytes(&self) -> usize {
        let pending = match self.pending.is_empty() {
            true => 0,
            false => self.pending_bytes,
        };
        self.state.memory_bytes() + pending
    }
}

/// The program that an event is walked with: the first event names it, and a redrive may
/// name another version.
pub(crate) fn program_for<'p>(
    programs: &dyn Programs,
    known: &'p mut Option<Arc<Program>>,
    state: &mut State,
    event: &Event,
) -> Result<&'p Program, Error> {
    let found = match (known.take(), event) {
        (Some(program), event) => match moved(programs, &program, state, event)? {
            Some(other) => other,
            None => program,
        },
        (None, Event::Started { flow, .. }) => programs.program(flow)?,
        (None, _) => return Err(Error::Store("a log does not begin with its start".into())),
    };
    Ok(known.insert(found))
}

/// Tells a walk on another thread that its reader has gone.
struct Present(Arc<AtomicBool>);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What `describe` adds to a summary.
pub(crate) struct Progress {
    pub input: Option<Data>,
    pub transitions: u64,
    pub fuel: u64,
    /// Tasks of activities that no worker has: the entry, the state, the activity, and since
    /// when.
    pub untaken: Vec<(EntryId, Arc<str>, Arc<str>, Timestamp)>,
    /// How many signals it keeps, and the first of them.
    pub signals: (usize, Vec<KeptSignal>),
    /// In how many states it is, and the first of them.
    pub active: (usize, Vec<Active>),
}

/// The input of an execution, and how far it is if it runs.
pub(crate) async fn progress(
    orchestrator: &Orchestrator,
    id: ExecutionId,
    found: &Execution,
) -> Result<Progress, Error> {
    let reader = orchestrator.shared.reader.clone();
    let mut progress = Progress {
        input: first_input(&*reader, id)?,
        transitions: found.transitions,
        fuel: found.fuel,
        untaken: Vec::new(),
        signals: (0, Vec::new()),
        active: (0, Vec::new()),
    };
    let unread = found
        .parked
        .as_ref()
        .is_some_and(|why| *why.error == *TURN_KILLS);
    if found.status == Status::Running && !unread {
        let programs = orchestrator.shared.catalog.programs();
        let state = orchestrator
            .reading_short(move || read_state(&*reader, &*programs, id))
            .await?;
        progress.transitions = state.state.transitions();
        progress.fuel = state.fuel;
        let open = stepwell_interpreter::activities(&state.program, &state.state);
        let untaken = open.filter(|task| !task.taken);
        let untaken = untaken.map(|t| (t.entry, t.state.clone(), t.activity.clone(), t.since));
        progress.untaken = untaken.collect();
        // The log of an express execution says nothing before its end.
        if !found.express {
            let mut active = stepwell_interpreter::active(&state.program, &state.state);
            let first: Vec<Active> = active.by_ref().take(STATES_SHOWN).collect();
            progress.active = (first.len() + active.count(), first);
        }
        let kept = state.state.signals_kept();
        progress.signals.0 = kept.len();
        let first = kept.take(SIGNALS_SHOWN);
        let shown = first.map(|(name, bytes, sender, received)| KeptSignal {
            name: name.clone(),
            bytes,
            sender,
            received,
        });
        progress.signals.1 = shown.collect();
    }
    Ok(progress)
}

/// The first record of every log holds the input.
pub(crate) fn first_input(reader: &dyn Reader, id: ExecutionId) -> Result<Option<Data>, Error> {
    let key = Key::Log {
        execution: id,
        seq: 0,
    };
    let Some(row) = reader.get(&key)? else {
        return Ok(None);
    };
    let records = stepwell_interpreter::codec::decode(&row, &|d| crate::driver::blob(reader, d))
        .map_err(|e| Error::Store(e.to_string()))?;
    Ok(records.into_iter().find_map(|logged| match logged {
        Logged::Event(Record {
            event: Event::Started { input, .. },
            ..
        })
        | Logged::Troubled {
            event: Event::Started { input, .. },
            ..
        } => Some(input),
        _ => None,
    }))
}

/// Runs something that may take long off the loop.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Store("reading failed; see the server's log".into()))?
}

impl Orchestrator {
    pub(crate) fn cursor(&self, id: ExecutionId) -> Result<Cursor, Error> {
        let row = self.shared.reader.get(&Key::Summary { execution: id })?;
        let row = row.ok_or_else(|| Error::NoExecution(id.to_string()))?;
        let row: SummaryRow = rows::decode(&row)?;
        if let Some(why) = row.parked.filter(|why| *why.error == *TURN_KILLS) {
            let why = why.cause.to_string();
            return Err(Error::HistoryEnds { id, event: 0, why });
        }
        let first = Key::Log {
            execution: id,
            seq: 0,
        };
        // While one runs its log has no more than its start.
        if row.express && (row.ended.is_none() || self.shared.reader.get(&first)?.is_none()) {
            return Err(Error::NoHistory(id));
        }
        let programs = self.shared.catalog.programs();
        Ok(Cursor::new(self.shared.reader.clone(), programs, id))
    }

    /// An attempt of a module's step, with its journal.
    /// # Errors
    /// `RUN0001`, `RUN0020`, `RUN0025`.
    pub async fn trace(&self, id: ExecutionId, wanted: WantedAttempt) -> Result<Trace, Error> {
        let Cursor {
            reader, programs, ..
        } = self.cursor(id)?;
        self.reading(move || trace::find(&*reader, &*programs, id, &wanted))
            .await
    }

    /// A page of history: events after number `after`, oldest first. At most `limit`
    /// lines, and about 4 MiB.
    /// # Errors
    /// `RUN0001`.
    pub async fn history(
        &self,
        id: ExecutionId,
        after: u64,
        limit: usize,
    ) -> Result<Page<HistoryLine, u64>, Error> {
        let fresh = self.cursor(id)?;
        let shared = self.shared.clone();
        let present = Present(Arc::new(AtomicBool::new(false)));
        let gone = present.0.clone();
        self.reading(move || {
            let known = shared.histories.take(&(id, after));
            let (mut cursor, mut lines) = known.unwrap_or((fresh, VecDeque::new()));
            let walked = match cursor.fault.is_some() && !lines.is_empty() {
                true => Walked::Paused,
                false => cursor.advance(after, limit, &gone, &mut lines)?,
            };
            // What can be told is told first.
            if let Some(fault) = cursor.fault.clone().filter(|_| lines.is_empty()) {
                return Err(fault);
            }
            let more = walked != Walked::Whole || lines.len() > limit;
            let beyond = lines.split_off(lines.len().min(limit));
            let next = lines.back().filter(|_| more).map(|l| l.id);
            if let Some(next) = next.filter(|_| walked != Walked::Cut) {
                let ahead: usize = beyond.iter().map(|line| line.json.len_bytes()).sum();
                let bytes = cursor.memory_bytes() + ahead;
                shared.histories.put((id, next), (cursor, beyond), bytes);
            }
            Ok(Page {
                items: lines.into(),
                next,
            })
        })
        .await
    }

    /// Reads what may take long off the loop, not too many at the same time.
    pub(crate) async fn reading<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.reading_among(&self.shared.readers, work).await
    }

    /// The same of what is short, as far as the execution is: it does not wait for long histories.
    pub(crate) async fn reading_short<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.reading_among(&self.shared.short_readers, work).await
    }

    async fn reading_among<T: Send + 'static>(
        &self,
        readers: &Arc<Semaphore>,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let turn = readers.clone().acquire_owned().await;
        let turn = turn.map_err(|_| Error::Stopping)?;
        blocking(move || {
            let _turn = turn;
            work()
        })
        .await
    }

    /// The history after event `after` and on, live; ends with the execution's last
    /// event. Only what is durable is shown.
    pub fn follow(
        &self,
        id: ExecutionId,
        after: u64,
    ) -> impl Stream<Item = Result<HistoryLine, Error>> + Send + 'static + use<> {
        let tail = self.cursor(id).map(|cursor| Tail {
            orchestrator: self.clone(),
            watch: self.shared.watchers.follow(id),
            present: Present(Arc::new(AtomicBool::new(false))),
            cursor,
            lines: VecDeque::new(),
            after,
            walked: Walked::Paused,
        });
        futures_util::stream::unfold(Some(tail), |tail| async move {
            match tail? {
                Err(e) => Some((Err(e), None)),
                Ok(tail) => tail.next().await,
            }
        })
    }

    /// The tasks that wait for their tokens.
    /// # Errors
    /// `RUN0001`.
    pub async fn open_tasks(&self, id: ExecutionId) -> Result<Vec<OpenTask>, Error> {
        let found = self.cursor(id)?;
        self.reading_short(move || {
            let Recovered { program, state, .. } =
                read_state(&*found.reader, &*found.programs, id)?;
            if state.outcome().is_some() {
                return Ok(Vec::new());
            }
            let mut commands = Vec::new();
            stepwell_interpreter::open_tasks(&program, &state, &mut commands);
            let tasks = commands.into_iter().filter_map(|command| match command {
                Command::Run(step) => step.token.map(|token| OpenTask {
                    state: step.state,
                    token,
                    input: step.input,
                    deadline: step.deadline.filter(|at| *at != Timestamp::MAX),
                }),
                _ => None,
            });
            Ok(tasks.collect())
        })
        .await
    }
}

/// One follower's place in a live history.
struct Tail {
    orchestrator: Orchestrator,
    watch: Watch,
    present: Present,
    cursor: Cursor,
    lines: VecDeque<HistoryLine>,
    /// The last line that was given.
    after: u64,
    walked: Walked,
}

type Following = (Result<HistoryLine, Error>, Option<Result<Tail, Error>>);

impl Tail {
    async fn next(mut self) -> Option<Following> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                self.after = line.id;
                return Some((Ok(line), Some(Ok(self))));
            }
            match self.walked {
                Walked::Whole if self.cursor.is_over() => return None,
                Walked::Whole => self.watch.changed().await,
                Walked::Paused => {}
                Walked::Cut => match self.orchestrator.cursor(self.cursor.id) {
                    Ok(fresh) => self.cursor = fresh,
                    Err(e) => return Some((Err(e), None)),
                },
            }
            let (mut cursor, mut lines) = (self.cursor, self.lines);
            let (after, gone) = (self.after, self.present.0.clone());
            let walk = self.orchestrator.reading(move || {
                let walked = cursor.advance(after, CHUNK_LINES, &gone, &mut lines)?;
                Ok((cursor, lines, walked))
            });
            match walk.await {
                Ok((cursor, lines, walked)) => {
                    self = Tail {
                        cursor,
                        lines,
                        walked,
                        orchestrator: self.orchestrator,
                        watch: self.watch,
                        present: self.present,
                        after,
                    };
                }
                Err(e) => return Some((Err(e), None)),
            }
        }
    }
}
