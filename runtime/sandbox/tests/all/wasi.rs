//! WASI in its smallest form, and growth beyond limits that Rust guests can't reach.

use std::sync::Arc;

use stepwell_host_api::wasi::{Directories, DirectoryGrant};
use stepwell_sandbox::Limits;
use stepwell_types::{Grants, StepOutcome};

use crate::harness::{request, sandbox, sandbox_with, wait};
use crate::wat_guest::{answer, compile, run, step, with_import};

fn failure(outcome: StepOutcome) -> (String, String) {
    let failure = outcome.result.expect_err("failure");
    (failure.error.to_string(), failure.cause.to_string())
}

#[test]
fn a_table_cannot_grow_without_end() {
    let sandbox = sandbox(Limits {
        table_elements: 1_000,
        ..Limits::default()
    });
    let bomb = compile(&step(
        "",
        "",
        &format!(
            r#"(memory (export "memory") 2) (table $t 10 funcref) {}"#,
            run(
                "",
                "(loop $more (if (i32.eq (table.grow $t (ref.null func) (i32.const 100)) (i32.const -1)) (then (unreachable))) (br $more))"
            )
        ),
    ));
    let digest = sandbox.upload(&bomb);
    let (error, cause) = failure(sandbox.run(digest, "0"));
    assert_eq!(error, "Stepwell.TableExceeded", "{cause}");
    assert!(cause.contains("1000 table elements"), "{cause}");
}

#[test]
fn memory_that_is_too_large_from_the_start_is_refused_at_upload() {
    let sandbox = sandbox(Limits {
        memory_bytes: 1 << 20,
        ..Limits::default()
    });
    let large = step(
        "",
        "",
        &format!(r#"(memory (export "memory") 17) {}"#, run("", "")),
    );
    let error = sandbox.try_upload(&compile(&large)).expect_err("too large");
    assert_eq!(error.code(), "BOX0013", "{error}");
    assert!(error.to_string().contains("memory"), "{error}");
    // 16 pages are just within it.
    let fits = sandbox.upload(&compile(&step(
        "",
        "",
        &format!(r#"(memory (export "memory") 16) {}"#, run("", "")),
    )));
    assert_eq!(sandbox.run(fits, "5").result.expect("echo").text(), "5");
}

#[test]
fn a_step_that_touches_no_wasi_runs_on_a_plain_component() {
    let sandbox = sandbox(Limits::default());
    let digest = sandbox.upload(&compile(&with_import("")));
    assert_eq!(
        sandbox.run(digest, "[1]").result.expect("echo").text(),
        "[1]"
    );
}

/// Prints the 20 digits of what `$value` gives, as a JSON string of decimal digits.
fn digits(value: &str) -> String {
    answer(
        "(local $v i64) (local $p i32)",
        &format!(
            r#"(block (result i32)
        (local.set $v {value})
        (i32.store8 (i32.const 1024) (i32.const 34))
        (i32.store8 (i32.const 1045) (i32.const 34))
        (local.set $p (i32.const 1044))
        (loop $next
          (i32.store8 (local.get $p) (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $v) (i64.const 10)))))
          (local.set $v (i64.div_u (local.get $v) (i64.const 10)))
          (local.set $p (i32.sub (local.get $p) (i32.const 1)))
          (br_if $next (i32.gt_u (local.get $p) (i32.const 1024))))
        (i32.const 22))"#
        ),
    )
}

/// A step that answers with one number from a host function without parameters.
fn asks(interface: &str, function: &str) -> Vec<u8> {
    let outside = format!(
        r#"(import "{interface}" (instance $host (export "{function}" (func (result u64)))))
  (core func $ask (canon lower (func $host "{function}")))"#
    );
    let core = format!(
        r#"(import "host" "ask" (func $ask (result i64))) (memory (export "memory") 2) {}"#,
        digits("(call $ask)")
    );
    let with = r#"(with "host" (instance (export "ask" (func $ask))))"#;
    compile(&step(&outside, with, &core))
}

fn check_same_for_seed(interface: &str, function: &str, differs: bool) {
    let sandbox = sandbox(Limits::default());
    let digest = sandbox.upload(&asks(interface, function));
    let ask = |seed| {
        let mut step = request(digest, "0");
        step.seed = seed;
        let outcome = wait(sandbox.start(step));
        (
            outcome.result.expect(function).text().to_owned(),
            outcome.spent.fuel,
        )
    };
    assert_eq!(ask(1), ask(1), "{interface}");
    assert_eq!(ask(1).0 != ask(2).0, differs, "{interface}");
}

#[test]
fn randomness_follows_the_seed() {
    check_same_for_seed("wasi:random/random@0.2.6", "get-random-u64", true);
    check_same_for_seed(
        "wasi:random/insecure@0.2.0",
        "get-insecure-random-u64",
        true,
    );
}

/// A step that asks for so many random bytes, and answers `1`.
fn asks_for_random(bytes: u64) -> Vec<u8> {
    let outside = r#"(import "wasi:random/random@0.2.6" (instance $host
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
  (core module $m (memory (export "memory") 8)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 131072)))
  (core instance $mi (instantiate $m))
  (core func $ask (canon lower (func $host "get-random-bytes")
    (memory (core memory $mi "memory")) (realloc (core func $mi "realloc"))))"#;
    let work = format!(
        "(block (result i32) (call $ask (i64.const {bytes}) (i32.const 512)) (i32.const 1))"
    );
    let core = format!(
        r#"(import "m" "memory" (memory 8)) (import "host" "ask" (func $ask (param i64 i32)))
    (export "memory" (memory 0)) (data (i32.const 1024) "1") {}"#,
        answer("", &work)
    );
    let with = r#"(with "m" (instance $mi)) (with "host" (instance (export "ask" (func $ask))))"#;
    compile(&step(outside, with, &core))
}

#[test]
fn one_call_gives_so_many_random_bytes_and_no_more() {
    let sandbox = sandbox(Limits::default());
    let ask = |bytes| sandbox.run(sandbox.upload(&asks_for_random(bytes)), "0");
    assert_eq!(ask(256 << 10).result.expect("random bytes").text(), "1");
    let (error, cause) = failure(ask((256 << 10) + 1));
    assert_eq!(error, "Stepwell.Trap", "{cause}");
    assert!(cause.contains("exceeds limit 262144"), "{cause}");
}

#[test]
fn the_monotonic_clock_starts_anew_for_each_attempt() {
    check_same_for_seed("wasi:clocks/monotonic-clock@0.2.3", "now", false);
}

/// A step that answers with how many entries a host list function gives.
fn counts(interface: &str, function: &str, outside_types: &str, list: &str) -> Vec<u8> {
    let filesystem = if outside_types.is_empty() {
        ""
    } else {
        r#"(import "wasi:filesystem/types@0.2.6" (instance $types (export "descriptor" (type (sub resource)))))
  (alias export $types "descriptor" (type $descriptor))"#
    };
    let outside = format!(
        r#"{filesystem} (import "{interface}" (instance $host {outside_types} (export "{function}" (func (result {list})))))
  (core module $memory (memory (export "memory") 2)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
  (core instance $mem (instantiate $memory))
  (core func $ask (canon lower (func $host "{function}") (memory (core memory $mem "memory")) (realloc (core func $mem "realloc"))))"#
    );
    let core = format!(
        r#"(import "host" "ask" (func $ask (param i32))) (import "host" "memory" (memory 2)) (export "memory" (memory 0)) {}"#,
        digits("(block (result i64) (call $ask (i32.const 512)) (i64.load32_u (i32.const 516)))")
    );
    let with = r#"(with "host" (instance (export "ask" (func $ask)) (export "memory" (memory $mem "memory"))))"#;
    compile(&step(&outside, with, &core))
}

/// A step that answers with the number of directories that it sees.
fn counts_directories() -> Vec<u8> {
    counts(
        "wasi:filesystem/preopens@0.2.6",
        "get-directories",
        r#"(alias outer 1 $descriptor (type $d)) (export "descriptor" (type $descriptor (eq $d)))"#,
        "(list (tuple (own $descriptor) string))",
    )
}

#[test]
fn a_directory_is_seen_by_those_whose_manifest_names_it() {
    let host = tempfile::tempdir().expect("a folder");
    let shown = |guest: &str| DirectoryGrant {
        host: host.path().to_owned(),
        guest: guest.to_owned(),
        write: false,
    };
    let sandbox = sandbox_with(Directories(vec![shown("/data"), shown("/other")]));
    let digest = sandbox.upload(&counts_directories());
    let check = |granted: &[&str], seen: usize| {
        let mut step = request(digest, "0");
        step.grants = Some(Arc::new(Grants {
            directories: granted.iter().map(|path| (*path).into()).collect(),
            ..Grants::default()
        }));
        let outcome = wait(sandbox.start(step)).result.expect("a count");
        assert_eq!(outcome.text(), format!("\"{seen:020}\""), "{granted:?}");
    };
    check(&[], 0);
    check(&["/data"], 1);
    check(&["/data", "/other"], 2);
    check(&["/", "/dat", "/data/", "/nowhere"], 0);
}

#[test]
fn the_machine_is_not_seen() {
    let sandbox = sandbox(Limits::default());
    let table = [
        (
            "wasi:cli/environment@0.2.6",
            "get-environment",
            "",
            "(list (tuple string string))",
        ),
        (
            "wasi:cli/environment@0.2.6",
            "get-arguments",
            "",
            "(list string)",
        ),
    ];
    for (interface, function, types, list) in table {
        let component = counts(interface, function, types, list);
        let digest = sandbox.upload(&component);
        let outcome = sandbox.run(digest, "0");
        assert_eq!(
            outcome.result.expect(function).text(),
            "\"00000000000000000000\"",
            "{function}"
        );
    }
}
