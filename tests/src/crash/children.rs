//! Compares the executions that executions started with those that their parents' plan asks for.
//!
//! Each wished child is there once, with its parent's id and its own right end; a parent that
//! waits went on after its child's end and with its output. Refuses to take the parent's word for it:
//! a child that no plan asks for is a breach, too.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::collect::{Everything, Known};
use super::history;
use super::plan::{BAD_ROW, Case, Kind, ROWS};
use super::report::{Report, Rule};

/// Whether an execution is one that the load's flows start, and not a client.
#[must_use]
pub fn is_child(known: &Known) -> bool {
    known.shown["parent"].is_string()
}

/// What a child is to its parent: the number of its row for one of a file's.
fn role(known: &Known) -> String {
    let input = &known.shown["input"];
    let named = input["role"].as_str();
    let row = named
        .or_else(|| input["row"]["id"].as_str())
        .or_else(|| input["Items"][0]["row"]["id"].as_str());
    row.unwrap_or(if input["ExecutionArn"].is_string() {
        "written"
    } else {
        ""
    })
    .to_owned()
}

/// Children by their parent's id and their role.
type ByParent<'a> = BTreeMap<(&'a str, String), Vec<(&'a str, &'a Known)>>;

/// Checks every child and every parent.
pub fn check(by_case: &BTreeMap<u64, Vec<&str>>, seed: u64, all: &Everything, report: &Report) {
    let mut children = ByParent::new();
    for (id, known) in &all.executions {
        if !is_child(known) {
            continue;
        }
        report.count("children", 1);
        let flow = known.shown["flow"].as_str().unwrap_or_default();
        history::sound(flow, id, known, report);
        let parent = known.shown["parent"].as_str().unwrap_or_default();
        let same = children.entry((parent, role(known))).or_default();
        same.push((id, known));
    }
    for (number, ids) in by_case {
        let case = Case::draw(seed, *number);
        for id in ids {
            for (role, n) in case.children() {
                let started = children.remove(&(*id, role.clone())).unwrap_or_default();
                let [(child, known)] = started.as_slice() else {
                    let text = format!("{id} has {} children {role:?}", started.len());
                    report.breach(Rule::Child, text);
                    continue;
                };
                let parent = all.executions.get(*id);
                ended_well(&case, &role, n, child, known, parent, report);
            }
            items(&case, id, &mut children, report);
            if case.kind == Kind::Leaves {
                let started = children
                    .remove(&(*id, "asleep".to_owned()))
                    .unwrap_or_default();
                let gone = started
                    .iter()
                    .all(|(_, known)| known.shown["status"] == "ABORTED");
                report.count("children that a cancel found", started.len() as u64);
                report.check(started.len() <= 1 && gone, Rule::Child, || {
                    let shown: Vec<&Value> =
                        started.iter().map(|(_, known)| &known.shown).collect();
                    format!("{id} was cancelled and left {shown:?}")
                });
            }
        }
    }
    for ((parent, role), started) in children {
        let ids: Vec<&str> = started.iter().map(|(id, _)| *id).collect();
        report.breach(
            Rule::Child,
            format!("{parent} never asked for {role:?}: {ids:?}"),
        );
    }
}

/// The items of a distributed Map are there: each row's once, and each result's that was
/// written; of those in memory only the one that failed.
fn items<'a>(case: &Case, id: &'a str, children: &mut ByParent<'a>, report: &Report) {
    let rows = match case.kind {
        Kind::Items => 1..=ROWS,
        Kind::ExpressItems => BAD_ROW..=BAD_ROW,
        _ => return,
    };
    for row in rows {
        let started = children.remove(&(id, row.to_string())).unwrap_or_default();
        let status = if row == BAD_ROW {
            "FAILED"
        } else {
            "SUCCEEDED"
        };
        let right = matches!(started.as_slice(), [(_, known)] if known.shown["status"] == status);
        report.check(right, Rule::Child, || {
            format!("row {row} of {id} should be one that {status}: {started:?}")
        });
    }
    if case.kind == Kind::Items {
        let written = children
            .remove(&(id, "written".to_owned()))
            .unwrap_or_default();
        let right = written.len() as i64 == ROWS - 1
            && written
                .iter()
                .all(|(_, known)| known.shown["status"] == "SUCCEEDED");
        report.check(right, Rule::Child, || {
            format!("the results that {id} wrote and read again: {written:?}")
        });
    }
}

/// The child ended as it must, and a parent that waits for it was told so, once.
fn ended_well(
    case: &Case,
    role: &str,
    n: i64,
    id: &str,
    child: &Known,
    parent: Option<&Known>,
    report: &Report,
) {
    let shown = &child.shown;
    let output = json!({ "case": case.number, "role": role, "value": n + 1 });
    let transitions = 2 + u64::from(n > 500);
    let fits = shown["status"] == "SUCCEEDED"
        && shown["output"] == output
        && shown["transitions"] == transitions
        && history::entries(&child.history) == transitions;
    report.check(fits, Rule::Child, || {
        format!("{id}, the child {role:?} of case {}: {shown}", case.number)
    });
    let told = parent.map_or(&[][..], |parent| &parent.history);
    let told = told.iter().filter(|event| {
        let text = event["taskSucceededEventDetails"]["output"].as_str();
        text.is_some_and(|text| text.contains(id))
    });
    let told: Vec<&Value> = told.collect();
    let right = match told.as_slice() {
        // Event times are RFC 3339 in UTC with milliseconds: they sort as texts.
        [event] if role != "told" => event["timestamp"].as_str() >= shown["ended"].as_str(),
        [_] => true,
        _ => false,
    };
    report.check(right, Rule::Child, || {
        format!(
            "{id}, the child {role:?}, ended at {}: its parent saw {told:?}",
            shown["ended"]
        )
    });
}
