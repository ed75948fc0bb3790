//! The HTTP bridge against real loopback servers: what leaves, what doesn't, what comes back.

#[path = "http/asked.rs"]
mod asked;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use asked::{journal, limited, request};
use stepwell_host_api::gate::Boxed;
use stepwell_host_api::http::ConnectionOptions;
use stepwell_host_api::{Gate, HttpBridge, HttpOptions, LimitOptions, OpenGate, Verdict};
use stepwell_types::{
    BridgeAnswer, BridgeCall, Data, Failure, StepOutcome, StepRequest, Timestamp,
};

type Seen = Arc<Mutex<Vec<String>>>;

/// A server that answers each path in its own way and keeps what it got.
struct Server {
    address: SocketAddr,
    seen: Seen,
}

impl Server {
    fn start(bind: &str) -> Server {
        let listener = TcpListener::bind(bind).expect("bind");
        let address = listener.local_addr().expect("address");
        let seen = Seen::default();
        let kept = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let kept = kept.clone();
                std::thread::spawn(move || serve(stream.expect("stream"), address, &kept));
            }
        });
        Server { address, seen }
    }

    fn allowing(&self) -> HttpBridge {
        bridge(&[&self.address.to_string()])
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn last(&self) -> String {
        self.seen
            .lock()
            .expect("seen")
            .last()
            .cloned()
            .unwrap_or_default()
    }

    fn count(&self) -> usize {
        self.seen.lock().expect("seen").len()
    }
}

/// Serves one request per connection.
fn serve(mut stream: TcpStream, address: SocketAddr, seen: &Seen) {
    let Some(request) = receive(&mut stream) else {
        return;
    };
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.lock().expect("seen").push(request);
    let (status, headers, body) = match path.as_str() {
        "/json" => (
            "200 OK",
            "content-type: application/json\r\n".to_owned(),
            b"{\"n\": 1}".to_vec(),
        ),
        "/text" => (
            "200 OK",
            "content-type: text/plain\r\n".to_owned(),
            b"{\"n\": 1}".to_vec(),
        ),
        "/bytes" => ("200 OK", String::new(), vec![0xff, 0xfe]),
        "/lies" => (
            "200 OK",
            "content-type: application/json\r\n".to_owned(),
            b"not json".to_vec(),
        ),
        "/problem" => (
            "409 Conflict",
            "content-type: application/problem+json\r\n".to_owned(),
            b"{\"title\":\"taken\"}".to_vec(),
        ),
        "/many" => (
            "200 OK",
            "content-type: application/json\r\n".to_owned(),
            format!("[{}0]", "0,".repeat(2_000_000)).into_bytes(),
        ),
        "/big" => ("200 OK", String::new(), vec![b'x'; 4096]),
        "/broken" => (
            "500 Internal Server Error",
            String::new(),
            vec![b'y'; 100_000],
        ),
        "/loop" => ("302 Found", "location: /loop\r\n".to_owned(), Vec::new()),
        "/once" => (
            "303 See Other",
            "location: /json\r\n".to_owned(),
            Vec::new(),
        ),
        "/keep" => (
            "307 Temporary Redirect",
            "location: /json\r\n".to_owned(),
            Vec::new(),
        ),
        "/ruin" => ("302 Found", "location: /broken\r\n".to_owned(), Vec::new()),
        "/inside" => (
            "302 Found",
            format!("location: http://0x7f.1:{}/json\r\n", address.port()),
            Vec::new(),
        ),
        "/away" => (
            "307 Temporary Redirect",
            format!("location: http://localhost:{}/json\r\n", address.port()),
            Vec::new(),
        ),
        "/secret" => (
            "302 Found",
            format!("location: http://u:p@{address}/json\r\n"),
            Vec::new(),
        ),
        "/long" => (
            "302 Found",
            format!("location: /{}\r\n", "x".repeat(9_000)),
            Vec::new(),
        ),
        "/file" => (
            "302 Found",
            "location: file:///etc/passwd\r\n".to_owned(),
            Vec::new(),
        ),
        "/slow" => {
            std::thread::sleep(std::time::Duration::from_secs(5));
            return;
        }
        "/cut" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
            return;
        }
        _ => ("404 Not Found", String::new(), Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&body);
}

/// Reads one request with its body.
fn receive(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .to_ascii_lowercase()
                .lines()
                .find_map(|l| l.strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0);
            if body.len() >= length {
                return Some(text);
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
        }
    }
}

fn bridge(allow: &[&str]) -> HttpBridge {
    let options = HttpOptions {
        allow: allow.iter().map(|a| (*a).to_owned()).collect(),
        ..HttpOptions::default()
    };
    with(options)
}

fn with(options: HttpOptions) -> HttpBridge {
    limited(options, LimitOptions::default())
}

fn run(bridge: &HttpBridge, gate: Arc<dyn Gate>, request: StepRequest) -> StepOutcome {
    let journal = journal(gate, request);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime")
        .block_on(bridge.run(&journal))
}

fn call(bridge: &HttpBridge, input: &str) -> Result<Data, Failure> {
    run(bridge, Arc::new(OpenGate), request(input)).result
}

#[track_caller]
fn fails(result: Result<Data, Failure>, error: &str, cause: &str) {
    let failure = result.expect_err(error);
    assert_eq!(&*failure.error, error, "{}", failure.cause);
    assert!(failure.cause.contains(cause), "{}", failure.cause);
}

#[test]
fn responses_become_outputs_and_failures() {
    let server = Server::start("127.0.0.1:0");
    let bridge = server.allowing();
    let get = |path: &str| call(&bridge, &format!("{{\"url\": \"{}\"}}", server.url(path)));
    let body = |path: &str, expected: &str| {
        let output = get(path).expect(path);
        assert_eq!(output.value()["status"], 200, "{path}");
        assert_eq!(output.value()["body"].to_string(), expected, "{path}");
        output
    };
    let output = body("/json", "{\"n\":1}");
    assert_eq!(
        output.value()["headers"]["content-type"],
        "application/json"
    );
    body("/text", "\"{\\\"n\\\": 1}\"");
    body("/lies", "\"not json\"");
    let output = body("/bytes", "\"//4=\"");
    assert_eq!(output.value()["body_encoding"], "base64");
    body("/once", "{\"n\":1}");
    fails(
        get("/problem"),
        "States.Http.StatusCode.409",
        "{\"title\":\"taken\"}",
    );
    fails(
        get("/missing"),
        "States.Http.StatusCode.404",
        "\"status\":404",
    );
    fails(
        get("/broken"),
        "States.Http.StatusCode.500",
        "\"body_cut\":true",
    );
    fails(get("/cut"), "States.Http.Socket", "");
    fails(get("/loop"), "Stepwell.HttpTooManyRedirects", "5");
    fails(get("/file"), "Stepwell.HttpBadRedirect", "must begin with");
    let limited = format!(
        "{{\"url\": \"{}\", \"response_bytes_max\": 4095}}",
        server.url("/big")
    );
    fails(
        call(&bridge, &limited),
        "Stepwell.HttpResponseTooLarge",
        "4095 bytes",
    );
    let many = format!(
        "{{\"url\": \"{}\", \"response_bytes_max\": 8388608}}",
        server.url("/many")
    );
    fails(
        call(&bridge, &many),
        "Stepwell.HttpResponseTooLarge",
        "more than 2000000 values",
    );
    let slow = format!(
        "{{\"url\": \"{}\", \"timeout_ms\": 50}}",
        server.url("/slow")
    );
    fails(call(&bridge, &slow), "States.Timeout", "50 ms");
    let mut late = request(&format!("{{\"url\": \"{}\"}}", server.url("/slow")));
    late.deadline = Some(Timestamp(1_000_040));
    fails(
        run(&bridge, Arc::new(OpenGate), late).result,
        "States.Timeout",
        "40 ms",
    );
    let nobody = TcpListener::bind("127.0.0.1:0")
        .expect("bind")
        .local_addr()
        .expect("address");
    let alone = self::bridge(&[&nobody.to_string()]);
    fails(
        call(&alone, &format!("{{\"url\": \"http://{nobody}/\"}}")),
        "States.Http.Socket",
        "",
    );
}

#[test]
fn requests_are_sent_as_asked() {
    let server = Server::start("127.0.0.1:0");
    let bridge = server.allowing();
    let send = |rest: &str| {
        call(
            &bridge,
            &format!("{{\"url\": \"{}\", {rest}}}", server.url("/json")),
        )
        .expect(rest);
        server.last().to_ascii_lowercase()
    };
    let key = format!("idempotency-key: {}", request("{}").idempotency_key(0));
    let sent = send(r#""method": "POST", "body": {"a": 1}, "headers": {"X-Mine": "yes"}"#);
    assert!(
        sent.contains("content-type: application/json") && sent.ends_with("{\"a\":1}"),
        "{sent}"
    );
    assert!(
        sent.contains(&key) && sent.contains("x-mine: yes"),
        "{sent}"
    );
    let sent = send(
        r#""method": "PUT", "body": "raw", "headers": {"Idempotency-Key": "own", "Content-Type": "a/b"}"#,
    );
    assert!(
        sent.contains("idempotency-key: own") && !sent.contains(&key),
        "{sent}"
    );
    assert!(
        sent.contains("content-type: a/b") && sent.ends_with("raw"),
        "{sent}"
    );
    let sent = send(r#""method": "GET""#);
    assert!(!sent.contains("idempotency-key"), "{sent}");
    // A redirect by 307 keeps method and body, by 303 neither.
    let redirected = |path: &str| {
        let url = server.url(path);
        call(
            &bridge,
            &format!("{{\"url\": \"{url}\", \"method\": \"POST\", \"body\": \"b\"}}"),
        )
        .expect(path);
        server.last()
    };
    assert!(
        redirected("/keep").starts_with("POST /json"),
        "{}",
        server.last()
    );
    assert!(
        redirected("/once").starts_with("GET /json"),
        "{}",
        server.last()
    );
}

#[test]
fn a_wrong_call_is_refused_before_it_leaves() {
    let server = Server::start("127.0.0.1:0");
    let bridge = server.allowing();
    let url = server.url("/json");
    let table = [
        ("{}".to_owned(), "missing field `url`"),
        (r#"{"url": "ftp://a/"}"#.into(), "http://"),
        (r#"{"url": "nowhere"}"#.into(), "URL"),
        (r#"{"url": "http://u:p@a/"}"#.into(), "credentials"),
        (
            format!(r#"{{"url": "{url}", "method": "TRACE"}}"#),
            "method",
        ),
        (
            format!(r#"{{"url": "{url}", "method": "GET / HTTP/1.1\r\nX: y"}}"#),
            "method",
        ),
        (format!(r#"{{"url": "{url}", "surprise": 1}}"#), "surprise"),
        (
            format!(r#"{{"url": "{url}", "timeout_ms": 0}}"#),
            "timeout_ms",
        ),
        (
            format!(r#"{{"url": "{url}", "response_bytes_max": 0}}"#),
            "response_bytes_max must be 1 to",
        ),
        (
            format!(r#"{{"url": "{url}", "response_bytes_max": 1099511627776}}"#),
            "the most that this server grants",
        ),
        (
            format!(r#"{{"url": "{url}?a\r\nX: y"}}"#),
            "control characters",
        ),
        (
            format!(r#"{{"url": "{url}", "headers": {{"A": 1}}}}"#),
            "must be a string",
        ),
        (
            format!(r#"{{"url": "{url}", "headers": {{"A": "b\r\nC: d"}}}}"#),
            "can't be sent",
        ),
        (
            format!(r#"{{"url": "{url}", "headers": {{"A\r\nB": "c"}}}}"#),
            "no header name",
        ),
        (
            format!(r#"{{"url": "{url}", "headers": {{"Host": "b"}}}}"#),
            "connection",
        ),
        (
            format!(r#"{{"url": "{url}", "headers": {{"Transfer-Encoding": "chunked"}}}}"#),
            "connection",
        ),
        (
            format!(r#"{{"url": "{url}", "headers": {{"a": "1", "A": "2"}}}}"#),
            "twice",
        ),
    ];
    for (input, cause) in &table {
        fails(call(&bridge, input), "Stepwell.HttpInvalidRequest", cause);
    }
    assert_eq!(server.count(), 0);
}

#[test]
fn this_machine_is_not_reached_in_any_spelling() {
    let v4 = Server::start("127.0.0.1:0");
    let v6 = Server::start("[::1]:0");
    let bridge = bridge(&[]);
    let port = v4.address.port();
    let hosts = [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "0.0.0.0",
        "0",
        "localhost",
        "LOCALHOST",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "①②⑦.0.0.1",
        "127.0.0.1.",
    ];
    for host in hosts {
        let input = format!("{{\"url\": \"http://{host}:{port}/json\"}}");
        fails(
            call(&bridge, &input),
            "Stepwell.HttpDenied",
            "configuration",
        );
    }
    let input = format!("{{\"url\": \"http://[::1]:{}/json\"}}", v6.address.port());
    fails(call(&bridge, &input), "Stepwell.HttpDenied", "loopback");
    for host in [
        "169.254.169.254",
        "10.0.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "224.0.0.1",
        "[fe80::1]",
        "[fd00::1]",
    ] {
        let input = format!("{{\"url\": \"http://{host}/\"}}");
        fails(
            call(&bridge, &input),
            "Stepwell.HttpDenied",
            "configuration",
        );
    }
    assert_eq!(v4.count() + v6.count(), 0, "nothing was sent");
}

#[test]
fn only_what_the_configuration_names_is_reached() {
    let named = Server::start("127.0.0.1:0");
    let other = Server::start("127.0.0.1:0");
    let get = |bridge: &HttpBridge, url: &str| call(bridge, &format!("{{\"url\": \"{url}\"}}"));
    let by_place = named.allowing();
    get(&by_place, &named.url("/json")).expect("named");
    fails(
        get(&by_place, &other.url("/json")),
        "Stepwell.HttpDenied",
        "loopback",
    );
    // A redirect is judged like the first hop: this one leads to another spelling, which is named, too.
    get(&by_place, &named.url("/inside")).expect("named in another spelling");
    let by_name = bridge(&[&format!("localhost:{}", named.address.port())]);
    let url = format!("http://localhost:{}/json", named.address.port());
    get(&by_name, &url).expect("named by name");
    fails(
        get(&by_name, &named.url("/json")),
        "Stepwell.HttpDenied",
        "loopback",
    );
    let redirect = format!("http://localhost:{}/inside", named.address.port());
    fails(get(&by_name, &redirect), "Stepwell.HttpDenied", "loopback");
    let by_range = bridge(&["127.0.0.0/8"]);
    get(&by_range, &other.url("/json")).expect("in range");
}

#[test]
fn a_redirect_carries_no_secret_away() {
    let server = Server::start("127.0.0.1:0");
    let port = server.address.port();
    let bridge = bridge(&[&server.address.to_string(), &format!("localhost:{port}")]);
    let get = |path: &str| {
        let url = server.url(path);
        call(
            &bridge,
            &format!(
                "{{\"url\": \"{url}\", \"headers\": {{\"X-Api-Key\": \"hush\", \"Authorization\": \"hush\", \"Accept\": \"a/b\"}}}}"
            ),
        )
    };
    get("/away").expect("another origin");
    let sent = server.last();
    assert!(
        sent.starts_with("GET /json") && !sent.contains("hush") && sent.contains("accept: a/b"),
        "{sent}"
    );
    for (path, cause) in [("/secret", "credentials"), ("/long", "bytes")] {
        let before = server.count();
        fails(get(path), "Stepwell.HttpBadRedirect", cause);
        assert_eq!(server.count(), before + 1, "the next hop was not made");
    }
}

#[test]
fn a_redirect_out_of_a_connections_place_goes_without_its_headers() {
    let server = Server::start("127.0.0.1:0");
    let connection = ConnectionOptions {
        url: server.url("/keep"),
        headers: BTreeMap::from([("Authorization".into(), "lent".into())]),
        secret_headers: BTreeMap::new(),
    };
    let options = HttpOptions {
        allow: vec![server.address.to_string()],
        connections: BTreeMap::from([("billing".into(), connection)]),
        ..HttpOptions::default()
    };
    let bridge = with(options);
    let url = server.url("/keep");
    call(
        &bridge,
        &format!("{{\"url\": \"{url}\", \"connection\": \"billing\"}}"),
    )
    .expect("followed on the same origin");
    let seen = server.seen.lock().expect("seen").clone();
    assert!(
        seen.len() == 2 && seen[0].contains("lent") && !seen[1].contains("lent"),
        "{seen:?}"
    );
}

/// A gate with one answer for all, that counts who asks.
struct Fixed(Verdict, Mutex<Vec<BridgeCall>>);

impl Gate for Fixed {
    fn admit(&self, call: BridgeCall) -> Boxed<'static, Verdict> {
        self.1.lock().expect("calls").push(call);
        Box::pin(std::future::ready(self.0))
    }

    fn answered(&self, _: BridgeAnswer) {
        panic!("a Task's answer is its outcome");
    }
}

#[test]
fn nothing_leaves_but_through_the_gate() {
    let server = Server::start("127.0.0.1:0");
    let bridge = server.allowing();
    let input = format!(
        "{{\"url\": \"{}\", \"method\": \"POST\"}}",
        server.url("/json")
    );
    let ask = |verdict: Verdict| {
        let gate = Arc::new(Fixed(verdict, Mutex::default()));
        let result = run(&bridge, gate.clone(), request(&input)).result;
        let calls = gate.1.lock().expect("calls");
        assert_eq!(calls.len(), 1);
        assert_eq!((calls[0].by, calls[0].call), (request(&input).id(), 0));
        (result, calls[0].request)
    };
    fails(ask(Verdict::Diverged).0, "Stepwell.ReplayDiverged", "");
    fails(ask(Verdict::Stopped).0, "Stepwell.Stopped", "");
    assert_eq!(server.count(), 0);
    let (result, digest) = ask(Verdict::Go);
    result.expect("sent");
    assert_eq!(server.count(), 1);
    assert_eq!(
        ask(Verdict::Stopped).1,
        digest,
        "the same request has the same digest"
    );
}

#[test]
fn each_hop_to_the_same_host_takes_a_turn_and_tells_how_it_went() {
    let server = Server::start("127.0.0.1:0");
    let options = || HttpOptions {
        allow: vec![server.address.to_string()],
        ..HttpOptions::default()
    };
    let input = |path: &str| format!("{{\"url\": \"{}\"}}", server.url(path));
    let mut limits = LimitOptions {
        failures_max: 1,
        ..LimitOptions::default()
    };
    let bridge = limited(options(), limits.clone());
    call(&bridge, &input("/once")).expect("redirected");
    fails(
        call(&bridge, &input("/ruin")),
        "States.Http.StatusCode.500",
        "",
    );
    // The first hop went well; what counts is what came last.
    fails(call(&bridge, &input("/json")), "Stepwell.CircuitOpen", "");
    assert_eq!(server.count(), 4);

    // At one call in ten minutes the second hop does not go at once either.
    limits.hosts.base.per_second = Some(1.0 / 600.0);
    limits.hosts.base.burst = Some(1);
    let bridge = limited(options(), limits);
    let url = server.url("/once");
    let short = format!("{{\"url\": \"{url}\", \"timeout_ms\": 300}}");
    fails(call(&bridge, &short), "States.Timeout", "");
    assert_eq!(server.count(), 5);
}

#[test]
fn nobody_waits_for_one_host_while_he_holds_another() {
    let server = Server::start("127.0.0.1:0");
    let port = server.address.port();
    let options = HttpOptions {
        allow: vec![server.address.to_string(), format!("localhost:{port}")],
        ..HttpOptions::default()
    };
    let mut limits = LimitOptions::default();
    limits.hosts.total = 1;
    limits.hosts.base.concurrency = Some(1);
    let bridge = limited(options, limits);
    // The first is redirected to the host whose place the second has, who waits for the first one's
    // place among all.
    let urls = [server.url("/away"), format!("http://localhost:{port}/json")];
    let calls = urls.map(|url| {
        let input = format!("{{\"url\": \"{url}\", \"timeout_ms\": 5000}}");
        journal(Arc::new(OpenGate), request(&input))
    });
    let [first, second] = calls;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    let both = async { tokio::join!(bridge.run(&first), bridge.run(&second)) };
    let (away, there) = runtime.block_on(both);
    away.result.expect("redirected");
    there.result.expect("answered");
}
