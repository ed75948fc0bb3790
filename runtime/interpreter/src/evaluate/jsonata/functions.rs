//! The functions that Step Functions adds to JSONata, and those of JSONata that would
//! ask a clock or chance: `$now`, `$millis`, `$random`, `$shuffle`.
//!
//! Refuses `$eval`, as Step Functions does.

use std::cell::Cell;
use std::rc::Rc;

use jsonata_core::evaluator::{Evaluator, EvaluatorError};
use jsonata_core::value::JValue;
use stepwell_types::Timestamp;

use super::super::hash;
use super::meter::{Meter, miscounted};
use super::pictures;
use crate::{random, time};

/// Most elements that `$range` makes: as many as its JSONPath twin.
const RANGE_MAX: f64 = 1_000.0;

/// A draw of 16 bytes at a time from the execution's seed.
#[derive(Clone)]
pub(super) struct Draws {
    seed: [u8; 16],
    count: Rc<Cell<u64>>,
}

impl Draws {
    pub fn new(seed: [u8; 16], made: u64) -> Draws {
        Draws {
            seed,
            count: Rc::new(Cell::new(made)),
        }
    }

    /// How many there were, those before the evaluation counted.
    pub fn made(&self) -> u64 {
        self.count.get()
    }

    fn bytes(&self) -> [u8; 16] {
        let n = self.count.get();
        self.count.set(n + 1);
        random::draw(&self.seed, "expression", 0, n)
    }

    fn unit(&self) -> f64 {
        random::unit((u128::from_be_bytes(self.bytes()) >> 64) as u64)
    }
}

pub(super) fn register(evaluator: &mut Evaluator, at: Timestamp, draws: &Draws, meter: &Rc<Meter>) {
    let draws = draws.clone();
    set(evaluator, "eval", |_| {
        Err(error("the function $eval does not exist here"))
    });
    set(evaluator, "millis", move |args| match args {
        [] => Ok(JValue::Number(at.0 as f64)),
        args => Err(miscounted(0, args.len())),
    });
    let own = Rc::clone(meter);
    set(evaluator, "now", move |args| now(&own, at, args));
    let own = draws.clone();
    set(evaluator, "random", move |args| match args.first() {
        None | Some(JValue::Undefined) => Ok(JValue::Number(own.unit())),
        Some(JValue::Number(seed)) => {
            let bits = random::draw_u64(&[0; 16], "random", 0, seed.to_bits());
            Ok(JValue::Number(random::unit(bits)))
        }
        Some(_) => Err(error("the seed of $random must be a number")),
    });
    let own = draws.clone();
    set(evaluator, "shuffle", move |args| match args {
        [_] => Ok(shuffle(&own, args)),
        args => Err(miscounted(1, args.len())),
    });
    // Values do not change: a copy is the value.
    set(evaluator, "clone", |args| match args {
        [] => Ok(JValue::Undefined),
        [value @ (JValue::Undefined | JValue::Array(_) | JValue::Object(_))] => Ok(value.clone()),
        [_] => Err(unfit("clone", 1)),
        args => Err(miscounted(1, args.len())),
    });
    set(evaluator, "uuid", move |_| {
        Ok(JValue::from(random::uuid(draws.bytes())))
    });
    set(evaluator, "hash", hash_of);
    set(evaluator, "range", range);
    set(evaluator, "partition", partition);
    set(evaluator, "parse", parse);
}

pub(super) fn set(
    evaluator: &mut Evaluator,
    name: &str,
    function: impl Fn(&[JValue]) -> Result<JValue, EvaluatorError> + 'static,
) {
    // Refused only for names that the library compiles: none of these is.
    let registered = evaluator.register_fn_override(name, function);
    debug_assert!(registered.is_ok(), "{name} cannot be set");
}

pub(super) fn error(message: impl Into<String>) -> EvaluatorError {
    EvaluatorError::EvaluationError(message.into())
}

/// An argument of a kind that the function does not take.
fn unfit(name: &str, argument: usize) -> EvaluatorError {
    error(format!(
        "T0410: Argument {argument} of function {name} does not match function signature"
    ))
}

/// As `$fromMillis` formats the event's time; without a picture ISO 8601.
fn now(meter: &Meter, at: Timestamp, args: &[JValue]) -> Result<JValue, EvaluatorError> {
    let text = |arg: &JValue| matches!(arg, JValue::Undefined | JValue::String(_));
    let wrong = args.iter().take(2).position(|arg| !text(arg));
    if let Some(wrong) = wrong.or((args.len() > 2).then_some(2)) {
        return Err(unfit("now", wrong + 1));
    }
    if args.iter().all(|a| matches!(a, JValue::Undefined)) {
        return Ok(JValue::from(time::print(at)));
    }
    let mut given = vec![JValue::Number(at.0 as f64)];
    given.extend_from_slice(args);
    pictures::call(meter, at, "fromMillis", &JValue::Undefined, &given)
}

/// An even permutation by Fisher and Yates.
fn shuffle(draws: &Draws, args: &[JValue]) -> JValue {
    let mut items = match args.first() {
        Some(JValue::Array(items)) => items.to_vec(),
        Some(JValue::Undefined) | None => return JValue::Undefined,
        Some(other) => vec![other.clone()],
    };
    for last in (1..items.len()).rev() {
        let other = (draws.unit() * (last + 1) as f64) as usize;
        items.swap(last, other.min(last));
    }
    JValue::array(items)
}

/// `$hash(data, algorithm)`: lower-case hex; SHA-256 unless another is named.
fn hash_of(args: &[JValue]) -> Result<JValue, EvaluatorError> {
    let text = match args.first() {
        None | Some(JValue::Undefined) => return Ok(JValue::Undefined),
        Some(JValue::String(text)) => text.to_string(),
        Some(other) => other.to_json_string().map_err(|e| error(e.to_string()))?,
    };
    let algorithm = match args.get(1) {
        None | Some(JValue::Undefined) => "SHA-256",
        Some(other) => other
            .as_str()
            .ok_or_else(|| error("the algorithm of $hash must be a string"))?,
    };
    hash::hex(algorithm, &text)
        .map(JValue::from)
        .ok_or_else(|| error(format!("$hash knows no algorithm {algorithm:?}")))
}

/// `$range(first, last, step)`, both ends included.
fn range(args: &[JValue]) -> Result<JValue, EvaluatorError> {
    let [Some(first), Some(last), Some(step)] =
        [0, 1, 2].map(|i| args.get(i).and_then(JValue::as_f64))
    else {
        return Err(error("$range takes three numbers: first, last, step"));
    };
    if step == 0.0 || !step.is_finite() || !first.is_finite() || !last.is_finite() {
        return Err(error("the step of $range must not be zero"));
    }
    let steps = ((last - first) / step).floor();
    if steps >= RANGE_MAX {
        return Err(error(format!(
            "$range would make more than {RANGE_MAX} elements"
        )));
    }
    let mut out = Vec::new();
    let mut n = 0.0;
    while n <= steps {
        out.push(JValue::Number(first + n * step));
        n += 1.0;
    }
    Ok(JValue::array(out))
}

/// `$partition(array, size)`: pieces of at most this many elements.
fn partition(args: &[JValue]) -> Result<JValue, EvaluatorError> {
    let items = match args.first() {
        None | Some(JValue::Undefined) => return Ok(JValue::Undefined),
        Some(JValue::Array(items)) => items.to_vec(),
        Some(other) => vec![other.clone()],
    };
    let size = args.get(1).and_then(JValue::as_f64).map(f64::round);
    match size {
        Some(size) if size >= 1.0 => {
            let chunks = items.chunks(size as usize);
            Ok(JValue::array(
                chunks.map(|c| JValue::array(c.to_vec())).collect(),
            ))
        }
        _ => Err(error("the size for $partition must be a positive number")),
    }
}

/// `$parse(text)`: JSON.
fn parse(args: &[JValue]) -> Result<JValue, EvaluatorError> {
    match args.first() {
        None | Some(JValue::Undefined) => Ok(JValue::Undefined),
        Some(JValue::String(text)) => {
            JValue::from_json_str(text).map_err(|e| error(format!("$parse: not valid JSON: {e}")))
        }
        Some(_) => Err(error("$parse takes a string")),
    }
}
