//! Guests in other languages, each with its language's usual HTTP client, against a real HTTPS server and
//! under the same rules: grants, certificates, timeouts, keys, and a journal that repeats nothing.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use stepwell_tests::api::Api;
use stepwell_tests::bridges::ask;
use stepwell_tests::bridges::https::{self, Authority, Https, Shows};
use stepwell_tests::guests::{self, Language};
use stepwell_tests::server::Server;

/// How a language names what goes wrong.
struct Names {
    denied: &'static str,
    untrusted: &'static str,
    timeout: &'static str,
}

struct House {
    https: Https,
    stranger: Https,
    server: Server,
    api: Api,
}

fn house(dir: &Path, component: &Path) -> Result<House> {
    let authority = Authority::new()?;
    let https = Https::start(&authority, Shows::default())?;
    let stranger = Https::start(&Authority::new()?, Shows::default())?;
    let servers = [&https, &stranger];
    let config = https::config(dir, &authority, &servers)?;
    let (server, api) = ask::started(dir, &config)?;
    for (name, grants) in [("granted", https::grants(&servers)), ("alone", json!({}))] {
        api.upload_granted(name, component, &grants)?;
        let flow = format!(
            "StartAt: S\nStates:\n  S: {{Type: Task, Resource: \"wasm:{name}\", TimeoutSeconds: 60, End: true}}\n"
        );
        api.publish(name, &flow)?;
    }
    Ok(House {
        https,
        stranger,
        server,
        api,
    })
}

impl House {
    fn run(&self, flow: &str, calls: &[Value]) -> Result<Value> {
        self.api.run(flow, &json!({"calls": calls}).to_string())
    }
}

fn calls_with_its_own_client(component: &Path, names: &Names) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut house = house(dir.path(), component)?;
    let url = |path: &str| house.https.url(path);
    let post =
        json!({"method": "POST", "url": url("/count"), "body": "12345", "headers": [["x-a", "b"]]});
    let shown = house.run("granted", &[json!({"url": url("/x")}), post.clone()])?;
    let wanted = json!([
        {"status": 200, "body": "fine"},
        {"status": 200, "body": "{\"bytes\": 5}"},
    ]);
    assert_eq!(shown["output"], wanted, "{shown}");
    let calls = house.https.calls();
    assert!(calls.iter().all(|c| c.version == "HTTP/2.0"), "{calls:?}");
    assert!(
        calls[0].key.is_empty() && !calls[1].key.is_empty(),
        "{calls:?}"
    );
    assert_eq!(house.https.connections(), 1, "{calls:?}");

    let ends = |flow: &str, call: Value, error: &str| -> Result<()> {
        let shown = house.run(flow, &[call])?;
        assert_eq!(shown["error"], error, "{shown}");
        Ok(())
    };
    let name = "States.Http.StatusCode.503";
    ends("granted", json!({"url": url("/status/503")}), name)?;
    let slow = json!({"url": url("/held"), "timeout_ms": 300});
    ends("granted", slow, names.timeout)?;
    ends(
        "granted",
        json!({"url": house.stranger.url("/x")}),
        names.untrusted,
    )?;
    assert_eq!(house.stranger.calls(), [], "nothing was said");
    let before = house.https.calls().len();
    ends("alone", post.clone(), names.denied)?;
    assert_eq!(house.https.calls().len(), before, "nothing was granted");
    // More than goes whole.
    let mut long = post.clone();
    long["body"] = json!("x".repeat(1 << 20));
    let shown = house.run("granted", &[long])?;
    assert_eq!(
        shown["output"][0]["body"], "{\"bytes\": 1048576}",
        "{shown}"
    );

    // A death while it waits: what is recorded is not done again.
    let held = json!({"method": "POST", "url": url("/held"), "body": "x"});
    let input = json!({"calls": [post.clone(), held, post]}).to_string();
    let before = house.https.calls().len();
    let id = house.api.start("granted", input)?;
    house.https.until(before + 2)?;
    house.server.again()?;
    house.https.until(before + 3)?;
    house.https.open();
    let shown = house.api.ended(&id)?;
    assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
    let calls = house.https.calls().split_off(before);
    let targets: Vec<&str> = calls.iter().map(|call| call.target.as_str()).collect();
    assert_eq!(
        targets,
        ["POST /count", "POST /held", "POST /held", "POST /count"]
    );
    assert_eq!(calls[1].key, calls[2].key);
    house.api.replays_the_same(&id)
}

#[test]
fn javascript_calls_with_fetch() -> Result<()> {
    let names = Names {
        denied: "JavaScript.TypeError",
        untrusted: "JavaScript.TypeError",
        timeout: "JavaScript.TimeoutError",
    };
    calls_with_its_own_client(&guests::language(Language::JavaScript)?, &names)
}

#[test]
fn python_calls_with_requests() -> Result<()> {
    let names = Names {
        denied: "Python.ConnectionError",
        untrusted: "Python.ConnectionError",
        timeout: "Python.ConnectTimeout",
    };
    calls_with_its_own_client(&guests::language(Language::Python)?, &names)
}

#[test]
fn rust_calls_with_wstd() -> Result<()> {
    let names = Names {
        denied: "Rust.ErrorCode::HttpRequestDenied",
        untrusted: "Rust.ErrorCode::TlsCertificateError",
        timeout: "Rust.ErrorCode::HttpResponseTimeout",
    };
    calls_with_its_own_client(&guests::program("wstd-calls")?, &names)
}
