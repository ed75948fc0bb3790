//! Steps that call out, on a real server: grants, failures, a cancel, a death in the middle of a call, and
//! the same attempt again from its journal.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stepwell_tests::api::Api;
use stepwell_tests::bridges::ask;
use stepwell_tests::bridges::receiver::Receiver;
use stepwell_tests::guests;
use stepwell_tests::server::Server;

/// A server that may call the receiver, and the guest that calls, granted it.
fn started(dir: &Path, receiver: &Receiver) -> Result<(Server, Api)> {
    let config = format!("[http]\nallow = [\"{}\"]\n", receiver.address);
    let (server, api) = ask::started(dir, &config)?;
    let grants = json!({"http": [{"host": "127.0.0.1", "ports": [receiver.address.port()]}]});
    let uploaded = push(&api, &grants, false)?;
    anyhow::ensure!(uploaded.status == 201, "{uploaded:?}");
    api.publish("calls", FLOW)?;
    Ok((server, api))
}

const FLOW: &str = "StartAt: S\nStates:\n  S: {Type: Task, Resource: \"wasm:calls\", End: true}\n";

fn push(api: &Api, grants: &Value, confirmed: bool) -> Result<stepwell_tests::api::Answer> {
    let encoded: String =
        url::form_urlencoded::byte_serialize(grants.to_string().as_bytes()).collect();
    let path = format!("/v1/modules/calls?grants={encoded}&confirm_grants={confirmed}");
    api.send("PUT", &path, std::fs::read(guests::program("calls")?)?)
}

fn post(receiver: &Receiver, path: &str) -> Value {
    json!({"method": "POST", "url": receiver.url(path), "body": "x"})
}

fn start(api: &Api, calls: &[Value]) -> Result<String> {
    api.start("calls", json!({"calls": calls}).to_string())
}

#[test]
fn a_death_in_the_middle_of_a_call_repeats_that_call_alone() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let receiver = Receiver::start()?;
    let (mut server, api) = started(dir.path(), &receiver)?;
    let id = start(
        &api,
        &[
            post(&receiver, "/first"),
            post(&receiver, "/held"),
            post(&receiver, "/last"),
        ],
    )?;
    receiver.until(2)?;
    // The answer to the first call is on the disk: the second one's intent lies behind it.
    for death in 0..3 {
        server.again()?;
        receiver.until(3 + death)?;
    }
    receiver.open();
    let shown = api.ended(&id)?;
    assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
    let bodies: Vec<&Value> = shown["output"]
        .as_array()
        .context("no answers")?
        .iter()
        .map(|a| &a["body"])
        .collect();
    assert_eq!(bodies, ["/first x", "/held x", "/last x"]);
    let calls = receiver.calls();
    let of = |path: &str| -> Vec<&str> {
        let these = calls.iter().filter(|(p, _)| p == path);
        these.map(|(_, key)| key.as_str()).collect()
    };
    assert_eq!(of("/first").len(), 1, "a recorded call is never repeated");
    assert_eq!(of("/last").len(), 1);
    let held = of("/held");
    assert_eq!(held.len(), 4, "once in each life");
    assert!(held.iter().all(|key| *key == held[0]), "{held:?}");
    let keys = [of("/first")[0], held[0], of("/last")[0]];
    assert!(keys.iter().all(|key| key.starts_with(&id)), "{keys:?}");
    replays(&api, &receiver, &id)
}

/// The attempt that died so often, once more from its journal, here.
fn replays(api: &Api, receiver: &Receiver, id: &str) -> Result<()> {
    let before = receiver.calls().len();
    let replay = ["replay", id, "--state", "S"];
    let (code, text) = api.cli(&replay)?;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("the result is the same, bit for bit"),
        "{text}"
    );
    assert!(text.contains("as then"), "{text}");
    // A module that makes no calls at all.
    let echo = guests::program("echo")?;
    let echo = echo.to_str().context("a strange folder")?;
    let (code, text) = api.cli(&[&replay[..], &["--module", echo]].concat())?;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("call 0 differs"), "{text}");
    assert!(text.contains("POST http://127.0.0.1"), "{text}");
    assert_eq!(receiver.calls().len(), before, "a replay calls nobody");
    Ok(())
}

#[test]
fn a_cancel_gives_a_call_up_and_a_timeout_ends_it() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let receiver = Receiver::start()?;
    let (_server, api) = started(dir.path(), &receiver)?;
    let id = start(&api, &[post(&receiver, "/held")])?;
    receiver.until(1)?;
    let cancelled = api.send("POST", &format!("/v1/executions/{id}/cancel"), "")?;
    assert_eq!(cancelled.body["status"], "ABORTED", "{cancelled:?}");

    let mut slow = post(&receiver, "/held");
    slow["timeout_ms"] = json!(100);
    let input = json!({"calls": [slow]}).to_string();
    let shown = api.run("calls", &input)?;
    assert_eq!(shown["error"], "States.Timeout", "{shown}");

    // The flow's own deadline.
    let flow = FLOW.replace("End: true", "TimeoutSeconds: 1, End: true");
    api.publish("short", &flow)?;
    let input = json!({"calls": [post(&receiver, "/held")]}).to_string();
    let shown = api.run("short", &input)?;
    assert_eq!(shown["error"], "States.Timeout", "{shown}");
    receiver.open();
    Ok(())
}

#[test]
fn a_wider_manifest_needs_a_word_and_a_flow_keeps_the_one_it_was_published_with() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let receiver = Receiver::start()?;
    receiver.open();
    let (_server, api) = started(dir.path(), &receiver)?;
    let input = json!({"calls": [post(&receiver, "/first")]}).to_string();
    assert_eq!(api.run("calls", &input)?["status"], "SUCCEEDED");

    // Less is fine, and what is published keeps what it had.
    let nothing = push(&api, &json!({}), false)?;
    assert_eq!(
        (nothing.status, &nothing.body["version"]),
        (201, &json!(2)),
        "{nothing:?}"
    );
    let lost = nothing.body["lost"].to_string();
    assert!(lost.contains("http any method 127.0.0.1"), "{lost}");
    assert_eq!(api.run("calls", &input)?["status"], "SUCCEEDED");
    api.publish("calls", FLOW)?;
    let denied = api.run("calls", &input)?;
    assert_eq!(denied["error"], "Stepwell.NotGranted", "{denied}");

    let port = receiver.address.port();
    let more = json!({"http": [{"host": "127.0.0.1", "ports": [port], "methods": ["POST"]}]});
    let refused = push(&api, &more, false)?;
    assert_eq!(
        (refused.status, &refused.body["code"]),
        (409, &json!("RUN0027")),
        "{refused:?}"
    );
    let beyond = json!([format!("http POST 127.0.0.1:{port}")]);
    assert_eq!(refused.body["beyond"], beyond, "{refused:?}");
    let confirmed = push(&api, &more, true)?;
    assert_eq!(confirmed.status, 201, "{confirmed:?}");
    assert_eq!(confirmed.body["gained"], beyond);
    let wrong = push(
        &api,
        &json!({"http": [{"host": "https://a.example/"}]}),
        true,
    )?;
    assert_eq!(wrong.body["code"], "RUN0026", "{wrong:?}");
    let misspelt = push(&api, &json!({"htpp": []}), true)?;
    assert_eq!(misspelt.body["code"], "API0004", "{misspelt:?}");
    Ok(())
}

#[test]
fn a_flow_with_a_manifest_calls_what_it_says() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let receiver = Receiver::start()?;
    let (_server, api) = started(dir.path(), &receiver)?;
    let flow = json!({"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "http:request", "End": true}}});
    let publish = |grants: Option<Value>| {
        let mut body = json!({"definition": flow.to_string()});
        if let Some(grants) = grants {
            body["grants"] = grants;
        }
        let kind = [("content-type", "application/vnd.stepwell.publish+json")];
        api.send_with(
            "PUT",
            "/v1/flows/http?confirm_grants=true",
            &kind,
            body.to_string(),
        )
    };
    let input = json!({"url": receiver.url("/first"), "method": "POST"}).to_string();
    let check = |expected: &Value| -> Result<()> {
        let shown = api.run("http", &input)?;
        let got = json!([shown["status"], shown["error"]]);
        assert_eq!(got, *expected, "{shown}");
        Ok(())
    };
    let denied = json!(["FAILED", "Stepwell.NotGranted"]);
    let fine = json!(["SUCCEEDED", null]);
    assert_eq!(publish(None)?.status, 201);
    check(&fine)?;
    assert_eq!(publish(Some(json!({})))?.status, 201);
    check(&denied)?;
    // Without a word about it the next version has the same one.
    assert_eq!(publish(None)?.status, 200);
    check(&denied)?;
    let grants = json!({"http": [{"host": "127.0.0.1", "ports": [receiver.address.port()]}]});
    let published = publish(Some(grants.clone()))?;
    assert_eq!(
        (published.status, &published.body["grants"]),
        (201, &grants)
    );
    check(&fine)
}

#[test]
fn steps_read_the_configuration_that_was_published_with_their_flow() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (_server, api) = started(dir.path(), &Receiver::start()?)?;
    let push = |config: Value| {
        let grants = json!({"config": config}).to_string();
        let encoded: String = url::form_urlencoded::byte_serialize(grants.as_bytes()).collect();
        let path = format!("/v1/modules/config?grants={encoded}");
        api.send("PUT", &path, std::fs::read(guests::program("config")?)?)
    };
    let publish = |name: &str, config: Option<Value>| -> Result<()> {
        let mut body = json!({"definition": FLOW.replace("calls", "config")});
        if let Some(config) = config {
            body["grants"] = json!({"config": config});
        }
        let kind = [("content-type", "application/vnd.stepwell.publish+json")];
        let path = format!("/v1/flows/{name}");
        let done = api.send_with("PUT", &path, &kind, body.to_string())?;
        anyhow::ensure!(done.status < 300, "{done:?}");
        Ok(())
    };
    let check = |flow: &str, values: Value, all: Value| -> Result<()> {
        let shown = api.run(flow, r#"["unit", "none"]"#)?;
        assert_eq!(
            shown["output"],
            json!({"values": values, "all": all}),
            "{flow}: {shown}"
        );
        Ok(())
    };
    assert_eq!(push(json!({}))?.status, 201);
    publish("nothing", None)?;
    check("nothing", json!([null, null]), json!({}))?;
    assert_eq!(push(json!({"unit": "m", "rate": "1"}))?.status, 201);
    publish("plain", None)?;
    // What the flow says goes before what the module says.
    publish("own", Some(json!({"unit": "km", "more": ""})))?;
    // A new version of the module is for flows that are published from now on.
    assert_eq!(push(json!({"unit": "ft"}))?.status, 201);
    publish("later", None)?;
    check("nothing", json!([null, null]), json!({}))?;
    check(
        "plain",
        json!(["m", null]),
        json!({"unit": "m", "rate": "1"}),
    )?;
    check(
        "own",
        json!(["km", null]),
        json!({"unit": "km", "rate": "1", "more": ""}),
    )?;
    check("later", json!(["ft", null]), json!({"unit": "ft"}))?;
    for bad in [
        json!({"": "x"}),
        json!({"k".repeat(257): "x"}),
        json!({"k": "x".repeat(8_193)}),
    ] {
        let refused = push(bad)?;
        assert_eq!(refused.body["code"], "RUN0026", "{refused:?}");
    }
    Ok(())
}
