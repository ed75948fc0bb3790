//! What the load starts: cases drawn from a seed, with what must come of each, computed
//! here and not by the engine.
//!
//! Refuses to talk to anything: a case is plain data.

use serde_json::{Value, json};

use crate::random::Random;

/// The flows of the load, one per behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// States one after another.
    Sequence,
    /// Branches side by side.
    Parallel,
    /// A graph per item.
    Map,
    /// A step that fails on its first attempts.
    Retry,
    /// Waits, to a moment and for a second.
    Wait,
    /// A token that the client fetches from the API and answers.
    Callback,
    /// Calls to the receiver, one refused at first.
    Call,
    /// A step of a module that makes two calls to the receiver.
    Guest,
    /// A token that leaves in a call.
    Notify,
    /// Ends in `FAILED`.
    Fails,
    /// Is cancelled by the client.
    Cancelled,
    /// Ends in `TIMED_OUT`.
    Expires,
    /// Several of these at once.
    Mixed,
    /// Starts other flows, and waits for all but one of them.
    Parent,
    /// Is cancelled while it waits for a flow that it started.
    Leaves,
    /// JSONata with variables.
    Variables,
    /// CloudFlow's language.
    CloudFlow,
    /// A distributed Map of standard children over the rows of a file, and what it wrote.
    Items,
    /// A distributed Map of express children.
    ExpressItems,
    /// Steps that count in a namespace that all executions share, one of them in vain.
    Keeps,
    /// A call and a step that show a secret to the receiver.
    Secret,
    /// Calls, a step's too, to targets that bear little at once or a second.
    Limited,
}

/// A kind, how often it is drawn, its flow's name and definition.
const KINDS: [(Kind, u64, &str, &str); 22] = [
    (
        Kind::Sequence,
        14,
        "sequence",
        include_str!("flows/sequence.json"),
    ),
    (
        Kind::Parallel,
        12,
        "parallel",
        include_str!("flows/parallel.json"),
    ),
    (Kind::Map, 10, "map", include_str!("flows/map.json")),
    (Kind::Retry, 10, "retry", include_str!("flows/retry.json")),
    (Kind::Wait, 8, "wait", include_str!("flows/wait.json")),
    (
        Kind::Callback,
        10,
        "callback",
        include_str!("flows/callback.json"),
    ),
    (Kind::Call, 10, "call", include_str!("flows/call.json")),
    (Kind::Guest, 12, "guest", include_str!("flows/guest.json")),
    (Kind::Notify, 8, "notify", include_str!("flows/notify.json")),
    (Kind::Fails, 4, "fails", include_str!("flows/fails.json")),
    (
        Kind::Cancelled,
        4,
        "cancelled",
        include_str!("flows/cancelled.json"),
    ),
    (
        Kind::Expires,
        3,
        "expires",
        include_str!("flows/expires.json"),
    ),
    (Kind::Mixed, 7, "mixed", include_str!("flows/mixed.json")),
    (
        Kind::Parent,
        12,
        "parent",
        include_str!("flows/parent.json"),
    ),
    (Kind::Leaves, 4, "leaves", include_str!("flows/leaves.json")),
    (
        Kind::Variables,
        6,
        "variables",
        include_str!("flows/variables.json"),
    ),
    (
        Kind::CloudFlow,
        6,
        "cloudflow",
        include_str!("flows/cloudflow.yaml"),
    ),
    (Kind::Items, 3, "items", include_str!("flows/items.json")),
    (
        Kind::ExpressItems,
        3,
        "express-items",
        include_str!("flows/express-items.json"),
    ),
    (Kind::Keeps, 10, "keeps", include_str!("flows/keeps.json")),
    (
        Kind::Secret,
        10,
        "secret",
        include_str!("flows/secret.json"),
    ),
    (
        Kind::Limited,
        8,
        "limited",
        include_str!("flows/limited.json"),
    ),
];
/// Rows of the file that [`Kind::Items`] and [`Kind::ExpressItems`] read.
pub const ROWS: i64 = 12;
/// Of them, the one whose item fails.
pub const BAD_ROW: i64 = 7;
/// Flows that the load's flows start, and the one that tells in the end what was counted.
const STARTED: [(&str, &str); 3] = [
    (CHILD, include_str!("flows/child.json")),
    (SLEEPER, include_str!("flows/sleeper.json")),
    (COUNTED, include_str!("flows/counted.json")),
];
/// What [`Kind::Parent`] starts.
pub const CHILD: &str = "child";
/// What [`Kind::Leaves`] starts.
pub const SLEEPER: &str = "sleeper";
/// Reads what [`Kind::Keeps`] counted.
pub const COUNTED: &str = "counted";
/// The flow whose Task shows a secret.
pub const SECRET: &str = "secret";

/// Name and definition of every flow; those that others start come first.
pub fn flows() -> impl Iterator<Item = (&'static str, &'static str)> {
    let drawn = KINDS
        .iter()
        .map(|(_, _, name, definition)| (*name, *definition));
    STARTED.into_iter().chain(drawn)
}

/// The file: each row's number and ten times that.
#[must_use]
pub fn rows() -> String {
    let rows = (1..=ROWS).map(|id| format!("{id},{}\n", 10 * id));
    std::iter::once("id,value\n".to_owned())
        .chain(rows)
        .collect()
}

/// How the client attends an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Start-and-wait, then waiting reads.
    Wait,
    /// Live tail.
    Tail,
    /// Looks at status and history again and again.
    Poll,
    /// Starts it and goes away.
    Leave,
}

/// Whether something is said a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// No.
    Not,
    /// The same once more: must be taken as the first.
    Same,
    /// Something else under the same name: must be refused.
    Other,
}

/// One execution to start.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its number in the run; the seed and it decide all else.
    pub number: u64,
    /// Which flow.
    pub kind: Kind,
    /// Whether it is started under a name.
    pub named: bool,
    /// How the client attends it.
    pub manner: Manner,
    /// Whether the start is repeated.
    pub start_again: Again,
    /// Whether the token's answer is repeated.
    pub answer_again: Again,
    /// Milliseconds that the receiver takes, and that the first wait lasts.
    pub delay_ms: u64,
    n: i64,
    items: Vec<i64>,
    times: u64,
}

/// How an execution must end.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// `SUCCEEDED`, with this output once members named `serial` are taken out.
    Output(Value),
    /// Another status, with this error and, where it is known, cause.
    Failure {
        /// `FAILED`, `TIMED_OUT` or `ABORTED`.
        status: &'static str,
        /// Error name.
        error: &'static str,
        /// Cause.
        cause: Option<String>,
    },
}

impl Case {
    /// The case of this number.
    #[must_use]
    pub fn draw(seed: u64, number: u64) -> Case {
        let mut random = Random::new(seed, number);
        let kind = kind(&mut random);
        let again = |random: &mut Random| match random.below(10) {
            0..=2 => Again::Same,
            3 => Again::Other,
            _ => Again::Not,
        };
        // Only what needs no answer may be lost sight of by the client.
        let unattended = matches!(
            kind,
            Kind::Sequence
                | Kind::Parallel
                | Kind::Map
                | Kind::Retry
                | Kind::Wait
                | Kind::Call
                | Kind::Guest
                | Kind::Parent
                | Kind::Variables
                | Kind::CloudFlow
                | Kind::Items
                | Kind::ExpressItems
                | Kind::Keeps
                | Kind::Secret
                | Kind::Limited
        );
        let manner = match random.below(10) {
            0..=2 => Manner::Wait,
            3..=5 => Manner::Tail,
            6..=7 => Manner::Poll,
            _ if unattended => Manner::Leave,
            _ => Manner::Poll,
        };
        let named = !(unattended && random.chance(20));
        let start_again = if named {
            again(&mut random)
        } else {
            Again::Not
        };
        Case {
            number,
            kind,
            named,
            manner,
            start_again,
            answer_again: again(&mut random),
            delay_ms: random.below(60),
            n: i64::try_from(random.below(1000)).unwrap_or(0),
            items: (0..random.between(1, 6))
                .map(|_| i64::try_from(random.below(1000)).unwrap_or(0))
                .collect(),
            times: match kind {
                Kind::Retry => [0, 1, 2, 9][usize::try_from(random.below(4)).unwrap_or(0)],
                _ => random.below(2),
            },
        }
    }

    /// The flow's name.
    #[must_use]
    pub fn flow(&self) -> &'static str {
        let found = KINDS.iter().find(|(kind, ..)| *kind == self.kind);
        found.map_or("", |(_, _, name, _)| name)
    }

    /// The execution's name.
    #[must_use]
    pub fn name(&self) -> String {
        format!("case-{}", self.number)
    }

    /// Its input, for a start at this moment (RFC 3339) with the receiver's doors at `urls`.
    #[must_use]
    pub fn input(&self, until: &str, urls: [&str; 3]) -> Value {
        let [url, narrow, slow] = urls;
        json!({
            "case": self.number,
            "n": self.n,
            "items": self.items,
            "times": self.times,
            "delay_ms": self.delay_ms,
            "until": until,
            "url": url,
            "narrow": narrow,
            "slow": slow,
            "mark": super::secrets::MARK,
        })
    }

    /// Whether this is the input of [`Case::input`], whatever the moment and the receiver.
    #[must_use]
    pub fn has_input(&self, input: &Value) -> bool {
        let text = |name: &str| input[name].as_str().unwrap_or_default();
        *input == self.input(text("until"), ["url", "narrow", "slow"].map(text))
    }

    /// What the client answers to the token.
    #[must_use]
    pub fn answer(&self) -> Value {
        json!({ "value": self.n + 7, "of": self.number })
    }

    /// How it must end.
    #[must_use]
    pub fn expected(&self) -> Expected {
        let (case, n) = (self.number, self.n);
        Expected::Output(match self.kind {
            Kind::Sequence => {
                let size = if n > 500 { "large" } else { "small" };
                json!({ "case": case, "size": size, "sum": 2 * n })
            }
            Kind::Parallel => json!({ "case": case, "left": n + 1, "doubled": 2 * n }),
            Kind::Map => {
                let items = self.items.iter().enumerate();
                items
                    .map(|(index, value)| json!({ "index": index, "value": value + 1000 }))
                    .collect()
            }
            Kind::Retry if self.times > 2 => json!({ "case": case, "caught": "Flaky" }),
            Kind::Retry => {
                json!({ "error": "Flaky", "cause": "not yet", "times": self.times, "case": case })
            }
            Kind::Wait => json!({ "case": case, "n": n }),
            Kind::Callback | Kind::Notify => json!({ "case": case, "answer": n + 7 }),
            Kind::Keeps => json!({
                "case": case,
                "own": self.items.len().to_string(),
                "kept": vec![json!({}); self.items.len()],
            }),
            Kind::Limited => {
                let doubled = |n: i64| json!({ "doubled": 2 * n });
                let each = |n: &i64| json!({ "narrow": doubled(*n), "slow": doubled(*n) });
                let calls: Value = self.items.iter().map(each).collect();
                json!({ "case": case, "calls": calls, "guest": [doubled(n), doubled(n + 1)] })
            }
            Kind::Call | Kind::Guest | Kind::Secret => json!({
                "case": case, "first": { "doubled": 2 * n }, "second": { "doubled": 4 * n },
            }),
            Kind::Mixed => {
                let calls: Value = self
                    .items
                    .iter()
                    .map(|n| json!({ "doubled": 2 * n }))
                    .collect();
                json!({ "case": case, "calls": calls, "answer": n + 7 })
            }
            Kind::Parent => {
                let values: Value = self.items.iter().map(|n| json!(n + 1)).collect();
                json!({ "case": case, "values": values })
            }
            Kind::Variables => {
                let sums: Value = self.items.iter().map(|item| json!(item + n + 1)).collect();
                json!({ "case": case, "total": n + 1, "sums": sums })
            }
            Kind::CloudFlow => json!({ "case": case, "total": n + 110 }),
            Kind::Items => {
                let rows = (1..=ROWS).filter(|id| *id != BAD_ROW);
                let sums: Value = rows.map(|id| json!(10 * id + n)).collect();
                json!({ "case": case, "sums": sums })
            }
            Kind::ExpressItems => {
                // Two rows a child.
                let pairs = (1..=ROWS).step_by(2).map(|id| match id {
                    BAD_ROW => json!({ "Error": "Refused", "Cause": "row 7" }),
                    _ => json!([10 * id + n, 10 * id + 10 + n]),
                });
                json!({ "case": case, "sums": pairs.collect::<Value>() })
            }
            Kind::Fails => return failure("FAILED", "Refused", Some(format!("case {case}"))),
            Kind::Cancelled | Kind::Leaves => {
                return failure("ABORTED", "Crash.Cancelled", Some(format!("case {case}")));
            }
            Kind::Expires => return failure("TIMED_OUT", "States.Timeout", None),
        })
    }

    /// Entries into states: what usage counts.
    #[must_use]
    pub fn transitions(&self) -> u64 {
        let items = self.items.len() as u64;
        match self.kind {
            Kind::Sequence => 5,
            Kind::Parallel => 6,
            Kind::Map => 1 + 2 * items,
            Kind::Retry | Kind::Notify | Kind::Fails => {
                2 + u64::from(self.kind == Kind::Retry && self.times > 2)
            }
            Kind::Wait | Kind::Callback | Kind::Call => 3,
            Kind::Cancelled | Kind::Expires | Kind::Leaves | Kind::Guest => 1,
            Kind::Mixed | Kind::Variables => 5 + items,
            Kind::Parent => 3 + items,
            Kind::CloudFlow => 6,
            Kind::Items => 3,
            Kind::ExpressItems | Kind::Secret => 2,
            Kind::Keeps => 3 + items,
            Kind::Limited => 2 + 2 * items,
        }
    }

    /// Fewest and most attempts that its history may show.
    ///
    /// They differ where the receiver refuses a first call whose answer a kill may swallow.
    #[must_use]
    pub fn attempts(&self) -> (u64, u64) {
        let items = self.items.len() as u64;
        match self.kind {
            Kind::Sequence | Kind::Fails => (2, 2),
            Kind::Parallel => (3, 3),
            Kind::Map => (items, items),
            Kind::Retry => (self.times.min(2) + 1, self.times.min(2) + 1),
            Kind::Wait
            | Kind::Notify
            | Kind::Expires
            | Kind::Leaves
            | Kind::Variables
            | Kind::Guest => (1, 1),
            Kind::Callback | Kind::CloudFlow | Kind::Secret => (2, 2),
            Kind::Keeps => (2 + items, 2 + items),
            Kind::Limited => (1 + 2 * items, 1 + 2 * items),
            Kind::Parent => (items + 1, items + 1),
            Kind::Call => (2, 2 + self.times),
            Kind::Cancelled | Kind::Items | Kind::ExpressItems => (0, 0),
            Kind::Mixed => (items + 2 + self.times, items + 2 + self.times),
        }
    }

    /// The places that call the receiver: each has one idempotency key.
    #[must_use]
    pub fn places(&self) -> Vec<String> {
        match self.kind {
            Kind::Parallel => vec!["middle".into()],
            Kind::Call => vec!["first".into(), "second".into()],
            Kind::Guest => vec!["guest-first".into(), "guest-second".into()],
            Kind::Notify => vec!["notify".into()],
            Kind::Secret => vec!["secret-call".into(), "secret-step".into()],
            Kind::Limited => {
                let items = 0..self.items.len();
                let each = items.flat_map(|i| [format!("narrow-{i}"), format!("slow-{i}")]);
                each.chain(["both-0".into(), "both-1".into()]).collect()
            }
            Kind::Mixed => (0..self.items.len()).map(|i| format!("item-{i}")).collect(),
            _ => Vec::new(),
        }
    }

    /// The executions that this one starts, by their role: each with its input's number.
    #[must_use]
    pub fn children(&self) -> Vec<(String, i64)> {
        if self.kind != Kind::Parent {
            return Vec::new();
        }
        let asked = self.items.iter().enumerate();
        let asked = asked.map(|(index, n)| (index.to_string(), *n));
        asked.chain([("told".to_owned(), self.n)]).collect()
    }

    /// Steps of it that count in the namespace that all share, and succeed.
    #[must_use]
    pub fn counts(&self) -> u64 {
        match self.kind {
            Kind::Keeps => self.items.len() as u64,
            _ => 0,
        }
    }

    /// Whether the client cancels it.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.kind, Kind::Cancelled | Kind::Leaves)
    }

    /// Whether the client has a token to answer.
    #[must_use]
    pub fn asks(&self) -> bool {
        matches!(self.kind, Kind::Callback | Kind::Notify | Kind::Mixed)
    }
}

/// How many cases of this run there must be, so that all is among them that a run is to show: tokens and
/// answers, calls by each door and with a secret, children, counting steps, events that are followed. Each by a
/// case with a name, which is started whatever dies.
#[must_use]
pub fn enough(seed: u64) -> u64 {
    let shows: [fn(&Case) -> bool; 7] = [
        Case::asks,
        |case| case.kind == Kind::Call,
        |case| case.kind == Kind::Limited,
        |case| case.kind == Kind::Secret,
        |case| case.kind == Kind::Parent,
        |case| case.kind == Kind::Keeps,
        |case| case.manner == Manner::Tail,
    ];
    let first = |shows: &fn(&Case) -> bool| {
        let mut cases = (0..).map(|number| Case::draw(seed, number));
        cases.find(|case| case.named && shows(case))
    };
    let firsts = shows.iter().filter_map(first);
    firsts.map(|case| case.number + 1).max().unwrap_or(0)
}

fn failure(status: &'static str, error: &'static str, cause: Option<String>) -> Expected {
    Expected::Failure {
        status,
        error,
        cause,
    }
}

fn kind(random: &mut Random) -> Kind {
    let sum = KINDS.iter().map(|(_, weight, ..)| weight).sum();
    let mut left = random.below(sum);
    for (kind, weight, ..) in KINDS {
        if left < weight {
            return kind;
        }
        left -= weight;
    }
    Kind::Sequence
}

#[cfg(test)]
mod tests {
    use super::{Case, Kind, enough, flows};
    use std::collections::BTreeSet;

    #[test]
    fn enough_cases_are_few_and_have_all_that_a_run_shows() {
        for seed in 0..50 {
            let enough = enough(seed);
            let cases = (0..enough).map(|number| Case::draw(seed, number));
            let kinds: BTreeSet<Kind> = cases.filter(|c| c.named).map(|c| c.kind).collect();
            for kind in [
                Kind::Call,
                Kind::Limited,
                Kind::Secret,
                Kind::Parent,
                Kind::Keeps,
            ] {
                assert!(kinds.contains(&kind), "{seed}: {kind:?}");
            }
            assert!(enough < 300, "{seed}: {enough}");
        }
    }

    #[test]
    fn every_kind_is_drawn_and_knows_its_own_input() {
        let kinds: BTreeSet<Kind> = (0..400).map(|n| Case::draw(7, n).kind).collect();
        assert_eq!(kinds.len() + super::STARTED.len(), flows().count());
        let case = Case::draw(7, 3);
        let input = case.input(
            "2026-01-01T00:00:00Z",
            ["http://a/", "http://b/", "http://c/"],
        );
        assert!(case.has_input(&input));
        assert!(!Case::draw(7, 4).has_input(&input));
    }
}
