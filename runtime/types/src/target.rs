//! What is outside, as limits see it: hosts, images, machines and activities by name.
//!
//! Refuses to limit anything: numbers and words for people, no behaviour.

use std::sync::Arc;

use crate::{EntryId, Timestamp};

/// The kinds of target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TargetKind {
    /// An HTTP host, with its port unless that is the scheme's own.
    Host,
    /// A container image.
    Image,
    /// A machine of the configuration.
    Machine,
    /// An activity, whose workers poll.
    Activity,
}

/// Names one target, or all of a kind together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetName {
    /// What it is.
    pub kind: TargetKind,
    /// Its name; `None`: all of the kind, which no name that somebody makes up can mean.
    pub name: Option<Arc<str>>,
}

/// Whether calls to a target are let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circuit {
    /// They are.
    Closed,
    /// They fail at once: too many in a row failed.
    Open,
    /// One is, to find out; the others fail at once.
    HalfOpen,
}

/// What a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// As many as may be are under way.
    Concurrency,
    /// More a second than may be.
    Rate,
    /// The target said when it wants to be called again.
    RetryAfter,
    /// As many steps of modules run as may.
    Steps,
    /// As many calls of Tasks run as may, to whomever.
    Calls,
}

/// A call that waits for its turn, or a step for a place to run in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Which state entry.
    pub entry: EntryId,
    /// The state that calls.
    pub state: Arc<str>,
    /// Whom it calls; `None`: it has not begun.
    pub target: Option<TargetName>,
    /// What for.
    pub reason: WaitReason,
    /// Since when, in this life of the server.
    pub since: Timestamp,
}

/// One target as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetStatus {
    /// Which.
    pub target: TargetName,
    /// Whether calls are let go.
    pub circuit: Circuit,
    /// When an open circuit lets a call try.
    pub open_until: Option<Timestamp>,
    /// Until when the target wants to be left alone.
    pub paused_until: Option<Timestamp>,
    /// Calls under way.
    pub under_way: u32,
    /// Calls that wait for their turn.
    pub waiting: u32,
    /// Most calls at once; `None`: no limit.
    pub concurrency: Option<u32>,
    /// Most calls a second; `None`: no limit.
    pub per_second: Option<f64>,
    /// Calls that were let go, since the server began.
    pub calls: u64,
    /// Of these, those that failed as the circuit counts.
    pub failed: u64,
    /// Calls that were refused by an open circuit or a full queue.
    pub refused: u64,
    /// Connections that are open; only of machines is it known.
    pub connections: Option<u32>,
}

impl TargetKind {
    /// As people and the API read it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            TargetKind::Host => "host",
            TargetKind::Image => "image",
            TargetKind::Machine => "machine",
            TargetKind::Activity => "activity",
        }
    }
}

impl TargetName {
    /// A target of this name.
    #[must_use]
    pub fn new(kind: TargetKind, name: impl Into<Arc<str>>) -> TargetName {
        let name = Some(name.into());
        TargetName { kind, name }
    }

    /// All targets of a kind together.
    #[must_use]
    pub fn all(kind: TargetKind) -> TargetName {
        TargetName { kind, name: None }
    }
}

impl std::fmt::Display for TargetName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            None => write!(f, "all {}s", self.kind.word()),
            Some(name) => write!(f, "{} {name}", self.kind.word()),
        }
    }
}

impl std::fmt::Display for Waiting {
    /// `rate limit of host api.example.com`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let reason = match self.reason {
            WaitReason::Concurrency => "concurrency limit",
            WaitReason::Rate => "rate limit",
            WaitReason::RetryAfter => "Retry-After",
            WaitReason::Steps => "a place among the steps that run",
            WaitReason::Calls => "a place among the calls that run",
        };
        match &self.target {
            Some(target) => write!(f, "{reason} of {target}"),
            None => f.write_str(reason),
        }
    }
}
