//! A table over guests: what they do, and the name that the flow gets.

use stepwell_sandbox::{Clock as _, Limits};
use stepwell_types::{Data, LogLevel, StepOutcome, Timestamp};

use crate::harness::{Hasty, RealClock, TestBox, guest, request, sandbox, sandbox_by, wait};

const MIB: u64 = 1 << 20;

fn limits() -> Limits {
    Limits {
        fuel: 2_000_000_000,
        memory_bytes: 32 * MIB,
        wall_ms: 20_000,
        output_bytes: 1 << 20,
        input_bytes: 1 << 20,
        ..Limits::default()
    }
}

/// `Ok` is the output, `Err` the error name and a part of the cause.
type Expected<'a> = Result<&'a str, (&'a str, &'a str)>;

#[track_caller]
fn check(outcome: &StepOutcome, expected: Expected<'_>) {
    match (&outcome.result, expected) {
        (Ok(output), Ok(text)) => assert_eq!(output.text(), text),
        (Err(failure), Err((error, cause))) => {
            assert_eq!(&*failure.error, error, "{}", failure.cause);
            assert!(failure.cause.contains(cause), "{}", failure.cause);
        }
        (result, expected) => panic!("got {result:?}, expected {expected:?}"),
    }
}

fn run(sandbox: &TestBox, program: &str, input: &str) -> StepOutcome {
    let digest = sandbox.upload(&guest(program));
    sandbox.run(digest, input)
}

#[test]
fn each_guest_ends_as_it_should() {
    let sandbox = sandbox(limits());
    let fails = |error, cause| Err((error, cause));
    let table: &[(&str, &str, Expected<'_>)] = &[
        ("echo", "{\"b\":1, \"a\":[]}", Ok("{\"b\":1, \"a\":[]}")),
        (
            "json-step",
            "{\"a\": 1.50, \"n\": 18446744073709551615}",
            Ok("{\"a\":1.5,\"n\":18446744073709551615}"),
        ),
        (
            "fail",
            "{\"error\":\"Order.NotFound\",\"cause\":\"no \\u00fc\"}",
            fails("Order.NotFound", "no ü"),
        ),
        (
            "fail",
            "{\"error\":\"\",\"cause\":\"x\"}",
            fails("Stepwell.Unnamed", "x"),
        ),
        (
            "burn",
            "\"text\"",
            fails("Step.InvalidInput", "expected u64"),
        ),
        ("burn", "1000", Ok("499500")),
        ("panics", "1", fails("Stepwell.Trap", "deep_inside")),
        (
            "spin",
            "0",
            fails("Stepwell.FuelExhausted", "wasm backtrace"),
        ),
        (
            "memory-bomb",
            "0",
            fails("Stepwell.MemoryExceeded", "33554432 bytes"),
        ),
        (
            "recursion-bomb",
            "0",
            fails("Stepwell.StackOverflow", "deeper"),
        ),
        (
            "bad-json",
            "0",
            fails("Stepwell.InvalidOutput", "line 1 column 9"),
        ),
        ("big-output", "1048576", Ok("")),
        (
            "big-output",
            "1048577",
            fails("Stepwell.OutputTooLarge", "1048576 bytes"),
        ),
        (
            "big-output",
            "5000000",
            fails("Stepwell.OutputTooLarge", "1048576 bytes"),
        ),
        ("log-flood", "100000", Ok("100000")),
        ("memory-take", "10", Ok("115200")),
    ];
    for (program, input, expected) in table {
        println!("{program} {input}");
        let outcome = run(&sandbox, program, input);
        if *expected == Ok("") {
            assert_eq!(outcome.result.expect("big").len_bytes(), 1 << 20);
            continue;
        }
        check(&outcome, *expected);
        assert!(
            outcome.spent.fuel > 0 && outcome.spent.time_us > 0,
            "{program}"
        );
    }
}

#[test]
fn a_panic_leaves_its_message_in_the_log() {
    let sandbox = sandbox(limits());
    let outcome = run(&sandbox, "panics", "\"you\"");
    let line = outcome.logs.first().expect("a line");
    assert_eq!(line.level, LogLevel::Error);
    assert!(
        line.message.contains("no luck with \"you\""),
        "{}",
        line.message
    );
}

#[test]
fn logs_are_cut_and_say_so() {
    let sandbox = sandbox(Limits {
        log_lines: 10,
        ..limits()
    });
    let outcome = run(&sandbox, "log-flood", "25");
    assert_eq!(outcome.logs.len(), 11);
    assert_eq!(outcome.logs[1].message, "line 1 of a flood");
    assert_eq!(outcome.logs[1].level, LogLevel::Info);
    assert!(
        outcome.logs[10].message.contains("15 more lines"),
        "{:?}",
        outcome.logs[10]
    );
}

#[test]
fn a_step_knows_where_it_runs() {
    let sandbox = sandbox(limits());
    let digest = sandbox.upload(&guest("context"));
    let mut request = request(digest, "null");
    request.attempt = 2;
    request.deadline = Some(Timestamp(4_000_000_000_000));
    let execution = request.execution.to_string();
    let key = request.idempotency_key(0);
    let outcome = wait(sandbox.start(request));
    let expected = format!(
        "{{\"execution_id\":\"{execution}\",\"execution_name\":\"order-7\",\"flow\":\"orders\",\"state\":\"Charge\",\"attempt\":2,\"idempotency_key\":\"{key}\",\"deadline_ms\":4000000000000}}"
    );
    let expected = Data::parse(&expected).expect("JSON");
    assert_eq!(outcome.result, Ok(expected));
}

#[test]
fn fuel_is_the_same_for_the_same_work() {
    let sandbox = sandbox(limits());
    let digest = sandbox.upload(&guest("burn"));
    let mut first = None;
    for _ in 0..20 {
        // Long enough to be interrupted by ticks, which must not count.
        let outcome = sandbox.run(digest, "3000000");
        assert_eq!(*first.get_or_insert(outcome.spent.fuel), outcome.spent.fuel);
    }
    let more = sandbox.run(digest, "3000001").spent.fuel;
    assert!(first.is_some_and(|f| f < more && more < f + 100));
}

#[test]
fn a_deadline_ends_an_endless_step() {
    let sandbox = sandbox(Limits {
        fuel: u64::MAX >> 1,
        wall_ms: 60,
        ..limits()
    });
    let digest = sandbox.upload(&guest("spin"));
    let outcome = sandbox.run(digest, "0");
    let servers = "the 60 ms of the server's [steps] wall_ms: TimeoutSeconds";
    check(&outcome, Err(("States.Timeout", servers)));
    assert!(
        (50_000..2_000_000).contains(&outcome.spent.time_us),
        "{:?}",
        outcome.spent
    );
    // One that has passed already leaves no time at all.
    let mut late = request(digest, "0");
    late.deadline = Some(Timestamp(1));
    check(
        &wait(sandbox.start(late)),
        Err(("States.Timeout", "deadline, the TimeoutSeconds")),
    );
}

/// What the guest `context` was told.
fn told(sandbox: &TestBox, deadline: Option<Timestamp>) -> Option<u64> {
    let mut request = request(sandbox.upload(&guest("context")), "null");
    request.deadline = deadline;
    let output = wait(sandbox.start(request)).result.expect("an output");
    output.value()["deadline_ms"].as_u64()
}

#[test]
fn a_step_is_told_when_it_ends() {
    let sandbox = sandbox(limits());
    let now = || u64::try_from(RealClock::new().now().0).expect("a time");
    let before = now();
    let at = told(&sandbox, None).expect("the server's own limit");
    // The sandbox's wall time may be two ticks old.
    let range = (before - 1_000 + 20_000)..=(now() + 20_000);
    assert!(range.contains(&at), "{at} {range:?}");
    let far = Timestamp(4_000_000_000_000);
    assert_eq!(told(&sandbox, Some(far)), Some(4_000_000_000_000));
    assert_eq!(told(&sandbox, Some(Timestamp::MAX)), None);
}

#[test]
fn a_step_has_the_time_that_its_flow_gives_it() {
    let limits = Limits {
        fuel: u64::MAX >> 1,
        ..limits()
    };
    let sandbox = sandbox_by(Hasty::new(), limits);
    let digest = sandbox.upload(&guest("burn"));
    let run = |deadline: Option<Timestamp>| {
        // More than a tenth of a second: over half an hour by that clock.
        let mut request = request(digest, "400000000");
        request.deadline = deadline;
        wait(sandbox.start(request))
    };
    let late = run(None);
    check(&late, Err(("States.Timeout", "deadline")));
    let tomorrow = RealClock::new().now().plus_ms(86_400_000);
    for deadline in [tomorrow, Timestamp::MAX] {
        let outcome = run(Some(deadline));
        assert!(outcome.result.is_ok(), "{:?}", outcome.result);
        assert!(outcome.spent.time_us > 1_800_000_000, "{:?}", outcome.spent);
    }
}

#[test]
fn what_cannot_run_is_named() {
    let sandbox = sandbox(limits());
    let digest = sandbox.upload(&guest("echo"));
    let long = format!("\"{}\"", "x".repeat(1 << 20));
    check(
        &sandbox.run(digest, &long),
        Err(("Stepwell.InputTooLarge", "1048576")),
    );
    let missing = stepwell_types::Digest::of(b"nothing");
    check(
        &sandbox.run(missing, "0"),
        Err(("Stepwell.ModuleMissing", "BOX0009")),
    );
    let with_function = |name: &str| {
        let mut request = request(digest, "7");
        request.target = stepwell_types::StepTarget::Wasm {
            name: "echo".into(),
            digest,
            function: Some(name.into()),
        };
        wait(sandbox.start(request))
    };
    check(&with_function("run"), Ok("7"));
    check(&with_function("stepwell:step/handler@1.0.0#run"), Ok("7"));
    check(
        &with_function("walk"),
        Err(("Stepwell.FunctionMissing", "only run")),
    );
}
