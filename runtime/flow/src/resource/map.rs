//! The resource map: what names from elsewhere mean here.
//!
//! Binds an ARN, exact or with `*`, to a [`Target`]. Refuses to look up
//! whether that exists: the resolver behind it does.

use std::collections::BTreeMap;
use std::sync::Arc;

use stepwell_types::Digest;

use super::{Advice, Resolve, Target, Unresolved};

/// Most entries of one map.
pub const BINDINGS_MAX: usize = 10_000;

/// What resources mean: the name or pattern, and what is in its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceMap(BTreeMap<String, Target>);

impl ResourceMap {
    /// A map of these bindings: names, and targets as [`Target::parse`] reads them.
    /// # Errors
    /// What is wrong with one of them: too many, or a target that is none.
    pub fn new(bindings: BTreeMap<String, String>) -> Result<ResourceMap, String> {
        if bindings.len() > BINDINGS_MAX {
            return Err(format!("more than {BINDINGS_MAX} bindings"));
        }
        let parsed = bindings.into_iter().map(|(name, text)| {
            let target = Target::parse(&text).map_err(|e| format!("{name}: {e}"))?;
            Ok((name, target))
        });
        parsed.collect::<Result<_, String>>().map(ResourceMap)
    }

    /// What a resource is bound to: an exact name wins, then the longest pattern.
    #[must_use]
    pub fn get(&self, resource: &str) -> Option<&Target> {
        if let Some(exact) = self.0.get(resource) {
            return Some(exact);
        }
        let fits = self
            .0
            .iter()
            .filter(|(p, _)| p.contains('*') && matches(p, resource));
        fits.max_by_key(|(p, _)| p.len()).map(|(_, to)| to)
    }
}

/// Whether a text fits a pattern in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.is_empty()
}

/// A resolver that asks the map first.
pub struct Bound<'a> {
    /// Knows what exists.
    pub inner: &'a dyn Resolve,
    /// Knows what it is called elsewhere.
    pub map: &'a ResourceMap,
}

impl Resolve for Bound<'_> {
    fn module(
        &self,
        name: &str,
        version: Option<&str>,
        function: Option<&str>,
    ) -> Result<Digest, Unresolved> {
        self.inner.module(name, version, function)
    }

    fn express(&self) -> bool {
        self.inner.express()
    }

    fn modules(&self) -> Vec<(Arc<str>, Digest)> {
        self.inner.modules()
    }

    fn flow(&self, name: &str, version: Option<u32>) -> Result<(), Unresolved> {
        self.inner.flow(name, version)
    }

    fn name(&self) -> Option<&str> {
        self.inner.name()
    }

    fn advice(&self) -> Advice {
        self.inner.advice()
    }

    fn binds_later(&self) -> bool {
        self.inner.binds_later()
    }

    fn binding(&self, resource: &str) -> Option<Target> {
        self.map.get(resource).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_binding_wins() {
        let bindings = [
            ("arn:aws:lambda:*:function:charge", "wasm:charge"),
            ("arn:aws:lambda:*", "wasm:other"),
            ("arn:aws:states:::sqs:sendMessage", "http:request"),
        ];
        let bindings = bindings.map(|(n, t)| (n.to_owned(), t.to_owned()));
        let map = ResourceMap::new(bindings.into()).expect("a map");
        let check = |resource: &str, expected: Option<&str>| {
            let got = map.get(resource).map(Target::text);
            assert_eq!(got.as_deref(), expected, "{resource}");
        };
        check("arn:aws:lambda:r:1:function:charge", Some("wasm:charge"));
        check("arn:aws:lambda:r:1:function:charge:2", Some("wasm:other"));
        check("arn:aws:states:::sqs:sendMessage", Some("http:request"));
        check("arn:aws:states:::sqs", None);
        let bad = BTreeMap::from([("a".to_owned(), "nothing".to_owned())]);
        assert!(ResourceMap::new(bad).is_err());
    }

    /// Answers whatever differs from what a `Resolve` says by default.
    struct Full;

    impl Resolve for Full {
        fn module(
            &self,
            name: &str,
            _version: Option<&str>,
            _function: Option<&str>,
        ) -> Result<Digest, Unresolved> {
            let available = vec!["one".to_owned()];
            let message = name.to_owned();
            Err(Unresolved { message, available })
        }

        fn express(&self) -> bool {
            true
        }

        fn modules(&self) -> Vec<(Arc<str>, Digest)> {
            vec![("one".into(), Digest([1; 32]))]
        }

        fn flow(&self, name: &str, _version: Option<u32>) -> Result<(), Unresolved> {
            self.module(name, None, None).map(|_| ())
        }

        fn name(&self) -> Option<&str> {
            Some("f")
        }
    }

    #[test]
    fn bindings_hide_nothing_of_what_exists() {
        let map = ResourceMap::default();
        let bound = Bound {
            inner: &Full,
            map: &map,
        };
        assert!(bound.express());
        assert_eq!(bound.name(), Some("f"));
        assert_eq!(bound.modules(), Full.modules());
        assert_eq!(bound.flow("f", None), Full.flow("f", None));
        assert_eq!(bound.module("m", None, None), Full.module("m", None, None));
    }

    #[test]
    fn patterns() {
        let check =
            |pattern, text, fits| assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        check("a*c", "abc", true);
        check("a*c", "ac", true);
        check("a*c", "abcd", false);
        check("*b*", "abc", true);
        check("a*b*c", "aXbYc", true);
        check("a*b*c", "aXc", false);
        check("ab*ab", "ab", false);
    }
}
