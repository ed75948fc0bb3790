//! Panics.

use serde_json::Value;
use stepwell_guest::{Context, Failure};

#[inline(never)]
fn deep_inside(input: &Value) -> Value {
    panic!("no luck with {input}");
}

fn panics(_: &Context, input: Value) -> Result<Value, Failure> {
    Ok(deep_inside(&input))
}

stepwell_guest::step!(panics);
