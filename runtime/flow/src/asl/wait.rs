//! Wait: one of its four forms.

use serde_json::Value;

use super::{Compiler, expect};
use crate::diagnostic::code;
use crate::document::At;
use crate::expression::{Expression, QueryLanguage};
use crate::program::WaitUntil;
use crate::timestamp;

/// Fields of a Wait beyond the common ones; exactly one is needed.
pub(super) const FIELDS: &[&str] = &["Seconds", "SecondsPath", "Timestamp", "TimestampPath"];
/// As [`FIELDS`], in JSONata mode.
pub(super) const FIELDS_JSONATA: &[&str] = &["Seconds", "Timestamp"];

impl<'t> Compiler<'t, '_> {
    pub(super) fn wait(&mut self, at: &At<'_, 't>) -> Option<WaitUntil> {
        let fields = match self.language {
            QueryLanguage::JsonPath => FIELDS,
            QueryLanguage::Jsonata => FIELDS_JSONATA,
        };
        let meant = |name: &&str| at.get(name).is_some();
        if FIELDS.iter().any(meant) && !fields.iter().any(meant) {
            // That it is of the other language was said.
            return None;
        }
        let (name, field) = self.one_of(at, "a Wait state", fields)?;
        if let Some(query) = self.query(&field, name) {
            return Some(match name {
                "Seconds" => WaitUntil::Seconds(query),
                _ => WaitUntil::Timestamp(query),
            });
        }
        Some(match name {
            "Seconds" => {
                let seconds = self.integer(&field, 0, expect::SECONDS_MAX)?;
                WaitUntil::Seconds(Expression::Literal(seconds.into()))
            }
            "SecondsPath" => WaitUntil::Seconds(self.single(&field)),
            "Timestamp" => {
                let text = self.timestamp(&field)?;
                WaitUntil::Timestamp(Expression::Literal(Value::String(text.to_owned())))
            }
            _ => WaitUntil::Timestamp(self.single(&field)),
        })
    }

    /// A literal timestamp.
    pub(super) fn timestamp(&mut self, at: &At<'_, 't>) -> Option<&'t str> {
        let text = self.text(at)?;
        if timestamp::parse(text).is_some() {
            return Some(text);
        }
        let meant = crate::slip::meant(at, "a timestamp", self.report);
        let form = || "write it by RFC 3339, such as 2024-08-18T17:33:00Z".to_owned();
        self.report.error_hint(
            at,
            code::BAD_TIMESTAMP,
            format!("{:?} is no timestamp", crate::path::clip(text)),
            Some(meant.unwrap_or_else(form)),
        );
        None
    }
}
