//! What a report says once, however often it applies.

use std::collections::HashSet;

use crate::diagnostic::{Report, code};
use crate::document::At;

/// The subjects that were mentioned.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    said: HashSet<&'static str>,
}

impl Notes {
    /// Notes, at the first place that it concerns, what CloudFlow's documents leave open.
    pub(crate) fn once(
        &mut self,
        subject: &'static str,
        report: &mut Report,
        at: &At<'_, '_>,
        what: &str,
    ) {
        if self.said.insert(subject) {
            report.note(at, code::ASSUMED, what.to_owned());
        }
    }
}
