//! `stepwell assess`: which of a folder's definitions run here, and what the others lack.

use serde_json::json;
use stepwell_flow::resource::Bound;
use stepwell_flow::{AnyModule, Diagnostic, Severity, diagnostic::code};
use stepwell_types::limits::DEFINITION_BYTES_MAX;

use crate::args;
use crate::exit::{Exit, Trouble};
use crate::{filling, folder, input, output};

/// Most reasons that the table shows for one file.
const REASONS_SHOWN: usize = 3;

/// 0 when all run, 1 otherwise.
pub fn assess(args: &args::Assess, as_json: bool) -> Result<Exit, Trouble> {
    let map = filling::resources(args.filling.resources.as_deref())?;
    let resolve = Bound {
        inner: &AnyModule,
        map: &map,
    };
    let files = folder::definitions(&args.dir)?;
    let mut found = Vec::new();
    let mut all_run = true;
    for file in &files {
        let shown = file
            .strip_prefix(&args.dir)
            .unwrap_or(file)
            .display()
            .to_string();
        let read = input::text(file, DEFINITION_BYTES_MAX)
            .and_then(|text| filling::fill(&text, &args.filling.set));
        let (verdict, reasons) = match read {
            Err(trouble) => ("impossible", vec![json!({"message": trouble.message})]),
            Ok(text) => {
                let checked = stepwell_flow::compile(&text, &resolve);
                let errors = checked.diagnostics.into_iter();
                let errors: Vec<_> = errors.filter(|d| d.severity == Severity::Error).collect();
                let verdict = if checked.program.is_some() {
                    "runs"
                } else if errors.iter().all(lacks_binding) {
                    "needs binding"
                } else {
                    "impossible"
                };
                (verdict, errors.iter().map(|d| json!(d)).collect())
            }
        };
        all_run &= verdict == "runs";
        if !as_json {
            output::print(&format!("{verdict:<14} {shown}"));
            for reason in reasons.iter().take(REASONS_SHOWN) {
                let cell = |name: &str| output::field(reason, name).unwrap_or_default();
                output::print(&format!(
                    "                 {}:{} {} {}",
                    cell("line"),
                    cell("column"),
                    cell("code"),
                    cell("message")
                ));
            }
            if reasons.len() > REASONS_SHOWN {
                let more = reasons.len() - REASONS_SHOWN;
                output::print(&format!("                 and {more} more"));
            }
        }
        found.push(json!({"file": shown, "verdict": verdict, "reasons": reasons}));
    }
    if as_json {
        output::print_json(&json!({ "definitions": found }).to_string());
    } else if files.is_empty() {
        output::remark("there is no .json, .yaml or .yml file");
    }
    Ok(if all_run { Exit::Ok } else { Exit::Failed })
}

/// Whether a binding or a substitution would make this problem go away.
fn lacks_binding(d: &Diagnostic) -> bool {
    let resource = d.pointer.ends_with("/Resource");
    resource
        && matches!(
            d.code,
            code::NOT_SUPPORTED | code::BAD_RESOURCE | code::UNKNOWN_MODULE
        )
}
