//! Tells what context it got.

use serde_json::{Value, json};
use stepwell_guest::{Context, Failure};

fn context(ctx: &Context, _: Value) -> Result<Value, Failure> {
    Ok(json!({
        "execution_id": ctx.execution_id,
        "execution_name": ctx.execution_name,
        "flow": ctx.flow,
        "state": ctx.state,
        "attempt": ctx.attempt,
        "idempotency_key": ctx.idempotency_key,
        "deadline_ms": ctx.deadline_ms,
    }))
}

stepwell_guest::step!(context);
