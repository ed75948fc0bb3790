//! Compiled expressions: what a definition's paths and templates become.
//!
//! One tree for every expression language, so that the evaluator is one too.

use std::sync::{Arc, OnceLock};

use jsonata_core::ast::AstNode;
use serde_json::Value;

use crate::query::{Called, Step};

pub use crate::path::pattern::{Pattern, backtracking};

/// The language in which a state's expressions are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryLanguage {
    /// Paths, payload templates and intrinsic functions.
    JsonPath,
    /// Strings of the form `{% … %}`.
    Jsonata,
}

/// Where a path begins to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// `$`: the state's data.
    Data,
    /// `$$`: the Context object.
    Context,
    /// `$name`: a variable.
    Variable(Arc<str>),
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
    Indefinite(Indefinite),
    /// A path with a function at its end.
    Called(Box<Called>),
}

/// A query that yields a list.
#[derive(Debug)]
pub struct Indefinite {
    /// What is evaluated, one after the other.
    pub steps: Vec<Step>,
    /// Names at the end of the path: what is found becomes objects of these members.
    pub merge: Option<Merge>,
}

/// `['a','b']` at the end of a path: one object of those members that are there, as in the
/// Jayway library, and not a list of their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// The members, in their order.
    pub names: Vec<Box<str>>,
    /// What is before them, if that is one place: then the path yields one object.
    pub place: Option<Vec<Segment>>,
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
        /// The call as written, or the beginning of a long one, for messages.
        source: Box<str>,
    },
    /// `{% … %}` of JSONata mode.
    Jsonata(Jsonata),
    /// An expression of CloudFlow.
    Fdl(crate::fdl::Fdl),
}

/// A parsed JSONata expression.
pub struct Jsonata {
    /// As written, without the marks `{%` and `%}` and the blanks next to them.
    pub source: Box<str>,
    /// The place in its state, as Step Functions names it: `Output`, `Assign/total`.
    pub location: Box<str>,
    /// What it may read.
    pub needs: Needs,
    /// The names of a plain path, `$states.input.a`: it needs no evaluator.
    pub plain: Option<Vec<Box<str>>>,
    /// What is evaluated. It calls the functions of [`meter`] wherever it loops.
    pub tree: AstNode,
    /// What [`Self::noting`] has made.
    pub(crate) noted: OnceLock<Option<AstNode>>,
}

/// Functions that a compiled JSONata tree calls so that its evaluation can be bounded.
/// Their names hold a blank: no expression can name or bind them.
pub mod meter {
    /// Counts one round of a loop, or as many operations as its argument says.
    pub const TICK: &str = "meter tick";
    /// Gives its argument back, and counts its length.
    pub const WEIGH: &str = "meter weigh";
    /// As [`WEIGH`], for what is gone through: counts every element, those of arrays in
    /// arrays too, as often as its second argument says.
    pub const WEIGH_EACH: &str = "meter weigh each";
    /// As [`WEIGH`], counting all that is in it.
    pub const WEIGH_DEEP: &str = "meter weigh deep";
    /// As [`WEIGH`], for what becomes part of a larger value: counts it as a tree, in which
    /// what is there twice counts twice.
    pub const WEIGH_TREE: &str = "meter weigh tree";
    /// Gives its last argument back, the value of a path; counts that, and the value that
    /// the path begins with as often as the number before says.
    pub const WEIGH_STEP: &str = "meter weigh step";
    /// As [`WEIGH`], for what decides: counts what is looked at to find whether it is true.
    pub const WEIGH_TRUTH: &str = "meter weigh truth";
    /// As [`WEIGH`], for what is sorted.
    pub const WEIGH_SORT: &str = "meter weigh sort";
    /// As [`WEIGH`], for objects whose names are compared with one another.
    pub const WEIGH_KEYS: &str = "meter weigh keys";
    /// As [`WEIGH_EACH`], for what is given to the next step of a path: counts what is in
    /// it too, for that may be gone through once more for each value of the step.
    pub const WEIGH_SHARED: &str = "meter weigh shared";
    /// As [`WEIGH`], for what is printed in lines.
    pub const WEIGH_LINES: &str = "meter weigh lines";
    /// Gives a text back that a pattern is tried on, and remembers its length.
    pub const SUBJECT: &str = "meter subject";
    /// Gives a pattern back, and counts what trying it on the last [`SUBJECT`] costs.
    pub const PATTERN: &str = "meter pattern";
    /// As [`PATTERN`], for a function that finds all matches.
    pub const PATTERN_ALL: &str = "meter pattern all";
    /// A regular expression as a function: its source and flags, its cost, a text, and where
    /// to begin.
    pub const REGEX: &str = "meter regex";
    /// A flag of regular expressions that the linear library cannot match: those that look
    /// around or refer back, which the backtracking one is for.
    pub const BACKTRACKS: &str = "k";
    /// The next match of a regular expression, by the library's own function for it.
    pub const REGEX_NEXT: &str = "meter regex next";
    /// As [`WEIGH_DEEP`], for what is transformed: remembers how many values are in it.
    pub const TRANSFORMED: &str = "meter transformed";
    /// Gives the places of a transformation back: each may be compared with each of the
    /// values of the last [`TRANSFORMED`].
    pub const LOCATED: &str = "meter located";
    /// Whether its argument has a value.
    pub const GIVEN: &str = "meter given";
    /// Whether its argument is a function of the library.
    pub const BUILT_IN: &str = "meter built in";
    /// A variable that holds what the first steps of a path yield.
    pub const PREFIX: &str = "meter prefix";
    /// Gives the first end of a range back, and remembers it.
    pub const RANGE_FROM: &str = "meter range from";
    /// Gives the last end of a range back, and counts the range.
    pub const RANGE_TO: &str = "meter range to";
    /// `$distinct` that does not compare every element with every other.
    pub const DISTINCT: &str = "bounded distinct";
    /// `$join` that knows the length of its answer beforehand.
    pub const JOIN: &str = "bounded join";
    /// `$pad` that knows the length of its answer beforehand.
    pub const PAD: &str = "bounded pad";
    /// `$replace` that knows a bound of its answer beforehand.
    pub const REPLACE: &str = "bounded replace";
    /// `$formatBase` that rounds as JSONata does, and takes large numbers.
    pub const FORMAT_BASE: &str = "bounded formatBase";
    /// `$round` that shifts a number's decimal digits, as JSONata does.
    pub const ROUND: &str = "bounded round";
    /// Gives the argument of `$number` back, if it is the text of a number.
    pub const CHECK_NUMBER: &str = "check number";
    /// Gives its argument back; for `null` an array of it.
    pub const LISTED: &str = "check listed";
    /// Gives its argument back; for an empty array nothing.
    pub const FILLED: &str = "check filled";
    /// `$split` by what may be a regular expression that tracks back.
    pub const SPLIT: &str = "bounded split";
    /// The order of two values as a number that is compared with 0.
    pub const ORDER: &str = "meter order";
    /// As [`WEIGH`], for what is sorted by: gives for a text one that is ordered as that is in
    /// UTF-16.
    pub const ORDER_KEY: &str = "meter order key";
    /// `$sort` without a function.
    pub const SORT: &str = "bounded sort";
    /// Functions of the library, and the names under which there are bounded forms.
    pub const BOUNDED: [(&str, &str); 7] = [
        ("distinct", DISTINCT),
        ("formatBase", FORMAT_BASE),
        ("join", JOIN),
        ("pad", PAD),
        ("replace", REPLACE),
        ("round", ROUND),
        ("sort", SORT),
    ];
    /// Functions that take a picture, and their forms that are given `$` before their
    /// own arguments.
    pub const PICTURES: [(&str, &str); 5] = [
        ("formatInteger", "bounded formatInteger"),
        ("formatNumber", "bounded formatNumber"),
        ("fromMillis", "bounded fromMillis"),
        ("parseInteger", "bounded parseInteger"),
        ("toMillis", "bounded toMillis"),
    ];
    /// Functions of URLs, and their forms that are given `$` before their own argument.
    pub const URLS: [(&str, &str); 4] = [
        ("decodeUrl", "bounded decodeUrl"),
        ("decodeUrlComponent", "bounded decodeUrlComponent"),
        ("encodeUrl", "bounded encodeUrl"),
        ("encodeUrlComponent", "bounded encodeUrlComponent"),
    ];
}

/// Functions that a tree of [`Jsonata::noting`] calls: each gives its last argument back.
pub mod notes {
    /// A function is about to be called by the name of the first argument.
    pub const CALL: &str = "note call";
    /// The left side of a comparison by order.
    pub const LEFT: &str = "note left";
    /// Its right side, behind its sign.
    pub const RIGHT: &str = "note right";
    /// The right side of an `and` or `or`, which is the first argument, begins.
    pub const ENTER: &str = "note enter";
    /// It has ended.
    pub const LEAVE: &str = "note leave";
    /// What is negated.
    pub const NEGATED: &str = "note negated";
    /// What is to be sorted, behind the directions of the terms, `<` or `>` each.
    pub const SORTED: &str = "note sorted";
    /// The value of one term of one item that is sorted.
    pub const TERM: &str = "note term";
    /// What a transformation sets.
    pub const UPDATE: &str = "note update";
    /// What a transformation deletes.
    pub const DELETE: &str = "note delete";
}

/// Without the tree: its nodes are numbered anew in each process.
impl std::fmt::Debug for Jsonata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jsonata")
            .field("source", &self.source)
            .field("location", &self.location)
            .field("needs", &self.needs)
            .field("plain", &self.plain)
            .finish_non_exhaustive()
    }
}

/// What of its surroundings an expression may read: perhaps more than it does, never less.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// `$states.input`.
    pub input: bool,
    /// `$states.result`.
    pub result: bool,
    /// `$states.errorOutput`.
    pub error: bool,
    /// `$states.context`.
    pub context: bool,
    /// The execution's input within `$states.context`.
    pub execution_input: bool,
    /// A Map's item within `$states.context`.
    pub item: bool,
    /// Every other name behind a `$`: variables of the flow, of the expression, functions.
    pub variables: Vec<Box<str>>,
}

/// A payload template: JSON with expressions at the fields named `….$`, or in
/// JSONata mode at the strings `{% … %}`.
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
