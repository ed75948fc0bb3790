//! Parses its JSON input and prints it: the work that the benchmark measures.

use serde_json::Value;
use stepwell_guest::{Context, Failure};

fn json(_: &Context, input: Value) -> Result<Value, Failure> {
    Ok(input)
}

stepwell_guest::step!(json);
