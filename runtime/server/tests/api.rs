//! The API in one process: a real orchestrator over the memory store, no socket.
//!
//! Flows here need no sandbox; `tests/tests/e2e.rs` has the real server with real modules.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use stepwell_orchestrator::api::ModuleAbout;
use stepwell_orchestrator::gate::GateHandle;
use stepwell_orchestrator::ports::{
    Answer, BlackBox, Clock, Entropy, Keeper, LastLife, ModuleStore, ModuleUpload, Ports,
    StepFuture, StepKey, StepRunner,
};
use stepwell_orchestrator::shell::{self, Shell};
use stepwell_orchestrator::{Error, Orchestrator, driver};
use stepwell_server::{Options, Router, Token, app};
use stepwell_store::Reader;
use stepwell_store::memory::Memory;
use stepwell_types::{Data, Digest, Failure, Spent, StepOutcome, StepRequest, Timestamp};
use tower::ServiceExt as _;

#[path = "api/busy.rs"]
mod busy;
#[path = "api/connections.rs"]
mod connections;
#[path = "api/deleting.rs"]
mod deleting;
#[path = "api/document.rs"]
mod document;
#[path = "api/endpoints.rs"]
mod endpoints;
#[path = "api/gate.rs"]
mod gate;
#[path = "api/gauges.rs"]
mod gauges;
#[path = "api/keeper.rs"]
mod keeper;
#[path = "api/lists.rs"]
mod lists;
#[path = "api/no_vault.rs"]
mod no_vault;
#[path = "api/objects.rs"]
mod objects;
#[path = "api/polls.rs"]
mod polls;
#[path = "api/publish.rs"]
mod publish;
#[path = "api/slow_steps.rs"]
mod slow_steps;
#[path = "api/stopping.rs"]
mod stopping;

/// Time that the test alone moves forward, a millisecond a look.
struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn now(&self) -> Timestamp {
        Timestamp(1_795_000_000_000).plus_ms(self.0.fetch_add(1, Ordering::Relaxed))
    }
    fn monotonic_us(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) * 1000
    }
}

struct Counter(AtomicU64);

impl Entropy for Counter {
    fn draw(&self) -> [u8; 16] {
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        let digest = Digest::of(&n.to_be_bytes()).0;
        std::array::from_fn(|i| digest[i])
    }
}

/// No flow of these tests runs a step; one that does sees it fail, or hang if its state is
/// named so. One whose state is named `Tells` takes long and tells on which thread it began, and
/// `Lingers` ends a moment after its first slice.
struct NoSteps(Arc<Ticks>);

impl StepRunner for NoSteps {
    fn run(&self, request: StepRequest, _gate: GateHandle) -> StepFuture {
        if &*request.state == "Hangs" {
            return Box::pin(std::future::pending());
        }
        if &*request.state == "Lingers" {
            return Box::pin(stopping::lingers());
        }
        if &*request.state == "Tells" {
            let clock = Arc::clone(&self.0);
            return Box::pin(async move {
                clock.0.fetch_add(100, Ordering::Relaxed);
                let thread = std::thread::current();
                StepOutcome {
                    result: Ok(Data::from_value(json!(thread.name()))),
                    spent: Spent::default(),
                    logs: Vec::new(),
                    effects: None,
                    notes: None,
                }
            });
        }
        Box::pin(std::future::ready(StepOutcome {
            result: Err(Failure::new("Test.NoSteps", "")),
            spent: Spent::default(),
            logs: Vec::new(),
            effects: None,
            notes: None,
        }))
    }
}

/// Takes any bytes that begin as Wasm does.
struct Shelf;
struct Arrival(Vec<u8>);

impl ModuleStore for Shelf {
    fn begin(&self) -> Answer<'_, Box<dyn ModuleUpload>> {
        Box::pin(async { Ok(Box::new(Arrival(Vec::new())) as Box<dyn ModuleUpload>) })
    }
    fn remove(&self, _digest: Digest) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
    fn wasm(&self, _digest: Digest) -> Answer<'_, Option<Vec<u8>>> {
        // It keeps none.
        Box::pin(async { Ok(None) })
    }
    fn exports(&self, _digest: Digest, function: Option<&str>) -> bool {
        function.is_none()
    }
}

impl ModuleUpload for Arrival {
    fn write<'a>(&'a mut self, chunk: &'a [u8]) -> Answer<'a, ()> {
        self.0.extend_from_slice(chunk);
        Box::pin(async { Ok(()) })
    }
    fn finish(self: Box<Self>) -> Answer<'static, (Digest, ModuleAbout)> {
        Box::pin(async move {
            if !self.0.starts_with(b"\0asm") {
                let message = "this is not WebAssembly".to_owned();
                return Err(Error::BadModule {
                    code: "BOX0001",
                    message,
                });
            }
            let about = ModuleAbout {
                wasm_bytes: self.0.len() as u64,
                ..ModuleAbout::default()
            };
            Ok((Digest::of(&self.0), about))
        })
    }
}

/// Nothing outlives a process of tests.
struct NoBlackBox;

impl BlackBox for NoBlackBox {
    fn last(&self) -> LastLife {
        LastLife::default()
    }
    fn begin(&self, _life: u64) {}
    fn enter(&self, _step: StepKey) {}
    fn leave(&self) {}
}

struct House {
    app: Router,
    orchestrator: Orchestrator,
    _shell: Shell,
}

fn house(change: impl FnOnce(&mut Options)) -> House {
    house_over(Memory::new(), change)
}

fn house_over(memory: Memory, change: impl FnOnce(&mut Options)) -> House {
    house_with(memory, Arc::new(no_vault::Kept), change)
}

fn house_with(memory: Memory, keeper: Arc<dyn Keeper>, change: impl FnOnce(&mut Options)) -> House {
    house_reading(Arc::new(memory.clone()), memory, keeper, change)
}

fn house_reading(
    reader: Arc<dyn Reader>,
    memory: Memory,
    keeper: Arc<dyn Keeper>,
    change: impl FnOnce(&mut Options),
) -> House {
    let clock = Arc::new(Ticks(AtomicU64::new(0)));
    let ports = Ports {
        reader,
        writer: Box::new(memory.writer()),
        runner: Arc::new(NoSteps(Arc::clone(&clock))),
        outward: Arc::new(stepwell_orchestrator::ports::Boundless),
        modules: Arc::new(Shelf),
        vault: Arc::new(no_vault::NoVault),
        keeper,
        clock,
        entropy: Arc::new(Counter(AtomicU64::new(0))),
        black_box: Arc::new(NoBlackBox),
        fatal: Arc::new(|e| panic!("the store failed: {e}")),
        worker_started: Arc::new(|| {}),
    };
    let engine = shell::Options {
        loops: 1,
        workers: 1,
        driver: driver::Options {
            hot_max: 100,
            hot_bytes_max: 256 << 20,
            state_bytes_max: stepwell_types::limits::STATE_BYTES_MAX,
            open_bytes_max: 64 << 20,
            steps_running_max: 8,
            calls_running_max: 8,
            checkpoint_bytes_min: 4 << 10,
            descendants_max: u32::MAX,
            cautious_ms: 600_000,
            aside: driver::Aside::default(),
        },
        turn_max: Duration::from_secs(60),
        disk_floor_bytes: 0,
        resources: Default::default(),
    };
    let alone: shell::Companion = Arc::new(|_, _| Box::pin(async {}));
    let (orchestrator, shell) = Shell::start(&engine, ports, &alone).unwrap();
    let mut options = Options::new(7);
    options.upload_bytes_max = 1000;
    change(&mut options);
    House {
        app: app(orchestrator.clone(), options),
        orchestrator,
        _shell: shell,
    }
}

fn request(method: &str, uri: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(method).uri(uri);
    request.body(body.into()).unwrap()
}

impl House {
    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.app.clone().oneshot(request).await.unwrap()
    }

    async fn fill(&self, request: Request<Body>) -> (u16, Value) {
        read(self.send(request).await).await
    }

    async fn ask(&self, method: &str, uri: &str, body: &str) -> (u16, Value) {
        let response = self.send(request(method, uri, body.to_owned())).await;
        read(response).await
    }

    /// Status, and what the body must contain.
    #[track_caller]
    fn check(&self, method: &str, uri: &str, body: &str, status: u16, part: &str) {
        let (got, value) = block(self.ask(method, uri, body));
        let text = value.to_string();
        assert!(
            got == status && text.contains(part),
            "{method} {uri}: {got} {text}"
        );
    }
}

async fn read(response: Response<Body>) -> (u16, Value) {
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&bytes);
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text.into_owned())),
    )
}

fn block<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(20), work).await })
        .expect("an answer within 20 s")
}

const PASS: &str = r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}"#;
const ASK: &str = "StartAt: A\nStates:\n  A: {Type: Task, Resource: callback, End: true}\n";

#[test]
fn refusals_are_problems_with_a_status_and_a_code() {
    let h = house(|_| {});
    let deep = "[".repeat(10_000);
    let id = "01m83d5n7q1a0yxsket02cfw4d";
    h.check("PUT", "/v1/flows/pass", PASS, 201, r#""new":true"#);
    for (method, uri, body, status, part) in [
        ("GET", "/nowhere", "", 404, "API0001"),
        ("GET", "/t/nowhere", "", 404, "no flow has this endpoint"),
        ("PATCH", "/v1/flows", "", 405, "API0002"),
        (
            "GET",
            "/v1/flows?limt=1",
            "",
            400,
            "known here: limit, after",
        ),
        ("GET", "/v1/flows?limit=0", "", 400, "from 1 to 1000"),
        ("GET", "/v1/executions?status=running", "", 400, "RUNNING"),
        ("GET", "/v1/executions?after=x", "", 400, "API0008"),
        ("GET", "/v1/executions/nope", "", 400, "API0008"),
        ("GET", "/v1/executions/nope", "", 400, "26 characters"),
        ("GET", "/v1/executions/nope", "", 400, "NAME --flow FLOW"),
        ("GET", &format!("/v1/executions/{id}"), "", 404, "RUN0001"),
        (
            "GET",
            &format!("/v1/executions/{id}"),
            "",
            404,
            "`stepwell list`",
        ),
        (
            "GET",
            &format!("/v1/executions/{id}/history"),
            "",
            404,
            "RUN0001",
        ),
        (
            "GET",
            &format!("/v1/executions/{id}/events"),
            "",
            404,
            "RUN0001",
        ),
        (
            "GET",
            &format!("/v1/executions/{id}/tasks"),
            "",
            404,
            "RUN0001",
        ),
        (
            "POST",
            &format!("/v1/executions/{id}/cancel"),
            "",
            404,
            "RUN0001",
        ),
        (
            "POST",
            &format!("/v1/executions/{id}/cancel"),
            r#"{"eror":"x"}"#,
            400,
            "API0015",
        ),
        ("GET", "/v1/flows/none", "", 404, "RUN0002"),
        (
            "GET",
            "/v1/flows/psas",
            "",
            404,
            "did you mean \\\"pass\\\"?",
        ),
        (
            "GET",
            "/v1/flows/none/versions",
            "",
            404,
            "`stepwell flow list`",
        ),
        ("GET", "/v1/flows/pass?version=2", "", 404, "version is 1"),
        ("POST", "/v1/flows/none/executions", "{}", 404, "RUN0002"),
        (
            "POST",
            "/v1/flows/pass/executions?version=9",
            "{}",
            404,
            "its newest version is 1",
        ),
        ("POST", "/v1/flows/pass/executions", "{", 400, "API0005"),
        ("POST", "/v1/flows/pass/executions", &deep, 400, "API0005"),
        (
            "POST",
            "/v1/flows/pass/executions?name=a%20b",
            "{}",
            400,
            "RUN0014",
        ),
        ("GET", "/v1/flows/pass/executions/none", "", 404, "RUN0001"),
        ("GET", "/v1/modules/none", "", 404, "RUN0003"),
        ("GET", "/v1/modules/none", "", 404, "`stepwell module list`"),
        ("GET", "/v1/targets?limit=1", "", 400, "takes no parameters"),
        ("DELETE", "/v1/modules/none", "", 404, "RUN0003"),
        ("PUT", "/v1/modules/m", "not wasm", 422, "BOX0001"),
        ("PUT", "/v1/modules/m", &"x".repeat(1001), 413, "API0006"),
        ("PUT", "/v1/modules/a%20b", "x", 400, "RUN0014"),
        ("PUT", "/v1/flows/bad", "StartAt: X", 422, "diagnostics"),
        ("PUT", "/v1/flows/bad", &deep, 422, "FLOW0003"),
        (
            "PUT",
            "/v1/flows/pass?trigger=nonsense",
            PASS,
            400,
            "API0103",
        ),
        (
            "POST",
            "/v1/tasks/nope/succeed",
            "{}",
            400,
            "this is not a task token",
        ),
        ("GET", "/v1/flows/%ff", "", 400, "API0104"),
    ] {
        h.check(method, uri, body, status, part);
    }
}

#[test]
fn an_idempotency_key_is_the_name_of_a_start() {
    let h = house(|_| {});
    h.check("PUT", "/v1/flows/pass", PASS, 201, r#""version":1"#);
    let start = |query: &str, keys: &[&str], body: &str| {
        let mut asked = request(
            "POST",
            &format!("/v1/flows/pass/executions{query}"),
            body.to_owned(),
        );
        for key in keys {
            asked
                .headers_mut()
                .append("idempotency-key", key.parse().unwrap());
        }
        block(async { read(h.send(asked).await).await })
    };
    let check = |query: &str, keys: &[&str], body: &str, status: u16, part: &str| {
        let (got, shown) = start(query, keys, body);
        assert!(
            got == status && shown.to_string().contains(part),
            "{keys:?}: {got} {shown}"
        );
    };
    let (status, first) = start("", &["k1"], "[1]");
    assert_eq!((status, &first["name"]), (202, &json!("k1")), "{first}");
    let id = first["id"].as_str().unwrap();
    check("", &["\"k1\""], "[1]", 202, id);
    check("?name=k1", &[], "[1]", 202, id);
    check("?name=k1&wait=9", &["k1"], "[1]", 200, id);
    check("", &["k1"], "[2]", 409, "RUN0004");
    // The same value in other bytes is the same input, wherever the execution is.
    check("", &["k1"], "[ 1 ]", 202, id);
    check("?wait=9", &["k1"], "[ 1 ]", 200, id);
    check("", &["k1"], "[1.0]", 409, "RUN0004");
    check("?name=k2", &["k1"], "[1]", 400, "API0019");
    check("", &["k 1"], "[1]", 400, "API0101");
    check("", &["k1", "k1"], "[1]", 400, "API0101");
    h.check("PUT", "/v1/flows/ask", ASK, 201, r#""version":1"#);
    let ask = "/v1/flows/ask/executions?name=a";
    h.check("POST", ask, r#"{"a":1,"b":2}"#, 202, r#""new":true"#);
    h.check("POST", ask, r#"{"a":1,"b":2}"#, 202, r#""new":false"#);
    h.check("POST", ask, r#"{"b": 2, "a": 1}"#, 202, r#""new":false"#);
    let patient = format!("{ask}&wait=0");
    h.check("POST", &patient, r#"{"b": 2, "a": 1}"#, 202, "RUNNING");
    h.check("POST", ask, r#"{"b": 1, "a": 2}"#, 409, "RUN0004");
}

#[test]
fn an_execution_from_start_to_history() {
    let h = house(|_| {});
    h.check("PUT", "/v1/flows/pass", PASS, 201, r#""version":1"#);
    h.check("PUT", "/v1/flows/pass", PASS, 200, r#""new":false"#);
    let input = r#"{"big":12345678901234567890,"b":1,"a":[]}"#;
    let start = "/v1/flows/pass/executions?name=n1&wait=10";
    let (status, ended) = block(h.ask("POST", start, input));
    assert_eq!(
        (status, &ended["status"]),
        (200, &json!("SUCCEEDED")),
        "{ended}"
    );
    let id = ended["id"].as_str().unwrap().to_owned();
    let shown = block(h.send(request("GET", &format!("/v1/executions/{id}"), "")));
    let bytes = block(shown.into_body().collect()).unwrap().to_bytes();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(text.contains(input), "the payload passes as text: {text}");
    h.check("POST", start, input, 200, &id);
    h.check("POST", start, "{}", 409, &id);
    h.check("GET", "/v1/flows/pass/executions/n1", "", 200, &id);
    h.check(
        "GET",
        "/v1/executions?flow=pass&status=SUCCEEDED",
        "",
        200,
        &id,
    );
    h.check(
        "GET",
        "/v1/executions?status=FAILED",
        "",
        200,
        r#"{"executions":[]}"#,
    );
    h.check(
        "POST",
        &format!("/v1/executions/{id}/cancel"),
        "",
        409,
        "RUN0011",
    );
    let (_, page) = block(h.ask("GET", &format!("/v1/executions/{id}/history?limit=2"), ""));
    assert_eq!(page["events"][0]["type"], "ExecutionStarted", "{page}");
    assert_eq!(page["next"], 2);
    let (_, tail) = block(h.ask("GET", &format!("/v1/executions/{id}/events?after=2"), ""));
    let tail = tail.as_str().unwrap();
    assert!(tail.starts_with("id: 3\n"), "{tail}");
    assert!(
        tail.ends_with("event: end\ndata: {\"status\":\"SUCCEEDED\"}\n\n"),
        "{tail}"
    );
    h.check("GET", "/v1/usage?flow=pass", "", 200, r#""transitions":"#);
}

#[test]
fn a_task_waits_for_its_token() {
    let h = house(|_| {});
    h.check(
        "PUT",
        "/v1/flows/ask?trigger=async%20POST%20/ask/{who}",
        ASK,
        201,
        "/ask/{who}",
    );
    let (status, started) = block(h.ask("POST", "/t/ask/me?q=1", "hello"));
    assert_eq!(status, 202, "{started}");
    let id = started["id"].as_str().unwrap().to_owned();
    let (_, tasks) = block(h.ask("GET", &format!("/v1/executions/{id}/tasks"), ""));
    let token = tasks["tasks"][0]["token"].as_str().unwrap().to_owned();
    let input = &tasks["tasks"][0]["input"];
    assert_eq!(input["parameters"], json!({"who": "me"}), "{tasks}");
    assert_eq!(
        (&input["query"]["q"], &input["body"]),
        (&json!("1"), &json!("hello"))
    );
    let answer = |verb: &str, body: &str, status, part: &str| {
        h.check(
            "POST",
            &format!("/v1/tasks/{token}/{verb}"),
            body,
            status,
            part,
        );
    };
    answer("heartbeat", "", 204, "");
    answer("succeed", "{", 400, "API0005");
    answer("succeed", r#"{"ok":1}"#, 204, "");
    answer("succeed", r#"{"ok":1}"#, 204, "");
    answer("succeed", r#"{"ok":2}"#, 409, "RUN0010");
    answer("fail", r#"{"error":"No"}"#, 409, "RUN0010");
    h.check(
        "GET",
        &format!("/v1/executions/{id}?wait=5"),
        "",
        200,
        r#""output":{"ok":1}"#,
    );
    let other = if token.as_bytes()[50] == b'A' {
        "B"
    } else {
        "A"
    };
    let forged = format!("{}{other}{}", &token[..50], &token[51..]);
    h.check(
        "POST",
        &format!("/v1/tasks/{forged}/succeed"),
        "{}",
        404,
        "RUN0009",
    );
    h.check(
        "PUT",
        "/v1/flows/other?trigger=POST%20/ask/{x}",
        ASK,
        422,
        "RUN0015",
    );
}

#[test]
fn modules_stream_in() {
    let h = house(|_| {});
    let module = "\0asm and more";
    h.check("PUT", "/v1/modules/m", module, 201, r#""version":1"#);
    h.check("PUT", "/v1/modules/m", module, 200, r#""new":false"#);
    h.check("PUT", "/v1/modules/m", "\0asm other", 201, r#""version":2"#);
    // No length is announced: the bound holds while the bytes come.
    let chunks = (0..3).map(|_| Ok::<_, std::io::Error>("x".repeat(400)));
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    let (status, problem) =
        block(async { read(h.send(request("PUT", "/v1/modules/m", body)).await).await });
    assert_eq!((status, &problem["code"]), (413, &json!("API0006")));
    let flow = r#"{"StartAt":"A","States":{"A":{"Type":"Task","Resource":"wasm:m","End":true}}}"#;
    h.check(
        "PUT",
        "/v1/flows/uses",
        flow,
        201,
        r#""modules":[{"name":"m""#,
    );
    h.check("DELETE", "/v1/modules/m", "", 409, "uses@1");
    h.check("GET", "/v1/modules/m", "", 200, "uses@1");
}

#[test]
fn the_token_guards_all_but_health() {
    let h = house(|o| o.token = Some(Token::new("correct-horse").unwrap()));
    let with = |uri: &str, token: &str| {
        let mut request = request("GET", uri, "");
        if !token.is_empty() {
            let value = format!("Bearer {token}").parse().unwrap();
            request.headers_mut().insert("authorization", value);
        }
        block(h.send(request))
    };
    for uri in [
        "/v1/flows",
        "/metrics",
        "/v1/openapi.json",
        "/t/x",
        "/nowhere",
    ] {
        let refused = with(uri, "");
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{uri}");
        assert!(refused.headers().contains_key("www-authenticate"));
        assert_eq!(
            with(uri, "wrong-horse").status(),
            StatusCode::UNAUTHORIZED,
            "{uri}"
        );
        assert_ne!(
            with(uri, "correct-horse").status(),
            StatusCode::UNAUTHORIZED,
            "{uri}"
        );
    }
    for uri in ["/healthz", "/readyz", "/docs/errors/API0003"] {
        assert_eq!(with(uri, "").status(), StatusCode::OK, "{uri}");
    }
}

#[test]
fn every_answer_is_marked_and_safe() {
    let h = house(|_| {});
    let mut asked = request("GET", "/v1/flows", "");
    asked
        .headers_mut()
        .insert("x-request-id", "mine-1".parse().unwrap());
    let answer = block(h.send(asked));
    assert_eq!(answer.headers()["x-request-id"], "mine-1");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert_eq!(
        answer.headers()["content-security-policy"],
        "default-src 'none'; frame-ancestors 'none'"
    );
    let mut asked = request("GET", "/v1/nope", "");
    asked
        .headers_mut()
        .insert("x-request-id", "not a plain one".parse().unwrap());
    let answer = block(h.send(asked));
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let id = answer.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let (_, problem) = block(read(answer));
    assert_eq!(problem["request_id"], id.as_str());
    assert_eq!(problem["instance"], "/v1/nope");
    let shape: Result<stepwell_server::wire::problem::Problem, _> = serde_json::from_value(problem);
    assert!(shape.is_ok(), "{shape:?}");
    let mut asked = request("GET", "/v1/flows", "");
    asked
        .headers_mut()
        .insert("host", "evil.example".parse().unwrap());
    assert_eq!(block(h.send(asked)).status(), StatusCode::FORBIDDEN);
    let head = block(h.send(request("HEAD", "/v1/flows", "")));
    assert_eq!(head.status(), StatusCode::OK);
    let wrong = block(h.send(request("DELETE", "/v1/flows", "")));
    assert_eq!(wrong.headers()["allow"], "GET,HEAD");
}
