//! The gate that every call to the outside world passes: intent first, then the call, then its answer.
//!
//! Refuses to decide or to store: the orchestrator implements [`Gate`]; a bridge asks through its
//! attempt's [`crate::Journal`].

use std::future::Future;
use std::pin::Pin;

use stepwell_types::{AttemptId, BridgeAnswer, BridgeCall, Digest, LogLine};

/// What a gate's method returns: boxed, so that a bridge can hold any gate.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whether a call may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The intent is durable: send it.
    Go,
    /// The record has another request under this number: the step didn't repeat itself.
    Diverged,
    /// The process is stopping or the attempt is no longer wanted: don't send it.
    Stopped,
}

/// What a call asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Of all of it, secrets too: tells two apart.
    pub digest: Digest,
    /// For people, without the values of secrets.
    pub shown: String,
}

/// The port to the log of an attempt's outside calls.
pub trait Gate: Send + Sync {
    /// Asks leave for one call. It is asked when this is called, not when somebody waits for it: what is
    /// recorded later comes behind it. Resolves once the intent, and all that led to it, is durable.
    fn admit(&self, call: BridgeCall) -> Boxed<'static, Verdict>;

    /// Records a piece of the answer to an admitted call, before the guest sees it. Not waited for:
    /// the next call waits for it.
    ///
    /// Not called by a Task resource such as `http:request`: there the answer is
    /// the step's outcome, which is recorded anyway.
    fn answered(&self, answer: BridgeAnswer);

    /// Hears what every call asks, recorded or not. For whoever compares two runs.
    fn asked(&self, _call: u32, _what: &dyn Fn() -> Asked) {}

    /// The attempt waits for its turn outside. Until it asks leave for a call it keeps no other
    /// attempt from beginning, and a server that stops sets it aside for the next process.
    fn waits(&self, by: AttemptId) {
        let _ = by;
    }

    /// Whether nothing is recorded: then what a call leaves elsewhere can go at once.
    fn is_open(&self) -> bool {
        false
    }

    /// Adds lines to the execution's log while the attempt runs. Not waited for.
    fn log(&self, call: &BridgeCall, lines: Vec<LogLine>) {
        let _ = (call, lines);
    }

    /// How many lines of this call are in the log already, from before a crash.
    fn logged<'a>(&'a self, call: &'a BridgeCall) -> Boxed<'a, usize> {
        let _ = call;
        Box::pin(std::future::ready(0))
    }
}

/// A gate for runs that keep no record: every call goes.
///
/// For one-shot runs and tests; a server never uses it, because after a crash
/// nobody would know what was sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenGate;

impl Gate for OpenGate {
    fn is_open(&self) -> bool {
        true
    }

    fn admit(&self, _call: BridgeCall) -> Boxed<'static, Verdict> {
        Box::pin(std::future::ready(Verdict::Go))
    }

    fn answered(&self, _answer: BridgeAnswer) {}
}
