//! What steps keep, on a real server: seen by whom it should be, never in part, not lost and not
//! twice, whatever dies and whoever else writes.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stepwell_tests::bridges::receiver::Receiver;
use stepwell_tests::guests;
use stepwell_tests::house::{House, one_map, one_state};
use stepwell_tests::server;

/// Runs the guest's steps on a namespace, and compares what they came to.
#[track_caller]
fn check(house: &House, flow: &str, namespace: &str, steps: Value, expected: Value) {
    house.check(
        flow,
        &json!({"namespace": namespace, "do": steps}),
        &expected,
    );
}

fn run(house: &House, steps: &Value) -> Result<Value> {
    let input = json!({"namespace": "own", "do": steps});
    house.api.run("a", &input.to_string())
}

fn start(house: &House, flow: &str, steps: &Value) -> Result<String> {
    house.api.start(flow, json!({"do": steps}).to_string())
}

fn own(write: bool) -> Value {
    json!({"key_value": [{"namespace": "own", "write": write}]})
}

#[test]
fn steps_see_what_others_kept_where_they_are_granted_it() -> Result<()> {
    let house = House::new("")?;
    house.step(
        "a",
        "keyvalue",
        &json!({"key_value": [
            {"namespace": "own", "write": true},
            {"namespace": "shared/all", "write": true},
        ]}),
    )?;
    house.step(
        "b",
        "keyvalue",
        &json!({"key_value": [
            {"namespace": "own", "write": true},
            {"namespace": "shared/all"},
        ]}),
    )?;
    check(
        &house,
        "a",
        "own",
        json!([{"get": "k"}, {"set": ["k", "1"]}, {"get": "k"}, {"exists": "k"}]),
        json!([null, null, "1", true]),
    );
    check(
        &house,
        "a",
        "own",
        json!([{"get": "k"}, {"delete": "k"}, {"exists": "k"}, {"delete": "k"}]),
        json!(["1", null, false, null]),
    );
    check(&house, "a", "own", json!([{"get": "k"}]), json!([null]));
    check(
        &house,
        "a",
        "own",
        json!([{"increment": ["n", 5]}, {"increment": ["n", 2]}, {"get": "n"}]),
        json!([5, 7, "7"]),
    );
    check(
        &house,
        "a",
        "own",
        json!([{"increment": ["n", 1]}]),
        json!([8]),
    );
    check(
        &house,
        "a",
        "own",
        json!([{"set_many": [["x", "1"], ["y", "2"]]}, {"get_many": ["x", "none", "y"]}, {"delete_many": ["x", "none"]}, {"get_many": ["x", "y"]}, "list"]),
        json!([null, ["1", null, "2"], null, [null, "2"], ["n", "y"]]),
    );
    // A namespace is the module's own, unless it is shared by name.
    check(&house, "b", "own", json!(["list"]), json!([[]]));
    check(
        &house,
        "a",
        "shared/all",
        json!([{"set": ["k", "for all"]}]),
        json!([null]),
    );
    check(
        &house,
        "b",
        "shared/all",
        json!([{"get": "k"}]),
        json!(["for all"]),
    );
    check(
        &house,
        "b",
        "shared/all",
        json!([{"set": ["k", "x"]}]),
        json!("Stepwell.NotGranted"),
    );
    for name in ["other", "", "a/own", "/all", "shared/", "own/"] {
        check(
            &house,
            "b",
            name,
            json!([{"get": "k"}]),
            json!("Stepwell.NotGranted"),
        );
    }
    // All of a step or nothing.
    check(
        &house,
        "a",
        "own",
        json!([{"set": ["k", "2"]}, {"set": ["l", "2"]}, {"fail": "Odd"}]),
        json!("Odd"),
    );
    check(&house, "a", "own", json!(["list"]), json!([["n", "y"]]));
    // Limits.
    check(
        &house,
        "a",
        "own",
        json!([{"set": ["", "x"]}]),
        json!("Stepwell.KeyValueRefused"),
    );
    check(
        &house,
        "a",
        "own",
        json!([{"get": "k".repeat(1_025)}]),
        json!("Stepwell.KeyValueRefused"),
    );
    check(
        &house,
        "a",
        "own",
        json!([{"fill": ["k", "x", (1 << 20) + 1]}]),
        json!("Stepwell.KeyValueRefused"),
    );
    check(
        &house,
        "a",
        "own",
        json!([{"increment": ["y", u64::MAX]}]),
        json!("Stepwell.KeyValueRefused"),
    );
    let nine: Vec<Value> = (0..9)
        .map(|n| json!({"fill": [format!("f{n}"), "x", 1 << 20]}))
        .collect();
    check(
        &house,
        "a",
        "own",
        json!(nine),
        json!("Stepwell.KeyValueRefused"),
    );
    check(
        &house,
        "a",
        "own",
        json!([{"fill": ["k", "x", 1 << 20]}, {"delete": "k"}]),
        json!([null, null]),
    );
    // Pages, with a step's own writes in them.
    let many: Vec<Value> = (0..2_500)
        .map(|n| json!([format!("m{n:05}"), "x"]))
        .collect();
    let calls: Vec<Value> = many
        .chunks(1_000)
        .map(|some| json!({"set_many": some}))
        .collect();
    check(&house, "a", "own", json!(calls), json!([null, null, null]));
    let shown = run(
        &house,
        &json!([{"set": ["m00000a", "x"]}, {"delete": "m01999"}, {"set": ["z", "x"]}, "list"]),
    )?;
    let keys: Vec<&str> = shown["output"][3]
        .as_array()
        .context("keys")?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(keys.len(), 2_503);
    assert!(keys.is_sorted() && keys.contains(&"m00000a") && !keys.contains(&"m01999"));
    Ok(())
}

#[test]
fn steps_at_once_are_as_if_one_ran_after_another() -> Result<()> {
    let house = House::new("")?;
    house.step("a", "keyvalue", &own(true))?;
    house.api.publish("many", &one_map("a"))?;
    let step = json!({"namespace": "own", "do": [{"count": "n"}, {"spin": 200_000}]});
    let shown = house.api.run("many", &json!(vec![step; 60]).to_string())?;
    let counted = shown["output"]
        .as_array()
        .with_context(|| format!("{shown}"))?;
    let counted: BTreeSet<u64> = counted.iter().filter_map(|o| o[0].as_u64()).collect();
    assert_eq!(counted, (1..=60).collect(), "nobody's number is another's");
    // Who writes what the other reads: never both as if they were first.
    let (x, y) = (
        json!([{"get": "y"}, {"set": ["x", "1"]}]),
        json!([{"get": "x"}, {"set": ["y", "1"]}]),
    );
    for _ in 0..20 {
        check(
            &house,
            "a",
            "own",
            json!([{"delete_many": ["x", "y"]}]),
            json!([null]),
        );
        let both = json!([{"namespace": "own", "do": x}, {"namespace": "own", "do": y}]);
        let shown = house.api.run("many", &both.to_string())?;
        let first = |n: usize| shown["output"][n][0].is_null();
        assert!(!(first(0) && first(1)), "{shown}");
    }
    // Nor does a key that comes between two looks at the list.
    let list = json!({"namespace": "own", "do": ["list", {"spin": 3_000_000}, {"count": "lists"}, "list"]});
    let mut items = vec![list; 6];
    items.extend(
        (0..6).map(|n| json!({"namespace": "own", "do": [{"set": [format!("new{n}"), "x"]}]})),
    );
    let shown = house.api.run("many", &json!(items).to_string())?;
    for output in shown["output"]
        .as_array()
        .with_context(|| format!("{shown}"))?
        .iter()
        .take(6)
    {
        let (before, after) = (output[0].as_array(), output[3].as_array());
        let own = usize::from(!output[0].to_string().contains("\"lists\""));
        assert_eq!(
            before.map(Vec::len).unwrap_or(0) + own,
            after.map(Vec::len).unwrap_or(0),
            "{output}"
        );
    }
    Ok(())
}

#[test]
fn no_write_is_lost_or_there_twice_after_deaths() -> Result<()> {
    let mut house = House::new("")?;
    house.step("a", "keyvalue", &own(true))?;
    let mut ids = Vec::new();
    for round in 0..8 {
        for n in 0..15 {
            let key = format!("done/{round}-{n}");
            ids.push(start(
                &house,
                "a",
                &json!([{"count": "n"}, {"spin": 100_000}, {"set": [key, "x"]}]),
            )?);
        }
        // At another moment each time.
        std::thread::sleep(Duration::from_millis(7 * round));
        house.server.again()?;
    }
    let mut counted = BTreeSet::new();
    for id in &ids {
        let shown = house.api.ended(id)?;
        assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
        counted.extend(shown["output"][0].as_u64());
    }
    let all = ids.len() as u64;
    assert_eq!(
        counted,
        (1..=all).collect(),
        "each execution's number is its own"
    );
    let shown = run(&house, &json!([{"get": "n"}, "list"]))?;
    assert_eq!(shown["output"][0], all.to_string(), "{shown}");
    assert_eq!(
        shown["output"][1].as_array().map(Vec::len),
        Some(ids.len() + 1)
    );
    Ok(())
}

#[test]
fn namespaces_have_a_quota_and_are_seen_and_emptied() -> Result<()> {
    let mut house =
        House::new("[state]\nkeys_max = 4\n[state.namespaces.\"shared/all\"]\nbytes_max = 2000\n")?;
    let grants = json!({"key_value": [
        {"namespace": "own", "write": true},
        {"namespace": "shared/all", "write": true},
    ]});
    house.step("a", "keyvalue", &grants)?;
    let four: Vec<Value> = (0..4).map(|n| json!([format!("k{n}"), "xy"])).collect();
    check(
        &house,
        "a",
        "own",
        json!([{"set_many": four}]),
        json!([null]),
    );
    // The guest is told by name, and so is its flow; nothing of the step is there.
    let full = json!("Stepwell.NamespaceFull");
    check(
        &house,
        "a",
        "own",
        json!([{"set": ["k0", "z"]}, {"set": ["more", "x"]}]),
        full.clone(),
    );
    check(
        &house,
        "a",
        "own",
        json!([{"get": "k0"}, {"delete": "k3"}, {"set": ["more", "x"]}]),
        json!(["xy", null, null]),
    );
    check(
        &house,
        "a",
        "shared/all",
        json!([{"fill": ["k", "x", 1_999]}]),
        json!([null]),
    );
    check(
        &house,
        "a",
        "shared/all",
        json!([{"fill": ["l", "x", 1]}]),
        full.clone(),
    );
    // Many at once: room for three of them, whoever is first.
    check(
        &house,
        "a",
        "shared/all",
        json!([{"delete": "k"}]),
        json!([null]),
    );
    let many = json!({"StartAt": "M", "States": {"M": {"Type": "Map", "ItemsPath": "$", "End": true, "ItemProcessor": {"StartAt": "T", "States": {
        "T": {"Type": "Task", "Resource": "wasm:a", "Catch": [{"ErrorEquals": ["Stepwell.NamespaceFull"], "Next": "Full"}], "End": true},
        "Full": {"Type": "Pass", "Result": "full", "End": true}}}}}});
    house.api.publish("many", &many.to_string())?;
    let items: Vec<Value> = (0..20)
        .map(|n| json!({"namespace": "shared/all", "do": [{"fill": [format!("p{n:02}"), "x", 600]}, {"spin": 100_000}]}))
        .collect();
    let shown = house.api.run("many", &json!(items).to_string())?;
    let outputs = shown["output"]
        .as_array()
        .with_context(|| format!("{shown}"))?;
    assert_eq!(
        outputs.iter().filter(|o| **o != "full").count(),
        3,
        "{shown}"
    );

    house.server.again()?;
    check(&house, "a", "own", json!([{"set": ["fifth", "x"]}]), full);
    let list = house.api.get("/v1/namespaces")?.body;
    let expected = json!({"namespaces": [
        {"name": "shared/all", "keys": 3, "bytes": 1_809, "keys_max": 4, "bytes_max": 2_000},
        {"name": "a/own", "keys": 4, "bytes": 17, "keys_max": 4, "bytes_max": 256 << 20},
    ]});
    assert_eq!(list, expected);
    let page = house.api.get("/v1/namespaces?limit=1")?.body;
    assert_eq!(page["next"], "shared/all", "{page}");
    let page = house
        .api
        .get("/v1/namespaces?limit=1&after=shared%2Fall")?
        .body;
    assert_eq!(
        (page["namespaces"][0]["name"].as_str(), page.get("next")),
        (Some("a/own"), None),
        "{page}"
    );
    let one = house.api.get("/v1/namespaces/shared%2Fall")?.body;
    assert_eq!(one, expected["namespaces"][0]);
    let keys = house.api.get("/v1/namespaces/a%2Fown/keys?limit=3")?.body;
    assert_eq!(keys, json!({"keys": ["k0", "k1", "k2"], "next": "k2"}));
    let keys = house
        .api
        .get("/v1/namespaces/a%2Fown/keys?limit=3&after=k2")?
        .body;
    assert_eq!(keys, json!({"keys": ["more"]}));
    for path in ["/v1/namespaces/none", "/v1/namespaces/a%2Fown/value?key=no"] {
        let answer = house.api.get(path)?;
        assert_eq!(
            (answer.status, answer.body["code"].as_str()),
            (404, Some("RUN0040")),
            "{path}"
        );
    }
    let cli = |args: &[&str]| -> Result<(bool, String)> {
        let (code, text) = house.api.cli(args)?;
        Ok((code == Some(0), text))
    };
    let (fine, text) = cli(&["state", "ls"])?;
    assert!(
        fine && text.contains("shared/all") && text.contains("1809 B"),
        "{text}"
    );
    let (fine, text) = cli(&["state", "get", "a/own", "k1"])?;
    assert_eq!((fine, text.as_str()), (true, "xy"));
    let (fine, text) = cli(&["state", "rm", "a/own", "k1"])?;
    assert!(fine, "{text}");
    let (fine, text) = cli(&["state", "rm", "a/own", "k1"])?;
    assert!(!fine && text.contains("RUN0040"), "{text}");
    check(
        &house,
        "a",
        "own",
        json!([{"set": ["fifth", "x"]}, "list"]),
        json!([null, ["fifth", "k0", "k2", "more"]]),
    );
    let (fine, text) = cli(&["state", "clear", "a/own"])?;
    assert!(fine && text.contains("4 key(s)"), "{text}");
    check(&house, "a", "own", json!(["list"]), json!([[]]));
    let list = house.api.get("/v1/namespaces")?.body;
    assert_eq!(
        list["namespaces"].as_array().map(Vec::len),
        Some(1),
        "{list}"
    );
    let wasm = std::fs::read(guests::program("keyvalue")?)?;
    let refused = house.api.send("PUT", "/v1/modules/shared", wasm)?;
    assert_eq!(
        (refused.status, refused.body["code"].as_str()),
        (400, Some("RUN0041")),
        "{refused:?}"
    );
    Ok(())
}

#[test]
fn a_step_whose_key_is_deleted_meanwhile_runs_again() -> Result<()> {
    let house = House::new("")?;
    house.step("a", "keyvalue", &own(true))?;
    let steps = json!([{"count": "n"}, {"spin": 100_000_000}]);
    let value = "/v1/namespaces/a%2Fown/value?key=n";
    let delete = || -> Result<()> {
        let gone = house.api.send("DELETE", value, "")?;
        anyhow::ensure!(gone.status == 204, "{gone:?}");
        Ok(())
    };
    let before = || run(&house, &json!([{"set": ["n", "41"]}])).map(drop);
    let shown = house.disturbed("a", &json!({"do": steps}), before, delete)?;
    assert_eq!(shown["output"][0], 1, "{shown}");
    Ok(())
}

#[test]
fn a_step_that_called_outside_does_not_call_again_for_a_conflict() -> Result<()> {
    let receiver = Receiver::start()?;
    let address = receiver.address;
    let mut house = House::new(&format!("[http]\nallow = [\"{address}\"]\n"))?;
    let mut grants = own(true);
    grants["http"] = json!([{"host": "127.0.0.1", "ports": [address.port()]}]);
    house.step("a", "keyvalue", &grants)?;
    let retry = one_state(
        "a",
        ", Retry: [{ErrorEquals: [Stepwell.KeyValueConflict], IntervalSeconds: 1}]",
    );
    house.api.publish("retries", &retry)?;
    let call = json!([{"count": "n"}, {"call": receiver.url("/held")}]);

    // Undisturbed, over a death in the call: the writes come with the outcome.
    let id = start(&house, "a", &call)?;
    receiver.until(1)?;
    check(&house, "a", "own", json!([{"get": "n"}]), json!([null]));
    house.server.again()?;
    receiver.until(2)?;
    receiver.open();
    assert_eq!(house.api.ended(&id)?["output"], json!([1, 200]));

    // Another writes meanwhile: that is for the flow to see.
    receiver.hold();
    let (fails, retries) = (start(&house, "a", &call)?, start(&house, "retries", &call)?);
    receiver.until(4)?;
    check(&house, "a", "own", json!([{"count": "n"}]), json!([2]));
    receiver.open();
    assert_eq!(
        house.api.ended(&fails)?["error"],
        "Stepwell.KeyValueConflict"
    );
    assert_eq!(house.api.ended(&retries)?["output"], json!([3, 200]));
    // And over a death, before the call is made again.
    receiver.hold();
    let id = start(&house, "a", &call)?;
    receiver.until(6)?;
    check(&house, "a", "own", json!([{"count": "n"}]), json!([4]));
    house.server.again()?;
    assert_eq!(house.api.ended(&id)?["error"], "Stepwell.KeyValueConflict");
    check(&house, "a", "own", json!([{"get": "n"}]), json!(["4"]));
    Ok(())
}

#[test]
fn express_executions_read_alone_and_a_run_without_a_server_keeps_for_itself() -> Result<()> {
    let house = House::new("")?;
    house.step("a", "keyvalue", &own(true))?;
    house
        .api
        .publish("short?type=express", &one_state("a", ""))?;
    check(
        &house,
        "a",
        "own",
        json!([{"set": ["k", "1"]}]),
        json!([null]),
    );
    check(&house, "short", "own", json!([{"get": "k"}]), json!(["1"]));
    check(
        &house,
        "short",
        "own",
        json!([{"set": ["k", "2"]}]),
        json!("Stepwell.ExpressWrites"),
    );
    check(&house, "a", "own", json!([{"get": "k"}]), json!(["1"]));

    let file = |name: &str, text: &str| -> Result<String> {
        let file = house.dir.path().join(name);
        std::fs::write(&file, text)?;
        Ok(file.display().to_string())
    };
    let twice = json!({"StartAt": "A", "States": {
        "A": {"Type": "Task", "Resource": "wasm:a", "ResultPath": null, "Next": "B"},
        "B": {"Type": "Task", "Resource": "wasm:a", "End": true}}});
    let (definition, grants) = (
        file("twice.json", &twice.to_string())?,
        file("grants.json", &own(true).to_string())?,
    );
    let module = format!("a={}", guests::program("keyvalue")?.display());
    let run = Command::new(server::binary()?)
        .args([
            "run",
            &definition,
            "--module",
            &module,
            "--grants",
            &format!("a={grants}"),
        ])
        .args(["--input", r#"{"do": [{"count": "n"}]}"#])
        .output()?;
    let text = String::from_utf8_lossy(&run.stdout);
    let shown: Value = serde_json::from_str(&text).with_context(|| format!("{run:?}"))?;
    assert_eq!(shown["output"], json!([2]), "{text}");
    Ok(())
}
