//! HTTP: addresses in every class and spelling, names that lead to them, redirects, rebinding, manifests,
//! and words that would change a request.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::house::{BROKEN, House, Row, run};

const DENIED: &str = "Stepwell.HttpDenied";
const INVALID: &str = "Stepwell.HttpInvalidRequest";
const UNGRANTED: &str = "Stepwell.NotGranted";

/// Hosts that nobody may call, a class and its spellings each. Only the URL parser knows the last ones.
const ADDRESSES: &[(&str, &[&str])] = &[
    (
        "loopback",
        &[
            "127.0.0.1",
            "127.255.255.254",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0x0.0x0.0x1",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.1.",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
        ],
    ),
    ("this machine", &["0.0.0.0", "0", "0.1.2.3", "[::]"]),
    (
        "IPv4 within IPv6",
        &[
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::ffff:10.0.0.1]",
            "[::ffff:169.254.169.254]",
            "[::ffff:100.64.0.1]",
            "[::127.0.0.1]",
        ],
    ),
    (
        "private",
        &[
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "[fc00::1]",
            "[fd12:3456::1]",
            "[fec0::1]",
        ],
    ),
    (
        "a carrier's private network",
        &["100.64.0.1", "100.127.255.254"],
    ),
    ("link-local", &["169.254.1.1", "[fe80::1]", "[febf::1]"]),
    (
        "metadata",
        &[
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "[fd00:ec2::254]",
            "0xa9fea9fe",
            "2852039166",
        ],
    ),
    ("multicast", &["224.0.0.1", "239.255.255.250", "[ff02::1]"]),
    (
        "reserved and broadcast",
        &[
            "240.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "[100::1]",
            "[4000::1]",
        ],
    ),
    (
        "documentation",
        &[
            "192.0.2.1",
            "198.51.100.7",
            "203.0.113.9",
            "[2001:db8::1]",
            "[3fff::1]",
        ],
    ),
    (
        "NAT64",
        &[
            "[64:ff9b::127.0.0.1]",
            "[64:ff9b::a9fe:a9fe]",
            "[64:ff9b::10.0.0.1]",
            "[64:ff9b:1::1]",
        ],
    ),
    (
        "6to4, Teredo and ISATAP",
        &[
            "[2002:7f00:1::]",
            "[2002:c0a8:101::1]",
            "192.88.99.1",
            "[2001::1]",
            "[2a00::5efe:127.0.0.1]",
            "[2a00::200:5efe:10.0.0.1]",
        ],
    ),
];

/// Spellings that only a URL parser takes.
const ODD: &[&str] = &["①②⑦.0.0.1", "127。0。0。1", "%31%32%37.0.0.1"];

/// Names, and what the look-ups of each give.
pub const NAMES: &[(&str, &[&[&str]])] = &[
    ("fine.test", &[&["127.0.0.2"]]),
    ("loopback.test", &[&["127.0.0.1"]]),
    ("loopback6.test", &[&["::1"]]),
    ("mapped.test", &[&["::ffff:127.0.0.1"]]),
    ("private.test", &[&["10.0.0.1"]]),
    ("carrier.test", &[&["100.64.0.1"]]),
    ("metadata.test", &[&["169.254.169.254"]]),
    ("unspecified.test", &[&["0.0.0.0"]]),
    ("multicast.test", &[&["224.0.0.1"]]),
    ("documentation.test", &[&["192.0.2.1"]]),
    ("nat64.test", &[&["64:ff9b::7f00:1"]]),
    ("both.test", &[&["10.0.0.1", "::1"]]),
    ("rebinds.test", &[&["127.0.0.2"], &["127.0.0.1"]]),
    ("rebinds-too.test", &[&["127.0.0.2"], &["127.0.0.1"]]),
];

/// The first lines of requests that may come to the place, without their queries.
pub const SENT: [&str; 4] = ["GET / HTTP/1.1", "POST / HTTP/1.1", "GET /to", "POST /to"];

/// Every host of the tables, as a manifest names it.
pub fn hosts() -> BTreeSet<String> {
    let spellings = ADDRESSES.iter().flat_map(|(_, spellings)| *spellings);
    let names = NAMES.iter().map(|(name, _)| name).chain(&["localhost"]);
    let parsed = spellings.chain(names).map(|host| {
        let url = url::Url::parse(&format!("http://{host}/")).expect("a host");
        let host = url.host_str().unwrap_or_default();
        host.strip_suffix('.').unwrap_or(host).to_owned()
    });
    parsed.collect()
}

fn get(url: String) -> Value {
    json!({ "url": url })
}

/// The same call as the guest's input.
fn step(call: &Value) -> Value {
    json!({ "calls": [call] })
}

fn addresses(house: &House, odd: &[&str]) -> Vec<(String, Value)> {
    let port = house.victim.port;
    let classes = ADDRESSES.iter().copied().chain([("odd spellings", odd)]);
    let hosts =
        classes.flat_map(|(class, spellings)| spellings.iter().map(move |host| (class, host)));
    hosts
        .map(|(class, host)| {
            (
                format!("{class}: {host}"),
                get(format!("http://{host}:{port}/")),
            )
        })
        .collect()
}

/// By `http:request`, where the configuration alone decides, and where a manifest grants all hosts.
pub fn addresses_by_task(house: &House) -> Vec<Row> {
    let all = addresses(house, ODD);
    let by = |flow| {
        all.iter()
            .map(move |(what, call)| run(flow, what, call.clone(), DENIED))
    };
    let place = house.place.address;
    let mut rows = vec![run(
        "http",
        "the place",
        get(format!("http://{place}/")),
        "",
    )];
    rows.extend(by("http").chain(by("http-all")));
    rows
}

/// By a guest's `wasi:http`, where its manifest names each address, and where it grants all hosts.
pub fn addresses_by_step(house: &House) -> Vec<Row> {
    let all = addresses(house, &[]);
    let by = |flow| {
        all.iter()
            .map(move |(what, call)| run(flow, what, step(call), DENIED))
    };
    let place = step(&get(format!("http://{}/", house.place.address)));
    let mut rows = vec![run("calls-named", "the place", place, "")];
    rows.extend(by("calls-named").chain(by("calls-all")));
    rows
}

/// Names that lead where nobody may go, at once, on the second look or by a redirect.
pub fn names(house: &House) -> Vec<Row> {
    let (port, place) = (house.victim.port, house.place.address);
    let mut rows = Vec::new();
    let leads = NAMES.iter().filter(|(_, answers)| answers.len() == 1);
    let leads = leads
        .map(|(name, _)| *name)
        .filter(|name| *name != "fine.test");
    for name in leads.chain(["localhost", "LOCALHOST"]) {
        let call = get(format!("http://{name}:{port}/"));
        rows.push(run("http", name, call.clone(), DENIED));
        rows.push(run("calls-named", name, step(&call), DENIED));
    }
    // A name that led to the place leads elsewhere when it is looked up again.
    for (flow, name) in [
        ("http", "rebinds.test"),
        ("calls-named", "rebinds-too.test"),
    ] {
        let call = get(format!("http://{name}:{}/", place.port()));
        let call = if flow == "http" { call } else { step(&call) };
        rows.push(run(flow, &format!("{name}, at first"), call.clone(), ""));
        rows.push(run(flow, &format!("{name}, rebound"), call, DENIED));
    }
    // A place that a pattern grants is a public one, whatever the configuration allows.
    for name in ["127.0.0.2", "fine.test"] {
        let call = get(format!("http://{name}:{}/", place.port()));
        rows.push(run("http", name, call.clone(), ""));
        rows.push(run("http-all", name, call.clone(), DENIED));
        rows.push(run("calls-all", name, step(&call), DENIED));
    }
    let redirect = |to: &str| get(format!("http://{place}/to?{to}"));
    rows.push(run(
        "http",
        "a redirect",
        redirect(&format!("http://{place}/")),
        "",
    ));
    let hosts = [
        "127.0.0.1",
        "[::1]",
        "2130706433",
        "localhost",
        "metadata.test",
        "10.0.0.1",
    ];
    for host in hosts {
        let to = format!("http://{host}:{port}/");
        rows.push(run(
            "http",
            &format!("a redirect to {to}"),
            redirect(&to),
            DENIED,
        ));
    }
    let to = format!("//127.0.0.1:{port}/");
    rows.push(run(
        "http",
        "a redirect to another host alone",
        redirect(&to),
        DENIED,
    ));
    for to in [
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "gopher://127.0.0.1/",
        "http://u:p@127.0.0.2/",
        "http:///",
    ] {
        let bad = "Stepwell.HttpBadRedirect";
        rows.push(run(
            "http",
            &format!("a redirect to {to}"),
            redirect(to),
            bad,
        ));
    }
    let again = redirect(&format!(
        "http://{place}/to?http://{place}/to?http://{place}/to?http://{place}/to?http://{place}/to?http://{place}/"
    ));
    rows.push(run(
        "http",
        "six redirects",
        again,
        "Stepwell.HttpTooManyRedirects",
    ));
    rows
}

/// What a manifest that grants something does not grant.
pub fn beyond_a_grant(house: &House) -> Vec<Row> {
    let (place, victim) = (house.place.address, house.victim.port);
    let fine = get(format!("http://{place}/"));
    let mut rows = Vec::new();
    let mut both = |what: &str, call: Value, error| {
        rows.push(run("http-some", what, call.clone(), error));
        rows.push(run("calls-some", what, step(&call), error));
    };
    both("what is granted", fine, "");
    for method in ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] {
        let call = json!({"url": format!("http://{place}/"), "method": method});
        both(&format!("{method} where GET is granted"), call, UNGRANTED);
    }
    both(
        "another port",
        get(format!("http://127.0.0.2:{victim}/")),
        UNGRANTED,
    );
    both(
        "another host",
        get(format!("http://127.0.0.3:{}/", place.port())),
        UNGRANTED,
    );
    both(
        "another name of it",
        get(format!("http://fine.test:{}/", place.port())),
        UNGRANTED,
    );
    both(
        "TLS on its port",
        get(format!("https://127.0.0.2:{victim}/")),
        UNGRANTED,
    );
    both(
        "a public place",
        get("http://1.1.1.1/".to_owned()),
        UNGRANTED,
    );
    for (name, error) in [("lent", ""), ("kept", UNGRANTED), ("none", UNGRANTED)] {
        let call = json!({"url": format!("http://{place}/"), "connection": name});
        let what = format!("connection {name}");
        rows.push(run("http-some", &what, call, error));
    }
    let to = get(format!("http://{place}/to?http://127.0.0.2:{victim}/"));
    rows.push(run(
        "http-some",
        "a redirect to another port",
        to,
        UNGRANTED,
    ));
    let to = get(format!(
        "http://{place}/to?http://fine.test:{}/",
        place.port()
    ));
    rows.push(run(
        "http-some",
        "a redirect to another name",
        to,
        UNGRANTED,
    ));
    rows
}

/// Words that would change the request, and calls over a limit.
pub fn injection(house: &House) -> Vec<Row> {
    let (place, victim) = (house.place.address, house.victim.port);
    let url = format!("http://{place}/");
    let mut rows = Vec::new();
    let mut task = |what: &str, change: Value| {
        let mut call = json!({ "url": url });
        for (name, value) in change.as_object().into_iter().flatten() {
            call[name] = value.clone();
        }
        rows.push(run("http", what, call, INVALID));
    };
    for method in [
        "TRACE",
        "CONNECT",
        "get",
        "",
        "GET / HTTP/1.1\r\nx: y",
        "GET\u{0}",
        "PROPFIND",
    ] {
        task(&format!("method {method:?}"), json!({ "method": method }));
    }
    for value in [
        "a\r\nx-more: b",
        "a\nx-more: b",
        "a\r",
        "a\u{0}b",
        "a\u{7f}b",
    ] {
        task(
            &format!("header value {value:?}"),
            json!({"headers": {"x-a": value}}),
        );
    }
    for name in [
        "x-a\r\nx-more",
        "x-a:",
        "x a",
        "",
        "x-ä",
        "x-a\u{0}",
        "x-a\n",
        ":path",
    ] {
        task(
            &format!("header name {name:?}"),
            json!({"headers": {name: "b"}}),
        );
    }
    for name in [
        "Host",
        "Connection",
        "Transfer-Encoding",
        "Content-Length",
        "Upgrade",
        "Keep-Alive",
        "TE",
        "Proxy-Authorization",
    ] {
        task(&format!("header {name}"), json!({"headers": {name: "b"}}));
    }
    task(
        "a header twice",
        json!({"headers": {"x-a": "1", "X-A": "2"}}),
    );
    task("too many headers", json!({"headers": many("x-", 101)}));
    task(
        "too long headers",
        json!({"headers": {"x-a": "a".repeat(70_000)}}),
    );
    task(
        "a header that is no text",
        json!({"headers": {"x-a": ["b", "c"]}}),
    );
    for odd in [
        format!("http://user:word@{place}/"),
        format!("http://user@{place}/"),
        format!("http://{place}@127.0.0.1:{victim}/"),
        format!("http://{place}%2f@127.0.0.1:{victim}/"),
        format!("http://127.0.0.1:{victim}@{place}/"),
        format!("{url}?a\r\nx-more: b"),
        format!("{url}?a\tb"),
        format!("{url}?a\u{0}"),
        format!(" {url}\n"),
        format!("http://127.0.0.2\r\n.test:{victim}/"),
        format!("http://127.0.0.1\u{0}.test:{victim}/"),
        "http://127.0.0.2:99999/".to_owned(),
        "http://".to_owned(),
        "//127.0.0.2/".to_owned(),
        "/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "ftp://127.0.0.2/".to_owned(),
        "unix:///run/podman.sock".to_owned(),
        "data:text/plain,x".to_owned(),
        "http://[::1%25lo]/".to_owned(),
        format!("{url}{}", "a".repeat(20_000)),
    ] {
        let shown: String = odd.chars().take(60).collect();
        task(&format!("URL {shown:?}"), json!({ "url": odd }));
    }
    task("no time", json!({"timeout_ms": 0}));
    task("too much time", json!({"timeout_ms": 1u64 << 40}));
    task("no response", json!({"response_bytes_max": 0}));
    task(
        "too large a response",
        json!({"response_bytes_max": 1u64 << 40}),
    );
    task(
        "a field that is none",
        json!({"proxy": "http://127.0.0.1/"}),
    );
    task(
        "a body that is too large",
        json!({"method": "POST", "body": "a".repeat(17 << 20)}),
    );

    let stranger = json!({"url": url, "connection": "none"});
    rows.push(run("http", "a connection that is none", stranger, DENIED));

    let mut proof = |what: &str, how: Value, error| {
        let call = json!({"url": url, "authentication": how});
        rows.push(run("http-proof", what, call, error));
    };
    proof("a secret", json!({"type": "bearer", "secret": "token"}), "");
    proof(
        "a secret with a line break",
        json!({"type": "bearer", "secret": BROKEN}),
        INVALID,
    );
    for name in ["x-a\r\nx-more", "x a", "", "Host", "Transfer-Encoding"] {
        let how = json!({"type": "header", "name": name, "secret": "token"});
        proof(&format!("a secret in header {name:?}"), how, INVALID);
    }
    proof(
        "a way that is none",
        json!({"type": "digest", "secret": "token"}),
        INVALID,
    );
    let tokens = |token_url: String| json!({"type": "oauth2", "secret": "token", "client_id": "a", "token_url": token_url});
    proof(
        "tokens from elsewhere",
        tokens(format!("http://127.0.0.1:{victim}/")),
        DENIED,
    );
    proof(
        "tokens from another port",
        tokens(format!("http://127.0.0.2:{victim}/")),
        UNGRANTED,
    );
    proof(
        "tokens from a file",
        tokens("file:///etc/passwd".to_owned()),
        INVALID,
    );

    // The guest's library refuses what WASI's types refuse; the rest is the host's.
    let mut guest = |what: &str, change: Value, error| {
        let mut call = json!({ "url": url });
        for (name, value) in change.as_object().into_iter().flatten() {
            call[name] = value.clone();
        }
        rows.push(run("calls-place", what, step(&call), error));
    };
    guest("what is granted", json!({}), "");
    for method in ["TRACE", "CONNECT", "GET / HTTP/1.1\r\nx: y"] {
        guest(
            &format!("method {method:?}"),
            json!({ "method": method }),
            INVALID,
        );
    }
    for (name, value) in [
        ("x-a", "a\r\nx-more: b"),
        ("x-a", "a\u{0}"),
        ("x-a\r\nx-more", "b"),
        ("x a", "b"),
        ("Host", "b"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "b"),
    ] {
        let what = format!("header {name:?}: {value:?}");
        guest(&what, json!({"headers": [[name, value]]}), INVALID);
    }
    let all: Vec<[String; 2]> = (0..101)
        .map(|n| [format!("x-{n}"), "b".to_owned()])
        .collect();
    guest("too many headers", json!({ "headers": all }), INVALID);
    for odd in [
        format!("http://user:word@{place}/"),
        format!("http://{place}@127.0.0.1:{victim}/"),
        format!("{url}a b"),
        format!("{url}a\r\nx-more: b"),
        format!("http://127.0.0.2\r\n.test:{victim}/"),
    ] {
        guest(&format!("URL {odd:?}"), json!({ "url": odd }), INVALID);
    }
    rows
}

fn many(prefix: &str, count: usize) -> Value {
    let all = (0..count).map(|n| (format!("{prefix}{n}"), json!("b")));
    Value::Object(all.collect())
}
