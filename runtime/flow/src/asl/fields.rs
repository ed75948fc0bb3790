//! Which fields an object may have, must have, and may not have together.
//!
//! Refuses to read their values.

use super::Compiler;
use crate::check;
use crate::diagnostic::code;
use crate::document::At;
use crate::expression::QueryLanguage;

/// Fields of states and rules that only JSONata mode has.
const JSONATA_ONLY: &[&str] = &["Arguments", "Condition", "Items", "Output"];

/// Fields of states and rules that only JSONPath mode has.
const JSONPATH_ONLY: &[&str] = &[
    "And",
    "CausePath",
    "ErrorPath",
    "HeartbeatSecondsPath",
    "InputPath",
    "ItemsPath",
    "MaxConcurrencyPath",
    "MaxInputBytesPerBatchPath",
    "MaxItemsPath",
    "MaxItemsPerBatchPath",
    "Not",
    "Or",
    "OutputPath",
    "Parameters",
    "Result",
    "ResultPath",
    "ResultSelector",
    "SecondsPath",
    "TimeoutSecondsPath",
    "TimestampPath",
    "ToleratedFailureCountPath",
    "ToleratedFailurePercentagePath",
    "Variable",
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
            if self.of_other_language(&place, owner, name) {
                continue;
            }
            check::unknown_field(self.report, &place, owner, name, known);
        }
        if let Some(comment) = at.get("Comment") {
            self.text(&comment);
        }
    }

    /// The field of this name; its absence is reported.
    pub(super) fn required<'c>(
        &mut self,
        at: &'c At<'_, 't>,
        owner: &str,
        name: &str,
    ) -> Option<At<'c, 't>> {
        check::required(self.report, at, owner, name)
    }

    /// Reports two fields that exclude each other, at the later one.
    pub(super) fn exclusive(&mut self, at: &At<'_, 't>, one: &str, other: &str) {
        let mut both = at
            .members()
            .iter()
            .filter(|m| *m.name == *one || *m.name == *other);
        let (Some(first), Some(second)) = (both.next(), both.next()) else {
            return;
        };
        if first.name != second.name {
            self.report.error(
                &at.member_name(second),
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
        match (&first, found.next()) {
            (None, _) => self.report.error(
                at,
                code::MISSING_FIELD,
                format!("{owner} needs one of the fields {}", names.join(", ")),
            ),
            (Some((one, _)), Some((other, _))) => self.exclusive(at, one, other),
            _ => {}
        }
        first
    }

    /// The query language of an object: its own, or the flow's.
    pub(super) fn query_language(&mut self, at: &At<'_, 't>) -> QueryLanguage {
        let outer = self.default_language;
        let Some(field) = at.get("QueryLanguage") else {
            return outer;
        };
        match self.word(&field, &["JSONPath", "JSONata"]) {
            Some("JSONata") => QueryLanguage::Jsonata,
            Some(_) if outer == QueryLanguage::Jsonata => {
                self.report.error_hint(
                    &field,
                    code::WRONG_LANGUAGE,
                    "a state of a JSONata flow cannot be in JSONPath".to_owned(),
                    Some(
                        "make JSONPath the flow's language, and JSONata that of single states"
                            .to_owned(),
                    ),
                );
                outer
            }
            Some(_) => QueryLanguage::JsonPath,
            None => outer,
        }
    }

    /// Reports a field that only the other query language has; `false`: it is not one.
    pub(super) fn of_other_language(
        &mut self,
        place: &At<'_, '_>,
        owner: &str,
        name: &str,
    ) -> bool {
        let (list, other) = match self.language {
            QueryLanguage::JsonPath => (JSONATA_ONLY, "JSONata"),
            QueryLanguage::Jsonata => (JSONPATH_ONLY, "JSONPath"),
        };
        let compares = self.language == QueryLanguage::Jsonata
            && owner == super::choice::RULE
            && super::choice::is_operator(name);
        if !list.contains(&name) && !compares {
            return false;
        }
        let hint = match self.language {
            QueryLanguage::JsonPath => {
                "set \"QueryLanguage\": \"JSONata\" in the state or the flow"
            }
            QueryLanguage::Jsonata => {
                "in JSONata, Arguments, Output, Items and {% … %} strings do what the JSONPath fields do"
            }
        };
        self.report.error_hint(
            place,
            code::WRONG_LANGUAGE,
            format!("{owner} has the field {name} only in {other}"),
            Some(hint.to_owned()),
        );
        true
    }
}
