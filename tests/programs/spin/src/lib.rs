//! Never ends.

use serde_json::Value;
use stepwell_guest::{Context, Failure};

fn spin(_: &Context, input: Value) -> Result<Value, Failure> {
    let mut n = 0u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
        if n == u64::MAX {
            return Ok(input);
        }
    }
}

stepwell_guest::step!(spin);
