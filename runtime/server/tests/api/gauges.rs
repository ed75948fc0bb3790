//! What `/metrics` says while nothing is committed.

use std::time::Duration;

use serde_json::Value;
use stepwell_store::memory::Memory;
use stepwell_store::{Batch, Key, Writer as _};

use super::{PASS, block, house, house_over};

/// After an unclean stop a step runs when its execution is durable; then nothing more is
/// committed until it ends, and the gauge must not wait for that.
#[test]
fn a_step_that_runs_is_counted_while_nothing_is_committed() {
    let memory = Memory::new();
    let mut used = Batch::default();
    let name = "used".into();
    used.put(Key::Meta { name }, vec![1]);
    memory.writer().commit(&[used]).unwrap();
    let h = house_over(memory, |_| {});
    let flow = r#"{"StartAt": "Hangs", "States": {"Hangs": {
        "Type": "Task", "End": true, "Resource": "wasm:any"}}}"#;
    h.check("PUT", "/v1/modules/any", "\0asm", 201, "");
    h.check("PUT", "/v1/flows/hangs", flow, 201, r#""new":true"#);
    h.check("POST", "/v1/flows/hangs/executions", "{}", 202, "");
    let counted = block(async {
        for _ in 0..100 {
            let (_, text) = h.ask("GET", "/metrics", "").await;
            let text = text.as_str().unwrap_or_default().to_owned();
            if text.contains("\nstepwell_steps_running 1\n") {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    });
    assert!(counted, "stepwell_steps_running stays 0 while a step runs");
}

#[test]
fn redrives_are_counted() {
    let h = house(|_| {});
    let flow = "StartAt: A\nStates:\n  A: {Type: Task, Resource: wasm:any, End: true}\n";
    h.check("PUT", "/v1/modules/any", "\0asm", 201, "");
    h.check("PUT", "/v1/flows/fails", flow, 201, "");
    let start = "/v1/flows/fails/executions?wait=10";
    let (_, failed) = block(h.ask("POST", start, "{}"));
    assert_eq!(failed["status"], "FAILED", "{failed}");
    let id = failed["id"].as_str().unwrap();
    let redrive = format!("/v1/executions/{id}/redrive");
    h.check("POST", &redrive, "", 202, "");
    h.check(
        "GET",
        &format!("/v1/executions/{id}?wait=10"),
        "",
        200,
        "FAILED",
    );
    let counted = "stepwell_executions_redriven_total 1\\n";
    h.check("GET", "/metrics", "", 200, counted);
}

#[test]
fn usage_has_pages() {
    let h = house(|_| {});
    for flow in ["a", "b"] {
        let start = format!("/v1/flows/{flow}/executions?wait=10");
        h.check("PUT", &format!("/v1/flows/{flow}"), PASS, 201, "");
        h.check("POST", &start, "{}", 200, "SUCCEEDED");
    }
    // The end of the last may have been told before the counters were written.
    let (_, all) = block(async {
        loop {
            let (status, all) = h.ask("GET", "/v1/usage", "").await;
            if all["usage"].as_array().is_some_and(|list| list.len() == 2) {
                return (status, all);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let (_, first) = block(h.ask("GET", "/v1/usage?limit=1", ""));
    assert_eq!(first["usage"][0], all["usage"][0]);
    let next = first["next"].as_str().unwrap();
    let (_, second) = block(h.ask("GET", &format!("/v1/usage?limit=1&after={next}"), ""));
    assert_eq!(second["usage"][0], all["usage"][1]);
    assert_eq!(
        (&all["next"], &second["next"]),
        (&Value::Null, &Value::Null)
    );
    h.check("GET", "/v1/usage?after=a/b", "", 400, "FLOW/YYYY-MM-DD");
}
