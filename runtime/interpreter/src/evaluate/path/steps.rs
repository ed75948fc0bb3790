//! The steps of a path that may select several values, one after the other.
//!
//! Everything that is looked at is counted before. Refuses to copy.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use regex::Regex;
use serde_json::{Map, Value};
use stepwell_flow::query::{Filter, Selector, Step};

use super::super::{Env, Fault};
use super::position;

/// Bytes of text that are worth one operation.
const PER_OPERATION: usize = 16;

/// Operations to look at a text.
pub(super) fn weight(text: &str) -> u64 {
    (text.len() / PER_OPERATION) as u64
}

/// One evaluation of a path.
pub(super) struct Walk<'w, 'v> {
    pub(super) env: &'w Env<'w>,
    /// What `$` is in a filter.
    pub(super) root: &'v Value,
    /// Regular expressions that were compiled already; `None`: it is none.
    pub(super) built: RefCell<HashMap<&'v str, Option<Rc<Regex>>>>,
}

impl<'w, 'v> Walk<'w, 'v> {
    pub fn new(env: &'w Env<'w>, root: &'v Value) -> Walk<'w, 'v> {
        Walk {
            env,
            root,
            built: RefCell::default(),
        }
    }

    /// What the steps select, beginning at `from`.
    pub fn steps(&self, from: &'v Value, steps: &'v [Step]) -> Result<Vec<&'v Value>, Fault> {
        let mut found = vec![from];
        for step in steps {
            let mut next = Vec::new();
            for value in found {
                if step.descendant {
                    self.descend(value, step, &mut next)?;
                } else {
                    self.apply(value, step, &mut next)?;
                }
            }
            found = next;
        }
        Ok(found)
    }

    fn descend(
        &self,
        from: &'v Value,
        step: &'v Step,
        found: &mut Vec<&'v Value>,
    ) -> Result<(), Fault> {
        let mut open = vec![from];
        while let Some(value) = open.pop() {
            self.env.count(1)?;
            self.apply(value, step, found)?;
            match value {
                Value::Array(items) => open.extend(items.iter().rev()),
                Value::Object(map) => open.extend(map.values().rev()),
                _ => {}
            }
        }
        Ok(())
    }

    /// One value, and all selectors of a step.
    fn apply(
        &self,
        value: &'v Value,
        step: &'v Step,
        found: &mut Vec<&'v Value>,
    ) -> Result<(), Fault> {
        for selector in &step.selectors {
            self.env.count(1)?;
            match (selector, value) {
                (Selector::Name(name), Value::Object(map)) => {
                    self.env.count(weight(name))?;
                    found.extend(map.get(&**name));
                }
                (Selector::Index(index), Value::Array(items)) => {
                    found.extend(position(*index, items.len()).and_then(|at| items.get(at)));
                }
                (Selector::All, Value::Array(items)) => {
                    self.env.count(items.len() as u64)?;
                    found.extend(items);
                }
                (Selector::All, Value::Object(map)) => {
                    self.env.count(map.len() as u64)?;
                    found.extend(map.values());
                }
                (Selector::Slice { start, end, step }, Value::Array(items)) => {
                    self.env.count(items.len() as u64)?;
                    slice(items, *start, *end, *step, found);
                }
                (Selector::Filter(filter), Value::Array(items)) => {
                    // Of those that `..` finds, each object is asked when its turn comes.
                    let later = step.descendant && filter.jayway;
                    let asked = items.iter().filter(|item| !(later && item.is_object()));
                    self.asked(filter, asked, found)?;
                }
                (Selector::Filter(filter), Value::Object(_)) if filter.jayway => {
                    self.asked(filter, std::iter::once(value), found)?;
                }
                (Selector::Filter(filter), Value::Object(map)) => {
                    self.asked(filter, map.values(), found)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Those values for which the filter holds.
    fn asked(
        &self,
        filter: &'v Filter,
        values: impl Iterator<Item = &'v Value>,
        found: &mut Vec<&'v Value>,
    ) -> Result<(), Fault> {
        for value in values {
            if self.holds(&filter.test, filter.jayway, value)? {
                found.push(value);
            }
        }
        Ok(())
    }
}

/// `[start:end:step]`. Source: RFC 9535, section 2.3.4.2.
fn slice<'v>(
    items: &'v [Value],
    start: Option<i64>,
    end: Option<i64>,
    step: i64,
    found: &mut Vec<&'v Value>,
) {
    let Ok(len) = i64::try_from(items.len()) else {
        return;
    };
    let from_end = |bound: i64| if bound < 0 { len + bound } else { bound };
    let at = |index: i64| usize::try_from(index).ok().and_then(|i| items.get(i));
    if step > 0 {
        let mut next = from_end(start.unwrap_or(0)).clamp(0, len);
        let end = from_end(end.unwrap_or(len)).clamp(0, len);
        while next < end {
            found.extend(at(next));
            next = next.saturating_add(step);
        }
    } else if step < 0 {
        let mut next = start.map_or(len - 1, from_end).clamp(-1, len - 1);
        let end = end.map_or(-1, from_end).clamp(-1, len - 1);
        while next > end {
            found.extend(at(next));
            next = next.saturating_add(step);
        }
    }
}

/// How many values are right in a value, if any can be.
pub(super) fn members(value: &Value) -> Option<usize> {
    match value {
        Value::Array(items) => Some(items.len()),
        Value::Object(map) => Some(Map::len(map)),
        _ => None,
    }
}
