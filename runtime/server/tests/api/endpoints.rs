//! Flows' endpoints and the pages of refusals, as clients meet them.

use axum::http::StatusCode;
use http_body_util::BodyExt as _;

use super::{PASS, block, house, read, request};

#[test]
fn a_problem_leads_to_its_page() {
    let h = house(|_| {});
    let (_, problem) = block(async { read(h.send(request("GET", "/nowhere", "")).await).await });
    let page = block(h.send(request("GET", problem["type"].as_str().unwrap(), "")));
    assert_eq!(page.status(), StatusCode::OK);
    assert_eq!(
        page.headers()["content-type"],
        "text/markdown; charset=utf-8"
    );
    let text = block(page.into_body().collect()).unwrap().to_bytes();
    assert!(text.starts_with(b"# API0001: "), "{text:?}");
    h.check("GET", "/docs/errors/NOPE1", "", 404, "API0001");
}

/// Nobody unpacks it: it would be read as something else than it is.
#[test]
fn a_packed_body_is_refused() {
    let h = house(|_| {});
    let publish = "/v1/flows/pass?trigger=POST%20/orders&trigger=GET%20/orders";
    h.check("PUT", publish, PASS, 201, "new");
    let send = |method: &str, path: &str, body: &str, coding: &str| {
        let mut asked = request(method, path, body.to_owned());
        let coding = coding.parse().unwrap();
        asked.headers_mut().insert("content-encoding", coding);
        block(h.send(asked))
    };
    for (method, path) in [
        ("POST", "/t/orders"),
        ("POST", "/v1/flows/pass/executions"),
        ("PUT", "/v1/flows/other"),
        ("PUT", "/v1/modules/m"),
    ] {
        let refused = send(method, path, "\u{1f}packed", "gzip");
        assert_eq!(refused.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(refused.headers()["accept-encoding"], "identity");
        let (_, problem) = block(read(refused));
        assert_eq!(problem["code"], "API0021", "{method} {path}: {problem}");
        let detail = problem["detail"].to_string();
        assert!(detail.contains("(gzip)"), "{detail}");
    }
    for (method, body, coding) in [("POST", "{}", "Identity"), ("GET", "", "gzip")] {
        let taken = send(method, "/t/orders", body, coding);
        assert_eq!(taken.status(), StatusCode::OK, "{method} {coding}");
    }
}

#[test]
fn an_endpoint_with_another_method_says_which() {
    let h = house(|_| {});
    let publish = "/v1/flows/pass?trigger=POST%20/orders&trigger=DELETE%20/orders";
    h.check("PUT", publish, PASS, 201, "new");
    let wrong = block(h.send(request("GET", "/t/orders", "")));
    assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.headers()["allow"], "DELETE,POST");
    let (_, problem) = block(read(wrong));
    assert_eq!(problem["code"], "API0002");
}

#[test]
fn a_request_sent_again_by_another_client_is_the_same() {
    let h = house(|_| {});
    h.check(
        "PUT",
        "/v1/flows/pass?trigger=POST%20/orders",
        PASS,
        201,
        "new",
    );
    let send = |agent: &str, tenant: &str, body: &str| {
        let mut asked = request("POST", "/t/orders?x=1", body.to_owned());
        let length = body.len().to_string();
        for (name, value) in [
            ("idempotency-key", "order-7"),
            ("content-type", "application/json"),
            ("content-length", length.as_str()),
            ("user-agent", agent),
            ("x-forwarded-for", agent),
            ("x-tenant", tenant),
        ] {
            asked.headers_mut().insert(name, value.parse().unwrap());
        }
        let answer = block(h.send(asked));
        let id = answer.headers().get("stepwell-execution-id").cloned();
        (answer.status().as_u16(), id)
    };
    let body = r#"{"amount":12,"to":"ada"}"#;
    let first = send("one", "a", body);
    assert_eq!(first.0, 200);
    assert_eq!(send("two", "a", body), first);
    let respelt = r#"{ "to": "ada", "amount": 12 }"#;
    assert_eq!(send("two", "a", respelt), first);
    assert_eq!(send("one", "a", "{}").0, 409);
    let other = send("one", "b", body);
    assert_eq!(other.0, 409, "the sender's own header counts");
}
