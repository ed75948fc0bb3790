//! Tells what context it got, and what time it is.

use std::time::SystemTime;

use serde_json::{Value, json};
use stepwell_guest::{Context, Failure};

fn context(ctx: &Context, _: Value) -> Result<Value, Failure> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Ok(json!({
        "now_us": now.map_or(0, |now| now.as_micros() as u64),
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
