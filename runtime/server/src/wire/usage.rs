//! Usage per flow and day.

use std::sync::Arc;

use jiff::Span;
use jiff::civil::{Date, date};
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
    /// Executions accepted, those that flows start included.
    pub started: u64,
    /// State transitions: entries into states, the start included. Retries count none.
    pub transitions: u64,
    /// Attempts at Tasks that the server made and that ended; retries included.
    pub attempts: u64,
    /// wasmtime fuel of modules: about one for each instruction.
    pub fuel: u64,
    /// Wall time of steps in microseconds.
    pub step_us: u64,
    /// Bytes of steps' inputs and outputs, as JSON text.
    pub bytes: u64,
}

/// A page of the usage report.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// By flow and day.
    pub usage: Vec<UsageRow>,
    /// Hand it back as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

const DAY_ZERO: Date = date(1970, 1, 1);

/// The day after so many of them.
fn shown(day: u32) -> String {
    let span = Span::new().try_days(day).unwrap_or_default();
    let found = DAY_ZERO.checked_add(span);
    found.map_or_else(|_| day.to_string(), |day| day.to_string())
}

/// What `next` names: a flow's day.
pub(crate) fn place(text: &str) -> Option<(Arc<str>, u32)> {
    let (flow, day) = text.rsplit_once('/')?;
    let days = (day.parse::<Date>().ok()? - DAY_ZERO).get_days();
    Some((flow.into(), u32::try_from(days).ok()?))
}

impl From<&api::Page<api::UsageRow, (Arc<str>, u32)>> for Usage {
    fn from(page: &api::Page<api::UsageRow, (Arc<str>, u32)>) -> Usage {
        let next = page.next.as_ref();
        Usage {
            usage: page.items.iter().map(UsageRow::from).collect(),
            next: next.map(|(flow, day)| format!("{flow}/{}", shown(*day))),
        }
    }
}

impl From<&api::UsageRow> for UsageRow {
    fn from(r: &api::UsageRow) -> UsageRow {
        UsageRow {
            flow: r.flow.to_string(),
            day: shown(r.day),
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
            assert_eq!(place(&format!("f/{want}")), Some(("f".into(), day)));
        }
        for text in ["", "f", "f/", "f/1969-12-31", "f/x"] {
            assert_eq!(place(text), None, "{text}");
        }
    }
}
