//! `[limits]`: how many calls go outside, and how fast.
//!
//! Refuses numbers that mean nothing, and a limit that would never hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use stepwell_host_api::limit::{self, LimitOptions, Limiter, Rules};
use stepwell_host_api::machine::MachineBridge;
use stepwell_orchestrator::ports::Outward;
use stepwell_types::{ExecutionId, TargetKind, TargetName, TargetStatus, Waiting};

use crate::exit::Trouble;
use crate::system::SystemClock;

/// Most calls a second that a limit may say: more is none.
const PER_SECOND_MAX: f64 = 1e6;

/// `[limits]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// HTTP hosts, as `api.example.com` or `api.example.com:8443`. Default 100 at once each.
    pub hosts: BTreeMap<String, Limit>,
    /// Container images. Default: what `total.images` leaves.
    pub images: BTreeMap<String, Limit>,
    /// Machines. Default 4 programs at once each.
    pub machines: BTreeMap<String, Limit>,
    /// Activities: tasks handed to workers, and in their hands. Default no limit.
    pub activities: BTreeMap<String, Limit>,
    /// All of a kind together.
    pub total: Total,
    /// When calls to a target fail at once.
    pub breaker: Breaker,
    /// Longest `Retry-After` that is honoured, in seconds. Default 300.
    pub retry_after_seconds_max: Option<u64>,
    /// Calls that wait for one target; one more fails. Default 10,000.
    pub waiting_max: Option<usize>,
}

/// `[limits.hosts.NAME]` and its like. `*` in front or at the end of the name is any rest.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limit {
    /// Calls at once; 0: as many as come.
    pub concurrency: Option<u32>,
    /// Calls a second; 0: as many as come.
    pub per_second: Option<f64>,
    /// Of these, how many may come at once after a pause. Default one second's.
    pub burst: Option<u32>,
}

/// `[limits.total]`: calls at once; 0: as many as come.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Total {
    /// HTTP calls. Default 1,024.
    pub hosts: Option<u32>,
    /// Containers. Default 16.
    pub images: Option<u32>,
    /// Programs on machines. Default 0.
    pub machines: Option<u32>,
}

/// `[limits.breaker]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// Failures in a row that open a target's circuit; 0: never. Default 10.
    pub failures: Option<u32>,
    /// Milliseconds until one call is let go to find out. Default 10,000; 1 to 3,600,000.
    pub open_ms: Option<u64>,
}

impl Limits {
    /// The limiter of this configuration.
    pub fn limiter(&self) -> Result<Limiter, Trouble> {
        let base = LimitOptions::default();
        let wrong = |what: &str, why: &str| {
            Err(Trouble::configuration(format!(
                "the configuration's limits.{what} {why}"
            )))
        };
        if self
            .breaker
            .open_ms
            .is_some_and(|ms| !(1..=3_600_000).contains(&ms))
        {
            return wrong("breaker.open_ms", "must be 1 to 3600000");
        }
        if self.retry_after_seconds_max.is_some_and(|s| s > 86_400) {
            return wrong("retry_after_seconds_max", "must be 0 to 86400");
        }
        if self.waiting_max == Some(0) {
            return wrong("waiting_max", "must be 1 or more");
        }
        let clock = Arc::new(|| SystemClock.wall());
        let options = LimitOptions {
            hosts: rules("hosts", &self.hosts, base.hosts, self.total.hosts)?,
            images: rules("images", &self.images, base.images, self.total.images)?,
            machines: rules(
                "machines",
                &self.machines,
                base.machines,
                self.total.machines,
            )?,
            activities: rules("activities", &self.activities, base.activities, None)?,
            failures_max: self.breaker.failures.unwrap_or(base.failures_max),
            open_ms: self.breaker.open_ms.unwrap_or(base.open_ms),
            retry_after_ms_max: self
                .retry_after_seconds_max
                .map_or(base.retry_after_ms_max, |seconds| seconds * 1_000),
            waiting_max: self.waiting_max.unwrap_or(base.waiting_max),
        };
        Ok(Limiter::new(options, clock))
    }
}

fn rules(
    kind: &str,
    given: &BTreeMap<String, Limit>,
    base: Rules,
    total: Option<u32>,
) -> Result<Rules, Trouble> {
    let one = |(name, given): (&String, &Limit)| {
        let fine = |n: f64| (0.0..=PER_SECOND_MAX).contains(&n);
        let starred = name.trim_matches('*').contains('*');
        if starred || given.per_second.is_some_and(|n| !fine(n)) {
            return Err(Trouble::configuration(format!(
                "the configuration's limits.{kind}.{name:?}: `*` stands at the beginning or the end, and per_second is 0 to {PER_SECOND_MAX}"
            )));
        }
        let limit = limit::Limit {
            concurrency: given.concurrency,
            per_second: given.per_second,
            burst: given.burst,
        };
        Ok((name.clone(), limit))
    };
    Ok(Rules {
        total: total.unwrap_or(base.total),
        base: base.base,
        by_name: given.iter().map(one).collect::<Result<_, _>>()?,
    })
}

/// The limiter as the orchestrator sees it, and the machines, of which connections are counted.
pub struct Ways {
    pub limiter: Limiter,
    pub machines: MachineBridge,
}

impl Outward for Ways {
    fn targets(&self) -> Vec<TargetStatus> {
        let mut targets = self.limiter.targets();
        for one in &mut targets {
            if let (TargetKind::Machine, Some(name)) = (one.target.kind, &one.target.name) {
                let open = self.machines.connections(name);
                one.connections = open.map(|open| u32::try_from(open).unwrap_or(u32::MAX));
            }
        }
        targets
    }

    fn waiting(&self, execution: ExecutionId) -> Vec<Waiting> {
        self.limiter.waiting(execution)
    }

    fn reserve(&self, activity: &Arc<str>) -> Result<(), Duration> {
        self.limiter.reserve(&named(activity))
    }

    fn give_back(&self, activity: &Arc<str>) {
        self.limiter.give_back(&named(activity));
    }

    fn concurrency(&self, activity: &str) -> Option<u32> {
        self.limiter.concurrency(TargetKind::Activity, activity)
    }
}

fn named(activity: &Arc<str>) -> TargetName {
    TargetName::new(TargetKind::Activity, Arc::clone(activity))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_or_refused() {
        let check = |text: &str, fine: bool| {
            let limits: Limits = toml::from_str(text).expect("a table");
            assert_eq!(limits.limiter().is_ok(), fine, "{text}");
        };
        check("", true);
        check(
            "[hosts.\"*.example.com\"]\nper_second = 2.5\nburst = 10",
            true,
        );
        check("[images.\"tools/*\"]\nconcurrency = 2", true);
        check("[activities.ship]\nper_second = 0.1", true);
        check("[activities.ship]\nconcurrency = 1", true);
        check("[hosts.x]\nper_second = -1.0", false);
        check("[hosts.x]\nper_second = nan", false);
        check("[hosts.\"a.*.example.com\"]\nconcurrency = 1", false);
        check("[breaker]\nopen_ms = 0", false);
        check("waiting_max = 0", false);
        for odd in ["[hosts.x]\nrate = 1", "[breaker]\nopen = 1", "hosts = 1"] {
            assert!(toml::from_str::<Limits>(odd).is_err(), "{odd}");
        }
    }
}
