//! What a step asks of the host beyond what it may have: more memory of the server's, more work in one call
//! than a deadline could interrupt, more bytes than a stream permits.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stepwell_tests::guests;
use stepwell_tests::house::House;
use stepwell_tests::server::Server;

const EXCEEDED: &str = "Stepwell.HostMemoryExceeded";

/// A server with the guest twice: with no grant, and with some.
fn house() -> Result<House> {
    house_with("")
}

fn house_with(config: &str) -> Result<House> {
    let house = House::new(config)?;
    house.step("none", "greedy", &json!({}))?;
    let some = json!({
        "buckets": [{"bucket": "data", "write": true}],
        "key_value": [{"namespace": "own", "write": true}],
    });
    house.step("some", "greedy", &some)?;
    Ok(house)
}

/// Asks for one thing, and compares what came of it.
#[track_caller]
fn check(house: &House, flow: &str, ask: Value, expected: Value) {
    let shown = house.api.run(flow, &json!([ask]).to_string());
    let shown = shown.expect("an answer");
    let got = match shown["error"].as_str() {
        Some(error) => json!(error),
        None => shown["output"][0].clone(),
    };
    assert_eq!(got, expected, "{ask} {shown}");
}

#[test]
fn what_the_server_keeps_for_a_step_is_bounded_by_name() -> Result<()> {
    let house = house()?;
    // What fits goes well, and is given back.
    for _ in 0..3 {
        check(&house, "none", json!({"values": 30}), json!(30));
        check(&house, "none", json!({"bodies": 30}), json!(30));
        // A number in the host's table weighs what has it now.
        check(
            &house,
            "none",
            json!({"freed": [250, 60_000, false, 30]}),
            json!(30),
        );
    }
    let before = house.server.peak_kib()?;
    for ask in [
        json!({"values": 600}),
        json!({"bodies": 600}),
        json!({"paths": [600, 60_000]}),
        json!({"headers": [600, 60_000]}),
        json!({"headers": [5_000, 1]}),
        json!({"responses": [600, 60_000]}),
        json!({"freed": [600, 60_000, true, 0]}),
    ] {
        check(&house, "none", ask, json!(EXCEEDED));
    }
    let grown = house.server.peak_kib()?.saturating_sub(before) >> 10;
    ensure!(grown < 100, "{grown} MiB more");
    Ok(())
}

#[test]
fn a_step_that_goes_on_refused_ends_by_name() -> Result<()> {
    // Some thousand looks into a directory: on a busy machine they take longer than steps usually may.
    let house = house_with("[steps]\nwall_ms = 600000\n")?;
    check(
        &house,
        "some",
        json!({"refused": ["data", 1_000]}),
        json!(1_000),
    );
    let before = house.server.peak_kib()?;
    for _ in 0..3 {
        let ask = json!({"refused": ["data", 300_000]});
        check(&house, "some", ask, json!("Stepwell.JournalFull"));
    }
    let grown = house.server.peak_kib()?.saturating_sub(before) >> 10;
    ensure!(grown < 60, "{grown} MiB more");
    Ok(())
}

#[test]
fn listings_of_directories_are_bounded_by_name() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let full = dir.path().join("full");
    std::fs::create_dir(&full)?;
    for n in 0..500 {
        std::fs::write(full.join(format!("{n}-{}", "n".repeat(200))), "")?;
    }
    let config = format!("[[directories]]\nhost = {full:?}\nguest = \"/full\"\n");
    let server = Server::new(dir.path(), &config)?;
    let House {
        api,
        server: _server,
        dir: _dir,
    } = House::of(dir, server)?;
    let grants = json!({"directories": ["/full"]});
    api.upload_granted("files", &guests::program("files")?, &grants)?;
    let flow = "StartAt: S\nStates:\n  S: {Type: Task, Resource: \"wasm:files\", End: true}\n";
    api.publish("files", flow)?;
    for (times, at_once, expected) in [(1, true, "500"), (600, false, "500"), (600, true, EXCEEDED)]
    {
        let input = json!({"directory": "/full", "path": "", "do": "list", "times": times, "at_once": at_once});
        let shown = api.run("files", &input.to_string())?;
        let got = shown["error"].as_str().or(shown["output"].as_str());
        ensure!(got == Some(expected), "{input}: {shown}");
    }
    Ok(())
}

#[test]
fn one_call_does_so_much_and_no_more() -> Result<()> {
    let house = house()?;
    for (ask, refused) in [
        ("get_many", "Stepwell.KeyValueRefused"),
        ("set_many", "Stepwell.KeyValueRefused"),
        ("delete_many", "Stepwell.KeyValueRefused"),
    ] {
        let done = if ask == "get_many" {
            json!(1_000)
        } else {
            Value::Null
        };
        check(&house, "some", json!({ask: ["own", 1_000]}), done);
        check(&house, "some", json!({ask: ["own", 1_001]}), json!(refused));
        // More would not come through at all: a call brings 32 MiB.
        check(
            &house,
            "some",
            json!({ask: ["own", 500_000]}),
            json!(refused),
        );
    }
    let refused = || json!("Stepwell.ObjectRefused");
    check(
        &house,
        "some",
        json!({"delete_objects": ["data", 1_000]}),
        Value::Null,
    );
    check(
        &house,
        "some",
        json!({"delete_objects": ["data", 1_001]}),
        refused(),
    );
    check(
        &house,
        "some",
        json!({"delete_long": ["data", 1_025]}),
        refused(),
    );
    // A message shows the beginning of what the guest said.
    let shown = house
        .api
        .run("some", &json!([{"open_long": 1_000_000}]).to_string())?;
    let bytes = shown["output"][0]
        .as_u64()
        .with_context(|| format!("{shown}"))?;
    ensure!(bytes < 1_000, "{bytes} bytes of an error");
    Ok(())
}

#[test]
fn a_listing_goes_on_behind_what_the_step_deleted() -> Result<()> {
    let house = house()?;
    for n in 0..6 {
        house.api.put_object(&format!("data/k{n}"), "x")?;
    }
    let list = |gone: Value, at_once: u64| json!({"list": ["data", gone, at_once]});
    check(
        &house,
        "some",
        list(json!(["k0"]), 1),
        json!([["k1", "k2", "k3", "k4", "k5"], 5]),
    );
    check(
        &house,
        "some",
        list(json!(["k1", "k2"]), 1),
        json!([["k3", "k4", "k5"], 3]),
    );
    check(
        &house,
        "some",
        list(json!(["k5"]), 2),
        json!([["k3", "k4"], 1]),
    );
    check(&house, "some", list(json!(["k3", "k4"]), 1), json!([[], 1]));
    Ok(())
}

#[test]
fn a_write_that_was_not_permitted_ends_the_step_and_is_not_lost() -> Result<()> {
    let house = house()?;
    let write = |pieces: &[usize]| json!({"write": ["data", "object", pieces]});
    let piece = 256 << 10;
    check(&house, "some", write(&[100, 200]), json!(piece));
    check(&house, "some", write(&[piece / 2, piece / 2]), json!(piece));
    for pieces in [&[piece; 8][..], &[piece + 1], &[piece, 1], &[1, piece]] {
        check(&house, "some", write(pieces), json!("Stepwell.Trap"));
    }
    let object = house.api.object("data/object")?;
    let bytes = object.body.as_str().map(str::len);
    ensure!(bytes == Some(piece), "{bytes:?}");
    Ok(())
}
