//! `examples/ledger-import` on a real server: with a faulty file, a time limit, a cancel, and a server
//! that dies in the middle. A file is counted once or not at all.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use stepwell_tests::house::House;

const ROWS: u64 = 400_000;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/ledger-import")
}

/// A server with the example's modules, flow and files, and one large file.
fn house() -> Result<House> {
    // Less memory than the large file has bytes.
    let house = House::new("[steps]\nmemory_mib = 4\n")?;
    let api = &house.api;
    for module in ["import", "check"] {
        let name = format!("ledger-{module}");
        let wasm = xtask::guests::component("examples/ledger-import/steps", &name)?;
        let grants = std::fs::read_to_string(example().join(format!("grants-{module}.toml")))?;
        let grants: Value = toml::from_str(&grants)?;
        api.upload_granted(&name, &wasm, &grants)?;
    }
    let flow = std::fs::read_to_string(example().join("flow.yaml"))?;
    api.publish("ledger", &flow)?;
    let hasty = flow.replace("TimeoutSeconds: 300", "TimeoutSeconds: 1");
    ensure!(hasty != flow);
    api.publish("hasty", &hasty)?;
    for file in ["march.csv", "faulty.csv"] {
        let text = std::fs::read(example().join("data").join(file))?;
        api.put_object(&format!("ledgers/{file}"), text)?;
    }
    let mut large = "booking,account,cents\n".to_owned();
    for row in 0..ROWS {
        writeln!(
            large,
            "2026-05-{:02}/{row},account {:03},{}",
            row % 31 + 1,
            row % 500,
            row % 7
        )?;
    }
    ensure!(large.len() > 8 << 20);
    api.put_object("ledgers/large.csv", large)?;
    Ok(house)
}

fn start(house: &House, flow: &str, file: &str) -> Result<String> {
    let input = json!({"query": {"file": file}}).to_string();
    house.api.start(flow, input)
}

fn run(house: &House, flow: &str, file: &str) -> Result<Value> {
    house.api.ended(&start(house, flow, file)?)
}

/// All that is kept: keys, and cents of one account.
fn kept(house: &House, account: &str) -> Result<(u64, Option<i64>)> {
    let space = "/v1/namespaces/ledger-import%2Fbalances";
    let keys = house.api.get(space)?.body["keys"].as_u64().unwrap_or(0);
    let value = house
        .api
        .get(&format!("{space}/value?key=account%2F{account}"))?;
    let cents = (value.status == 200).then(|| value.body.to_string());
    let cents = cents.map(|text| text.trim_matches('"').parse());
    Ok((keys, cents.transpose()?))
}

fn report(house: &House, file: &str) -> Result<u16> {
    Ok(house
        .api
        .object(&format!("ledger-reports/{file}.txt"))?
        .status)
}

#[test]
fn a_file_is_counted_once_or_not_at_all() -> Result<()> {
    let house = house()?;
    let shown = run(&house, "ledger", "faulty.csv")?;
    assert_eq!(shown["error"], "Ledger.BadRow", "{shown}");
    assert_eq!(
        (kept(&house, "sales")?, report(&house, "faulty.csv")?),
        ((0, None), 404)
    );
    let shown = run(&house, "ledger", "nothing.csv")?;
    assert_eq!(shown["error"], "Stepwell.ObjectMissing", "{shown}");

    let shown = run(&house, "ledger", "march.csv")?;
    assert_eq!(shown["output"]["rows"], 240, "{shown}");
    assert_eq!(shown["output"]["totals"]["accounts"], 8, "{shown}");
    let once = kept(&house, "sales")?;
    assert_eq!((once.0, report(&house, "march.csv")?), (9, 200));
    let again = run(&house, "ledger", "march.csv")?;
    assert_eq!(again["output"]["repeated"], true, "{again}");
    assert_eq!(again["output"]["totals"], shown["output"]["totals"]);
    assert_eq!(kept(&house, "sales")?, once);
    Ok(())
}

#[test]
fn a_server_that_dies_in_the_middle_counts_a_file_once() -> Result<()> {
    let mut house = house()?;
    let begun = Instant::now();
    let shown = run(&house, "ledger", "large.csv")?;
    let took = begun.elapsed();
    assert_eq!(shown["output"]["rows"], ROWS, "{shown}");
    let (keys, once) = kept(&house, "account%20003")?;
    assert_eq!((keys, once.is_some()), (501, true));
    // The same rows under another name, over deaths while it is read and about its end.
    let large = house.server.data().join("buckets/ledgers/large.csv");
    for n in 1..=6 {
        let file = format!("large-{n}.csv");
        std::fs::copy(&large, large.with_file_name(&file))?;
        let id = start(&house, "ledger", &file)?;
        std::thread::sleep(took * n / 5);
        house.server.again()?;
        let shown = house.api.ended(&id)?;
        assert_eq!(shown["output"]["rows"], ROWS, "{shown}");
        let (keys, cents) = kept(&house, "account%20003")?;
        assert_eq!(
            (keys, cents),
            (501 + u64::from(n), once.map(|c| c * i64::from(n + 1)))
        );
        assert_eq!((report(&house, &file)?, house.unfinished()?), (200, 0));
    }
    Ok(())
}

#[test]
fn what_is_cancelled_or_takes_too_long_counts_nothing() -> Result<()> {
    let house = house()?;
    let mut huge = "booking,account,cents\n".to_owned();
    for row in 0..6_000_000_u32 {
        writeln!(huge, "{row},a,1")?;
    }
    house.api.put_object("ledgers/huge.csv", huge)?;
    let (hasty, cancelled) = (
        start(&house, "hasty", "huge.csv")?,
        start(&house, "ledger", "huge.csv")?,
    );
    std::thread::sleep(Duration::from_millis(200));
    house
        .api
        .send("POST", &format!("/v1/executions/{cancelled}/cancel"), "{}")?;
    assert_eq!(house.api.ended(&cancelled)?["status"], "ABORTED");
    assert_eq!(house.api.ended(&hasty)?["error"], "States.Timeout");
    assert_eq!(
        (kept(&house, "a")?, report(&house, "huge.csv")?),
        ((0, None), 404)
    );
    assert_eq!(house.unfinished()?, 0);
    Ok(())
}
