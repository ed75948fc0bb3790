//! Map: its items, what each is given, and the graph that runs. What only the distributed
//! mode has is in `distributed.rs`.

use std::sync::Arc;

use super::distributed::is_distributed;
use super::{Compiler, expect};
use crate::check;
use crate::diagnostic::code;
use crate::document::{At, Tree};
use crate::expression::{QueryLanguage, Template};
use crate::program::{ChildKind, Items, MapState, StateIdx};

/// Fields of a Map beyond the common ones.
pub(super) const FIELDS: &[&str] = &[
    "ItemProcessor",
    "Iterator",
    "ItemsPath",
    "ItemSelector",
    "MaxConcurrency",
    "MaxConcurrencyPath",
];

/// As [`FIELDS`], in JSONata mode.
pub(super) const FIELDS_JSONATA: &[&str] = &[
    "ItemProcessor",
    "Iterator",
    "Items",
    "ItemSelector",
    "MaxConcurrency",
];

/// Fields of a branch. A processor has its `ProcessorConfig` besides.
const GRAPH_FIELDS: &[&str] = &["Comment", "StartAt", "States"];

/// Most iterations at a time that a definition may ask for.
const CONCURRENCY_MAX: u64 = 99_999_999;

impl<'t> Compiler<'t, '_> {
    pub(super) fn map(&mut self, at: &At<'_, 't>, own: StateIdx) -> Option<MapState> {
        let items = self.items(at);
        self.exclusive(at, "ItemSelector", "Parameters");
        let mut item_selector = self.template(at, "ItemSelector");
        if item_selector.is_none() && self.language == QueryLanguage::JsonPath {
            item_selector = self.template(at, "Parameters");
        }
        let max_concurrency = self.integer_or_path(at, "MaxConcurrency", 0, CONCURRENCY_MAX);
        let label = at.get("Label").and_then(|l| self.text(&l)).map(Arc::from);
        let (_, graph) = self.one_of(at, "a Map state", &["ItemProcessor", "Iterator"])?;
        if !self.is_object(&graph) {
            return None;
        }
        self.graph_fields(&graph, "a Map's processor", &["ProcessorConfig"]);
        let children = self.children(at, &graph);
        let distributed = match children {
            Some(kind) => Some(Box::new(self.distributed(at, kind))),
            None => {
                self.only_distributed(at);
                None
            }
        };
        // A child is an execution of its own: it sees no variables of the one around it.
        let express = self.report.express_children;
        if let Some(kind) = children {
            check::standard(self.report, self.resolve, &graph);
            self.report.express_children |= kind == ChildKind::Express;
        }
        let scopes = distributed
            .is_some()
            .then(|| std::mem::take(&mut self.scopes));
        self.apart = distributed.is_some();
        let processor = self.inner_graph(&graph, "a Map's processor", own.0.saturating_add(1));
        self.report.express_children = express;
        if let Some(scopes) = scopes {
            self.scopes = scopes;
        }
        Some(MapState {
            items,
            item_selector,
            processor,
            max_concurrency,
            label,
            distributed,
        })
    }

    /// Reports what a branch or processor does not have; `own`: what it has besides.
    pub(super) fn graph_fields(&mut self, at: &At<'_, 't>, owner: &str, own: &[&str]) {
        let language = "QueryLanguage";
        if let Some(member) = at.members().iter().find(|m| *m.name == *language) {
            self.report.error_hint(
                &at.member_name(member),
                code::UNKNOWN_FIELD,
                format!("{owner} has no field {language:?}"),
                Some("say it of the whole flow, or of single states".to_owned()),
            );
        }
        self.known_fields(at, owner, &[GRAPH_FIELDS, own, &[language]]);
    }

    fn items(&mut self, at: &At<'_, 't>) -> Items {
        if self.language == QueryLanguage::JsonPath {
            return Items::Path(match at.get("ItemsPath") {
                Some(field) => self.path(&field),
                None => expect::whole(),
            });
        }
        let Some(field) = at.get("Items") else {
            return Items::Input;
        };
        let template = crate::template::compile(&field, self.language, "Items", self.report);
        let (taken, wanted) = match is_distributed(at) {
            false => (
                matches!(field.node.tree, Tree::List(_)),
                "an array, or a string {% … %} that yields one",
            ),
            true => (
                matches!(field.node.tree, Tree::List(_) | Tree::Object(_)),
                "an array or object, or a string {% … %} that yields one",
            ),
        };
        if !taken && !matches!(template, Template::Expression(_)) {
            self.wrong_type(&field, wanted);
        }
        Items::Template(template)
    }
}
