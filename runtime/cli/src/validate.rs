//! `stepwell validate`: every problem of a definition, with its place.

use serde_json::json;
use stepwell_flow::resource::Bound;
use stepwell_flow::{AnyModule, Diagnostic, Resolve, Severity, Unresolved};
use stepwell_types::Digest;

use crate::args;
use crate::exit::{Exit, Trouble};
use crate::{filling, input, output};

/// No server is asked what names mean.
pub struct Anywhere {
    pub express: bool,
    /// Nobody said what AWS's names stand for: that a server may know.
    pub binds_later: bool,
}

impl Resolve for Anywhere {
    fn module(
        &self,
        name: &str,
        version: Option<&str>,
        function: Option<&str>,
    ) -> Result<Digest, Unresolved> {
        AnyModule.module(name, version, function)
    }

    fn express(&self) -> bool {
        self.express
    }

    fn binds_later(&self) -> bool {
        self.binds_later
    }
}

/// 0 when it could be published, given modules and bindings of the names in it; 1 when not.
pub fn validate(args: &args::Validate, as_json: bool) -> Result<Exit, Trouble> {
    let text = input::definition(&args.file)?;
    let values = filling::values(&args.filling)?;
    let map = filling::resources(args.filling.resources.as_deref())?;
    let resolve = Bound {
        inner: &Anywhere {
            express: args.express,
            binds_later: args.filling.resources.is_none(),
        },
        map: &map,
    };
    let (text, valid, diagnostics) = match text {
        Ok(text) => {
            let checked = filling::compile(&text, &values, &resolve)?;
            (text, checked.program.is_some(), checked.diagnostics)
        }
        Err(problem) => (String::new(), false, vec![problem]),
    };
    if as_json {
        let verdict = json!({"valid": valid, "diagnostics": diagnostics});
        output::print_json(&verdict.to_string());
    } else {
        show(&args.file.display().to_string(), &text, &diagnostics);
        if valid {
            output::print(&format!("{}: valid", args.file.display()));
        }
    }
    Ok(if valid { Exit::Ok } else { Exit::Failed })
}

/// Longest piece of a source line that is shown, in characters.
const EXCERPT_CHARS: usize = 100;

/// The source line with a caret below the place: at most a window around it.
fn excerpt(text: &str, line: u32, column: u32) -> Option<(String, String)> {
    let source = text.lines().nth(line.checked_sub(1)? as usize)?;
    let column = column.checked_sub(1)? as usize;
    let from = column.saturating_sub(EXCERPT_CHARS / 2);
    let shown: String = source.chars().skip(from).take(EXCERPT_CHARS).collect();
    // A tab is as wide in the line of the caret as in the one above it.
    let before = shown.chars().take(column - from);
    let pad: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let clean = shown.replace(|c: char| c.is_control() && c != '\t', " ");
    Some((clean.trim_end().to_owned(), pad))
}

/// A problem, as a server tells it too.
pub struct Found<'a> {
    pub severity: &'a str,
    pub code: &'a str,
    pub pointer: &'a str,
    pub line: u32,
    pub column: u32,
    pub message: &'a str,
    pub hint: Option<&'a str>,
}

/// Problems of `text` as compilers print them, on standard error.
pub fn show(file: &str, text: &str, diagnostics: &[Diagnostic]) {
    for d in diagnostics {
        let found = Found {
            severity: match d.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "note",
            },
            code: d.code,
            pointer: &d.pointer,
            line: d.line,
            column: d.column,
            message: &d.message,
            hint: d.hint.as_deref(),
        };
        show_one(file, text, &found);
    }
}

/// One of them.
pub fn show_one(file: &str, text: &str, d: &Found<'_>) {
    let (severity, code, message) = (d.severity, d.code, d.message);
    let place = if d.pointer.is_empty() { "/" } else { d.pointer };
    output::remark(&format!(
        "{file}:{}:{}: {severity}[{code}] {message} (at {place})",
        d.line, d.column
    ));
    if let Some((source, pad)) = excerpt(text, d.line, d.column) {
        let number = d.line.to_string();
        output::remark(&format!("  {number} | {source}"));
        output::remark(&format!("  {} | {pad}^", " ".repeat(number.len())));
    }
    if let Some(hint) = d.hint {
        output::remark(&format!("  hint: {hint}"));
    }
}

#[cfg(test)]
mod tests {
    use super::excerpt;

    #[test]
    fn the_caret_stands_below_the_place() {
        let check = |text: &str, line, column, expected: Option<(&str, &str)>| {
            let got = excerpt(text, line, column);
            let expected = expected.map(|(a, b)| (a.to_owned(), b.to_owned()));
            assert_eq!(got, expected, "{text} {line}:{column}");
        };
        check("a\nbcd", 2, 2, Some(("bcd", " ")));
        check("\té x", 1, 4, Some(("\té x", "\t  ")));
        check("a", 1, 9, Some(("a", " ")));
        check("a", 2, 1, None);
        let long = "x".repeat(500);
        let got = excerpt(&long, 1, 300).expect("a line");
        assert_eq!((got.0.len(), got.1.len()), (100, 50));
    }
}
