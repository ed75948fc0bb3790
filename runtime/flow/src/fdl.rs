//! What the two CloudFlow languages have in common: expressions, and what their
//! Tasks may name.
//!
//! Refuses to evaluate.
//! Source: alibabacloud.com, help of CloudFlow: "Inputs and outputs", "Built-in functions".

mod binding;
mod errors;
mod flow;
mod function;
mod notes;
mod parse;
mod resource;
mod rules;
mod show;
mod template;
mod unset;

use std::sync::Arc;

use serde_json::Value;

use crate::expression::{Query, Template};

pub(crate) use binding::{Binding, binding};
pub(crate) use errors::{check_state_name, errors, head, rate};
pub(crate) use flow::{answer, flow};
pub use function::Function;
pub(crate) use notes::Notes;
pub(crate) use parse::{Roots, parse};
pub(crate) use resource::{function, unbound};
pub(crate) use rules::{catcher, errors_of, retrier, rules};
pub(crate) use template::{expression, fields, part, rearranged, template};
pub(crate) use unset::{Kept, unset};

/// Most seconds of any field, as in ASL.
pub(crate) const SECONDS_MAX: u64 = 99_999_999;
/// Most seconds between two attempts, as in CloudFlow: a day.
pub(crate) const RETRY_SECONDS_MAX: u64 = 86_400;
/// Longest Task in CloudFlow, in seconds: a week.
pub(crate) const TASK_SECONDS_THERE: u64 = 604_800;

/// The data flow of a state of either CloudFlow language, in the order in which it applies.
#[derive(Debug, Default)]
pub struct Constructors {
    /// The old language, with `$local`, and the scope around the step.
    pub steps: Option<Steps>,
    /// `InputConstructor`, `inputMappings`: makes `$Input` of what comes in. `None`: it is that.
    pub input: Option<Template>,
    /// What a Task's step gets. `None`: `$Input`.
    pub arguments: Option<Template>,
    /// Makes CloudFlow's raw result of the engine's, which `$` is.
    pub result: Option<Template>,
    /// `OutputConstructor`, `outputMappings`. `None`: the raw result.
    pub output: Option<Template>,
    /// `GlobalConstructor`: what is merged into `$Global`.
    pub global: Option<Template>,
}

/// What a step of the old language has besides.
#[derive(Debug, Default)]
pub struct Steps {
    /// The mappings of the flow itself, for the steps of its own level.
    pub flow: Option<Arc<FlowMappings>>,
}

/// The mappings of a flow of the old language.
#[derive(Debug, Default)]
pub struct FlowMappings {
    /// `inputMappings`: the first step's input. `None`: the execution's.
    pub input: Option<Template>,
    /// `outputMappings`: the execution's output. `None`: `$local`.
    pub output: Option<Template>,
}

/// An expression of CloudFlow, compiled: a leaf of [`crate::expression::Expression`].
#[derive(Debug)]
pub enum Fdl {
    /// A constant.
    Literal(Value),
    /// `[a, b]`.
    List(Vec<Fdl>),
    /// One field: no definition can write it, some fields of a Task mean it.
    Field(Box<str>, Box<Fdl>),
    /// Of a list at most so many items: no definition can write it, `MaxItems` means it.
    First(Box<Fdl>, u64),
    /// `$Input.a[0]`.
    Path(Place),
    /// `!a`.
    Not(Box<Fdl>),
    /// `-a`.
    Negate(Box<Fdl>),
    /// `a == b`.
    Binary {
        /// Which.
        operator: Operator,
        /// The operands, left and right.
        operands: Box<(Fdl, Fdl)>,
    },
    /// `format("{}", $Input.a)`; the number of arguments is right.
    Call {
        /// Which.
        function: Function,
        /// In order.
        arguments: Vec<Fdl>,
    },
}

/// Where an expression reads.
#[derive(Debug)]
pub struct Place {
    /// As written.
    pub source: Box<str>,
    /// What it reads from.
    pub root: Root,
    /// Compiled query, relative to the root.
    pub query: Query,
}

/// What a path reads from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// `$Input`: what the state's constructor made. In the old language the step's input:
    /// `$input` of `outputMappings`, and `$` of conditions and collections.
    Input,
    /// `$Output`: the raw result. In the old language `$local` of `outputMappings`.
    Output,
    /// The old language's `$input` of `inputMappings`: the input of the scope.
    ScopeInput,
    /// The old language's `$local` of `inputMappings`: what the scope's steps yielded so far.
    ScopeLocal,
    /// `$Context`.
    Context,
    /// `$context` of the old language.
    OldContext,
    /// `$Global`.
    Global,
    /// `$Item`: the item of a Map that is about to begin.
    Item,
    /// Its index, from 0.
    Index,
}

/// The operators with two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "their own names say it")]
pub enum Operator {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}
