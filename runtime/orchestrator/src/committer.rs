//! The commit thread: the one holder of the `Writer`, and the pace of group commits.
//!
//! Nothing is gained by committing what nobody waits for, nor by committing back to
//! back, which would eat the cores. So loops ask [`Committer::is_due`] before they hand
//! over a batch that somebody waits for, and a commit begins a moment after the first
//! such batch, so that the other loops can add theirs: at once when they all sleep.
//! The more waited for a commit, the later the next: few who wait are served quickly,
//! and under load commits stay few and large.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use stepwell_store::{Batch, Writer};

use crate::Error;
use crate::ports::Clock;

/// Told when a batch is durable.
pub(crate) type Durable = Box<dyn FnOnce() + Send>;

/// Wait for the other loops' batches while one of them is awake, in microseconds: the
/// length of a loop's turn.
const GATHER_US: u64 = 300;
/// From the beginning of a commit to that of the next while some loop is awake, for each
/// effect that waited for it. Up to two effects a millisecond, the pace stays at this.
const PACE_US: u64 = 500;
/// At most.
const PACE_US_MAX: u64 = 2_500;
/// A gathered commit of this size waits no longer.
const GATHER_BYTES: usize = 1 << 20;

#[derive(Default)]
struct Queue {
    batches: Vec<(Batch, Durable)>,
    bytes: usize,
    /// Effects that wait for them.
    effects: u64,
    /// When the first waiting batch came.
    since_us: u64,
    closed: bool,
}

/// What loops share with the commit thread.
pub(crate) struct Committer {
    queue: Mutex<Queue>,
    changed: Condvar,
    awake: AtomicUsize,
    /// A batch waits in the queue.
    gathers: AtomicBool,
    /// A commit is under way.
    commits: AtomicBool,
    /// When the pace allows the next commit.
    next_us: AtomicU64,
    clock: Arc<dyn Clock>,
    pub counts: Counts,
}

/// Totals since the start.
#[derive(Default)]
pub(crate) struct Counts {
    pub commits: std::sync::atomic::AtomicU64,
    pub bytes: std::sync::atomic::AtomicU64,
    pub us: std::sync::atomic::AtomicU64,
}

impl Committer {
    /// Starts the commit thread. `fatal` is called once if a commit fails.
    pub fn start(
        writer: Box<dyn Writer>,
        clock: Arc<dyn Clock>,
        fatal: Arc<dyn Fn(Error) + Send + Sync>,
    ) -> std::io::Result<(Arc<Committer>, std::thread::JoinHandle<()>)> {
        let committer = Arc::new(Committer {
            queue: Mutex::new(Queue::default()),
            changed: Condvar::new(),
            awake: AtomicUsize::new(0),
            gathers: AtomicBool::new(false),
            commits: AtomicBool::new(false),
            next_us: AtomicU64::new(0),
            clock,
            counts: Counts::default(),
        });
        let shared = committer.clone();
        let thread = std::thread::Builder::new()
            .name("commit".into())
            .spawn(move || shared.run(writer, &*fatal))?;
        Ok((committer, thread))
    }

    /// Hands a batch over. Batches are committed in the order handed over.
    /// `effects`: how many wait for it.
    pub fn submit(&self, batch: Batch, effects: usize, durable: Durable) {
        let mut queue = self.lock();
        let first = queue.batches.is_empty();
        if first {
            queue.since_us = self.clock.monotonic_us();
            self.gathers.store(true, Ordering::Release);
        }
        let before = queue.bytes;
        queue.bytes += batch.len_bytes();
        queue.batches.push((batch, durable));
        queue.effects += effects as u64;
        let large = before < GATHER_BYTES && queue.bytes >= GATHER_BYTES;
        drop(queue);
        // In between the thread sleeps until the batch is old: waking it for each
        // that joins would cost a switch of threads and change nothing.
        if first || large {
            self.changed.notify_one();
        }
    }

    /// Whether a batch handed over now would be committed soon: it joins one that waits,
    /// or the pace allows a commit. Otherwise it is better kept open for more.
    pub fn is_due(&self) -> bool {
        self.gathers.load(Ordering::Acquire)
            || (!self.commits.load(Ordering::Acquire)
                && self.clock.monotonic_us() >= self.next_us.load(Ordering::Acquire))
    }

    /// A loop has something to do.
    pub fn loop_wakes(&self) {
        self.awake.fetch_add(1, Ordering::AcqRel);
    }

    /// A loop goes to sleep; the last one to do so lets the commit go.
    pub fn loop_sleeps(&self) {
        if self.awake.fetch_sub(1, Ordering::AcqRel) == 1 {
            // The lock orders this notice after the committer's look at `awake`.
            let waiting = !self.lock().batches.is_empty();
            if waiting {
                self.changed.notify_one();
            }
        }
    }

    /// Commits what waits, then ends the thread.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut writer: Box<dyn Writer>, fatal: &dyn Fn(Error)) {
        while let Some((batches, acks)) = self.gather() {
            let begun = self.clock.monotonic_us();
            let bytes: usize = batches.iter().map(Batch::len_bytes).sum();
            if let Err(e) = writer.commit(&batches) {
                // Whether it is durable is unknown: no acknowledgement, no further
                // commit; recovery decides.
                fatal(Error::Store(e.to_string()));
                return;
            }
            let us = self.clock.monotonic_us().saturating_sub(begun);
            self.counts.commits.fetch_add(1, Ordering::Relaxed);
            self.counts.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            self.counts.us.fetch_add(us, Ordering::Relaxed);
            self.commits.store(false, Ordering::Release);
            for ack in acks {
                ack();
            }
        }
    }

    /// Waits until there is something worth committing. `None`: closed and empty.
    fn gather(&self) -> Option<(Vec<Batch>, Vec<Durable>)> {
        let mut queue = self.lock();
        loop {
            if queue.batches.is_empty() {
                if queue.closed {
                    return None;
                }
                queue = self
                    .changed
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let now = self.clock.monotonic_us();
            let paced = self.next_us.load(Ordering::Acquire);
            let wait = (queue.since_us + GATHER_US).max(paced).saturating_sub(now);
            let asleep = self.awake.load(Ordering::Acquire) == 0;
            if asleep || queue.closed || wait == 0 || queue.bytes >= GATHER_BYTES {
                queue.bytes = 0;
                let pace = PACE_US * std::mem::take(&mut queue.effects).max(1);
                let next = now + pace.min(PACE_US_MAX);
                self.next_us.store(next, Ordering::Release);
                self.commits.store(true, Ordering::Release);
                self.gathers.store(false, Ordering::Release);
                return Some(std::mem::take(&mut queue.batches).into_iter().unzip());
            }
            queue = self
                .changed
                .wait_timeout(queue, Duration::from_micros(wait))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}
