//! What runs on the processors: each slice of a step stands in the black box while it
//! runs, and a suspected step gets its slices alone.
//!
//! Refuses to choose what runs: loops and workers come with their slices.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::RwLock;

use crate::ports::{BlackBox, StepKey};

/// The processors of this process, for steps.
pub(super) struct Processors {
    black_box: Arc<dyn BlackBox>,
    /// The last process left suspects: slices keep to turns.
    suspicious: bool,
    /// Held shared for a slice, and alone for a suspect's, so that a death names it only.
    turn: RwLock<()>,
}

impl Processors {
    pub fn new(black_box: Arc<dyn BlackBox>, suspicious: bool) -> Processors {
        Processors {
            black_box,
            suspicious,
            turn: RwLock::new(()),
        }
    }

    fn slice<T>(&self, step: StepKey, alone: bool, work: impl FnOnce() -> T) -> T {
        // A slice is about a millisecond, so that is what a turn waits for.
        let shared = (self.suspicious && !alone).then(|| self.turn.read());
        let exclusive = (self.suspicious && alone).then(|| self.turn.write());
        self.black_box.enter(step);
        let done = work();
        self.black_box.leave();
        drop((shared, exclusive));
        done
    }
}

/// A step whose slices are on record.
pub(super) struct OnRecord<F> {
    pub inner: F,
    pub step: StepKey,
    pub alone: bool,
    /// `None`: it runs elsewhere, and cannot kill this process.
    pub processors: Option<Arc<Processors>>,
}

impl<F: Future + Unpin> Future for OnRecord<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let inner = Pin::new(&mut this.inner);
        match &this.processors {
            None => inner.poll(context),
            Some(p) => p.slice(this.step, this.alone, || inner.poll(context)),
        }
    }
}
