//! The five functions that the cases call, as plain answers.
//!
//! Refuses to sleep: whoever asks decides what time is.

use serde_json::{Value, json};

/// What a function does with one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// How long it takes.
    pub after_ms: u64,
    /// Its result, or error and cause.
    pub result: Result<Value, (String, String)>,
}

/// How the function `name` of a case answers `input`.
///
/// A case with one function may call it by any name: the recordings hold placeholders.
#[must_use]
pub fn behave(behaviours: &Value, name: &str, input: &Value) -> Answer {
    let functions = behaviours.as_object();
    let spec = functions
        .and_then(|f| f.get(name).or_else(|| f.values().next()))
        .cloned()
        .unwrap_or(Value::Null);
    let now = |result| Answer {
        after_ms: 0,
        result,
    };
    match spec["behaviour"].as_str() {
        Some("fail") => {
            let error = spec["error"].as_str().unwrap_or("Exception");
            let cause = json!({
                "errorMessage": spec["errorMessage"], "errorType": error,
                "requestId": "1", "stackTrace": [],
            });
            now(Err((error.to_owned(), cause.to_string())))
        }
        Some("return") => now(Ok(spec["value"].clone())),
        Some("large") => now(Ok("x".repeat(257 << 10).into())),
        Some("sleep") => Answer {
            after_ms: 60_000,
            result: Ok(input.clone()),
        },
        _ => now(Ok(input.clone())),
    }
}
