//! Closes the open batch, and settles what a durable batch lets happen.

use std::sync::Arc;

use stepwell_interpreter::{Outcome, codec, failed_in};
use stepwell_store::{Batch, Key};
use stepwell_types::limits::INLINE_BYTES_MAX;
use stepwell_types::{Data, Digest, EntryId, ExecutionId, Timestamp};

use super::{Driver, Hot, Options, Output, Work};
use crate::api::{self, Metrics, Status};
use crate::rows::{self, CheckpointRow, JournalRow, Kept, SummaryRow, UsageRow};
use crate::suspects::WALK;

impl Driver {
    /// Whether the open batch holds anything.
    #[must_use]
    pub fn has_unsealed(&self) -> bool {
        !self.dirty.is_empty()
            || !self.extra.is_empty()
            || self.usage_due
            || self.suspects.is_changed()
            // A refusal leaves no record, and yet depends on all that was recorded before it.
            || self.waiting.contains_key(&self.batch)
    }

    /// How many effects wait for the open batch.
    #[must_use]
    pub fn effects(&self) -> usize {
        self.waiting.get(&self.batch).map_or(0, Vec::len)
    }

    /// Bytes of records in the open batch.
    #[must_use]
    pub fn open_bytes(&self) -> usize {
        self.open_bytes
    }

    /// Bytes of records that are not durable yet.
    #[must_use]
    pub fn undurable_bytes(&self) -> usize {
        self.open_bytes + self.sealed_bytes_all
    }

    /// Closes the open batch: its number and rows, to be committed in this order.
    pub fn seal(&mut self) -> Option<(u64, Batch)> {
        if !self.has_unsealed() {
            return None;
        }
        let number = self.batch;
        self.batch += 1;
        let mut batch = std::mem::take(&mut self.extra);
        let dirty = std::mem::take(&mut self.dirty);
        for id in &dirty {
            if let Some(hot) = self.hot.get_mut(id) {
                write_execution(hot, *id, &self.options, &mut batch);
            }
        }
        (self.usage_since, self.usage_due) = (None, false);
        for ((flow, day), (row, changed)) in &mut self.usage {
            if std::mem::take(changed) {
                let key = Key::Usage {
                    flow: flow.clone(),
                    day: *day,
                    writer: self.index,
                };
                batch.put(key, rows::encode(row));
            }
        }
        self.suspects.write(&mut batch);
        self.open.write(&*self.reader, &mut batch);
        self.sealed_bytes.insert(number, self.open_bytes);
        self.sealed_bytes_all += self.open_bytes;
        self.open_bytes = 0;
        self.settling.insert(number, dirty);
        Some((number, batch))
    }

    /// Batches up to `number` are durable: their effects leave, idle executions too.
    /// Returns the executions whose visible state changed, for whoever follows them.
    pub fn committed(&mut self, number: u64, now: Timestamp) -> Vec<ExecutionId> {
        self.durable = self.durable.max(number);
        let later = self.waiting.split_off(&(number + 1));
        for effect in std::mem::replace(&mut self.waiting, later)
            .into_values()
            .flatten()
        {
            if self.is_wanted(&effect) {
                self.out.push_back(effect);
            }
        }
        self.gather_durable();
        let later = self.uncounted.split_off(&(number + 1));
        for m in std::mem::replace(&mut self.uncounted, later).into_values() {
            add(&mut self.metrics, &m);
        }
        let later = self.sealed_bytes.split_off(&(number + 1));
        let durable = std::mem::replace(&mut self.sealed_bytes, later);
        self.sealed_bytes_all -= durable.into_values().sum::<usize>();
        let later = self.settling.split_off(&(number + 1));
        let mut changed: Vec<_> = std::mem::replace(&mut self.settling, later)
            .into_values()
            .flatten()
            .collect();
        changed.sort_unstable();
        changed.dedup();
        for id in &changed {
            self.settle(*id, now);
        }
        self.forget_old_usage(now);
        changed
    }

    /// Whether an effect still makes sense: a step may be aborted before it may begin.
    fn is_wanted(&self, effect: &Output) -> bool {
        match effect {
            Output::Run(r) | Output::RunAlone(r) => self
                .hot
                .get(&r.execution)
                .is_some_and(|hot| hot.steps.contains_key(&(r.entry, r.attempt))),
            Output::Abort { .. }
            | Output::Reply(..)
            | Output::Send(_)
            | Output::TaskWaits(_)
            | Output::TaskFreed(..)
            | Output::Discard(_)
            | Output::Landed(_)
            | Output::GivenUp(_)
            | Output::Turn(_) => true,
        }
    }

    /// Lets an execution go from memory when nothing is left to do or to write.
    pub(super) fn settle(&mut self, id: ExecutionId, now: Timestamp) {
        let Some(hot) = self.hot.get_mut(&id) else {
            return;
        };
        let at_rest = hot.ended.is_some() || hot.parked.is_some() || hot.is_idle();
        // A timer that is due was perhaps what it came into memory for.
        let due = hot.timer.is_some_and(|at| at <= now);
        let at_rest = at_rest && !due && !self.away.contains_key(&id);
        if hot.is_dirty || hot.batch > self.durable || !at_rest {
            return;
        }
        if let Some(at) = hot.timer {
            self.timers.remove(&(at, id));
        }
        if hot.parked.is_none() {
            // Its turns came to rest, and killed nobody.
            self.suspects.clear(id, WALK.0, WALK.1);
        }
        let row = hot.timer_row;
        for input in hot.spoiled.take().into_iter().flat_map(|late| *late) {
            self.events.push(hot.events, Work::Late(Box::new(input)));
        }
        if let Some(name) = &hot.given_name
            && hot.express.is_none()
        {
            self.names.remove(&(hot.flow.name.clone(), name.clone()));
        }
        self.hot_bytes = self.hot_bytes.saturating_sub(hot.weight);
        self.parents -= usize::from(hot.is_parent);
        let gone = self.hot.remove(&id);
        if let Some(hot) = gone.filter(|hot| hot.holds_bytes() >= self.options.aside.bytes) {
            self.out.push_back(Output::Discard(hot.state));
        }
        if let (Some(at), Some(shard)) = (row, self.shards.get_mut(&id.shard())) {
            shard.written(at);
        }
    }

    /// Counts usage now, metrics when the open batch is durable.
    pub(super) fn count(
        &mut self,
        flow: &Arc<str>,
        now: Timestamp,
        add: impl FnOnce(&mut UsageRow, &mut Metrics),
    ) {
        let day = u32::try_from(now.0.div_euclid(86_400_000)).unwrap_or(0);
        self.usage_since.get_or_insert(now);
        // A process that stops may not see the moment when it is due.
        self.usage_due |= self.stopping;
        let metrics = self.uncounted.entry(self.batch).or_default();
        let key = (flow.clone(), day);
        if let Some((row, changed)) = self.usage.get_mut(&key) {
            add(row, metrics);
            *changed = true;
            return;
        }
        // First sight since the start, or the first of the day: go on from what is there.
        let stored = self
            .reader
            .get(&Key::Usage {
                flow: flow.clone(),
                day,
                writer: self.index,
            })
            .ok()
            .flatten()
            .and_then(|bytes| rows::decode(&bytes).ok());
        let mut row: UsageRow = stored.unwrap_or_default();
        add(&mut row, metrics);
        self.usage.insert(key, (row, true));
    }

    /// Days that are over leave memory; a late record reads its row back.
    fn forget_old_usage(&mut self, now: Timestamp) {
        if self.usage.len() < 1024 {
            return;
        }
        let today = u32::try_from(now.0.div_euclid(86_400_000)).unwrap_or(0);
        self.usage
            .retain(|(_, day), (_, changed)| *changed || *day + 1 >= today);
    }
}

/// Writes what changed of one execution.
pub(super) fn write_execution(
    hot: &mut Hot,
    id: ExecutionId,
    options: &Options,
    batch: &mut Batch,
) {
    hot.is_dirty = false;
    if !hot.row.is_empty() {
        hot.log_bytes += hot.row.len();
        let key = Key::Log {
            execution: id,
            seq: hot.row_seq,
        };
        batch.put(key, hot.row.take());
    }
    if let Some((seq, row)) = hot.kept_row.take() {
        batch.put(Key::Log { execution: id, seq }, row);
    }
    if std::mem::take(&mut hot.forget_start) {
        batch.delete(Key::Log {
            execution: id,
            seq: 0,
        });
    }
    for (digest, bytes) in hot.blobs.drain(..) {
        batch.put(Key::Blob { digest }, &*bytes);
    }
    let over = hot.ended.is_some() || hot.parked.is_some();
    let heavy = hot.state.size_hint_bytes() >= options.aside.bytes;
    hot.summary_stale |= heavy != hot.heavy_saved;
    if !hot.summary_saved || over || std::mem::take(&mut hot.summary_stale) {
        hot.heavy_saved = heavy;
        // Items are found by their parent: there may be a million.
        let of_map = hot.state.parent().is_some_and(|link| link.item.is_some());
        if !hot.summary_saved && !of_map {
            let flow = hot.flow.name.clone();
            batch.put(
                Key::FlowExecution {
                    flow,
                    execution: id,
                },
                Vec::new(),
            );
        }
        hot.summary_saved = true;
        let row = summary(hot, batch);
        batch.put(Key::Summary { execution: id }, rows::encode(&row));
    }
    write_checkpoint(hot, id, options.checkpoint_bytes_min, batch);
    write_wakeups(hot, id, batch);
}

/// Moves the point of resume when the log since the last one outgrew the state.
fn write_checkpoint(hot: &mut Hot, id: ExecutionId, floor: usize, batch: &mut Batch) {
    let key = Key::Checkpoint { execution: id };
    if hot.express.is_some() || hot.spoiled.is_some() {
        return;
    }
    if hot.ended.is_some() {
        // Without success it stays: a redrive reads on from there.
        let succeeded = matches!(hot.state.outcome(), Some(Outcome::Succeeded(_)));
        if succeeded && std::mem::take(&mut hot.has_checkpoint) {
            batch.delete(key);
        }
        return;
    }
    if hot.log_bytes < floor.max(hot.state.size_hint_bytes()) {
        return;
    }
    let state = codec::encode_state(&hot.state, &mut |data: &Data| {
        (data.len_bytes() > INLINE_BYTES_MAX).then(|| {
            let digest = Digest::of(data.text().as_bytes());
            batch.put(Key::Blob { digest }, data.text().as_bytes());
            digest
        })
    });
    let row = CheckpointRow {
        seq: hot.logged,
        state,
        fuel: hot.fuel,
        last_at: hot.last_at,
        journals: hot
            .journals
            .iter()
            .map(|((entry, attempt), journal)| JournalRow {
                entry: entry.0,
                attempt: *attempt,
                from: journal.from,
            })
            .collect(),
    };
    batch.put(key, rows::encode(&row));
    hot.has_checkpoint = true;
    hot.log_bytes = 0;
}

/// Hot row while there is work, timer row while there is none.
fn write_wakeups(hot: &mut Hot, id: ExecutionId, batch: &mut Batch) {
    let parked = hot.parked.is_some();
    let idle = parked || hot.is_idle();
    let wants_hot = hot.ended.is_none() && !idle;
    let key = Key::Hot { execution: id };
    if wants_hot && !hot.hot_row {
        batch.put(key, rows::encode(&()));
    } else if !wants_hot && hot.hot_row {
        batch.delete(key);
    }
    hot.hot_row = wants_hot;
    let wants_timer = if idle && !parked && hot.ended.is_none() {
        hot.timer
    } else {
        None
    };
    if hot.timer_row != wants_timer {
        if let Some(at) = hot.timer_row {
            batch.delete(Key::Timer { at, execution: id });
        }
        if let Some(at) = wants_timer {
            batch.put(Key::Timer { at, execution: id }, Vec::new());
        }
        hot.timer_row = wants_timer;
    }
}

/// The summary row as the execution stands.
fn summary(hot: &Hot, batch: &mut Batch) -> SummaryRow {
    let (outcome, transitions) = match hot.spoiled {
        None => (hot.state.outcome(), hot.state.transitions()),
        Some(_) => (None, hot.counted_transitions),
    };
    let (status, output, failure) = match outcome {
        None => (Status::Running, None, None),
        Some(Outcome::Succeeded(data)) => (Status::Succeeded, Some(data), None),
        Some(Outcome::Failed(f)) => (Status::Failed, None, Some(f.clone())),
        Some(Outcome::TimedOut(f)) => (Status::TimedOut, None, Some(f.clone())),
        Some(Outcome::Aborted(f)) => (Status::Aborted, None, Some(f.clone())),
    };
    let failed_in = outcome.and_then(|_| failed_in(&hot.program, &hot.state).cloned());
    let output = output.map(|data| {
        if data.len_bytes() <= INLINE_BYTES_MAX {
            return Kept::Inline(data.clone());
        }
        let digest = Digest::of(data.text().as_bytes());
        batch.put(Key::Blob { digest }, data.text().as_bytes());
        Kept::Blob(digest)
    });
    SummaryRow {
        flow: hot.flow.name.clone(),
        version: hot.flow.version,
        name: hot.given_name.clone(),
        status: status.number(),
        started: hot.started,
        ended: hot.ended,
        output,
        failure,
        failed_in,
        transitions,
        fuel: hot.fuel,
        parked: hot.parked.clone(),
        redrives: hot.state.redrives(),
        redriven: hot.state.redriven_at(),
        parent: hot.state.parent().map(|p| p.execution),
        express: hot.express.is_some(),
        heavy: hot.heavy_saved,
    }
}

impl Driver {
    /// The execution as it stands, for a reply that leaves when it is durable.
    pub(super) fn described(&self, id: ExecutionId) -> Option<api::Execution> {
        let hot = self.hot.get(&id)?;
        let (status, output, failure) = match hot.state.outcome() {
            None => (Status::Running, None, None),
            Some(Outcome::Succeeded(data)) => (Status::Succeeded, Some(data.clone()), None),
            Some(Outcome::Failed(f)) => (Status::Failed, None, Some(f.clone())),
            Some(Outcome::TimedOut(f)) => (Status::TimedOut, None, Some(f.clone())),
            Some(Outcome::Aborted(f)) => (Status::Aborted, None, Some(f.clone())),
        };
        Some(api::Execution {
            id,
            name: hot.name(),
            flow: hot.flow.name.clone(),
            version: hot.flow.version,
            status,
            started: hot.started,
            ended: hot.ended,
            input: None,
            output,
            failure,
            failed_in: failed_in(&hot.program, &hot.state).cloned(),
            transitions: hot.state.transitions(),
            fuel: hot.fuel,
            parked: hot.parked.clone(),
            redrives: hot.state.redrives(),
            redriven: hot.state.redriven_at(),
            // Of what runs, or has just ended, it is there.
            flow_gone: false,
            parent: hot.state.parent().map(|p| p.execution),
            parent_name: None,
            express: hot.express.is_some(),
            waiting: Vec::new(),
            active: (0, Vec::new()),
            signals: (0, Vec::new()),
        })
    }

    /// Whether a token answer for this attempt was taken while in memory, and which.
    pub(super) fn answered(&self, id: ExecutionId, entry: EntryId, attempt: u32) -> Option<Digest> {
        let hot = self.hot.get(&id)?;
        hot.answered.get(&(entry, attempt)).copied()
    }
}

fn add(to: &mut Metrics, m: &Metrics) {
    to.started += m.started;
    to.redriven += m.redriven;
    for (a, b) in to.ended.iter_mut().zip(m.ended) {
        *a += b;
    }
    for (a, b) in to.signals.iter_mut().zip(m.signals) {
        *a += b;
    }
    to.transitions += m.transitions;
    to.attempts += m.attempts;
    to.fuel += m.fuel;
}
