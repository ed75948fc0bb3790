//! What a restart keeps of its promises: stops that come early, starts that come again,
//! steps that were running when the process died.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use stepwell_tests::api::Api;
use stepwell_tests::server::Server;

#[test]
fn a_stop_is_heard_from_the_open_port_on() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut server = Server::new(dir.path(), "")?;
    for _ in 0..5 {
        server.spawn()?;
        server.listening()?;
        let (status, _) = server.stop(Duration::from_secs(20))?;
        assert!(status.success(), "{status}: {}", server.log_end());
    }
    server.spawn()?;
    server.ready()
}

#[test]
fn an_idempotency_key_finds_its_execution_after_a_crash() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut server = Server::new(dir.path(), "")?;
    server.spawn()?;
    server.ready()?;
    let api = Api::new(&server.url())?;
    let ask = "StartAt: A\nStates:\n  A: {Type: Task, Resource: callback, End: true}\n";
    let pass = "StartAt: P\nStates: {P: {Type: Pass, End: true}}";
    api.publish("ask", ask)?;
    api.publish("pass", pass)?;
    // One that still runs when the process dies, one that has ended and left memory.
    for (flow, key) in [("ask", "order-7"), ("pass", "\"8e03978e-40d5\"")] {
        let start = |body: &str| {
            let path = format!("/v1/flows/{flow}/executions");
            api.send_with("POST", &path, &[("idempotency-key", key)], body.to_owned())
        };
        let first = start("[1]")?;
        assert_eq!(
            (first.status, &first.body["new"]),
            (202, &json!(true)),
            "{first:?}"
        );
        for crash in [false, true] {
            if crash {
                server.kill()?;
                server.spawn()?;
                server.ready()?;
            }
            let again = start("[1]")?;
            let id = &first.body["id"];
            assert_eq!((again.status, &again.body["id"]), (202, id), "{again:?}");
            assert_eq!(again.body["new"], false);
            let other = start("[2]")?;
            assert_eq!(
                (other.status, &other.body["code"]),
                (409, &json!("RUN0004")),
                "{other:?}"
            );
            assert_eq!(&other.body["execution_id"], id);
        }
        let named = api.get(&format!(
            "/v1/flows/{flow}/executions/{}",
            key.trim_matches('"')
        ))?;
        assert_eq!(named.body["id"], first.body["id"], "{named:?}");
    }
    Ok(())
}
