//! Map: a graph for each item of an array, or of what a bucket holds.

use serde_json::Value;

use super::{BEFORE, Compiler, ITEM};
use crate::check;
use crate::diagnostic::code;
use crate::document::At;
use crate::expression::{Expression, Template};
use crate::fdl::{self, Constructors};
use crate::program::{ChildKind, Items, MapState, StateIdx};

/// Fields of a Map beyond the common ones. CloudFlow's own field table spells one of
/// them wrongly; both spellings count.
pub(super) const FIELDS: &[&str] = &[
    "ItemsPath",
    "ItemConstructor",
    "Processor",
    "MaxConcurrency",
    "MaxConcuccency",
];

/// Iterations under way at once in CloudFlow's inline mode.
const CONCURRENCY_THERE: u64 = 40;
/// And in its distributed mode, unless more are asked for.
const CHILDREN_THERE: u64 = 100;
/// Most iterations under way at once.
const CONCURRENCY_MAX: u64 = 1_000_000;

impl<'t> Compiler<'_> {
    pub(super) fn map(
        &mut self,
        at: &At<'_, 't>,
        own: StateIdx,
        data: &mut Constructors,
    ) -> Option<MapState> {
        let distributed = self.distributed(at);
        let reader = at.get("ItemReader");
        let items = match (&reader, at.get("ItemsPath")) {
            (None, _) => {
                let items = check::required(self.report, at, "a Map state", "ItemsPath");
                let items = items.and_then(|i| self.expression(&i, BEFORE));
                items.map(|items| Template::Expression(self.first(at, items)))
            }
            (Some(_), None) => Some(Template::Literal(Value::Array(Vec::new()))),
            (Some(_), Some(items)) => {
                self.report.error(
                    &items,
                    code::EXCLUSIVE_FIELDS,
                    "ItemsPath and ItemReader exclude each other".to_owned(),
                );
                None
            }
        };
        let item_selector = self.constructor(at, "ItemConstructor", ITEM);
        let there = match &distributed {
            Some(_) => CHILDREN_THERE,
            None => CONCURRENCY_THERE,
        };
        let max_concurrency = self.concurrency(at, there);
        let processor = check::required(self.report, at, "a Map state", "Processor")?;
        if !check::is_object(self.report, &processor) {
            return None;
        }
        check::known_fields(
            self.report,
            &processor,
            "a Processor",
            &[&["StartAt", "States"]],
        );
        let express = self.report.express_children;
        if let Some(distributed) = &distributed {
            check::standard(self.report, self.resolve, &processor);
            self.report.express_children |= distributed.execution == ChildKind::Express;
        }
        let processor = self.graph(&processor, "a Processor", own.0.saturating_add(1));
        self.report.express_children = express;
        // What is written to a bucket is not the output: that says where it is.
        if distributed.as_ref().is_none_or(|d| d.writer.is_none()) {
            data.result = Some(fdl::rearranged([("Items".into(), "$".to_owned())]));
        }
        Some(MapState {
            items: Items::Template(items?),
            item_selector,
            processor,
            max_concurrency: Some(max_concurrency),
            label: None,
            distributed: distributed.map(Box::new),
        })
    }

    fn concurrency(&mut self, at: &At<'_, 't>, there: u64) -> Expression {
        let field = at.get("MaxConcurrency").or_else(|| {
            let other = at.get("MaxConcuccency");
            other.filter(|_| at.get("MaxConcurrency").is_none())
        });
        if let (Some(_), Some(other)) = (at.get("MaxConcurrency"), at.get("MaxConcuccency")) {
            self.report.error(
                &other,
                code::EXCLUSIVE_FIELDS,
                "MaxConcurrency and its older spelling MaxConcuccency exclude each other"
                    .to_owned(),
            );
        }
        let wanted = field.and_then(|f| {
            let n = check::integer(self.report, &f, 1, CONCURRENCY_MAX)?;
            if n > there {
                self.report.note(
                    &f,
                    code::BEYOND_CLOUDFLOW,
                    format!("CloudFlow runs at most {there} iterations of such a Map at once"),
                );
            }
            Some(n)
        });
        Expression::Literal(wanted.unwrap_or(there).into())
    }
}
