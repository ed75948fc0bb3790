//! How much an indefinite path can cost, before it is evaluated.
//!
//! The query library does not count what it does, so the work is bounded from the path's
//! form and the size of the data. Refuses to be exact: the bound is never too low.

mod form;

use serde_json::Value;

use crate::expression::Segment;
use form::{Call, Filter, Operand, Step, Term};

/// Bytes of text that are worth one operation.
const PER_OPERATION: usize = 16;

/// The size and form of a JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// Values in it, itself included.
    pub nodes: u64,
    /// Operations to look at all of it: one a value, and more for long texts and names.
    pub weight: u64,
    /// How many values are around one, at most.
    pub depth: u64,
    /// How many values are around one, on average, rounded up.
    pub average: u64,
}

impl Measure {
    /// Looks at every value once.
    #[must_use]
    pub fn of(value: &Value) -> Measure {
        let mut sum = Measure {
            nodes: 0,
            weight: 0,
            depth: 0,
            average: 0,
        };
        let (mut levels, mut weighed) = (0u64, 0u64);
        let mut open = vec![(value, 1u64)];
        while let Some((value, level)) = open.pop() {
            let own = weight(value);
            sum.nodes += 1;
            sum.weight += own;
            sum.depth = sum.depth.max(level);
            levels += level;
            weighed = weighed.saturating_add(level.saturating_mul(own));
            match value {
                Value::Array(items) => open.extend(items.iter().map(|v| (v, level + 1))),
                Value::Object(map) => open.extend(map.values().map(|v| (v, level + 1))),
                _ => {}
            }
        }
        let heavy = weighed.div_ceil(sum.weight.max(1));
        sum.average = levels.div_ceil(sum.nodes.max(1)).max(heavy);
        sum
    }
}

/// Operations to look at a value, without what is in it.
fn weight(value: &Value) -> u64 {
    let bytes = match value {
        Value::String(text) => text.len(),
        Value::Object(map) => map.keys().map(String::len).sum(),
        _ => 0,
    };
    1 + (bytes / PER_OPERATION) as u64
}

/// Operations to look at a value and all that is in it; stops beyond `max`.
fn weight_upto(value: &Value, max: u64) -> u64 {
    let mut sum = 0u64;
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        sum += weight(value);
        if sum > max {
            break;
        }
        match value {
            Value::Array(items) => open.extend(items.iter()),
            Value::Object(map) => open.extend(map.values()),
            _ => {}
        }
    }
    sum
}

/// The form of a path, as far as it decides the cost.
#[derive(Clone, Default, PartialEq)]
pub struct Cost {
    steps: Vec<Step>,
}

/// The path itself says the rest.
impl std::fmt::Debug for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cost")
            .field("steps", &self.steps.len())
            .finish_non_exhaustive()
    }
}

impl Cost {
    /// A bound of the operations that an evaluation on `root` makes; `None`: more than `left`.
    #[must_use]
    pub fn bound(&self, root: &Value, measure: Measure, left: u64) -> Option<u64> {
        let mut tally = Tally {
            root,
            measure,
            left,
            times: 1,
        };
        // Names at the beginning say of which part of the data the rest is.
        let names = self.steps.iter().map_while(|step| step.single.as_ref());
        let (mut part, mut at) = (root, 0);
        for segment in names {
            tally.take(1)?;
            let Some(found) = follow(part, std::slice::from_ref(segment)) else {
                return Some(left - tally.left);
            };
            (part, at) = (found, at + 1);
        }
        let mut set = Set::root(if at == 0 { measure } else { Measure::of(part) });
        set.below = match part {
            Value::Array(items) => items.len() as u64,
            Value::Object(map) => map.len() as u64,
            _ => 0,
        };
        steps(self.steps.get(at..).unwrap_or_default(), &mut tally, set)?;
        Some(left - tally.left)
    }
}

/// Counts the steps of a path, one after the other.
fn steps(steps: &[Step], tally: &mut Tally<'_>, mut set: Set) -> Option<()> {
    for step in steps {
        set = step.count(tally, set)?;
    }
    Some(())
}

/// What is left of the operations, and what they are made on.
struct Tally<'v> {
    root: &'v Value,
    measure: Measure,
    left: u64,
    /// How often that which is being counted is done.
    times: u64,
}

impl Tally<'_> {
    fn take(&mut self, operations: u64) -> Option<()> {
        let operations = operations.saturating_mul(self.times);
        self.left = self.left.checked_sub(operations)?;
        Some(())
    }
}

/// Values that a step is applied to.
#[derive(Clone, Copy)]
struct Set {
    /// How many.
    contexts: u64,
    /// Distinct values right below them.
    below: u64,
    /// Distinct values in and below them, and the operations to look at those.
    nodes: u64,
    weight: u64,
    /// How often one of those can occur.
    times: u64,
    /// How many of the values may be around one of them; 1 as long as none is in another.
    nested: u64,
    /// What `nested` becomes with the next `..`, and with those after it.
    average: u64,
    depth: u64,
}

impl Set {
    fn root(measure: Measure) -> Set {
        Set {
            contexts: 1,
            below: measure.nodes,
            nodes: measure.nodes,
            weight: measure.weight,
            times: 1,
            nested: 1,
            average: measure.average,
            depth: measure.depth,
        }
    }

    /// A bound of the values right below.
    fn children(&self) -> u64 {
        self.times.saturating_mul(self.below)
    }

    /// The values right below, each to be looked at on its own.
    fn items(&self) -> Set {
        let all = self.times.saturating_mul(self.nested);
        Set {
            contexts: self.children(),
            below: all.saturating_mul(self.nodes),
            nodes: all.saturating_mul(self.nodes),
            weight: all.saturating_mul(self.weight),
            times: 1,
            nested: 1,
            average: if self.nested == 1 {
                self.average
            } else {
                self.depth
            },
            depth: self.depth,
        }
    }
}

impl Step {
    /// Counts one step, and gives what it selects.
    fn count(&self, tally: &mut Tally<'_>, mut set: Set) -> Option<Set> {
        if self.descendant {
            set.below = set.nodes;
            // The library hands what it finds up, level by level.
            let levels = if set.nested == 1 {
                set.average
            } else {
                set.depth
            };
            tally.take(set.children().saturating_mul(levels))?;
            if set.nested > 1 {
                set.times = set.times.saturating_mul(set.depth);
            }
            set.contexts = set.children();
            // A value with nothing in it is around nothing, but counts as its own level.
            set.nested = levels.max(2);
            set.average = set.depth;
        }
        tally.take(set.contexts.saturating_mul(self.single_cost))?;
        for _ in 0..self.many {
            tally.take(set.contexts.saturating_add(set.children()))?;
        }
        for filter in &self.filters {
            tally.take(set.contexts.saturating_add(set.children()))?;
            filter.count(tally, set.items())?;
        }
        let selectors = self.singles + self.many + self.filters.len() as u64;
        set.times = set.times.saturating_mul(selectors.max(1));
        set.contexts = if self.many == 0 && self.filters.is_empty() {
            set.contexts.saturating_mul(self.singles)
        } else {
            set.children()
        };
        set.below = set.nodes;
        Some(set)
    }
}

impl Filter {
    fn count(&self, tally: &mut Tally<'_>, items: Set) -> Option<()> {
        for term in &self.terms {
            tally.take(items.contexts)?;
            match term {
                Term::Test(operand) => operand.count(tally, items)?,
                Term::Compare(a, b) => {
                    a.count(tally, items)?;
                    b.count(tally, items)?;
                    // A comparison ends with its smaller side.
                    let (first, second) = if a.is_absolute() { (b, a) } else { (a, b) };
                    let most = first.weight(tally, items, tally.left);
                    let least = second.weight(tally, items, most).min(most);
                    tally.take(least)?;
                }
            }
        }
        Some(())
    }
}

impl Operand {
    fn is_absolute(&self) -> bool {
        matches!(self, Operand::Path { absolute: true, .. })
    }

    /// Counts its evaluation for each of the items.
    fn count(&self, tally: &mut Tally<'_>, items: Set) -> Option<()> {
        match self {
            // The library copies it.
            Operand::Literal(bytes) => tally.take(
                items
                    .contexts
                    .saturating_mul((bytes / PER_OPERATION) as u64),
            ),
            Operand::Path {
                absolute: false,
                cost,
                ..
            } => steps(&cost.steps, tally, items),
            Operand::Path {
                absolute: true,
                cost,
                ..
            } => {
                let times = tally.times;
                tally.times = times.saturating_mul(items.contexts);
                steps(&cost.steps, tally, Set::root(tally.measure))?;
                tally.times = times;
                Some(())
            }
            Operand::Call {
                function,
                arguments,
            } => {
                for argument in arguments {
                    argument.count(tally, items)?;
                }
                let text = |tally: &Tally<'_>| match arguments.first() {
                    Some(first) => first.text(tally, items),
                    None => 0,
                };
                match function {
                    Call::Length => tally.take(text(tally)),
                    Call::Match(pattern) => {
                        tally.take(items.contexts.saturating_mul(pattern.compile))?;
                        tally.take(text(tally).saturating_mul(pattern.each))
                    }
                    Call::Value | Call::Other => Some(()),
                }
            }
        }
    }

    /// A bound of the operations to go through its value for all of the items; an absolute
    /// one is looked at no further than `max` of them.
    fn weight(&self, tally: &Tally<'_>, items: Set, max: u64) -> u64 {
        match self {
            Operand::Literal(bytes) => {
                let each = 1 + (bytes / PER_OPERATION) as u64;
                items.contexts.saturating_mul(each)
            }
            Operand::Path {
                absolute: false, ..
            } => items.weight,
            Operand::Path {
                absolute: true,
                single,
                ..
            } => {
                let each = max / items.contexts.max(1);
                let each = match single.as_deref().map(|s| follow(tally.root, s)) {
                    Some(Some(value)) => weight_upto(value, each),
                    Some(None) => 1,
                    None => tally.measure.weight,
                };
                items.contexts.saturating_mul(each)
            }
            Operand::Call {
                function: Call::Value,
                arguments,
            } => {
                let path = arguments.first().map(|a| a.weight(tally, items, max));
                path.unwrap_or(0).max(items.contexts)
            }
            Operand::Call { .. } => items.contexts,
        }
    }

    /// As [`Operand::weight`], if only a text is gone through.
    fn text(&self, tally: &Tally<'_>, items: Set) -> u64 {
        match self {
            Operand::Path {
                absolute: true,
                single: Some(single),
                ..
            } => {
                let each = follow(tally.root, single).map_or(1, weight);
                items.contexts.saturating_mul(each)
            }
            other => other.weight(tally, items, u64::MAX),
        }
    }
}

/// Where names and indices lead.
fn follow<'v>(root: &'v Value, segments: &[Segment]) -> Option<&'v Value> {
    let mut at = root;
    for segment in segments {
        at = match segment {
            Segment::Name(name) => at.get(&**name)?,
            Segment::Index(index) => at.get(usize::try_from(*index).ok()?)?,
        };
    }
    Some(at)
}

#[cfg(test)]
mod tests;
