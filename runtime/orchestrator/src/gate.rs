//! The gate: nothing touches the outside world before its intent is durable.
//!
//! A bridge asks with a [`BridgeCall`] and gets a [`Verdict`] once the log says so.
//! The driver decides and commits; this is only the way to it.

use std::sync::Arc;

use stepwell_types::{AttemptId, BridgeAnswer, BridgeCall, LogLine};

/// What a bridge may do about one call. What was answered before a crash comes with the
/// attempt ([`stepwell_types::StepRequest::recorded`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The intent is durable: send it.
    Go,
    /// On replay the step asks for something else than it did: end the attempt
    /// with `Stepwell.ReplayDiverged`.
    Diverged,
    /// The attempt is no longer wanted, or the server stops: end it quietly.
    Stopped,
}

/// A boxed verdict to come.
pub type VerdictFuture = std::pin::Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// The way to the driver that owns an execution.
pub trait GateKeeper: Send + Sync {
    /// Asks leave for one call, at once: what is recorded later comes behind it. Resolves when
    /// its intent is durable.
    fn admit(&self, call: BridgeCall) -> VerdictFuture;
    /// Records a piece of the answer of a call that was let go. Not waited for: what
    /// depends on it leaves only after it is durable too.
    fn answered(&self, answer: BridgeAnswer);
    /// The attempt waits for its turn outside, or for room on the disk, and has left no intent. Until
    /// it asks leave for a call it takes no other attempt's place, and a stop sets it aside.
    fn waits(&self, by: AttemptId);
    /// Whether nothing is recorded.
    fn is_open(&self) -> bool {
        false
    }
    /// Adds lines to the execution's log while the attempt runs. Not waited for; lines of an
    /// attempt that is over are dropped.
    fn log(&self, call: &BridgeCall, lines: Vec<LogLine>);
    /// How many lines of the call are durable: those of its attempt that came after its intent.
    fn logged(&self, call: &BridgeCall) -> std::pin::Pin<Box<dyn Future<Output = usize> + Send>>;
}

/// A [`GateKeeper`], cheap to clone.
pub type GateHandle = Arc<dyn GateKeeper>;
