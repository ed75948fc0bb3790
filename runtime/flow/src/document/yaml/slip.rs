//! The commonest slips of YAML, which its parser tells in other words, and often elsewhere.
//!
//! Refuses to guess far: only the lines at the fault are looked at.

use super::Position;

/// Lines above the fault that may hold its cause.
const LINES_ABOVE: usize = 5;

const TAB: &str = "YAML indents with spaces; tabs are not allowed there";
const BLANK: &str = "a blank that is no space stands in the indentation, as text from a web page has it; indent with spaces";
const COLON: &str = "a blank comes after the colon of a field: Type: Pass";
const MAPPING: &str = "put a text that holds \": \" in quotes";
const EXPRESSION: &str = "put an expression in quotes: \"{% $states.input %}\"";
const QUOTES: &str = "put a text that begins with this character in quotes";

/// What may be meant where the parser stopped at `at`, and where that stands.
pub(super) fn of(text: &str, at: Position, info: &str) -> Option<(Position, &'static str)> {
    let lines: Vec<&str> = text.lines().collect();
    let number = (at.line as usize).saturating_sub(1);
    let next = (number + 1..lines.len()).find(|i| lines.get(*i).is_some_and(|l| !is_empty(l)));
    if let Some(found) = [Some(number), next]
        .into_iter()
        .flatten()
        .find_map(|i| indented(&lines, i, |c| c == '\t'))
    {
        return Some((found, TAB));
    }
    let above = number.saturating_sub(LINES_ABOVE);
    let strange = |c: char| (c.is_whitespace() && !matches!(c, ' ' | '\t')) || c == '\u{200b}';
    if let Some(found) = (above..=number)
        .rev()
        .find_map(|i| indented(&lines, i, strange))
    {
        return Some((found, BLANK));
    }
    let line = lines.get(number)?;
    let column = (at.column as usize).saturating_sub(1);
    let rest: String = line.chars().skip(column).collect();
    if info.contains("mapping values") {
        let before = (0..number)
            .rev()
            .find(|i| lines.get(*i).is_some_and(|l| !is_empty(l)));
        return before
            .and_then(|i| glued(&lines, i))
            .map(|found| (found, COLON))
            .or(Some((at, MAPPING)));
    }
    let within = line.chars().take(column).collect::<String>();
    if rest.starts_with('%') && within.ends_with('{') {
        return Some((at, EXPRESSION));
    }
    rest.starts_with(['@', '`', '%', '*'])
        .then_some((at, QUOTES))
}

fn is_empty(line: &str) -> bool {
    line.trim().is_empty()
}

/// The first such character in the indentation of a line.
fn indented(lines: &[&str], number: usize, is: impl Fn(char) -> bool) -> Option<Position> {
    let line = lines.get(number)?;
    let blank = |c: &char| c.is_whitespace() || *c == '\u{200b}';
    let column = line.chars().take_while(blank).position(is)?;
    (!is_empty(line)).then(|| place(number, column))
}

/// Where the value begins of a field whose colon has no blank after it.
fn glued(lines: &[&str], number: usize) -> Option<Position> {
    let line = lines.get(number)?;
    let field = line.trim_start().trim_start_matches("- ");
    let (name, value) = field.split_once(':')?;
    let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
    let glued = !name.is_empty()
        && name.chars().all(word)
        && value.starts_with(|c: char| !c.is_whitespace() && c != '/')
        && !value.contains(": ");
    let before = line.chars().count() - value.chars().count();
    glued.then(|| place(number, before))
}

fn place(number: usize, column: usize) -> Position {
    let from_one = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1);
    Position {
        line: from_one(number),
        column: from_one(column),
    }
}
