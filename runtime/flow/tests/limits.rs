//! Hostile and huge definitions: answered clearly, quickly, and without a crash.

#![allow(
    clippy::disallowed_methods,
    reason = "a test that a large flow compiles quickly has to look at a clock"
)]

use std::time::Instant;

use proptest::prelude::*;
use stepwell_flow::{AnyModule, Checked, Program, compile};
use stepwell_types::limits;

/// The text is refused, first of all with this code.
fn check(text: &str, code: &str, message: &str) {
    let checked = compile(text, &AnyModule);
    assert!(checked.program.is_none());
    let found = checked.diagnostics.iter().find(|d| d.code == code);
    let said = found.map(ToString::to_string).unwrap_or_default();
    assert!(
        said.contains(message),
        "{said} / {:?}",
        checked.diagnostics.first()
    );
}

fn chain(states: usize) -> String {
    let all: Vec<String> = (0..states)
        .map(|i| {
            let next = if i + 1 == states {
                "\"End\":true".to_owned()
            } else {
                format!("\"Next\":\"S{}\"", i + 1)
            };
            format!("\"S{i}\":{{\"Type\":\"Pass\",\"InputPath\":\"$.a\",{next}}}")
        })
        .collect();
    format!("{{\"StartAt\":\"S0\",\"States\":{{{}}}}}", all.join(","))
}

fn shared_between_threads<T: Send + Sync>() {}

#[test]
fn a_program_may_be_shared() {
    shared_between_threads::<Program>();
    shared_between_threads::<Checked>();
}

#[test]
fn limits_are_kept() {
    check(
        &" ".repeat(limits::DEFINITION_BYTES_MAX + 1),
        "FLOW0002",
        "bytes",
    );
    check(&chain(limits::STATES_MAX + 1), "FLOW0027", "10001 states");
    check(&"[".repeat(10_000), "FLOW0003", "deeper than 128");
    check(&"{\"a\":".repeat(10_000), "FLOW0003", "deeper than 128");
    check(
        &format!("a: {}", "[".repeat(10_000)),
        "FLOW0003",
        "deeper than 128",
    );
    check(&"- ".repeat(10_000), "FLOW0003", "deeper than 128");
    let nested: String = (0..400).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    check(&nested, "FLOW0003", "deeper than 128");
    let wrong = format!(
        "{{\"StartAt\":\"A\",{},\"States\":{{\"A\":{{\"Type\":\"Succeed\"}}}}}}",
        (0..500)
            .map(|i| format!("\"x{i}\":1"))
            .collect::<Vec<_>>()
            .join(",")
    );
    check(&wrong, "FLOW0031", "more than 200 problems");
}

/// What is just within the limits compiles, on a small stack.
#[test]
fn deep_flows_compile() {
    let test =
        "{\"Not\":".repeat(100) + "{\"Variable\":\"$.a\",\"IsNull\":true}" + &"}".repeat(100);
    let rule = test.replacen("{\"Not\"", "{\"Next\":\"B\",\"Not\"", 1);
    let data = "[".repeat(110) + "{\"a.$\":\"$\"}" + &"]".repeat(110);
    let choices = format!(
        "{{\"StartAt\":\"A\",\"States\":{{\"A\":{{\"Type\":\"Choice\",\"Choices\":[{rule}]}},\
         \"B\":{{\"Type\":\"Pass\",\"Parameters\":{data},\"End\":true}}}}}}"
    );
    let nested = (0..30).fold(
        "{\"StartAt\":\"L\",\"States\":{\"L\":{\"Type\":\"Succeed\"}}}".to_owned(),
        |inner, i| {
            format!(
                "{{\"StartAt\":\"P{i}\",\"States\":{{\"P{i}\":{{\"Type\":\"Parallel\",\
                 \"Branches\":[{inner}],\"End\":true}}}}}}"
            )
        },
    );
    let run = move || {
        for text in [choices, nested] {
            let checked = compile(&text, &AnyModule);
            assert!(checked.program.is_some(), "{:?}", checked.diagnostics);
        }
    };
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(run);
    thread.unwrap().join().unwrap();
}

#[test]
fn ten_thousand_states_take_no_time() {
    let text = chain(limits::STATES_MAX);
    let began = Instant::now();
    let checked = compile(&text, &AnyModule);
    let took = began.elapsed();
    println!(
        "{} states, {} bytes: {took:?}",
        limits::STATES_MAX,
        text.len()
    );
    let program = checked.program.expect("it compiles");
    assert_eq!(program.states.len(), limits::STATES_MAX);
    assert!(took.as_millis() < 1_000, "{took:?}");
}

#[test]
fn hostile_texts_take_no_time() {
    let many = |n: usize, f: fn(usize) -> String| (0..n).map(f).collect::<String>();
    let flow = |fields: &str| format!("{{\"StartAt\":\"A\",\"States\":{{\"A\":{fields}}}}}");
    let pass = |path: &str| {
        flow(&format!(
            "{{\"Type\":\"Pass\",\"InputPath\":{path:?},\"End\":true}}"
        ))
    };
    let patterns = |test: fn(usize) -> String| {
        let fields = (0..2_000).map(|i| (format!("f{i}.$"), format!("$[?({})]", test(i)).into()));
        let fields: serde_json::Map<_, serde_json::Value> = fields.collect();
        let fields = serde_json::Value::Object(fields);
        flow(&format!(
            "{{\"Type\":\"Pass\",\"Parameters\":{fields},\"End\":true}}"
        ))
    };
    let texts = [
        // Unknown names beside many known ones.
        format!(
            "{{\"StartAt\":\"Z\",\"States\":{{{}\"E\":{{\"Type\":\"Succeed\"}}}}}}",
            many(9_000, |i| format!(
                "\"S{i}\":{{\"Type\":\"Pass\",\"Next\":\"T{i}\"}},"
            ))
        ),
        flow(&format!(
            "{{\"Type\":\"Succeed\",{}\"a\":1}}",
            many(60_000, |i| format!("\"x{i}\":1,"))
        )),
        pass(&format!("$[?({}@.a{})]", "(".repeat(6), ")".repeat(6))),
        pass("$[?(!(!(!(!(!(@.a == 'b'))))))]"),
        pass(&format!("$[?(@.a{})]", " && @.a".repeat(1_000))),
        pass(&format!("$[?{}", "@[?".repeat(1_000))),
        pass(&format!("$[{}0]", "0,".repeat(4_000))),
        pass(&"$".repeat(500_000)),
        pass(&format!("$.{}", "\\".repeat(100_000))),
        pass(&format!("$[?({})]", "!".repeat(2_000))),
        pass(&format!(
            "$[?(length({}@.a{}) > 1)]",
            "value(".repeat(5),
            ")".repeat(5)
        )),
        pass(&format!(
            "$[?(@.{} in [{}1])]",
            "n".repeat(200_000),
            "1,".repeat(100_000)
        )),
        // Regular expressions, each different, in paths of their own.
        patterns(|i| format!("@.a =~ /x{i}\\w{{20}}/")),
        patterns(|i| format!("@.a =~ /x{i}\\w{{8}}/")),
        patterns(|i| format!("@.a =~ /x{i}{}/i", "[\\w]".repeat(40))),
        patterns(|i| format!("match(@.a, 'x{i}\\\\w{{20}}')")),
        format!("Comment: \"{}\"", "\\x41".repeat(200_000)),
        format!("Comment: {}", "? ".repeat(100_000)),
        format!("Comment: {}", "{a: ".repeat(100_000)),
        many(50_000, |i| format!("k{i}: &a{i} v\n")),
        "&a ".repeat(300_000),
        "*a ".repeat(300_000),
        "\n".repeat(limits::DEFINITION_BYTES_MAX),
        "%".repeat(100_000),
        ":".repeat(300_000),
        "'".repeat(300_000),
        "|".repeat(100_000),
        "a: |\n".to_owned() + &" \n".repeat(300_000),
    ];
    for text in texts {
        let began = Instant::now();
        let checked = compile(&text, &AnyModule);
        let took = began.elapsed();
        let start: String = text.chars().take(60).collect();
        println!(
            "{took:?} {start:?} {:?}",
            checked.diagnostics.first().map(|d| d.code)
        );
        assert!(took.as_secs() < 5, "{start}: {took:?}");
    }
}

/// Text made of the language's own pieces, so that it gets past the first checks.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "'",
        "\n",
        "  ",
        "- ",
        "&a",
        "*a",
        "|",
        ">",
        "#",
        "!!str ",
        "\"StartAt\"",
        "\"States\"",
        "\"A\"",
        "\"Type\"",
        "\"Pass\"",
        "\"Task\"",
        "\"Choice\"",
        "\"Next\"",
        "\"End\"",
        "true",
        "null",
        "1",
        "-1e9",
        "\"$.a\"",
        "\"$[?(@.x == 'y')]\"",
        "\"x.$\"",
        "\"States.Format('{}', $.a)\"",
        "StartAt: A\n",
        "States:\n",
        "\\u",
        "\\",
        "é",
        "\u{1f600}",
        "\t",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|all| all.concat())
}

/// A flow with one field's value replaced.
fn mutated() -> impl Strategy<Value = String> {
    let flows = prop::sample::select(vec![
        include_str!("flows/ok/every-kind.json"),
        include_str!("flows/ok/cloudflow.yaml"),
        include_str!("flows/ok/steps.yaml"),
    ]);
    (flows, 0usize..4000, 0usize..40, "[ -~]{0,6}").prop_map(|(text, at, length, with)| {
        let at = at % text.len();
        let end = (at + length).min(text.len());
        format!(
            "{}{with}{}",
            text.get(..at).unwrap_or_default(),
            text.get(end..).unwrap_or_default()
        )
    })
}

/// Nothing is asked but that it answers, with places inside of the text.
fn answers(text: &str) -> Result<(), TestCaseError> {
    let checked = compile(text, &AnyModule);
    let failed = checked
        .diagnostics
        .iter()
        .any(|d| d.severity == stepwell_flow::Severity::Error);
    prop_assert_eq!(failed, checked.program.is_none());
    let lines = text.lines().count().max(1) + 1;
    for d in &checked.diagnostics {
        prop_assert!(d.line >= 1 && d.column >= 1);
        prop_assert!((d.line as usize) <= lines, "{} in {} lines", d, lines);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        answers(&text)?;
    }

    #[test]
    fn pieces_of_flows_never_panic(text in pieces()) {
        answers(&text)?;
    }

    #[test]
    fn damaged_flows_never_panic(text in mutated()) {
        answers(&text)?;
    }

    #[test]
    fn arbitrary_paths_never_panic(path in "\\$[$.\\[\\]()?@'\"a-c0-2,:*!=<>&| \\\\-]{0,40}") {
        let path = serde_json::Value::String(path);
        answers(&format!(
            "{{\"StartAt\":\"A\",\"States\":{{\"A\":{{\"Type\":\"Pass\",\"InputPath\":{path},\"Parameters\":{{\"a.$\":{path}}},\"End\":true}}}}}}"
        ))?;
    }

    #[test]
    fn arbitrary_cloudflow_expressions_never_panic(e in "[$.\\[\\]()?@'\"`a-c0-2,:*!=<>&| +/%\\\\-]{0,30}(\\$Input|\\$Output|format\\(|in )?[$.\\[\\]()a-c0-2,*!=<>&|\" ]{0,30}") {
        let e = serde_json::Value::String(e);
        answers(&format!(
            "{{\"Type\":\"StateMachine\",\"SpecVersion\":\"v1\",\"StartAt\":\"A\",\"States\":[{{\"Type\":\"Choice\",\"Name\":\"A\",\"Branches\":[{{\"Condition\":{e},\"Next\":\"B\"}}],\"Default\":\"B\"}},{{\"Type\":\"Pass\",\"Name\":\"B\",\"OutputConstructor\":{{\"a.$\":{e}}},\"End\":true}}]}}"
        ))?;
        answers(&format!(
            "{{\"version\":\"v1\",\"type\":\"flow\",\"steps\":[{{\"type\":\"choice\",\"name\":\"a\",\"choices\":[{{\"condition\":{e},\"goto\":\"a\"}}]}},{{\"type\":\"pass\",\"name\":\"b\",\"outputMappings\":[{{\"target\":\"x\",\"source\":{e}}}]}}]}}"
        ))?;
    }

    #[test]
    fn arbitrary_calls_never_panic(call in "States\\.(Format|Array|MathAdd|UUID|X)[$.\\[\\]()'a-c0-2, {}\\\\-]{0,40}") {
        let call = serde_json::Value::String(call);
        answers(&format!(
            "{{\"StartAt\":\"A\",\"States\":{{\"A\":{{\"Type\":\"Pass\",\"Parameters\":{{\"a.$\":{call}}},\"End\":true}}}}}}"
        ))?;
    }
}
