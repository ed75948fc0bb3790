//! What the literal fields of an `http:request` Task may be, beside their types.
//!
//! Refuses to judge what comes from the data: that is the bridge's.

use super::Compiler;
use super::bridge::has_expression;
use crate::call;
use crate::document::At;
use crate::expression::QueryLanguage;

impl<'t> Compiler<'t, '_> {
    /// A field whose type is right, of which the value may still be wrong.
    pub(super) fn http_field(&mut self, at: &At<'_, 't>, name: &str, open: bool) {
        let jsonata = self.language == QueryLanguage::Jsonata;
        match name.to_ascii_lowercase().as_str() {
            "url" if !open => call::url(self.report, at),
            "method" if !open => call::method(self.report, at),
            "headers" => call::headers(self.report, at, &|name, value| match jsonata {
                true => has_expression(value),
                false => name.ends_with(".$"),
            }),
            "timeout_ms" | "timeoutms" if !open => call::timeout_ms(self.report, at),
            _ => {}
        }
    }
}
