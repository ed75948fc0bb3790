//! Which values are the same, where a recording holds placeholders.
//!
//! Refuses to excuse anything else: a number, a key or an order that differs is a difference.

use serde_json::Value;

/// What in the expected values matches anything.
#[derive(Debug)]
pub struct Wildcards(Vec<String>);

impl Wildcards {
    /// The placeholders of a case.
    #[must_use]
    pub fn of(case: &Value) -> Wildcards {
        let listed = case["wildcards"].as_array().into_iter().flatten();
        let mut all: Vec<String> = listed
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        all.extend(["snf_role_arn", "timestamp", "datetime", "date"].map(str::to_owned));
        Wildcards(all)
    }

    fn any(&self, text: &str) -> bool {
        let placeholder = text.find('<').is_some_and(|at| text[at..].contains('>'));
        placeholder || self.0.iter().any(|w| w == text)
    }

    /// Whether `found` is what was recorded.
    #[must_use]
    pub fn same(&self, expected: &Value, found: &Value) -> bool {
        match (expected, found) {
            (Value::String(text), _) if self.any(text) => true,
            (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
            (Value::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.same(a, b))
            }
            // A lambda's cause: its request and its stack are its own.
            (Value::Object(a), Value::Object(b)) if a.contains_key("errorMessage") => {
                a.get("errorMessage") == b.get("errorMessage")
            }
            (Value::Object(a), Value::Object(b)) => {
                // Recordings from before redrives lack their count.
                let newer = b.contains_key("RedriveCount") && !a.contains_key("RedriveCount");
                a.len() + usize::from(newer) == b.len()
                    && a.iter().all(|(k, v)| {
                        // Recordings name what differed from call to call by itself, and
                        // count the bytes that their own functions printed.
                        let any = k == "Content-Length" || v.as_str() == Some(k);
                        b.get(k).is_some_and(|w| any || self.same(v, w))
                    })
            }
            // The corpus parsed some of the payloads that the history holds as text.
            (
                Value::Object(_) | Value::Array(_) | Value::Number(_) | Value::Bool(_),
                Value::String(text),
            ) => serde_json::from_str(text).is_ok_and(|parsed| self.same(expected, &parsed)),
            (Value::String(a), Value::String(b)) => {
                let array = |text: &str| serde_json::from_str::<Vec<Value>>(text).map(Value::from);
                let quoted = serde_json::from_str::<String>(a);
                a == b
                    || quoted.is_ok_and(|text| self.any(&text))
                    || matches!((array(a), array(b)), (Ok(a), Ok(b)) if self.same(&a, &b))
            }
            (a, b) => a == b,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn placeholders_match_and_nothing_else_does() {
        let wildcards = Wildcards::of(&json!({"wildcards": ["function-name"]}));
        let check = |expected: Value, found: Value, same: bool| {
            assert_eq!(
                wildcards.same(&expected, &found),
                same,
                "{expected} {found}"
            );
        };
        check(json!("<uuid:1>"), json!("4f"), true);
        check(json!("function-name"), json!("echo"), true);
        check(json!({"a": 1}), json!({"a": 1.0}), true);
        check(json!({"a": 1}), json!("{\"a\":1}"), true);
        check(json!({"a": 1}), json!({"a": 2}), false);
        check(json!({"a": 1}), json!({"a": 1, "b": 1}), false);
        check(json!([1, 2]), json!([2, 1]), false);
        check(json!("x"), json!("y"), false);
    }
}
