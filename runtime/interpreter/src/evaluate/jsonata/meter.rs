//! Counting within JSONata: the functions that a compiled tree calls wherever it loops.
//!
//! The count depends on the expression and its data alone, so that a replay fails where
//! the first run did. Refuses clocks.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use jsonata_core::evaluator::{Context, Evaluator, EvaluatorError};
use jsonata_core::parser;
use jsonata_core::value::JValue;
use stepwell_flow::expression::meter;

use super::Kit;
use super::functions::{error, set};

/// What one round of a loop costs, besides what it does: entering a function or a filter.
const CALL: u64 = 5;
/// Longest text that one function call makes, in bytes.
const TEXT_BYTES_MAX: f64 = 16_777_216.0;
/// A value of an expression may be as large as this, however small the data: as the number
/// of values in it, each place counted.
const TREE_MIN: u64 = 4_000_000;
/// Bytes of text, or elements of an array that are only passed on, for one operation.
const PER_OPERATION: u64 = 16;
/// Values in what one step of a path hands to the next, for one operation: they may all be
/// put into one list.
const SHARED_PER_OPERATION: u64 = 4;
/// Values right below one whose tree is measured, for one operation: they are kept.
const TREE_PER_OPERATION: u64 = 4;
/// Comparisons of a value with a place that is to be transformed, for one operation.
const PLACES_PER_OPERATION: u64 = 64;

/// Most elements of a range, as JSONata's own implementation has it: its words name another
/// number.
const RANGE_MAX: f64 = 1e7;

/// What is left of an evaluation's operations.
pub(super) struct Meter {
    left: Cell<u64>,
    exceeded: Cell<bool>,
    ranges: RefCell<Vec<f64>>,
    /// Sizes of values that are about to be transformed.
    values: RefCell<Vec<u64>>,
    /// Texts that patterns are about to be tried on.
    subjects: RefCell<Vec<JValue>>,
    /// Largest value, as the number of values in it, each place counted.
    tree_max: u64,
    /// Sizes of values as trees by address; the values are kept, so that none is used anew.
    trees: RefCell<HashMap<usize, (u64, JValue)>>,
}

impl Meter {
    pub fn new(operations: u64) -> Rc<Meter> {
        Rc::new(Meter {
            left: Cell::new(operations),
            exceeded: Cell::new(false),
            ranges: RefCell::default(),
            values: RefCell::default(),
            subjects: RefCell::default(),
            tree_max: operations.max(TREE_MIN),
            trees: RefCell::default(),
        })
    }

    pub fn left(&self) -> u64 {
        self.left.get()
    }

    pub fn exceeded(&self) -> bool {
        self.exceeded.get()
    }

    pub fn count(&self, operations: u64) -> Result<(), EvaluatorError> {
        match self.left.get().checked_sub(operations) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(self.exceed()),
        }
    }

    pub fn exceed(&self) -> EvaluatorError {
        self.exceeded.set(true);
        error("too many operations")
    }

    /// All that is in it, and how many values those are.
    fn transformed(&self, value: &JValue) -> Result<(), EvaluatorError> {
        let before = self.left();
        self.deep(value)?;
        self.values.borrow_mut().push(before - self.left());
        Ok(())
    }

    /// Places that are looked for among the values last remembered.
    fn located(&self, value: &JValue) -> Result<(), EvaluatorError> {
        let values = self.values.borrow_mut().pop().unwrap_or(1);
        let places = value.as_array().map_or(1, Vec::len) as u64;
        self.count(1 + places.saturating_mul(values) / PLACES_PER_OPERATION)
    }

    /// Remembers a text that a pattern will be tried on.
    pub fn subject(&self, value: &JValue) -> Result<(), EvaluatorError> {
        self.subjects.borrow_mut().push(value.clone());
        self.shallow(value)
    }

    /// The last text remembered.
    pub fn last_subject(&self) -> JValue {
        self.subjects
            .borrow_mut()
            .pop()
            .unwrap_or(JValue::Undefined)
    }

    /// The value's own length.
    pub fn shallow(&self, value: &JValue) -> Result<(), EvaluatorError> {
        let length = match value {
            JValue::String(text) => text.len(),
            JValue::Array(items) => items.len(),
            JValue::Object(map) => map.len(),
            _ => 0,
        };
        self.count(1 + length as u64 / PER_OPERATION)
    }

    /// All that is in it; stops as soon as the operations are used up.
    fn deep(&self, value: &JValue) -> Result<(), EvaluatorError> {
        let mut open = vec![value];
        while let Some(value) = open.pop() {
            self.shallow(value)?;
            self.count(1)?;
            match value {
                JValue::Array(items) => open.extend(items.iter()),
                JValue::Object(map) => open.extend(map.values()),
                _ => {}
            }
        }
        Ok(())
    }

    /// The elements of an array, and of arrays in it, `times` each.
    fn each(&self, value: &JValue, times: u64) -> Result<(), EvaluatorError> {
        let mut open = vec![value];
        self.count(times.max(1))?;
        while let Some(value) = open.pop() {
            if let JValue::Array(items) = value {
                self.count((items.len() as u64).saturating_mul(times))?;
                open.extend(items.iter().filter(|item| item.is_array()));
            }
        }
        Ok(())
    }

    /// What is looked at until something true is found.
    fn truth(&self, value: &JValue) -> Result<(), EvaluatorError> {
        self.count(1)?;
        let mut open = vec![value];
        let mut seen = 0u64;
        while let Some(value) = open.pop() {
            seen += 1;
            if seen.is_multiple_of(PER_OPERATION) {
                self.count(1)?;
            }
            let holds = match value {
                JValue::Bool(holds) => *holds,
                JValue::Number(n) => *n != 0.0,
                JValue::String(text) => !text.is_empty(),
                JValue::Object(map) => !map.is_empty(),
                JValue::Array(items) => {
                    // From the first on; the list of them is as long as the array.
                    self.count(items.len() as u64 / PER_OPERATION)?;
                    open.extend(items.iter().rev());
                    false
                }
                _ => false,
            };
            if holds {
                break;
            }
        }
        Ok(())
    }

    /// Each element is compared with as many others as the logarithm of their number says;
    /// texts in it, or right in its elements, may be compared to their ends.
    fn sort(&self, value: &JValue) -> Result<(), EvaluatorError> {
        let Some(items) = value.as_array() else {
            return self.count(1);
        };
        let rounds = u64::from(items.len().max(2).ilog2());
        self.count(1 + items.len() as u64 * rounds / 4)?;
        for item in items.iter() {
            let bytes: usize = match item {
                JValue::String(text) => text.len(),
                JValue::Object(map) => {
                    self.count(map.len() as u64 / PER_OPERATION)?;
                    map.values().filter_map(JValue::as_str).map(str::len).sum()
                }
                _ => 0,
            };
            self.count(bytes as u64 * rounds / (4 * PER_OPERATION))?;
        }
        Ok(())
    }

    /// Names are looked for among all that were found before, one after the other.
    fn keys(&self, value: &JValue) -> Result<(), EvaluatorError> {
        let Some(items) = value.as_array() else {
            return self.shallow(value);
        };
        self.count(1)?;
        let mut found = HashSet::new();
        for item in items.iter() {
            if let JValue::Object(map) = item {
                for name in map.keys() {
                    found.insert(name.as_str());
                    let compared = found.len() as u64 / PER_OPERATION;
                    self.count(1 + compared)?;
                }
            }
        }
        Ok(())
    }

    /// What is printed on a line of its own, as deep as it stands.
    fn lines(&self, value: &JValue) -> Result<(), EvaluatorError> {
        let mut bytes = 0f64;
        let mut open = vec![(value, 0u32)];
        while let Some((value, level)) = open.pop() {
            self.shallow(value)?;
            self.count(1 + u64::from(level) * 2 / PER_OPERATION)?;
            bytes += f64::from(level) * 2.0 + length(Some(value)) + 8.0;
            match value {
                JValue::Array(items) => open.extend(items.iter().map(|v| (v, level + 1))),
                JValue::Object(map) => open.extend(map.values().map(|v| (v, level + 1))),
                _ => {}
            }
        }
        if bytes > TEXT_BYTES_MAX {
            return Err(self.exceed());
        }
        Ok(())
    }

    /// What each value of a step gives the next step to go through.
    fn shared(&self, value: &JValue) -> Result<(), EvaluatorError> {
        self.each(value, 1)?;
        let size = self.tree(value)?;
        self.count(size / SHARED_PER_OPERATION)
    }

    /// A text that a pattern is tried on.
    pub fn tried(&self, length: u64, cost: &[JValue], all: bool) -> Result<(), EvaluatorError> {
        let number = |i: usize| cost.get(i).and_then(JValue::as_f64).unwrap_or(1.0) as u64;
        let (compile, each, rescans) = (number(0), number(1), number(2) > 0);
        let pieces = 1 + length / PER_OPERATION;
        self.count(compile.saturating_add(pieces.saturating_mul(each)))?;
        if all && rescans {
            // Each match may go through the text to its end.
            self.count(pieces.saturating_mul(pieces).saturating_mul(each))?;
        }
        Ok(())
    }

    /// Its size as a tree. Each part is walked once, however often it occurs.
    fn tree(&self, value: &JValue) -> Result<u64, EvaluatorError> {
        let mut trees = self.trees.borrow_mut();
        let mut open = vec![(value, false)];
        while let Some((value, ready)) = open.pop() {
            let Some(address) = address(value) else {
                continue;
            };
            if trees.contains_key(&address) {
                continue;
            }
            if !ready {
                let length = match value {
                    JValue::Array(items) => items.len(),
                    JValue::Object(map) => map.len(),
                    _ => 0,
                };
                self.count(1 + length as u64 / TREE_PER_OPERATION)?;
                open.push((value, true));
                each(value, &mut |child| open.push((child, false)));
                continue;
            }
            let mut size = 1u64;
            each(value, &mut |child| {
                let known = self::address(child).and_then(|a| trees.get(&a));
                size = size.saturating_add(known.map_or(1, |(size, _)| *size));
            });
            self.count(size.min(self.tree_max) / 1_024)?;
            if size > self.tree_max {
                return Err(self.exceed());
            }
            trees.insert(address, (size, value.clone()));
        }
        let known = address(value).and_then(|a| trees.get(&a));
        Ok(known.map_or(1, |(size, _)| *size))
    }
}

/// Where an array or object is; nothing else holds values.
fn address(value: &JValue) -> Option<usize> {
    match value {
        JValue::Array(items) => Some(std::ptr::from_ref::<Vec<JValue>>(items).addr()),
        JValue::Object(map) => Some(Rc::as_ptr(map).addr()),
        _ => None,
    }
}

fn each<'v>(value: &'v JValue, f: &mut dyn FnMut(&'v JValue)) {
    match value {
        JValue::Array(items) => items.iter().for_each(f),
        JValue::Object(map) => map.values().for_each(f),
        _ => {}
    }
}

fn length(value: Option<&JValue>) -> f64 {
    value
        .and_then(JValue::as_str)
        .map_or(0.0, |t| t.len() as f64)
}

pub(super) fn register(evaluator: &mut Evaluator, kit: &Rc<Kit>) {
    let meter = &kit.meter;
    let own = Rc::clone(meter);
    set(evaluator, meter::TICK, move |args| {
        let given = args.first().and_then(JValue::as_f64);
        own.count(given.map_or(CALL, |n| n as u64))?;
        Ok(JValue::Undefined)
    });
    type Count = fn(&Meter, &JValue) -> Result<(), EvaluatorError>;
    let weighing: [(&str, Count); 10] = [
        (meter::WEIGH, Meter::shallow),
        (meter::WEIGH_TRUTH, Meter::truth),
        (meter::WEIGH_SORT, Meter::sort),
        (meter::WEIGH_KEYS, Meter::keys),
        (meter::WEIGH_DEEP, Meter::deep),
        (meter::WEIGH_LINES, Meter::lines),
        (meter::WEIGH_SHARED, Meter::shared),
        (meter::TRANSFORMED, Meter::transformed),
        (meter::LOCATED, Meter::located),
        (meter::WEIGH_TREE, |meter, value| {
            meter.tree(value).map(|_| ())
        }),
    ];
    for (name, count) in weighing {
        let own = Rc::clone(meter);
        set(evaluator, name, move |args| {
            let value = args.first().cloned().unwrap_or(JValue::Undefined);
            count(&own, &value)?;
            Ok(value)
        });
    }
    let own = Rc::clone(meter);
    set(evaluator, meter::WEIGH_EACH, move |args| {
        let value = args.first().cloned().unwrap_or(JValue::Undefined);
        let times = args.get(1).and_then(JValue::as_f64).unwrap_or(1.0);
        own.each(&value, times as u64)?;
        Ok(value)
    });
    let own = Rc::clone(meter);
    set(evaluator, meter::WEIGH_STEP, move |args| {
        let [begins, rounds, value] = args else {
            return Err(error("a path is weighed by its beginning and its value"));
        };
        own.each(begins, rounds.as_f64().unwrap_or(1.0) as u64)?;
        own.each(value, 1)?;
        Ok(value.clone())
    });
    let own = Rc::clone(meter);
    set(evaluator, meter::RANGE_FROM, move |args| {
        let value = args.first().cloned().unwrap_or(JValue::Undefined);
        own.ranges.borrow_mut().push(value.as_f64().unwrap_or(0.0));
        Ok(value)
    });
    let own = Rc::clone(meter);
    set(evaluator, meter::RANGE_TO, move |args| {
        let value = args.first().cloned().unwrap_or(JValue::Undefined);
        let from = own.ranges.borrow_mut().pop().unwrap_or(0.0);
        if let Some(to) = value.as_f64() {
            let size = to - from + 1.0;
            if size > RANGE_MAX && to.fract() == 0.0 && from.fract() == 0.0 {
                return Err(error(format!(
                    "D2014: The size of the sequence allocated by the range operator (..) must not exceed 1e6.  Attempted to allocate {size}."
                )));
            }
            own.count(1 + (to - from).max(0.0) as u64)?;
        }
        Ok(value)
    });
    let own = Rc::clone(meter);
    set(evaluator, meter::DISTINCT, move |args| match args {
        [JValue::Array(items)] if items.len() > 1 => {
            own.deep(&args[0])?;
            let mut seen = HashSet::with_capacity(items.len());
            let kept = items.iter().filter(|item| seen.insert(key(item)));
            let mut found = JValue::array(kept.cloned().collect());
            if items.sequence {
                found.mark_sequence();
            }
            Ok(found)
        }
        [value] => Ok(value.clone()),
        args => Err(miscounted(1, args.len())),
    });
    bounded(evaluator, kit, meter::JOIN, "$join($a0, $a1)", |args| {
        let items = args.first().and_then(JValue::as_array);
        let between = length(args.get(1)) * items.map_or(0, Vec::len) as f64;
        between
            + items
                .into_iter()
                .flatten()
                .map(|i| length(Some(i)))
                .sum::<f64>()
    });
    bounded(evaluator, kit, meter::PAD, "$pad($a0, $a1, $a2)", |args| {
        // A character takes up to four bytes.
        args.get(1)
            .and_then(JValue::as_f64)
            .map_or(0.0, |n| 4.0 * n.abs())
    });
    let replace = "$replace($a0, $a1, $a2, $a3)";
    bounded(evaluator, kit, meter::REPLACE, replace, |args| {
        (length(args.first()) + 1.0) * (length(args.get(2)) + 1.0)
    });
}

/// Equal values have equal keys: the fields of an object in order, numbers by value.
fn key(value: &JValue) -> String {
    match value {
        JValue::Array(items) => {
            let keys: Vec<String> = items.iter().map(key).collect();
            format!("[{}]", keys.join(","))
        }
        JValue::Object(map) => {
            let mut fields: Vec<_> = map.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let fields: Vec<String> = (fields.into_iter())
                .map(|(name, value)| format!("{name:?}:{}", key(value)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        JValue::String(text) => format!("{text:?}"),
        // -0 equals 0.
        JValue::Number(n) => format!("{}", n + 0.0),
        JValue::Bool(b) => b.to_string(),
        JValue::Null => "null".to_owned(),
        other => format!("{other:?}"),
    }
}

/// A built-in function that is only called if what it makes has room.
fn bounded(
    evaluator: &mut Evaluator,
    kit: &Rc<Kit>,
    name: &'static str,
    source: &'static str,
    bytes: fn(&[JValue]) -> f64,
) {
    let kit = Rc::downgrade(kit);
    set(evaluator, name, move |args| {
        let Some(kit) = kit.upgrade() else {
            return Err(error("the evaluation is over"));
        };
        let meter = &kit.meter;
        let bytes = bytes(args);
        if bytes > TEXT_BYTES_MAX {
            return Err(meter.exceed());
        }
        meter.count(1 + bytes as u64 / PER_OPERATION)?;
        native(&kit, source, args)
    });
}

/// Too many or too few arguments, as the library says it.
pub(super) fn miscounted(expected: usize, given: usize) -> EvaluatorError {
    error(format!(
        "T0410: Argument count mismatch: expected {expected}, got {given}"
    ))
}

/// The library's own function, called as `source` says.
pub(super) fn native(
    kit: &Rc<Kit>,
    source: &str,
    args: &[JValue],
) -> Result<JValue, EvaluatorError> {
    let most = source.matches("$a").count();
    if args.len() > most {
        return Err(miscounted(most, args.len()));
    }
    // As many arguments as were given: the library tells undefined ones from none.
    let end = match args.len() {
        0 => source.find("$a0"),
        n => source.find(&format!(", $a{n}")),
    };
    let call = match end.and_then(|end| source.get(..end)) {
        Some(short) => format!("{short})"),
        None => source.to_owned(),
    };
    let tree = parser::parse(&call).map_err(|e| error(e.display_message()))?;
    let mut context = Context::new();
    for (i, arg) in args.iter().enumerate() {
        context.bind(format!("a{i}"), arg.clone());
    }
    let mut evaluator = Evaluator::with_context(context);
    // A replacement may be a function.
    kit.equip(&mut evaluator);
    evaluator.evaluate(&tree, &JValue::Undefined)
}
