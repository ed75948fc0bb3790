//! Values from expressions: paths, templates, intrinsic functions, choice rules.
//!
//! One evaluator for every place of a definition. Refuses side effects; the only
//! things it counts are random draws and the bytes that it copies.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::rc::Rc;

use jsonata_core::value::JValue;
use serde_json::{Number, Value};
use stepwell_types::limits::{JSON_DEPTH_MAX, JSON_VALUES_MAX, PAYLOAD_BYTES_MAX};
use stepwell_types::{Data, EntryId, Failure, Timestamp};

use crate::state::{Core, Variables};

pub(crate) mod choice;
pub(crate) mod context;
pub(crate) mod fdl;
pub(crate) mod flow;
pub(crate) mod hash;
pub(crate) mod intrinsic;
pub(crate) mod jsonata;
pub(crate) mod path;
pub(crate) mod template;

/// Why an evaluation failed: an error name of the specification and the cause's second half.
#[derive(Debug)]
pub(crate) struct Fault {
    pub error: &'static str,
    pub message: String,
    /// The field of JSONata mode that is to blame.
    pub location: Option<Box<str>>,
}

impl Fault {
    pub fn new(error: &'static str, message: impl Into<String>) -> Fault {
        Fault {
            error,
            message: message.into(),
            location: None,
        }
    }

    /// `States.QueryEvaluationError`.
    pub fn query(location: Option<&str>, message: impl Into<String>) -> Fault {
        Fault {
            location: location.map(Into::into),
            ..Fault::new(QUERY_ERROR, message)
        }
    }

    /// `States.Runtime`.
    pub fn runtime(message: impl Into<String>) -> Fault {
        Fault::new("States.Runtime", message)
    }

    /// `States.IntrinsicFailure`.
    pub fn intrinsic(message: impl Into<String>) -> Fault {
        Fault::new("States.IntrinsicFailure", message)
    }

    /// [`LIMIT_ERROR`].
    pub fn limit() -> Fault {
        Fault::new(
            LIMIT_ERROR,
            format!(
                "Its expressions take more than {OPERATIONS_MAX} operations and two for each byte of its data."
            ),
        )
    }

    /// `States.DataLimitExceeded`.
    pub fn too_large(what: &str) -> Fault {
        Fault::new(
            "States.DataLimitExceeded",
            format!("{what} exceeds the limit of {PAYLOAD_BYTES_MAX} bytes."),
        )
    }

    /// `States.DataLimitExceeded`, of small data in many parts: in memory each takes far more
    /// than its text.
    pub fn too_many(what: &str) -> Fault {
        Fault::new(
            "States.DataLimitExceeded",
            format!("{what} holds more than {JSON_VALUES_MAX} values and keys."),
        )
    }

    /// The failure, worded as Step Functions words it.
    pub fn at(self, state: &str, entered_event: u64) -> Failure {
        Failure::new(
            self.error,
            format!(
                "An error occurred while executing the state '{state}' (entered at the event id #{entered_event}). {}",
                self.message
            ),
        )
    }
}

/// The error of JSONata mode: it has a history event of its own.
pub(crate) const QUERY_ERROR: &str = "States.QueryEvaluationError";

/// The error of an evaluation that does too much.
pub(crate) const LIMIT_ERROR: &str = "Stepwell.ExpressionLimit";
/// Most operations of the expressions of one place (such as one template): visited
/// values, calls, comparisons; beyond them, two for each byte of the data.
const OPERATIONS_MAX: u64 = 250_000;

/// Documents in the form of the JSONata library, by their address: made once a turn, so
/// that each item of a Map does not make the Map's input anew.
pub(crate) type Library = Rc<RefCell<HashMap<usize, (Data, JValue)>>>;

/// What a state gives its expressions.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a> {
    /// `$`; in JSONata mode `$states.input`.
    pub data: &'a Data,
    /// `$states.result`.
    pub result: Option<&'a Data>,
    /// `$states.errorOutput`.
    pub error: Option<&'a Data>,
}

impl<'a> From<&'a Data> for Given<'a> {
    fn from(data: &'a Data) -> Given<'a> {
        Given {
            data,
            result: None,
            error: None,
        }
    }
}

/// What expressions see.
pub(crate) struct Env<'a> {
    /// `$`; in JSONata mode `$states.input`.
    pub data: &'a Data,
    /// The rest of `$states`.
    pub given: Given<'a>,
    /// `$name`.
    pub variables: Option<&'a Variables>,
    /// `$now()`.
    pub now: Timestamp,
    /// `$$`, looked up when asked for.
    pub context: context::Context<'a>,
    /// Bytes that may still be copied out of `$` and `$$`: the memory that one template can take.
    pub budget: Cell<usize>,
    /// Draws made so far.
    pub draws: Cell<u64>,
    operations: Cell<u64>,
    used: Cell<u64>,
    extended: Cell<bool>,
    library: Library,
}

impl<'a> Env<'a> {
    pub fn new(
        core: &'a Core<Data>,
        program: &'a stepwell_flow::Program,
        entry: EntryId,
        given: Given<'a>,
        now: Timestamp,
    ) -> Env<'a> {
        Env {
            data: given.data,
            given,
            variables: core.entries.get(&entry).map(|e| &*e.variables),
            now,
            context: context::Context {
                core,
                program,
                entry,
                item: None,
                item_key: None,
                item_source: None,
            },
            budget: Cell::new(PAYLOAD_BYTES_MAX),
            draws: Cell::new(core.draws),
            operations: Cell::new(OPERATIONS_MAX),
            used: Cell::new(0),
            extended: Cell::new(false),
            library: Library::default(),
        }
    }

    /// With the documents that the turn has made ready already.
    pub fn sharing(mut self, library: &Library) -> Env<'a> {
        self.library = Rc::clone(library);
        self
    }

    /// Operations that are left.
    pub fn operations(&self) -> u64 {
        if !self.extended.replace(true) {
            let more = self.data.len_bytes() as u64 * 2;
            self.operations
                .set(self.operations.get().saturating_add(more));
        }
        self.operations.get()
    }

    /// Takes this many operations off what is left.
    pub fn count(&self, operations: u64) -> Result<(), Fault> {
        let mut left = self.operations.get().checked_sub(operations);
        if left.is_none() {
            left = self.operations().checked_sub(operations);
        }
        self.operations.set(left.ok_or_else(Fault::limit)?);
        self.used.set(self.used.get().saturating_add(operations));
        Ok(())
    }

    /// Operations made so far, those of copying included.
    pub fn used(&self) -> u64 {
        let copied = PAYLOAD_BYTES_MAX.saturating_sub(self.budget.get()) as u64;
        self.used.get().saturating_add(copied / 16)
    }

    /// Copies a value, if the budget allows.
    pub fn copy(&self, value: &Value) -> Result<Value, Fault> {
        self.spend(size(value))?;
        Ok(value.clone())
    }

    /// Takes this many bytes off the budget.
    pub fn spend(&self, bytes: usize) -> Result<(), Fault> {
        let left = self.budget.get().checked_sub(bytes);
        self.budget
            .set(left.ok_or_else(|| Fault::too_large("The state's data"))?);
        Ok(())
    }

    /// The next 16 random bytes.
    pub fn draw(&self) -> [u8; 16] {
        let n = self.draws.get();
        self.draws.set(n + 1);
        let seed = self
            .context
            .core
            .started
            .as_ref()
            .map_or([0; 16], |s| s.seed);
        crate::random::draw(&seed, "expression", 0, n)
    }
}

/// The bytes of a value's JSON text, or a few more.
pub(crate) fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(n) => number_size(n),
        Value::String(s) => text_size(s),
        Value::Array(items) => 2 + items.iter().map(|v| size(v) + 1).sum::<usize>(),
        Value::Object(map) => {
            2 + map
                .iter()
                .map(|(k, v)| text_size(k) + 2 + size(v))
                .sum::<usize>()
        }
    }
}

/// The bytes of a text in quotes, what must be escaped counted as it is written.
pub(crate) fn text_size(text: &str) -> usize {
    let escapes = text.bytes().map(|byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 1,
        0..32 => 5,
        _ => 0,
    });
    2 + text.len() + escapes.sum::<usize>()
}

/// The digits of a number as it is printed.
fn number_size(n: &Number) -> usize {
    let digits = |n: u64| n.checked_ilog10().map_or(1, |log| log as usize + 1);
    match (n.as_u64(), n.as_i64()) {
        (Some(n), _) => digits(n),
        (_, Some(n)) => 1 + digits(n.unsigned_abs()),
        _ => {
            let mut length = Length(0);
            // Counting cannot fail.
            let _ = write!(length, "{n}");
            length.0
        }
    }
}

/// Counts the bytes that are written to it.
struct Length(usize);

impl std::fmt::Write for Length {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

/// Makes data of a value that was put together here, if it stays within the
/// limits of size and nesting that every edge keeps.
pub(crate) fn bounded(value: Value) -> Result<Data, Fault> {
    // The parser's own limit counts one more.
    if deeper_than(&value, JSON_DEPTH_MAX - 1) {
        return Err(Fault::new(
            "States.DataLimitExceeded",
            format!(
                "The state's data is nested deeper than {} levels.",
                JSON_DEPTH_MAX - 1
            ),
        ));
    }
    if size(&value) > PAYLOAD_BYTES_MAX {
        return Err(Fault::too_large("The state's data"));
    }
    if parts(&value) > JSON_VALUES_MAX {
        return Err(Fault::too_many("The state's data"));
    }
    Ok(Data::from_value(value))
}

/// Values and keys.
fn parts(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(parts).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(|v| 1 + parts(v)).sum::<usize>(),
        _ => 1,
    }
}

fn deeper_than(value: &Value, levels: usize) -> bool {
    match (value, levels) {
        (Value::Array(_) | Value::Object(_), 0) => true,
        (Value::Array(items), _) => items.iter().any(|v| deeper_than(v, levels - 1)),
        (Value::Object(map), _) => map.values().any(|v| deeper_than(v, levels - 1)),
        _ => false,
    }
}

/// The name of a value's kind, for messages.
pub(crate) fn kind_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// At most the first 2,000 bytes of a text, for messages.
pub(crate) fn excerpt(text: &str) -> &str {
    let mut end = text.len().min(2_000);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}
