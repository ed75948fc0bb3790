//! `--set` and `--resources`: what a definition lacks, from the command line and a file.

use std::collections::BTreeMap;
use std::path::Path;

use stepwell_flow::resource::ResourceMap;
use stepwell_types::limits::DEFINITION_BYTES_MAX;

use crate::exit::Trouble;
use crate::input;

/// Largest file of bindings, in bytes.
const BINDINGS_BYTES_MAX: usize = 4 << 20;

/// A definition's text with its substitutions filled in.
pub fn text(file: &Path, set: &[String]) -> Result<String, Trouble> {
    fill(&input::text(file, DEFINITION_BYTES_MAX)?, set)
}

/// The same for a text that was read.
pub fn fill(text: &str, set: &[String]) -> Result<String, Trouble> {
    let mut values = BTreeMap::new();
    for given in set {
        let (name, value) = given
            .split_once('=')
            .ok_or_else(|| Trouble::usage(format!("--set takes NAME=VALUE, not {given:?}")))?;
        values.insert(name.to_owned(), value.to_owned());
    }
    stepwell_flow::substitute::substitute(text, &values).map_err(Trouble::usage)
}

/// The resource map of a TOML or JSON file.
pub fn resources(file: Option<&Path>) -> Result<ResourceMap, Trouble> {
    let Some(file) = file else {
        return Ok(ResourceMap::default());
    };
    let text = input::text(file, BINDINGS_BYTES_MAX)?;
    let wrong = |e: &dyn std::fmt::Display| Trouble::usage(format!("{}: {e}", file.display()));
    let bindings: BTreeMap<String, String> = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|e| wrong(&e))?
    } else {
        toml::from_str(&text).map_err(|e| wrong(&e))?
    };
    ResourceMap::new(bindings).map_err(|e| wrong(&e))
}
