//! Executions, starts, lists and histories.
//!
//! These are written by hand so that inputs and outputs pass through as text; the
//! structs describe the shapes to OpenAPI and, in the tests, check the writers.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepwell_orchestrator::api;
use utoipa::ToSchema;

use super::json::Object;

/// Where an execution stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Accepted and not ended.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended by a failure that nothing caught.
    Failed,
    /// Its own `TimeoutSeconds` passed.
    TimedOut,
    /// Cancelled.
    Aborted,
}

impl Status {
    /// The statuses as callers write them, with what they mean.
    pub(crate) const ALL: [(&str, api::Status); 5] = [
        ("RUNNING", api::Status::Running),
        ("SUCCEEDED", api::Status::Succeeded),
        ("FAILED", api::Status::Failed),
        ("TIMED_OUT", api::Status::TimedOut),
        ("ABORTED", api::Status::Aborted),
    ];
}

/// A status as the wire spells it.
#[must_use]
pub fn status_text(status: api::Status) -> &'static str {
    match status {
        api::Status::Running => "RUNNING",
        api::Status::Succeeded => "SUCCEEDED",
        api::Status::Failed => "FAILED",
        api::Status::TimedOut => "TIMED_OUT",
        api::Status::Aborted => "ABORTED",
    }
}

/// One execution.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Execution {
    /// Its id: 26 characters that sort by time.
    pub id: String,
    /// Its name; the id when it was given none.
    pub name: String,
    /// The flow's name.
    pub flow: String,
    /// The flow's version that it runs.
    pub version: u32,
    /// Where it stands.
    pub status: Status,
    /// When it was accepted, RFC 3339.
    pub started: String,
    /// When it ended, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Id of the execution that started it, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// That one's name, if it was given one; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_name: Option<String>,
    /// Input; left out of lists, and of the answer to a start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// Output of a success; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Error name of any other end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Cause of any other end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The state whose failure ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_in: Option<String>,
    /// State transitions so far.
    pub transitions: u64,
    /// wasmtime fuel so far.
    pub fuel: u64,
    /// Set when the engine waits for an operator before it goes on: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked: Option<Parked>,
    /// In how many states it is, Parallels and Maps included; left out of lists, and of express executions.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub active_count: u64,
    /// The first 100 of them, in the order in which they were entered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub active: Vec<Active>,
    /// Calls to the outside that wait for their turn, and up to 100 steps that wait to begin; left out of lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Waiting>,
    /// Signals that came before a Task waited for them, and are kept; left out of lists.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub signals_kept: u64,
    /// The first 100 of them, in the order in which they came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<KeptSignal>,
    /// Redrives so far.
    pub redrive_count: u32,
    /// When it was redriven last, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redriven: Option<String>,
    /// `EXPRESS`: kept in memory, with a history only if its flow asks for one. Absent: standard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    /// Whether it can be redriven.
    pub redrive_status: RedriveStatus,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redrive_status_reason: Option<String>,
}

/// A state that the execution has entered and not left.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Active {
    /// Its name.
    pub state: String,
    /// Number of this entry into it.
    pub entry: u64,
    /// Which attempt, from 0.
    pub attempt: u32,
    /// Which branch of the Parallel, or item of the Map, right around it, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// When it was entered, RFC 3339.
    pub since: String,
    /// What it waits for.
    #[schema(example = "its token")]
    pub r#for: String,
    /// When that is over in any case, RFC 3339: a timer's end, a time-out, a missed heartbeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Id of the execution whose end it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub child: Option<String>,
    /// What a call of it waits for before it may leave, or its step before it may begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "rate limit of host api.example.com")]
    pub queue: Option<String>,
}

/// A call to the outside that waits for its turn, or a step for a place to run in. Nothing of it has left.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    /// What it waits for.
    #[schema(example = "rate limit of host api.example.com")]
    pub r#for: String,
    /// The state that calls.
    pub state: String,
    /// Since when, RFC 3339; after a restart of the server, since then.
    pub since: String,
}

/// A signal that an execution keeps. Its data is in the history.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeptSignal {
    /// Its name.
    pub name: String,
    /// Bytes of its data.
    pub bytes: u64,
    /// Id of the execution that sent it, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// When it came, RFC 3339.
    pub received: String,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the attribute of serde wants a reference"
)]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Whether an execution can be redriven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RedriveStatus {
    /// It ended without success.
    Redrivable,
    /// `redrive_status_reason` says why.
    NotRedrivable,
}

/// An accepted redrive.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Redriven {
    /// The execution's id.
    pub id: String,
    /// The flow's version that it goes on with.
    pub version: u32,
    /// Which redrive this was, from 1.
    pub redrive_count: u32,
    /// When, RFC 3339.
    pub redriven: String,
}

/// Why an execution does not go on.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Parked {
    /// Error name.
    pub error: String,
    /// Cause.
    pub cause: String,
}

/// One page of executions, newest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecutionPage {
    /// The rows, without input and output.
    pub executions: Vec<Execution>,
    /// Pass as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An accepted start.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Started {
    /// The execution's id.
    pub id: String,
    /// Its name; the id when it was given none.
    pub name: String,
    /// The flow's name.
    pub flow: String,
    /// The flow's version that it runs.
    pub version: u32,
    /// When it was accepted, RFC 3339.
    pub started: String,
    /// `false`: an execution of this name and input was there already.
    pub new: bool,
}

/// What was accepted: a start, or an execution that was waited for and still runs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Accepted {
    /// Without `wait`.
    Started(Started),
    /// With `wait`.
    Running(Box<Execution>),
}

/// One page of an execution's history.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryPage {
    /// Events as Step Functions shows them: `id`, `type`, `timestamp`, `previousEventId`
    /// and details by type; beside them `state`, the name of the state that it is about, and
    /// `index`, the branch of the Parallel or item of the Map right around that, from 0.
    pub events: Vec<Value>,
    /// Pass as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Error and cause to end something with.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ending {
    /// Error name, at most 256 characters.
    pub error: Option<String>,
    /// Cause, at most 32,768 characters.
    pub cause: Option<String>,
}

/// Writes [`Execution`].
pub(crate) fn execution(e: &api::Execution) -> Vec<u8> {
    let payload = |d: &Option<stepwell_types::Data>| d.as_ref().map_or(0, |d| d.len_bytes());
    let mut out = Object::with_capacity(384 + payload(&e.input) + payload(&e.output));
    out.plain("id", e.id);
    out.str("name", &e.name);
    out.str("flow", &e.flow);
    out.num("version", u64::from(e.version));
    out.raw("status", quoted(e.status));
    out.time("started", e.started);
    if let Some(ended) = e.ended {
        out.time("ended", ended);
    }
    if let Some(parent) = e.parent {
        out.plain("parent", parent);
    }
    out.opt_str("parent_name", e.parent_name.as_deref());
    out.opt_data("input", e.input.as_ref());
    out.opt_data("output", e.output.as_ref());
    if let Some(failure) = &e.failure {
        out.str("error", &failure.error);
        out.str("cause", &failure.cause);
    }
    out.opt_str("failed_in", e.failed_in.as_deref());
    out.num("transitions", e.transitions);
    out.num("fuel", e.fuel);
    if let Some(failure) = &e.parked {
        let mut parked = Object::new();
        parked.str("error", &failure.error);
        parked.str("cause", &failure.cause);
        out.raw("parked", &String::from_utf8_lossy(&parked.finish()));
    }
    let (count, first) = &e.active;
    if *count > 0 {
        out.num("active_count", *count as u64);
        out.list("active", first, |out, one| {
            out.extend_from_slice(&active(one));
        });
    }
    if !e.waiting.is_empty() {
        out.list("waiting", &e.waiting, |out, waiting| {
            let mut one = Object::new();
            one.str("for", &waiting.to_string());
            one.str("state", &waiting.state);
            one.time("since", waiting.since);
            out.extend_from_slice(&one.finish());
        });
    }
    let (kept, first) = &e.signals;
    if *kept > 0 {
        out.num("signals_kept", *kept as u64);
        out.list("signals", first, |out, signal| {
            let mut one = Object::new();
            one.str("name", &signal.name);
            one.num("bytes", signal.bytes as u64);
            if let Some(sender) = signal.sender {
                one.plain("sender", sender);
            }
            one.time("received", signal.received);
            out.extend_from_slice(&one.finish());
        });
    }
    out.num("redrive_count", u64::from(e.redrives));
    if let Some(at) = e.redriven {
        out.time("redriven", at);
    }
    if e.express {
        out.str("type", "EXPRESS");
    }
    match e.redrivable() {
        Ok(()) => out.str("redrive_status", "REDRIVABLE"),
        Err(why) => {
            out.str("redrive_status", "NOT_REDRIVABLE");
            out.str("redrive_status_reason", &why.to_string());
        }
    }
    out.finish()
}

/// Writes [`Active`].
fn active(one: &api::ActiveState) -> Vec<u8> {
    let mut out = Object::new();
    out.str("state", &one.is.state);
    out.num("entry", one.is.entry.0);
    out.num("attempt", u64::from(one.is.attempt));
    if let Some(index) = one.is.index {
        out.num("index", u64::from(index));
    }
    out.time("since", one.is.since);
    out.str("for", &one.is.awaits.to_string());
    if let Some(until) = one.is.until {
        out.time("until", until);
    }
    if let api::Awaits::Child(child) = one.is.awaits {
        out.plain("child", child);
    }
    if let Some(queue) = &one.queue {
        out.str("queue", &queue.to_string());
    }
    out.finish()
}

/// Writes [`Redriven`].
pub(crate) fn redriven(r: &api::Redriven) -> Vec<u8> {
    let mut out = Object::new();
    out.plain("id", r.id);
    out.num("version", u64::from(r.version));
    out.num("redrive_count", u64::from(r.count));
    out.time("redriven", r.redriven);
    out.finish()
}

/// Writes [`Started`].
pub(crate) fn started(flow: &str, s: &api::Started) -> Vec<u8> {
    let mut out = Object::new();
    out.plain("id", s.id);
    out.str("name", &s.name);
    out.str("flow", flow);
    out.num("version", u64::from(s.version));
    out.time("started", s.started);
    out.bool("new", s.new);
    out.finish()
}

/// Writes [`ExecutionPage`].
pub(crate) fn page(page: &api::Page<api::Execution, stepwell_types::ExecutionId>) -> Vec<u8> {
    let mut out = Object::with_capacity(64 + 384 * page.items.len());
    out.list("executions", &page.items, |out, item| {
        out.extend_from_slice(&execution(item));
    });
    if let Some(next) = page.next {
        out.plain("next", next);
    }
    out.finish()
}

/// Writes [`HistoryPage`].
pub(crate) fn history(page: &api::Page<api::HistoryLine, u64>) -> Vec<u8> {
    let bytes: usize = page.items.iter().map(|l| l.json.len_bytes() + 1).sum();
    let mut out = Object::with_capacity(64 + bytes);
    out.list("events", &page.items, |out, line| {
        out.extend_from_slice(line.json.text().as_bytes());
    });
    if let Some(next) = page.next {
        out.num("next", next);
    }
    out.finish()
}

/// Writes the last event of a live tail: how the execution ended.
pub(crate) fn end(status: api::Status) -> String {
    format!("{{\"status\":{}}}", quoted(status))
}

fn quoted(status: api::Status) -> &'static str {
    match status {
        api::Status::Running => "\"RUNNING\"",
        api::Status::Succeeded => "\"SUCCEEDED\"",
        api::Status::Failed => "\"FAILED\"",
        api::Status::TimedOut => "\"TIMED_OUT\"",
        api::Status::Aborted => "\"ABORTED\"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stepwell_types::{Data, ExecutionId, Failure, ShardId, TargetKind, Timestamp};

    fn child() -> ExecutionId {
        ExecutionId::new(Timestamp(1), ShardId(1), 2)
    }

    fn sample() -> api::Execution {
        let waiting = stepwell_types::Waiting {
            entry: stepwell_types::EntryId(1),
            state: "S".into(),
            target: Some(stepwell_types::TargetName::new(
                TargetKind::Host,
                "a.example",
            )),
            reason: stepwell_types::WaitReason::Rate,
            since: Timestamp(7),
        };
        let active = api::ActiveState {
            is: api::Active {
                entry: stepwell_types::EntryId(1),
                attempt: 2,
                state: "S".into(),
                index: Some(3),
                since: Timestamp(5),
                awaits: api::Awaits::Child(child()),
                until: Some(Timestamp(9)),
            },
            queue: Some(waiting.clone()),
        };
        api::Execution {
            id: ExecutionId::new(Timestamp(1_795_000_000_000), ShardId(3), 7),
            name: "order-7".into(),
            flow: "orders".into(),
            version: 2,
            status: api::Status::TimedOut,
            started: Timestamp(1_795_000_000_000),
            ended: Some(Timestamp(1_795_000_000_001)),
            input: Some(Data::from_valid_text("{\"n\": 12345678901234567890123}")),
            output: Some(Data::from_valid_text("[1.50]")),
            failure: Some(Failure::new("States.Timeout", "said \"no\"\n")),
            failed_in: Some("S".into()),
            transitions: 4,
            fuel: u64::MAX,
            parked: Some(Failure::new("Stepwell.Parked", "why")),
            redrives: 1_000,
            redriven: Some(Timestamp(0)),
            flow_gone: false,
            parent: Some(ExecutionId::new(Timestamp(1), ShardId(1), 1)),
            parent_name: Some("order-6".into()),
            express: true,
            active: (120, vec![active]),
            waiting: vec![waiting],
            signals: (
                120,
                vec![api::KeptSignal {
                    name: "paid".into(),
                    bytes: 2,
                    sender: Some(ExecutionId::new(Timestamp(1), ShardId(1), 1)),
                    received: Timestamp(8),
                }],
            ),
        }
    }

    #[test]
    fn writers_fit_the_documented_shapes() {
        let full = execution(&sample());
        assert!(String::from_utf8_lossy(&full).contains("{\"n\": 12345678901234567890123}"));
        let shape: Execution = serde_json::from_slice(&full).unwrap();
        assert_eq!(shape.status, Status::TimedOut);
        let accepted = serde_json::from_slice(&full).unwrap();
        assert!(matches!(accepted, Accepted::Running(_)), "{accepted:?}");
        assert_eq!(shape.cause.as_deref(), Some("said \"no\"\n"));
        assert_eq!(shape.ended.as_deref(), Some("2026-11-18T11:06:40.001Z"));
        let active = &shape.active[0];
        assert_eq!((shape.active_count, active.index), (120, Some(3)));
        assert_eq!(active.r#for, format!("execution {}", child()));
        assert_eq!(active.child, Some(child().to_string()));
        let keys = |text: &[u8]| {
            let value: Value = serde_json::from_slice(text).unwrap();
            let object = value.as_object().cloned().unwrap_or_default();
            object.keys().cloned().collect::<Vec<_>>()
        };
        let shape_text = serde_json::to_vec(&shape).unwrap();
        assert_eq!(keys(&full), keys(&shape_text));

        let text = redriven(&api::Redriven {
            id: sample().id,
            version: 3,
            count: 2,
            redriven: Timestamp(0),
        });
        let shape: Redriven = serde_json::from_slice(&text).unwrap();
        assert_eq!((shape.version, shape.redrive_count), (3, 2));

        let items = vec![sample(), sample()];
        let next = Some(sample().id);
        let text = page(&api::Page { items, next });
        let shape: ExecutionPage = serde_json::from_slice(&text).unwrap();
        assert_eq!(shape.executions.len(), 2);
        assert_eq!(shape.next, next.map(|n| n.to_string()));

        let text = started(
            "orders",
            &api::Started {
                id: sample().id,
                name: "n".into(),
                version: 1,
                started: Timestamp(0),
                new: true,
            },
        );
        let shape: Started = serde_json::from_slice(&text).unwrap();
        let accepted = serde_json::from_slice(&text).unwrap();
        assert!(matches!(accepted, Accepted::Started(_)), "{accepted:?}");
        assert_eq!(shape.started, "1970-01-01T00:00:00.000Z");

        let line = api::HistoryLine {
            id: 1,
            kind: "ExecutionStarted".into(),
            json: Data::from_valid_text("{\"id\":1}"),
        };
        let text = history(&api::Page {
            items: vec![line.clone(), line],
            next: Some(2),
        });
        let shape: HistoryPage = serde_json::from_slice(&text).unwrap();
        assert_eq!((shape.events.len(), shape.next), (2, Some(2)));
        assert_eq!(end(api::Status::Failed), "{\"status\":\"FAILED\"}");
    }
}
