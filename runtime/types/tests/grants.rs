//! What manifests grant, refuse and add.

use stepwell_types::{Granted, Grants};

fn grants(json: &str) -> Grants {
    serde_json::from_str(json).expect(json)
}

#[test]
fn places_are_granted_by_host_port_and_method() {
    let all = grants(
        r#"{"http":[{"host":"api.example"},{"host":"*.wild.example","ports":[80,443],"methods":["GET"]},
            {"host":"localhost","ports":[8080]},{"host":"[::1]","ports":[1]}]}"#,
    );
    let check = |host, port, method, how| assert_eq!(all.http(host, port, method), how, "{host}");
    check("api.example", 443, "POST", Some(Granted::Named));
    check("api.example.", 443, "POST", Some(Granted::Named));
    check("api.example", 80, "GET", None);
    check("xapi.example", 443, "GET", None);
    check("a.wild.example", 80, "GET", Some(Granted::Public));
    check("a.wild.example", 80, "POST", None);
    check("wild.example", 80, "GET", None);
    check("notwild.example", 80, "GET", None);
    check("localhost", 8080, "DELETE", Some(Granted::Named));
    check("[::1]", 1, "GET", Some(Granted::Named));
    assert_eq!(Grants::default().http("api.example", 443, "GET"), None);
    assert_eq!(
        grants(r#"{"http":[{"host":"*"},{"host":"a.example"}]}"#).http("a.example", 443, "GET"),
        Some(Granted::Named)
    );
}

#[test]
fn what_is_wider_is_told_line_by_line() {
    let check = |before: &str, now: &str, lines: &[&str]| {
        assert_eq!(grants(now).beyond(&grants(before)), lines, "{before} {now}");
    };
    let get = r#"{"http":[{"host":"a.example","methods":["GET"]}]}"#;
    let any = r#"{"http":[{"host":"a.example"}]}"#;
    let all = r#"{"http":[{"host":"*"}]}"#;
    let below = r#"{"http":[{"host":"*.a.example","ports":[443,444]}]}"#;
    check("{}", "{}", &[]);
    check(any, get, &[]);
    check(get, any, &["http any method a.example:443"]);
    check(all, below, &["http any method *.a.example:444"]);
    // The very name may lead to places that the pattern does not.
    check(all, get, &["http GET a.example:443"]);
    check(any, all, &["http any method *:443"]);
    check(
        r#"{"key_value":[{"namespace":"n"}],"secrets":["s"]}"#,
        r#"{"key_value":[{"namespace":"n","write":true}],"secrets":["s","t"],"machines":["m"]}"#,
        &["machine m", "secret t", "key-value write n"],
    );
    let pattern = r#"{"images":["r.example/*"]}"#;
    check(
        pattern,
        r#"{"images":["r.example/a:1","r.example/b/*"]}"#,
        &[],
    );
    check(
        pattern,
        r#"{"images":["r.example.org/a","r.example*","r.example/*"]}"#,
        &["image r.example.org/a", "image r.example*"],
    );
    check(
        r#"{"images":["r.example/a"]}"#,
        pattern,
        &["image r.example/*"],
    );
    check(
        r#"{"networks":["lab"]}"#,
        r#"{"networks":["host","lab"]}"#,
        &["network host"],
    );
    check(
        r#"{"buckets":[{"bucket":"a"},{"bucket":"b","write":true}]}"#,
        r#"{"buckets":[{"bucket":"a","write":true},{"bucket":"b"},{"bucket":"c"}]}"#,
        &["bucket write a", "bucket read c"],
    );
}

#[test]
fn buckets_and_flows_are_granted_by_name() {
    let all =
        grants(r#"{"buckets":[{"bucket":"in"},{"bucket":"out","write":true}],"flows":["orders"]}"#);
    let refused = |done: Result<(), stepwell_types::Failure>| done.err().map(|f| f.cause);
    for (bucket, write, fine) in [
        ("in", false, true),
        ("in", true, false),
        ("out", false, true),
        ("out", true, true),
        ("", false, false),
        ("IN", false, false),
    ] {
        assert_eq!(all.bucket(bucket, write), fine, "{bucket} {write}");
        assert_eq!(refused(all.allow_bucket(bucket, write)).is_none(), fine);
    }
    assert_eq!(refused(all.allow_flow("orders")), None);
    for flow in ["order", "orders2", "*", ""] {
        assert!(refused(all.allow_flow(flow)).is_some(), "{flow}");
    }
    let long = refused(all.allow_flow(&"f".repeat(100_000))).unwrap();
    assert!(long.len() < 300, "{long}");
}

#[test]
fn hosts_and_methods_are_checked() {
    let check = |host: &str, methods: &str, fine: bool| {
        let json = format!(r#"{{"http":[{{"host":"{host}","methods":[{methods}]}}]}}"#);
        assert_eq!(grants(&json).check().is_ok(), fine, "{json}");
    };
    for good in [
        "a.example",
        "*",
        "*.a.example",
        "127.0.0.1",
        "[::1]",
        "localhost",
    ] {
        check(good, r#""GET""#, true);
    }
    for bad in [
        "",
        "a:80",
        "https://a.example",
        "a/b",
        "*a.example",
        "a.*.b",
        "*.",
        "*.*",
        "a b",
        "::1",
    ] {
        check(bad, "", false);
    }
    check("a.example", r#""get""#, false);
    check("a.example", r#""CONNECT""#, false);
}

#[test]
fn unknown_members_are_refused() {
    assert!(serde_json::from_str::<Grants>(r#"{"htpp":[]}"#).is_err());
    assert!(serde_json::from_str::<Grants>(r#"{"http":[{"host":"a","port":1}]}"#).is_err());
}
