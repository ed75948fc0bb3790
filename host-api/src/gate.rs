//! The gate that every call to the outside world passes: intent first, then the call, then its answer.
//!
//! Refuses to decide or to store: the orchestrator implements [`Gate`], a bridge only asks.

use std::future::Future;
use std::pin::Pin;

use stepwell_types::BridgeCall;

/// What a gate's method returns: boxed, so that a bridge can hold any gate.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whether a call may leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The intent is durable: send it.
    Go,
    /// It was answered before a crash, with these bytes (see [`crate::answer`]): don't send it again.
    Recorded(Vec<u8>),
    /// The record has another request under this number: the step didn't repeat itself.
    Diverged,
    /// The process is stopping or the attempt is no longer wanted: don't send it.
    Stopped,
}

/// The port to the journal of an attempt's outside calls.
pub trait Gate: Send + Sync {
    /// Asks leave for one call. Resolves once the intent, and all that led to it, is durable.
    fn admit(&self, call: BridgeCall) -> Boxed<'_, Verdict>;

    /// Records the answer to an admitted call, before the guest sees it.
    ///
    /// Not called by a Task resource such as `http:request`: there the answer is
    /// the step's outcome, which is recorded anyway.
    fn answered<'a>(&'a self, call: &'a BridgeCall, answer: &'a [u8]) -> Boxed<'a, ()>;
}

/// A gate for runs that keep no record: every call goes.
///
/// For one-shot runs and tests; a server never uses it, because after a crash
/// nobody would know what was sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenGate;

impl Gate for OpenGate {
    fn admit(&self, _call: BridgeCall) -> Boxed<'_, Verdict> {
        Box::pin(std::future::ready(Verdict::Go))
    }

    fn answered<'a>(&'a self, _call: &'a BridgeCall, _answer: &'a [u8]) -> Boxed<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}
