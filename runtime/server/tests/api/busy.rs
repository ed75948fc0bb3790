//! What a server that has enough to do says to a start: not now, and when to come again.

use axum::http::StatusCode;

use super::{block, house, read, request};

/// As many executions as the house of these tests keeps at work.
const HOT_MAX: usize = 100;

#[test]
fn a_start_too_many_is_told_when_to_come_again() {
    let h = house(|_| {});
    let flow = r#"{"StartAt": "Hangs", "States": {"Hangs": {
        "Type": "Task", "End": true, "Resource": "wasm:any"}}}"#;
    h.check("PUT", "/v1/modules/any", "\0asm", 201, "");
    h.check("PUT", "/v1/flows/hangs", flow, 201, "");
    let start = "/v1/flows/hangs/executions";
    let mut last = String::new();
    for _ in 0..HOT_MAX {
        let (status, started) = block(h.ask("POST", start, "{}"));
        assert_eq!(status, 202, "{started}");
        last = started["id"].as_str().unwrap().to_owned();
    }
    let refused = block(h.send(request("POST", start, "{}")));
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let later = refused.headers()["retry-after"].to_str().unwrap();
    let later: u64 = later.parse().expect("seconds");
    assert!((1..=60).contains(&later), "{later}");
    let (_, problem) = block(read(refused));
    assert_eq!(problem["code"], "RUN0005", "{problem}");

    // Nothing was half done, and when one has ended there is room.
    let listed = "/v1/executions?flow=hangs&limit=1000";
    let (_, list) = block(h.ask("GET", listed, ""));
    assert_eq!(list["executions"].as_array().map(Vec::len), Some(HOT_MAX));
    let cancel = format!("/v1/executions/{last}/cancel");
    h.check("POST", &cancel, "", 200, "ABORTED");
    h.check("POST", start, "{}", 202, "");
}
