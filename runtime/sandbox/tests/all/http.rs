//! A guest that calls out through `wasi:http`: what leaves, what comes, what a journal repeats.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use stepwell_host_api::gate::{Boxed, Gate, Verdict};
use stepwell_host_api::{HttpOptions, OpenGate};
use stepwell_sandbox::{Limits, Sandbox};
use stepwell_types::{
    BridgeAnswer, BridgeCall, Digest, Failure, Grants, Recorded, RecordedCall, StepOutcome,
    StepRequest,
};

use crate::harness::{TestBox, bridges, guest, options, request};
use crate::receiver::Receiver;

/// A gate that keeps what it lets through, as the log does.
#[derive(Default)]
struct Tape(Mutex<Recorded>);

impl Tape {
    fn recorded(&self) -> Recorded {
        self.0.lock().expect("tape").clone()
    }
}

impl Gate for Tape {
    fn admit(&self, call: BridgeCall) -> Boxed<'static, Verdict> {
        let mut tape = self.0.lock().expect("tape");
        tape.notes.extend(call.notes);
        tape.calls.entry(call.call).or_insert(RecordedCall {
            request: call.request,
            parts: Vec::new(),
        });
        Box::pin(std::future::ready(Verdict::Go))
    }

    fn answered(&self, answer: BridgeAnswer) {
        let mut tape = self.0.lock().expect("tape");
        tape.notes.extend(answer.notes);
        let call = tape.calls.get_mut(&answer.call).expect("an intent");
        call.parts.push(answer.part);
    }
}

/// A sandbox, the guest that calls, and a server for it.
struct Scene {
    sandbox: Arc<Sandbox>,
    digest: Digest,
    server: Receiver,
    runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        let server = Receiver::start();
        Scene::with(
            server.clone(),
            HttpOptions {
                allow: vec![server.address.to_string()],
                response_bytes_max: 2 << 20,
                guest_request_bytes_max: 1 << 20,
                ..HttpOptions::default()
            },
        )
    }

    fn with(server: Receiver, http: HttpOptions) -> Scene {
        let dir = tempfile::tempdir().expect("a folder");
        let mut options = options(dir.path(), Limits::default());
        options.bridges = bridges(http);
        let sandbox = Sandbox::open(options).expect("sandbox");
        let here = TestBox { sandbox, dir };
        let digest = here.upload(&guest("calls"));
        let TestBox { sandbox, dir } = here;
        Scene {
            sandbox,
            digest,
            server,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("runtime"),
            _dir: dir,
        }
    }

    /// What lets the guest call the server by its address.
    fn grants(&self) -> Value {
        json!({"http": [{"host": "127.0.0.1", "ports": [self.server.address.port()]}]})
    }

    fn request(&self, calls: Value, at_once: bool) -> StepRequest {
        let input = json!({"calls": calls, "at_once": at_once});
        let mut request = request(self.digest, &input.to_string());
        let grants: Grants = serde_json::from_value(self.grants()).expect("grants");
        request.grants = Some(Arc::new(grants));
        request
    }

    fn run(&self, request: StepRequest, gate: Arc<dyn Gate>) -> StepOutcome {
        self.runtime.block_on(self.sandbox.run(request, gate))
    }

    fn call(&self, call: Value) -> Result<Value, Failure> {
        let outcome = self.run(self.request(json!([call]), false), Arc::new(OpenGate));
        let output = outcome.result?;
        let all: Value = serde_json::from_str(output.text()).expect("JSON");
        Ok(all[0].clone())
    }
}

#[track_caller]
fn fails(result: Result<Value, Failure>, error: &str) {
    let failure = result.expect_err(error);
    assert_eq!(&*failure.error, error, "{}", failure.cause);
}

#[test]
fn a_guest_gets_what_the_server_says() {
    let scene = Scene::new();
    let url = |path: &str| scene.server.url(path);
    let got = scene.call(json!({"method": "POST", "url": url("/echo"), "body": "hello "}));
    let got = got.expect("an answer");
    assert_eq!(
        got,
        json!({"status": 200, "kind": "text/plain", "body": "hello "})
    );
    let got = scene.call(json!({"url": url("/away")})).expect("an answer");
    assert_eq!(got["status"], 302, "a client follows redirects itself");
    assert_eq!(got["location"], "http://127.0.0.1:1/");
    fails(
        scene.call(json!({"url": url("/missing")})),
        "States.Http.StatusCode.404",
    );
    // A body of many writes, and an answer of many pieces.
    let body = json!({"method": "PUT", "url": url("/echo"), "body": "0123456789", "times": 50_000, "pieces": true});
    let got = scene.call(body).expect("an answer");
    let pieces = got["pieces"].as_array().expect("pieces");
    assert_eq!(
        pieces.iter().filter_map(Value::as_u64).sum::<u64>(),
        500_000
    );
    assert!(pieces.len() > 1 && pieces.iter().all(|n| n.as_u64() <= Some(65_536)));
    let seen = scene.server.seen();
    assert_eq!(seen.last().map(|s| s.body), Some(500_000));
}

#[test]
fn unsafe_methods_carry_a_key_unless_the_guest_has_one() {
    let scene = Scene::new();
    let url = scene.server.url("/echo");
    let calls = json!([
        {"method": "POST", "url": url},
        {"url": url},
        {"method": "DELETE", "url": url},
        {"method": "POST", "url": url, "headers": [["idempotency-key", "mine"]]},
    ]);
    let request = scene.request(calls, false);
    let key = |call| Some(request.idempotency_key(call));
    let expected = [key(0), None, key(2), Some("mine".to_owned())];
    scene
        .run(request, Arc::new(OpenGate))
        .result
        .expect("answers");
    let seen: Vec<_> = scene.server.seen().into_iter().map(|s| s.key).collect();
    assert_eq!(seen, expected);
}

#[test]
fn what_was_not_granted_does_not_leave() {
    let scene = Scene::new();
    let url = scene.server.url("/echo");
    let port = scene.server.address.port();
    let try_with = |grants: Option<Value>, url: &str, method: &str| {
        let mut request = scene.request(json!([{"method": method, "url": url}]), false);
        request.grants =
            grants.map(|g| Arc::new(serde_json::from_value::<Grants>(g).expect("grants")));
        scene.run(request, Arc::new(OpenGate))
    };
    let denied = [
        None,
        Some(json!({})),
        Some(json!({"http": [{"host": "127.0.0.1", "ports": [port + 1]}]})),
        Some(json!({"http": [{"host": "127.0.0.1", "ports": [port], "methods": ["GET"]}]})),
        Some(json!({"http": [{"host": "localhost", "ports": [port]}]})),
    ];
    for grants in denied {
        let outcome = try_with(grants.clone(), &url, "POST");
        let failure = outcome.result.expect_err("denied");
        assert_eq!(&*failure.error, "Stepwell.NotGranted", "{grants:?}");
        let log = &outcome.logs[0].message;
        assert!(
            log.contains("Stepwell.NotGranted") && log.contains("the manifest does not grant"),
            "{log}"
        );
    }
    // A pattern stands for public places alone, whatever the configuration allows.
    for host in ["*", "*.0.0.1"] {
        let pattern = json!({"http": [{"host": host, "ports": [port]}]});
        let failure = try_with(Some(pattern), &url, "GET").result;
        assert_eq!(&*failure.expect_err("denied").error, "Stepwell.HttpDenied");
    }
    assert_eq!(scene.server.count(), 0);
}

#[test]
fn the_configuration_must_allow_what_is_not_public() {
    let server = Receiver::start();
    let scene = Scene::with(server.clone(), HttpOptions::default());
    for (host, url) in [
        ("127.0.0.1", server.url("/echo")),
        (
            "localhost",
            format!("http://localhost:{}/", server.address.port()),
        ),
        (
            "169.254.169.254",
            "http://169.254.169.254/latest".to_owned(),
        ),
        ("10.0.0.1", "http://10.0.0.1/".to_owned()),
        ("[::1]", "http://[::1]/".to_owned()),
    ] {
        let mut request = scene.request(json!([{"url": url}]), false);
        let ports = [80, server.address.port()];
        let grants = json!({"http": [{"host": host, "ports": ports}]});
        request.grants = Some(Arc::new(serde_json::from_value(grants).expect("grants")));
        let failure = scene.run(request, Arc::new(OpenGate)).result;
        let failure = failure.expect_err(host);
        assert_eq!(
            &*failure.error, "Stepwell.HttpDenied",
            "{host}: {}",
            failure.cause
        );
    }
    assert_eq!(server.count(), 0);
}

#[test]
fn failures_have_names() {
    let scene = Scene::new();
    let url = |path: &str| scene.server.url(path);
    fails(
        scene.call(json!({"url": url("/never"), "timeout_ms": 50})),
        "States.Timeout",
    );
    fails(
        scene.call(json!({"url": url("/cut")})),
        "States.Http.Socket",
    );
    fails(
        scene.call(json!({"url": url("/too-large")})),
        "Stepwell.HttpResponseTooLarge",
    );
    let large =
        json!({"method": "PUT", "url": url("/echo"), "body": "0123456789", "times": 200_000});
    fails(scene.call(large), "Stepwell.HttpInvalidRequest");
    let strange = json!({"method": "BREW", "url": url("/echo")});
    fails(scene.call(strange), "Stepwell.HttpInvalidRequest");
    fails(
        scene.call(json!({"url": url("/echo"), "headers": [["connection", "close"]]})),
        "Stepwell.HttpInvalidRequest",
    );
    let smuggled = json!({"url": url("/echo"), "headers": [["a", "b\r\nx: y"]]});
    fails(scene.call(smuggled), "Stepwell.HttpInvalidRequest");
}

/// All prefixes of what a run recorded, as a crash may leave it.
fn prefixes(whole: &Recorded) -> Vec<Recorded> {
    let mut all = Vec::new();
    for calls in 0..=whole.calls.len() {
        let last = whole.calls.values().nth(calls.saturating_sub(1));
        for parts in 0..=last.map_or(0, |call| call.parts.len()) {
            let mut cut = whole.clone();
            cut.calls = whole.calls.clone().into_iter().take(calls).collect();
            if let Some(mut entry) = cut.calls.last_entry() {
                entry.get_mut().parts.truncate(parts);
            }
            // Notes that may lie behind what was cut are not known here: the fewest.
            if calls < whole.calls.len() {
                cut.notes.truncate(1);
            }
            all.push(cut);
        }
    }
    all
}

#[test]
fn an_attempt_goes_on_from_every_place_at_which_a_crash_may_cut_it() {
    let scene = Scene::new();
    let calls = json!([
        {"method": "POST", "url": scene.server.url("/echo"), "body": "one"},
        {"url": scene.server.url("/pieces"), "pieces": true},
        {"method": "POST", "url": scene.server.url("/large"), "body": "two", "pieces": true},
    ]);
    let tape = Arc::new(Tape::default());
    let first = scene.run(scene.request(calls.clone(), false), tape.clone());
    let output = first.result.expect("answers");
    let whole = tape.recorded();
    assert_eq!(whole.calls.len(), 3);
    let mut repeated = 0;
    for recorded in prefixes(&whole) {
        let before = scene.server.count();
        let unanswered = 3 - recorded
            .calls
            .values()
            .zip(whole.calls.values())
            .filter(|(a, b)| a.parts == b.parts)
            .count();
        let mut request = scene.request(calls.clone(), false);
        request.recorded = Some(Arc::new(recorded));
        let keys: Vec<_> = (0..3).map(|n| request.idempotency_key(n)).collect();
        let again = scene.run(request, Arc::new(Tape::default()));
        let text = again.result.expect("answers");
        // Sizes of pieces are the network's where they are fetched anew.
        if unanswered == 0 {
            assert_eq!(text, output);
            assert_eq!(again.spent.fuel, first.spent.fuel);
        }
        let seen = scene.server.seen().split_off(before);
        assert_eq!(
            seen.len(),
            unanswered,
            "only what was not answered goes out"
        );
        repeated += seen.len();
        for call in seen.iter().filter(|call| call.line.starts_with("POST")) {
            let number = if call.line.contains("/echo") { 0 } else { 2 };
            assert_eq!(call.key.as_ref(), Some(&keys[number]));
        }
    }
    assert!(repeated > 3, "{repeated}");
}

#[test]
fn calls_at_once_are_numbered_as_they_were_made() {
    let scene = Scene::new();
    let calls: Vec<Value> = (0..5)
        .map(|n| json!({"method": "POST", "url": scene.server.url("/echo"), "body": n.to_string()}))
        .collect();
    let tape = Arc::new(Tape::default());
    let first = scene.run(scene.request(json!(calls), true), tape.clone());
    let output = first.result.expect("answers");
    assert_eq!(scene.server.count(), 5);
    let mut request = scene.request(json!(calls), true);
    request.recorded = Some(Arc::new(tape.recorded()));
    let again = scene.run(request, Arc::new(Tape::default()));
    assert_eq!(again.result.expect("answers"), output);
    assert_eq!(again.spent.fuel, first.spent.fuel);
    assert_eq!(scene.server.count(), 5, "nothing went out again");
}

#[test]
fn another_request_on_replay_ends_the_attempt() {
    let scene = Scene::new();
    let calls =
        |body: &str| json!([{"method": "POST", "url": scene.server.url("/echo"), "body": body}]);
    let tape = Arc::new(Tape::default());
    let first = scene.run(scene.request(calls("a"), false), tape.clone());
    first.result.expect("an answer");
    let mut request = scene.request(calls("b"), false);
    request.recorded = Some(Arc::new(tape.recorded()));
    let again = scene.run(request, Arc::new(Tape::default()));
    let failure = again.result.expect_err("diverged");
    assert_eq!(&*failure.error, "Stepwell.ReplayDiverged");
    assert_eq!(scene.server.count(), 1);
}

#[test]
fn a_stopped_gate_ends_the_attempt() {
    struct Stopped;
    impl Gate for Stopped {
        fn admit(&self, _: BridgeCall) -> Boxed<'static, Verdict> {
            Box::pin(std::future::ready(Verdict::Stopped))
        }
        fn answered(&self, _: BridgeAnswer) {
            panic!("nothing was sent");
        }
    }
    let scene = Scene::new();
    let request = scene.request(json!([{"url": scene.server.url("/echo")}]), false);
    let failure = scene.run(request, Arc::new(Stopped)).result;
    assert_eq!(&*failure.expect_err("stopped").error, "Stepwell.Stopped");
    assert_eq!(scene.server.count(), 0);
}
