//! Prometheus metrics: the orchestrator's counters and the HTTP door's own.
//!
//! Refuses to count what is not durable: the orchestrator's counters move after the commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use axum::http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use stepwell_orchestrator::api::Metrics;
use stepwell_types::{Circuit, TargetStatus};

/// Upper bounds of the request duration buckets, in microseconds.
const BUCKETS_US: [u64; 12] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000, 10_000_000,
];

/// Counters of the HTTP door. Cheap enough to move on every request.
#[derive(Debug, Default)]
pub struct HttpMetrics {
    /// By hundreds of the status: 1xx to 5xx.
    classes: [AtomicU64; 5],
    /// Requests refused before a handler saw them.
    refused: AtomicU64,
    in_flight: AtomicI64,
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
    sum_us: AtomicU64,
}

/// Measures one request; dropping it early (the client went away) only lowers the gauge.
pub(crate) struct Timer {
    metrics: Arc<HttpMetrics>,
    began: tokio::time::Instant,
}

impl HttpMetrics {
    pub(crate) fn begin(self: &Arc<HttpMetrics>) -> Timer {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Timer {
            metrics: Arc::clone(self),
            began: tokio::time::Instant::now(),
        }
    }

    pub(crate) fn refused(&self, status: StatusCode) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.class(status);
    }

    fn class(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = self.classes.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Timer {
    pub(crate) fn end(self, status: StatusCode) {
        let us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let metrics = &self.metrics;
        metrics.class(status);
        metrics.sum_us.fetch_add(us, Ordering::Relaxed);
        let bucket = BUCKETS_US.iter().position(|b| us <= *b);
        if let Some(counter) = metrics.buckets.get(bucket.unwrap_or(BUCKETS_US.len())) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.metrics.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All metrics in the OpenMetrics text format.
#[must_use]
pub fn text(run: &Metrics, targets: Vec<TargetStatus>, http: &Arc<HttpMetrics>) -> String {
    let mut registry = Registry::with_prefix("stepwell");
    registry.register_collector(Box::new(Snapshot {
        run: run.clone(),
        targets,
        http: Arc::clone(http),
    }));
    let mut out = String::new();
    // Writing into memory cannot fail.
    let _ = prometheus_client::encoding::text::encode(&mut out, &registry);
    out
}

#[derive(Debug)]
struct Snapshot {
    run: Metrics,
    targets: Vec<TargetStatus>,
    http: Arc<HttpMetrics>,
}

impl Collector for Snapshot {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.encode_run(&mut out)?;
        self.encode_targets(&mut out)?;
        self.encode_http(&mut out)
    }
}

impl Snapshot {
    fn encode_run(&self, out: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let run = &self.run;
        let counters = [
            ("executions_started", "Executions accepted", run.started),
            ("executions_redriven", "Executions redriven", run.redriven),
            ("state_transitions", "Entries into states", run.transitions),
            (
                "step_attempts",
                "Attempts of steps that ended",
                run.attempts,
            ),
            ("step_fuel", "wasmtime fuel used by steps", run.fuel),
            ("store_commits", "Group commits, one sync each", run.commits),
            (
                "store_commit_bytes",
                "Bytes handed to the store",
                run.commit_bytes,
            ),
            ("starts_refused", "Starts refused by admission", run.refused),
        ];
        for (name, help, value) in counters {
            let metric = out.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(metric)?;
        }
        let help = "Time spent in group commits";
        let metric = out.encode_descriptor(
            "store_commit",
            help,
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?;
        ConstCounter::new(seconds(run.commit_us)).encode(metric)?;

        let help = "Executions that ended, by status";
        let mut ended =
            out.encode_descriptor("executions_ended", help, None, MetricType::Counter)?;
        let statuses = ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"];
        for (status, value) in statuses.into_iter().zip(run.ended) {
            let label = [("status", status)];
            let metric: MetricEncoder<'_> = ended.encode_family(&label)?;
            ConstCounter::new(value).encode(metric)?;
        }
        let help = "Signals: delivered to a Task that waited, kept for one, refused";
        let mut signals = out.encode_descriptor("signals", help, None, MetricType::Counter)?;
        for (outcome, value) in ["delivered", "kept", "refused"]
            .into_iter()
            .zip(run.signals)
        {
            let label = [("outcome", outcome)];
            ConstCounter::new(value).encode(signals.encode_family(&label)?)?;
        }
        let gauges = [
            ("executions_hot", "Executions in memory", run.hot),
            (
                "executions_open",
                "Executions accepted and not ended",
                u64::try_from(run.open).unwrap_or(0),
            ),
            (
                "steps_running",
                "Attempts outside their first slice",
                run.steps_running,
            ),
        ];
        for (name, help, value) in gauges {
            let metric = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(metric)?;
        }
        Ok(())
    }

    /// Without the rows that hold all of a kind: in a sum they would count each call again.
    fn named(&self) -> impl Iterator<Item = &TargetStatus> {
        let targets = self.targets.iter();
        targets.filter(|target| target.target.name.is_some())
    }

    fn encode_targets(&self, out: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        type Value = fn(&TargetStatus) -> u64;
        let counters: [(&str, &str, Value); 3] = [
            ("target_calls", "Calls outside that were let go", |t| {
                t.calls
            }),
            (
                "target_failures",
                "Of these, those that failed as the circuit counts",
                |t| t.failed,
            ),
            (
                "target_refusals",
                "Calls refused by an open circuit or a full queue",
                |t| t.refused,
            ),
        ];
        for (name, help, value) in counters {
            let mut family = out.encode_descriptor(name, help, None, MetricType::Counter)?;
            for target in self.named() {
                let label = label(target);
                ConstCounter::new(value(target)).encode(family.encode_family(&label)?)?;
            }
        }
        let gauges: [(&str, &str, Value); 3] = [
            ("target_under_way", "Calls outside under way", |t| {
                t.under_way.into()
            }),
            ("target_waiting", "Calls that wait for their turn", |t| {
                t.waiting.into()
            }),
            (
                "target_circuit",
                "0 closed, 1 half-open, 2 open",
                |t| match t.circuit {
                    Circuit::Closed => 0,
                    Circuit::HalfOpen => 1,
                    Circuit::Open => 2,
                },
            ),
        ];
        for (name, help, value) in gauges {
            let mut family = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for target in self.named() {
                let value = i64::try_from(value(target)).unwrap_or(i64::MAX);
                ConstGauge::new(value).encode(family.encode_family(&label(target))?)?;
            }
        }
        let help = "Connections that are open to a machine";
        let mut family =
            out.encode_descriptor("target_connections", help, None, MetricType::Gauge)?;
        for target in self.named() {
            if let Some(open) = target.connections {
                let label = label(target);
                ConstGauge::new(i64::from(open)).encode(family.encode_family(&label)?)?;
            }
        }
        Ok(())
    }

    fn encode_http(&self, out: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let http = &self.http;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let help = "HTTP responses, by class of status";
        let mut family =
            out.encode_descriptor("http_responses", help, None, MetricType::Counter)?;
        for (class, counter) in ["1xx", "2xx", "3xx", "4xx", "5xx"]
            .iter()
            .zip(&http.classes)
        {
            let label = [("class", *class)];
            let metric = family.encode_family(&label)?;
            ConstCounter::new(load(counter)).encode(metric)?;
        }
        let help = "Requests refused for their token or origin";
        let metric = out.encode_descriptor("http_refused", help, None, MetricType::Counter)?;
        ConstCounter::new(load(&http.refused)).encode(metric)?;
        let help = "HTTP requests being answered";
        let metric = out.encode_descriptor("http_in_flight", help, None, MetricType::Gauge)?;
        ConstGauge::new(http.in_flight.load(Ordering::Relaxed)).encode(metric)?;

        let help = "Time from a request's headers to its response's headers";
        let unit = Some(&Unit::Seconds);
        let mut metric =
            out.encode_descriptor("http_request_duration", help, unit, MetricType::Histogram)?;
        let bounds = BUCKETS_US.iter().map(|us| seconds(*us));
        let buckets: Vec<(f64, u64)> = bounds
            .chain([f64::INFINITY])
            .zip(http.buckets.iter().map(load))
            .collect();
        let count = buckets.iter().map(|(_, n)| n).sum();
        let no_exemplars: Option<&std::collections::HashMap<usize, _>> = None;
        metric.encode_histogram::<[(&str, &str); 0]>(
            seconds(load(&http.sum_us)),
            count,
            &buckets,
            no_exemplars,
        )
    }
}

/// What tells one target's samples from another's.
fn label(target: &TargetStatus) -> [(&'static str, String); 2] {
    let name = &target.target;
    [
        ("kind", name.kind.word().to_owned()),
        ("name", name.name.as_deref().unwrap_or_default().to_owned()),
    ]
}

/// Microseconds as the seconds that Prometheus wants; exact enough to 285 years.
#[allow(clippy::cast_precision_loss, reason = "a metric is an approximation")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use stepwell_types::{TargetKind, TargetName};

    use super::*;

    #[test]
    fn text_has_every_kind() {
        let http = Arc::new(HttpMetrics::default());
        let run = Metrics {
            started: 3,
            ended: [2, 1, 0, 0],
            signals: [5, 6, 7],
            commit_us: 1_500_000,
            open: 7,
            ..Metrics::default()
        };
        http.refused(StatusCode::UNAUTHORIZED);
        let target = TargetStatus {
            target: TargetName::new(TargetKind::Host, "a.example"),
            circuit: Circuit::Open,
            open_until: None,
            paused_until: None,
            under_way: 1,
            waiting: 2,
            concurrency: None,
            per_second: None,
            calls: 3,
            failed: 4,
            refused: 5,
            connections: Some(6),
        };
        let all = TargetStatus {
            target: TargetName {
                kind: TargetKind::Host,
                name: None,
            },
            ..target.clone()
        };
        let text = text(&run, vec![all, target], &http);
        assert_eq!(text.matches("stepwell_target_calls_total{").count(), 1);
        for line in [
            "stepwell_executions_started_total 3",
            "stepwell_executions_ended_total{status=\"FAILED\"} 1",
            "stepwell_store_commit_seconds_total 1.5",
            "stepwell_signals_total{outcome=\"kept\"} 6",
            "stepwell_executions_open 7",
            "stepwell_http_responses_total{class=\"4xx\"} 1",
            "stepwell_http_refused_total 1",
            "stepwell_http_request_duration_seconds_bucket{le=\"0.00025\"} 0",
            "stepwell_http_request_duration_seconds_bucket{le=\"+Inf\"} 0",
            "stepwell_http_request_duration_seconds_count 0",
            "stepwell_target_calls_total{kind=\"host\",name=\"a.example\"} 3",
            "stepwell_target_circuit{kind=\"host\",name=\"a.example\"} 2",
            "stepwell_target_connections{kind=\"host\",name=\"a.example\"} 6",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
