//! JSON data that flows between states: shared, immutable, parsed only when someone asks.

mod check;

use std::sync::{Arc, OnceLock};

use serde::de::DeserializeSeed as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// One JSON document, cheap to clone.
///
/// It is made from text (kept as it came, so 64-bit integers, number spelling
/// and key order survive) or from a value; the other form is made on first use.
/// Text handed in must be valid JSON: check it with [`Data::parse`] at every edge.
#[derive(Clone)]
pub struct Data(Arc<Inner>);

struct Inner {
    text: OnceLock<Box<str>>,
    value: OnceLock<Value>,
}

impl Data {
    /// Checks text that came from outside and keeps it.
    ///
    /// Nesting is bounded by [`crate::limits::JSON_DEPTH_MAX`], the number of values and
    /// keys by [`crate::limits::JSON_VALUES_MAX`].
    /// # Errors
    /// The parser's message, with line and column.
    pub fn parse(text: &str) -> Result<Data, serde_json::Error> {
        Data::check(text)?;
        Ok(Data::from_valid_text(text.to_owned()))
    }

    /// Checks text as [`Data::parse`] does, and keeps nothing.
    /// # Errors
    /// As [`Data::parse`].
    pub fn check(text: &str) -> Result<(), serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(text);
        check::Sound(&mut 0).deserialize(&mut reader)?;
        reader.end()
    }

    /// Keeps text that is known to be valid JSON, as our own writers print it.
    #[must_use]
    pub fn from_valid_text(text: impl Into<Box<str>>) -> Data {
        Data(Arc::new(Inner {
            text: OnceLock::from(text.into()),
            value: OnceLock::new(),
        }))
    }

    /// Keeps a value; its text is printed on first use.
    #[must_use]
    pub fn from_value(value: Value) -> Data {
        Data(Arc::new(Inner {
            text: OnceLock::new(),
            value: OnceLock::from(value),
        }))
    }

    /// `{}`.
    #[must_use]
    pub fn empty_object() -> Data {
        Data::from_valid_text("{}")
    }

    /// `null`.
    #[must_use]
    pub fn null() -> Data {
        Data::from_valid_text("null")
    }

    /// The JSON text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.text.get_or_init(|| {
            self.0
                .value
                .get()
                .map_or_else(|| "null".into(), |v| v.to_string().into_boxed_str())
        })
    }

    /// The parsed value.
    #[must_use]
    pub fn value(&self) -> &Value {
        self.0.value.get_or_init(|| {
            self.0
                .text
                .get()
                .and_then(|t| serde_json::from_str(t).ok())
                .unwrap_or(Value::Null)
        })
    }

    /// Length of the JSON text in bytes.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.text().len()
    }

    /// Bytes of memory that it takes now, in both forms: roughly, as allocators differ.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let text = self.0.text.get().map_or(0, |text| text.len());
        64 + text + self.0.value.get().map_or(0, value_bytes)
    }

    /// Where the document is in memory: equal for two clones as long as one of them lives.
    #[must_use]
    pub fn address(&self) -> usize {
        Arc::as_ptr(&self.0).cast::<()>().addr()
    }

    /// Whether both name the same document in memory (not merely an equal one).
    #[must_use]
    pub fn same(&self, other: &Data) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Bytes of a parsed value. A member of an object has a hash and a place in an index as well.
fn value_bytes(value: &Value) -> usize {
    const MEMBER: usize = size_of::<String>() + 24;
    let below = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(value_bytes).sum(),
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| MEMBER + name.len() + value_bytes(value))
            .sum(),
    };
    size_of::<Value>() + below
}

/// How much there is in a JSON document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// Deepest nesting.
    pub depth: usize,
    /// Values and keys, as [`Data::parse`] counts them.
    pub values: usize,
}

/// The shape of valid JSON text.
#[must_use]
pub fn shape(text: &str) -> Shape {
    let mut shape = Shape::default();
    let (mut depth, mut quoted, mut escaped, mut bare) = (0usize, false, false, false);
    for byte in text.bytes() {
        let was_bare = std::mem::take(&mut bare);
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => {
                quoted = !quoted;
                shape.values += usize::from(quoted);
            }
            _ if quoted => {}
            b'[' | b'{' => {
                depth += 1;
                shape.depth = shape.depth.max(depth);
                shape.values += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => {}
            // A number, or a word.
            _ => {
                bare = true;
                shape.values += usize::from(!was_bare);
            }
        }
    }
    shape
}

impl PartialEq for Data {
    fn eq(&self, other: &Data) -> bool {
        self.same(other) || self.text() == other.text() || self.value() == other.value()
    }
}

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

/// As a string holding the JSON text: what the compact codecs store.
impl Serialize for Data {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.text())
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Data, D::Error> {
        String::deserialize(d).map(Data::from_valid_text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_keys_are_counted_as_the_parser_counts_them() {
        let check = |text: &str, depth, values| {
            assert_eq!(shape(text), Shape { depth, values }, "{text}");
            let mut counted = 0;
            let mut reader = serde_json::Deserializer::from_str(text);
            let sound = check::Sound(&mut counted).deserialize(&mut reader);
            sound.expect("valid JSON");
            assert_eq!(counted, values, "{text}");
        };
        check("[]", 1, 1);
        check(" -1.5e+3 ", 0, 1);
        check(r#"{"a": [1,22, true ,null,"x"], "b\\\"[":{}}"#, 2, 10);
        check(r#"[[],{},"",[[0]]]"#, 3, 7);
    }
}
