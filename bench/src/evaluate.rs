//! One state's evaluation by criterion: both query languages, on 1 KB and 1 MB of input.
//!
//! The interpreter alone, without a server: an execution of one Pass state from its
//! `Started` event to its end, input parsed anew each time. Refuses to compile within the
//! measurement: programs are compiled once, when they are published.

use std::time::Duration;

use anyhow::{Context as _, Result};
use criterion::{BatchSize, Criterion};
use serde_json::{Value, json};
use stepwell_flow::{AnyModule, Program, compile};
use stepwell_interpreter::{Event, NoHistory, State, step};
use stepwell_types::{Data, ExecutionId, FlowRef, ShardId, Timestamp};

use crate::Scale;
use crate::report::Report;

/// What a state does with its input, in each language.
fn states() -> [(&'static str, Value); 5] {
    [
        ("pass", json!({"Type": "Pass", "End": true})),
        (
            "jsonpath-one",
            json!({"Type": "Pass", "End": true, "Parameters": {"id.$": "$.order.id"}}),
        ),
        (
            "jsonata-one",
            json!({"Type": "Pass", "End": true, "QueryLanguage": "JSONata",
                "Output": {"id": "{% $states.input.order.id %}"}}),
        ),
        (
            "jsonpath-rows",
            json!({"Type": "Pass", "End": true, "Parameters": {
                "names.$": "$.rows[*].name", "some.$": "$.rows[?(@.n > 5)].n"}}),
        ),
        (
            "jsonata-rows",
            json!({"Type": "Pass", "End": true, "QueryLanguage": "JSONata", "Output": {
                "names": "{% $states.input.rows.name %}", "some": "{% $states.input.rows[n > 5].n %}"}}),
        ),
    ]
}

/// JSON text of about this many bytes.
fn input(bytes: usize) -> String {
    let row = |i: usize| json!({"name": format!("row {i:06}"), "n": i % 10, "tags": ["a", "b"]});
    let rows: Vec<Value> = (0..bytes / 55).map(row).collect();
    json!({"order": {"id": "o-17"}, "rows": rows}).to_string()
}

fn run(program: &Program, text: String) -> State {
    let mut state = State::new(ExecutionId::new(Timestamp(0), ShardId(0), 1));
    let event = Event::Started {
        flow: FlowRef {
            name: "flow".into(),
            version: 1,
        },
        name: "run".into(),
        input: Data::from_valid_text(text),
        seed: [1; 16],
        parent: None,
    };
    let mut out = Vec::with_capacity(1);
    // A flow that compiles takes its first event.
    let taken = step(
        program,
        &mut state,
        &event,
        Timestamp(0),
        &mut NoHistory,
        &mut out,
    );
    debug_assert!(taken.is_ok());
    state
}

pub fn measure(scale: &Scale, report: &mut Report) -> Result<()> {
    report.section("evaluate", "One state's evaluation (criterion)");
    let folder = xtask::place::target().join("criterion");
    let mut criterion = Criterion::default()
        .output_directory(&folder)
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs_f64(scale.window_s));
    for (size, bytes) in [("1KB", 1_000), ("1MB", 1_000_000)] {
        let text = input(bytes);
        for (name, state) in states() {
            let flow = json!({"StartAt": "A", "States": {"A": state}}).to_string();
            let checked = compile(&flow, &AnyModule);
            let program = checked.program.context("the flow does not compile")?;
            let ended = run(&program, text.clone());
            let succeeded = matches!(
                ended.outcome(),
                Some(stepwell_interpreter::Outcome::Succeeded(_))
            );
            anyhow::ensure!(succeeded, "{name} on {size}: {:?}", ended.outcome());
            let id = format!("{name}-{size}");
            criterion.bench_function(&id, |b| {
                b.iter_batched(
                    || text.clone(),
                    |text| run(&program, text),
                    BatchSize::SmallInput,
                );
            });
            let estimates = folder.join(&id).join("new/estimates.json");
            let estimates = std::fs::read_to_string(&estimates)
                .with_context(|| format!("{}", estimates.display()))?;
            let estimates: Value = serde_json::from_str(&estimates)?;
            let micros = estimates["median"]["point_estimate"]
                .as_f64()
                .unwrap_or(0.0)
                / 1_000.0;
            let key = id.to_lowercase().replace('-', "_");
            report.add(&key, micros, &format!("{micros:.1} us: {name} on {size}"));
        }
    }
    Ok(())
}
