//! `stepwell assess`: which of a folder's definitions run here, and what the others lack.
//!
//! Refuses to guess: a definition is compiled as it would be when it is published, with every
//! module and flow that it names taken to be there.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use stepwell_flow::resource::{ResourceMap, Target};
use stepwell_flow::substitute::unfilled;
use stepwell_flow::{AnyModule, Diagnostic, Resolve, Severity, Unresolved, diagnostic::code};
use stepwell_types::Digest;
use stepwell_types::limits::DEFINITION_BYTES_MAX;

use crate::args;
use crate::exit::{Exit, Trouble};
use crate::{filling, folder, input, output};

/// Most reasons that the table shows for one file.
const REASONS_SHOWN: usize = 3;

/// 0 when all run, 1 otherwise.
pub fn assess(args: &args::Assess, as_json: bool) -> Result<Exit, Trouble> {
    let map = filling::resources(args.filling.resources.as_deref())?;
    let values = filling::values(&args.filling)?;
    let found = folder::definitions(&args.dir)?;
    let mut rows = Vec::new();
    for file in &found.files {
        let mut row = match input::text(file, DEFINITION_BYTES_MAX) {
            Err(trouble) => impossible(&trouble.message),
            Ok(text) if !stepwell_flow::is_definition(&text) => {
                Row::new(NO_FLOW, Vec::new(), Vec::new())
            }
            Ok(text) => {
                let asked = Asked::new(&map);
                let checked = filling::compile(&text, &values, &asked)?;
                let runs = checked.program.is_some();
                judge(&text, runs, checked.diagnostics, &asked)
            }
        };
        row.file = shown(&args.dir, file);
        rows.push(row);
    }
    for (dir, why) in &found.closed {
        let mut row = impossible(&format!("this folder is not looked into: {why}"));
        row.file = shown(&args.dir, dir);
        rows.push(row);
    }
    if as_json {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        output::print_json(&json!({ "definitions": rows }).to_string());
    } else {
        rows.iter().for_each(Row::print);
        summary(&rows);
    }
    let well = rows.iter().all(|r| matches!(r.verdict, RUNS | NO_FLOW));
    Ok(if well { Exit::Ok } else { Exit::Failed })
}

const RUNS: &str = "runs";
const NEEDS: &str = "needs binding";
const IMPOSSIBLE: &str = "impossible";
const NO_FLOW: &str = "no flow";

/// What is said of one file.
struct Row {
    file: String,
    verdict: &'static str,
    /// Modules and flows that must be there when it runs.
    uses: Vec<String>,
    /// Lines for the file of `--resources`, and options.
    needs: BTreeSet<String>,
    reasons: Vec<Value>,
}

impl Row {
    fn new(verdict: &'static str, uses: Vec<String>, reasons: Vec<Value>) -> Row {
        Row {
            file: String::new(),
            verdict,
            uses,
            needs: BTreeSet::new(),
            reasons,
        }
    }

    fn json(&self) -> Value {
        json!({"file": self.file, "verdict": self.verdict, "uses": self.uses,
            "needs": self.needs, "reasons": self.reasons})
    }

    fn print(&self) {
        let more = |line: String| output::print(&format!("{:17}{line}", ""));
        output::print(&format!("{:<14} {}", self.verdict, self.file));
        if !self.uses.is_empty() && self.verdict != IMPOSSIBLE {
            more(format!("uses {}", self.uses.join(", ")));
        }
        for line in &self.needs {
            more(line.clone());
        }
        if self.verdict == NEEDS {
            return;
        }
        for reason in self.reasons.iter().take(REASONS_SHOWN) {
            let cell = |name: &str| output::field(reason, name).unwrap_or_default();
            let place = match reason.get("line") {
                Some(line) => format!("{line}:{} {} ", cell("column"), cell("code")),
                None => String::new(),
            };
            more(format!("{place}{}", cell("message")));
        }
        if self.reasons.len() > REASONS_SHOWN {
            more(format!("and {} more", self.reasons.len() - REASONS_SHOWN));
        }
    }
}

fn impossible(message: &str) -> Row {
    Row::new(IMPOSSIBLE, Vec::new(), vec![json!({"message": message})])
}

fn shown(dir: &Path, path: &Path) -> String {
    path.strip_prefix(dir).unwrap_or(path).display().to_string()
}

fn summary(rows: &[Row]) {
    let count = |verdict: &str| rows.iter().filter(|r| r.verdict == verdict).count();
    if rows.is_empty() {
        output::remark("there is no .json, .yaml or .yml file");
    } else {
        output::remark(&format!(
            "{} run, {} need a binding or a substitution, {} are impossible, {} are no flows",
            count(RUNS),
            count(NEEDS),
            count(IMPOSSIBLE),
            count(NO_FLOW)
        ));
    }
}

fn judge(text: &str, runs: bool, found: Vec<Diagnostic>, asked: &Asked<'_>) -> Row {
    let uses = asked.uses.borrow().iter().cloned().collect();
    if runs {
        return Row::new(RUNS, uses, Vec::new());
    }
    let mut row = Row::new(NEEDS, uses, Vec::new());
    for d in found.iter().filter(|d| d.severity == Severity::Error) {
        match need(text, d) {
            Some(line) => {
                row.needs.insert(line);
            }
            None => row.verdict = IMPOSSIBLE,
        }
        row.reasons.push(json!(d));
    }
    if row.verdict == IMPOSSIBLE {
        // Those that a binding would mend are not why it is impossible.
        row.reasons.sort_by_key(|reason| {
            let pointer = reason.get("pointer").and_then(Value::as_str);
            pointer.is_some_and(names_resource)
        });
    }
    row
}

/// What to write so that this problem goes away, if a binding or a substitution does it.
fn need(text: &str, d: &Diagnostic) -> Option<String> {
    let value = stepwell_flow::text_at(text, &d.pointer)?;
    if let Some(name) = unfilled(&value) {
        return Some(format!("--set {name}=VALUE"));
    }
    let unbound = matches!(
        d.code,
        code::NOT_SUPPORTED | code::BAD_RESOURCE | code::UNKNOWN_MODULE
    );
    (unbound && names_resource(&d.pointer))
        .then(|| format!("{} = \"wasm:NAME\"", Value::String(value)))
}

/// Whether a field holds what a resource map binds: not where a Map reads and writes.
fn names_resource(pointer: &str) -> bool {
    let mut fields = pointer.rsplit('/');
    match (fields.next(), fields.next(), fields.next()) {
        // A state may be called so.
        (Some("Resource"), Some("ItemReader" | "ResultWriter"), around) => around == Some("States"),
        (Some(field), ..) => matches!(
            field,
            "Resource" | "FunctionName" | "Action" | "resourceArn"
        ),
        (None, ..) => false,
    }
}

/// Takes every module and flow to be there, and remembers which were asked for.
struct Asked<'m> {
    map: &'m ResourceMap,
    uses: RefCell<BTreeSet<String>>,
}

impl<'m> Asked<'m> {
    fn new(map: &'m ResourceMap) -> Asked<'m> {
        let uses = RefCell::default();
        Asked { map, uses }
    }
}

impl Resolve for Asked<'_> {
    fn module(
        &self,
        name: &str,
        version: Option<&str>,
        function: Option<&str>,
    ) -> Result<Digest, Unresolved> {
        self.uses.borrow_mut().insert(format!("wasm:{name}"));
        AnyModule.module(name, version, function)
    }

    fn flow(&self, name: &str, version: Option<u32>) -> Result<(), Unresolved> {
        self.uses.borrow_mut().insert(format!("flow {name}"));
        AnyModule.flow(name, version)
    }

    fn binding(&self, resource: &str) -> Option<Target> {
        self.map.get(resource).cloned()
    }
}
