//! What a path selects that is more than names and indices: its steps, filters, functions.
//!
//! Refuses to evaluate, and to know how a path is written.

use serde_json::Value;

use crate::expression::{Indefinite, Query};
use crate::path::pattern::Pattern;

/// One step of an indefinite path: applied to each value that those before it yield.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// `..`: applied to each of those values and to all that is in them, from the outside in.
    pub descendant: bool,
    /// What is in the brackets, one after the other.
    pub selectors: Vec<Selector>,
}

/// What one step takes of a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Selector {
    /// A member.
    Name(Box<str>),
    /// An element; negative counts from the end.
    Index(i64),
    /// `*`: every element or member.
    All,
    /// `[start:end:step]`, as in RFC 9535.
    Slice {
        /// First element.
        start: Option<i64>,
        /// The element behind the last one.
        end: Option<i64>,
        /// From one to the next; 0 selects nothing.
        step: i64,
    },
    /// `[?…]`.
    Filter(Filter),
}

/// A condition in brackets.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// It stands in parentheses, `[?(…)]`, as the Jayway library wants it, and means what it
    /// means there: an object is asked itself and not its members, `==` compares a number with
    /// a numeral, and what is missing equals nothing. Otherwise it means what RFC 9535 says.
    pub jayway: bool,
    /// What must hold.
    pub test: Test,
}

/// What a filter asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// `||`.
    Any(Vec<Test>),
    /// `&&`.
    All(Vec<Test>),
    /// `!`.
    Not(Box<Test>),
    /// The path finds something.
    Exists(Inner),
    /// Two values are compared.
    Compare(Operand, Comparison, Operand),
    /// A text matches a pattern.
    Matches(Operand, Matcher),
    /// `in`, `anyof` and the like: a value, and a list.
    Lists(Operand, ListOperator, Operand),
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Comparison {
    Equal,
    Unequal,
    /// `===`: a number never equals a text.
    Same,
    Different,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Operators of the Jayway library about lists and lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListOperator {
    /// The value is in the list.
    In,
    /// It is not.
    Nin,
    /// All elements of the first are in the second.
    SubsetOf,
    /// Some are.
    AnyOf,
    /// None is.
    NoneOf,
    /// All elements of the second are in the first.
    All,
    /// The array has the value, or the text has the part.
    Contains,
    /// The text, array or object has that length.
    Size,
    /// It has the length 0, or has not.
    Empty,
}

/// One side of a comparison, or an argument.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// A constant, perhaps an array of them.
    Literal(Value),
    /// What a path finds: one value, or the array of all for a path that may select several.
    Path(Inner),
    /// `length()`.
    Length(Box<Operand>),
    /// `count()`.
    Count(Inner),
    /// `value()`: what the path finds, if that is one value.
    Only(Inner),
}

/// A path in a filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Inner {
    /// It begins with `$`, and not at the value that is asked.
    pub absolute: bool,
    /// Its steps.
    pub steps: Vec<Step>,
    /// A function at its end, `@.tags.length()`.
    pub function: Option<Function>,
}

impl Inner {
    /// Whether it names one place at most.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.steps.iter().all(|step| {
            let one = matches!(
                step.selectors.as_slice(),
                [Selector::Name(_) | Selector::Index(_)]
            );
            one && !step.descendant
        })
    }
}

/// A regular expression, and how it is tried on a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Matcher {
    /// What is compiled. It may be no pattern at all, and then matches nothing.
    pub pattern: Box<str>,
    /// What compiling and trying it costs.
    pub cost: Pattern,
    /// `=~`: numbers and booleans are tried as their texts, anything else as an empty one.
    pub texts: bool,
}

/// A function at the end of a path, `$.list.length()`.
#[derive(Debug)]
pub struct Called {
    /// What the path before it finds: the function is asked of that.
    pub query: Query,
    /// The function.
    pub function: Function,
}

impl Called {
    /// The path, if the function is asked of the list of all that it finds. That is so for a
    /// path that begins with `..`; of other paths that may select several places it is asked
    /// of each one, and yields a list.
    #[must_use]
    pub fn of_all(&self) -> Option<&Indefinite> {
        match &self.query {
            Query::Indefinite(found) if found.steps.first().is_some_and(|s| s.descendant) => {
                Some(found)
            }
            _ => None,
        }
    }
}

/// A function of the Jayway library, and its arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// Which.
    pub kind: FunctionKind,
    /// Constants, and paths: from `$`, or from `@`, which outside of a filter is the same.
    pub arguments: Vec<Operand>,
}

/// The functions of the Jayway library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionKind {
    /// `length()`, `size()`: of an array or object.
    Length,
    /// `sum()` of the numbers of an array, and so on.
    Sum,
    /// `min()`.
    Min,
    /// `max()`.
    Max,
    /// `avg()`.
    Average,
    /// `stddev()`, of the whole and not of a sample.
    Deviation,
    /// `concat()`: the texts of an array and of the arguments as one.
    Concat,
    /// `keys()`: the names of an object.
    Keys,
    /// `append()`: the array, with the arguments at its end.
    Append,
    /// `first()`.
    First,
    /// `last()`.
    Last,
    /// `index(n)`: negative counts from the end.
    Index,
}
