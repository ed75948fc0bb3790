//! What an expression that fails was doing: the function that it called, the values that it
//! compared. The library's errors do not say so, JSONata's own do.
//!
//! Refuses to change values: each noting function gives its last argument back.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::rc::Rc;

use jsonata_core::evaluator::Evaluator;
use jsonata_core::value::JValue;
use stepwell_flow::expression::notes;

use super::functions::set;
use super::order;

/// The last of each kind.
#[derive(Default)]
pub(super) struct Notes {
    /// The name of the function that was called; `Some("")`: by a value without a name.
    called: RefCell<Option<String>>,
    /// The operators whose right side is evaluated, the outermost first.
    within: RefCell<Vec<String>>,
    /// The left sides of comparisons whose right side is not known yet.
    lefts: RefCell<Vec<JValue>>,
    compared: RefCell<Option<(String, JValue, JValue)>>,
    negated: RefCell<Option<JValue>>,
    /// The directions of an order by, and the values of its terms, item by item.
    sorted: RefCell<(String, Vec<JValue>)>,
    updated: RefCell<Option<JValue>>,
    deleted: RefCell<Option<JValue>>,
}

impl Notes {
    /// What was called, if anything was.
    pub fn called(&self) -> Option<String> {
        self.called.borrow().clone()
    }

    /// `and` or `or`, if it failed in the right side of one: JSONata's own implementation
    /// takes that for the name of whatever failed there.
    pub fn within(&self) -> Option<String> {
        self.within.borrow().first().cloned()
    }

    /// The sign of the last comparison, and its two sides.
    pub fn compared(&self) -> Option<(String, String, String)> {
        let compared = self.compared.borrow();
        let (sign, left, right) = compared.as_ref()?;
        Some((sign.clone(), shown(left), shown(right)))
    }

    pub fn negated(&self) -> Option<String> {
        self.negated.borrow().as_ref().map(shown)
    }

    pub fn updated(&self) -> Option<String> {
        self.updated.borrow().as_ref().map(shown)
    }

    pub fn deleted(&self) -> Option<String> {
        self.deleted.borrow().as_ref().map(shown)
    }

    /// The two values of an order by that JSONata's own sorting compares first of those that
    /// cannot be compared.
    pub fn mismatched(&self) -> Option<(String, String)> {
        let sorted = self.sorted.borrow();
        let (ways, values) = &*sorted;
        let mut items: Vec<&[JValue]> = values.chunks_exact(ways.len().max(1)).collect();
        match sort(&mut items, ways) {
            Ok(()) => None,
            Err((left, right)) => Some((shown(left), shown(right))),
        }
    }
}

/// A value as JSON, its beginning if it is long.
fn shown(value: &JValue) -> String {
    let text = super::to_json(value, stepwell_types::limits::JSON_DEPTH_MAX, &mut 0);
    // JavaScript's JSON has no number beyond its range.
    let text = text.map_or_else(|_| "null".to_owned(), |json| json.to_string());
    super::excerpt(&text).to_owned()
}

/// Two values that cannot be compared.
type Mismatch<'v> = (&'v JValue, &'v JValue);

/// JSONata's own merge sort, as far as it gets.
fn sort<'v>(items: &mut [&'v [JValue]], ways: &str) -> Result<(), Mismatch<'v>> {
    if items.len() < 2 {
        return Ok(());
    }
    let middle = items.len() / 2;
    let (left, right) = items.split_at_mut(middle);
    sort(left, ways)?;
    sort(right, ways)?;
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut lefts, mut rights) = (left.iter().peekable(), right.iter().peekable());
    while let (Some(a), Some(b)) = (lefts.peek(), rights.peek()) {
        let later = compare(a, b, ways)? == Ordering::Greater;
        let taken = if later { rights.next() } else { lefts.next() };
        merged.extend(taken.copied());
    }
    merged.extend(lefts.chain(rights).copied());
    items.copy_from_slice(&merged);
    Ok(())
}

fn compare<'v>(a: &'v [JValue], b: &'v [JValue], ways: &str) -> Result<Ordering, Mismatch<'v>> {
    for ((a, b), way) in a.iter().zip(b).zip(ways.chars()) {
        let order = match (a, b) {
            (JValue::Undefined, JValue::Undefined) => continue,
            (JValue::Undefined, _) => return Ok(Ordering::Greater),
            (_, JValue::Undefined) => return Ok(Ordering::Less),
            (JValue::Number(x), JValue::Number(y)) => x.partial_cmp(y).unwrap_or(Ordering::Equal),
            (JValue::String(x), JValue::String(y)) => order::texts(x, y),
            _ => return Err((a, b)),
        };
        match (order, way) {
            (Ordering::Equal, _) => {}
            (order, '>') => return Ok(order.reverse()),
            (order, _) => return Ok(order),
        }
    }
    Ok(Ordering::Equal)
}

pub(super) fn register(evaluator: &mut Evaluator, kept: &Rc<Notes>) {
    type Note = fn(&Notes, &str, &JValue);
    let all: [(&str, Note); 10] = [
        (notes::ENTER, |notes, operator, _| {
            notes.within.borrow_mut().push(operator.to_owned());
        }),
        (notes::LEAVE, |notes, _, _| {
            notes.within.borrow_mut().pop();
        }),
        (notes::CALL, |notes, name, _| {
            *notes.called.borrow_mut() = Some(name.to_owned());
        }),
        (notes::LEFT, |notes, _, value| {
            notes.lefts.borrow_mut().push(value.clone());
        }),
        (notes::RIGHT, |notes, sign, value| {
            let left = notes.lefts.borrow_mut().pop().unwrap_or(JValue::Undefined);
            *notes.compared.borrow_mut() = Some((sign.to_owned(), left, value.clone()));
        }),
        (notes::NEGATED, |notes, _, value| {
            *notes.negated.borrow_mut() = Some(value.clone());
        }),
        (notes::SORTED, |notes, ways, _| {
            *notes.sorted.borrow_mut() = (ways.to_owned(), Vec::new());
        }),
        (notes::TERM, |notes, _, value| {
            notes.sorted.borrow_mut().1.push(value.clone());
        }),
        (notes::UPDATE, |notes, _, value| {
            *notes.updated.borrow_mut() = Some(value.clone());
        }),
        (notes::DELETE, |notes, _, value| {
            *notes.deleted.borrow_mut() = Some(value.clone());
        }),
    ];
    for (name, note) in all {
        let kept = Rc::clone(kept);
        set(evaluator, name, move |args| {
            let value = args.last().cloned().unwrap_or(JValue::Undefined);
            let given = match args {
                [JValue::String(given), _] => &**given,
                _ => "",
            };
            note(&kept, given, &value);
            Ok(value)
        });
    }
}
