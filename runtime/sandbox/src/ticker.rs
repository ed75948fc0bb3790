//! Coarse time for every attempt, from one thread: the epoch ticks once a millisecond.
//!
//! Refuses a timer per step: deadlines are looked at on ticks.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use stepwell_types::Timestamp;
use wasmtime::Engine;

/// How often the epoch moves.
const TICK: Duration = Duration::from_millis(1);

/// The clock port: given by `cli`, because no other room reads a clock.
pub trait Clock: Send + Sync {
    /// Wall time.
    fn now(&self) -> Timestamp;
    /// Microseconds since some fixed moment; never goes back.
    fn monotonic_us(&self) -> u64;
}

/// The latest readings, and who waits for a deadline.
pub(crate) struct Ticker {
    now_ms: AtomicI64,
    monotonic_us: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    /// Attempts that have been pending: when to wake which.
    wakers: HashMap<u64, (u64, Waker)>,
}

impl Ticker {
    /// Starts the thread. It ends when the ticker is dropped.
    pub(crate) fn start(engine: Engine, clock: Arc<dyn Clock>) -> std::io::Result<Arc<Ticker>> {
        let ticker = Arc::new(Ticker {
            now_ms: AtomicI64::new(clock.now().0),
            monotonic_us: AtomicU64::new(clock.monotonic_us()),
            waiting: Mutex::default(),
        });
        let weak = Arc::downgrade(&ticker);
        std::thread::Builder::new()
            .name("stepwell-ticker".into())
            .spawn(move || tick(&weak, &engine, &*clock))?;
        Ok(ticker)
    }

    /// Wall time, at most a tick or two old.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.now_ms.load(Ordering::Relaxed))
    }

    /// Monotonic microseconds, at most a tick or two old.
    pub(crate) fn monotonic_us(&self) -> u64 {
        self.monotonic_us.load(Ordering::Relaxed)
    }

    fn wake_due(&self, monotonic_us: u64) {
        let mut waiting = self.waiting.lock();
        waiting.wakers.retain(|_, (due, waker)| {
            let wait = *due > monotonic_us;
            if !wait {
                waker.wake_by_ref();
            }
            wait
        });
    }
}

impl stepwell_host_api::Steady for Ticker {
    fn monotonic_us(&self) -> u64 {
        self.monotonic_us.load(Ordering::Relaxed)
    }
}

fn tick(ticker: &Weak<Ticker>, engine: &Engine, clock: &dyn Clock) {
    loop {
        std::thread::sleep(TICK);
        let Some(ticker) = ticker.upgrade() else {
            return;
        };
        let monotonic_us = clock.monotonic_us();
        ticker.now_ms.store(clock.now().0, Ordering::Relaxed);
        ticker.monotonic_us.store(monotonic_us, Ordering::Relaxed);
        engine.increment_epoch();
        ticker.wake_due(monotonic_us);
    }
}

/// Ends work at a deadline, also while the guest waits in a host call.
///
/// `None`: the deadline passed; the work must then be dropped.
pub(crate) struct Bounded<'a, F> {
    work: F,
    ticker: &'a Ticker,
    due_us: u64,
    id: Option<u64>,
}

impl<'a, F> Bounded<'a, F> {
    pub(crate) fn new(work: F, ticker: &'a Ticker, due_us: u64) -> Bounded<'a, F> {
        Bounded {
            work,
            ticker,
            due_us,
            id: None,
        }
    }

    /// Only an attempt that didn't end in its first slice is ever entered here.
    fn register(&mut self, waker: &Waker) {
        let mut waiting = self.ticker.waiting.lock();
        let id = *self.id.get_or_insert_with(|| {
            waiting.next += 1;
            waiting.next
        });
        let entry = waiting
            .wakers
            .entry(id)
            .or_insert_with(|| (self.due_us, waker.clone()));
        if !entry.1.will_wake(waker) {
            entry.1 = waker.clone();
        }
    }
}

impl<F: Future + Unpin> Future for Bounded<'_, F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Poll::Ready(output) = Pin::new(&mut this.work).poll(cx) {
            return Poll::Ready(Some(output));
        }
        if this.ticker.monotonic_us() >= this.due_us {
            return Poll::Ready(None);
        }
        this.register(cx.waker());
        Poll::Pending
    }
}

impl<F> Drop for Bounded<'_, F> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.ticker.waiting.lock().wakers.remove(&id);
        }
    }
}
