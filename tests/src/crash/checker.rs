//! Compares what is there in the end with what was asked for and what was seen.
//!
//! Refuses to trust the engine: outputs and counts come from the plan.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::children;
use super::collect::{Everything, Known, Used};
use super::history;
use super::plan::{Case, Expected};
use super::report::{Report, Rule};
use super::seen::Notes;

/// Checks executions, what was seen of them, and usage. Calls are [`super::calls`]'s.
pub fn check(seed: u64, all: &Everything, notes: &Notes, report: &Report) {
    let mut by_case: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for (id, known) in &all.executions {
        if children::is_child(known) {
            continue;
        }
        let Some(case) = case_of(seed, known) else {
            report.breach(
                Rule::Accepted,
                format!("{id} was never asked for: {}", known.shown),
            );
            continue;
        };
        by_case.entry(case.number).or_default().push(id);
        outcome(&case, id, known, report);
        history::check(&case, id, known, report);
    }
    children::check(&by_case, seed, all, report);
    accepted(&by_case, all, notes, report);
    seen(all, notes, report);
    tokens(all, notes, report);
    usage(all, report);
}

/// The case that an execution belongs to, if its input is the case's.
#[must_use]
pub fn case_of(seed: u64, known: &Known) -> Option<Case> {
    let input = &known.shown["input"];
    let case = Case::draw(seed, input["case"].as_u64()?);
    let fits = case.has_input(input)
        && known.shown["flow"] == case.flow()
        && (!case.named || known.shown["name"] == case.name());
    fits.then_some(case)
}

fn accepted(by_case: &BTreeMap<u64, Vec<&str>>, all: &Everything, notes: &Notes, report: &Report) {
    report.count("executions", all.executions.len() as u64);
    report.count("executions accepted", notes.accepted.len() as u64);
    for (id, case) in &notes.accepted {
        if !all.executions.contains_key(id) {
            report.count("accepted executions lost", 1);
            report.breach(
                Rule::Accepted,
                format!("{id} of case {case} was accepted and is lost"),
            );
        }
    }
    let unsure: BTreeSet<u64> = notes.unsure.iter().copied().collect();
    let sure: BTreeMap<u64, &str> = notes
        .accepted
        .iter()
        .map(|(id, case)| (*case, &**id))
        .collect();
    for (case, ids) in by_case {
        let expected = match sure.get(case) {
            Some(id) => ids.as_slice() == [*id],
            None => ids.len() == 1 && unsure.contains(case),
        };
        report.check(expected, Rule::Accepted, || {
            format!("case {case} has {ids:?}, accepted was {:?}", sure.get(case))
        });
    }
}

fn outcome(case: &Case, id: &str, known: &Known, report: &Report) {
    let shown = &known.shown;
    let fits = match case.expected() {
        Expected::Output(output) => {
            let mut got = shown["output"].clone();
            without_serials(&mut got);
            shown["status"] == "SUCCEEDED" && got == output
        }
        Expected::Failure {
            status,
            error,
            cause,
        } => {
            shown["status"] == status
                && shown["error"] == error
                && cause.is_none_or(|cause| shown["cause"] == cause.as_str())
        }
    };
    report.check(fits, Rule::Outcome, || {
        format!(
            "{id} ({}) ended as {shown}, not as {:?}",
            case.flow(),
            case.expected()
        )
    });
    report.check(
        shown["transitions"] == case.transitions(),
        Rule::Outcome,
        || {
            format!(
                "{id} ({}): {} transitions, not {}",
                case.flow(),
                shown["transitions"],
                case.transitions()
            )
        },
    );
}

/// Takes out the numbers that the receiver gives its answers.
fn without_serials(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.shift_remove("serial");
            members.values_mut().for_each(without_serials);
        }
        Value::Array(items) => items.iter_mut().for_each(without_serials),
        _ => {}
    }
}

fn seen(all: &Everything, notes: &Notes, report: &Report) {
    report.count("ended executions shown", notes.ended.len() as u64);
    for (id, shown) in &notes.ended {
        let now = all.executions.get(id).map(|known| &known.shown);
        let same = now.is_some_and(|now| {
            shown
                .as_object()
                .is_some_and(|members| members.iter().all(|(name, value)| now[name] == *value))
        });
        report.check(same, Rule::Seen, || {
            format!("{id} was shown as {shown}, and is {now:?}")
        });
    }
    for (id, events) in &notes.events {
        report.count("events seen", events.len() as u64);
        let history = all.executions.get(id).map(|known| known.history.as_slice());
        for (number, event) in events {
            let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
            let now = history.and_then(|history| history.get(index));
            report.check(now == Some(event), Rule::Seen, || {
                format!("{id}: event {number} was seen as {event}, and is {now:?}")
            });
        }
    }
    for id in &notes.cancels {
        let now = all.executions.get(id).map(|known| &known.shown["status"]);
        report.check(
            now.is_some_and(|status| status == "ABORTED"),
            Rule::Seen,
            || format!("{id}: its cancel was acknowledged, and it is {now:?}"),
        );
    }
}

fn tokens(all: &Everything, notes: &Notes, report: &Report) {
    let distinct: BTreeSet<_> = notes.tokens.iter().collect();
    report.count("tokens handed out", distinct.len() as u64);
    for (id, state, _) in distinct {
        let history = all.executions.get(id).map(|known| known.history.as_slice());
        let entered = history.unwrap_or_default().iter().any(|event| {
            event["type"] == "TaskStateEntered"
                && event["stateEnteredEventDetails"]["name"] == state.as_str()
        });
        report.check(entered, Rule::Token, || {
            format!("{id} handed out a token of {state}, which its history never entered")
        });
    }
    report.count("answers acknowledged", notes.answers.len() as u64);
    for (id, _, answer) in &notes.answers {
        let history = all.executions.get(id).map(|known| known.history.as_slice());
        let taken = history.unwrap_or_default().iter().filter(|event| {
            let output = event["taskSucceededEventDetails"]["output"].as_str();
            output
                .and_then(|text| serde_json::from_str::<Value>(text).ok())
                .as_ref()
                == Some(answer)
        });
        let taken = taken.count();
        report.check(taken == 1, Rule::Token, || {
            format!(
                "{id}: the answer {answer} was acknowledged, and is {taken} times in its history"
            )
        });
    }
}

fn usage(all: &Everything, report: &Report) {
    let mut sums: BTreeMap<String, Used> = BTreeMap::new();
    for known in all.executions.values() {
        let flow = known.shown["flow"].as_str().unwrap_or_default();
        let sum = sums.entry(flow.to_owned()).or_default();
        sum.started += 1;
        sum.transitions += history::entries(&known.history);
        sum.fuel += known.shown["fuel"].as_u64().unwrap_or(0);
    }
    let total = |pick: fn(&Used) -> u64| sums.values().map(pick).sum();
    report.count("transitions", total(|used| used.transitions));
    for (flow, sum) in &sums {
        let counted = all.usage.get(flow);
        // What ran in memory and was forgotten is counted, and has no history.
        let forgets = flow == "express-items"
            && counted.is_some_and(|counted| {
                counted.started >= sum.started
                    && counted.transitions >= sum.transitions
                    && counted.fuel >= sum.fuel
            });
        report.check(forgets || counted == Some(sum), Rule::Usage, || {
            format!("{flow}: usage is {counted:?}, the histories sum up to {sum:?}")
        });
    }
}
