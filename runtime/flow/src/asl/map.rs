//! Map, inline mode: its items, what each is given, and the graph that runs.

use std::sync::Arc;

use super::{Compiler, expect};
use crate::document::{At, Tree};
use crate::program::{MapState, StateIdx};

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
        let items = match at.get("ItemsPath") {
            Some(field) => self.path(&field),
            None => expect::whole(),
        };
        self.exclusive(at, "ItemSelector", "Parameters");
        let item_selector = self
            .template(at, "ItemSelector")
            .or_else(|| self.template(at, "Parameters"));
        let max_concurrency = self.integer_or_path(at, "MaxConcurrency", 0, CONCURRENCY_MAX);
        let label = at.get("Label").and_then(|l| self.text(&l)).map(Arc::from);
        let (_, graph) = self.one_of(at, "a Map state", &["ItemProcessor", "Iterator"])?;
        if !self.is_object(&graph) || !self.json_path(&graph) {
            return None;
        }
        self.known_fields(&graph, "a Map's processor", &[GRAPH_FIELDS]);
        if !self.inline(&graph) {
            return None;
        }
        Some(MapState {
            items,
            item_selector,
            processor: self.graph(&graph, "a Map's processor", own.0.saturating_add(1)),
            max_concurrency,
            label,
        })
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
