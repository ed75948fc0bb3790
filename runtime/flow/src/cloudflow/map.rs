//! Map: a graph for each item of an array.

use super::{BEFORE, Compiler, ITEM};
use crate::check;
use crate::diagnostic::code;
use crate::document::At;
use crate::expression::{Expression, Template};
use crate::fdl::{self, Constructors};
use crate::program::{Items, MapState, StateIdx};

/// Fields of a Map beyond the common ones. CloudFlow's own field table spells one of
/// them wrongly; both spellings count.
pub(super) const FIELDS: &[&str] = &[
    "ItemsPath",
    "ItemConstructor",
    "Processor",
    "ProcessorConfig",
    "MaxConcurrency",
    "MaxConcuccency",
    "ItemReader",
    "ItemBatcher",
    "ResultWriter",
    "MaxItems",
    "ToleratedFailurePercentage",
    "ToleratedFailedPercentage",
    "ToleratedFailedCount",
];

/// Those of the distributed mode.
const DISTRIBUTED: &[&str] = &[
    "ProcessorConfig",
    "ItemReader",
    "ItemBatcher",
    "ResultWriter",
    "MaxItems",
    "ToleratedFailurePercentage",
    "ToleratedFailedPercentage",
    "ToleratedFailedCount",
];

/// Iterations under way at once in CloudFlow's inline mode.
const CONCURRENCY_THERE: u64 = 40;
/// Most iterations under way at once.
const CONCURRENCY_MAX: u64 = 1_000_000;

impl<'t> Compiler<'_> {
    pub(super) fn map(
        &mut self,
        at: &At<'_, 't>,
        own: StateIdx,
        data: &mut Constructors,
    ) -> Option<MapState> {
        for name in DISTRIBUTED {
            if let Some(member) = at.members().iter().find(|m| *m.name == **name) {
                self.report.error_hint(
                    &at.member_name(member),
                    code::NOT_SUPPORTED,
                    format!("the field {name} (distributed Map) is not supported yet"),
                    Some("a Map without it runs inline, whatever the number of items".to_owned()),
                );
            }
        }
        let items = check::required(self.report, at, "a Map state", "ItemsPath");
        let items = items.and_then(|i| self.expression(&i, BEFORE));
        let item_selector = self.constructor(at, "ItemConstructor", ITEM);
        let max_concurrency = self.concurrency(at);
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
        let processor = self.graph(&processor, "a Processor", own.0.saturating_add(1));
        data.result = Some(fdl::rearranged([("Items".into(), "$".to_owned())]));
        Some(MapState {
            items: Items::Template(Template::Expression(items?)),
            item_selector,
            processor,
            max_concurrency: Some(max_concurrency),
            label: None,
            distributed: None,
        })
    }

    fn concurrency(&mut self, at: &At<'_, 't>) -> Expression {
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
            if n > CONCURRENCY_THERE {
                self.report.warning(
                    &f,
                    code::BEYOND_CLOUDFLOW,
                    format!("CloudFlow runs at most {CONCURRENCY_THERE} iterations of an inline Map at once"),
                    None,
                );
            }
            Some(n)
        });
        Expression::Literal(wanted.unwrap_or(CONCURRENCY_THERE).into())
    }
}
