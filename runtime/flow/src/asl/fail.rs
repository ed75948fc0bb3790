//! Fail: the error it fails with.

use serde_json::Value;

use super::Compiler;
use crate::document::At;
use crate::expression::{Expression, Query, QueryLanguage};
use crate::program::Kind;
use crate::template::report_fault;
use crate::{intrinsic, jsonata, path, slip};

/// Fields of a Fail beyond the common ones.
pub(super) const FIELDS: &[&str] = &["Error", "ErrorPath", "Cause", "CausePath"];
/// As [`FIELDS`], in JSONata mode.
pub(super) const FIELDS_JSONATA: &[&str] = &["Error", "Cause"];

impl<'t> Compiler<'t, '_> {
    pub(super) fn fail(&mut self, at: &At<'_, 't>) -> Kind {
        Kind::Fail {
            error: self.text_or_expression(at, "Error", "ErrorPath"),
            cause: self.text_or_expression(at, "Cause", "CausePath"),
        }
    }

    /// A literal string, or in its twin field a path or intrinsic function.
    fn text_or_expression(
        &mut self,
        at: &At<'_, 't>,
        name: &str,
        path_name: &str,
    ) -> Option<Expression> {
        // In JSONata the twin is wrong by itself.
        if self.language == QueryLanguage::JsonPath {
            self.exclusive(at, name, path_name);
        }
        if let Some(field) = at.get(name) {
            if let Some(query) = self.query(&field, name) {
                return Some(query);
            }
            let text = self.text(&field)?;
            if self.language == QueryLanguage::Jsonata {
                jsonata::half_marked(&field, text, self.report);
            }
            slip::in_text(&field, text, self.language, path_name, self.report);
            return Some(Expression::Literal(Value::String(text.to_owned())));
        }
        if self.language == QueryLanguage::Jsonata {
            return None;
        }
        at.get(path_name).map(|field| self.text_from_data(&field))
    }

    /// A path or intrinsic function that can yield a string.
    /// Source: the Step Functions guide, "Fail workflow state", which lists the functions.
    fn text_from_data(&mut self, field: &At<'_, 't>) -> Expression {
        let expression = self.expression(field);
        let fault = match &expression {
            Expression::Path(path) if matches!(path.query, Query::Indefinite(_)) => {
                Some(path::not_reference(&path.source))
            }
            Expression::Call {
                function, source, ..
            } => intrinsic::no_text(*function, source),
            _ => None,
        };
        if let Some(fault) = fault {
            report_fault(field, fault, self.report);
        }
        expression
    }
}
