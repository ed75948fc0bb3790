//! The data-flow fields around a state, in the order in which they apply:
//! InputPath, Parameters, (the state's work), ResultSelector, ResultPath, OutputPath.
//!
//! Refuses to parse where nothing is asked: a state without these fields passes text through.
//! Source: states-language.net, "Input and Output Processing".

use serde_json::Value;
use stepwell_flow::expression::{DataPath, Root, Segment, Template, WritePath};
use stepwell_types::Data;

use super::path::{self, Miss, read_data};
use super::{Env, Fault, bounded, size, template};
use stepwell_types::limits::PAYLOAD_BYTES_MAX;

/// `InputPath` or `OutputPath`.
pub(crate) fn through(env: &Env<'_>, path: Option<&DataPath>) -> Result<Data, Fault> {
    match path {
        None => Ok(Data::empty_object()),
        Some(path) => read_data(env, path).map_err(|miss| match miss {
            // Said of the data, and not of the path, as Step Functions says it.
            Miss::Absent(_) if matches!(path.root, Root::Data) && env.data.value().is_null() => {
                Fault::runtime("Unable to apply Path transformation to null or empty input.")
            }
            miss => miss.invalid_path(path),
        }),
    }
}

/// `Parameters` or `ResultSelector`; `None`: the data itself.
pub(crate) fn shape(env: &Env<'_>, template: Option<&Template>) -> Result<Data, Fault> {
    match template {
        None => Ok(env.data.clone()),
        Some(template) => bounded(template::fill(env, template)?),
    }
}

/// `ResultPath`: puts the result where it belongs in the raw input.
pub(crate) fn merge(raw: &Data, result: Data, path: &WritePath) -> Result<Data, Fault> {
    match path {
        WritePath::Discard => Ok(raw.clone()),
        WritePath::Replace => Ok(result),
        WritePath::At(segments) => merge_at(raw, &result, segments),
    }
}

fn merge_at(raw: &Data, result: &Data, segments: &[Segment]) -> Result<Data, Fault> {
    if size(raw.value()).saturating_add(size(result.value())) > PAYLOAD_BYTES_MAX {
        return Err(Fault::too_large("The state's output"));
    }
    let mut merged = raw.value().clone();
    let fits = matches!(merged, Value::Object(_) | Value::Array(_));
    if !fits || path::write(&mut merged, segments, result.value().clone()).is_err() {
        return Err(Fault::new(
            "States.ResultPathMatchFailure",
            format!(
                "Unable to apply ReferencePath {} to input {}",
                path::print_short(segments),
                super::excerpt(raw.text())
            ),
        ));
    }
    bounded(merged)
}
