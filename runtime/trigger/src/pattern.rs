//! Endpoints of a flow's own: a method and a path with `{name}` segments.
//!
//! Refuses wildcards over several segments: an endpoint is one address, not a subtree.

use crate::{Error, query};

/// Longest path of an endpoint, in bytes.
const PATH_BYTES_MAX: usize = 512;
/// Most segments of a path.
const SEGMENTS_MAX: usize = 32;
/// The methods that an endpoint may have.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// One endpoint as a user writes it: `[async ]METHOD /path/{name}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: &'static str,
    /// Where, below the server's prefix.
    pub pattern: Pattern,
    /// `false` when written with `async`: the answer is 202 at once.
    pub wait: bool,
}

impl Endpoint {
    /// Reads `POST /orders/{id}` or `async POST /orders`.
    /// # Errors
    /// `API0103`, with the reason.
    pub fn parse(text: &str) -> Result<Endpoint, Error> {
        let bad = |reason| bad(text, reason);
        let mut words = text.split_ascii_whitespace();
        let mut word = words.next().unwrap_or_default();
        let wait = !word.eq_ignore_ascii_case("async");
        if !wait {
            word = words.next().unwrap_or_default();
        }
        let method = METHODS
            .into_iter()
            .find(|m| m.eq_ignore_ascii_case(word))
            .ok_or_else(|| {
                bad("begin with GET, POST, PUT, PATCH or DELETE (or `async` and one of them)")
            })?;
        let path = words
            .next()
            .ok_or_else(|| bad("a path such as /orders must follow the method"))?;
        if words.next().is_some() {
            return Err(bad(
                "write the method, a space and the path, nothing after it",
            ));
        }
        Ok(Endpoint {
            method,
            pattern: Pattern::parse(path)?,
            wait,
        })
    }
}

/// A checked path: literal segments and `{name}` ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Parameter(String),
}

impl Pattern {
    /// Checks a path. A literal segment has characters of `A-Z a-z 0-9 . _ ~ -`;
    /// `{name}` matches any one segment that is not empty.
    /// # Errors
    /// `API0103`, with the reason.
    pub fn parse(path: &str) -> Result<Pattern, Error> {
        let bad = |reason| bad(path, reason);
        if path.len() > PATH_BYTES_MAX {
            return Err(bad("a path has at most 512 bytes"));
        }
        let Some(rest) = path.strip_prefix('/') else {
            return Err(bad("a path begins with /"));
        };
        if rest.is_empty() {
            return Err(bad("a path has at least one segment, such as /orders"));
        }
        let mut segments = Vec::new();
        for text in rest.split('/') {
            segments.push(Segment::parse(text).map_err(bad)?);
        }
        if segments.len() > SEGMENTS_MAX {
            return Err(bad("a path has at most 32 segments"));
        }
        for (i, segment) in segments.iter().enumerate() {
            if let Segment::Parameter(name) = segment {
                let again = |s: &Segment| matches!(s, Segment::Parameter(n) if n == name);
                if segments.iter().take(i).any(again) {
                    return Err(bad("a parameter's name may occur once"));
                }
            }
        }
        Ok(Pattern {
            text: path.to_owned(),
            segments,
        })
    }

    /// The path as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The parameters of a request's path, decoded; `None`: it does not match.
    ///
    /// A trailing slash is another path.
    /// # Errors
    /// `API0104` when it matches but a parameter is badly encoded.
    pub fn captures(&self, path: &str) -> Result<Option<Vec<(String, String)>>, Error> {
        let Some(rest) = path.strip_prefix('/') else {
            return Ok(None);
        };
        if rest.split('/').count() != self.segments.len() {
            return Ok(None);
        }
        let pairs = || self.segments.iter().zip(rest.split('/'));
        let fits = pairs().all(|(segment, text)| match segment {
            Segment::Literal(literal) => literal == text,
            Segment::Parameter(_) => !text.is_empty(),
        });
        if !fits {
            return Ok(None);
        }
        let mut out = Vec::new();
        for (segment, text) in pairs() {
            if let Segment::Parameter(name) = segment {
                out.push((name.clone(), query::segment(text)?));
            }
        }
        Ok(Some(out))
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Segment, &'static str> {
        if text.is_empty() {
            return Err("a segment is empty: no //, and no / at the end");
        }
        if let Some(name) = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
            let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            let starts_well = name
                .bytes()
                .next()
                .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
            return if starts_well && name.bytes().all(letter) {
                Ok(Segment::Parameter(name.to_owned()))
            } else {
                Err("a parameter is {name}, of letters, digits and _")
            };
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._~-".contains(&b);
        if !text.bytes().all(plain) {
            return Err(
                "a segment has letters, digits and . _ ~ -, or is a whole {name} parameter",
            );
        }
        if text == "." || text == ".." {
            return Err("a segment may not be . or ..");
        }
        Ok(Segment::Literal(text.to_owned()))
    }
}

fn bad(text: &str, reason: &'static str) -> Error {
    Error::BadEndpoint {
        text: text.chars().take(80).collect(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Result<(&str, &str, bool), &str>) {
        match (Endpoint::parse(text), want) {
            (Ok(e), Ok(w)) => assert_eq!((e.method, e.pattern.text(), e.wait), w, "{text}"),
            (Err(e), Err(w)) => assert!(e.to_string().contains(w), "{text}: {e}"),
            (got, want) => panic!("{text}: got {got:?}, want {want:?}"),
        }
    }

    #[test]
    fn endpoints() {
        check("POST /orders", Ok(("POST", "/orders", true)));
        check(
            "async  post /orders/{id}",
            Ok(("POST", "/orders/{id}", false)),
        );
        check("DELETE /a.b/~c/-", Ok(("DELETE", "/a.b/~c/-", true)));
        check("", Err("begin with GET"));
        check("async", Err("begin with GET"));
        check("FETCH /x", Err("begin with GET"));
        check("POST", Err("path such as"));
        check("POST orders", Err("begins with /"));
        check("POST /", Err("at least one segment"));
        check("POST /a//b", Err("segment is empty"));
        check("POST /a/", Err("segment is empty"));
        check("POST /a b", Err("nothing after it"));
        check("POST /a/../b", Err(". or .."));
        check("POST /{}", Err("{name}"));
        check("POST /{a-b}", Err("{name}"));
        check("POST /x{a}", Err("letters, digits"));
        check("POST /{a}/{a}", Err("may occur once"));
        check("POST /caf\u{e9}", Err("letters, digits"));
        check(&format!("POST /{}", "a".repeat(600)), Err("512 bytes"));
        check(&format!("POST {}", "/a".repeat(33)), Err("32 segments"));
    }

    #[track_caller]
    fn matches(pattern: &str, path: &str, want: Option<&[(&str, &str)]>) {
        let got = Pattern::parse(pattern).unwrap().captures(path).unwrap();
        let want = want.map(|w| {
            w.iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect::<Vec<_>>()
        });
        assert_eq!(got, want, "{pattern} {path}");
    }

    #[test]
    fn captures() {
        matches("/orders", "/orders", Some(&[]));
        matches("/orders", "/orders/", None);
        matches("/orders", "/Orders", None);
        matches("/orders/{id}", "/orders/7", Some(&[("id", "7")]));
        matches(
            "/o/{a}/x/{b}",
            "/o/1%2F2/x/%C3%A9",
            Some(&[("a", "1/2"), ("b", "\u{e9}")]),
        );
        matches("/orders/{id}", "/orders/", None);
        matches("/orders/{id}", "/orders/7/8", None);
        matches("/orders/{id}", "orders/7", None);
        let broken = Pattern::parse("/o/{a}").unwrap().captures("/o/%f");
        assert_eq!(broken, Err(Error::BadEncoding("path")));
    }
}
