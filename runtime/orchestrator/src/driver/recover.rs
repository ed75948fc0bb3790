//! Brings executions back into memory: after a restart, and when a sleeper wakes.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use stepwell_flow::Program;
use stepwell_flow::program::{Keep, Mode};
use stepwell_interpreter::codec::{self, Logged, Record};
use stepwell_interpreter::{Command, Event, NoHistory, State};
use stepwell_store::{Key, Range, Reader};
use stepwell_types::{Data, Digest, EntryId, ExecutionId, Failure, FlowRef, Timestamp};

use super::express::Express;
use super::journal::{self, Journal, Journals};
use super::outbox::PER_EVENT;
use super::{Driver, Work};
use crate::Error;
use crate::api::{Execution, Status};
use crate::ports::Programs;
use crate::rows::{self, CheckpointRow, Kept, SummaryRow};
use crate::walk::{outstanding, walk};

/// Rows read at a time.
pub(super) const ROWS: usize = 512;
/// Bytes of payloads above which a reader of some rows is given no further one.
const PAYLOAD_BYTES: usize = 4 << 20;

/// Why an execution is parked that is not even read any more.
pub(crate) const TURN_KILLS: &str = "Stepwell.TurnKillsServer";

impl Driver {
    /// Takes up every execution that had work to do. `clean`: the process before
    /// this one stopped in good order. How it died must have been counted
    /// ([`crate::suspects::count`]).
    /// # Errors
    /// `RUN0012` when the store cannot be read.
    pub fn recover(&mut self, clean: bool, now: Timestamp) -> Result<(), Error> {
        self.up_since = now;
        if !clean {
            self.cautious_until = now.plus_ms(self.options.cautious_ms);
        }
        self.open.load(&*self.reader)?;
        let shards: Vec<_> = self.shards.keys().copied().collect();
        for shard in shards {
            // Before anything is walked: whose turns killed is not walked again.
            self.suspects.load(&*self.reader, shard)?;
            let mut after = None;
            loop {
                let found = self.reader.scan(&Range::Hot { shard, after }, ROWS)?;
                for (key, _) in &found {
                    if let Key::Hot { execution } = key {
                        self.recover_one(*execution, now)?;
                        after = Some(*execution);
                    }
                }
                if found.len() < ROWS {
                    break;
                }
            }
            self.recover_outbox(shard)?;
        }
        self.judge_suspects(now)
    }

    /// Parks who has died too often, and forgets who is gone.
    fn judge_suspects(&mut self, now: Timestamp) -> Result<(), Error> {
        for id in self.suspects.executions() {
            match self.read_summary(id) {
                Ok(summary) if summary.status == 0 => {}
                // It died before it was durable, or ended.
                Ok(_) | Err(Error::NoExecution(_)) => {
                    self.suspects.clear_all(id);
                    continue;
                }
                Err(e) => return Err(e),
            }
            if let Some(deaths) = self.suspects.walks_kill(id) {
                self.park_unread(id, deaths)?;
                continue;
            }
            let Some((entry, attempt, deaths)) = self.suspects.killer(id) else {
                continue;
            };
            self.wake(id, now)?;
            if self.hot.get(&id).is_none_or(|hot| hot.parked.is_some()) {
                continue;
            }
            let cause = format!(
                "the server died {deaths} times while it ran attempt {attempt} of state entry {}; the execution is parked until it is cancelled",
                entry.0
            );
            self.park(id, Failure::new("Stepwell.StepKillsServer", cause), now);
        }
        Ok(())
    }

    /// Parks an execution by its summary alone: to read it is to walk it.
    fn park_unread(&mut self, id: ExecutionId, deaths: u8) -> Result<(), Error> {
        let mut summary = self.read_summary(id)?;
        self.extra.delete(Key::Hot { execution: id });
        if summary.status == 0 && summary.parked.is_none() {
            tracing::error!(execution = %id, deaths, "an execution is parked: its turns kill the server");
            let cause = format!(
                "the server died {deaths} times while it walked this execution's turns; the execution is parked until it is cancelled"
            );
            summary.parked = Some(Failure::new(TURN_KILLS, cause));
            let key = Key::Summary { execution: id };
            self.extra.put(key, rows::encode(&summary));
        }
        Ok(())
    }

    fn recover_one(&mut self, id: ExecutionId, now: Timestamp) -> Result<(), Error> {
        if let Some(deaths) = self.suspects.walks_kill(id) {
            return self.park_unread(id, deaths);
        }
        self.load(id, now)?;
        let Some(hot) = self.hot.get_mut(&id) else {
            return Ok(());
        };
        hot.hot_row = true;
        hot.timer_row = None;
        // Nothing to do after all (it ended or slept in its last batch): its rows are put right.
        self.touch(id);
        Ok(())
    }

    /// Reads an execution from its last checkpoint on, and queues what it has to do.
    pub(super) fn load(&mut self, id: ExecutionId, now: Timestamp) -> Result<(), Error> {
        let summary = self.read_summary(id)?;
        let brought = self.brought.as_mut().filter(|(of, _)| *of == id);
        let found = match brought.and_then(|(_, found)| found.take()) {
            Some(found) => found?,
            None => read_state(&*self.reader, &*self.programs, id)?,
        };
        let flow = FlowRef {
            name: summary.flow.clone(),
            version: summary.version,
        };
        let mut hot = self.new_hot(
            found.program,
            found.state,
            flow,
            summary.name.clone(),
            summary.started,
        );
        hot.summary_saved = true;
        hot.heavy_saved = summary.heavy;
        if summary.express {
            let keep = match hot.program.mode {
                Mode::Express(keep) => keep,
                Mode::Standard => Keep::None,
            };
            hot.express = Some(Express::new(keep, true));
        }
        hot.parked = summary.parked;
        hot.ended = summary.ended;
        hot.fuel = found.fuel;
        hot.logged = found.logged;
        hot.last_at = found.last_at;
        hot.journals = found.journals;
        hot.log_bytes = found.log_bytes;
        hot.has_checkpoint = found.has_checkpoint;
        let diverged = found.diverged;
        hot.counted_transitions = hot.state.transitions();
        hot.weight = hot.state.size_hint_bytes();
        self.hot_bytes += hot.weight;
        hot.timer = hot.state.next_timer().map(|(at, ..)| at);
        if let Some(name) = &hot.given_name
            && hot.express.is_none()
        {
            self.names.insert((hot.flow.name.clone(), name.clone()), id);
        }
        if hot.ended.is_none() && hot.parked.is_none() {
            if let Some(at) = hot.timer {
                self.timers.insert((at, id));
            }
            // A sleeper's row says its earliest timer; it goes with the next batch.
            hot.timer_row = hot.timer;
        } else {
            hot.timer = None;
        }
        let at_rest = hot.ended.is_some() || hot.parked.is_some();
        if hot.ended.is_some()
            && let Some(cause) = &diverged
        {
            // How it ended stands; it only cannot go on.
            hot.parked = Some(Failure::new("Stepwell.ReplayDiverged", cause.as_str()));
        }
        let commands = outstanding(&hot.program, &hot.state);
        hot.batch = 0;
        hot.first_batch = 0;
        // What is sent now is not what the last event sent, whose rows may still be there.
        hot.outbox = hot.logged.saturating_mul(PER_EVENT) + PER_EVENT / 2;
        let queue = hot.events;
        self.hot.insert(id, hot);
        if let Some(cause) = diverged.filter(|_| !at_rest) {
            self.park(id, Failure::new("Stepwell.ReplayDiverged", cause), now);
            return Ok(());
        }
        if at_rest {
            return Ok(());
        }
        let commands = match commands {
            Ok(commands) => commands,
            Err(cause) => {
                self.park(id, Failure::new("Stepwell.EngineFault", cause), now);
                return Ok(());
            }
        };
        for command in commands {
            match command {
                Command::Run(step) => self.queue_step(id, step, now),
                Command::Continue => {
                    if let Some(hot) = self.hot.get_mut(&id) {
                        hot.queued_events += 1;
                        self.events.push(queue, Work::Event(id, Event::Continued));
                    }
                }
                Command::StartChild(start) => {
                    self.command_child(id, Command::StartChild(start), now);
                }
                // What else goes to other executions is in the outbox.
                Command::CancelChild { .. }
                | Command::Signal { .. }
                | Command::ForgetResults { .. }
                | Command::Abort { .. }
                | Command::Finish(_) => {}
            }
        }
        Ok(())
    }
}

/// All durable records of an execution from number `from` on.
/// # Errors
/// `RUN0012`.
pub fn read_log(reader: &dyn Reader, id: ExecutionId, from: u64) -> Result<Vec<Logged>, Error> {
    let mut out = Vec::new();
    each_row(reader, id, from, &mut |_, records| out.extend(records))?;
    Ok(out)
}

/// Shows all durable log rows of an execution, from record number `from` on: the number of
/// a row's first record, and its records.
/// # Errors
/// `RUN0012`.
pub(crate) fn each_row(
    reader: &dyn Reader,
    id: ExecutionId,
    mut from: u64,
    show: &mut dyn FnMut(u64, Vec<Logged>),
) -> Result<(), Error> {
    loop {
        let range = Range::Log {
            execution: id,
            from_seq: from,
        };
        let before = from;
        for (key, row) in &reader.scan(&range, ROWS)? {
            let Key::Log { seq, .. } = key else {
                continue;
            };
            // One at a time: the payloads of all may be more than fits into memory.
            let records = codec::decode(row, &|d: &Digest| blob(reader, d))
                .map_err(|e| Error::Store(e.to_string()))?;
            from = seq + records.len() as u64;
            show(*seq, records);
        }
        if from == before {
            return Ok(());
        }
    }
}

/// The durable records of at most `rows` rows, from record number `from` on: of fewer when their
/// payloads are large, but of one if there is one.
/// # Errors
/// `RUN0012`.
pub fn read_some(
    reader: &dyn Reader,
    id: ExecutionId,
    from: u64,
    rows: usize,
) -> Result<Vec<Logged>, Error> {
    read_counted(reader, id, from, rows).map(|(records, _)| records)
}

/// The same, and how many bytes the payloads have that lie apart.
pub(crate) fn read_counted(
    reader: &dyn Reader,
    id: ExecutionId,
    from: u64,
    rows: usize,
) -> Result<(Vec<Logged>, usize), Error> {
    let range = Range::Log {
        execution: id,
        from_seq: from,
    };
    let bytes = Cell::new(0);
    let fetch = |digest: &Digest| {
        let found = blob(reader, digest);
        found.inspect(|data| bytes.set(bytes.get() + data.len_bytes()))
    };
    let mut out = Vec::new();
    for (key, row) in &reader.scan(&range, rows)? {
        if let Key::Log { .. } = key {
            let records = codec::decode(row, &fetch);
            out.extend(records.map_err(|e| Error::Store(e.to_string()))?);
        }
        if bytes.get() >= PAYLOAD_BYTES {
            break;
        }
    }
    Ok((out, bytes.get()))
}

/// Whether an execution was taken out of the race until an operator looks at it.
/// # Errors
/// `RUN0001`, `RUN0012`.
pub fn is_parked(reader: &dyn Reader, id: ExecutionId) -> Result<bool, Error> {
    let row = reader.get(&Key::Summary { execution: id })?;
    let row = row.ok_or_else(|| Error::NoExecution(id.to_string()))?;
    Ok(rows::decode::<rows::SummaryRow>(&row)?.parked.is_some())
}

/// An execution as its summary tells it, without its input.
/// # Errors
/// `RUN0001`, `RUN0012`.
pub fn read_execution(reader: &dyn Reader, id: ExecutionId) -> Result<Execution, Error> {
    let row = reader.get(&Key::Summary { execution: id })?;
    let row = row.ok_or_else(|| Error::NoExecution(id.to_string()))?;
    execution_of(reader, id, rows::decode(&row)?, true)
}

/// The same of a row that was read; without its output unless it is wanted `whole`.
pub(crate) fn execution_of(
    reader: &dyn Reader,
    id: ExecutionId,
    row: SummaryRow,
    whole: bool,
) -> Result<Execution, Error> {
    let output = match row.output.filter(|_| whole) {
        None => None,
        Some(Kept::Inline(data)) => Some(data),
        Some(Kept::Blob(digest)) => Some(
            blob(reader, &digest).map_err(|e| Error::Store(format!("payload {digest}: {e}")))?,
        ),
    };
    Ok(Execution {
        id,
        name: row.name.unwrap_or_else(|| id.to_string().into()),
        flow: row.flow,
        version: row.version,
        status: Status::from_number(row.status),
        started: row.started,
        ended: row.ended,
        input: None,
        output,
        failure: row.failure,
        failed_in: row.failed_in,
        transitions: row.transitions,
        fuel: row.fuel,
        parked: row.parked,
        redrives: row.redrives,
        redriven: row.redriven,
        flow_gone: false,
        parent: row.parent,
        parent_name: None,
        express: row.express,
        waiting: Vec::new(),
        active: (0, Vec::new()),
        signals: (0, Vec::new()),
    })
}

/// Transitions by flow, as the usage rows count them.
/// # Errors
/// `RUN0012`.
pub fn usage_transitions(reader: &dyn Reader) -> Result<BTreeMap<Arc<str>, u64>, Error> {
    let mut out = BTreeMap::new();
    let all = Range::Usage {
        flow: None,
        after: None,
    };
    for (key, value) in reader.scan(&all, usize::MAX)? {
        if let Key::Usage { flow, .. } = key {
            *out.entry(flow).or_insert(0) += rows::decode::<rows::UsageRow>(&value)?.transitions;
        }
    }
    Ok(out)
}

/// A blob row as data.
pub(crate) fn blob(reader: &dyn Reader, digest: &Digest) -> Result<Data, String> {
    let row = reader.get(&Key::Blob { digest: *digest });
    let bytes = row
        .map_err(|e| e.to_string())?
        .ok_or_else(|| "it is not in the store".to_owned())?;
    String::from_utf8(bytes)
        .map(Data::from_valid_text)
        .map_err(|_| "it is not text".to_owned())
}

/// A redrive may name another version: its program, which the state then belongs to.
/// `None`: the program stays.
/// # Errors
/// `RUN0002`, `RUN0012`.
pub(crate) fn moved(
    programs: &dyn Programs,
    program: &Program,
    state: &mut State,
    event: &Event,
) -> Result<Option<Arc<Program>>, Error> {
    match event {
        Event::Redriven { flow, .. } if state.flow().is_some_and(|is| is != flow) => {
            let other = programs.program(flow)?;
            let moved = state.rebase(program, &other);
            moved.map_err(|e| Error::Store(e.to_string()))?;
            Ok(Some(other))
        }
        _ => Ok(None),
    }
}

/// An execution as its rows tell it.
pub struct Recovered {
    /// What it runs now.
    pub program: Arc<Program>,
    /// After every durable record.
    pub state: State,
    /// Fuel of all attempts.
    pub fuel: u64,
    /// Number of durable records.
    pub logged: u64,
    pub(super) last_at: Timestamp,
    pub(super) journals: Journals,
    pub(super) log_bytes: usize,
    pub(super) has_checkpoint: bool,
    /// This release decides otherwise than was recorded: how.
    pub diverged: Option<String>,
}

/// Reads the newest checkpoint and walks the records after it.
/// # Errors
/// `RUN0001`, `RUN0002`, `RUN0012`.
pub fn read_state(
    reader: &dyn Reader,
    programs: &dyn Programs,
    id: ExecutionId,
) -> Result<Recovered, Error> {
    match read_until(reader, programs, id, u64::MAX)? {
        Read::All(found) => Ok(*found),
        // The state is half walked: once more, up to there.
        Read::Fault(at, why) => match read_until(reader, programs, id, at)? {
            Read::All(mut found) => {
                found.diverged = Some(format!("record {at}: {why}"));
                Ok(*found)
            }
            Read::Fault(at, why) => Err(Error::Store(format!("record {at}: {why}"))),
        },
    }
}

/// How far a log was walked.
enum Read {
    /// To the end, or to the record that was asked for, or to one that diverges.
    All(Box<Recovered>),
    /// The interpreter could not walk this record.
    Fault(u64, String),
}

/// Walks the records before number `end`.
fn read_until(
    reader: &dyn Reader,
    programs: &dyn Programs,
    id: ExecutionId,
    end: u64,
) -> Result<Read, Error> {
    let mut state = State::new(id);
    let checkpoint = match reader.get(&Key::Checkpoint { execution: id })? {
        None => None,
        Some(row) => {
            let row: CheckpointRow = rows::decode(&row)?;
            state = codec::decode_state(&row.state, &|d: &Digest| blob(reader, d))
                .map_err(|e| Error::Store(e.to_string()))?;
            Some(row)
        }
    };
    let logged = checkpoint.as_ref().map_or(0, |row| row.seq);
    let mut records = Vec::new();
    each_row(reader, id, logged, &mut |seq, row| {
        records.extend(row.into_iter().map(|logged| (seq, logged)));
    })?;
    let flow = state.flow().or_else(|| match records.first() {
        Some((
            _,
            Logged::Event(Record {
                event: Event::Started { flow, .. },
                ..
            })
            | Logged::Troubled {
                event: Event::Started { flow, .. },
                ..
            },
        )) => Some(flow),
        _ => None,
    });
    let flow = flow.ok_or_else(|| Error::NoExecution(id.to_string()))?;
    let mut found = Recovered {
        program: programs.program(flow)?,
        state,
        fuel: 0,
        logged: logged + records.len() as u64,
        last_at: Timestamp(i64::MIN),
        journals: Journals::new(),
        log_bytes: 0,
        has_checkpoint: checkpoint.is_some(),
        diverged: None,
    };
    if let Some(row) = checkpoint {
        found.fuel = row.fuel;
        found.last_at = row.last_at;
        found.read_journals(reader, id, &row)?;
    }
    for (number, (row, logged)) in (logged..end).zip(records) {
        if let Logged::Event(record) = &logged
            && let Some(other) = moved(programs, &found.program, &mut found.state, &record.event)?
        {
            found.program = other;
        }
        match found.walk(programs, &logged, row) {
            Ok(true) => {}
            Ok(false) => {
                found.diverged = Some(format!(
                    "record {number} leads to other commands than were recorded; run it with the release that started it, or cancel it"
                ));
                break;
            }
            Err(why) => return Ok(Read::Fault(number, why)),
        }
    }
    Ok(Read::All(Box::new(found)))
}

impl Recovered {
    /// Walks one record again. `false`: this release decides otherwise than was recorded.
    fn walk(&mut self, programs: &dyn Programs, logged: &Logged, row: u64) -> Result<bool, String> {
        match logged {
            Logged::Event(record) => return self.walk_event(programs, record),
            Logged::Troubled { at, event } => {
                let (state, seen) = (&mut self.state, &mut NoHistory);
                stepwell_interpreter::troubled(state, event, *at, seen, &mut Vec::new());
                self.last_at = self.last_at.max(*at);
                self.end_attempt(event);
            }
            Logged::CallIntent { .. }
            | Logged::CallAnswer { .. }
            | Logged::CallNotes { .. }
            | Logged::Logs { .. } => {
                journal::note(&mut self.journals, logged, row);
            }
        }
        Ok(true)
    }

    /// The journals that a checkpoint names, as far as the log before it tells them.
    fn read_journals(
        &mut self,
        reader: &dyn Reader,
        id: ExecutionId,
        checkpoint: &CheckpointRow,
    ) -> Result<(), Error> {
        let Some(from) = checkpoint.journals.iter().map(|j| j.from).min() else {
            return Ok(());
        };
        for row in &checkpoint.journals {
            let key = (EntryId(row.entry), row.attempt);
            self.journals.insert(key, Journal::new(row.from, true));
        }
        let mut all = Journals::new();
        each_row(reader, id, from, &mut |seq, records| {
            let before = records.iter().filter(|_| seq < checkpoint.seq);
            before.for_each(|logged| journal::note(&mut all, logged, seq));
        })?;
        for (key, journal) in &mut self.journals {
            if let Some(found) = all.remove(key) {
                journal.calls = found.calls;
            }
        }
        Ok(())
    }

    fn walk_event(&mut self, programs: &dyn Programs, record: &Record) -> Result<bool, String> {
        let mut commands = Vec::new();
        self.last_at = self.last_at.max(record.at);
        walk(
            programs,
            &self.program,
            &mut self.state,
            (&record.event, record.at),
            &mut NoHistory,
            &mut commands,
        )?;
        if codec::digest(&commands) != record.commands {
            return Ok(false);
        }
        self.end_attempt(&record.event);
        for command in &commands {
            match command {
                Command::Abort { entry, attempt } => {
                    self.journals.remove(&(*entry, *attempt));
                }
                Command::Finish(_) => self.journals.clear(),
                _ => {}
            }
        }
        Ok(true)
    }

    fn end_attempt(&mut self, event: &Event) {
        if let Event::StepEnded {
            entry,
            attempt,
            spent,
            ..
        } = event
        {
            self.fuel += spent.fuel;
            let done = (*entry, *attempt);
            self.journals.remove(&done);
        }
    }
}

impl Status {
    /// How rows spell it.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Status::Running => 0,
            Status::Succeeded => 1,
            Status::Failed => 2,
            Status::TimedOut => 3,
            Status::Aborted => 4,
        }
    }

    /// What a row's number means; unknown ones are read as running.
    #[must_use]
    pub fn from_number(n: u8) -> Status {
        match n {
            1 => Status::Succeeded,
            2 => Status::Failed,
            3 => Status::TimedOut,
            4 => Status::Aborted,
            _ => Status::Running,
        }
    }
}
