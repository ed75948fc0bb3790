//! The client commands against a server that is not Stepwell's: never a success.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::process::Command;

/// Answers every request with 200 and this body, as long as the test runs.
fn stranger(body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // An answer before the question would be refused.
            let _ = stream.read(&mut [0; 4_096]);
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            // Closing with bytes unread would reset the connection, and the
            // client might not get to the answer.
            let _ = stream.shutdown(Shutdown::Write);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    url
}

#[test]
fn another_server_is_never_a_success() {
    let dir = tempfile::tempdir().unwrap();
    let flow = dir.path().join("flow.yaml");
    let text = "StartAt: A\nStates:\n  A: {Type: Pass, End: true}\n";
    #[allow(clippy::disallowed_methods, reason = "the command reads this file")]
    std::fs::write(&flow, text).unwrap();
    let flow = flow.to_str().unwrap();
    for body in [r#"{"hello":"world"}"#, "[]", "null", "<html>"] {
        let url = stranger(body);
        for arguments in [
            &["flow", "publish", "x", flow][..],
            &["flow", "list"],
            &["flow", "describe", "x"],
            &["flow", "versions", "x"],
            &["flow", "delete", "x"],
            &["module", "push", "m", flow],
            &["module", "list"],
            &["module", "describe", "m"],
            &["module", "delete", "m"],
            &["start", "x"],
            &["start", "x", "--wait"],
            &["list"],
            &["describe", "01m83d5n7q1a0yxsket02cfw4d"],
            &["history", "01m83d5n7q1a0yxsket02cfw4d"],
            &["history", "01m83d5n7q1a0yxsket02cfw4d", "--follow"],
            &["cancel", "01m83d5n7q1a0yxsket02cfw4d"],
            &["redrive", "01m83d5n7q1a0yxsket02cfw4d"],
            &["tasks", "01m83d5n7q1a0yxsket02cfw4d"],
            &["token", "succeed", "t"],
            &["token", "fail", "t"],
            &["token", "heartbeat", "t"],
            &["poll", "a", "--wait", "1"],
            &["usage"],
            &["graph", "x"],
            &["object", "put", "b/k", flow],
            &["object", "get", "b/k"],
            &["object", "ls"],
            &["object", "ls", "b"],
            &["object", "rm", "b/k"],
        ] {
            let done = Command::new(env!("CARGO_BIN_EXE_stepwell"))
                .args(["--url", &url])
                .args(arguments)
                .output()
                .unwrap();
            let err = String::from_utf8(done.stderr).unwrap();
            assert_eq!(done.status.code(), Some(4), "{arguments:?} {body}: {err}");
            assert!(
                err.contains("is no Stepwell server"),
                "{arguments:?}: {err}"
            );
            assert!(done.stdout.is_empty(), "{arguments:?} printed an answer");
        }
    }
}
