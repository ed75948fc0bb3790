//! `lambda:invoke`: the request, the response's envelope, and failures as Lambda words them.
//! Source: AWS Step Functions Developer Guide, "Invoke an AWS Lambda function"; the envelope's
//! members and the treatment of payloads as Step Functions was seen to give them.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use stepwell_flow::resource;
use stepwell_types::limits::CAUSE_CHARS_MAX;
use stepwell_types::{Data, Failure, StepTarget};

use super::Attempt;
use crate::time;

const REQUEST_RESPONSE: &str = "RequestResponse";

/// Function and payload of `{FunctionName, Payload, …}`.
pub(super) fn request(
    target: &StepTarget,
    functions: &[(Arc<str>, StepTarget)],
    input: &Data,
) -> Result<(StepTarget, Data), Failure> {
    let value = input.value();
    // In the definition it is refused when the flow is published; this one comes from the data.
    if let Some(kind) = value
        .get("InvocationType")
        .filter(|kind| *kind != REQUEST_RESPONSE)
    {
        return Err(Failure::new(
            "Lambda.InvalidParameterValueException",
            format!("the InvocationType {kind} is not supported: {REQUEST_RESPONSE} is"),
        ));
    }
    let target = if *target == StepTarget::Chosen {
        chosen(functions, value)?
    } else {
        target.clone()
    };
    // A null payload is an empty event; a string is the event's own text.
    let payload = match value.get("Payload") {
        None | Some(Value::Null) => Data::empty_object(),
        Some(Value::String(text)) => Data::parse(text).map_err(|e| {
            Failure::new(
                "Lambda.InvalidRequestContentException",
                format!("Could not parse request body into json: {e}"),
            )
        })?,
        Some(other) => Data::from_value(other.clone()),
    };
    Ok((target, payload))
}

fn chosen(functions: &[(Arc<str>, StepTarget)], input: &Value) -> Result<StepTarget, Failure> {
    let missing = |what: String| Failure::new("Lambda.ResourceNotFoundException", what);
    let Some(written) = input.get("FunctionName").and_then(Value::as_str) else {
        return Err(Failure::new(
            "Lambda.InvalidParameterValueException",
            "FunctionName must be a string",
        ));
    };
    let (name, version) = resource::function(written).map_err(|bad| missing(bad.message))?;
    let given = input.get("Qualifier").and_then(Value::as_str);
    if version.or(given.filter(|q| *q != "$LATEST")).is_some() {
        return Err(missing(format!(
            "Function not found: {written}: a version can be chosen only by a FunctionName in the definition"
        )));
    }
    let found = functions.binary_search_by(|(known, _)| (**known).cmp(name));
    match found.ok().and_then(|at| functions.get(at)) {
        Some((_, target)) => Ok(target.clone()),
        None => Err(missing(format!(
            "Function not found: {written}: no module of this name was there when the flow was published"
        ))),
    }
}

/// The response as Step Functions wraps it.
pub(super) fn envelope(version: &str, attempt: &Attempt, input: &Data, output: &Data) -> Data {
    let id = format!(
        "{}-{}-{}",
        attempt.execution, attempt.entry.0, attempt.number
    );
    let headers = [
        ("X-Amz-Executed-Version", version.to_owned()),
        ("x-amzn-Remapped-Content-Length", "0".to_owned()),
        ("Connection", "keep-alive".to_owned()),
        ("x-amzn-RequestId", id.clone()),
        ("Content-Length", output.len_bytes().to_string()),
        ("Date", time::http_date(attempt.now)),
        ("X-Amzn-Trace-Id", format!("Root={id}")),
        ("Content-Type", "application/json".to_owned()),
    ];
    let mut single = Map::new();
    let mut all = Map::new();
    for (name, value) in headers {
        all.insert(name.to_owned(), json!([value]));
        single.insert(name.to_owned(), value.into());
    }
    let mut out = Map::new();
    out.insert("ExecutedVersion".to_owned(), version.into());
    if input.value().get("LogType").and_then(Value::as_str) == Some("Tail") {
        // What the step logged stands in the execution's history.
        out.insert("LogResult".to_owned(), "".into());
        all.insert("X-Amz-Log-Result".to_owned(), json!([""]));
        single.insert("X-Amz-Log-Result".to_owned(), "".into());
    }
    out.insert("Payload".to_owned(), output.value().clone());
    out.insert(
        "SdkHttpMetadata".to_owned(),
        json!({"AllHttpHeaders": all, "HttpHeaders": single, "HttpStatusCode": 200}),
    );
    out.insert("SdkResponseMetadata".to_owned(), json!({ "RequestId": id }));
    out.insert("StatusCode".to_owned(), 200.into());
    Data::from_value(Value::Object(out))
}

/// Error and message of a function as the JSON object that Lambda makes of them. The
/// engine's own errors, and causes that are such an object already, stay.
pub(super) fn failure(failure: &Failure) -> Failure {
    let ours = ["States.", "Stepwell.", "Lambda."];
    let worded = || {
        let cause: Value = serde_json::from_str(&failure.cause).ok()?;
        cause.get("errorMessage").map(|_| ())
    };
    if ours.iter().any(|prefix| failure.error.starts_with(prefix)) || worded().is_some() {
        return failure.clone();
    }
    let cause = json!({
        "errorMessage": &*failure.cause, "errorType": &*failure.error, "stackTrace": [],
    })
    .to_string();
    if cause.chars().count() > CAUSE_CHARS_MAX {
        return failure.clone();
    }
    Failure::new(Arc::clone(&failure.error), cause)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stepwell_types::{Data, Failure, StepTarget};

    use super::{failure, request};

    #[test]
    fn payloads() {
        let check = |input: serde_json::Value, expected: &str| {
            let input = Data::from_value(input);
            let got = match request(&StepTarget::Callback, &[], &input) {
                Ok((_, data)) => data.text().to_owned(),
                Err(f) => f.error.to_string(),
            };
            assert_eq!(got, expected, "{}", input.text());
        };
        check(json!({"FunctionName": "f"}), "{}");
        check(json!({"FunctionName": "f", "Payload": null}), "{}");
        check(
            json!({"FunctionName": "f", "Payload": {"a": 1}}),
            r#"{"a":1}"#,
        );
        check(json!({"FunctionName": "f", "Payload": "0.0"}), "0.0");
        check(json!({"FunctionName": "f", "Payload": "\"x\""}), "\"x\"");
        check(
            json!({"FunctionName": "f", "Payload": "x"}),
            "Lambda.InvalidRequestContentException",
        );
        check(
            json!({"FunctionName": "f", "InvocationType": "RequestResponse"}),
            "{}",
        );
        check(
            json!({"FunctionName": "f", "InvocationType": "Event"}),
            "Lambda.InvalidParameterValueException",
        );
    }

    #[test]
    fn a_function_is_chosen_by_name() {
        let functions = [("f".into(), StepTarget::Callback)];
        let check = |input: serde_json::Value, expected: Result<(), &str>| {
            let input = Data::from_value(input);
            let got = request(&StepTarget::Chosen, &functions, &input);
            match (got, expected) {
                (Ok(_), Ok(())) => {}
                (Err(f), Err(name)) => assert_eq!(&*f.error, name),
                (got, _) => panic!("{got:?}"),
            }
        };
        let missing = "Lambda.ResourceNotFoundException";
        check(json!({"FunctionName": "f"}), Ok(()));
        check(
            json!({"FunctionName": "f:$LATEST", "Qualifier": "$LATEST"}),
            Ok(()),
        );
        check(
            json!({"FunctionName": "arn:aws:lambda:r:1:function:f"}),
            Ok(()),
        );
        check(json!({"FunctionName": "g"}), Err(missing));
        check(json!({"FunctionName": "f:2"}), Err(missing));
        check(json!({"FunctionName": "f", "Qualifier": "2"}), Err(missing));
        check(json!({}), Err("Lambda.InvalidParameterValueException"));
    }

    #[test]
    fn failures_are_worded_once() {
        let check = |error: &str, cause: &str, expected: &str| {
            let got = failure(&Failure::new(error, cause));
            assert_eq!(&*got.error, error);
            assert_eq!(&*got.cause, expected);
        };
        check(
            "Bad",
            "no",
            r#"{"errorMessage":"no","errorType":"Bad","stackTrace":[]}"#,
        );
        let worded = r#"{"errorMessage":"no"}"#;
        check("Bad", worded, worded);
        check("States.Timeout", "", "");
        check("Stepwell.FuelExhausted", "x", "x");
    }
}
