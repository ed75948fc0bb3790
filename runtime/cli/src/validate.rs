//! `stepwell validate`: every problem of a definition, with its place.

use serde_json::json;
use stepwell_flow::{AnyModule, Diagnostic, Severity};
use stepwell_types::limits::DEFINITION_BYTES_MAX;

use crate::args;
use crate::exit::{Exit, Trouble};
use crate::{input, output};

/// 0 when it could be published, 1 when not.
pub fn validate(args: &args::Validate, as_json: bool) -> Result<Exit, Trouble> {
    let text = input::text(&args.file, DEFINITION_BYTES_MAX)?;
    let checked = stepwell_flow::compile(&text, &AnyModule);
    let valid = checked.program.is_some();
    if as_json {
        let verdict = json!({"valid": valid, "diagnostics": checked.diagnostics});
        output::print_json(&verdict.to_string());
    } else {
        show(&args.file.display().to_string(), &checked.diagnostics);
        if valid {
            output::print(&format!("{}: valid", args.file.display()));
        }
    }
    Ok(if valid { Exit::Ok } else { Exit::Failed })
}

/// Problems as compilers print them, on standard error.
pub fn show(file: &str, diagnostics: &[Diagnostic]) {
    for d in diagnostics {
        let severity = match d.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let place = if d.pointer.is_empty() {
            "/"
        } else {
            &d.pointer
        };
        output::remark(&format!(
            "{file}:{}:{}: {severity}[{}] {} (at {place})",
            d.line, d.column, d.code, d.message
        ));
        if let Some(hint) = &d.hint {
            output::remark(&format!("  hint: {hint}"));
        }
    }
}
