//! Compiled artifacts: kept, checked, never trusted blindly.

use std::fs;

use stepwell_sandbox::Limits;

use crate::harness::{guest, sandbox};

#[test]
fn an_artifact_is_kept_and_mapped_again() {
    let sandbox = sandbox(Limits::default());
    let digest = sandbox.upload(&guest("echo"));
    let artifact = sandbox.files(".cwasm").remove(0);
    let made = fs::metadata(&artifact)
        .expect("artifact")
        .modified()
        .expect("time");
    let sandbox = sandbox.reopen(Limits::default(), || ());
    assert_eq!(sandbox.run(digest, "1").result.expect("echo").text(), "1");
    let still = fs::metadata(&artifact)
        .expect("artifact")
        .modified()
        .expect("time");
    assert_eq!(made, still, "it was not compiled again");
}

/// Spoils the folder, runs a step, and sees that the artifact was made anew.
fn check(what: &str, spoil: impl FnOnce(&std::path::Path, &std::path::Path)) {
    let sandbox = sandbox(Limits::default());
    let digest = sandbox.upload(&guest("echo"));
    let artifact = sandbox.files(".cwasm").remove(0);
    let sum = sandbox.files(".sum").remove(0);
    let sound = fs::read(&artifact).expect("artifact");
    let sandbox = sandbox.reopen(Limits::default(), || spoil(&artifact, &sum));
    assert_eq!(
        sandbox.run(digest, "1").result.expect(what).text(),
        "1",
        "{what}"
    );
    assert_eq!(
        sandbox.files(".cwasm"),
        std::slice::from_ref(&artifact),
        "{what}"
    );
    assert_eq!(
        fs::read(&artifact).expect("artifact").len(),
        sound.len(),
        "{what}"
    );
}

#[test]
fn a_spoilt_artifact_is_made_anew() {
    check("one bit of its code turned", |artifact, _| {
        let mut bytes = fs::read(artifact).expect("artifact");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(artifact, bytes).expect("write");
    });
    check("half written", |artifact, _| {
        let bytes = fs::read(artifact).expect("artifact");
        fs::write(artifact, &bytes[..bytes.len() / 2]).expect("write");
    });
    check("empty", |artifact, _| {
        fs::write(artifact, b"").expect("write")
    });
    check("no sum", |_, sum| fs::remove_file(sum).expect("remove"));
    check("sum of something else", |_, sum| {
        fs::write(sum, stepwell_types::Digest::of(b"else").to_string()).expect("write");
    });
    check("for another engine, under another name", |artifact, sum| {
        let other = |path: &std::path::Path| {
            let name = path.to_string_lossy();
            let (stem, ending) = name.rsplit_once('.').expect("ending");
            let (digest, _) = stem.rsplit_once('.').expect("fingerprint");
            std::path::PathBuf::from(format!("{digest}.0123456789abcdef.{ending}"))
        };
        fs::rename(artifact, other(artifact)).expect("rename");
        fs::rename(sum, other(sum)).expect("rename");
    });
}

#[test]
fn an_artifact_that_matches_its_sum_but_not_the_engine_is_refused() {
    check("wasmtime's own check", |artifact, sum| {
        let mut config = wasmtime::Config::new();
        config.consume_fuel(false);
        let engine = wasmtime::Engine::new(&config).expect("engine");
        let other = engine
            .precompile_component(&guest("echo"))
            .expect("compile");
        fs::write(artifact, &other).expect("write");
        fs::write(sum, stepwell_types::Digest::of(&other).to_string()).expect("write");
    });
}

#[test]
fn a_damaged_module_is_never_compiled() {
    let sandbox = sandbox(Limits::default());
    let digest = sandbox.upload(&guest("echo"));
    let artifact = sandbox.files(".cwasm").remove(0);
    let wasm = sandbox.files(".wasm").remove(0);
    let sandbox = sandbox.reopen(Limits::default(), || {
        fs::remove_file(artifact).expect("remove");
        fs::write(wasm, guest("fail")).expect("write");
    });
    let failure = sandbox.run(digest, "1").result.expect_err("damaged");
    assert_eq!(&*failure.error, "Stepwell.ModuleUnusable");
    assert!(failure.cause.contains("BOX0014"), "{}", failure.cause);
}
