//! The commit thread: the one holder of the `Writer`, and the pace of group commits.
//!
//! Nothing is gained by committing what nobody waits for, nor by committing back to
//! back, which would eat the cores. So loops ask [`Committer::is_due`] before they hand
//! over a batch that somebody waits for, and a commit begins a moment after the first
//! such batch, so that the other loops can add theirs: at once when they all sleep.
//! The more waited for a commit, the later the next: few who wait are served quickly,
//! and under load commits stay few and large. After a slow commit the next one waits for what
//! it has set going: that comes back within milliseconds, and would miss a commit that began at once.

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
/// From this time on a commit is slow.
const SLOW_US: u64 = 4_000;
/// The share of its time for which the next one waits after its end.
const REST_SHARE: u64 = 8;
/// At most.
const REST_US_MAX: u64 = 25_000;
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
        let mut rested_us = 0;
        while let Some((batches, acks)) = self.gather(rested_us) {
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
            rested_us = begun + us + rest_us(us);
            self.commits.store(false, Ordering::Release);
            for ack in acks {
                ack();
            }
        }
    }

    /// Waits until there is something worth committing. `None`: closed and empty.
    /// Not before `rested_us`, unless there is much.
    fn gather(&self, rested_us: u64) -> Option<(Vec<Batch>, Vec<Durable>)> {
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
            let asleep = self.awake.load(Ordering::Acquire) == 0;
            let due = match asleep {
                true => rested_us,
                false => (queue.since_us + GATHER_US).max(paced).max(rested_us),
            };
            let wait = due.saturating_sub(now);
            if queue.closed || wait == 0 || queue.bytes >= GATHER_BYTES {
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

/// How long nothing is committed after a commit that took so long: what it let out is on its way
/// to the loops, and they may all be asleep still.
fn rest_us(took_us: u64) -> u64 {
    match took_us < SLOW_US {
        true => 0,
        false => (took_us / REST_SHARE).min(REST_US_MAX),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use stepwell_store::Key;
    use stepwell_types::Timestamp;

    use super::*;

    /// A clock that only commits and the test move.
    #[derive(Default)]
    struct Hands(AtomicU64);

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp(0)
        }

        fn monotonic_us(&self) -> u64 {
            self.0.load(Ordering::Acquire)
        }
    }

    /// A disk that takes 100 ms for a commit, and begins when it is told to.
    struct SlowDisk {
        clock: Arc<Hands>,
        begins: mpsc::Receiver<()>,
        rows: mpsc::Sender<usize>,
    }

    impl Writer for SlowDisk {
        fn commit(&mut self, batches: &[Batch]) -> Result<(), stepwell_store::Error> {
            let _ = self.begins.recv();
            self.clock.0.fetch_add(100_000, Ordering::AcqRel);
            let rows = batches.iter().map(|batch| batch.changes.len()).sum();
            let _ = self.rows.send(rows);
            Ok(())
        }
    }

    #[test]
    fn after_a_slow_commit_the_next_one_waits_for_what_it_set_going() {
        let clock = Arc::new(Hands::default());
        let (begin, begins) = mpsc::channel();
        let (rows, committed) = mpsc::channel();
        let disk = SlowDisk {
            clock: clock.clone(),
            begins,
            rows,
        };
        let started = Committer::start(Box::new(disk), clock.clone(), Arc::new(|_| {}));
        let (committer, thread) = started.expect("a thread");
        let (ack, acked) = mpsc::channel();
        let submit = |name: &str| {
            let (mut batch, ack) = (Batch::default(), ack.clone());
            batch.put(Key::Meta { name: name.into() }, Vec::new());
            let durable = Box::new(move || ack.send(()).expect("the test listens"));
            committer.submit(batch, 1, durable);
        };
        submit("first");
        while !committer.commits.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        submit("meanwhile");
        begin.send(()).expect("a disk");
        acked.recv().expect("the first is durable");
        // All loops sleep, and what the first let out is on its way to them.
        submit("set going");
        clock.0.fetch_add(rest_us(100_000), Ordering::AcqRel);
        begin.send(()).expect("a disk");
        assert_eq!(committed.iter().take(2).collect::<Vec<_>>(), [1, 2]);
        committer.close();
        drop(begin);
        thread.join().expect("it ends");
    }

    #[test]
    fn a_quick_disk_does_not_rest() {
        // A local drive's commit, a network disk's, one beside a large copy, a stall.
        let rests = [500, 8_000, 100_000, 20_000_000].map(rest_us);
        assert_eq!(rests, [0, 1_000, 12_500, REST_US_MAX]);
    }
}
