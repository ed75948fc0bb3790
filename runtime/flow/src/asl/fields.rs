//! Which fields an object may have, must have, and may not have together.
//!
//! Refuses to read their values.

use super::Compiler;
use crate::diagnostic::code;
use crate::document::{At, Tree};
use crate::suggest;

/// Fields of the language that this release does not run yet, and what they belong to.
const NOT_YET: &[(&str, &str)] = &[
    ("Assign", "variables (Assign)"),
    ("Arguments", "JSONata (Arguments)"),
    ("Output", "JSONata (Output)"),
    ("Items", "JSONata (Items)"),
    ("Condition", "JSONata (Condition)"),
    ("ItemReader", "distributed Map (ItemReader)"),
    ("ItemBatcher", "distributed Map (ItemBatcher)"),
    ("ResultWriter", "distributed Map (ResultWriter)"),
    (
        "ToleratedFailureCount",
        "distributed Map (ToleratedFailureCount)",
    ),
    (
        "ToleratedFailureCountPath",
        "distributed Map (ToleratedFailureCountPath)",
    ),
    (
        "ToleratedFailurePercentage",
        "distributed Map (ToleratedFailurePercentage)",
    ),
    (
        "ToleratedFailurePercentagePath",
        "distributed Map (ToleratedFailurePercentagePath)",
    ),
];

impl<'t> Compiler<'t, '_> {
    /// Reports every field that is not in one of `known`. `owner` is for the
    /// message: `a Task state`.
    pub(super) fn known_fields(&mut self, at: &At<'_, 't>, owner: &str, known: &[&[&str]]) {
        for member in at.members() {
            let name = &*member.name;
            if known.iter().any(|list| list.contains(&name)) {
                continue;
            }
            let place = at.member_name(member);
            if let Some((_, feature)) = NOT_YET.iter().find(|n| n.0 == name) {
                self.not_supported(&place, feature);
                continue;
            }
            let candidates = known.iter().flat_map(|list| list.iter().copied());
            let hint = if self.report.wants_hints() {
                suggest::hint(name, candidates)
            } else {
                None
            };
            self.report.error_hint(
                &place,
                code::UNKNOWN_FIELD,
                format!("{owner} has no field {:?}", crate::path::clip(name)),
                hint,
            );
        }
        if let Some(comment) = at.get("Comment") {
            self.text(&comment);
        }
    }

    pub(super) fn not_supported(&mut self, at: &At<'_, '_>, feature: &str) {
        self.report.error_hint(
            at,
            code::NOT_SUPPORTED,
            format!("{feature} is not supported yet"),
            None,
        );
    }

    /// The field of this name; its absence is reported.
    pub(super) fn required<'c>(
        &mut self,
        at: &'c At<'_, 't>,
        owner: &str,
        name: &str,
    ) -> Option<At<'c, 't>> {
        let found = at.get(name);
        if found.is_none() {
            self.report.error(
                at,
                code::MISSING_FIELD,
                format!("{owner} needs the field {name:?}"),
            );
        }
        found
    }

    /// Reports two fields that exclude each other.
    pub(super) fn exclusive(&mut self, at: &At<'_, 't>, one: &str, other: &str) {
        if at.get(one).is_some() && at.get(other).is_some() {
            self.report.error(
                at,
                code::EXCLUSIVE_FIELDS,
                format!("{one} and {other} exclude each other"),
            );
        }
    }

    /// The one of several fields that must be there exactly once between them.
    pub(super) fn one_of<'c, 'n>(
        &mut self,
        at: &'c At<'_, 't>,
        owner: &str,
        names: &[&'n str],
    ) -> Option<(&'n str, At<'c, 't>)> {
        let mut found = names.iter().filter_map(|n| at.get(n).map(|f| (*n, f)));
        let first = found.next();
        let others = found.next();
        match (&first, others) {
            (None, _) => self.report.error(
                at,
                code::MISSING_FIELD,
                format!("{owner} needs one of the fields {}", names.join(", ")),
            ),
            (Some((one, _)), Some((other, _))) => self.report.error(
                at,
                code::EXCLUSIVE_FIELDS,
                format!("{one} and {other} exclude each other"),
            ),
            _ => {}
        }
        first
    }

    /// Whether the object's `QueryLanguage` is the one that this release runs.
    /// If not, that is reported, and nothing else in the object is worth a look.
    pub(super) fn json_path(&mut self, at: &At<'_, 't>) -> bool {
        let Some(field) = at.get("QueryLanguage") else {
            return true;
        };
        if matches!(&field.node.tree, Tree::Text(t) if **t == *"JSONata") {
            self.not_supported(&field, "the query language JSONata");
            return false;
        }
        self.word(&field, &["JSONPath", "JSONata"]);
        true
    }
}
