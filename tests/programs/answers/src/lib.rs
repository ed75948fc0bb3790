//! Answers as the JSON in its slot says: echo, fail, return, sleep, large.
//!
//! A test writes the JSON into the built component, so that one guest plays any
//! function of a recorded case. An empty slot is an echo.

use serde_json::{Value, json};
use stepwell_guest::{Context, Failure};
use wasip2::clocks::monotonic_clock;

/// Where the slot begins in the component's bytes.
const MARK: &[u8] = b"stepwell-answers-slot:";
/// How long a sleeper sleeps, in nanoseconds.
const SLEEP_NS: u64 = 60_000_000_000;
/// Bytes of the slot, its mark included.
const SLOT_BYTES: usize = 4096;

#[used]
static SLOT: [u8; SLOT_BYTES] = {
    let mut slot = [b' '; SLOT_BYTES];
    let mut i = 0;
    while i < MARK.len() {
        slot[i] = MARK[i];
        i += 1;
    }
    slot
};

fn answer(_: &Context, input: Value) -> Result<Value, Failure> {
    // What the compiler sees in the slot is not what will be there.
    let slot = std::hint::black_box(&SLOT);
    let spec: Value = serde_json::from_slice(&slot[MARK.len()..]).unwrap_or(Value::Null);
    match spec["behaviour"].as_str() {
        Some("fail") => {
            let error = spec["error"].as_str().unwrap_or("Exception");
            let cause = json!({
                "errorMessage": spec["errorMessage"], "errorType": error,
                "requestId": "1", "stackTrace": [],
            });
            Err(Failure::new(error, cause.to_string()))
        }
        Some("return") => Ok(spec["value"].clone()),
        Some("large") => Ok("x".repeat(257 << 10).into()),
        Some("sleep") => {
            monotonic_clock::subscribe_duration(SLEEP_NS).block();
            Ok(input)
        }
        _ => Ok(input),
    }
}

stepwell_guest::step!(answer);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_slot_is_an_echo() {
        let echoed = answer(&Context::for_test(), json!({"a": 1}));
        assert_eq!(echoed.map_err(|f| f.error), Ok(json!({"a": 1})));
    }
}
