//! Timers: those of executions in memory, and rows of those that are not.
//!
//! A row is read again and again until its deletion is durable, and skipped while its
//! execution is in memory: so a clock that steps fires nothing twice and loses nothing.

use stepwell_interpreter::{Event, Timer};
use stepwell_store::{Key, Range};
use stepwell_types::{ExecutionId, Failure, Timestamp};

use super::Driver;
use super::away::Input;
use crate::Error;

/// Rows of one shard read at a time.
const ROWS: usize = 256;

/// Where a shard's timer rows are.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShardTimers {
    /// No live row is earlier: scans begin here, past the deleted ones.
    pub cursor: Timestamp,
    /// The earliest row that may still wait; `MAX`: none.
    pub next: Timestamp,
}

impl Default for ShardTimers {
    fn default() -> Self {
        ShardTimers {
            cursor: Timestamp(i64::MIN),
            next: Timestamp(i64::MIN),
        }
    }
}

impl ShardTimers {
    /// A row is durable and its execution has left memory.
    pub fn written(&mut self, at: Timestamp) {
        self.cursor = self.cursor.min(at);
        self.next = self.next.min(at);
    }
}

impl Driver {
    /// When [`Driver::tick`] has something to do next; `None`: nothing is due, ever.
    #[must_use]
    pub fn next_tick(&self) -> Option<Timestamp> {
        let hot = self.timers.first().map(|(at, _)| *at);
        let rows = self.shards.values().map(|s| s.next).min();
        let usage = self.usage_due().filter(|_| !self.usage_due);
        // Nothing is fired then, but there is work again.
        let held = self.held_until.values().min().copied();
        [hot, rows, usage, held]
            .into_iter()
            .flatten()
            .min()
            .filter(|at| *at < Timestamp::MAX)
    }

    /// Fires what is due.
    /// # Errors
    /// `RUN0012` when the store cannot be read.
    pub fn tick(&mut self, now: Timestamp) -> Result<(), Error> {
        if self.usage_due().is_some_and(|at| at <= now) {
            self.usage_due = true;
        }
        let due: Vec<_> = self
            .shards
            .iter()
            .filter(|(_, t)| t.next <= now)
            .map(|(s, _)| *s)
            .collect();
        for shard in due {
            self.wake_rows(shard, now)?;
        }
        while let Some(&(at, id)) = self.timers.first() {
            if at > now {
                break;
            }
            // One whose turn is away gets its timer back with it.
            let stale = self.hot.get(&id).is_none_or(|hot| hot.timer != Some(at));
            if stale || self.away.contains_key(&id) {
                self.timers.pop_first();
                continue;
            }
            self.take(Input::Timer(id), now)?;
        }
        Ok(())
    }

    /// An execution's earliest timer is due.
    pub(super) fn fire(&mut self, id: ExecutionId, now: Timestamp) {
        let Some(hot) = self.hot.get_mut(&id) else {
            return;
        };
        let Some(at) = hot.timer.take_if(|at| *at <= now) else {
            return;
        };
        self.timers.remove(&(at, id));
        let before = hot.state.next_timer();
        let Some((_, entry, timer)) = before else {
            return;
        };
        if timer == Timer::Heartbeat {
            // Nobody could reach us while we were down: a limit that began before starts afresh.
            let up_since = self.up_since;
            let mut limits = hot.state.heartbeats();
            let attempt = limits.find(|(e, _, ms)| *e == entry && at < up_since.plus_ms(*ms));
            if let Some((entry, attempt, _)) = attempt {
                drop(limits);
                self.apply(id, Event::Heartbeat { entry, attempt }, now);
                return;
            }
        }
        self.apply(id, Event::TimerFired { entry, timer }, now);
        let stuck = self.hot.get(&id).is_some_and(|h| {
            h.ended.is_none() && h.parked.is_none() && h.state.next_timer() == before
        });
        if stuck {
            let cause = "a timer fired and stayed set; please report it";
            self.park(id, Failure::new("Stepwell.EngineFault", cause), now);
        }
    }

    /// Brings executions whose rows are due into memory; `tick` then fires them.
    fn wake_rows(&mut self, shard: stepwell_types::ShardId, now: Timestamp) -> Result<(), Error> {
        let Some(from) = self.shards.get(&shard).map(|t| t.cursor) else {
            return Ok(());
        };
        if self.hot.len() >= self.options.hot_max {
            // Memory is full of work: sleepers wait a moment longer.
            if let Some(t) = self.shards.get_mut(&shard) {
                t.next = now.plus_ms(10);
            }
            return Ok(());
        }
        let rows = self.reader.scan(&Range::Timers { shard, from }, ROWS)?;
        let mut next = if rows.len() < ROWS {
            Timestamp::MAX
        } else {
            rows.last().map_or(Timestamp::MAX, |(k, _)| row_time(k))
        };
        let mut cursor = None;
        let mut again = None;
        for (key, _) in &rows {
            let Key::Timer { at, execution } = key else {
                continue;
            };
            if *at > now {
                next = *at;
                break;
            }
            if self.suspects.walks_kill(*execution).is_some() {
                // It is parked, and not read any more.
                self.extra.delete(key.clone());
                continue;
            }
            if self.is_away(*execution) {
                // It may come into memory, or not: the row is looked at again.
                again = Some(now.plus_ms(10));
                cursor.get_or_insert(*at);
                continue;
            }
            if self.hot.contains_key(execution) {
                // In memory with a timer of its own; its row goes with its next batch.
                cursor.get_or_insert(*at);
                continue;
            }
            cursor.get_or_insert(*at);
            self.take(Input::Row(*execution, *at), now)?;
        }
        if let Some(t) = self.shards.get_mut(&shard) {
            t.cursor = cursor.unwrap_or(next.min(now));
            t.next = again.map_or(next, |again| next.min(again));
        }
        Ok(())
    }
}

impl Driver {
    /// Brings one of them into memory.
    pub(super) fn wake_row(
        &mut self,
        id: ExecutionId,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.load(id, now)?;
        if let Some(hot) = self.hot.get_mut(&id) {
            hot.timer_row = Some(at);
            // A row without a timer behind it is stale: the next seal deletes it.
            if hot.timer.is_none_or(|t| t > at) {
                self.touch(id);
            }
        }
        Ok(())
    }
}

fn row_time(key: &Key) -> Timestamp {
    match key {
        Key::Timer { at, .. } => *at,
        _ => Timestamp::MAX,
    }
}
