//! Fails with the `error` and `cause` of its input, or fewer times than `times` attempts.

use serde_json::Value;
use stepwell_guest::{Context, Failure};

fn fail(ctx: &Context, input: Value) -> Result<Value, Failure> {
    let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
    if let Some(times) = input["times"].as_u64()
        && u64::from(ctx.attempt) >= times
    {
        return Ok(input);
    }
    Err(Failure::new(text("error"), text("cause")))
}

stepwell_guest::step!(fail);
