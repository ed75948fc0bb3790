//! The built-in functions: names, and how many arguments each takes.
//!
//! Refuses to call them.

/// The built-in functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "their own names say it")]
pub enum Function {
    ArrayContains,
    ArrayUnique,
    ToArray,
    Format,
    FromBase64,
    ToBase64,
    StringToJson,
    JsonToString,
    Hash,
    JsonMerge,
    Length,
    MapKeys,
    MapValues,
    RegexMatchString,
    Split,
    Uuid,
    Get,
    IntAdd,
    RandomInt,
}

/// Name, fewest and most arguments. A function may have several names; the first is shown.
pub(super) const FUNCTIONS: [(&str, Function, usize, usize); 21] = [
    ("arrayContains", Function::ArrayContains, 2, 2),
    ("arrayUnique", Function::ArrayUnique, 1, 1),
    ("toArray", Function::ToArray, 0, usize::MAX),
    ("format", Function::Format, 1, usize::MAX),
    ("fromBase64", Function::FromBase64, 1, 1),
    ("toBase64", Function::ToBase64, 1, 1),
    ("stringToJson", Function::StringToJson, 1, 1),
    ("fromJSON", Function::StringToJson, 1, 1),
    ("jsonToString", Function::JsonToString, 1, 1),
    ("toJSON", Function::JsonToString, 1, 1),
    ("hash", Function::Hash, 2, 2),
    ("jsonMerge", Function::JsonMerge, 2, 2),
    ("length", Function::Length, 1, 1),
    ("mapKeys", Function::MapKeys, 1, 1),
    ("mapValues", Function::MapValues, 1, 1),
    ("regexMatchString", Function::RegexMatchString, 2, 2),
    ("split", Function::Split, 2, 2),
    ("uuid", Function::Uuid, 0, 0),
    ("get", Function::Get, 2, 2),
    ("intAdd", Function::IntAdd, 2, 2),
    ("randomInt", Function::RandomInt, 2, 2),
];

impl Function {
    /// The name as definitions write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        FUNCTIONS
            .iter()
            .find(|f| f.1 == self)
            .map_or("", |found| found.0)
    }
}
