//! Usage per flow and day.

use serde::{Deserialize, Serialize};
use stepwell_orchestrator::api;
use utoipa::ToSchema;

/// What one flow used on one UTC day.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UsageRow {
    /// The flow's name.
    pub flow: String,
    /// The UTC day.
    #[schema(example = "2026-11-23")]
    pub day: String,
    /// Executions accepted.
    pub started: u64,
    /// State transitions: entries into states, the start included. Retries count none.
    pub transitions: u64,
    /// Attempts of steps that ended.
    pub attempts: u64,
    /// wasmtime fuel.
    pub fuel: u64,
    /// Wall time of steps in microseconds.
    pub step_us: u64,
    /// Payload bytes in and out of steps.
    pub bytes: u64,
}

/// The usage report.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// By flow and day.
    pub usage: Vec<UsageRow>,
}

impl From<&api::UsageRow> for UsageRow {
    fn from(r: &api::UsageRow) -> UsageRow {
        let day = jiff::civil::date(1970, 1, 1)
            .checked_add(jiff::Span::new().try_days(r.day).unwrap_or_default())
            .map_or_else(|_| r.day.to_string(), |d| d.to_string());
        UsageRow {
            flow: r.flow.to_string(),
            day,
            started: r.usage.started,
            transitions: r.usage.transitions,
            attempts: r.usage.attempts,
            fuel: r.usage.fuel,
            step_us: r.usage.step_us,
            bytes: r.usage.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        for (day, want) in [(0, "1970-01-01"), (20_780, "2026-11-23")] {
            let row = api::UsageRow {
                flow: "f".into(),
                day,
                usage: api::Usage::default(),
            };
            assert_eq!(UsageRow::from(&row).day, want);
        }
    }
}
