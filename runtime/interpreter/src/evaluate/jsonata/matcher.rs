//! Functions as values within JSONata: which are the library's own, and what compiling and
//! trying regular expressions costs, as the pattern of a function and as functions themselves.
//!
//! The library matches those that take time linear in their text. One that looks around or
//! refers back is matched here, as a function that the library calls for each match.
//! Refuses to track back without end.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use jsonata_core::ast::AstNode;
use jsonata_core::evaluator::{Context, Evaluator, EvaluatorError, StoredLambda};
use jsonata_core::value::JValue;
use stepwell_flow::expression::{backtracking, meter};

use super::Kit;
use super::functions::{error, set};
use super::meter::{Meter, native};

/// What the library's own `next` is bound to within ours.
const NATIVE: &str = "regex native";
/// What our `next` hands on besides: the cost of its pattern.
const COSTS: [&str; 3] = ["regex compile", "regex each", "regex rescans"];

/// How many ways that lead to nothing a pattern may take for one match: as many as the first
/// of these; if they do not do, it is tried again with the next. Each is paid for beforehand.
const WAYS_MAX: [usize; 6] = [1 << 4, 1 << 7, 1 << 10, 1 << 13, 1 << 16, 1 << 19];
/// Ways for one operation.
const WAYS_PER_OPERATION: u64 = 4;
/// Bytes of text that a loop goes through for one way, for one operation.
const LOOP_BYTES_PER_WAY: u64 = 64;
/// Bytes of text that are gone through to find a place, for one operation.
const PLACE_BYTES_PER_OPERATION: u64 = 256;
/// A pattern of the library's that is found nowhere.
const NOWHERE: &str = "[a&&b]";
const ZERO_LENGTH: &str = "D1004: Regular expression matches zero length string";
/// A variable of the matches that track back: the text.
const TEXT: &str = "regex text";

/// Patterns that track back, compiled, by their source and how many ways they may take.
#[derive(Clone, Default)]
pub(super) struct Patterns(Rc<RefCell<HashMap<(String, usize), fancy_regex::Regex>>>);

impl Patterns {
    /// `compile`: what that costs.
    fn get(
        &self,
        meter: &Meter,
        pattern: &str,
        ways: usize,
        compile: u64,
    ) -> Result<fancy_regex::Regex, EvaluatorError> {
        let key = (pattern.to_owned(), ways);
        if let Some(known) = self.0.borrow().get(&key) {
            return Ok(known.clone());
        }
        meter.count(compile)?;
        let compiled = backtracking(pattern, ways).map_err(error)?;
        self.0.borrow_mut().insert(key, compiled.clone());
        Ok(compiled)
    }
}

pub(super) fn register(evaluator: &mut Evaluator, kit: &Rc<Kit>) {
    let meter = &kit.meter;
    let own = Rc::clone(meter);
    set(evaluator, meter::SUBJECT, move |args| {
        let value = args.first().cloned().unwrap_or(JValue::Undefined);
        own.subject(&value)?;
        Ok(value)
    });
    for (name, all) in [(meter::PATTERN, false), (meter::PATTERN_ALL, true)] {
        let own = Rc::clone(meter);
        let patterns = kit.patterns.clone();
        set(evaluator, name, move |args| {
            pattern(&own, &patterns, args, all)
        });
    }
    let weak = Rc::downgrade(kit);
    set(evaluator, meter::SPLIT, move |args| match weak.upgrade() {
        Some(kit) => split(&kit, args),
        None => Err(error("the evaluation is over")),
    });
    let own = Rc::clone(meter);
    let patterns = kit.patterns.clone();
    set(evaluator, meter::REGEX, move |args| match args {
        [JValue::String(pattern), JValue::String(flags), rest @ ..]
            if &**flags == meter::BACKTRACKS =>
        {
            backtracked(&own, &patterns, pattern, rest)
        }
        args => first(&own, args),
    });
    let own = Rc::clone(meter);
    set(evaluator, meter::REGEX_NEXT, move |args| next(&own, args));
    set(evaluator, meter::GIVEN, |args| {
        let given = args.first().is_some_and(|arg| !arg.is_undefined());
        Ok(JValue::Bool(given))
    });
    set(evaluator, meter::BUILT_IN, |args| {
        Ok(JValue::Bool(matches!(
            args.first(),
            Some(JValue::Builtin { .. })
        )))
    });
}

/// Gives a pattern back in the library's form, once its cost on the last subject is counted.
fn pattern(
    meter: &Meter,
    patterns: &Patterns,
    args: &[JValue],
    all: bool,
) -> Result<JValue, EvaluatorError> {
    let subject = meter.last_subject();
    let length = subject.as_str().map_or(0, str::len) as u64;
    let Some((pattern, known)) = args.split_first() else {
        return Ok(JValue::Undefined);
    };
    let own = unwrap(pattern);
    // The library asks only whether there is a match, and takes no function to find it: it is
    // given a pattern that is found everywhere, or nowhere.
    if let (Some((source, cost)), JValue::String(text), false) =
        (tracking(own.as_ref()), &subject, all)
    {
        let found = search(meter, patterns, source, cost, text, 0)?.is_some();
        return Ok(JValue::regex(if found { "" } else { NOWHERE }, ""));
    }
    match own {
        // It is called, and counts then.
        Some(own) if own.backtracks => {}
        Some(own) => {
            meter.tried(length, &own.cost, all)?;
            return Ok(JValue::regex(own.pattern, own.flags));
        }
        None if matches!(pattern, JValue::Regex { .. }) => meter.tried(length, known, all)?,
        None => {}
    }
    Ok(pattern.clone())
}

/// A regular expression that a function of ours stands for.
struct Own<'v> {
    pattern: &'v str,
    flags: &'v str,
    cost: Vec<JValue>,
    backtracks: bool,
}

fn unwrap(value: &JValue) -> Option<Own<'_>> {
    let JValue::Lambda(stored) = value else {
        return None;
    };
    let AstNode::Function { name, args, .. } = &stored.body else {
        return None;
    };
    let [AstNode::String(pattern), AstNode::String(flags), costs @ ..] = &args[..] else {
        return None;
    };
    let costs = costs.iter().map_while(|cost| match cost {
        AstNode::Number(n) => Some(JValue::Number(*n)),
        _ => None,
    });
    (name == meter::REGEX).then(|| Own {
        pattern,
        flags,
        cost: costs.collect(),
        backtracks: flags == meter::BACKTRACKS,
    })
}

/// The source and the cost of one that tracks back.
fn tracking<'o>(own: Option<&'o Own<'_>>) -> Option<(&'o str, &'o [JValue])> {
    let own = own.filter(|own| own.backtracks)?;
    Some((own.pattern, &own.cost))
}

/// `$split(text, pattern, limit)`: by one that tracks back, which the library takes for no
/// pattern; by all others it is the library's.
fn split(kit: &Rc<Kit>, args: &[JValue]) -> Result<JValue, EvaluatorError> {
    const NATIVE_SPLIT: &str = "$split($a0, $a1, $a2)";
    let own = args.get(1).and_then(unwrap);
    let (Some(JValue::String(text)), Some((pattern, cost))) =
        (args.first(), tracking(own.as_ref()))
    else {
        return native(kit, NATIVE_SPLIT, args);
    };
    let limit = match args.get(2) {
        None | Some(JValue::Undefined) => f64::INFINITY,
        Some(JValue::Number(n)) if *n >= 0.0 => *n,
        // It says what is wrong with the limit.
        Some(_) => {
            let mut args = args.to_vec();
            if let Some(pattern) = args.get_mut(1) {
                *pattern = JValue::regex(NOWHERE, "");
            }
            return native(kit, NATIVE_SPLIT, &args);
        }
    };
    let find = |from: usize| {
        let found = search(&kit.meter, &kit.patterns, pattern, cost, text, from)?;
        Ok::<_, EvaluatorError>(found.and_then(|groups| groups.into_iter().next().flatten()))
    };
    let piece = |range: Range<usize>| JValue::from(text.get(range).unwrap_or_default().to_owned());
    let mut pieces = Vec::new();
    let (mut begin, mut count) = (0, 0.0);
    let mut found = if limit > 0.0 { find(0)? } else { None };
    while let Some(range) = found.filter(|_| count < limit) {
        pieces.push(piece(begin..range.start));
        begin = range.end;
        count += 1.0;
        found = if begin < text.len() {
            find(begin)?
        } else {
            None
        };
        if found.as_ref().is_some_and(Range::is_empty) {
            return Err(error(ZERO_LENGTH));
        }
    }
    if count < limit {
        pieces.push(piece(begin..text.len()));
    }
    Ok(JValue::array(pieces))
}

/// The first match: pattern, flags, its three costs, a text, where to begin.
fn first(meter: &Meter, args: &[JValue]) -> Result<JValue, EvaluatorError> {
    let [JValue::String(pattern), JValue::String(flags), rest @ ..] = args else {
        return Err(error("a regular expression is called by its source"));
    };
    let (cost, given) = rest.split_at(rest.len().min(COSTS.len()));
    meter.shallow(given.first().unwrap_or(&JValue::Undefined))?;
    meter.tried(length(given), cost, false)?;
    let given: Vec<JValue> = match given {
        // Nothing is where to begin.
        [text, JValue::Undefined] => vec![text.clone()],
        given => given.to_vec(),
    };
    let regex = JValue::regex(&**pattern, &**flags);
    let found = call(regex, &given)?;
    Ok(counting(found, cost))
}

/// The first match of a pattern that tracks back: its three costs, a text, where to begin,
/// and whether it follows another match.
fn backtracked(
    meter: &Meter,
    patterns: &Patterns,
    pattern: &str,
    args: &[JValue],
) -> Result<JValue, EvaluatorError> {
    let (cost, given) = args.split_at(args.len().min(COSTS.len()));
    let Some(subject @ JValue::String(text)) = given.first() else {
        return Ok(JValue::Undefined);
    };
    // Places in it are counted as JavaScript does, from its beginning.
    meter.count(1 + text.len() as u64 / PLACE_BYTES_PER_OPERATION)?;
    let from = given.get(1).and_then(JValue::as_f64).unwrap_or(0.0);
    let follows = given.len() > 2;
    let Some(start) = byte_at(text, from.max(0.0) as usize) else {
        return Ok(JValue::Undefined);
    };
    if follows && start == text.len() {
        return Ok(JValue::Undefined);
    }
    let Some(groups) = search(meter, patterns, pattern, cost, text, start)? else {
        return Ok(JValue::Undefined);
    };
    let Some((Some(whole), groups)) = groups.split_first() else {
        return Ok(JValue::Undefined);
    };
    if follows && whole.is_empty() {
        return Err(error(ZERO_LENGTH));
    }
    let part = |range: &Range<usize>| text.get(range.clone()).unwrap_or_default();
    let begin = units(text.get(..whole.start));
    let end = begin + units(Some(part(whole)));
    let mut found = indexmap::IndexMap::new();
    found.insert("match".to_owned(), JValue::from(part(whole).to_owned()));
    found.insert("start".to_owned(), JValue::Number(begin));
    found.insert("end".to_owned(), JValue::Number(end));
    let groups = groups.iter().map(|group| match group {
        Some(range) => JValue::from(part(range).to_owned()),
        None => JValue::Undefined,
    });
    found.insert("groups".to_owned(), JValue::array(groups.collect()));
    found.insert("next".to_owned(), following(pattern, cost, subject, end)?);
    Ok(JValue::object(found))
}

/// Where the groups of the first match are, the whole of it first.
#[allow(clippy::type_complexity, reason = "a list of places")]
fn search(
    meter: &Meter,
    patterns: &Patterns,
    pattern: &str,
    cost: &[JValue],
    text: &str,
    start: usize,
) -> Result<Option<Vec<Option<Range<usize>>>>, EvaluatorError> {
    let number = |i: usize| cost.get(i).and_then(JValue::as_f64).unwrap_or(1.0) as u64;
    let (compile, loops) = (number(0), number(1) > 0);
    let length = text.len() as u64;
    let each = match loops {
        true => 1 + length / LOOP_BYTES_PER_WAY,
        false => 1,
    };
    // Each place of the text at which nothing is found is a way that leads to nothing.
    for ways in WAYS_MAX {
        meter.count((ways as u64 / WAYS_PER_OPERATION).saturating_mul(each))?;
        let regex = patterns.get(meter, pattern, ways, compile)?;
        // It fails for nothing but its bounds.
        if let Ok(found) = regex.captures_from_pos(text, start) {
            return Ok(found.map(|found| {
                let groups = (0..found.len()).map(|i| found.get(i).map(|group| group.range()));
                groups.collect()
            }));
        }
    }
    Err(meter.exceed())
}

/// The function that finds the match after one that ends at `end`.
fn following(
    pattern: &str,
    cost: &[JValue],
    subject: &JValue,
    end: f64,
) -> Result<JValue, EvaluatorError> {
    // A function of the library's, to be given another body.
    let found = call(JValue::regex("a", ""), &[JValue::from("a")])?;
    let native = match &found {
        JValue::Object(fields) => fields.get("next"),
        _ => None,
    };
    let Some(JValue::Lambda(native)) = native else {
        return Err(error("a match of the JSONata library has no next()"));
    };
    let mut next = StoredLambda::clone(native);
    next.captured_env = std::iter::once((TEXT.to_owned(), subject.clone())).collect();
    let number = |value: &JValue| AstNode::Number(value.as_f64().unwrap_or(1.0));
    let text = |text: &str| AstNode::String(text.to_owned());
    let mut args = vec![text(pattern), text(meter::BACKTRACKS)];
    args.extend(cost.iter().map(number));
    args.extend([
        AstNode::Variable(TEXT.to_owned()),
        AstNode::Number(end),
        AstNode::Boolean(true),
    ]);
    next.body = AstNode::Function {
        name: meter::REGEX.to_owned(),
        args,
        is_builtin: true,
    };
    Ok(JValue::Lambda(Rc::new(next)))
}

/// The length of a text as JavaScript counts it.
fn units(text: Option<&str>) -> f64 {
    text.unwrap_or_default().encode_utf16().count() as f64
}

/// The byte at so many units of UTF-16; `None`: the text is shorter.
fn byte_at(text: &str, units: usize) -> Option<usize> {
    let mut passed = 0;
    for (at, c) in text.char_indices() {
        if passed >= units {
            return Some(at);
        }
        passed += c.len_utf16();
    }
    (passed >= units).then_some(text.len())
}

/// The match after one: the library's own function for it, and the cost of the pattern.
fn next(meter: &Meter, args: &[JValue]) -> Result<JValue, EvaluatorError> {
    let Some((native @ JValue::Lambda(stored), cost)) = args.split_first() else {
        return Err(error("next() is called by its match"));
    };
    let texts: Vec<JValue> = stored.captured_env.values().cloned().collect();
    meter.tried(length(&texts), cost, false)?;
    let found = call(native.clone(), &[])?;
    Ok(counting(found, cost))
}

/// The longest of some texts, in bytes.
fn length(values: &[JValue]) -> u64 {
    let texts = values.iter().filter_map(JValue::as_str);
    texts.map(str::len).max().unwrap_or(0) as u64
}

/// A match whose `next()` counts.
fn counting(found: JValue, cost: &[JValue]) -> JValue {
    let JValue::Object(fields) = &found else {
        return found;
    };
    let Some(JValue::Lambda(native)) = fields.get("next") else {
        return found;
    };
    let variable = |name: &str| AstNode::Variable(name.to_owned());
    let mut next = StoredLambda::clone(native);
    next.captured_env = COSTS
        .iter()
        .zip(cost)
        .map(|(name, cost)| ((*name).to_owned(), cost.clone()))
        .collect();
    next.captured_env
        .insert(NATIVE.to_owned(), JValue::Lambda(Rc::clone(native)));
    next.body = AstNode::Function {
        name: meter::REGEX_NEXT.to_owned(),
        args: std::iter::once(NATIVE).chain(COSTS).map(variable).collect(),
        is_builtin: true,
    };
    let mut fields: indexmap::IndexMap<String, JValue> =
        fields.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    fields.insert("next".to_owned(), JValue::Lambda(Rc::new(next)));
    JValue::object(fields)
}

/// Calls a function of the library's.
fn call(function: JValue, args: &[JValue]) -> Result<JValue, EvaluatorError> {
    let mut context = Context::new();
    context.bind("f".to_owned(), function);
    let names: Vec<String> = (0..args.len()).map(|i| format!("a{i}")).collect();
    for (name, arg) in names.iter().zip(args) {
        context.bind(name.clone(), arg.clone());
    }
    let tree = AstNode::Function {
        name: "f".to_owned(),
        args: names.into_iter().map(AstNode::Variable).collect(),
        is_builtin: true,
    };
    Evaluator::with_context(context).evaluate(&tree, &JValue::Undefined)
}
