//! Where steps begin that take long at once.

use super::{block, house};

#[test]
fn a_step_of_a_module_that_held_the_loop_up_begins_elsewhere() {
    let h = house(|_| {});
    let flow = r#"{"StartAt": "Tells", "States": {"Tells": {
        "Type": "Task", "End": true, "Resource": "wasm:any"}}}"#;
    h.check("PUT", "/v1/modules/any", "\0asm", 201, "");
    h.check("PUT", "/v1/flows/tells", flow, 201, r#""new":true"#);
    let began = || {
        let start = "/v1/flows/tells/executions?wait=10";
        let (_, shown) = block(h.ask("POST", start, "{}"));
        let thread = shown["output"].as_str().map(str::to_owned);
        thread.unwrap_or_else(|| panic!("{shown}"))
    };
    let first = began();
    assert_ne!(first, "worker", "a step begins on the loop");
    for _ in 0..2 {
        assert_eq!(began(), "worker");
    }
}
