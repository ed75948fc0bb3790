//! Objects of steps: buckets that are not granted, keys that are none, links that lead out, and more
//! than a step may have.

use serde_json::{Value, json};

use super::house::{House, Row, ask, run};

const UNGRANTED: &str = "Stepwell.NotGranted";
const REFUSED: &str = "Stepwell.ObjectRefused";

/// Keys that a file system would read otherwise, and some that are too long.
fn no_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        "",
        "/",
        ".",
        "..",
        "../outside",
        "../other/victim",
        "below/../../other/victim",
        "below/../../../outside",
        "/etc/passwd",
        "//etc/passwd",
        "./inside",
        "below//inside",
        "inside/",
        "below\\..\\..\\outside",
        "inside\u{0}",
        "\u{0}",
        "inside\n",
        "a\r\nx: y",
        "a\u{7f}",
        ".stepwell-part-1",
        "below/.stepwell-part-step-1",
    ]
    .map(str::to_owned)
    .into();
    keys.extend(["k".repeat(256), "k/".repeat(600), "ü".repeat(128)]);
    keys
}

pub fn rows(_: &House) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut act = |flow, bucket: &str, step: Value, error| {
        let what = format!("{bucket:?} {step}")
            .chars()
            .take(200)
            .collect::<String>();
        let input = json!({"bucket": bucket, "do": [step]});
        rows.push(run(flow, &what, input, error));
    };
    let list = || json!("list");
    for bucket in ["texts", "out", "data"] {
        act("blobs-none", bucket, list(), UNGRANTED);
    }
    act("blobs-some", "texts", json!({"get": "inside"}), "");
    act("blobs-some", "data", json!({"put": ["mine", "x"]}), "");
    for bucket in [
        "other",
        "TEXTS",
        "texts/",
        "texts/below",
        "../own",
        "data/../other",
        "own",
        "*",
        "",
        "texts\u{0}",
        "ｔｅｘｔｓ",
    ] {
        act("blobs-some", bucket, list(), UNGRANTED);
        act("blobs-some", bucket, json!({"put": ["k", "x"]}), UNGRANTED);
    }
    // Where the manifest grants reading, and where it grants more than the configuration.
    for step in [
        json!({"put": ["inside", "x"]}),
        json!({"append": ["inside", "x"]}),
        json!({"delete": "inside"}),
    ] {
        act("blobs-some", "texts", step.clone(), UNGRANTED);
        act("blobs-wide", "texts", step, REFUSED);
    }
    for key in no_keys() {
        for bucket in ["texts", "data"] {
            act("blobs-some", bucket, json!({ "get": key }), REFUSED);
            act("blobs-some", bucket, json!({"range": [key, 0, 1]}), REFUSED);
        }
        for bucket in ["out", "data"] {
            act("blobs-some", bucket, json!({"put": [key, "x"]}), REFUSED);
            act("blobs-some", bucket, json!({ "delete": key }), REFUSED);
        }
    }
    // Names that only look like others are keys of their own: nothing is there.
    for key in [
        "．．/outside",
        "‥/outside",
        "ｉnside",
        "inside\u{202e}",
        "in\u{ad}side",
    ] {
        act(
            "blobs-some",
            "texts",
            json!({"range": [key, 0, 1]}),
            "Stepwell.ObjectMissing",
        );
    }
    for key in [
        "to-file",
        "to-system",
        "to-above",
        "to-folder/outside",
        "to-folder-above/outside",
    ] {
        act("blobs-some", "texts", json!({ "get": key }), REFUSED);
        act("blobs-some", "out", json!({ "delete": key }), REFUSED);
    }
    act(
        "blobs-some",
        "texts",
        json!({"get": "to-itself"}),
        "Stepwell.ObjectFailed",
    );
    for key in ["to-folder/new", "to-folder-above/new", "to-folder/outside"] {
        act("blobs-some", "out", json!({"put": [key, "x"]}), REFUSED);
    }
    for key in ["inside/below", "mine/below"] {
        let bucket = if key.starts_with("mine") {
            "data"
        } else {
            "out"
        };
        act("blobs-some", bucket, json!({"put": [key, "x"]}), REFUSED);
    }
    act("blobs-some", "out", json!({"put": ["below", "x"]}), REFUSED);
    act(
        "blobs-some",
        "data",
        json!({"fill": ["big", "0123456789", 100_001]}),
        REFUSED,
    );
    act("blobs-some", "data", json!({"open": ["o", 17]}), REFUSED);
    act("blobs-express", "data", json!({"get": "none"}), "");
    act(
        "blobs-express",
        "data",
        json!({"put": ["k", "x"]}),
        "Stepwell.ExpressWrites",
    );
    for (path, error) in [
        ("/v1/buckets/data/objects/..%2fother%2fvictim", "BUCKET0003"),
        ("/v1/buckets/data%2f..%2fother/objects/victim", "BUCKET0003"),
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            rows.push(ask(method, path, b"", error));
        }
    }
    rows
}
