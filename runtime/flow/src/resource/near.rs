//! "Did you mean" for a `Resource` that has no known form.
//!
//! Refuses to guess among modules: which there are is the caller's to say.

use crate::suggest;

/// Resources that take no name.
const FIXED: &[&str] = &[
    "http:request",
    "http:request.waitForTaskToken",
    "container:run",
    "container:run.waitForTaskToken",
    "vm:run",
    "vm:run.waitForTaskToken",
    "flow:start",
    "flow:start.sync",
    "flow:start.sync:2",
    "flow:start.waitForTaskToken",
    "signal:send",
    "signal:wait",
    "callback",
];

/// What stands before a name of the author's own.
const KINDS: &[&str] = &["wasm", "activity"];

/// What follows `arn:PARTITION:states:::`.
const OF_AWS: &[&str] = &[
    "lambda:invoke",
    "lambda:invoke.waitForTaskToken",
    "http:invoke",
    "states:startExecution",
    "states:startExecution.sync",
    "states:startExecution.sync:2",
    "states:startExecution.waitForTaskToken",
];

/// The resource that a mistyped one is near to.
pub(crate) fn suggested(text: &str) -> Option<String> {
    let near = match text.split_once(":states:::") {
        Some((before, service)) => {
            let near = suggest::nearest(service, OF_AWS.iter().copied())?;
            format!("{before}:states:::{near}")
        }
        None => match suggest::nearest(text, FIXED.iter().copied()) {
            Some(near) => near.to_owned(),
            None => {
                let (kind, name) = text.split_once(':')?;
                let near = suggest::nearest(kind, KINDS.iter().copied())?;
                format!("{near}:{name}")
            }
        },
    };
    (near != text).then(|| format!("did you mean {near:?}?"))
}

#[cfg(test)]
mod tests {
    use super::suggested;

    #[test]
    fn slips_and_strangers() {
        let check = |text: &str, expected: Option<&str>| {
            let expected = expected.map(|near| format!("did you mean {near:?}?"));
            assert_eq!(suggested(text), expected, "{text}");
        };
        check("http:reqest", Some("http:request"));
        check("flow:strat", Some("flow:start"));
        check("flow:start.snyc", Some("flow:start.sync"));
        check("wsam:echo", Some("wasm:echo"));
        check(
            "arn:aws:states:::lambda:invok",
            Some("arn:aws:states:::lambda:invoke"),
        );
        check(
            "arn:aws-cn:states:::states:startExecution.sync:3",
            Some("arn:aws-cn:states:::states:startExecution.sync:2"),
        );
        check("arn:aws:states:::sqs:sendMessage", None);
        check("arn:aws:states:::sns:publish", None);
        check("arn:aws:states:::dynamodb:getItem", None);
        check("wasm:a b", None);
        check("ehco", None);
        check("", None);
    }
}
