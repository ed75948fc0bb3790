//! The secret of the load: the values that are set, the calls that showed one, and the search for
//! what must not be there.
//!
//! Refuses to know which value is the newest: a kill may swallow that it was set. All calls under one
//! key belong to one attempt, and an attempt keeps the value with which it began.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::receiver::Call;
use super::report::{Report, Rule};
use crate::random::Random;

/// The secret's name.
pub const NAME: &str = "crash-token";
/// What every value begins with, and how base 64 writes that. It does not compress.
const HEAD: &str = "uK4zWq8TnB2x";
const HEAD_BASE64: &str = "dUs0eldxOFRuQjJ4";
/// Comes with every case's input: who searches finds it.
pub const MARK: &str = "hV9cYe3RkM7s-mark";

/// The values that were set, or may have been.
#[derive(Debug, Default)]
pub struct Values(Vec<String>);

impl Values {
    /// A new value, which may be shown from now on.
    pub fn draw(&mut self, random: &mut Random) -> String {
        let value = format!("{HEAD}{:016x}{:016x}", random.draw(), random.draw());
        self.0.push(value.clone());
        value
    }
}

/// Whoever had to show the secret showed a value of it, the same each time; nobody else did.
pub fn check(values: &Values, calls: &[Call], report: &Report) {
    report.count("values of the secret", values.0.len() as u64);
    let mut shown: BTreeMap<&str, &str> = BTreeMap::new();
    for call in calls {
        let place = call.body["place"].as_str().unwrap_or_default();
        let proof = call.proof.as_deref();
        if !place.starts_with("secret-") {
            report.check(proof.is_none(), Rule::Secret, || {
                format!("{place} showed a secret that is not its own")
            });
            continue;
        }
        report.count("calls with a secret", 1);
        let value = proof.and_then(|proof| proof.strip_prefix("Bearer "));
        let Some(value) = value.filter(|value| values.0.iter().any(|set| set == value)) else {
            let text = format!("{}: {place} showed {proof:?}", call.key);
            report.breach(Rule::Secret, text);
            continue;
        };
        let before = shown.insert(&call.key, value);
        report.check(
            before.is_none_or(|before| before == value),
            Rule::Secret,
            || format!("{}: {place} showed {before:?}, then {value}", call.key),
        );
    }
}

/// Looks for values in every file below `place`: data, log and configuration of the server.
///
/// # Errors
/// A file cannot be read.
pub fn search(place: &Path, report: &Report) -> Result<()> {
    let mut found = false;
    walk(place, &mut |path, bytes| {
        report.count("bytes searched for the secret", bytes.len() as u64);
        for needle in [HEAD, HEAD_BASE64] {
            report.check(!holds(bytes, needle), Rule::Secret, || {
                format!("{} holds {needle}…", path.display())
            });
        }
        found |= holds(bytes, MARK);
    })?;
    report.check(found, Rule::Secret, || {
        format!("the search found not even {MARK}")
    });
    Ok(())
}

fn walk(place: &Path, look: &mut impl FnMut(&Path, &[u8])) -> Result<()> {
    for entry in std::fs::read_dir(place)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => walk(&entry.path(), look)?,
            kind if kind.is_file() => look(&entry.path(), &std::fs::read(entry.path())?),
            _ => {}
        }
    }
    Ok(())
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_in_clear_is_found() {
        let place = tempfile::tempdir().unwrap();
        let mut values = Values::default();
        let value = values.draw(&mut Random::new(1, 1));
        let broken = |file: &str, text: &str| {
            std::fs::write(place.path().join(file), text).unwrap();
            let report = Report::default();
            search(place.path(), &report).unwrap();
            report.broken(Rule::Secret)
        };
        assert_eq!(broken("a", ""), 1, "no mark");
        assert_eq!(broken("a", &format!("..{MARK}..")), 0);
        assert_eq!(broken("b", &format!("..{value}")), 1);
        assert_eq!(broken("b", &format!("..{HEAD_BASE64}")), 1);
    }
}
