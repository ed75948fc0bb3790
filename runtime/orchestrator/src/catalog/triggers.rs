//! HTTP endpoints of flows: which request means which flow.

use std::sync::Arc;

use super::Catalog;
use crate::Error;
use crate::api::HttpTrigger;
use crate::rows::TriggerRow;

/// Endpoints that one flow may have.
const TRIGGERS_MAX: usize = 32;
/// Segments of one path.
const SEGMENTS_MAX: usize = 32;

/// A flow's endpoint that a request met: the flow, the endpoint, its path parameters.
pub type Matched = (Arc<str>, HttpTrigger, Vec<(String, String)>);

impl Catalog {
    /// Checks a flow's wish for endpoints against the other flows'.
    pub(super) fn check_triggers(
        &self,
        flow: &Arc<str>,
        wanted: &[HttpTrigger],
    ) -> Result<TriggerRow, Error> {
        let bad = |t: &HttpTrigger, reason: String| Error::BadTrigger {
            method: t.method.chars().take(16).collect(),
            path: t.path.chars().take(128).collect(),
            reason,
        };
        let index = self.0.index.read();
        for (i, t) in wanted.iter().enumerate() {
            if i >= TRIGGERS_MAX {
                return Err(bad(
                    t,
                    format!("a flow has at most {TRIGGERS_MAX} endpoints"),
                ));
            }
            if !matches!(&*t.method, "GET" | "POST" | "PUT" | "PATCH" | "DELETE") {
                let why = "the method must be GET, POST, PUT, PATCH or DELETE";
                return Err(bad(t, why.into()));
            }
            if let Err(why) = check_path(&t.path) {
                return Err(bad(t, why));
            }
            if wanted
                .iter()
                .take(i)
                .any(|o| overlap(o, &t.method, &t.path))
            {
                return Err(bad(t, "the flow names this endpoint twice".into()));
            }
            for (other, row) in &index.triggers {
                let theirs = row.list();
                if other != flow && theirs.iter().any(|o| overlap(o, &t.method, &t.path)) {
                    return Err(bad(t, format!("flow {other} has this endpoint")));
                }
            }
        }
        let endpoints = wanted
            .iter()
            .map(|t| (t.method.clone(), t.path.clone(), t.wait))
            .collect();
        Ok(TriggerRow { endpoints })
    }

    /// The flow whose endpoint this request meets. A fixed segment beats a parameter.
    pub fn trigger(&self, method: &str, path: &str) -> Option<Matched> {
        let index = self.0.index.read();
        let mut best: Option<(usize, Matched)> = None;
        for (flow, row) in &index.triggers {
            for t in row.list() {
                if &*t.method != method {
                    continue;
                }
                let Some(parameters) = match_path(&t.path, path) else {
                    continue;
                };
                if best.as_ref().is_none_or(|(n, _)| parameters.len() < *n) {
                    best = Some((parameters.len(), (flow.clone(), t, parameters)));
                }
            }
        }
        best.map(|(_, found)| found)
    }

    /// The methods of all endpoints at this path, sorted.
    pub fn trigger_methods(&self, path: &str) -> Vec<String> {
        let index = self.0.index.read();
        let endpoints = index.triggers.values().flat_map(TriggerRow::list);
        let mut methods: Vec<String> = endpoints
            .filter(|t| match_path(&t.path, path).is_some())
            .map(|t| t.method.to_string())
            .collect();
        methods.sort_unstable();
        methods.dedup();
        methods
    }
}

impl TriggerRow {
    /// As the edges see them.
    pub(super) fn list(&self) -> Vec<HttpTrigger> {
        self.endpoints
            .iter()
            .map(|(method, path, wait)| HttpTrigger {
                method: method.clone(),
                path: path.clone(),
                wait: *wait,
            })
            .collect()
    }
}

/// Whether some request would meet both: the same shape of fixed and free segments.
fn overlap(a: &HttpTrigger, method: &str, path: &str) -> bool {
    &*a.method == method && shape(&a.path) == shape(path)
}

fn shape(path: &str) -> Vec<&str> {
    path.split('/')
        .map(|s| if s.starts_with('{') { "{}" } else { s })
        .collect()
}

fn check_path(path: &str) -> Result<(), String> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err("the path must begin with /".into());
    };
    let segments: Vec<_> = rest.split('/').collect();
    if segments.len() > SEGMENTS_MAX || path.len() > 512 {
        return Err(format!(
            "the path has more than {SEGMENTS_MAX} segments or 512 bytes"
        ));
    }
    for segment in segments {
        let inner = segment
            .strip_prefix('{')
            .and_then(|s| s.strip_suffix('}'))
            .unwrap_or(segment);
        let fine = inner
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~'));
        if inner.is_empty() || !fine {
            return Err(format!(
                "segment {segment:?} must be letters, digits, - _ . ~ or a {{name}}"
            ));
        }
    }
    Ok(())
}

fn match_path(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
    let (mut p, mut s) = (pattern.split('/'), path.split('/'));
    let mut parameters = Vec::new();
    loop {
        match (p.next(), s.next()) {
            (None, None) => return Some(parameters),
            (Some(want), Some(got)) => {
                let name = want.strip_prefix('{').and_then(|w| w.strip_suffix('}'));
                match name {
                    Some(name) if !got.is_empty() => {
                        parameters.push((name.to_owned(), got.to_owned()));
                    }
                    None if want == got => {}
                    _ => return None,
                }
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_segment_by_segment() {
        let check = |pattern: &str, path: &str, want: Option<&[(&str, &str)]>| {
            let want = want.map(|w| {
                w.iter()
                    .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                    .collect::<Vec<_>>()
            });
            assert_eq!(match_path(pattern, path), want, "{pattern} {path}");
        };
        check("/a/b", "/a/b", Some(&[]));
        check("/a/{x}", "/a/7", Some(&[("x", "7")]));
        check("/a/{x}", "/a/", None);
        check("/a/{x}", "/a/7/8", None);
        check("/a", "/b", None);
    }
}
