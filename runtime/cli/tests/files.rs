//! The commands that need no server, as their users run them: what they print, how they end,
//! and what they do to files.
#![allow(
    clippy::disallowed_methods,
    reason = "a test writes the files that the command reads"
)]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Exit status, standard output and standard error.
fn run(folder: &Path, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_stepwell"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The command may end without having read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let done = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let status = done.status.code().unwrap_or(-1);
    (status, text(done.stdout), text(done.stderr))
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

fn read(dir: &TempDir, name: &str) -> String {
    std::fs::read_to_string(dir.path().join(name)).unwrap()
}

const UNTIDY: &str = "States:\n    A: # first\n        End: true\n        Type: Pass\nStartAt: A\n";
const TIDY: &str = "StartAt: A\nStates:\n  A: # first\n    Type: Pass\n    End: true\n";

#[test]
fn fmt_checks_then_writes() {
    let dir = folder(&[
        ("a.yaml", UNTIDY),
        ("below/b.yml", TIDY),
        ("package.json", r#"{"name":  "no flow"}"#),
    ]);
    let at = dir.path();
    let (status, out, err) = run(at, &["fmt", "--check", "."], "");
    assert_eq!((status, out.as_str(), err.as_str()), (1, "./a.yaml\n", ""));
    assert_eq!(read(&dir, "a.yaml"), UNTIDY, "--check writes nothing");
    let (status, out, _) = run(at, &["fmt", "--stdout", "a.yaml"], "");
    assert_eq!((status, out.as_str()), (0, TIDY));
    assert_eq!(read(&dir, "a.yaml"), UNTIDY, "--stdout writes nothing");
    assert_eq!(run(at, &["fmt", "."], "").0, 0);
    assert_eq!(read(&dir, "a.yaml"), TIDY);
    assert_eq!(read(&dir, "package.json"), r#"{"name":  "no flow"}"#);
    assert_eq!(run(at, &["fmt", "--check", "."], "").0, 0);
    let names: Vec<_> = std::fs::read_dir(at).unwrap().collect();
    assert_eq!(names.len(), 3, "nothing is left beside the files");
}

#[test]
fn fmt_reads_standard_input() {
    let dir = folder(&[]);
    let (status, out, _) = run(dir.path(), &["fmt", "-"], UNTIDY);
    assert_eq!((status, out.as_str()), (0, TIDY));
    let (status, out, _) = run(dir.path(), &["fmt", "--check", "-"], UNTIDY);
    assert_eq!((status, out.as_str()), (1, "-\n"));
}

#[test]
fn fmt_leaves_what_it_refuses() {
    let odd = "StartAt: A\n? States\n: {A: {Type: Pass, End: true}}\n";
    let dir = folder(&[
        ("odd.yaml", odd),
        ("broken.yaml", "A: [\n"),
        ("a.yaml", UNTIDY),
    ]);
    let (status, _, err) = run(dir.path(), &["fmt", "."], "");
    assert_eq!(status, 1);
    assert!(err.contains("odd.yaml:2:3: error[FLOW0041]"), "{err}");
    assert!(err.contains("broken.yaml:2:1: error[FLOW0001]"), "{err}");
    assert_eq!(read(&dir, "odd.yaml"), odd);
    assert_eq!(read(&dir, "a.yaml"), TIDY, "the others are formatted");
    let (status, out, _) = run(dir.path(), &["--json", "fmt", "odd.yaml"], "");
    let said: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(status, 1);
    assert_eq!(said["files"][0]["diagnostics"][0]["code"], "FLOW0041");
    assert_eq!(run(dir.path(), &["fmt", "absent.yaml"], "").0, 5);
}

#[cfg(unix)]
#[test]
fn fmt_keeps_permissions_and_links() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let dir = folder(&[("real/a.yaml", UNTIDY)]);
    let real = dir.path().join("real/a.yaml");
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    let link = dir.path().join("link.yaml");
    symlink("real/a.yaml", &link).unwrap();
    assert_eq!(run(dir.path(), &["fmt", "link.yaml"], "").0, 0);
    assert!(link.is_symlink());
    assert_eq!(read(&dir, "real/a.yaml"), TIDY);
    let mode = std::fs::metadata(&real).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn validate_ends_with_its_verdict() {
    let dir = folder(&[
        ("good.yaml", TIDY),
        (
            "bad.yaml",
            "StartAt: B\nStates:\n  A: {Type: Pass, End: true}\n",
        ),
        (
            "warned.yaml",
            "StartAt: A\nStates:\n  A: {Type: Pass, End: true}\n  B: {Type: Pass, End: true}\n",
        ),
    ]);
    let at = dir.path();
    let (status, out, err) = run(at, &["validate", "good.yaml"], "");
    assert_eq!(
        (status, out.as_str(), err.as_str()),
        (0, "good.yaml: valid\n", "")
    );
    let (status, out, err) = run(at, &["validate", "warned.yaml"], "");
    assert_eq!((status, out.as_str()), (0, "warned.yaml: valid\n"));
    assert!(err.contains("warned.yaml:4:3: warning[FLOW0012]"), "{err}");
    let (status, out, err) = run(at, &["validate", "bad.yaml"], "");
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(err.contains("bad.yaml:1:10: error[FLOW0011]"), "{err}");
    assert!(
        err.contains("  1 | StartAt: B\n    |          ^\n"),
        "{err}"
    );
    let (status, out, _) = run(at, &["--json", "validate", "-"], "StartAt: [\n");
    let said: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &said["valid"]), (1, &serde_json::json!(false)));
    let asks = "StartAt: A\nStates:\n  A: {Type: Task, Resource: callback, End: true}\n";
    assert_eq!(run(at, &["validate", "-"], asks).0, 0);
    let (status, _, err) = run(at, &["validate", "--express", "-"], asks);
    assert_eq!(status, 1);
    assert!(err.contains("error[FLOW0036]"), "{err}");
    assert_eq!(run(at, &["validate", "absent.yaml"], "").0, 5);
    assert_eq!(run(at, &["validate", "--set", "x", "good.yaml"], "").0, 2);
}

#[test]
fn validate_fills_in_and_points_into_the_file_as_it_is() {
    let dir = folder(&[
        (
            "a.yaml",
            "StartAt: A\nStates:\n  A: {Type: Task, Resource: \"${Fn}\", End: true, Retri: 1}\n",
        ),
        (
            "values.yaml",
            "Fn: arn:aws:lambda:eu-west-1:1:function:a # from the template\n",
        ),
        ("values.json", r#"{"Fn": ["a"]}"#),
    ]);
    let at = dir.path();
    let (status, _, err) = run(at, &["validate", "a.yaml", "--set-file", "values.yaml"], "");
    assert_eq!(status, 1);
    let caret = "  3 |   A: {Type: Task, Resource: \"${Fn}\", End: true, Retri: 1}";
    assert!(err.contains(caret), "{err}");
    assert!(err.contains(&format!("    | {:>48}^", "")), "{err}");
    assert!(!err.contains("FLOW0024"), "{err}");
    let (_, _, err) = run(at, &["validate", "a.yaml"], "");
    assert!(
        err.contains("FLOW0024") && err.contains("--set Fn=VALUE"),
        "{err}"
    );
    let (status, _, err) = run(at, &["validate", "a.yaml", "--set-file", "values.json"], "");
    assert_eq!(status, 2);
    assert!(
        err.contains("values.json: 1:8: the value of Fn is an array"),
        "{err}"
    );
}

const SQS: &str = r#"{"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage",
    "Parameters": {"QueueUrl": "q"}, "Next": "B"}, "B": {"Type": "Task", "Resource": "${Fn}", "End": true}}}"#;

#[test]
fn validate_judges_the_definition_and_tells_what_is_to_be_bound() {
    let map = "\"arn:aws:states:::sns:publish\" = \"wasm:tell\"\n";
    let dir = folder(&[("queue.json", SQS), ("map.toml", map)]);
    let at = dir.path();
    let (status, out, err) = run(at, &["validate", "queue.json"], "");
    assert_eq!((status, out.as_str()), (0, "queue.json: valid\n"), "{err}");
    let told = |part: &str| assert!(err.contains(part), "{part}: {err}");
    told("queue.json:1:63: warning[FLOW0026] nothing here stands for the AWS resource");
    told("warning[FLOW0024] \"${Fn}\" is no resource; publishing refuses it");
    told("--set Fn=VALUE");
    // CloudFlow's services too, but no slip of the pen.
    let action = |name: &str| {
        format!(
            "Type: StateMachine\nSpecVersion: v1\nName: f\nStartAt: A\nStates:\n  - {{Type: Task, Name: A, Action: {name}, End: true}}\n"
        )
    };
    let step = |arn: &str| {
        format!(
            "version: v1\ntype: flow\nsteps:\n  - {{type: task, name: A, resourceArn: {arn}, serviceParams: {{MessageBody: hi}}}}\n"
        )
    };
    for (flow, wanted) in [
        (action("MNS:PublishMessage"), 0),
        (action("FC:InvokeFunctoin"), 1),
        (action("no name"), 1),
        (step("acs:mns:::/topics/t/messages"), 0),
        (step("mns"), 1),
    ] {
        let (status, _, err) = run(at, &["validate", "-"], &flow);
        assert_eq!(status, wanted, "{err}");
        let level = ["warning", "error"][usize::from(wanted == 1)];
        assert!(
            err.contains(&format!("{level}[FLOW0024] nothing here carries out")),
            "{err}"
        );
        assert_eq!(run(at, &["run", "-"], &flow).0, 2);
    }
    // Who says what is bound, says it of all.
    let (status, _, err) = run(
        at,
        &["validate", "--resources", "map.toml", "queue.json"],
        "",
    );
    assert_eq!(status, 1);
    assert!(err.contains("error[FLOW0026]"), "{err}");
    let (status, _, err) = run(at, &["run", "queue.json", "--input", "{}"], "");
    assert_eq!(status, 2);
    assert!(err.contains("error[FLOW0026]"), "{err}");
}

#[test]
fn assess_says_what_each_lacks() {
    let dir = folder(&[
        ("runs.yaml", TIDY),
        (
            "deep/er/lambda.json",
            r#"{"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "arn:aws:lambda:r:1:function:charge", "End": true}}}"#,
        ),
        ("needs.json", SQS),
        ("broken.json", "{\"StartAt\": \"A\",}"),
        (
            "typo.yaml",
            "StartAt: B\nStates:\n  A: {Type: Pass, End: true}\n",
        ),
        (
            "function.json",
            r#"{"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": "${ChargeArn}"}, "Next": "B"},
                "B": {"Type": "Task", "Resource": "arn:aws:lambda:r:1:function:${Name}", "End": true}}}"#,
        ),
        (
            "reader.json",
            r#"{"StartAt": "M", "States": {"M": {"Type": "Map", "ItemReader": {"Resource": "arn:aws:states:::dynamodb:scan", "Parameters": {"Bucket": "b"}},
                "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED"}, "StartAt": "X", "States": {"X": {"Type": "Succeed"}}}, "End": true}}}"#,
        ),
        ("package.json", r#"{"name": "no flow"}"#),
        ("notes.txt", "no definition"),
    ]);
    let at = dir.path();
    std::fs::write(at.join("junk.json"), [0xff, 0xfe, 0, 1]).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("..", at.join("deep/circle")).unwrap();
        std::os::unix::fs::symlink("itself.json", at.join("itself.json")).unwrap();
        std::os::unix::fs::symlink(".", at.join("folder.json")).unwrap();
    }
    let (status, out, err) = run(at, &["assess", "."], "");
    assert_eq!(status, 1, "{err}");
    let has = |text: &str| assert!(out.contains(text), "{text}\n{out}");
    has("runs           runs.yaml\n");
    has("runs           deep/er/lambda.json\n                 uses wasm:charge\n");
    has(
        "needs binding  needs.json\n                 \"arn:aws:states:::sqs:sendMessage\" = \"wasm:NAME\"\n                 --set Fn=VALUE\n",
    );
    has(
        "needs binding  function.json\n                 --set ChargeArn=VALUE\n                 --set Name=VALUE\n",
    );
    has("impossible     reader.json\n                 1:77 FLOW0024");
    has("impossible     broken.json\n                 1:17 FLOW0001");
    has("impossible     junk.json\n                 ./junk.json is not UTF-8 text\n");
    has("impossible     typo.yaml\n                 1:10 FLOW0011");
    has("no flow        package.json\n");
    assert_eq!(out.matches("runs.yaml").count(), 1, "no circle\n{out}");
    assert!(
        !out.contains("notes.txt") && !out.contains("folder.json"),
        "{out}"
    );
    #[cfg(unix)]
    has("impossible     itself.json\n                 cannot read ./itself.json");
    assert!(err.contains("2 run, 2 need a binding"), "{err}");

    std::fs::write(
        at.join("map.toml"),
        "\"arn:aws:states:::sqs:*\" = \"wasm:queue\"\n",
    )
    .unwrap();
    let (_, out, _) = run(
        at,
        &[
            "--json",
            "assess",
            ".",
            "--resources",
            "map.toml",
            "--set",
            "Fn=wasm:f",
        ],
        "",
    );
    let said: serde_json::Value = serde_json::from_str(&out).unwrap();
    let rows = said["definitions"].as_array().unwrap();
    let needs = rows.iter().find(|r| r["file"] == "needs.json").unwrap();
    assert_eq!(needs["verdict"], "runs", "{needs}");
    assert_eq!(needs["uses"], serde_json::json!(["wasm:f", "wasm:queue"]));
    let only = folder(&[("runs.yaml", TIDY)]);
    assert_eq!(run(only.path(), &["assess", "."], "").0, 0);
    assert_eq!(run(only.path(), &["assess", "absent"], "").0, 5);
}

/// The row of one file that holds this, with these options.
fn assessed(name: &str, text: &str, options: &[&str]) -> serde_json::Value {
    let dir = folder(&[(name, text)]);
    let arguments = [&["--json", "assess", "."], options].concat();
    let (_, out, err) = run(dir.path(), &arguments, "");
    let said: serde_json::Value = serde_json::from_str(&out).expect(&err);
    said["definitions"][0].clone()
}

#[test]
fn assess_fills_placeholders_outside_of_quotes() {
    let json = r#"{"StartAt":"A","States":{"A":{"Type":"Wait","Seconds":${Secs},"Next":"B"},
        "B":{"Type":"Task","Resource":"${Fn}","TimeoutSeconds":${T},"End":${End}}}}"#;
    let row = assessed("a.json", json, &[]);
    assert_eq!(row["verdict"], "needs binding", "{row}");
    let needs = [
        "--set End=VALUE",
        "--set Fn=VALUE",
        "--set Secs=VALUE",
        "--set T=VALUE",
    ];
    assert_eq!(row["needs"], serde_json::json!(needs));
    let given = [
        "--set=Secs=3",
        "--set=Fn=wasm:f",
        "--set=T=1",
        "--set=End=true",
    ];
    assert_eq!(assessed("a.json", json, &given)["verdict"], "runs");
    let yaml =
        "StartAt: A\nStates:\n  A: {Type: Wait, Seconds: ${Secs}, Next: H}\n  H: {Type: Succed}\n";
    let row = assessed("a.yaml", yaml, &[]);
    assert_eq!(row["verdict"], "impossible", "{row}");
    // What nothing mends, and where it stands in the file.
    let reason = &row["reasons"][0];
    let at = serde_json::json!([reason["code"], reason["line"], reason["column"]]);
    assert_eq!(at, serde_json::json!(["FLOW0010", 4, 13]), "{row}");
    assert_eq!(row["reasons"].as_array().unwrap().len(), 1, "{row}");
    // A field's name is no number.
    let row = assessed("a.json", r#"{"StartAt":"A",${More}}"#, &[]);
    assert_eq!(row["verdict"], "impossible", "{row}");
    assert!(
        row["reasons"][0]["message"]
            .as_str()
            .unwrap()
            .contains("'$'"),
        "{row}"
    );
}

#[test]
fn assess_asks_for_nothing_that_cannot_help() {
    let wait = r#"{"StartAt":"A","States":{"A":{"Type":"Wait","Seconds":"${Secs}","End":true}}}"#;
    for options in [&[][..], &["--set=Secs=3"]] {
        let row = assessed("a.json", wait, options);
        assert_eq!(row["verdict"], "impossible", "{row}");
        assert_eq!(row["needs"], serde_json::json!([]), "{row}");
    }
    // The name that was given is none of a function.
    let task = r#"{"StartAt":"A","States":{"A":{"Type":"Task","Resource":"${Fn}","End":true}}}"#;
    let row = assessed("a.json", task, &["--set=Fn=f f"]);
    assert_eq!(
        row["needs"],
        serde_json::json!(["\"f f\" = \"wasm:NAME\""]),
        "{row}"
    );
    // Nothing mends the second state: it comes first.
    let both = r#"{"StartAt":"A","States":{"A":{"Type":"Task","Resource":"arn:aws:states:::states:startExecution",
        "Parameters":{"StateMachineArn":"${Flow}"},"Next":"B"},"B":{"Type":"Pass","End":1}}}"#;
    let row = assessed("a.json", both, &[]);
    assert_eq!(row["reasons"][0]["pointer"], "/States/B/End", "{row}");
    assert_eq!(
        row["needs"],
        serde_json::json!(["--set Flow=VALUE"]),
        "{row}"
    );
}

#[test]
fn a_template_beside_flows_is_no_flow() {
    let sam = "AWSTemplateFormatVersion: '2010-09-09'\nResources:\n  F:\n    Role: !GetAtt R.Arn\n    Name: !Sub '${A}-x'\n";
    assert_eq!(assessed("template.yaml", sam, &[])["verdict"], "no flow");
    let flow = "StartAt: A\nStates:\n  A: {Type: Task, Resource: !GetAtt F.Arn, End: true}\n";
    assert_eq!(assessed("flow.yaml", flow, &[])["verdict"], "impossible");
}

#[test]
fn graph_of_a_file() {
    let dir = folder(&[("a.yaml", TIDY), ("bad.yaml", "StartAt: B\nStates: {}\n")]);
    for (format, begins) in [
        ("svg", "<svg "),
        ("mermaid", "flowchart"),
        ("dot", "digraph"),
    ] {
        let (status, out, _) = run(dir.path(), &["graph", "a.yaml", "--format", format], "");
        assert_eq!(status, 0);
        assert!(out.starts_with(begins), "{out}");
    }
    assert_eq!(run(dir.path(), &["graph", "bad.yaml"], "").0, 2);
    // What a Task names may be bound later.
    for resource in ["arn:aws:states:::sqs:sendMessage", "${FunctionArn}"] {
        let flow = format!(
            "StartAt: A\nStates:\n  A: {{Type: Task, Resource: \"{resource}\", End: true}}\n"
        );
        let (status, out, err) = run(dir.path(), &["graph", "-", "--format", "dot"], &flow);
        assert_eq!((status, err.as_str()), (0, ""), "{resource}");
        assert!(out.contains("A\\nTask"), "{out}");
    }
    // A name that is no file is a published flow's: here nobody listens.
    let (status, _, _) = run(
        dir.path(),
        &["--url", "http://127.0.0.1:9", "graph", "orders"],
        "",
    );
    assert_eq!(status, 3);
}

#[test]
fn a_file_that_cannot_be_read_is_this_machines_failure() {
    let dir = folder(&[("a.yaml", TIDY)]);
    for arguments in [
        &["validate", "absent.yaml"][..],
        &["start", "x", "-i", "@absent"],
        &["module", "push", "m", "absent.wasm"],
        &["assess", "absent"],
        &["serve", "--config", "absent.toml"],
        &["serve", "--token-file", "absent"],
    ] {
        let (status, _, err) = run(dir.path(), arguments, "");
        assert_eq!(status, 5, "{arguments:?}: {err}");
        assert!(err.contains("absent"), "{arguments:?}: {err}");
    }
}

#[test]
fn a_run_ends_with_nothing_but_0_1_or_2() {
    let fails = "StartAt: A\nStates:\n  A: {Type: Fail, Error: E}\n";
    let dir = folder(&[("a.yaml", TIDY), ("fails.yaml", fails)]);
    let check = |arguments: &[&str], wanted: i32| {
        let (status, out, err) = run(dir.path(), arguments, "");
        assert_eq!(status, wanted, "{arguments:?}: {err}");
        // One object, or problems on the other side.
        assert_eq!(out.lines().count(), usize::from(wanted < 2), "{out}");
        assert_eq!(err.contains("absent"), wanted == 2, "{err}");
    };
    check(&["run", "a.yaml"], 0);
    check(&["run", "fails.yaml"], 1);
    check(&["run", "absent.yaml"], 2);
    for absent in [
        ["--input", "@absent"],
        ["--module", "m=absent.wasm"],
        ["--history", "absent/h"],
        ["--flow", "f=absent.yaml"],
        ["--flow-grants", "absent"],
        ["--secret", "s=absent"],
        ["--set-file", "absent"],
        ["--resources", "absent"],
        ["--bucket", "b=absent"],
    ] {
        check(&["run", "a.yaml", absent[0], absent[1]], 2);
    }
}

#[test]
fn standard_input_is_one_thing() {
    let dir = folder(&[]);
    let (status, out, err) = run(dir.path(), &["run", "-", "--input", "-"], TIDY);
    assert_eq!((status, out.as_str()), (2, ""), "{err}");
    assert!(err.contains("not both"), "{err}");
    assert_eq!(run(dir.path(), &["run", "-"], TIDY).0, 0);
}

#[test]
fn an_input_is_taken_without_what_editors_put_around_it() {
    let dir = folder(&[
        ("a.yaml", TIDY),
        ("in.json", "\u{feff}{\"a\": [1,\r\n 2]}\r\n"),
    ]);
    for (given, stdin, wanted) in [
        ("@in.json", "", "{\"a\": [1,   2]}"),
        ("-", "\"x\" \n\n", "\"x\""),
    ] {
        let arguments = ["run", "a.yaml", "--input", given];
        let (status, out, err) = run(dir.path(), &arguments, stdin);
        let line = format!("{{\"status\":\"SUCCEEDED\",\"output\":{wanted}}}\n");
        assert_eq!((status, out.as_str()), (0, line.as_str()), "{given}: {err}");
    }
}

#[test]
fn with_json_trouble_and_pictures_are_json_too() {
    let dir = folder(&[
        ("flow.yaml", TIDY),
        (
            "typo.yaml",
            "StartAt: B\nStates:\n  A: {Type: Pass, End: true}\n",
        ),
    ]);
    let at = dir.path();
    let parsed = |text: &str| -> serde_json::Value { serde_json::from_str(text).expect(text) };

    let (status, out, _) = run(at, &["--json", "graph", "flow.yaml"], "");
    let shown = parsed(&out);
    assert_eq!((status, &shown["format"]), (0, &"svg".into()));
    assert!(
        shown["graph"].as_str().unwrap().starts_with("<svg "),
        "{out}"
    );

    let (status, out, _) = run(at, &["completions", "bash", "--json"], "");
    assert_eq!((status, &parsed(&out)["shell"]), (0, &"bash".into()));

    for (arguments, exit, member) in [
        (
            &["graph", "typo.yaml", "--json"][..],
            2,
            "/problem/diagnostics/0/code",
        ),
        (
            &["run", "typo.yaml", "--json"],
            2,
            "/problem/diagnostics/0/code",
        ),
        (&["graph", "none.yaml", "--json"], 5, "/message"),
        (
            &["list", "--json", "--url", "http://127.0.0.1:1"],
            3,
            "/message",
        ),
        (
            &["--json", "describe", "x", "--no-such-thing"],
            2,
            "/message",
        ),
    ] {
        let (status, out, err) = run(at, arguments, "");
        assert_eq!((status, out.as_str()), (exit, ""), "{arguments:?}: {err}");
        let trouble = parsed(&err);
        assert_eq!(trouble["exit"], exit, "{arguments:?}: {err}");
        assert!(
            trouble
                .pointer(member)
                .is_some_and(serde_json::Value::is_string),
            "{err}"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_could_not_be_written_is_no_success() {
    let dir = folder(&[("flow.yaml", TIDY)]);
    for arguments in [
        &["run", "flow.yaml"][..],
        &["validate", "flow.yaml"],
        &["graph", "flow.yaml"],
        &["fmt", "--stdout", "flow.yaml"],
        &["completions", "bash"],
    ] {
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let done = Command::new(env!("CARGO_BIN_EXE_stepwell"))
            .args(arguments)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(full)
            .output()
            .unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(5), "{arguments:?}: {said}");
        assert!(
            said.contains("cannot write the answer"),
            "{arguments:?}: {said}"
        );
    }
}

#[test]
fn what_cannot_be_read_as_json_is_named_by_its_option() {
    let dir = folder(&[("flow.yaml", TIDY)]);
    let (status, _, err) = run(dir.path(), &["run", "flow.yaml", "--input", "{bad}"], "");
    assert_eq!(status, 2, "{err}");
    assert!(
        err.contains("--input: the value cannot be taken as JSON"),
        "{err}"
    );
}

#[test]
fn a_run_that_rests_long_says_so() {
    let flow = "StartAt: A\nStates:\n  A: {Type: Wait, Seconds: 3600, End: true}\n";
    let dir = folder(&[("flow.yaml", flow)]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_stepwell"))
        .args(["run", "flow.yaml"])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut told = std::io::BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut told, &mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.starts_with("nothing runs until 20"), "{line}");
    assert!(line.contains("--virtual-time"), "{line}");
}
