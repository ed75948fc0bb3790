//! Getters that report a wrong type or value at its place.
//!
//! Refuses to know which field is which.

use serde_json::Value;

use super::Compiler;
use crate::diagnostic::code;
use crate::document::{At, Tree};
use crate::expression::{DataPath, Expression, Query, Root, WritePath};
use crate::path::{self, Fault};
use crate::template::report_fault;

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
        self.report.error(
            at,
            code::WRONG_TYPE,
            format!("this must be {wanted}, not {}", at.node.kind()),
        );
    }

    pub(super) fn is_object(&mut self, at: &At<'_, '_>) -> bool {
        let is = matches!(at.node.tree, Tree::Object(_));
        if !is {
            self.wrong_type(at, "an object");
        }
        is
    }

    /// Whether it is an array with something in it.
    pub(super) fn is_filled_list(&mut self, at: &At<'_, '_>) -> bool {
        let Tree::List(items) = &at.node.tree else {
            self.wrong_type(at, "an array");
            return false;
        };
        if items.is_empty() {
            self.report.error(
                at,
                code::EMPTY,
                "this array needs at least one entry".to_owned(),
            );
        }
        !items.is_empty()
    }

    pub(super) fn text(&mut self, at: &At<'_, 't>) -> Option<&'t str> {
        match &at.node.tree {
            Tree::Text(text) => Some(text),
            _ => {
                self.wrong_type(at, "a string");
                None
            }
        }
    }

    pub(super) fn boolean(&mut self, at: &At<'_, '_>) -> Option<bool> {
        match at.node.tree {
            Tree::Bool(b) => Some(b),
            _ => {
                self.wrong_type(at, "true or false");
                None
            }
        }
    }

    /// A whole number between the two, both included. `3.0` is one.
    pub(super) fn integer(&mut self, at: &At<'_, '_>, least: u64, most: u64) -> Option<u64> {
        let Tree::Number(number) = &at.node.tree else {
            self.wrong_type(at, "a whole number");
            return None;
        };
        let whole = number.as_u64().or_else(|| {
            let float = number.as_f64()?;
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked to be a small whole number"
            )]
            let n = ((0.0..=1e15).contains(&float) && float.fract() == 0.0).then_some(float as u64);
            n
        });
        match whole {
            Some(n) if (least..=most).contains(&n) => Some(n),
            _ => {
                self.report.error(
                    at,
                    code::BAD_VALUE,
                    format!("this must be a whole number from {least} to {most}, not {number}"),
                );
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn word(&mut self, at: &At<'_, 't>, words: &[&str]) -> Option<&'t str> {
        let text = self.text(at)?;
        if words.contains(&text) {
            return Some(text);
        }
        let hint = crate::suggest::hint(text, words.iter().copied());
        self.report.error_hint(
            at,
            code::BAD_VALUE,
            format!("this must be {}, not {text:?}", words.join(" or ")),
            hint,
        );
        None
    }

    fn compiled<T>(
        &mut self,
        at: &At<'_, 't>,
        compile: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        match compile(self.text(at)?) {
            Ok(compiled) => Some(compiled),
            Err(fault) => {
                report_fault(at, fault, self.report);
                None
            }
        }
    }

    /// A path that may select any number of places.
    pub(super) fn path(&mut self, at: &At<'_, 't>) -> DataPath {
        self.compiled(at, path::parse).unwrap_or_else(whole)
    }

    /// A path that names one place.
    pub(super) fn single(&mut self, at: &At<'_, 't>) -> Expression {
        let path = self.compiled(at, path::parse_single);
        Expression::Path(path.unwrap_or_else(whole))
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
        self.compiled(at, crate::intrinsic::parse)
            .unwrap_or(Expression::Literal(Value::Null))
    }

    /// A field with a literal whole number, or its `…Path` twin: not both.
    pub(super) fn integer_or_path(
        &mut self,
        at: &At<'_, 't>,
        name: &str,
        least: u64,
        most: u64,
    ) -> Option<Expression> {
        let path_name = format!("{name}Path");
        self.exclusive(at, name, &path_name);
        if let Some(field) = at.get(name) {
            let number = self.integer(&field, least, most).unwrap_or(least);
            return Some(Expression::Literal(number.into()));
        }
        at.get(&path_name).map(|field| self.single(&field))
    }
}
