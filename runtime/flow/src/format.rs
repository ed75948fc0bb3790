//! A definition in the form that all definitions have: the same program, other blanks.
//!
//! Refuses, with the place, what it cannot lay out without a loss: each result is read
//! again and compared with what it came from.

mod json;
mod order;
mod outline;
mod yaml;

use order::Language;
use stepwell_types::limits;

use crate::diagnostic::{Diagnostic, Report, code};
use crate::document::{self, At, Node, Position, Tree};

/// Lays a definition out anew: JSON or YAML, in any language that [`crate::compile`] reads.
///
/// It need not compile, but be readable. The result ends with a line break, uses `\n`, and is
/// its own form: formatting it again changes nothing. Same values, same comments, numbers and
/// strings as they are spelled; fields of states in the order that `docs/guides/format.md`
/// says, those of data untouched. Takes time linear in the text.
///
/// # Errors
/// Every problem, if the text cannot be read (or is longer than
/// [`limits::DEFINITION_BYTES_MAX`]); `FLOW0041` where it cannot be laid out.
pub fn format(text: &str) -> Result<String, Vec<Diagnostic>> {
    let root = read(text)?;
    if !matches!(root.tree, Tree::Object(_)) {
        return Err(refused_because(
            &root,
            root.at,
            "a definition is an object",
            "this file holds no flow; give `fmt` the files that do",
        ));
    }
    let language = Language::of(&root);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if document::is_json(text) {
        let result = json::format(text, language);
        return verified(&root, result, Some);
    }
    let text = text.replace("\r\n", "\n");
    if let Some(line) = text.split('\n').position(|line| line.contains('\r')) {
        let at = Position {
            line: u32::try_from(line).unwrap_or(u32::MAX).saturating_add(1),
            column: 1,
        };
        return Err(refused(&root, at, "a carriage return stands within a line"));
    }
    let Some(outline) = outline::read(&text) else {
        return Err(refused(&root, Position::START, "the text ends early"));
    };
    let result =
        yaml::format(&text, &outline, language).map_err(|(at, what)| refused(&root, at, what))?;
    let mut before = comments(&text, &outline.scalars);
    before.sort_unstable();
    verified(&root, result, |result| {
        let outline = outline::read(&result)?;
        let mut after = comments(&result, &outline.scalars);
        after.sort_unstable();
        let kept = before == after;
        drop(after);
        kept.then_some(result)
    })
}

/// Whether a readable text has the fields of a flow, in any of the languages: what else lies
/// beside flows in a folder has not. A text that cannot be read may be one.
#[must_use]
pub fn is_definition(text: &str) -> bool {
    let root = match read(text) {
        Ok(root) => root,
        // Tags are no flow's, but a template's; its fields tell whether it is meant as one.
        Err(found) if found.iter().all(|d| d.code == code::YAML) => {
            let names = ["States:", "StartAt:", "SpecVersion:", "steps:"];
            return text
                .lines()
                .any(|line| names.iter().any(|name| line.starts_with(name)));
        }
        Err(_) => return true,
    };
    let at = At::root(&root);
    at.get("States").is_some() || at.get("StartAt").is_some() || crate::steps::is(&root)
}

/// The tree, or all that is wrong with the text.
fn read(text: &str) -> Result<Node, Vec<Diagnostic>> {
    let mut report = Report::default();
    let root = document::parse(text, &mut report);
    match (root, report.finish()) {
        (Some(root), (false, _)) => Ok(root),
        (_, (_, diagnostics)) => Err(diagnostics),
    }
}

/// The result, if it means what the definition meant and `check` lets it pass.
fn verified(
    root: &Node,
    result: String,
    check: impl FnOnce(String) -> Option<String>,
) -> Result<String, Vec<Diagnostic>> {
    if result.len() > limits::DEFINITION_BYTES_MAX {
        return Err(refused(
            root,
            Position::START,
            "laid out, it would be longer than a definition may be",
        ));
    }
    let Ok(again) = read(&result) else {
        return Err(refused(root, root.at, "laid out, it would not be readable"));
    };
    if let Some(at) = order::difference(root, &again) {
        return Err(refused(
            root,
            at,
            "laid out, this would mean something else",
        ));
    }
    check(result).ok_or_else(|| refused(root, root.at, "laid out, it would lose a comment"))
}

fn refused(root: &Node, at: Position, what: &str) -> Vec<Diagnostic> {
    refused_because(
        root,
        at,
        what,
        "write this place in a plainer way, or leave the file as it is",
    )
}

fn refused_because(root: &Node, at: Position, what: &str, hint: &str) -> Vec<Diagnostic> {
    let mut report = Report::default();
    report.error_at(
        at,
        around(&At::root(root), at),
        code::NOT_FORMATTED,
        format!("this is not formatted: {what}"),
        Some(hint.to_owned()),
    );
    report.finish().1
}

/// Where in the definition a place of its text is: in the innermost value that begins before it.
fn around(here: &At<'_, '_>, at: Position) -> String {
    let before = |begin: Position| (begin.line, begin.column) <= (at.line, at.column);
    let mut members = here.members().iter().rev();
    if let Some(member) = members.find(|member| before(member.at)) {
        return around(&here.member(member), at);
    }
    let mut elements = here.elements().iter().enumerate().rev();
    match elements.find(|(_, element)| before(element.at)) {
        Some((i, element)) => around(&here.element(i, element), at),
        None => here.pointer.to_string(),
    }
}

/// The comments of a YAML text: each `#` that begins a line or follows a blank, outside of
/// the scalars.
fn comments<'t>(text: &'t str, scalars: &[(usize, usize)]) -> Vec<&'t str> {
    let mut found = Vec::new();
    let mut scalars = scalars.iter().peekable();
    let mut before = '\n';
    let mut comment: Option<usize> = None;
    for (index, (byte, c)) in text.char_indices().enumerate() {
        if let Some(begin) = comment {
            if c == '\n' {
                found.extend(text.get(begin..byte).map(str::trim_end));
                comment = None;
            }
        } else {
            while scalars.next_if(|(_, end)| *end <= index).is_some() {}
            let inside = scalars.peek().is_some_and(|(begin, _)| *begin <= index);
            if c == '#' && before.is_whitespace() && !inside {
                comment = Some(byte);
            }
        }
        before = c;
    }
    found.extend(
        comment
            .and_then(|begin| text.get(begin..))
            .map(str::trim_end),
    );
    found
}
