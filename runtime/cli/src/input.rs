//! JSON and text from the command line, files and standard input.

use std::io::Read as _;
use std::path::Path;

use serde::de::DeserializeOwned;
use stepwell_flow::diagnostic::code;
use stepwell_flow::{Diagnostic, Severity, suggest};
use stepwell_types::Data;
use stepwell_types::limits::{DEFINITION_BYTES_MAX, PAYLOAD_BYTES_MAX};

use crate::exit::Trouble;

/// `JSON`, `@FILE` or `-` of an option, checked and kept as it came, but for what editors and
/// shells put around it: a byte order mark, and the end of the last line.
pub fn json(option: &str, given: &str) -> Result<Data, Trouble> {
    let text = match given.strip_prefix('@') {
        Some(file) => text(Path::new(file), PAYLOAD_BYTES_MAX)?,
        None if given == "-" => text(Path::new("-"), PAYLOAD_BYTES_MAX)?,
        None => given.to_owned(),
    };
    let place = match given.strip_prefix('@') {
        Some(file) => file,
        None if given == "-" => "standard input",
        None => "the value",
    };
    let value = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Data::parse(value.trim_end_matches([' ', '\t', '\r', '\n'])).map_err(|e| {
        // Text is the usual slip, and quotes that the shell took.
        let hint = if place == "the value" {
            "\n  hint: quote it for the shell, '{\"a\": 1}' or '\"text\"'; @FILE reads a file"
        } else {
            ""
        };
        Trouble::usage(format!(
            "{option}: {place} cannot be taken as JSON: {e}{hint}"
        ))
    })
}

/// What a TOML text says, or what is wrong with it and what was probably meant.
pub fn from_toml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|e| {
        let told = e.to_string();
        match meant(e.message()) {
            Some(hint) => format!("{}\n  hint: {hint}", told.trim_end()),
            None => told,
        }
    })
}

fn meant(message: &str) -> Option<String> {
    if message.ends_with("expected a sequence") {
        return Some("a list stands in brackets: [\"…\"]".to_owned());
    }
    let known = message.strip_prefix("unknown field ")?;
    let mut names = known.split('`').skip(1).step_by(2);
    let near = suggest::nearest(names.next()?, names)?;
    Some(format!("did you mean `{near}`?"))
}

/// A file's text, or standard input's for `-`; at most `max` bytes.
pub fn text(file: &Path, max: usize) -> Result<String, Trouble> {
    let shown = file.display();
    let bytes = bytes(file, max)?;
    if bytes.len() > max {
        return Err(Trouble::usage(format!("{shown} has more than {max} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| Trouble::usage(format!("{shown} is not UTF-8 text")))
}

/// A definition's text, or why it can be none: a problem of the definition like any other.
pub fn definition(file: &Path) -> Result<Result<String, Diagnostic>, Trouble> {
    let bytes = bytes(file, DEFINITION_BYTES_MAX)?;
    let problem = |code, message, hint: &str, before: &[u8]| {
        let before = String::from_utf8_lossy(before);
        let line = before.rsplit('\n').next().unwrap_or_default();
        let count = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
        Diagnostic {
            code,
            severity: Severity::Error,
            pointer: String::new(),
            line: count(before.matches('\n').count()),
            column: count(line.chars().count()),
            message,
            hint: Some(hint.to_owned()),
        }
    };
    if bytes.len() > DEFINITION_BYTES_MAX {
        let message = format!("the definition has more than {DEFINITION_BYTES_MAX} bytes");
        let hint = "move large data out of the definition, or split the flow";
        return Ok(Err(problem(code::TOO_LARGE, message, hint, &[])));
    }
    Ok(String::from_utf8(bytes).map_err(|e| {
        let sound = e.utf8_error().valid_up_to();
        let before = e.as_bytes().get(..sound).unwrap_or_default();
        let message = "the definition is not UTF-8 text".to_owned();
        problem(code::SYNTAX, message, "save it as UTF-8", before)
    }))
}

/// A file's bytes, or standard input's for `-`; at most one more than `max`, which tells
/// that there are too many.
fn bytes(file: &Path, max: usize) -> Result<Vec<u8>, Trouble> {
    let shown = file.display();
    let failed = |e: std::io::Error| Trouble::system(format!("cannot read {shown}: {e}"));
    let limit = max as u64 + 1;
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        let stdin = std::io::stdin().lock();
        stdin.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let open = std::fs::File::open(file).map_err(failed)?;
        open.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    }
    Ok(bytes)
}
