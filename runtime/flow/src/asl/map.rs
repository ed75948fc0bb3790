//! Map, inline mode: its items, what each is given, and the graph that runs.

use std::sync::Arc;

use super::{Compiler, expect};
use crate::document::{At, Tree};
use crate::expression::{QueryLanguage, Template};
use crate::program::{Items, MapState, StateIdx};

/// Fields of a Map beyond the common ones.
pub(super) const FIELDS: &[&str] = &[
    "ItemProcessor",
    "Iterator",
    "ItemsPath",
    "ItemSelector",
    "MaxConcurrency",
    "MaxConcurrencyPath",
    "Label",
];

/// As [`FIELDS`], in JSONata mode.
pub(super) const FIELDS_JSONATA: &[&str] = &[
    "ItemProcessor",
    "Iterator",
    "Items",
    "ItemSelector",
    "MaxConcurrency",
    "Label",
];

/// Fields of a processor or branch.
pub(super) const GRAPH_FIELDS: &[&str] = &[
    "Comment",
    "ProcessorConfig",
    "QueryLanguage",
    "StartAt",
    "States",
];

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
        self.known_fields(&graph, "a Map's processor", &[GRAPH_FIELDS]);
        if !self.inline(&graph) {
            return None;
        }
        let processor = self.inner_graph(&graph, "a Map's processor", own.0.saturating_add(1));
        Some(MapState {
            items,
            item_selector,
            processor,
            max_concurrency,
            label,
            distributed: None,
        })
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
        if !matches!(template, Template::Expression(_)) && !matches!(field.node.tree, Tree::List(_))
        {
            self.wrong_type(&field, "an array, or a string {% … %} that yields one");
        }
        Items::Template(template)
    }

    /// Whether `ProcessorConfig` asks for the inline mode.
    fn inline(&mut self, graph: &At<'_, 't>) -> bool {
        let Some(config) = graph.get("ProcessorConfig") else {
            return true;
        };
        if !self.is_object(&config) {
            return false;
        }
        self.known_fields(&config, "ProcessorConfig", &[&["Mode", "ExecutionType"]]);
        let Some(mode) = config.get("Mode") else {
            return true;
        };
        if matches!(&mode.node.tree, Tree::Text(t) if **t == *"DISTRIBUTED") {
            self.not_supported(&mode, "distributed Map (Mode DISTRIBUTED)");
            return false;
        }
        self.word(&mode, &["INLINE", "DISTRIBUTED"]).is_some()
    }
}
