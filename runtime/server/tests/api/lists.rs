//! Which executions a list has, and whose children are.

use serde_json::Value;

use super::{House, PASS, block, house};

const EACH: &str = r#"{"StartAt": "Each", "States": {"Each": {"Type": "Map", "End": true, "ItemProcessor": {
    "ProcessorConfig": {"Mode": "DISTRIBUTED"}, "StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}}}}"#;

fn ids(h: &House, query: &str) -> Vec<String> {
    let (status, page) = block(h.ask("GET", &format!("/v1/executions{query}"), ""));
    assert_eq!(status, 200, "{page}");
    let ids = page["executions"].as_array().into_iter().flatten();
    let ids = ids.filter_map(|execution| execution["id"].as_str());
    ids.map(str::to_owned).collect()
}

/// As Step Functions lists the children of a run by the run, and not by the state machine.
#[test]
fn items_are_listed_by_the_execution_that_maps() {
    let h = house(|_| {});
    h.check("PUT", "/v1/flows/each", EACH, 201, "");
    let start = "/v1/flows/each/executions?wait=10";
    let (_, ended) = block(h.ask("POST", start, "[1,2]"));
    assert_eq!(ended["status"], "SUCCEEDED", "{ended}");
    let id = ended["id"].as_str().unwrap().to_owned();
    assert_eq!(ids(&h, "?flow=each"), std::slice::from_ref(&id));
    let items = ids(&h, &format!("?parent={id}"));
    assert_eq!(items.len(), 2);
    assert!(!items.contains(&id));
    assert_eq!(ids(&h, "").len(), 3);
    let (_, item) = block(h.ask("GET", &format!("/v1/executions/{}", items[0]), ""));
    assert_eq!(item["flow"], Value::from("each"), "{item}");
}

/// Whoever starts what another execution has started by this name gets that one.
#[test]
fn who_waits_for_a_child_learns_its_parents_name() {
    let h = house(|_| {});
    h.check("PUT", "/v1/flows/child", PASS, 201, "");
    let start = r#"{"StartAt": "C", "States": {"C": {"Type": "Task", "End": true,
        "Resource": "arn:aws:states:::states:startExecution.sync",
        "Parameters": {"StateMachineArn": "child", "Name": "c", "Input": {"n": 1}}}}}"#;
    h.check("PUT", "/v1/flows/parent", start, 201, "");
    let start = "/v1/flows/parent/executions?name=order-7&wait=10";
    h.check("POST", start, "{}", 200, "SUCCEEDED");
    let named = r#""parent_name":"order-7""#;
    let child = "/v1/flows/child/executions";
    h.check(
        "POST",
        &format!("{child}?name=c&wait=10"),
        r#"{ "n": 1 }"#,
        200,
        named,
    );
    h.check("GET", &format!("{child}/c?wait=10"), "", 200, named);
}
