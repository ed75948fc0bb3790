//! Map, distributed mode: where items are read, how they are batched, where results go.
//!
//! Refuses sources that have no place to read from here. Buckets of ours stand for OSS's.
//! Source: alibabacloud.com, help of CloudFlow: "Distributed mode".

use serde_json::Value;
use stepwell_types::items::{ItemFormat, OutputType, Transformation};

use super::{BEFORE, Compiler};
use crate::check;
use crate::diagnostic::{Report, code};
use crate::document::At;
use crate::expression::{Expression, Template};
use crate::fdl::{self, Fdl};
use crate::program::{ChildKind, Distributed, ItemBatcher, ItemReader, ResultWriter};

/// Fields of a Map that make it a distributed one. CloudFlow's documents call the tolerated
/// failures by different names; each counts.
pub(super) const FIELDS: &[&str] = &[
    "ProcessorConfig",
    "ItemReader",
    "ItemBatcher",
    "ResultWriter",
    "MaxItems",
    PERCENTAGES[0],
    PERCENTAGES[1],
    COUNTS[0],
    COUNTS[1],
];
const PERCENTAGES: [&str; 2] = ["ToleratedFailurePercentage", "ToleratedFailedPercentage"];
const COUNTS: [&str; 2] = ["ToleratedFailureCount", "ToleratedFailedCount"];

/// Most items, or bytes, that a definition may name.
const COUNT_MAX: u64 = 4_294_967_295;
/// Most items of a Map in CloudFlow, on request.
const ITEMS_THERE: u64 = 1_000_000;

impl<'t> Compiler<'_> {
    /// The distributed mode's fields; `None`: the Map is an inline one.
    pub(super) fn distributed(&mut self, at: &At<'_, 't>) -> Option<Distributed> {
        FIELDS.iter().find_map(|name| at.get(name))?;
        let execution = self.execution_mode(at);
        let max_items = self.max_items(at);
        let reader = at.get("ItemReader").and_then(|reader| self.reader(&reader));
        let reader = reader.map(|reader| ItemReader {
            max_items: max_items.map(|n| Expression::Literal(n.into())),
            ..reader
        });
        Some(Distributed {
            execution,
            reader,
            batcher: at.get("ItemBatcher").and_then(|b| self.batcher(&b)),
            writer: at.get("ResultWriter").and_then(|w| self.writer(&w)),
            tolerated_count: self.tolerated(at, COUNTS, |report, field| {
                check::integer(report, field, 0, COUNT_MAX).map(Into::into)
            }),
            tolerated_percentage: self.tolerated(at, PERCENTAGES, |report, field| {
                check::percentage(report, field).map(Value::Number)
            }),
        })
    }

    fn max_items(&mut self, at: &At<'_, 't>) -> Option<u64> {
        let field = at.get("MaxItems")?;
        let n = check::integer(self.report, &field, 1, COUNT_MAX)?;
        if n > ITEMS_THERE {
            self.report.note(
                &field,
                code::BEYOND_CLOUDFLOW,
                format!("CloudFlow takes at most {ITEMS_THERE} items"),
            );
        }
        Some(n)
    }

    /// Items from the data, of which `MaxItems` may take the first.
    pub(super) fn first(&self, at: &At<'_, 't>, items: Expression) -> Expression {
        let most = at.get("MaxItems").and_then(|n| n.node.value().as_u64());
        match (items, most) {
            (Expression::Fdl(items), Some(most)) => {
                Expression::Fdl(Fdl::First(Box::new(items), most))
            }
            (items, _) => items,
        }
    }

    fn execution_mode(&mut self, at: &At<'_, 't>) -> ChildKind {
        let config = at.get("ProcessorConfig");
        let Some(config) = config.filter(|c| check::is_object(self.report, c)) else {
            return ChildKind::Standard;
        };
        check::known_fields(
            self.report,
            &config,
            "a ProcessorConfig",
            &[&["ExecutionMode"]],
        );
        let mode = config.get("ExecutionMode");
        match mode.and_then(|m| check::word(self.report, &m, &["Standard", "Express"])) {
            Some("Express") => ChildKind::Express,
            _ => ChildKind::Standard,
        }
    }

    /// One of two fields that mean the same.
    fn tolerated(
        &mut self,
        at: &At<'_, 't>,
        names: [&str; 2],
        literal: impl FnOnce(&mut Report, &At<'_, 't>) -> Option<Value>,
    ) -> Option<Expression> {
        let [one, other] = names;
        if let (Some(_), Some(second)) = (at.get(one), at.get(other)) {
            self.report.error(
                &second,
                code::EXCLUSIVE_FIELDS,
                format!("{one} and {other} exclude each other"),
            );
        }
        let field = at.get(one).or_else(|| at.get(other))?;
        literal(self.report, &field).map(Expression::Literal)
    }

    fn assumed(&mut self, at: &At<'_, 't>) {
        self.notes.once(
            "distributed",
            self.report,
            at,
            "an ItemReader has SourceType (OSS.CSV, OSS.JSON, OSS.Inventory, OSS.Objects) and SourceParameters (Bucket, ObjectName or Prefix), an ItemBatcher MaxItemsPerBatch, MaxInputBytesPerBatch and BatchInput, a ResultWriter Parameters (Bucket, Prefix) here, and the bucket is Stepwell's of that name; CloudFlow's public documents do not show them all",
        );
    }

    fn reader(&mut self, at: &At<'_, 't>) -> Option<ItemReader> {
        if !check::is_object(self.report, at) {
            return None;
        }
        self.assumed(at);
        let owner = "an ItemReader";
        check::known_fields(
            self.report,
            at,
            owner,
            &[&["SourceType", "SourceParameters"]],
        );
        let field = check::required(self.report, at, owner, "SourceType")?;
        let kinds = ["OSS.CSV", "OSS.JSON", "OSS.Objects", "OSS.Inventory"];
        let kind = check::word(self.report, &field, &kinds)?;
        let format = match kind {
            "OSS.CSV" => Some(ItemFormat::Csv {
                header: None,
                delimiter: b',',
            }),
            "OSS.JSON" => Some(ItemFormat::Json { pointer: None }),
            "OSS.Objects" => None,
            _ => Some(ItemFormat::Inventory),
        };
        let parameters = check::required(self.report, at, owner, "SourceParameters")?;
        let needed = match format {
            Some(_) => ["Bucket", "ObjectName"].as_slice(),
            None => &["Bucket"],
        };
        let other = match format {
            Some(_) => "ObjectName",
            None => "Prefix",
        };
        let arguments = self.place(&parameters, "SourceParameters", needed, other)?;
        Some(ItemReader {
            format,
            arguments,
            max_items: None,
        })
    }

    /// A bucket, and what in it, under the names that the engine knows.
    fn place(
        &mut self,
        at: &At<'_, 't>,
        owner: &str,
        needed: &[&str],
        other: &str,
    ) -> Option<Template> {
        if !check::is_object(self.report, at) {
            return None;
        }
        let dynamic = format!("{other}.$");
        let fields = ["Bucket", "Bucket.$", other, &dynamic];
        check::known_fields(self.report, at, owner, &[&fields]);
        for name in needed {
            if at.get(&format!("{name}.$")).is_none() {
                check::required(self.report, at, owner, name);
            }
        }
        if let Some(bucket) = at.get("Bucket") {
            crate::substitute::check_filled(&bucket, self.report, self.resolve);
        }
        let given = fdl::template(at, BEFORE, self.report, &mut self.notes);
        let renamed = |(name, value): (Box<str>, Template)| {
            let name = if &*name == "ObjectName" {
                "Key".into()
            } else {
                name
            };
            (name, value)
        };
        let fields = fdl::fields(given).into_iter().map(renamed);
        Some(Template::Object(fields.collect()))
    }

    fn batcher(&mut self, at: &At<'_, 't>) -> Option<ItemBatcher> {
        if !check::is_object(self.report, at) {
            return None;
        }
        self.assumed(at);
        let fields: &[&str] = &["MaxItemsPerBatch", "MaxInputBytesPerBatch", "BatchInput"];
        check::known_fields(self.report, at, "an ItemBatcher", &[fields]);
        let mut bound = |name| {
            let n = check::integer(self.report, &at.get(name)?, 1, COUNT_MAX)?;
            Some(Expression::Literal(n.into()))
        };
        let (items_max, bytes_max) = (bound(fields[0]), bound(fields[1]));
        if at.get(fields[0]).is_none() && at.get(fields[1]).is_none() {
            self.report.error(
                at,
                code::MISSING_FIELD,
                "an ItemBatcher needs MaxItemsPerBatch or MaxInputBytesPerBatch".to_owned(),
            );
        }
        Some(ItemBatcher {
            items_max,
            bytes_max,
            input: self.constructor(at, "BatchInput", BEFORE),
        })
    }

    fn writer(&mut self, at: &At<'_, 't>) -> Option<ResultWriter> {
        if !check::is_object(self.report, at) {
            return None;
        }
        self.assumed(at);
        let owner = "a ResultWriter";
        check::known_fields(self.report, at, owner, &[&["Parameters"]]);
        let parameters = check::required(self.report, at, owner, "Parameters")?;
        let owner = "the Parameters of a ResultWriter";
        Some(ResultWriter {
            arguments: Some(self.place(&parameters, owner, &["Bucket"], "Prefix")?),
            transformation: Transformation::None,
            output: OutputType::Json,
        })
    }
}
