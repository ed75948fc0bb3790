//! Text in, checked [`Program`] and diagnostics out.
//!
//! Refuses to run anything, and to read a clock, a file or a network.

mod asl;
mod call;
mod check;
mod cloudflow;
pub mod diagnostic;
mod document;
pub mod error;
pub mod expression;
pub mod fdl;
mod format;
mod given;
pub mod graph;
mod intrinsic;
mod jsonata;
mod path;
pub mod program;
pub mod query;
pub mod reach;
pub mod resource;
mod scope;
pub mod signal;
mod slip;
mod stand_in;
mod steps;
pub mod substitute;
pub mod suggest;
mod template;
pub mod timestamp;

pub use diagnostic::{Diagnostic, Severity};
pub use error::Error;
pub use format::{format, is_definition};
pub use program::Program;
pub use resource::{AnyModule, Resolve, Unresolved};
pub use substitute::compile_filled;

/// What became of a definition.
#[derive(Debug)]
pub struct Checked {
    /// Present if and only if no diagnostic is an error.
    pub program: Option<Program>,
    /// Every problem found, in the order of the text, at most
    /// [`diagnostic::DIAGNOSTICS_MAX`] and one that says that there were more.
    pub diagnostics: Vec<Diagnostic>,
}

impl Checked {
    /// The program, or the problems that forbid it.
    /// # Errors
    /// The code of the first error among the diagnostics.
    pub fn into_program(self) -> Result<Program, Error> {
        match self.program {
            Some(program) => Ok(program),
            None => Err(Error::Invalid {
                diagnostics: self.diagnostics,
            }),
        }
    }
}

/// Checks and compiles a flow definition: Amazon States Language, or CloudFlow's
/// `Type: StateMachine` or `type: flow`, recognised by its fields.
///
/// `text` is JSON if its first character is `{` or `[`, otherwise YAML; at most
/// [`stepwell_types::limits::DEFINITION_BYTES_MAX`] bytes. `resolve` says what
/// the module names in it mean now. Takes time linear in the text.
/// Not found: endless loops, and whatever depends on the data.
/// Source: states-language.net.
#[must_use]
pub fn compile(text: &str, resolve: &dyn Resolve) -> Checked {
    let mut report = diagnostic::Report::new(resolve.advice());
    let program = document::parse(text, &mut report)
        .and_then(|root| front_end(&root)(&root, resolve, &mut report));
    let (failed, diagnostics) = report.finish();
    Checked {
        program: if failed { None } else { program },
        diagnostics,
    }
}

/// The string at a JSON pointer of a definition, as a [`Diagnostic`] names its place.
#[must_use]
pub fn text_at(definition: &str, pointer: &str) -> Option<String> {
    let root = document::parse(definition, &mut diagnostic::Report::default())?;
    let value = root.value();
    value.pointer(pointer)?.as_str().map(str::to_owned)
}

type FrontEnd = fn(&document::Node, &dyn Resolve, &mut diagnostic::Report) -> Option<Program>;

/// Which language a document is written in.
fn front_end(root: &document::Node) -> FrontEnd {
    if steps::is(root) {
        steps::compile
    } else if cloudflow::is(root) {
        cloudflow::compile
    } else {
        asl::compile
    }
}
