//! HTTP endpoints of flows: which request means which flow.
//!
//! Refuses to read a path: `trigger` has checked how an endpoint is written, and takes the
//! parameters out of a request's.

use std::collections::BTreeMap;
use std::str::Split;
use std::sync::Arc;

use super::Catalog;
use crate::Error;
use crate::api::HttpTrigger;
use crate::rows::TriggerRow;

/// Endpoints that one flow may have.
const TRIGGERS_MAX: usize = 32;

/// All endpoints as a tree of their paths' segments, so that a request looks at those alone
/// that begin as it does.
#[derive(Clone, Default)]
pub(super) struct Routes {
    fixed: BTreeMap<Arc<str>, Routes>,
    /// Below a `{parameter}`, whatever its name.
    free: Option<Box<Routes>>,
    /// By method: the flow, and the endpoint as it is written.
    here: BTreeMap<Arc<str>, (Arc<str>, HttpTrigger)>,
}

fn is_free(segment: &str) -> bool {
    segment.starts_with('{')
}

impl Routes {
    /// Adds a flow's endpoints.
    pub fn add(&mut self, flow: &Arc<str>, row: &TriggerRow) {
        for endpoint in row.list() {
            let mut at = &mut *self;
            for segment in endpoint.path.split('/') {
                at = match is_free(segment) {
                    true => at.free.get_or_insert_default(),
                    false => at.fixed.entry(segment.into()).or_default(),
                };
            }
            let method = endpoint.method.clone();
            at.here.insert(method, (flow.clone(), endpoint));
        }
    }

    /// Takes a flow's endpoints away.
    pub fn remove(&mut self, row: &TriggerRow) {
        for endpoint in row.list() {
            self.cut(endpoint.path.split('/'), &endpoint.method);
        }
    }

    fn cut(&mut self, mut rest: Split<'_, char>, method: &str) {
        let Some(segment) = rest.next() else {
            self.here.remove(method);
            return;
        };
        if is_free(segment) {
            if let Some(below) = &mut self.free {
                below.cut(rest, method);
            }
            self.free.take_if(|below| below.is_empty());
        } else if let Some(below) = self.fixed.get_mut(segment) {
            below.cut(rest, method);
            if below.is_empty() {
                self.fixed.remove(segment);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.fixed.is_empty() && self.free.is_none() && self.here.is_empty()
    }

    /// The flow that has an endpoint of this shape.
    fn owner(&self, endpoint: &HttpTrigger) -> Option<&Arc<str>> {
        let mut at = self;
        for segment in endpoint.path.split('/') {
            at = match is_free(segment) {
                true => at.free.as_deref()?,
                false => at.fixed.get(segment)?,
            };
        }
        at.here.get(&endpoint.method).map(|(flow, _)| flow)
    }

    /// Where a request's path leads, with the number of parameters on the way.
    fn meet<'a>(
        &'a self,
        mut rest: Split<'_, char>,
        parameters: usize,
        met: &mut Vec<(usize, &'a Routes)>,
    ) {
        let Some(segment) = rest.next() else {
            met.push((parameters, self));
            return;
        };
        if let Some(below) = self.fixed.get(segment) {
            below.meet(rest.clone(), parameters, met);
        }
        if let Some(below) = self.free.as_ref().filter(|_| !segment.is_empty()) {
            below.meet(rest, parameters + 1, met);
        }
    }

    fn find(&self, method: &str, path: &str) -> Option<&(Arc<str>, HttpTrigger)> {
        let mut met = Vec::new();
        self.meet(path.split('/'), 0, &mut met);
        let met = met.into_iter();
        let found = met.filter_map(|(n, at)| Some((n, at.here.get(method)?)));
        found.min_by_key(|(n, _)| *n).map(|(_, found)| found)
    }

    fn methods(&self, path: &str) -> Vec<String> {
        let mut met = Vec::new();
        self.meet(path.split('/'), 0, &mut met);
        let methods = met.iter().flat_map(|(_, at)| at.here.keys());
        let mut methods: Vec<_> = methods.map(|method| method.to_string()).collect();
        methods.sort_unstable();
        methods.dedup();
        methods
    }
}

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
        if let Some(beyond) = wanted.get(TRIGGERS_MAX) {
            let why = format!("a flow has at most {TRIGGERS_MAX} endpoints");
            return Err(bad(beyond, why));
        }
        let index = self.0.index.read();
        let mut own = Routes::default();
        for t in wanted {
            if own.owner(t).is_some() {
                return Err(bad(t, "the flow names this endpoint twice".into()));
            }
            if let Some(other) = index.routes.owner(t).filter(|other| *other != flow) {
                return Err(bad(t, format!("flow {other} has this endpoint")));
            }
            own.add(flow, &TriggerRow::of(std::slice::from_ref(t)));
        }
        Ok(TriggerRow::of(wanted))
    }

    /// The flow whose endpoint this request meets, and the endpoint. A fixed segment beats a
    /// parameter.
    pub fn trigger(&self, method: &str, path: &str) -> Option<(Arc<str>, HttpTrigger)> {
        self.0.index.read().routes.find(method, path).cloned()
    }

    /// The methods of all endpoints at this path, sorted.
    pub fn trigger_methods(&self, path: &str) -> Vec<String> {
        self.0.index.read().routes.methods(path)
    }
}

impl TriggerRow {
    fn of(endpoints: &[HttpTrigger]) -> TriggerRow {
        let endpoints = endpoints.iter();
        TriggerRow {
            endpoints: endpoints
                .map(|t| (t.method.clone(), t.path.clone(), t.wait))
                .collect(),
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(endpoints: &[&str]) -> TriggerRow {
        let endpoints = endpoints.iter().map(|text| {
            let (method, path) = text.split_once(' ').unwrap();
            (method.into(), path.into(), true)
        });
        TriggerRow {
            endpoints: endpoints.collect(),
        }
    }

    #[test]
    fn a_request_meets_the_most_fixed_endpoint() {
        let mut routes = Routes::default();
        let wide = row(&["GET /{x}/b/c", "POST /{x}"]);
        routes.add(&"wide".into(), &wide);
        routes.add(&"deep".into(), &row(&["GET /a/{x}/{y}", "PUT /a/{z}"]));
        routes.add(&"exact".into(), &row(&["GET /a", "DELETE /a/{x}"]));
        let check = |routes: &Routes, method: &str, path: &str, want: Option<(&str, &str)>| {
            let found = routes.find(method, path);
            let found = found.map(|(flow, t)| (&**flow, &*t.path));
            assert_eq!(found, want, "{method} {path}");
        };
        check(&routes, "GET", "/a/b/c", Some(("wide", "/{x}/b/c")));
        check(&routes, "GET", "/a/c/c", Some(("deep", "/a/{x}/{y}")));
        check(&routes, "GET", "/a", Some(("exact", "/a")));
        check(&routes, "POST", "/a", Some(("wide", "/{x}")));
        check(&routes, "GET", "/a/", None);
        check(&routes, "GET", "/a//c", None);
        check(&routes, "GET", "/a/b/c/d", None);
        check(&routes, "GET", "a", None);
        assert_eq!(routes.methods("/a/7"), ["DELETE", "PUT"]);
        assert_eq!(routes.methods("/b"), ["POST"]);
        let same = row(&["GET /{other}/b/c"]).list();
        assert_eq!(routes.owner(&same[0]).map(|f| &**f), Some("wide"));

        routes.remove(&wide);
        check(&routes, "GET", "/a/b/c", Some(("deep", "/a/{x}/{y}")));
        check(&routes, "POST", "/a", None);
        assert!(routes.free.is_none() || routes.fixed.len() == 1);
        routes.remove(&row(&["GET /a/{x}/{y}", "PUT /a/{z}"]));
        routes.remove(&row(&["GET /a", "DELETE /a/{x}"]));
        assert!(routes.is_empty(), "nothing of what went is kept");
    }
}
