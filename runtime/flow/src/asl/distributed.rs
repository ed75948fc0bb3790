//! Map, distributed mode: where items are read, how they are batched, where results go.
//!
//! Refuses formats and services that have no place to read from here, and says what to use.

use stepwell_types::items::{ItemFormat, OutputType, Transformation};

use super::Compiler;
use crate::diagnostic::code;
use crate::document::{At, Tree};
use crate::expression::{QueryLanguage, Template};
use crate::program::{ChildKind, Distributed, ItemBatcher, ItemReader, ResultWriter};
use crate::suggest;

/// Fields of a Map that only the distributed mode has.
pub(super) const FIELDS: &[&str] = &[
    "ItemReader",
    "ItemBatcher",
    "ResultWriter",
    "ToleratedFailureCount",
    "ToleratedFailureCountPath",
    "ToleratedFailurePercentage",
    "ToleratedFailurePercentagePath",
    "Label",
];

/// As [`FIELDS`], in JSONata mode.
pub(super) const FIELDS_JSONATA: &[&str] = &[
    "ItemReader",
    "ItemBatcher",
    "ResultWriter",
    "ToleratedFailureCount",
    "ToleratedFailurePercentage",
    "Label",
];

const READER: &[&str] = &["Resource", "ReaderConfig"];
const READER_CONFIG: &[&str] = &[
    "InputType",
    "ManifestType",
    "ItemsPointer",
    "CSVHeaderLocation",
    "CSVHeaders",
    "CSVDelimiter",
    "MaxItems",
    "Transformation",
];
const BATCHER: &[&str] = &["MaxItemsPerBatch", "MaxInputBytesPerBatch", "BatchInput"];
const BATCHER_PATHS: &[&str] = &["MaxItemsPerBatchPath", "MaxInputBytesPerBatchPath"];
const WRITER: &[&str] = &["Resource", "WriterConfig"];

const GET: &str = "s3:getObject";
const LIST: &str = "s3:listObjectsV2";
const PUT: &str = "s3:putObject";

/// In place of reading what is in listed objects.
const LISTED: &str = "list the objects, and in each child read the one that its Key names, with a step or a distributed Map (arn:aws:states:::s3:getObject)";

/// Most items, or bytes, that a definition may name.
const COUNT_MAX: u64 = 4_294_967_295;
/// Most columns of a CSV file (Step Functions' own bound is 10 KB of them).
const COLUMNS_MAX: usize = 1_000;
/// Longest `Label` (Step Functions' own bound).
const LABEL_CHARS_MAX: usize = 40;

/// Whether the fields of a Map are those of the distributed mode alone.
fn implied(at: &At<'_, '_>) -> bool {
    let mut own = FIELDS.iter().filter(|name| **name != "Label");
    own.any(|name| at.get(name).is_some())
}

/// Whether a Map is a distributed one; what is wrong with its mode is not told here.
pub(super) fn is_distributed(at: &At<'_, '_>) -> bool {
    let graph = at.get("ItemProcessor").or_else(|| at.get("Iterator"));
    let config = graph
        .as_ref()
        .and_then(|graph| graph.get("ProcessorConfig"));
    let mode = config.as_ref().and_then(|config| config.get("Mode"));
    match mode {
        Some(mode) => matches!(&mode.node.tree, Tree::Text(mode) if **mode == *"DISTRIBUTED"),
        None => implied(at),
    }
}

impl<'t> Compiler<'t, '_> {
    /// The mode of a Map: `None`: inline.
    ///
    /// Where the processor names no `Mode`, the fields that only the distributed one has decide:
    /// the specification knows them and no modes.
    pub(super) fn children(&mut self, at: &At<'_, 't>, graph: &At<'_, 't>) -> Option<ChildKind> {
        let implied = implied(at).then_some(ChildKind::Standard);
        let Some(config) = graph.get("ProcessorConfig") else {
            return implied;
        };
        if !self.is_object(&config) {
            return implied;
        }
        self.known_fields(&config, "ProcessorConfig", &[&["Mode", "ExecutionType"]]);
        let mode = config.get("Mode");
        let mode = mode.and_then(|m| self.word(&m, &["INLINE", "DISTRIBUTED"]));
        let kind = config.get("ExecutionType");
        let kind = match kind.and_then(|k| self.word(&k, &["STANDARD", "EXPRESS"])) {
            Some("EXPRESS") => ChildKind::Express,
            _ => ChildKind::Standard,
        };
        match mode {
            Some("INLINE") => None,
            Some(_) => Some(kind),
            None => implied.map(|_| kind),
        }
    }

    /// The fields of the distributed mode.
    pub(super) fn distributed(&mut self, at: &At<'_, 't>, execution: ChildKind) -> Distributed {
        for items in ["ItemsPath", "Items"] {
            self.exclusive(at, "ItemReader", items);
        }
        if let Some(label) = at.get("Label") {
            self.label(&label);
        }
        Distributed {
            execution,
            reader: at.get("ItemReader").and_then(|reader| self.reader(&reader)),
            batcher: at
                .get("ItemBatcher")
                .and_then(|batcher| self.batcher(&batcher)),
            writer: at
                .get("ResultWriter")
                .and_then(|writer| self.writer(&writer)),
            tolerated_count: self.integer_or_path(at, "ToleratedFailureCount", 0, COUNT_MAX),
            tolerated_percentage: self.percentage_or_path(at, "ToleratedFailurePercentage"),
        }
    }

    /// Reports the fields of the distributed mode in an inline Map.
    pub(super) fn only_distributed(&mut self, at: &At<'_, 't>) {
        for name in FIELDS.iter().filter(|name| **name != "Label") {
            if let Some(field) = at.get(name) {
                let hint =
                    "set \"ProcessorConfig\": {\"Mode\": \"DISTRIBUTED\"} in its ItemProcessor";
                self.report.error_hint(
                    &field,
                    code::BAD_VALUE,
                    format!("{name} belongs to a Map in distributed mode"),
                    Some(hint.to_owned()),
                );
            }
        }
    }

    fn label(&mut self, at: &At<'_, 't>) {
        // That it is text is checked with the Map.
        let Tree::Text(label) = &at.node.tree else {
            return;
        };
        let bad =
            |c: char| c.is_whitespace() || c.is_control() || "?*<>{}[]:;,\\|^~$#%&`\"/".contains(c);
        if label.is_empty() || label.chars().count() > LABEL_CHARS_MAX || label.contains(bad) {
            self.report.error(
                at,
                code::BAD_NAME,
                format!(
                    "a Label has 1 to {LABEL_CHARS_MAX} characters, and no spaces, wildcards, brackets or other special ones"
                ),
            );
        }
    }

    /// The AWS resource of a reader or writer, without `arn:aws:states:::`.
    fn bucket_resource(
        &mut self,
        at: &At<'_, 't>,
        owner: &str,
        known: &[&'static str],
    ) -> Option<&'static str> {
        let field = self.required(at, owner, "Resource")?;
        let text = self.text(&field)?;
        let name = text
            .strip_prefix("arn:")
            .and_then(|rest| rest.split_once(":states:::"))
            .map(|(_, name)| name);
        let found = known.iter().find(|known| name == Some(**known));
        if found.is_none() {
            let list: Vec<_> = known
                .iter()
                .map(|k| format!("arn:aws:states:::{k}"))
                .collect();
            let hint = suggest::hint(text, list.iter().map(String::as_str));
            self.report.error_hint(
                &field,
                code::BAD_RESOURCE,
                format!(
                    "{owner} has the Resource {}, not {:?}",
                    list.join(" or "),
                    crate::path::clip(text)
                ),
                hint.or_else(|| Some("buckets stand for S3's: see docs/flows.md".to_owned())),
            );
        }
        found.copied()
    }

    /// `Parameters` or `Arguments` of a reader or writer, with what they must name.
    fn bucket_arguments(
        &mut self,
        at: &At<'_, 't>,
        owner: &str,
        required: &[&str],
        allowed: &[&str],
    ) -> Option<Template> {
        let name = self.arguments_name();
        let other = match self.language {
            QueryLanguage::JsonPath => "Arguments",
            QueryLanguage::Jsonata => "Parameters",
        };
        if at.get(name).is_none() && at.get(other).is_some() {
            // That it is of the other language was said.
            return None;
        }
        let field = self.required(at, owner, name)?;
        if let Tree::Object(_) = &field.node.tree {
            for member in field.members() {
                let plain = member.name.strip_suffix(".$").unwrap_or(&member.name);
                if !allowed.contains(&plain) {
                    self.report.error_hint(
                        &field.member_name(member),
                        code::UNKNOWN_FIELD,
                        format!(
                            "{name} of {owner} have no field {:?}",
                            crate::path::clip(plain)
                        ),
                        suggest::hint(plain, allowed.iter().copied())
                            .or_else(|| Some(format!("they have {}", allowed.join(", ")))),
                    );
                }
                if *member.name == *"Bucket" {
                    crate::substitute::check_filled(
                        &field.member(member),
                        self.report,
                        self.resolve,
                    );
                }
                match plain {
                    "ExpectedBucketOwner" => self.report.warning(
                        &field.member_name(member),
                        code::IGNORED_FIELD,
                        "ExpectedBucketOwner has no effect here: buckets are the server's own"
                            .to_owned(),
                        None,
                    ),
                    "VersionId" => self.report.error_hint(
                        &field.member_name(member),
                        code::NOT_SUPPORTED,
                        "an object here has no versions: a VersionId cannot be read".to_owned(),
                        Some("put that version under a key of its own".to_owned()),
                    ),
                    _ => {}
                }
            }
            for wanted in required {
                let there = field
                    .members()
                    .iter()
                    .any(|m| m.name.strip_suffix(".$").unwrap_or(&m.name) == *wanted);
                if !there {
                    self.report.error(
                        &field,
                        code::MISSING_FIELD,
                        format!("{name} of {owner} need the field {wanted}"),
                    );
                }
            }
        }
        // As `Choices[0]/Condition`: the field of the state, and what is in it.
        let place = owner.rsplit(' ').next().unwrap_or(owner);
        self.template_at(at, name, &format!("{place}/{name}"))
    }

    /// Fields that only JSONPath mode has.
    fn of_jsonpath(&self, names: &'static [&'static str]) -> &'static [&'static str] {
        match self.language {
            QueryLanguage::JsonPath => names,
            QueryLanguage::Jsonata => &[],
        }
    }

    fn arguments_name(&self) -> &'static str {
        match self.language {
            QueryLanguage::JsonPath => "Parameters",
            QueryLanguage::Jsonata => "Arguments",
        }
    }

    fn reader(&mut self, at: &At<'_, 't>) -> Option<ItemReader> {
        if !self.is_object(at) {
            return None;
        }
        let name = self.arguments_name();
        self.known_fields(at, "an ItemReader", &[READER, &[name]]);
        let resource = self.bucket_resource(at, "an ItemReader", &[GET, LIST])?;
        let config = at
            .get("ReaderConfig")
            .filter(|config| self.is_object(config));
        let max_items = config.as_ref().and_then(|config| {
            let paths: &[&str] = self.of_jsonpath(&["MaxItemsPath"]);
            self.known_fields(config, "a ReaderConfig", &[READER_CONFIG, paths]);
            let place = "ItemReader/ReaderConfig/MaxItems";
            self.integer_or_path_at(config, "MaxItems", place, (0, COUNT_MAX))
        });
        let loads = config.as_ref().is_some_and(|c| self.loads(c));
        let expected: &[&str] = &[
            "Bucket",
            "Key",
            "Prefix",
            "ExpectedBucketOwner",
            "VersionId",
        ];
        if resource == LIST {
            let kind = config.as_ref().and_then(|c| c.get("InputType"));
            if let Some(kind) = kind.filter(|_| !loads) {
                self.report.error_hint(
                    &kind,
                    code::NOT_SUPPORTED,
                    "an InputType is not supported for a listing: its items are the objects' names, sizes and times, not what is in them".to_owned(),
                    Some(LISTED.to_owned()),
                );
            }
            let arguments = self.bucket_arguments(at, "an ItemReader", &["Bucket"], expected)?;
            return Some(ItemReader {
                format: None,
                arguments,
                max_items,
            });
        }
        let arguments = self.bucket_arguments(at, "an ItemReader", &["Bucket", "Key"], expected);
        let format = match &config {
            Some(config) => self.format(config),
            None => {
                self.required(at, "an ItemReader", "ReaderConfig");
                None
            }
        };
        Some(ItemReader {
            format: Some(format?),
            arguments: arguments?,
            max_items,
        })
    }

    /// Whether the listed objects' contents should be the items, which is reported.
    fn loads(&mut self, config: &At<'_, 't>) -> bool {
        let Some(field) = config.get("Transformation") else {
            return false;
        };
        let loads = self.word(&field, &["NONE", "LOAD_AND_FLATTEN"]) == Some("LOAD_AND_FLATTEN");
        if loads {
            self.report.error_hint(
                &field,
                code::NOT_SUPPORTED,
                "the Transformation LOAD_AND_FLATTEN is not supported: what is in the listed objects is not read".to_owned(),
                Some(LISTED.to_owned()),
            );
        }
        loads
    }

    fn format(&mut self, config: &At<'_, 't>) -> Option<ItemFormat> {
        if let Some(field) = config.get("ManifestType") {
            return self.manifest(config, &field);
        }
        let field = self.required(config, "a ReaderConfig", "InputType")?;
        let kinds = ["CSV", "JSON", "JSONL", "MANIFEST", "PARQUET"];
        let kind = self.word(&field, &kinds)?;
        let format = match kind {
            "JSON" => ItemFormat::Json {
                pointer: self.pointer(config),
            },
            "JSONL" => ItemFormat::JsonLines,
            "CSV" => self.csv(config)?,
            "MANIFEST" => ItemFormat::Inventory,
            _ => {
                self.report.error_hint(
                    &field,
                    code::NOT_SUPPORTED,
                    format!("the InputType {kind} is not supported"),
                    Some("items are read from CSV, JSON or JSONL, packed with gzip or not, and from the manifest of an S3 Inventory".to_owned()),
                );
                return None;
            }
        };
        self.only_of(config, kind);
        Some(format)
    }

    /// `ManifestType`: with the one of S3 Inventory goes no `InputType`, since that is CSV.
    fn manifest(&mut self, config: &At<'_, 't>, field: &At<'_, 't>) -> Option<ItemFormat> {
        let kinds = ["ATHENA_DATA", "S3_INVENTORY"];
        if self.word(field, &kinds)? == "ATHENA_DATA" {
            self.report.error_hint(
                field,
                code::NOT_SUPPORTED,
                "the ManifestType ATHENA_DATA is not supported".to_owned(),
                Some("read the manifest as CSV with the InputType CSV, and the file that each of its rows names in the children".to_owned()),
            );
            return None;
        }
        if let Some(kind) = config.get("InputType")
            && self.word(&kind, &["MANIFEST"]).is_none()
        {
            return None;
        }
        self.only_of(config, "MANIFEST");
        Some(ItemFormat::Inventory)
    }

    /// Reports fields that belong to another `InputType` than this one.
    fn only_of(&mut self, config: &At<'_, 't>, kind: &str) {
        for (name, of) in [
            ("ItemsPointer", "JSON"),
            ("CSVHeaderLocation", "CSV"),
            ("CSVHeaders", "CSV"),
            ("CSVDelimiter", "CSV"),
        ] {
            if let Some(field) = config.get(name).filter(|_| of != kind) {
                self.report.error(
                    &field,
                    code::EXCLUSIVE_FIELDS,
                    format!("{name} belongs to the InputType {of}, not {kind}"),
                );
            }
        }
    }

    fn pointer(&mut self, config: &At<'_, 't>) -> Option<std::sync::Arc<str>> {
        let field = config.get("ItemsPointer")?;
        let text = self.text(&field)?;
        if !text.is_empty() && !text.starts_with('/') {
            self.report.error_hint(
                &field,
                code::BAD_VALUE,
                "an ItemsPointer is a JSON pointer: it begins with /".to_owned(),
                Some("write /orders/open for {\"orders\": {\"open\": […]}}".to_owned()),
            );
        }
        Some(text.into())
    }

    fn csv(&mut self, config: &At<'_, 't>) -> Option<ItemFormat> {
        let field = self.required(config, "a ReaderConfig of CSV", "CSVHeaderLocation")?;
        let given = self.word(&field, &["FIRST_ROW", "GIVEN"])? == "GIVEN";
        let headers = config.get("CSVHeaders");
        let header = match (given, headers) {
            (true, None) => {
                self.required(
                    config,
                    "a ReaderConfig whose CSVHeaderLocation is GIVEN",
                    "CSVHeaders",
                );
                return None;
            }
            (false, Some(headers)) => {
                self.report.error(
                    &headers,
                    code::EXCLUSIVE_FIELDS,
                    "CSVHeaders belong to the CSVHeaderLocation GIVEN".to_owned(),
                );
                return None;
            }
            (false, None) => None,
            (true, Some(headers)) => {
                if !self.is_filled_list(&headers) {
                    return None;
                }
                let mut names: Vec<std::sync::Arc<str>> = Vec::new();
                for (i, name) in headers.elements().iter().enumerate().take(COLUMNS_MAX) {
                    names.push(self.text(&headers.element(i, name))?.into());
                }
                Some(names.into())
            }
        };
        let delimiter = match config.get("CSVDelimiter") {
            None => b',',
            Some(field) => {
                let words = ["COMMA", "PIPE", "SEMICOLON", "SPACE", "TAB"];
                match self.word(&field, &words)? {
                    "PIPE" => b'|',
                    "SEMICOLON" => b';',
                    "SPACE" => b' ',
                    "TAB" => b'\t',
                    _ => b',',
                }
            }
        };
        Some(ItemFormat::Csv { header, delimiter })
    }

    fn batcher(&mut self, at: &At<'_, 't>) -> Option<ItemBatcher> {
        if !self.is_object(at) {
            return None;
        }
        let paths = self.of_jsonpath(BATCHER_PATHS);
        self.known_fields(at, "an ItemBatcher", &[BATCHER, paths]);
        let mut most = |name: &str| {
            let place = format!("ItemBatcher/{name}");
            self.integer_or_path_at(at, name, &place, (1, COUNT_MAX))
        };
        let items_max = most("MaxItemsPerBatch");
        let bytes_max = most("MaxInputBytesPerBatch");
        // A path in JSONata was said to be of the other language.
        let meant = BATCHER_PATHS.iter().any(|name| at.get(name).is_some());
        if items_max.is_none() && bytes_max.is_none() && !meant {
            self.report.error(
                at,
                code::MISSING_FIELD,
                "an ItemBatcher needs MaxItemsPerBatch or MaxInputBytesPerBatch".to_owned(),
            );
        }
        Some(ItemBatcher {
            items_max,
            bytes_max,
            input: self.template_at(at, "BatchInput", "ItemBatcher/BatchInput"),
        })
    }

    fn writer(&mut self, at: &At<'_, 't>) -> Option<ResultWriter> {
        if !self.is_object(at) {
            return None;
        }
        let name = self.arguments_name();
        self.known_fields(at, "a ResultWriter", &[WRITER, &[name]]);
        let config = at
            .get("WriterConfig")
            .filter(|config| self.is_object(config));
        let arguments = if at.get("Resource").is_some() || config.is_none() {
            self.bucket_resource(at, "a ResultWriter", &[PUT])?;
            let allowed = ["Bucket", "Prefix", "ExpectedBucketOwner"];
            Some(self.bucket_arguments(at, "a ResultWriter", &["Bucket"], &allowed)?)
        } else {
            None
        };
        let (mut transformation, mut output) = (Transformation::None, OutputType::Json);
        if let Some(config) = &config {
            self.known_fields(
                config,
                "a WriterConfig",
                &[&["Transformation", "OutputType"]],
            );
            if let Some(field) = config.get("Transformation") {
                transformation = match self.word(&field, &["NONE", "COMPACT", "FLATTEN"])? {
                    "COMPACT" => Transformation::Compact,
                    "FLATTEN" => Transformation::Flatten,
                    _ => Transformation::None,
                };
            }
            if let Some(field) = config.get("OutputType") {
                output = match self.word(&field, &["JSON", "JSONL"])? {
                    "JSONL" => OutputType::JsonLines,
                    _ => OutputType::Json,
                };
                if arguments.is_none() && output == OutputType::JsonLines {
                    self.report.error_hint(
                        &field,
                        code::BAD_VALUE,
                        "results that are the state's output are JSON".to_owned(),
                        Some(
                            "write them to a bucket for JSON Lines: Resource and a Bucket"
                                .to_owned(),
                        ),
                    );
                }
            }
        }
        Some(ResultWriter {
            arguments,
            transformation,
            output,
        })
    }
}
