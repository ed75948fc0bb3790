//! JSON objects assembled from parts, so that payloads pass through as the text they are.
//!
//! Refuses to check what is handed in as raw: only text that is known to be valid JSON may be.

use stepwell_types::{Data, Timestamp};

/// An object that grows member by member.
#[derive(Debug)]
pub struct Object(Vec<u8>);

impl Object {
    /// `{`
    #[must_use]
    pub fn new() -> Object {
        Object::with_capacity(256)
    }

    /// `{`, with room for this many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Object {
        let mut out = Vec::with_capacity(bytes);
        out.push(b'{');
        Object(out)
    }

    /// A string.
    pub fn str(&mut self, key: &str, value: &str) {
        self.key(key);
        push_string(&mut self.0, value);
    }

    /// A string, when there is one.
    pub fn opt_str(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.str(key, value);
        }
    }

    /// Something whose text needs no escapes: an id, a digest, a number.
    pub fn plain(&mut self, key: &str, value: impl std::fmt::Display) {
        use std::io::Write as _;
        self.key(key);
        self.0.push(b'"');
        // Writing into memory cannot fail.
        let _ = write!(self.0, "{value}");
        self.0.push(b'"');
    }

    /// A whole number.
    pub fn num(&mut self, key: &str, value: u64) {
        use std::io::Write as _;
        self.key(key);
        let _ = write!(self.0, "{value}");
    }

    /// `true` or `false`.
    pub fn bool(&mut self, key: &str, value: bool) {
        self.raw(key, if value { "true" } else { "false" });
    }

    /// Text that is known to be valid JSON.
    pub fn raw(&mut self, key: &str, json: &str) {
        self.key(key);
        self.0.extend_from_slice(json.as_bytes());
    }

    /// A payload, when there is one.
    pub fn opt_data(&mut self, key: &str, value: Option<&Data>) {
        if let Some(value) = value {
            self.raw(key, value.text());
        }
    }

    /// A time, as RFC 3339 in UTC with milliseconds.
    pub fn time(&mut self, key: &str, value: Timestamp) {
        self.plain(key, Rfc3339(value));
    }

    /// A list whose items are written by `write`.
    pub fn list<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Vec<u8>, T),
    ) {
        self.key(key);
        self.0.push(b'[');
        let empty = self.0.len();
        for item in items {
            if self.0.len() > empty {
                self.0.push(b',');
            }
            write(&mut self.0, item);
        }
        self.0.push(b']');
    }

    /// `}`, and the whole text.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }

    fn key(&mut self, key: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        push_string(&mut self.0, key);
        self.0.push(b':');
    }
}

impl Default for Object {
    fn default() -> Object {
        Object::new()
    }
}

/// Prints a time as RFC 3339 in UTC with milliseconds, e.g. `2026-11-23T04:05:06.789Z`.
#[derive(Debug, Clone, Copy)]
pub struct Rfc3339(pub Timestamp);

impl std::fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0.0) {
            Ok(time) => write!(f, "{time:.3}"),
            // Outside the years that flows can reach.
            Err(_) => f.write_str("9999-12-31T23:59:59.999Z"),
        }
    }
}

/// Writes a JSON string with its quotes.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    let plain = |b: u8| b >= 0x20 && b != b'"' && b != b'\\';
    if text.bytes().all(plain) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // Writing into memory cannot fail.
        let _ = serde_json::to_writer(out, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_everything() {
        let mut o = Object::new();
        o.str("a", "plain caf\u{e9}");
        o.str("b", "q\"uo\\te\n\u{1}");
        o.opt_str("no", None);
        o.num("n", u64::MAX);
        o.bool("t", true);
        o.raw("r", "[1.10, 2]");
        o.opt_data("d", Some(&Data::from_valid_text("{\"z\":1}")));
        o.list("l", [1, 2], |out, n: i32| out.extend(n.to_string().bytes()));
        o.list("e", [0; 0], |_, _: i32| {});
        o.time("at", Timestamp(1_795_000_000_123));
        let text = String::from_utf8(o.finish()).unwrap();
        assert_eq!(
            text,
            r#"{"a":"plain café","b":"q\"uo\\te\n\u0001","n":18446744073709551615,"t":true,"r":[1.10, 2],"d":{"z":1},"l":[1,2],"e":[],"at":"2026-11-18T11:06:40.123Z"}"#
        );
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }
}
