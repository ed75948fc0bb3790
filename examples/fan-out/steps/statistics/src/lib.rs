//! Step: statistics of one value, over all rows and for each station.
//!
//! Refuses an empty list: it has no mean.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stepwell_guest::{Context, Failure};

/// What the flow hands in.
#[derive(Debug, Deserialize)]
pub struct Input {
    /// What the values are, for the report.
    of: String,
    rows: Vec<Row>,
}

/// One value, by either of its names.
#[derive(Debug, Deserialize)]
pub struct Row {
    station: String,
    #[serde(alias = "temperature_c")]
    value: f64,
}

/// Of some values, to a hundredth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    count: usize,
    mean: f64,
    min: f64,
    max: f64,
    /// Standard deviation of the sample; 0 for a single value.
    deviation: f64,
    /// The middle value; the mean of two when their number is even.
    median: f64,
}

/// What the flow gets.
#[derive(Debug, PartialEq, Serialize)]
pub struct Output {
    of: String,
    all: Summary,
    stations: BTreeMap<String, Summary>,
}

fn run(_: &Context, input: Input) -> Result<Output, Failure> {
    let mut groups: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut all = Vec::with_capacity(input.rows.len());
    for row in input.rows {
        all.push(row.value);
        groups.entry(row.station).or_default().push(row.value);
    }
    let none = || Failure::new("Weather.NoRows", format!("no values of {}", input.of));
    let all = summary(all).ok_or_else(none)?;
    let groups = groups.into_iter();
    let stations = groups.filter_map(|(name, values)| Some((name, summary(values)?)));
    Ok(Output {
        of: input.of.clone(),
        all,
        stations: stations.collect(),
    })
}

fn summary(mut values: Vec<f64>) -> Option<Summary> {
    values.sort_by(f64::total_cmp);
    let count = values.len();
    let (min, max) = (*values.first()?, *values.last()?);
    let mean = values.iter().sum::<f64>() / count as f64;
    let squares = values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>();
    let deviation = (squares / count.saturating_sub(1).max(1) as f64).sqrt();
    let upper = *values.get(count / 2)?;
    let lower = *values.get((count - 1) / 2)?;
    let round = |value: f64| (value * 100.0).round() / 100.0;
    Some(Summary {
        count,
        mean: round(mean),
        min: round(min),
        max: round(max),
        deviation: round(deviation),
        median: round(f64::midpoint(lower, upper)),
    })
}

stepwell_guest::step!(run);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_right() {
        let check = |values: &[f64], expected: Option<(f64, f64, f64)>| {
            let done = summary(values.to_vec());
            assert_eq!(done.map(|s| (s.mean, s.deviation, s.median)), expected);
        };
        check(
            &[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0],
            Some((5.0, 2.14, 4.5)),
        );
        check(&[3.0], Some((3.0, 0.0, 3.0)));
        check(&[], None);
    }

    #[test]
    fn stations_are_kept_apart() {
        let row = |station: &str, value: f64| Row {
            station: station.into(),
            value,
        };
        let rows = vec![row("b", 1.0), row("a", 3.0), row("b", 2.0)];
        let done = run(
            &Context::for_test(),
            Input {
                of: "x".into(),
                rows,
            },
        )
        .expect("statistics");
        let means: Vec<_> = done
            .stations
            .iter()
            .map(|(n, s)| (n.as_str(), s.mean))
            .collect();
        assert_eq!(means, [("a", 3.0), ("b", 1.5)]);
        assert_eq!(done.all.count, 3);
    }
}
