//! Compares what steps counted in a namespace that all share with the executions that counted.
//!
//! Refuses to count attempts: a step counts once when it succeeds, however often it ran, and not at
//! all when it fails.

use std::collections::BTreeSet;

use serde_json::Value;

use super::checker::case_of;
use super::collect::Everything;
use super::report::{Report, Rule};

/// Checks the counters: `counted` is one that was incremented and one that was read and written.
pub fn check(seed: u64, all: &Everything, counted: &Value, report: &Report) {
    let mut expected = 0;
    let mut given = BTreeSet::new();
    for (id, known) in &all.executions {
        let counts = case_of(seed, known).map_or(0, |case| case.counts());
        expected += counts;
        let kept = known.shown["output"]["kept"].as_array();
        for serial in kept.into_iter().flatten() {
            let serial = serial["serial"].as_u64();
            let new = serial.is_some_and(|serial| given.insert(serial));
            report.check(new, Rule::Kept, || {
                format!("{id} was given {serial:?}, as another was")
            });
        }
    }
    report.count("steps that counted", expected);
    // Nobody has made the counters before the first step counted.
    let counter = match expected {
        0 => Value::Null,
        _ => Value::String(expected.to_string()),
    };
    report.check(
        *counted == serde_json::json!([counter, counter]),
        Rule::Kept,
        || format!("{expected} steps counted, and the counters are {counted}"),
    );
    // With the rule above that no two are the same: the numbers are 1, 2, 3, … without a gap.
    let right = given.len() as u64 == expected && given.last().is_none_or(|last| *last == expected);
    report.check(right, Rule::Kept, || {
        format!(
            "{expected} steps were given {} numbers up to {:?}",
            given.len(),
            given.last()
        )
    });
}
