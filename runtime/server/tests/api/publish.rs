//! Publishing with what fills a definition in, and the picture of what was published.

use serde_json::{Value, json};
use stepwell_store::memory::Memory;

use super::{ASK, PASS, block, house, house_over, read, request};

/// A publish with what fills the definition in: kept with the version, compared, shown.
#[test]
fn a_flow_is_filled_in_and_bound_when_it_is_published() {
    let house = house(|_| {});
    let envelope = |value: Value, uri: &str| {
        let method = if uri.ends_with("validate") {
            "POST"
        } else {
            "PUT"
        };
        let mut request = request(method, uri, value.to_string());
        let kind = "Application/vnd.stepwell.publish+json; charset=utf-8";
        let headers = request.headers_mut();
        headers.insert("content-type", kind.parse().unwrap());
        request
    };
    let text = "StartAt: ${First}\nStates:\n  A: {Type: Task, Resource: 'arn:aws:states:::sqs:sendMessage', End: true}\n";
    let given = json!({"definition": text, "substitutions": {"First": "A"},
            "resources": {"arn:aws:states:::sqs:*": "callback"}});
    let (status, said) = block(house.fill(envelope(given.clone(), "/v1/flows/sqs")));
    assert_eq!((status, &said["new"]), (201, &json!(true)), "{said}");
    assert_eq!(said["definition"], text, "the text as it came");
    assert_eq!(said["substitutions"], json!({"First": "A"}));
    let bound = json!({"arn:aws:states:::sqs:sendMessage": "callback"});
    assert_eq!(said["resources"], bound);
    let (_, said) = block(house.ask("GET", "/v1/flows/sqs?version=1", ""));
    assert_eq!(
        (&said["resources"], &said["substitutions"]["First"]),
        (&bound, &json!("A"))
    );
    let (status, said) = block(house.fill(envelope(given.clone(), "/v1/flows/sqs")));
    assert_eq!((status, &said["new"]), (200, &json!(false)), "{said}");
    let mut other = given.clone();
    let call = json!({"method": "POST", "url": "http://a/"});
    other["resources"] = json!({"arn:aws:states:::sqs:sendMessage": {"url": "http://a/"}});
    other["definition"] = text
        .replace(
            "', End",
            "', Parameters: {QueueUrl: q, MessageBody.$: $.m}, End",
        )
        .into();
    let (_, said) = block(house.fill(envelope(other, "/v1/flows/sqs")));
    assert_eq!(said["version"], 2, "{said}");
    assert_eq!(said["resources"]["arn:aws:states:::sqs:sendMessage"], call);
    house.check(
        "GET",
        "/v1/flows/sqs/graph?format=dot&version=1",
        "",
        200,
        "digraph",
    );

    // Without the map it is refused, with what to do here.
    let plain = text.replace("${First}", "A");
    house.check(
        "PUT",
        "/v1/flows/bare",
        &plain,
        422,
        "stepwell flow publish --resources",
    );
    house.check(
        "PUT",
        "/v1/flows/bare",
        &text.replace("'arn:aws:states:::sqs:sendMessage'", "\"${Fn}\""),
        422,
        "`substitutions` beside the definition",
    );
    for (bad, code) in [
        (
            json!({"definition": text, "resources": {"a": "nothing"}}),
            "RUN0021",
        ),
        (
            json!({"definition": text, "resources": {"a": {"url": "http://a/", "method": "GET"}}}),
            "RUN0021",
        ),
        (
            json!({"definition": text, "substitutions": {"First": "A\""}}),
            "RUN0021",
        ),
        (json!({"definition": text, "bindings": {}}), "API0015"),
        (json!({"definition": 7}), "API0015"),
    ] {
        for uri in ["/v1/flows/bad", "/v1/flows:validate"] {
            let (_, said) = block(house.fill(envelope(bad.clone(), uri)));
            assert_eq!(said["code"], code, "{bad} {said}");
        }
    }
    let mut broken = envelope(Value::Null, "/v1/flows:validate");
    *broken.body_mut() = "{\"definition\": ".into();
    let (status, said) = block(house.fill(broken));
    assert_eq!((status, &said["code"]), (400, &json!("API0005")), "{said}");
    let (status, said) = block(house.fill(envelope(given, "/v1/flows:validate")));
    assert_eq!((status, &said["valid"]), (200, &json!(true)), "{said}");
    let validate = "/v1/flows:validate";
    house.check("POST", validate, ASK, 200, r#""valid":true"#);
    let express = format!("{validate}?type=express");
    house.check("POST", &express, ASK, 200, "FLOW0036");
}

#[test]
fn a_published_flow_is_drawn() {
    let house = house(|_| {});
    let flow = "StartAt: '<A>'\nStates: {'<A>': {Type: Pass, End: true}}\n";
    house.check("PUT", "/v1/flows/f", flow, 201, "");
    let answer = block(house.send(request("GET", "/v1/flows/f/graph", "")));
    assert_eq!(answer.headers()["content-type"], "image/svg+xml");
    assert_eq!(
        answer.headers()["content-security-policy"],
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        "what the picture's own styles need, and no more"
    );
    let (_, body) = block(read(answer));
    let svg = body.as_str().unwrap();
    assert!(svg.contains("&lt;A&gt;") && !svg.contains("<A>"), "{svg}");
    house.check(
        "GET",
        "/v1/flows/f/graph?format=mermaid",
        "",
        200,
        "flowchart",
    );
    house.check("GET", "/v1/flows/f/graph?format=png", "", 400, "API0004");
    house.check("GET", "/v1/flows/g/graph", "", 404, "RUN0002");
    house.check("GET", "/v1/flows/f/graph?version=2", "", 404, "RUN0002");
}

#[test]
fn a_flow_is_deleted_when_nothing_needs_it() {
    let memory = Memory::new();
    let h = house_over(memory.clone(), |_| {});
    let flow = "/v1/flows/pass";
    let caller = r#"{"StartAt": "C", "States": {"C": {"Type": "Task", "End": true,
        "Resource": "flow:start", "Parameters": {"StateMachineArn": "pass"}}}}"#;
    h.check("DELETE", flow, "", 404, "RUN0002");
    h.check("PUT", &format!("{flow}?trigger=POST%20/p"), PASS, 201, "");
    h.check("DELETE", flow, "", 409, "POST /p");
    h.check("PUT", &format!("{flow}?trigger="), PASS, 200, "");
    h.check("PUT", "/v1/flows/caller", caller, 201, "");
    h.check("DELETE", flow, "", 409, "flow caller");
    h.check("PUT", "/v1/flows/caller", PASS, 201, "");
    h.check("PUT", flow, ASK, 201, r#""version":2"#);
    let start = format!("{flow}/executions");
    let (_, asks) = block(h.ask("POST", &start, "{}"));
    let asks = asks["id"].as_str().unwrap();
    h.check("DELETE", flow, "", 409, "an execution that has not ended");
    h.check(
        "POST",
        &format!("/v1/executions/{asks}/cancel"),
        "",
        200,
        "",
    );
    h.check("DELETE", flow, "", 204, "");

    // Also to the next process it is gone, and what has ended can be told of.
    let next = house_over(memory, |_| {});
    for h in [&h, &next] {
        h.check("GET", flow, "", 404, "RUN0002");
        h.check("DELETE", flow, "", 404, "RUN0002");
        h.check("POST", &start, "{}", 404, "RUN0002");
        h.check("POST", &format!("{start}?version=1"), "{}", 404, "RUN0002");
        h.check("GET", "/v1/flows", "", 200, "caller");
        let history = format!("/v1/executions/{asks}/history");
        h.check("GET", &history, "", 200, "ExecutionAborted");
        let redrive = format!("/v1/executions/{asks}/redrive");
        h.check("POST", &redrive, "", 404, "RUN0002");
    }
    // The name begins no second time, and what was deleted does not come back with it.
    next.check("PUT", flow, PASS, 201, r#""version":3"#);
    let (status, told) = block(next.ask("GET", &format!("{flow}/versions"), ""));
    let versions = told["versions"].as_array().expect("versions");
    let versions: Vec<_> = versions.iter().map(|v| &v["version"]).collect();
    assert_eq!((status, versions), (200, vec![&json!(3)]), "{told}");
    next.check("POST", &format!("{start}?version=1"), "{}", 404, "RUN0002");
    let redrive = format!("/v1/executions/{asks}/redrive");
    next.check("POST", &redrive, "", 404, "RUN0002");
}
