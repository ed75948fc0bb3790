//! The functions of JSONata that take a picture: numbers and times as text, and back.
//!
//! The library makes whatever width a picture names, and asks the clock for the parts of a
//! time that a text leaves out. Refuses wide and long pictures, numerals that would not
//! end, and clocks: the day is the event's.

use std::rc::Rc;

use jsonata_core::evaluator::{Context, Evaluator, EvaluatorError};
use jsonata_core::parser;
use jsonata_core::value::JValue;
use stepwell_flow::expression::meter::PICTURES;
use stepwell_types::Timestamp;

use super::functions::{error, set};
use super::meter::Meter;
use crate::time;

/// Longest picture, and longest text that is read by one, in bytes.
const PICTURE_BYTES_MAX: usize = 1_000;
/// Widest part of a time, in characters.
const WIDTH_MAX: usize = 100;
/// Most digits of a year: more do not fit into the library's numbers.
const YEAR_DIGITS_MAX: usize = 18;
/// Largest number in Roman numerals: a thousand letters.
const ROMAN_MAX: f64 = 1_000_000.0;

pub(super) fn register(evaluator: &mut Evaluator, meter: &Rc<Meter>, at: Timestamp) {
    for (name, bounded) in PICTURES {
        let own = Rc::clone(meter);
        set(evaluator, name, move |args| {
            call(&own, at, name, &JValue::Undefined, args)
        });
        let own = Rc::clone(meter);
        set(evaluator, bounded, move |args| match args.split_first() {
            Some((context, args)) => call(&own, at, name, context, args),
            None => Ok(JValue::Undefined),
        });
    }
}

/// Calls the library's function, once its arguments are known to be small.
pub(super) fn call(
    meter: &Meter,
    at: Timestamp,
    name: &str,
    context: &JValue,
    args: &[JValue],
) -> Result<JValue, EvaluatorError> {
    let mut args = args.to_vec();
    if let (Some(JValue::Number(n)), "fromMillis") = (args.first_mut(), name) {
        // A time has whole milliseconds.
        *n = n.trunc();
    }
    let subject = args.first().cloned();
    let picture = picture_of(name, &mut args);
    let mut cost = 5;
    if let Some(JValue::String(picture)) = picture {
        short(name, "picture", picture)?;
        cost += picture.len() as u64 / 4;
        match name {
            "fromMillis" => time_picture(name, picture)?,
            "toMillis" => {
                time_picture(name, picture)?;
                // It becomes a regular expression; spelled-out numbers a large one.
                cost += picture.len() as u64 * if picture.contains(['w', 'W']) { 25 } else { 5 };
            }
            "formatInteger" => numeral(picture, subject.as_ref(), context)?,
            _ => {}
        }
        if let (Some(JValue::String(text)), "toMillis" | "parseInteger") = (&subject, name) {
            short(name, "text", text)?;
        }
    }
    meter.count(cost)?;
    if let (Some(JValue::Number(n)), "formatNumber" | "formatInteger") = (&subject, name)
        && !n.is_finite()
    {
        return Err(error(format!("${name} takes no infinite number")));
    }
    if name == "toMillis"
        && let [JValue::String(text), JValue::String(picture)] = &mut args[..]
    {
        let (shown, before) = day(at, picture);
        *text = format!("{before}{text}").into();
        *picture = format!("{shown}{picture}").into();
    }
    library(name, context, args)
}

/// Calls the library's own function.
pub(super) fn library(
    name: &str,
    context: &JValue,
    args: Vec<JValue>,
) -> Result<JValue, EvaluatorError> {
    let names: Vec<String> = (0..args.len()).map(|i| format!("$a{i}")).collect();
    let tree = parser::parse(&format!("${name}({})", names.join(", ")))
        .map_err(|e| error(e.display_message()))?;
    let mut bound = Context::new();
    for (i, arg) in args.into_iter().enumerate() {
        bound.bind(format!("a{i}"), arg);
    }
    Evaluator::with_context(bound).evaluate(&tree, context)
}

/// The argument that is the picture.
fn picture_of<'a>(name: &str, args: &'a mut [JValue]) -> Option<&'a JValue> {
    match name {
        "toMillis" => args.get(1),
        "parseInteger" | "formatInteger" => args.last(),
        // The first text: the number before it may be the context.
        _ => args.iter().find(|arg| matches!(arg, JValue::String(_))),
    }
}

fn short(name: &str, what: &str, text: &str) -> Result<(), EvaluatorError> {
    if text.len() <= PICTURE_BYTES_MAX {
        return Ok(());
    }
    Err(error(format!(
        "the {what} of ${name} is longer than {PICTURE_BYTES_MAX} bytes"
    )))
}

/// Every `[part,width]` of a picture.
fn parts(picture: &str) -> impl Iterator<Item = &str> {
    let pieces = picture.split('[').skip(1);
    pieces.map(|piece| piece.split(']').next().unwrap_or_default())
}

fn time_picture(name: &str, picture: &str) -> Result<(), EvaluatorError> {
    for part in parts(picture) {
        let part: String = part.split_whitespace().collect();
        let Some(component) = part.chars().next() else {
            continue;
        };
        if !component.is_ascii_alphabetic() {
            return Err(error(format!("D3132: {component}")));
        }
        let max = match component {
            'Y' => YEAR_DIGITS_MAX,
            _ => WIDTH_MAX,
        };
        let (form, widths) = part.rsplit_once(',').unwrap_or((&part, ""));
        let digits = form.chars().filter(|c| c.is_numeric() || *c == '#').count();
        let widths = widths
            .split('-')
            .filter(|w| w.starts_with(|c: char| c.is_ascii_digit() || c == '+'));
        let widths = widths.map(|w| w.parse::<usize>().unwrap_or(usize::MAX));
        if widths.chain([digits]).any(|width| width > max) {
            return Err(error(format!(
                "the part [{part}] in the picture of ${name} is wider than {max} characters"
            )));
        }
    }
    Ok(())
}

/// Whether a number may be written in the numerals that a picture names.
fn numeral(
    picture: &str,
    subject: Option<&JValue>,
    context: &JValue,
) -> Result<(), EvaluatorError> {
    let number = subject.and_then(JValue::as_f64).or(context.as_f64());
    let form = picture.rsplit_once(';').map_or(picture, |(form, _)| form);
    if matches!(form, "I" | "i") && number.is_some_and(|n| n.abs() > ROMAN_MAX) {
        return Err(error(format!(
            "$formatInteger writes no number above {ROMAN_MAX} in Roman numerals"
        )));
    }
    Ok(())
}

/// The parts before the first that a picture has, in order: as a picture and as the
/// event's time. The library would take them from the clock.
fn day(at: Timestamp, picture: &str) -> (String, String) {
    let has = |any: &[char]| parts(picture).any(|part| part.trim_start().starts_with(any));
    let mut shown = String::new();
    let now = time::print(at);
    let mut before = String::new();
    if parts(picture).next().is_none() {
        return (shown, before);
    }
    // Places in `YYYY-MM-DDThh:mm:ss.fffZ`; other ways to name a day are left alone.
    for (part, others, range) in [
        ("[Y0001]", &['Y', 'X'][..], 0..4),
        ("[M01]", &['M', 'd', 'W', 'x', 'w'], 5..7),
        ("[D01]", &['D', 'F'], 8..10),
        ("[H01]", &['H', 'h', 'P'], 11..13),
        ("[m01]", &['m'], 14..16),
        ("[s01]", &['s'], 17..19),
    ] {
        if has(others) {
            break;
        }
        shown += part;
        shown.push(' ');
        before += now.get(range).unwrap_or_default();
        before.push(' ');
    }
    (shown, before)
}
