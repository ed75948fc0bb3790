//! `--set`, `--set-file` and `--resources`: what a definition lacks, from the command line and files.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use stepwell_flow::resource::ResourceMap;
use stepwell_flow::{Checked, Resolve, substitute};

use crate::args::Filling;
use crate::exit::Trouble;
use crate::input;

/// Largest file of bindings or values, in bytes: a definition's own bound.
const FILE_BYTES_MAX: usize = stepwell_types::limits::DEFINITION_BYTES_MAX;

/// The values of `${NAME}`: those of the file, then those of the command line over them.
pub fn values(filling: &Filling) -> Result<BTreeMap<String, String>, Trouble> {
    let mut values = match &filling.set_file {
        None => BTreeMap::new(),
        Some(file) => substitute::read(&input::text(file, FILE_BYTES_MAX)?)
            .map_err(|e| Trouble::usage(format!("{}: {e}", file.display())))?,
    };
    for given in &filling.set {
        let (name, value) = given
            .split_once('=')
            .ok_or_else(|| Trouble::usage(format!("--set takes NAME=VALUE, not {given:?}")))?;
        values.insert(name.to_owned(), value.to_owned());
    }
    Ok(values)
}

/// Compiles a text with its substitutions filled in; places are those of the text.
pub fn compile(
    text: &str,
    values: &BTreeMap<String, String>,
    resolve: &dyn Resolve,
) -> Result<Checked, Trouble> {
    stepwell_flow::compile_filled(text, values, resolve).map_err(Trouble::usage)
}

/// The bindings of a TOML or JSON file, as they stand there.
pub fn bindings(file: Option<&Path>) -> Result<BTreeMap<String, Value>, Trouble> {
    let Some(file) = file else {
        return Ok(BTreeMap::new());
    };
    let text = input::text(file, FILE_BYTES_MAX)?;
    // The code that the server has for a binding that it refuses.
    let wrong =
        |e: &dyn std::fmt::Display| Trouble::usage(format!("RUN0021: {}: {e}", file.display()));
    if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|e| wrong(&e))
    } else {
        input::from_toml(&text).map_err(|e| wrong(&e))
    }
}

/// The map of such bindings: names as they are, other targets as JSON.
pub fn resource_map(bindings: BTreeMap<String, Value>) -> Result<ResourceMap, String> {
    let text = |(name, target)| match target {
        Value::String(text) => (name, text),
        other => (name, other.to_string()),
    };
    ResourceMap::new(bindings.into_iter().map(text).collect())
}

/// The resource map of such a file.
pub fn resources(file: Option<&Path>) -> Result<ResourceMap, Trouble> {
    let map = resource_map(bindings(file)?);
    map.map_err(|e| {
        let file = file.unwrap_or(Path::new("")).display();
        Trouble::usage(format!("RUN0021: {file}: {e}"))
    })
}
