//! The gate of a real loop: what it is asked is recorded in the order of the asking.

use std::time::Duration;

use stepwell_orchestrator::gate::Verdict;
use stepwell_types::{AttemptId, BridgeCall, Digest, EntryId};

use super::{block, house};

/// A guest's calls are tasks of their own: whose future is polled first is chance.
#[test]
fn a_call_is_asked_for_when_it_is_and_not_when_somebody_waits() {
    let h = house(|_| {});
    let flow = r#"{"StartAt": "Hangs", "States": {"Hangs": {
        "Type": "Task", "End": true, "Resource": "wasm:any"}}}"#;
    h.check("PUT", "/v1/modules/any", "\0asm", 201, "");
    h.check("PUT", "/v1/flows/hangs", flow, 201, "");
    let (first, second) = block(async {
        let (_, started) = h.ask("POST", "/v1/flows/hangs/executions", "{}").await;
        let id = started["id"].as_str().unwrap_or_default();
        let by = AttemptId {
            execution: id.parse().expect("an id"),
            entry: EntryId(1),
            attempt: 0,
        };
        let call = |number: u32, request: &[u8]| BridgeCall {
            by,
            call: number,
            request: Digest::of(request),
            notes: None,
        };
        let gate = h.orchestrator.gate();
        let mut number = 0;
        loop {
            let first = gate.admit(call(number, b"first"));
            // The first to be recorded under this number.
            let second = gate.admit(call(number, b"second")).await;
            let first = first.await;
            if first != Verdict::Stopped {
                return (first, second);
            }
            // The attempt was not there yet. If it came between the two, the second has this number.
            number += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!((first, second), (Verdict::Go, Verdict::Diverged));
}
