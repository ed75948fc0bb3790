//! Ways out of directories and buckets: `..`, whole paths, links.

use serde_json::{Value, json};

use super::house::{House, Row, ask, run};

/// Links in every directory that is granted: name and where it leads. `DIR` is what is around them.
pub const LINKS: [(&str, &str); 6] = [
    ("to-file", "DIR/outside"),
    ("to-system", "/etc/passwd"),
    ("to-above", "../outside"),
    ("to-folder", "DIR"),
    ("to-folder-above", ".."),
    ("to-itself", "to-itself"),
];

/// A flow that reads the lines of an object of the bucket `texts`.
pub const ITEMS: &str = r#"
StartAt: M
States:
  M:
    Type: Map
    ItemReader:
      Resource: arn:aws:states:::s3:getObject
      ReaderConfig: {InputType: JSONL}
      Parameters: {Bucket.$: $.bucket, Key.$: $.key}
    ItemProcessor:
      ProcessorConfig: {Mode: DISTRIBUTED, ExecutionType: EXPRESS}
      StartAt: P
      States: {P: {Type: Pass, End: true}}
    End: true
"#;

/// Paths that lead out, by themselves or over a link.
const OUT: [&str; 13] = [
    "../outside",
    "below/../../outside",
    "./../outside",
    "below/../../texts/../outside",
    "/etc/passwd",
    "//etc/passwd",
    "to-file",
    "to-system",
    "to-above",
    "to-folder/outside",
    "to-folder-above/outside",
    "to-folder/shared/../outside",
    "below/../to-file",
];

pub fn escapes(_: &House) -> Vec<Row> {
    let not_permitted = "Files.not-permitted";
    let mut rows = Vec::new();
    let mut at = |directory: &str, path: &str, what: Value, error| {
        let mut input = what;
        input["directory"] = json!(directory);
        input["path"] = json!(path);
        let what = format!("{} {directory}: {path:?}", input["do"]);
        rows.push(run("files-some", &what, input, error));
    };
    let act = |what: &str| json!({ "do": what });
    for directory in ["/shared", "/own"] {
        at(directory, "inside", act("read"), "");
        at(directory, "below/../inside", act("read"), "");
        for path in OUT {
            at(directory, path, act("read"), not_permitted);
        }
        at(directory, "to-itself", act("read"), "Files.loop");
        at(directory, "inside\u{0}", act("read"), "Files.invalid");
    }
    // Where reading is granted nothing is changed.
    for what in [
        act("create"),
        act("make_directory"),
        json!({"do": "symlink", "to": "inside"}),
    ] {
        at("/shared", "new", what, not_permitted);
    }
    for what in [
        act("unlink"),
        json!({"do": "link", "at": "new"}),
        json!({"do": "rename", "to": "new"}),
    ] {
        at("/shared", "inside", what, not_permitted);
    }
    // Where writing is, nothing outside.
    at("/own", "new", act("create"), "");
    for path in [
        "../new",
        "/tmp/stepwell-new",
        "to-folder/new",
        "to-folder-above/new",
        "to-file",
    ] {
        at("/own", path, act("create"), not_permitted);
    }
    for path in ["../new", "to-folder/new"] {
        at("/own", path, act("make_directory"), not_permitted);
    }
    for path in ["../outside", "to-folder/outside"] {
        at("/own", path, act("unlink"), not_permitted);
    }
    at(
        "/own",
        "out",
        json!({"do": "symlink", "to": "/etc/passwd"}),
        not_permitted,
    );
    for at_path in ["../new", "to-folder/new"] {
        at(
            "/own",
            "inside",
            json!({"do": "link", "at": at_path}),
            not_permitted,
        );
        at(
            "/own",
            "inside",
            json!({"do": "rename", "to": at_path}),
            not_permitted,
        );
    }
    at(
        "/own",
        "../outside",
        json!({"do": "rename", "to": "new"}),
        not_permitted,
    );
    for directory in ["/", "/shared/", "/shared/below", "/etc", "/own/../shared"] {
        at(directory, "inside", act("read"), "Files.no-directory");
    }
    buckets(&mut rows);
    rows
}

/// Keys of objects, by the API and by a Map that reads one.
fn buckets(rows: &mut Vec<Row>) {
    let object = |key: &str| format!("/v1/buckets/texts/objects/{key}");
    rows.push(ask("GET", &object("inside"), b"", ""));
    for key in [
        "..%2foutside",
        "below%2f..%2f..%2foutside",
        "%2fetc%2fpasswd",
        "a%00b",
        "a%0d%0ab",
        "a%5c..%5cb",
        ".%2finside",
        "below%2f%2finside",
    ] {
        rows.push(ask("GET", &object(key), b"", "BUCKET0003"));
    }
    for key in [
        "to-file",
        "to-system",
        "to-above",
        "to-folder/outside",
        "to-folder-above/outside",
    ] {
        rows.push(ask("GET", &object(key), b"", "BUCKET0011"));
    }
    rows.push(ask(
        "GET",
        "/v1/buckets/..%2fown/objects/inside",
        b"",
        "BUCKET0003",
    ));
    rows.push(ask(
        "GET",
        "/v1/buckets/nowhere/objects/inside",
        b"",
        "BUCKET0001",
    ));
    rows.push(ask("PUT", &object("new"), b"x", "BUCKET0004"));
    rows.push(ask("DELETE", &object("inside"), b"", "BUCKET0004"));
    for key in ["..%2fnew", "below%2f..%2f..%2fnew", ".stepwell-part-1"] {
        rows.push(ask(
            "PUT",
            &format!("/v1/buckets/out/objects/{key}"),
            b"x",
            "BUCKET0003",
        ));
    }
    for key in ["to-folder/new", "to-folder-above/new"] {
        rows.push(ask(
            "PUT",
            &format!("/v1/buckets/out/objects/{key}"),
            b"x",
            "BUCKET0011",
        ));
    }
    for key in [
        "../outside",
        "/etc/passwd",
        "to-file",
        "to-folder/outside",
        "a\u{0}b",
    ] {
        let input = json!({"bucket": "texts", "key": key});
        rows.push(run(
            "items",
            &format!("key {key:?}"),
            input,
            "States.ItemReaderFailed",
        ));
    }
    let input = json!({"bucket": "../own", "key": "inside"});
    rows.push(run(
        "items",
        "bucket ../own",
        input,
        "States.ItemReaderFailed",
    ));
}
