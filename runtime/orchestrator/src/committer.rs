//! The commit thread: the one holder of the `Writer`, and the pace of group commits.
//!
//! A waiting batch is committed at once when every loop sleeps (nobody could add to
//! it), else a moment after its first record: never back to back, which would eat the
//! cores, and never after a fixed wait, which would slow a lone client.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use stepwell_store::{Batch, Writer};

use crate::Error;
use crate::ports::Clock;

/// Told when a batch is durable.
pub(crate) type Durable = Box<dyn FnOnce() + Send>;

/// Longest wait for more to commit while some loop is awake, in microseconds.
const GATHER_US: u64 = 1_500;
/// A gathered commit of this size waits no longer.
const GATHER_BYTES: usize = 1 << 20;

#[derive(Default)]
struct Queue {
    batches: Vec<(Batch, Durable)>,
    bytes: usize,
    /// When the first waiting batch came.
    since_us: u64,
    closed: bool,
}

/// What loops share with the commit thread.
pub(crate) struct Committer {
    queue: Mutex<Queue>,
    changed: Condvar,
    awake: AtomicUsize,
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
    pub fn submit(&self, batch: Batch, durable: Durable) {
        let mut queue = self.lock();
        let first = queue.batches.is_empty();
        if first {
            queue.since_us = self.clock.monotonic_us();
        }
        let before = queue.bytes;
        queue.bytes += batch.len_bytes();
        queue.batches.push((batch, durable));
        let large = before < GATHER_BYTES && queue.bytes >= GATHER_BYTES;
        drop(queue);
        // In between the thread sleeps until the batch is old: waking it for each
        // that joins would cost a switch of threads and change nothing.
        if first || large {
            self.changed.notify_one();
        }
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
            let age = self.clock.monotonic_us().saturating_sub(queue.since_us);
            let asleep = self.awake.load(Ordering::Acquire) == 0;
            if asleep || queue.closed || age >= GATHER_US || queue.bytes >= GATHER_BYTES {
                queue.bytes = 0;
                return Some(std::mem::take(&mut queue.batches).into_iter().unzip());
            }
            queue = self
                .changed
                .wait_timeout(queue, Duration::from_micros(GATHER_US - age))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}
