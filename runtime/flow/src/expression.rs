//! Compiled expressions: what a definition's paths and templates become.
//!
//! One tree for every expression language, so that the evaluator is one too.

use serde_json::Value;
use serde_json_path::JsonPath;

/// Where a path begins to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// `$`: the state's data.
    Data,
    /// `$$`: the Context object.
    Context,
}

/// A compiled JSONPath that reads.
#[derive(Debug)]
pub struct DataPath {
    /// As written.
    pub source: Box<str>,
    /// What it reads from.
    pub root: Root,
    /// Compiled query, relative to the root.
    pub query: Query,
}

/// The compiled query of a [`DataPath`].
#[derive(Debug)]
pub enum Query {
    /// The root itself.
    Whole,
    /// Names and indices only: yields one value, and a missing one is an error.
    Definite(Vec<Segment>),
    /// Anything else: yields a list, perhaps empty.
    Indefinite(JsonPath),
}

/// One step of a definite path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// A member.
    Name(Box<str>),
    /// An element; negative counts from the end.
    Index(i64),
}

/// Where a result is written: `ResultPath`.
#[derive(Debug)]
pub enum WritePath {
    /// JSON `null`: the result is dropped, the input goes on.
    Discard,
    /// `$`: the result takes the input's place.
    Replace,
    /// A reference path below `$`.
    At(Vec<Segment>),
}

/// An expression that yields one value.
#[derive(Debug)]
pub enum Expression {
    /// As written.
    Literal(Value),
    /// A JSONPath.
    Path(DataPath),
    /// An intrinsic function of JSONPath mode, `States.Format(…)`.
    ///
    /// The number of arguments is right. Literal strings are unescaped, but for
    /// the template of `Format`: there `\\`, `\{` and `\}` are still escapes (as in
    /// a template that a path yields), and only a bare `{}` is a place to fill.
    Call {
        /// Which.
        function: Intrinsic,
        /// Literals, paths and nested calls.
        arguments: Vec<Expression>,
    },
}

/// A payload template: JSON with expressions at the fields named `….$`.
#[derive(Debug)]
pub enum Template {
    /// No expression below.
    Literal(Value),
    /// One evaluated place.
    Expression(Expression),
    /// Fields in the order of the source, names without `.$`.
    Object(Vec<(Box<str>, Template)>),
    /// Elements.
    Array(Vec<Template>),
}

/// The intrinsic functions.
/// Source: states-language.net, appendix B.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the specification's own names")]
pub enum Intrinsic {
    Format,
    StringToJson,
    JsonToString,
    Array,
    ArrayPartition,
    ArrayContains,
    ArrayRange,
    ArrayGetItem,
    ArrayLength,
    ArrayUnique,
    Base64Encode,
    Base64Decode,
    Hash,
    JsonMerge,
    MathRandom,
    MathAdd,
    StringSplit,
    Uuid,
}
