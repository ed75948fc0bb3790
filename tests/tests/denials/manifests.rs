//! What a flow's own manifest does not grant its states: buckets of Maps and of jobs, flows that it starts,
//! executions that it signals.

use serde_json::{Value, json};
use stepwell_tests::bridges::podman::IMAGE;

use super::house::{House, Row, run};

const UNGRANTED: &str = "Stepwell.NotGranted";

/// A flow that writes what its items yield into a bucket.
pub const RESULTS: &str = r#"
StartAt: M
States:
  M:
    Type: Map
    ItemsPath: $.items
    ItemProcessor:
      ProcessorConfig: {Mode: DISTRIBUTED, ExecutionType: EXPRESS}
      StartAt: P
      States: {P: {Type: Pass, End: true}}
    ResultWriter:
      Resource: arn:aws:states:::s3:putObject
      Parameters: {Bucket.$: $.bucket, Prefix: manifests}
    End: true
"#;

pub fn rows(house: &House) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut check = |flow: &'static str, input: Value, error| {
        rows.push(run(flow, &input.to_string(), input.clone(), error));
    };
    let start = |flow: &str| json!({"StateMachineArn": flow});
    check("start-some", start("taker"), "");
    check("start-some", start("taker:1"), "");
    for flow in [
        "sealed",
        "sealed:1",
        "arn:aws:states:r:1:stateMachine:sealed",
        "start-some",
        "nonesuch",
        "TAKER",
        "taker2",
    ] {
        check("start-some", start(flow), UNGRANTED);
        check("start-none", start(flow), UNGRANTED);
    }
    check("start-none", start("taker"), UNGRANTED);

    let by_name =
        |flow: &str, name: &str| json!({"Name": "note", "Flow": flow, "ExecutionName": name});
    let by_id = |id: &str| json!({"Name": "note", "Execution": id});
    check("send-some", by_name("taker", "t"), "");
    check("send-some", by_id(&house.taker), "");
    check(
        "send-some",
        by_name("taker", "nobody"),
        "Stepwell.NoExecution",
    );
    for send in [
        by_name("sealed", "s"),
        by_name("sealed", "nobody"),
        by_name("nonesuch", "s"),
        by_id(&house.sealed),
    ] {
        check("send-some", send.clone(), UNGRANTED);
        check("send-none", send, UNGRANTED);
    }
    check("send-none", by_id(&house.taker), UNGRANTED);
    check("send-none", by_name("taker", "t"), UNGRANTED);

    let items = |bucket: &str, key: &str| json!({"bucket": bucket, "key": key});
    check("items-some", items("data", "items"), "");
    check(
        "items-some",
        items("texts", "nothing"),
        "States.ItemReaderFailed",
    );
    for (bucket, key) in [
        ("other", "victim"),
        ("nowhere", "x"),
        ("../own", "inside"),
        ("DATA", "items"),
    ] {
        check("items-some", items(bucket, key), UNGRANTED);
        check("items-none", items(bucket, key), UNGRANTED);
    }
    check("items-none", items("data", "items"), UNGRANTED);

    let results = |bucket: &str| json!({"bucket": bucket, "items": [1, 2]});
    check("results-some", results("data"), "");
    // Granted for reading alone.
    for bucket in ["texts", "other", "nowhere", "../own"] {
        check("results-some", results(bucket), UNGRANTED);
        check("results-none", results(bucket), UNGRANTED);
    }
    check("results-none", results("data"), UNGRANTED);
    jobs(&mut rows);
    rows
}

/// What a container and a machine get, and what they leave.
fn jobs(rows: &mut Vec<Row>) {
    for (flow, root, base) in [
        (
            "container-some",
            "/",
            json!({"image": IMAGE, "command": ["true"]}),
        ),
        (
            "machine-some",
            "",
            json!({"machine": "worker", "command": ["true"]}),
        ),
    ] {
        let mut check = |field: &str, value: Value, error| {
            let mut input = base.clone();
            input[field] = json!([value]);
            rows.push(run(flow, &input.to_string(), input.clone(), error));
        };
        let file = |bucket: &str, key: &str| json!({"path": format!("{root}x"), "bucket": bucket, "key": key});
        check("files", file("texts", "inside"), "");
        check("files", file("other", "victim"), UNGRANTED);
        check("files", file("nowhere", "x"), UNGRANTED);
        let out = format!("{root}out");
        let output = |bucket: &str| json!({"path": out, "bucket": bucket});
        for bucket in ["texts", "other", "nowhere"] {
            check("outputs", output(bucket), UNGRANTED);
        }
        let mut leaves = base.clone();
        leaves["command"] = json!(["touch", format!("{out}/{flow}")]);
        leaves["outputs"] = json!([output("data")]);
        rows.push(run(flow, &leaves.to_string(), leaves, ""));
    }
}
