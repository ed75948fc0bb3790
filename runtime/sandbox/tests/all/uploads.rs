//! Uploads: what is accepted, what is refused, and how that is said.

use std::time::Instant;

use stepwell_sandbox::{CompileLimits, Error, Limits, Sandbox};

use crate::harness::{TestBox, guest, options, sandbox};
use crate::wat_guest;

#[track_caller]
fn refused(sandbox: &TestBox, bytes: &[u8], code: &str, says: &str) {
    let error = sandbox.try_upload(bytes).expect_err(code);
    assert_eq!(error.code(), code, "{error}");
    assert!(error.is_callers_fault(), "{error}");
    assert!(error.to_string().contains(says), "{error}");
    let left = sandbox.files("");
    assert!(left.is_empty(), "a refused upload leaves nothing: {left:?}");
}

#[test]
fn a_module_is_described() {
    let sandbox = sandbox(Limits::default());
    let bytes = guest("log-flood");
    let info = sandbox.try_upload(&bytes).expect("upload");
    assert_eq!(info.digest, stepwell_types::Digest::of(&bytes));
    assert_eq!(info.size_bytes, bytes.len() as u64);
    assert!(info.artifact_bytes > 1000);
    assert_eq!(info.imports, ["stepwell:log/log@1.0.0"]);
    assert_eq!(info.exports, ["stepwell:step/handler@1.0.0"]);
    assert_eq!(info.functions, ["stepwell:step/handler@1.0.0#run"]);
    let modules = sandbox.sandbox.modules();
    assert_eq!(
        modules.describe(&info.digest).expect("describe"),
        Some(info.clone())
    );
    assert_eq!(modules.list().expect("list"), [info.digest]);
    // The same again is the same.
    assert_eq!(sandbox.try_upload(&bytes).expect("again"), info);
    assert!(modules.delete(&info.digest).expect("delete"));
    assert!(!modules.delete(&info.digest).expect("delete"));
    assert_eq!(modules.describe(&info.digest).expect("describe"), None);
    assert!(sandbox.files("").is_empty());
}

#[test]
fn what_is_no_step_is_refused_with_the_reason() {
    let sandbox = sandbox(Limits::default());
    refused(&sandbox, b"", "BOX0001", "nothing");
    refused(&sandbox, b"GIF89a....", "BOX0001", "47 49 46");
    refused(
        &sandbox,
        b"\0asm\x01\0\0\0",
        "BOX0002",
        "wasm-tools component new",
    );
    refused(
        &sandbox,
        b"\0asm\x0d\0\x01\0\xff\xff",
        "BOX0008",
        "not valid",
    );
    let mut cut = guest("echo");
    cut.truncate(cut.len() / 2);
    refused(&sandbox, &cut, "BOX0008", "not valid");
    refused(
        &sandbox,
        &wat_guest::compile("(component)"),
        "BOX0004",
        "exports nothing",
    );
    let lacking = wat_guest::compile(
        r#"(component (import "wasi:clocks/wall-clocks@0.2.1" (instance)) (import "acme:x/y" (instance)))"#,
    );
    refused(&sandbox, &lacking, "BOX0003", "`acme:x/y`");
    refused(
        &sandbox,
        &lacking,
        "BOX0003",
        "closest that it has: `wasi:clocks/wall-clock@0.2`",
    );
    let other_run = wat_guest::compile(
        r#"(component (core module $m (func (export "run"))) (core instance $i (instantiate $m))
           (func $run (canon lift (core func $i "run"))) (export "run" (func $run)))"#,
    );
    refused(&sandbox, &other_run, "BOX0004", "it exports run");
    refused(
        &sandbox,
        &vec![0; (8 << 20) + 1],
        "BOX0005",
        "8388608 bytes",
    );
}

#[test]
fn an_import_with_another_signature_is_refused() {
    let sandbox = sandbox(Limits::default());
    let wrong = wat_guest::compile(&wat_guest::with_import(
        r#"(import "stepwell:log/log@1.0.0" (instance (export "log" (func (param "x" u32)))))"#,
    ));
    let error = sandbox.try_upload(&wrong).expect_err("refused");
    assert_eq!(error.code(), "BOX0013", "{error}");
    assert!(sandbox.files("").is_empty());
}

/// A component that takes long to compile: many functions with much arithmetic.
fn heavy(functions: usize, operations: usize) -> Vec<u8> {
    let mut body = String::from("(local.get 0)");
    for n in 0..operations {
        body.push_str(&format!(
            "(i32.const {n}) (i32.add) (local.get 0) (i32.mul)"
        ));
    }
    let mut module = String::from("(core module $heavy");
    for n in 0..functions {
        module.push_str(&format!(
            "(func (export \"f{n}\") (param i32) (result i32) {body})"
        ));
    }
    module.push(')');
    wat_guest::compile(&wat_guest::with_import(&module))
}

fn limited(compile_limits: CompileLimits) -> TestBox {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut options = options(dir.path(), Limits::default());
    options.compile_limits = compile_limits;
    let sandbox = Sandbox::open(options).expect("sandbox");
    TestBox { sandbox, dir }
}

#[test]
fn a_compilation_is_bounded_in_time_and_memory() {
    let module = heavy(60, 12_000);
    let limits = CompileLimits::default();
    let slow = limited(CompileLimits {
        wall_ms: 300,
        ..limits
    });
    let began = Instant::now();
    let error = slow.try_upload(&module).expect_err("too slow");
    assert!(matches!(error, Error::CompileTimeout { .. }), "{error}");
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    let large = limited(CompileLimits {
        memory_bytes: 100 << 20,
        ..limits
    });
    let error = large.try_upload(&module).expect_err("too large");
    assert!(matches!(error, Error::CompileMemory { .. }), "{error}");
    let artifact = limited(CompileLimits {
        artifact_bytes: 1000,
        ..limits
    });
    let error = artifact.try_upload(&guest("echo")).expect_err("too large");
    assert!(matches!(error, Error::CompileMemory { .. }), "{error}");
    for sandbox in [slow, large, artifact] {
        assert!(sandbox.files("").is_empty());
    }
}

#[test]
fn a_compiler_that_cannot_start_is_said() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut options = options(dir.path(), Limits::default());
    options.compiler = vec!["/nowhere/to/be/found".into()];
    let sandbox = Sandbox::open(options).expect("sandbox");
    let sandbox = TestBox { sandbox, dir };
    let error = sandbox.try_upload(&guest("echo")).expect_err("no compiler");
    assert_eq!(error.code(), "BOX0012");
    assert!(!error.is_callers_fault());
}
