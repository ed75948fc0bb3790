//! `stepwell assess`: which of a folder's definitions run here, and what the others lack.
//!
//! Refuses to guess: a definition is compiled as it would be when it is published, with every
//! module and flow that it names taken to be there.

mod holes;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use stepwell_flow::resource::{ResourceMap, Target};
use stepwell_flow::substitute::{substitute, unfilled};
use stepwell_flow::{AnyModule, Diagnostic, Resolve, Severity, Unresolved, diagnostic::code};
use stepwell_types::Digest;
use stepwell_types::limits::DEFINITION_BYTES_MAX;

use crate::args;
use crate::exit::{Exit, Trouble};
use crate::{filling, folder, input, output};
use holes::Filled;

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
            Ok(text) if !stepwell_flow::is_definition(&text) => Row::new(NO_FLOW, Vec::new()),
            Ok(text) => {
                let asked = Asked::new(&map);
                let filled = substitute(&text, &values).map_err(Trouble::usage)?;
                let compiled = holes::compiled(&filled.text, &asked);
                let mut row = judge(&compiled, &asked);
                filled.restore(&mut row.reasons);
                row
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
    /// Those that nothing mends come first.
    reasons: Vec<Diagnostic>,
    /// Why the file could not be looked at.
    closed: Option<String>,
}

impl Row {
    fn new(verdict: &'static str, uses: Vec<String>) -> Row {
        Row {
            file: String::new(),
            verdict,
            uses,
            needs: BTreeSet::new(),
            reasons: Vec::new(),
            closed: None,
        }
    }

    fn json(&self) -> Value {
        let closed = self.closed.iter().map(|why| json!({"message": why}));
        let reasons = self.reasons.iter().map(|reason| json!(reason));
        let reasons: Vec<Value> = closed.chain(reasons).collect();
        json!({"file": self.file, "verdict": self.verdict, "uses": self.uses,
            "needs": self.needs, "reasons": reasons})
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
        if let Some(why) = &self.closed {
            more(why.clone());
        }
        for d in self.reasons.iter().take(REASONS_SHOWN) {
            more(format!("{}:{} {} {}", d.line, d.column, d.code, d.message));
        }
        if self.reasons.len() > REASONS_SHOWN {
            more(format!("and {} more", self.reasons.len() - REASONS_SHOWN));
        }
    }
}

fn impossible(message: &str) -> Row {
    Row {
        closed: Some(message.to_owned()),
        ..Row::new(IMPOSSIBLE, Vec::new())
    }
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

fn judge(compiled: &Filled, asked: &Asked<'_>) -> Row {
    let uses = asked.uses.borrow().iter().cloned().collect();
    let checked = &compiled.checked;
    if checked.program.is_some() && compiled.holes.is_empty() {
        return Row::new(RUNS, uses);
    }
    let mut row = Row::new(NEEDS, uses);
    let set = |hole: &holes::Hole| format!("--set {}=VALUE", hole.name);
    row.needs.extend(compiled.holes.iter().map(set));
    let errors = checked.diagnostics.iter();
    let mut mended = Vec::new();
    for d in errors.filter(|d| d.severity == Severity::Error) {
        match need(compiled, d) {
            Some(line) => {
                row.needs.insert(line);
                mended.push(d.clone());
            }
            None => {
                row.verdict = IMPOSSIBLE;
                row.reasons.push(d.clone());
            }
        }
    }
    row.reasons.append(&mut mended);
    row
}

/// What to write so that this problem goes away, if a binding or a substitution does it.
fn need(compiled: &Filled, d: &Diagnostic) -> Option<String> {
    if let Some(hole) = compiled.hole(d) {
        return Some(format!("--set {}=VALUE", hole.name));
    }
    let value = stepwell_flow::text_at(&compiled.text, &d.pointer)?;
    if let Some(name) = unfilled(&value) {
        // In quotes any value is a text, and no number.
        let never = d.code == code::WRONG_TYPE && compiled.is_quoted(d);
        return (!never).then(|| format!("--set {name}=VALUE"));
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
