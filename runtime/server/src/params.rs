//! Query parameters and path ids, read strictly.
//!
//! Refuses what it does not know: a misspelt parameter is an error with a hint, not ignored.

use std::str::FromStr;

use axum::http::Uri;
use stepwell_types::{Digest, ExecutionId, TaskToken};

use crate::Error;
use crate::problem::Problem;

/// The query of one request: only known names, each at most once unless read as a list.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the query; `known` are the names that this route has.
    pub(crate) fn read(uri: &Uri, known: &[&str]) -> Result<Params, Problem> {
        let Some(query) = uri.query() else {
            return Ok(Params(Vec::new()));
        };
        let pairs = stepwell_trigger::query::pairs(query)?;
        for (name, _) in &pairs {
            if !known.contains(&name.as_str()) {
                let hint = if known.is_empty() {
                    "this request takes no parameters".to_owned()
                } else {
                    format!("known here: {}", known.join(", "))
                };
                let name: String = name.chars().take(40).collect();
                let text = format!("there is no query parameter {name:?}; {hint}");
                return Err(Error::BadQuery(text).into());
            }
        }
        Ok(Params(pairs))
    }

    /// The value of a parameter that may occur once.
    pub(crate) fn get(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() {
            return Err(Error::BadQuery(format!("{name} is given more than once")).into());
        }
        Ok(first)
    }

    /// Every value of a parameter that may occur often.
    pub(crate) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let name = name.to_owned();
        self.0
            .iter()
            .filter(move |(n, _)| *n == name)
            .map(|(_, v)| v.as_str())
    }

    /// A whole number within bounds.
    pub(crate) fn number(&self, name: &str, min: u64, max: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.get(name)? else {
            return Ok(None);
        };
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse::<u64>() {
            Ok(n) if digits && (min..=max).contains(&n) => Ok(Some(n)),
            _ => {
                Err(Error::BadQuery(format!("{name} is a whole number from {min} to {max}")).into())
            }
        }
    }

    /// `true` or `false`; absent: `false`.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name)? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Error::BadQuery(format!("{name} is true or false")).into()),
        }
    }

    /// How many rows a page may have: 1 to 1,000, default 100.
    pub(crate) fn limit(&self) -> Result<usize, Problem> {
        let n = self.number("limit", 1, 1000)?.unwrap_or(100);
        Ok(usize::try_from(n).unwrap_or(100))
    }

    /// A version: from 1.
    pub(crate) fn version(&self) -> Result<Option<u32>, Problem> {
        let n = self.number("version", 1, u64::from(u32::MAX))?;
        Ok(n.and_then(|n| u32::try_from(n).ok()))
    }
}

/// What lists take, as OpenAPI tells it.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "`Params` reads them")]
pub(crate) struct Page {
    /// Rows of the page, 1 to 1,000; 100 when absent
    limit: Option<u32>,
    /// `next` of the page before
    after: Option<String>,
}

/// Reads an id or a token from a path or a parameter.
pub(crate) fn id<T: Id>(what: &'static str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| {
        let (text, form) = (text.chars().take(64).collect(), T::FORM);
        Error::BadId { what, form, text }.into()
    })
}

/// What requests name by an id of ours.
pub(crate) trait Id: FromStr {
    /// What it looks like, and where to find it.
    const FORM: &'static str;
}

impl Id for ExecutionId {
    const FORM: &'static str = "it has 26 characters of 0-9 a-z without i l o u, as `stepwell list` shows; `stepwell describe NAME --flow FLOW` finds it by its name, over HTTP /v1/flows/FLOW/executions/NAME";
}

impl Id for TaskToken {
    const FORM: &'static str = "it has 59 characters, as `stepwell tasks ID` shows";
}

impl Id for Digest {
    const FORM: &'static str =
        "it has 64 hexadecimal digits, as `stepwell module describe NAME` shows";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(uri: &str, want: Result<(Option<u64>, usize), &str>) {
        let read = || {
            let params = Params::read(&uri.parse().unwrap(), &["wait", "limit"])?;
            Ok::<_, Problem>((params.number("wait", 0, 900)?, params.limit()?))
        };
        match (read(), want) {
            (Ok(got), Ok(want)) => assert_eq!(got, want, "{uri}"),
            (Err(p), Err(want)) => assert!(p.detail.contains(want), "{uri}: {}", p.detail),
            (got, want) => panic!("{uri}: got {got:?}, want {want:?}"),
        }
    }

    #[test]
    fn numbers() {
        check("/x", Ok((None, 100)));
        check("/x?wait=0&limit=1", Ok((Some(0), 1)));
        check("/x?wait=901", Err("from 0 to 900"));
        check("/x?wait=-1", Err("from 0 to 900"));
        check("/x?wait=%2B1", Err("from 0 to 900"));
        check("/x?wait=", Err("from 0 to 900"));
        check("/x?wait=1&wait=1", Err("more than once"));
        check("/x?limit=99999999999999999999", Err("from 1 to 1000"));
        check("/x?wiat=1", Err("known here: wait, limit"));
        check("/x?wait=%", Err("percent-encoded"));
    }
}
