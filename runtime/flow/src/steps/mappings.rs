//! `inputMappings`, `outputMappings` and `errorMappings`: lists of a target and a source.
//!
//! A source that begins with `$` is an expression; any other is a constant, bare words too.

use std::collections::HashSet;

use serde_json::Value;

use super::Compiler;
use crate::check;
use crate::diagnostic::code;
use crate::document::{At, Tree};
use crate::expression::Template;
use crate::fdl::{self, Roots};

impl<'t> Compiler<'_> {
    /// The list of this name as an object of its targets; `None`: there is none.
    pub(super) fn mappings(
        &mut self,
        at: &At<'_, 't>,
        name: &str,
        roots: Roots,
    ) -> Option<Template> {
        let list = at.get(name)?;
        if !matches!(list.node.tree, Tree::List(_)) {
            check::wrong_type(self.report, &list, "an array");
            return None;
        }
        let mut fields = Vec::with_capacity(list.elements().len());
        let mut seen = HashSet::new();
        for (i, mapping) in list.elements().iter().enumerate() {
            let mapping = list.element(i, mapping);
            if !check::is_object(self.report, &mapping) {
                continue;
            }
            let owner = "a mapping";
            check::known_fields(self.report, &mapping, owner, &[&["target", "source"]]);
            let target = check::required(self.report, &mapping, owner, "target");
            let target = target.and_then(|t| Some((check::text(self.report, &t)?, t)));
            let source = check::required(self.report, &mapping, owner, "source");
            let (Some((target, place)), Some(source)) = (target, source) else {
                continue;
            };
            if !seen.insert(target) {
                self.report.error(
                    &place,
                    code::DUPLICATE_FIELD,
                    format!(
                        "two mappings have the target {:?}",
                        crate::path::clip(target)
                    ),
                );
            }
            fields.push((target.into(), self.source(&source, roots)));
        }
        Some(Template::Object(fields))
    }

    /// A constant, or an expression if it begins with `$`.
    pub(super) fn source(&mut self, at: &At<'_, 't>, roots: Roots) -> Template {
        match &at.node.tree {
            Tree::Text(text) if text.starts_with('$') => self
                .expression(at, roots)
                .map_or(Template::Literal(Value::Null), Template::Expression),
            _ => Template::Literal(at.node.value()),
        }
    }

    /// A text that is an expression.
    pub(super) fn expression(
        &mut self,
        at: &At<'_, 't>,
        roots: Roots,
    ) -> Option<crate::expression::Expression> {
        fdl::expression(at, roots, self.report, &mut self.notes)
    }
}
