//! Getters of ASL's own kinds of value, beside those that all front ends share.
//!
//! Refuses to know which field is which.

use serde_json::Value;

use super::Compiler;
use crate::check;
use crate::diagnostic::Report;
use crate::document::{At, Tree};
use crate::expression::{DataPath, Expression, Query, QueryLanguage, Root, WritePath};
use crate::jsonata;
use crate::path::{self, Fault, Patterns};
use crate::template::{self, report_fault};

/// Most seconds of any field, as in Step Functions (about three years).
pub(super) const SECONDS_MAX: u64 = 99_999_999;

/// `$`.
pub(super) fn whole() -> DataPath {
    DataPath {
        source: "$".into(),
        root: Root::Data,
        query: Query::Whole,
    }
}

impl<'t> Compiler<'t, '_> {
    pub(super) fn wrong_type(&mut self, at: &At<'_, '_>, wanted: &str) {
        check::wrong_type(self.report, at, wanted);
    }

    pub(super) fn is_object(&mut self, at: &At<'_, '_>) -> bool {
        check::is_object(self.report, at)
    }

    pub(super) fn is_filled_list(&mut self, at: &At<'_, '_>) -> bool {
        check::is_filled_list(self.report, at)
    }

    pub(super) fn text(&mut self, at: &At<'_, 't>) -> Option<&'t str> {
        check::text(self.report, at)
    }

    pub(super) fn boolean(&mut self, at: &At<'_, '_>) -> Option<bool> {
        check::boolean(self.report, at)
    }

    pub(super) fn integer(&mut self, at: &At<'_, '_>, least: u64, most: u64) -> Option<u64> {
        check::integer(self.report, at, least, most)
    }

    pub(super) fn word(&mut self, at: &At<'_, 't>, words: &[&str]) -> Option<&'t str> {
        check::word(self.report, at, words)
    }

    fn compiled<T>(
        &mut self,
        at: &At<'_, 't>,
        compile: impl FnOnce(&str, &Patterns) -> Result<T, Fault>,
    ) -> Option<T> {
        let text = self.text(at)?;
        match compile(text, &self.report.patterns) {
            Ok(compiled) => Some(compiled),
            Err(fault) => {
                report_fault(at, fault, self.report);
                None
            }
        }
    }

    /// A path that may select any number of places.
    pub(super) fn path(&mut self, at: &At<'_, 't>) -> DataPath {
        let path = self.compiled(at, path::parse).unwrap_or_else(whole);
        template::note_root(at, &path, self.report);
        path
    }

    /// A path that names one place.
    pub(super) fn single(&mut self, at: &At<'_, 't>) -> Expression {
        let path = self.compiled(at, path::parse_single);
        let path = path.unwrap_or_else(whole);
        template::note_root(at, &path, self.report);
        Expression::Path(path)
    }

    /// `ResultPath`: a reference path, or `null`.
    pub(super) fn write_path(&mut self, at: Option<At<'_, 't>>) -> WritePath {
        match at {
            None => WritePath::Replace,
            Some(at) if matches!(at.node.tree, Tree::Null) => WritePath::Discard,
            Some(at) => self
                .compiled(&at, path::parse_write)
                .unwrap_or(WritePath::Replace),
        }
    }

    /// A path or an intrinsic function.
    pub(super) fn expression(&mut self, at: &At<'_, 't>) -> Expression {
        let expression = self
            .compiled(at, crate::intrinsic::parse)
            .unwrap_or(Expression::Literal(Value::Null));
        template::note_reads(at, &expression, self.report);
        expression
    }

    /// JSONata mode: the expression of a string `{% … %}`. `None` in JSONPath mode,
    /// and for every other value.
    pub(super) fn query(&mut self, at: &At<'_, 't>, location: &str) -> Option<Expression> {
        if self.language != QueryLanguage::Jsonata {
            return None;
        }
        let Tree::Text(text) = &at.node.tree else {
            return None;
        };
        let source = jsonata::marked(text)?;
        let compiled = jsonata::compile(at, source, location, self.report);
        Some(Expression::Jsonata(compiled))
    }

    /// A field with a literal whole number, or [`Self::or_path`].
    pub(super) fn integer_or_path(
        &mut self,
        at: &At<'_, 't>,
        name: &str,
        least: u64,
        most: u64,
    ) -> Option<Expression> {
        self.integer_or_path_at(at, name, name, (least, most))
    }

    /// As [`Self::integer_or_path`], at a place of this name within the state.
    pub(super) fn integer_or_path_at(
        &mut self,
        at: &At<'_, 't>,
        name: &str,
        location: &str,
        (least, most): (u64, u64),
    ) -> Option<Expression> {
        self.or_path(at, name, location, |report, field| {
            let number = check::integer(report, field, least, most);
            number.unwrap_or(least).into()
        })
    }

    /// A field with a literal number from 0 to 100, or [`Self::or_path`].
    pub(super) fn percentage_or_path(&mut self, at: &At<'_, 't>, name: &str) -> Option<Expression> {
        self.or_path(at, name, name, |report, field| {
            check::percentage(report, field).map_or(0.into(), Value::Number)
        })
    }

    /// A field with a literal; in JSONPath mode its `…Path` twin instead, but not both,
    /// in JSONata mode perhaps a string `{% … %}`.
    fn or_path(
        &mut self,
        at: &At<'_, 't>,
        name: &str,
        location: &str,
        literal: impl FnOnce(&mut Report, &At<'_, 't>) -> Value,
    ) -> Option<Expression> {
        let path_name = format!("{name}Path");
        // In JSONata the twin is wrong by itself.
        if self.language == QueryLanguage::JsonPath {
            self.exclusive(at, name, &path_name);
        }
        if let Some(field) = at.get(name) {
            if let Some(query) = self.query(&field, location) {
                return Some(query);
            }
            return Some(Expression::Literal(literal(self.report, &field)));
        }
        if self.language == QueryLanguage::Jsonata {
            return None;
        }
        at.get(&path_name).map(|field| self.single(&field))
    }
}
