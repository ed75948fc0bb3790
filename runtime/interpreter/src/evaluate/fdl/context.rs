//! `$Context`, and `$context` of the old language.
//!
//! Refuses to be built whole unless someone asks for it whole: inputs can be large.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use stepwell_flow::expression::{Query, Segment};
use stepwell_flow::program::Kind;
use stepwell_types::TaskToken;

use super::{Env, Miss, below, follow};

/// Reads from `$Context`.
pub(super) fn read<'e>(env: &'e Env<'_>, query: &Query) -> Result<Cow<'e, Value>, Miss> {
    let mut asked = None;
    if let Query::Definite(segments) = query {
        let rest = segments.get(2..).unwrap_or_default();
        let large = match names(segments) {
            [Some("Execution"), Some("Input")] => Some(execution_input(env)),
            [Some("Current"), Some("Input")] => Some(Some(env.data.value())),
            [Some("Current"), Some("Output")] => Some(env.given.result.map(|d| d.value())),
            [Some(_), Some(_)] => return below(env, Cow::Owned(small(env)), query),
            [part, _] => {
                asked = part;
                None
            }
        };
        if let Some(large) = large {
            let large = large.ok_or_else(|| Miss::Absent("nothing is there yet".to_owned()))?;
            return follow(Cow::Borrowed(large), rest);
        }
    }
    let mut whole = small(env);
    for (part, name, value) in [
        ("Execution", "Input", execution_input(env)),
        ("Current", "Input", Some(env.data.value())),
        ("Current", "Output", env.given.result.map(|d| d.value())),
    ] {
        if asked.is_none_or(|asked| asked == part)
            && let (Some(Value::Object(part)), Some(value)) = (whole.get_mut(part), value)
        {
            let value = env.copy(value).map_err(Miss::Fault)?;
            part.insert(name.to_owned(), value);
        }
    }
    below(env, Cow::Owned(whole), query)
}

/// The first two names of a path.
fn names(segments: &[Segment]) -> [Option<&str>; 2] {
    let name = |i: usize| match segments.get(i) {
        Some(Segment::Name(name)) => Some(&**name),
        _ => None,
    };
    [name(0), name(1)]
}

fn execution_input<'e>(env: &'e Env<'_>) -> Option<&'e Value> {
    let started = env.context.core.started.as_ref()?;
    Some(started.input.value())
}

/// The whole object but for inputs and output.
fn small(env: &Env<'_>) -> Value {
    let context = &env.context;
    let name = context.core.started.as_ref().map_or("", |s| &*s.name);
    let mut current = Map::new();
    if let Some(entry) = context.core.entries.get(&context.entry) {
        let state = context.program.states.get(entry.state as usize);
        current.insert("Name".into(), state.map_or("", |s| &*s.name).into());
        let retries = entry.attempt.saturating_sub(entry.first);
        current.insert("RetryCount".into(), retries.into());
    }
    if let Some(token) = token(env) {
        current.insert("TaskToken".into(), token.into());
    }
    if let Some(error) = env.given.error {
        let part = |name| error.value().get(name).cloned().unwrap_or_default();
        current.insert(
            "Error".into(),
            json!({ "Code": part("Error"), "Detail": part("Cause") }),
        );
    }
    json!({
        "Execution": { "Name": name, "RoleArn": "" },
        "Current": current,
    })
}

/// Reads from the old language's `$context`.
pub(super) fn read_old<'e>(env: &Env<'_>, query: &Query) -> Result<Cow<'e, Value>, Miss> {
    let context = &env.context;
    let started = context.core.started.as_ref();
    let entry = context.core.entries.get(&context.entry);
    let state = entry.and_then(|e| context.program.states.get(e.state as usize));
    let whole = json!({
        "flow": { "name": started.map_or("", |s| &*s.flow.name) },
        "execution": { "name": started.map_or("", |s| &*s.name) },
        "step": { "name": state.map_or("", |s| &*s.name) },
        "task": token(env).map_or_else(|| json!({}), |token| json!({ "token": token })),
    });
    below(env, Cow::Owned(whole), query)
}

/// The token of the current attempt, of a Task that waits for it.
fn token(env: &Env<'_>) -> Option<String> {
    let context = &env.context;
    let entry = context.core.entries.get(&context.entry)?;
    let state = context.program.states.get(entry.state as usize)?;
    let started = context.core.started.as_ref()?;
    match &state.kind {
        Kind::Task(task) if task.wait_for_token => {
            let execution = context.core.execution;
            let token = TaskToken::derive(&started.seed, execution, context.entry, entry.attempt);
            Some(token.to_string())
        }
        _ => None,
    }
}
