//! What is limited, and how: numbers by the names of targets.
//!
//! Refuses nothing: `cli` checks what the configuration says before it comes here.

use std::collections::BTreeMap;

use stepwell_types::TargetKind;

/// The limits of one target, or of all that a pattern names. What one leaves open the next
/// less precise one says.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limit {
    /// Most calls at once; 0: as many as come.
    pub concurrency: Option<u32>,
    /// Most calls a second; 0: as many as come.
    pub per_second: Option<f64>,
    /// How many of them may come at once after a pause; none: one second's worth.
    pub burst: Option<u32>,
}

/// The limits of one kind of target.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// Most calls at once to all targets together; 0: as many as come.
    pub total: u32,
    /// What holds where no name says otherwise.
    pub base: Limit,
    /// By name. `*` at the beginning or at the end stands for any rest; the exact name counts
    /// first, then the longest pattern.
    pub by_name: BTreeMap<String, Limit>,
}

/// Settings of the limiter.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitOptions {
    /// HTTP hosts. Default 1,024 calls at once, 100 to one host.
    pub hosts: Rules,
    /// Images. Default 16 containers at once.
    pub images: Rules,
    /// Machines. Default 4 programs at once on one.
    pub machines: Rules,
    /// Activities: how many tasks workers have, and get a second. Default no limit.
    pub activities: Rules,
    /// Failures in a row after which calls to a target fail at once; 0: never. Default 10.
    pub failures_max: u32,
    /// Milliseconds after which one of them is let go to find out. Default 10,000.
    pub open_ms: u64,
    /// Longest `Retry-After` that is honoured, in milliseconds. Default 300,000.
    pub retry_after_ms_max: u64,
    /// Calls that wait for one target; one more fails. Default 10,000.
    pub waiting_max: usize,
}

impl Default for LimitOptions {
    fn default() -> LimitOptions {
        let rules = |total, concurrency| Rules {
            total,
            base: Limit {
                concurrency: Some(concurrency),
                ..Limit::default()
            },
            by_name: BTreeMap::new(),
        };
        LimitOptions {
            hosts: rules(1_024, 100),
            images: rules(16, 0),
            machines: rules(0, 4),
            activities: rules(0, 0),
            failures_max: 10,
            open_ms: 10_000,
            retry_after_ms_max: 300_000,
            waiting_max: 10_000,
        }
    }
}

impl LimitOptions {
    pub(super) fn rules(&self, kind: TargetKind) -> &Rules {
        match kind {
            TargetKind::Host => &self.hosts,
            TargetKind::Image => &self.images,
            TargetKind::Machine => &self.machines,
            TargetKind::Activity => &self.activities,
        }
    }
}

impl Rules {
    /// What holds for this name.
    pub(super) fn of(&self, name: &str) -> Limit {
        let fits = |pattern: &str| {
            pattern == name
                || pattern
                    .strip_suffix('*')
                    .is_some_and(|start| name.starts_with(start))
                || pattern
                    .strip_prefix('*')
                    .is_some_and(|end| name.ends_with(end))
        };
        let mut fitting: Vec<_> = self.by_name.iter().filter(|(p, _)| fits(p)).collect();
        fitting.sort_by_key(|(p, _)| (p.as_str() != name, std::cmp::Reverse(p.len())));
        let mut found = Limit::default();
        for limit in fitting.into_iter().map(|(_, l)| l).chain([&self.base]) {
            found.concurrency = found.concurrency.or(limit.concurrency);
            // A burst belongs to the rate that it was given with.
            if found.per_second.is_none() {
                found.burst = found.burst.or(limit.burst);
            }
            found.per_second = found.per_second.or(limit.per_second);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_find_their_limits() {
        let limit = |concurrency, per_second, burst| Limit {
            concurrency,
            per_second,
            burst,
        };
        let rules = Rules {
            total: 0,
            base: limit(Some(9), None, None),
            by_name: [
                ("*", limit(None, Some(50.0), Some(5))),
                ("*.example.com", limit(Some(3), None, None)),
                ("api.example.com", limit(None, Some(2.0), None)),
                ("tools/*", limit(Some(0), Some(0.0), None)),
            ]
            .map(|(name, limit)| (name.to_owned(), limit))
            .into(),
        };
        let check = |name: &str, expected: Limit| assert_eq!(rules.of(name), expected, "{name}");
        check("api.example.com", limit(Some(3), Some(2.0), None));
        check("www.example.com", limit(Some(3), Some(50.0), Some(5)));
        check("example.com", limit(Some(9), Some(50.0), Some(5)));
        check("tools/x", limit(Some(0), Some(0.0), None));
    }
}
