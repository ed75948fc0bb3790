//! Publishing with what fills a definition in, and the picture of what was published.

use serde_json::{Value, json};

use super::{block, house, read, request};

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
    other["resources"] = json!({"arn:aws:states:::sqs:sendMessage": "http:request"});
    other["definition"] = text
        .replace("', End", "', Parameters: {url: 'http://a/'}, End")
        .into();
    let (_, said) = block(house.fill(envelope(other, "/v1/flows/sqs")));
    assert_eq!(said["version"], 2, "{said}");
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
            json!({"definition": text, "substitutions": {"First": "A\""}}),
            "RUN0021",
        ),
        (json!({"definition": text, "bindings": {}}), "API0005"),
    ] {
        for uri in ["/v1/flows/bad", "/v1/flows:validate"] {
            let (_, said) = block(house.fill(envelope(bad.clone(), uri)));
            assert_eq!(said["code"], code, "{bad} {said}");
        }
    }
    let (status, said) = block(house.fill(envelope(given, "/v1/flows:validate")));
    assert_eq!((status, &said["valid"]), (200, &json!(true)), "{said}");
}

#[test]
fn a_published_flow_is_drawn() {
    let house = house(|_| {});
    let flow = "StartAt: '<A>'\nStates: {'<A>': {Type: Pass, End: true}}\n";
    house.check("PUT", "/v1/flows/f", flow, 201, "");
    let answer = block(house.send(request("GET", "/v1/flows/f/graph", "")));
    assert_eq!(answer.headers()["content-type"], "image/svg+xml");
    let policy = answer.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(policy.contains("default-src 'none'"), "{policy}");
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
