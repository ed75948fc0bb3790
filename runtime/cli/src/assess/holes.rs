//! `${NAME}` outside of quotes, which no reader takes: a number in its place shows what else
//! the definition lacks.
//!
//! Refuses to fill a place where a field's name or the end of a value must stand.

use stepwell_flow::substitute::unfilled_at;
use stepwell_flow::{Checked, Diagnostic, Resolve, compile, diagnostic::code};

/// Most of them in one definition: for each it is read again.
const HOLES_MAX: usize = 100;

/// A placeholder for which a number stands.
pub(super) struct Hole {
    line: u32,
    column: u32,
    pub(super) name: String,
}

/// A definition that was compiled with its holes filled; places are those in `text`.
pub(super) struct Filled {
    pub(super) text: String,
    pub(super) holes: Vec<Hole>,
    pub(super) checked: Checked,
}

impl Filled {
    /// The placeholder in whose stead stands what a problem is about.
    pub(super) fn hole(&self, d: &Diagnostic) -> Option<&Hole> {
        let at = (d.line, d.column);
        self.holes
            .iter()
            .find(|hole| (hole.line, hole.column) == at)
    }

    /// Whether it is about a string in quotes.
    pub(super) fn is_quoted(&self, d: &Diagnostic) -> bool {
        let line = self.text.lines().nth((d.line as usize).saturating_sub(1));
        let column = (d.column as usize).saturating_sub(1);
        let first = line.and_then(|line| line.chars().nth(column));
        first.is_some_and(|c| matches!(c, '"' | '\''))
    }
}

/// Compiles a text in which every value is filled in that was given.
pub(super) fn compiled(text: &str, resolve: &dyn Resolve) -> Filled {
    let mut filled = Filled {
        text: text.to_owned(),
        holes: Vec::new(),
        checked: compile(text, resolve),
    };
    while let Some(fault) = unreadable(&filled.checked) {
        let hole = unfilled_at(&filled.text, fault.line, fault.column);
        let hole = hole.filter(|_| filled.holes.len() < HOLES_MAX);
        let Some((name, column)) = hole else {
            // What is wrong is told of the text as it is.
            return Filled {
                text: text.to_owned(),
                holes: Vec::new(),
                checked: compile(text, resolve),
            };
        };
        let hole = Hole {
            line: fault.line,
            column,
            name: name.to_owned(),
        };
        filled.text = stood_in(&filled.text, &hole);
        filled.checked = compile(&filled.text, resolve);
        filled.holes.push(hole);
    }
    filled
}

/// Why a text could not be read at all.
fn unreadable(checked: &Checked) -> Option<&Diagnostic> {
    checked.diagnostics.iter().find(|d| d.code == code::SYNTAX)
}

/// The text with a number in a hole's place, and blanks, so that all other places stay.
fn stood_in(text: &str, hole: &Hole) -> String {
    let placeholder = format!("${{{}}}", hole.name);
    let lines = (hole.line as usize).saturating_sub(1);
    let before: usize = text.split_inclusive('\n').take(lines).map(str::len).sum();
    let line = text.get(before..).unwrap_or_default();
    let column = (hole.column as usize).saturating_sub(1);
    let within = line
        .char_indices()
        .nth(column)
        .map_or(line.len(), |(at, _)| at);
    let (head, rest) = text.split_at(before + within);
    let rest = rest.strip_prefix(&placeholder).unwrap_or(rest);
    format!("{head}{:<width$}{rest}", 1, width = placeholder.len())
}
