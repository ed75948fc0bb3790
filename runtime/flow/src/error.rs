//! What can go wrong for a caller that wants a program or nothing.

use crate::diagnostic::{Diagnostic, Severity};

/// The crate's failure. A problem in a definition is data ([`Diagnostic`]);
/// this is for callers to whom it is the end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The definition has errors.
    #[error("{}", first(diagnostics))]
    Invalid {
        /// All of them, warnings too.
        diagnostics: Vec<Diagnostic>,
    },
}

impl Error {
    /// The stable code of the first error; `docs/errors/<code>.md` explains it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        let Error::Invalid { diagnostics } = self;
        worst(diagnostics).map_or("FLOW0001", |d| d.code)
    }

    /// Whether the same text may compile later: no, it has to be changed.
    #[must_use]
    pub fn retry(&self) -> bool {
        false
    }
}

fn worst(diagnostics: &[Diagnostic]) -> Option<&Diagnostic> {
    diagnostics.iter().find(|d| d.severity == Severity::Error)
}

fn first(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics
        .iter()
        .filter(|d| d.severity == Severity::Error)
        .count();
    match worst(diagnostics) {
        Some(d) if errors > 1 => format!("{d} (and {} more)", errors - 1),
        Some(d) => d.to_string(),
        None => "the definition is not valid".to_owned(),
    }
}
