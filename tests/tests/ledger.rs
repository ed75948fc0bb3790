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
use stepwell_tests::api::Api;
use stepwell_tests::server::Server;

const ROWS: u64 = 400_000;

struct House {
    _dir: tempfile::TempDir,
    server: Server,
    api: Api,
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/ledger-import")
}

/// A server with the example's modules, flow and files, and one large file.
fn house() -> Result<House> {
    let dir = tempfile::tempdir()?;
    // Less memory than the large file has bytes.
    let mut server = Server::new(dir.path(), "[steps]\nmemory_mib = 4\n")?;
    server.spawn()?;
    server.ready()?;
    let api = Api::new(&server.url())?;
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
    let house = House {
        _dir: dir,
        server,
        api,
    };
    for file in ["march.csv", "faulty.csv"] {
        house.put(
            file,
            std::fs::read_to_string(example().join("data").join(file))?,
        )?;
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
    house.put("large.csv", large)?;
    Ok(house)
}

impl House {
    fn put(&self, file: &str, text: String) -> Result<()> {
        let put = self
            .api
            .send("PUT", &format!("/v1/buckets/ledgers/objects/{file}"), text)?;
        ensure!(matches!(put.status, 200 | 201), "{put:?}");
        Ok(())
    }

    fn start(&self, flow: &str, file: &str) -> Result<String> {
        let input = json!({"query": {"file": file}}).to_string();
        self.api.start(flow, input)
    }

    fn ended(&self, id: &str) -> Result<Value> {
        self.api.ended(id)
    }

    fn run(&self, flow: &str, file: &str) -> Result<Value> {
        self.ended(&self.start(flow, file)?)
    }

    /// All that is kept: keys, and cents of one account.
    fn kept(&self, account: &str) -> Result<(u64, Option<i64>)> {
        let space = "/v1/namespaces/ledger-import%2Fbalances";
        let keys = self.api.get(space)?.body["keys"].as_u64().unwrap_or(0);
        let value = self
            .api
            .get(&format!("{space}/value?key=account%2F{account}"))?;
        let cents = (value.status == 200).then(|| value.body.to_string());
        let cents = cents.map(|text| text.trim_matches('"').parse());
        Ok((keys, cents.transpose()?))
    }

    fn report(&self, file: &str) -> Result<u16> {
        let path = format!("/v1/buckets/ledger-reports/objects/{file}.txt");
        Ok(self.api.get(&path)?.status)
    }

    fn unfinished(&self) -> Result<usize> {
        let names = std::fs::read_dir(self.server.data().join("buckets"))?.flatten();
        let part = |name: String| name.starts_with(".stepwell-part");
        Ok(names
            .filter(|e| part(e.file_name().to_string_lossy().into_owned()))
            .count())
    }
}

#[test]
fn a_file_is_counted_once_or_not_at_all() -> Result<()> {
    let house = house()?;
    let shown = house.run("ledger", "faulty.csv")?;
    assert_eq!(shown["error"], "Ledger.BadRow", "{shown}");
    assert_eq!(
        (house.kept("sales")?, house.report("faulty.csv")?),
        ((0, None), 404)
    );
    let shown = house.run("ledger", "nothing.csv")?;
    assert_eq!(shown["error"], "Stepwell.ObjectMissing", "{shown}");

    let shown = house.run("ledger", "march.csv")?;
    assert_eq!(shown["output"]["rows"], 240, "{shown}");
    assert_eq!(shown["output"]["totals"]["accounts"], 8, "{shown}");
    let kept = house.kept("sales")?;
    assert_eq!((kept.0, house.report("march.csv")?), (9, 200));
    let again = house.run("ledger", "march.csv")?;
    assert_eq!(again["output"]["repeated"], true, "{again}");
    assert_eq!(again["output"]["totals"], shown["output"]["totals"]);
    assert_eq!(house.kept("sales")?, kept);
    Ok(())
}

#[test]
fn a_server_that_dies_in_the_middle_counts_a_file_once() -> Result<()> {
    let mut house = house()?;
    let begun = Instant::now();
    let shown = house.run("ledger", "large.csv")?;
    let took = begun.elapsed();
    assert_eq!(shown["output"]["rows"], ROWS, "{shown}");
    let (keys, once) = house.kept("account%20003")?;
    assert_eq!((keys, once.is_some()), (501, true));
    // The same rows under another name, over deaths while it is read and about its end.
    let large = house.server.data().join("buckets/ledgers/large.csv");
    for n in 1..=6 {
        let file = format!("large-{n}.csv");
        std::fs::copy(&large, large.with_file_name(&file))?;
        let id = house.start("ledger", &file)?;
        std::thread::sleep(took * n / 5);
        house.server.again()?;
        let shown = house.ended(&id)?;
        assert_eq!(shown["output"]["rows"], ROWS, "{shown}");
        let (keys, cents) = house.kept("account%20003")?;
        assert_eq!(
            (keys, cents),
            (501 + u64::from(n), once.map(|c| c * i64::from(n + 1)))
        );
        assert_eq!((house.report(&file)?, house.unfinished()?), (200, 0));
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
    house.put("huge.csv", huge)?;
    let (hasty, cancelled) = (
        house.start("hasty", "huge.csv")?,
        house.start("ledger", "huge.csv")?,
    );
    std::thread::sleep(Duration::from_millis(200));
    house
        .api
        .send("POST", &format!("/v1/executions/{cancelled}/cancel"), "{}")?;
    assert_eq!(house.ended(&cancelled)?["status"], "ABORTED");
    assert_eq!(house.ended(&hasty)?["error"], "States.Timeout");
    assert_eq!(
        (house.kept("a")?, house.report("huge.csv")?),
        ((0, None), 404)
    );
    assert_eq!(house.unfinished()?, 0);
    Ok(())
}
