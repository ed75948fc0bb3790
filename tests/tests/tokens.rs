//! Tokens of OAuth 2 and the master key on a real server: what a token server may say of a token's life,
//! what becomes of a kept token whose grant is withdrawn, a token server that is out of order, and a
//! new key while executions use secrets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stepwell_tests::api::Api;
use stepwell_tests::bridges::ask;
use stepwell_tests::bridges::place::Place;
use stepwell_tests::server::Server;

const CALL: &str = r#"{"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "http:request", "End": true}}}"#;

struct House {
    _dir: tempfile::TempDir,
    server: Server,
    api: Api,
    /// What is called.
    shop: Place,
    /// Who gives tokens out.
    desk: Place,
}

impl House {
    fn start() -> Result<House> {
        let dir = tempfile::tempdir()?;
        let (shop, desk) = (Place::start()?, Place::start()?);
        let config =
            "[http]\nallow = [\"127.0.0.1\"]\n[limits.breaker]\nfailures = 3\nopen_ms = 600000\n";
        let (server, api) = ask::started(dir.path(), config)?;
        let house = House {
            api,
            _dir: dir,
            server,
            shop,
            desk,
        };
        let set = house.api.send("PUT", "/v1/secrets/client", "let me in")?;
        ensure!(set.status == 200, "{set:?}");
        house.publish(CALL, &[&house.shop, &house.desk])?;
        Ok(house)
    }

    /// A version of the flow `call` that may reach these.
    fn publish(&self, flow: &str, places: &[&Place]) -> Result<()> {
        let ports: Vec<u16> = places.iter().map(|place| place.address.port()).collect();
        let grants =
            json!({"secrets": ["client"], "http": [{"host": "127.0.0.1", "ports": ports}]});
        let body = json!({"definition": flow, "grants": grants});
        let kind = [("content-type", "application/vnd.stepwell.publish+json")];
        let path = "/v1/flows/call?confirm_grants=true";
        let answer = self.api.send_with("PUT", path, &kind, body.to_string())?;
        ensure!(answer.status < 300, "{answer:?}");
        Ok(())
    }

    /// A call with a token for this client.
    fn call(&self, client: &str, tokens: &str) -> Result<Value> {
        let input = json!({
            "url": self.shop.url("/resource"),
            "authentication": {
                "type": "oauth2", "secret": "client", "client_id": client, "token_url": self.desk.url(tokens),
            },
        });
        self.api.run("call", &input.to_string())
    }
}

#[test]
fn a_token_lives_as_long_as_its_server_can_mean() -> Result<()> {
    let house = House::start()?;
    let kept = |life: &str| -> Result<bool> {
        house.desk.lock().life = life.to_owned();
        let before = house.desk.lock().tokens;
        for _ in 0..2 {
            let shown = house.call(life, "/token")?;
            ensure!(shown["status"] == "SUCCEEDED", "{life}: {shown}");
        }
        Ok(house.desk.lock().tokens == before + 1)
    };
    for (life, expected) in [
        ("3600", true),
        ("\"3600\"", true),
        // As good as nothing said: five minutes.
        ("null", true),
        ("true", true),
        ("[3600]", true),
        ("{}", true),
        ("\"soon\"", true),
        ("\"NaN\"", true),
        // A day at most.
        ("99999999999999999999999999", true),
        ("1e308", true),
        ("\"1e999\"", true),
        ("\"inf\"", true),
        // Too short to be kept, or over already.
        ("9.5", false),
        ("0", false),
        ("-0.0", false),
        ("-3600", false),
        ("-1e308", false),
        ("\"-inf\"", false),
    ] {
        assert_eq!(kept(life)?, expected, "{life}");
    }
    // No number at all.
    house.desk.lock().life = "1e999".to_owned();
    let shown = house.call("1e999", "/token")?;
    assert_eq!(shown["error"], "Stepwell.HttpTokenFailed", "{shown}");
    Ok(())
}

#[test]
fn a_kept_token_is_given_to_nobody_who_could_not_ask_for_it() -> Result<()> {
    let house = House::start()?;
    assert_eq!(house.call("a", "/token")?["status"], "SUCCEEDED");
    house.publish(CALL, &[&house.shop])?;
    let shown = house.call("a", "/token")?;
    assert_eq!(shown["error"], "Stepwell.NotGranted", "{shown}");
    assert_eq!(house.shop.calls("/resource").len(), 1, "nothing was sent");
    house.publish(CALL, &[&house.shop, &house.desk])?;
    assert_eq!(house.call("a", "/token")?["status"], "SUCCEEDED");
    assert_eq!(house.desk.lock().tokens, 1, "it was kept");
    Ok(())
}

#[test]
fn a_token_server_that_is_out_of_order_is_left_alone() -> Result<()> {
    let house = House::start()?;
    for _ in 0..3 {
        let shown = house.call("a", "/fails")?;
        assert_eq!(shown["error"], "Stepwell.HttpTokenFailed", "{shown}");
    }
    let shown = house.call("a", "/fails")?;
    assert_eq!(shown["error"], "Stepwell.CircuitOpen", "{shown}");
    let desk = house.desk.address.to_string();
    let cause = shown["cause"].as_str().unwrap_or_default();
    assert!(cause.contains(&desk), "{shown}");
    assert_eq!(house.desk.calls("/fails").len(), 3);
    // The shop is another target, and well.
    let targets = house.api.get("/v1/targets")?.body;
    let circuit = |name: String| {
        let all = targets["targets"].as_array().into_iter().flatten();
        let mut found = all.filter(|target| target["name"] == *name);
        found.next().map(|target| target["circuit"].clone())
    };
    assert_eq!(circuit(desk), Some(json!("open")), "{targets}");
    let shop = circuit(house.shop.address.to_string());
    assert_eq!(shop, Some(json!("closed")), "{targets}");
    let plain = json!({ "url": house.shop.url("/fine") }).to_string();
    let shown = house.api.run("call", &plain)?;
    assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
    Ok(())
}

#[test]
fn a_new_master_key_disturbs_nobody() -> Result<()> {
    let mut house = House::start()?;
    let flow = r#"{"StartAt": "A", "States": {
        "A": {"Type": "Task", "Resource": "http:request", "ResultPath": null, "Next": "W"},
        "W": {"Type": "Wait", "Seconds": 1, "Next": "B"},
        "B": {"Type": "Task", "Resource": "http:request", "End": true}}}"#;
    house.publish(flow, &[&house.shop])?;
    let input = json!({
        "url": house.shop.url("/fine"), "method": "POST",
        "authentication": {"type": "bearer", "secret": "client"},
    });
    let mut ids = Vec::new();
    let over = AtomicBool::new(false);
    let rotations = std::thread::scope(|scope| -> Result<u32> {
        let url = house.server.url();
        let over = &over;
        let rotates = scope.spawn(move || -> Result<u32> {
            let api = Api::new(&url)?;
            let mut rotations = 0;
            while !over.load(Ordering::Acquire) {
                let rotated = api.send("POST", "/v1/secret-key/rotate", "")?;
                ensure!(rotated.status == 200, "{rotated:?}");
                rotations += 1;
            }
            Ok(rotations)
        });
        let done = (0..60).try_for_each(|_| -> Result<()> {
            let started = house
                .api
                .send("POST", "/v1/flows/call/executions", input.to_string())?;
            ids.push(started.body["id"].as_str().context("no id")?.to_owned());
            std::thread::sleep(Duration::from_millis(20));
            Ok(())
        });
        over.store(true, Ordering::Release);
        done?;
        rotates
            .join()
            .map_err(|_| anyhow::anyhow!("who rotates broke"))?
    })?;
    ensure!(rotations > 3, "{rotations} rotations");
    // Some end under a key that came while their server was away.
    house.server.again()?;
    for id in &ids {
        let shown = house.api.ended(id)?;
        assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
    }
    let calls = house.shop.calls("/fine");
    assert!(calls.len() >= 2 * ids.len());
    assert!(calls.iter().all(|proof| proof == "Bearer let me in"));
    Ok(())
}
