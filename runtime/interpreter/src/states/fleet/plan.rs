//! What a distributed Map's fields come to when its state is entered.
//!
//! Refuses numbers out of bounds, and buckets that are no names.

use serde_json::Value;
use stepwell_flow::expression::{DataPath, Expression, Template};
use stepwell_flow::program::{Distributed, ItemReader, Items, MapState};
use stepwell_types::items::{ItemPlace, ItemSource, ResultTarget};
use stepwell_types::limits::PAYLOAD_BYTES_MAX;
use stepwell_types::{Data, Failure};

use crate::evaluate::{Env, Fault, excerpt, flow, jsonata, template};
use crate::fleet::{Batch, Place, Reading, Tolerated};
use crate::states::map::{Listed, Objects, items};
use crate::states::wait::shown;

/// Children away when `MaxConcurrency` is 0 or missing.
const WINDOW_DEFAULT: u32 = 256;
/// And at most (Step Functions' own bound).
const WINDOW_MAX: u32 = 10_000;
/// Bytes of one batch when the definition does not bound them.
const BATCH_BYTES_MAX: u64 = PAYLOAD_BYTES_MAX as u64 / 2;
/// Longest key, prefix or name of a bucket (S3's own bound).
const KEY_BYTES_MAX: usize = 1_024;

pub(super) struct Plan {
    pub source: Data,
    pub listed: bool,
    pub keyed: bool,
    pub length: u32,
    pub reading: Option<Reading>,
    pub items_max: u32,
    pub window: u32,
    pub batch: Option<Batch<Data>>,
    /// Judged, as Step Functions does, only when the state has told that it began.
    pub tolerated: Result<Tolerated, Fault>,
    pub target: Option<ResultTarget>,
    /// Why the run fails as soon as it has begun.
    pub refused: Option<Failure>,
}

pub(super) fn plan(env: &Env<'_>, map: &MapState, how: &Distributed) -> Result<Plan, Fault> {
    let window = crate::states::map::window(env, map.max_concurrency.as_ref(), WINDOW_DEFAULT)?;
    let (items, reading) = match &how.reader {
        None => (items(env, &map.items, objects(&map.items))?, None),
        Some(reader) => {
            let reading = Reading {
                source: source(env, reader)?,
                place: Place::First,
                version: None,
            };
            let none = Listed {
                source: Data::from_valid_text("[]"),
                listed: true,
                length: 0,
                keyed: false,
            };
            (none, Some(reading))
        }
    };
    let (items_max, refused) = items_max(env, how)?;
    Ok(Plan {
        source: items.source,
        listed: items.listed,
        keyed: items.keyed,
        length: u32::try_from(items.length).unwrap_or(u32::MAX),
        reading,
        items_max,
        window: window.min(WINDOW_MAX),
        batch: batch(env, how)?,
        tolerated: tolerated(env, how),
        target: target(env, how)?,
        refused,
    })
}

/// CloudFlow's Maps go through arrays.
fn objects(items: &Items) -> Objects {
    match items {
        Items::Template(Template::Expression(Expression::Fdl(_))) => Objects::Refused,
        _ => Objects::Taken,
    }
}

/// `MaxItems` of the `ItemReader`; 0, as without it: all. A number below 0 fails the run.
fn items_max(env: &Env<'_>, how: &Distributed) -> Result<(u32, Option<Failure>), Fault> {
    const FIELD: &str = "MaxItems";
    let wanted = how.reader.as_ref().and_then(|r| r.max_items.as_ref());
    let Some(wanted) = wanted else {
        return Ok((u32::MAX, None));
    };
    let value = number(env, wanted, FIELD)?;
    if of_number(wanted, &value).is_some_and(|n| n < 0.0) {
        let cause = format!("field {FIELD} must be positive");
        let failure = Failure::new("States.ItemReaderFailed", cause);
        return Ok((u32::MAX, Some(failure)));
    }
    Ok(match of_whole(wanted, FIELD, &value)? {
        0 => (u32::MAX, None),
        n => (u32::try_from(n).unwrap_or(u32::MAX), None),
    })
}

fn batch(env: &Env<'_>, how: &Distributed) -> Result<Option<Batch<Data>>, Fault> {
    let Some(batcher) = &how.batcher else {
        return Ok(None);
    };
    let positive = |expression: &Option<Expression>, field: &str| match whole(
        env,
        expression.as_ref(),
        field,
    )? {
        Some(0) if let Some(Expression::Jsonata(query)) = expression => {
            Err(jsonata::unexpected(query, "number", &0.into()))
        }
        Some(0) => Err(Fault::runtime(format!(
            "The {field} field must be a positive whole number, and was: 0"
        ))),
        other => Ok(other),
    };
    let items_max = positive(&batcher.items_max, "MaxItemsPerBatch")?;
    let bytes_max = positive(&batcher.bytes_max, "MaxInputBytesPerBatch")?;
    let input = match &batcher.input {
        None => None,
        Some(template) => Some(flow::shape(env, Some(template))?),
    };
    let shared = input.as_ref().map_or(0, Data::len_bytes) as u64;
    if shared >= BATCH_BYTES_MAX {
        return Err(Fault::too_large("The Map's BatchInput"));
    }
    Ok(Some(Batch {
        items_max: items_max.map_or(u32::MAX, |n| u32::try_from(n).unwrap_or(u32::MAX)),
        bytes_max: bytes_max.unwrap_or(BATCH_BYTES_MAX).min(BATCH_BYTES_MAX),
        input,
        items: Vec::new(),
        bytes: 0,
    }))
}

fn tolerated(env: &Env<'_>, how: &Distributed) -> Result<Tolerated, Fault> {
    let count = match &how.tolerated_count {
        None => None,
        Some(expression) => Some(tolerated_count(env, expression)?),
    };
    let percentage = match &how.tolerated_percentage {
        None => None,
        Some(expression) => Some(tolerated_percentage(env, expression)?),
    };
    Ok(Tolerated { count, percentage })
}

fn tolerated_count(env: &Env<'_>, expression: &Expression) -> Result<u64, Fault> {
    const FIELD: &str = "ToleratedFailureCount";
    let value = number(env, expression, FIELD)?;
    let whole = of_number(expression, &value).filter(|n| n.fract() == 0.0);
    match (whole, expression) {
        (Some(n), Expression::Path(_)) if n < 0.0 => {
            Err(Fault::runtime(format!("{FIELD} cannot be negative.")))
        }
        _ => of_whole(expression, FIELD, &value),
    }
}

fn tolerated_percentage(env: &Env<'_>, expression: &Expression) -> Result<f64, Fault> {
    const FIELD: &str = "ToleratedFailurePercentage";
    let value = number(env, expression, FIELD)?;
    let number = of_number(expression, &value);
    match (number, expression) {
        (Some(n), _) if (0.0..=100.0).contains(&n) => Ok(n),
        (Some(_), Expression::Path(_)) => Err(Fault::runtime(format!(
            "{FIELD} must be between 0 and 100."
        ))),
        (None, Expression::Path(path)) => Err(refers(FIELD, "float", path, &value)),
        _ => Err(wrong(expression, FIELD, "a number from 0 to 100", &value)),
    }
}

fn refers(field: &str, wanted: &str, path: &DataPath, value: &Value) -> Fault {
    Fault::runtime(format!(
        "The {field}Path field refers to value \"{}\" which is not a valid {wanted}: {}",
        excerpt(&shown(value)),
        path.source
    ))
}

/// A whole number, or one in a string.
fn whole(
    env: &Env<'_>,
    expression: Option<&Expression>,
    field: &str,
) -> Result<Option<u64>, Fault> {
    let Some(expression) = expression else {
        return Ok(None);
    };
    let value = number(env, expression, field)?;
    of_whole(expression, field, &value).map(Some)
}

fn of_whole(expression: &Expression, field: &str, value: &Value) -> Result<u64, Fault> {
    let number =
        of_number(expression, value).filter(|n| n.fract() == 0.0 && *n >= 0.0 && *n < 9.0e15);
    match number {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number below 2^53"
        )]
        Some(n) => Ok(n as u64),
        None => Err(match expression {
            Expression::Path(path) => refers(field, "integer", path, value),
            _ => wrong(expression, field, "a whole number", value),
        }),
    }
}

fn number(env: &Env<'_>, expression: &Expression, field: &str) -> Result<Value, Fault> {
    let value = template::evaluate(env, expression, &|path, _| {
        Fault::runtime(format!(
            "The {field}Path field does not reference an input value: {}",
            path.source
        ))
    })?;
    Ok(value.into_owned())
}

fn of_number(expression: &Expression, value: &Value) -> Option<f64> {
    match (value, expression) {
        // JSONata tells numbers from texts.
        (Value::String(_), Expression::Jsonata(_)) => None,
        // As recorded of other counts: a number in a string counts.
        (Value::String(text), _) => text.trim().parse().ok(),
        (value, _) => value.as_f64(),
    }
}

fn wrong(expression: &Expression, field: &str, what: &str, value: &Value) -> Fault {
    if let Expression::Jsonata(query) = expression {
        return jsonata::unexpected(query, "number", value);
    }
    Fault::runtime(format!(
        "The {field} field must be {what}, and was: {}",
        excerpt(&value.to_string())
    ))
}

/// `ItemReader`: where items are.
fn source(env: &Env<'_>, reader: &ItemReader) -> Result<ItemSource, Fault> {
    let failed = |why: String| Fault::new("States.ItemReaderFailed", why);
    let given = arguments(env, &reader.arguments)?;
    let bucket = text(&given, "Bucket").map_err(failed)?;
    let bucket = bucket.ok_or_else(|| failed("The ItemReader names no Bucket.".into()))?;
    let version = given.value().get("VersionId");
    if version.is_some_and(|v| !v.is_null()) {
        return Err(failed(
            "The ItemReader names a VersionId, and objects here have no versions.".into(),
        ));
    }
    let place = match &reader.format {
        Some(format) => {
            let key = text(&given, "Key").map_err(failed)?;
            ItemPlace::Object {
                key: key
                    .ok_or_else(|| failed("The ItemReader names no Key.".into()))?
                    .into(),
                format: format.clone(),
            }
        }
        None => ItemPlace::Listing {
            prefix: text(&given, "Prefix")
                .map_err(failed)?
                .unwrap_or_default()
                .into(),
        },
    };
    Ok(ItemSource {
        bucket: bucket.into(),
        place,
    })
}

/// `ResultWriter`: where results go.
fn target(env: &Env<'_>, how: &Distributed) -> Result<Option<ResultTarget>, Fault> {
    let Some(writer) = &how.writer else {
        return Ok(None);
    };
    let Some(template) = &writer.arguments else {
        return Ok(None);
    };
    let failed = |why: String| Fault::new("States.ResultWriterFailed", why);
    let given = arguments(env, template)?;
    let bucket = text(&given, "Bucket").map_err(failed)?;
    Ok(Some(ResultTarget {
        bucket: bucket
            .ok_or_else(|| failed("The ResultWriter names no Bucket.".into()))?
            .into(),
        prefix: text(&given, "Prefix")
            .map_err(failed)?
            .unwrap_or_default()
            .into(),
        transformation: writer.transformation,
        output: writer.output,
    }))
}

fn arguments(env: &Env<'_>, template: &Template) -> Result<Data, Fault> {
    flow::shape(env, Some(template))
}

/// A field of `arguments` that is text; `None`: it is not there, or empty.
fn text(arguments: &Data, name: &str) -> Result<Option<String>, String> {
    match arguments.value().get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if text.len() <= KEY_BYTES_MAX => Ok(Some(text.clone())),
        Some(other) => Err(format!(
            "{name} must be a string of at most {KEY_BYTES_MAX} bytes, and was: {}",
            excerpt(&other.to_string())
        )),
    }
}
