//! Problems found in a definition: where, what, and what to do.
//!
//! Refuses to decide: it only collects, counts and sorts.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::document::{At, Position, Tree};

/// Most diagnostics of one definition; a last one says that there were more.
pub const DIAGNOSTICS_MAX: usize = 200;

/// One problem in a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// `FLOW` and four digits; `docs/errors/<code>.md` explains it.
    pub code: &'static str,
    /// Whether it forbids the program.
    pub severity: Severity,
    /// JSON pointer (RFC 6901) of the place; empty for the whole document.
    pub pointer: String,
    /// Line in the text as given, from 1.
    pub line: u32,
    /// Column in that line, in characters, from 1.
    pub column: u32,
    /// What is wrong, one sentence.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How bad a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// No program is made.
    Error,
    /// Worth a look; the program is made.
    Warning,
    /// Worth knowing; the program is made.
    Note,
}

/// `FLOW0011 error at 4:12 (/StartAt): message; hint`, on one line.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        write!(
            f,
            "{} {severity} at {}:{} ({}): {}",
            self.code,
            self.line,
            self.column,
            if self.pointer.is_empty() {
                "/"
            } else {
                &self.pointer
            },
            self.message
        )?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// The codes, each explained by `docs/errors/<code>.md`. Never reused.
pub mod code {
    /// The text is neither JSON nor YAML.
    pub const SYNTAX: &str = "FLOW0001";
    /// The text is longer than allowed.
    pub const TOO_LARGE: &str = "FLOW0002";
    /// Nested too deeply, or aliases that expand to too much.
    pub const TOO_DEEP: &str = "FLOW0003";
    /// A field occurs twice in one object.
    pub const DUPLICATE_FIELD: &str = "FLOW0004";
    /// A part of YAML that has no meaning in JSON.
    pub const YAML: &str = "FLOW0005";
    /// A value of the wrong JSON type.
    pub const WRONG_TYPE: &str = "FLOW0006";
    /// A field that means nothing there.
    pub const UNKNOWN_FIELD: &str = "FLOW0007";
    /// A required field is missing.
    pub const MISSING_FIELD: &str = "FLOW0008";
    /// Fields that exclude each other.
    pub const EXCLUSIVE_FIELDS: &str = "FLOW0009";
    /// A `Type` that does not exist.
    pub const UNKNOWN_TYPE: &str = "FLOW0010";
    /// A reference to a state that is not in the same graph.
    pub const UNKNOWN_STATE: &str = "FLOW0011";
    /// A state that nothing leads to (warning).
    pub const UNREACHABLE: &str = "FLOW0012";
    /// A graph that cannot end.
    pub const NO_TERMINAL: &str = "FLOW0013";
    /// A state name used twice in the flow.
    pub const DUPLICATE_STATE: &str = "FLOW0014";
    /// Not exactly one of `Next` and `End`.
    pub const NEXT_OR_END: &str = "FLOW0015";
    /// A path that cannot be read.
    pub const BAD_PATH: &str = "FLOW0016";
    /// A path that may select several places where one is needed.
    pub const NOT_REFERENCE_PATH: &str = "FLOW0017";
    /// An intrinsic function that cannot be read.
    pub const BAD_INTRINSIC: &str = "FLOW0018";
    /// Not an RFC 3339 timestamp.
    pub const BAD_TIMESTAMP: &str = "FLOW0019";
    /// A value outside of what is allowed.
    pub const BAD_VALUE: &str = "FLOW0020";
    /// `States.ALL` not alone or not last, and the like.
    pub const BAD_ERROR_EQUALS: &str = "FLOW0021";
    /// A Choice rule without, or with several, conditions.
    pub const BAD_RULE: &str = "FLOW0022";
    /// An empty list or object where at least one entry is needed.
    pub const EMPTY: &str = "FLOW0023";
    /// A `Resource` of no known form.
    pub const BAD_RESOURCE: &str = "FLOW0024";
    /// A module that is not there.
    pub const UNKNOWN_MODULE: &str = "FLOW0025";
    /// Part of the language that this release does not run yet.
    pub const NOT_SUPPORTED: &str = "FLOW0026";
    /// More states than allowed.
    pub const TOO_MANY_STATES: &str = "FLOW0027";
    /// A state name that is empty or too long.
    pub const BAD_NAME: &str = "FLOW0028";
    /// A field that has no effect here (warning).
    pub const IGNORED_FIELD: &str = "FLOW0029";
    /// A template field `….$` that is not a path.
    pub const BAD_TEMPLATE: &str = "FLOW0030";
    /// What an express execution cannot do.
    pub const NOT_IN_EXPRESS: &str = "FLOW0036";
    /// More problems than are shown.
    pub const MORE: &str = "FLOW0031";
    /// A JSONata expression that cannot be read.
    pub const BAD_JSONATA: &str = "FLOW0032";
    /// A variable that cannot be assigned: its name, or its scope.
    pub const BAD_VARIABLE: &str = "FLOW0033";
    /// A field, or a language, that does not go with the state's query language.
    pub const WRONG_LANGUAGE: &str = "FLOW0034";
    /// A Task starts a flow that is not there.
    pub const UNKNOWN_FLOW: &str = "FLOW0035";
    /// `$states.result` or `$states.errorOutput` where the state has none.
    pub const NOT_HERE: &str = "FLOW0037";
    /// A text that cannot be laid out without a loss.
    pub const NOT_FORMATTED: &str = "FLOW0041";
    /// A variable that nothing has set where it is read (warning).
    pub const UNSET: &str = "FLOW0042";
    /// A variable that is not set on some ways to where it is read (warning).
    pub const MAYBE_UNSET: &str = "FLOW0043";
    /// A state from which no end can be reached (warning).
    pub const NO_WAY_OUT: &str = "FLOW0044";
    /// A name that the engine does not give there: of a function, or below `$states`, `$$` or
    /// `$Context` (warning).
    pub const UNKNOWN_NAME: &str = "FLOW0045";
    /// A constant that reads like an expression (warning).
    pub const NO_EXPRESSION: &str = "FLOW0046";
    /// A secret, or another thing outside, that the flow names and cannot have (warning).
    pub const OUT_OF_REACH: &str = "FLOW0070";
    /// A CloudFlow expression that cannot be read.
    pub const BAD_EXPRESSION: &str = "FLOW0101";
    /// Something that behaves differently here than in CloudFlow (warning).
    pub const DIFFERS: &str = "FLOW0102";
    /// Something that the public documents of CloudFlow leave open (note).
    pub const ASSUMED: &str = "FLOW0103";
    /// Within Stepwell's limits, but beyond those of CloudFlow (note).
    pub const BEYOND_CLOUDFLOW: &str = "FLOW0104";
}

/// A place where a variable is read.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) name: Box<str>,
    /// Where the string begins.
    position: Position,
    pointer: String,
}

/// Collects diagnostics.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The definition's text, without a byte order mark: for places inside of strings.
    pub(crate) source: Box<str>,
    /// Variables read since somebody took the list; judged when the graph is known.
    pub(crate) reads: Vec<Read>,
    /// What is compiled belongs to a distributed Map whose children are express ones.
    pub(crate) express_children: bool,
    /// What the state that is compiled has.
    pub(crate) here: crate::given::Here,
    /// How whoever compiles is told to give what a definition lacks.
    pub(crate) advice: crate::resource::Advice,
    /// It is written in one of CloudFlow's languages.
    pub(crate) cloudflow: bool,
    /// The regular expressions of the definition.
    pub(crate) patterns: crate::path::Patterns,
    diagnostics: Vec<Diagnostic>,
    failed: bool,
    cut: bool,
}

impl Report {
    /// An empty one, for authors who do what a definition lacks in this way.
    pub(crate) fn new(advice: crate::resource::Advice) -> Report {
        Report {
            advice,
            ..Report::default()
        }
    }

    pub(crate) fn error(&mut self, at: &At<'_, '_>, code: &'static str, message: String) {
        self.add(Severity::Error, at, code, message, None);
    }

    pub(crate) fn error_hint(
        &mut self,
        at: &At<'_, '_>,
        code: &'static str,
        message: String,
        hint: Option<String>,
    ) {
        self.add(Severity::Error, at, code, message, hint);
    }

    pub(crate) fn warning(
        &mut self,
        at: &At<'_, '_>,
        code: &'static str,
        message: String,
        hint: Option<String>,
    ) {
        self.add(Severity::Warning, at, code, message, hint);
    }

    /// As [`Self::error_hint`], at a character within the string at `at`.
    pub(crate) fn error_inside(
        &mut self,
        at: &At<'_, '_>,
        offset: Option<usize>,
        code: &'static str,
        message: String,
        hint: Option<String>,
    ) {
        let position = self.inside(at, offset);
        self.add_at(Severity::Error, position, at, code, message, hint);
    }

    /// As [`Self::warning`], at a character within the string at `at`.
    pub(crate) fn warning_inside(
        &mut self,
        at: &At<'_, '_>,
        offset: Option<usize>,
        code: &'static str,
        message: String,
        hint: Option<String>,
    ) {
        let position = self.inside(at, offset);
        self.add_at(Severity::Warning, position, at, code, message, hint);
    }

    /// The place of a character within the string at `at`, as far as it can be told.
    fn inside(&self, at: &At<'_, '_>, offset: Option<usize>) -> Position {
        let text = match &at.node.tree {
            Tree::Text(text) if self.diagnostics.len() < DIAGNOSTICS_MAX => text,
            _ => return at.position(),
        };
        offset
            .and_then(|offset| crate::document::inside(&self.source, at.node.at, text, offset))
            .unwrap_or_else(|| at.position())
    }

    /// Notes that the string at `at` reads a variable, written `$name` in it.
    pub(crate) fn read(&mut self, at: &At<'_, '_>, name: &str) {
        self.reads.push(Read {
            name: name.into(),
            position: at.position(),
            pointer: at.pointer.to_string(),
        });
    }

    /// A warning where a variable is read.
    pub(crate) fn warning_of(
        &mut self,
        read: &Read,
        code: &'static str,
        message: String,
        hint: Option<String>,
    ) {
        if self.diagnostics.len() >= DIAGNOSTICS_MAX {
            self.cut = true;
            return;
        }
        let pointer = read.pointer.clone();
        let position = crate::document::variable(&self.source, read.position, &read.name)
            .unwrap_or(read.position);
        self.push(Severity::Warning, position, pointer, code, message, hint);
    }

    pub(crate) fn note(&mut self, at: &At<'_, '_>, code: &'static str, message: String) {
        self.add(Severity::Note, at, code, message, None);
    }

    /// Whether a string stands in quotes in the text.
    pub(crate) fn is_quoted(&self, at: &At<'_, '_>) -> bool {
        crate::document::character(&self.source, at.node.at)
            .is_some_and(|c| matches!(c, '"' | '\''))
    }

    /// Whether to spend time on hints: not once nobody will see them.
    pub(crate) fn wants_hints(&self) -> bool {
        self.diagnostics.len() < 50
    }

    fn add(
        &mut self,
        severity: Severity,
        at: &At<'_, '_>,
        code: &'static str,
        message: String,
        hint: Option<String>,
    ) {
        self.add_at(severity, at.position(), at, code, message, hint);
    }

    fn add_at(
        &mut self,
        severity: Severity,
        position: Position,
        at: &At<'_, '_>,
        code: &'static str,
        message: String,
        hint: Option<String>,
    ) {
        self.failed |= severity == Severity::Error;
        if self.diagnostics.len() >= DIAGNOSTICS_MAX {
            self.cut = true;
            return;
        }
        self.push(
            severity,
            position,
            at.pointer.to_string(),
            code,
            message,
            hint,
        );
    }

    /// For problems found before there is a tree.
    pub(crate) fn error_at(
        &mut self,
        position: Position,
        pointer: String,
        code: &'static str,
        message: String,
        hint: Option<String>,
    ) {
        self.failed = true;
        self.push(Severity::Error, position, pointer, code, message, hint);
    }

    fn push(
        &mut self,
        severity: Severity,
        position: Position,
        pointer: String,
        code: &'static str,
        message: String,
        hint: Option<String>,
    ) {
        self.diagnostics.push(Diagnostic {
            code,
            severity,
            pointer,
            line: position.line,
            column: position.column,
            message,
            hint,
        });
    }

    /// Whether an error was among them, and all in the order of the text.
    pub(crate) fn finish(mut self) -> (bool, Vec<Diagnostic>) {
        self.diagnostics.sort_by_key(|d| (d.line, d.column));
        if self.cut {
            let last = self
                .diagnostics
                .last()
                .map_or(Position::START, |d| Position {
                    line: d.line,
                    column: d.column,
                });
            self.push(
                if self.failed {
                    Severity::Error
                } else {
                    Severity::Warning
                },
                last,
                String::new(),
                code::MORE,
                format!("more than {DIAGNOSTICS_MAX} problems; the rest is not shown"),
                None,
            );
        }
        (self.failed, self.diagnostics)
    }
}
