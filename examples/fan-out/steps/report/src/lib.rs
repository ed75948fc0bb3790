//! Step: joins what the branches found into one report.
//!
//! Refuses branches that speak of different stations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stepwell_guest::{Context, Failure};

/// What the flow hands in: a branch each, and the faults of the table.
#[derive(Debug, Deserialize)]
pub struct Input {
    temperature: Branch,
    dew_point: Branch,
    faults: Vec<String>,
}

/// What a branch found; other fields are passed over.
#[derive(Debug, Deserialize)]
pub struct Branch {
    all: Summary,
    stations: BTreeMap<String, Summary>,
}

/// As `weather-statistics` makes it.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Summary {
    count: usize,
    mean: f64,
    min: f64,
    max: f64,
}

/// What the flow gets, and answers with.
#[derive(Debug, PartialEq, Serialize)]
pub struct Output {
    rows: usize,
    mean_temperature_c: f64,
    mean_dew_point_c: f64,
    coldest_c: f64,
    warmest_c: f64,
    /// The station whose air comes closest to fog, and by how much on average.
    dampest: Option<Damp>,
    faults: Vec<String>,
}

/// How far a station's air is from fog.
#[derive(Debug, PartialEq, Serialize)]
pub struct Damp {
    station: String,
    /// Mean temperature less mean dew point.
    spread_c: f64,
}

fn run(_: &Context, input: Input) -> Result<Output, Failure> {
    let Input {
        temperature,
        dew_point,
        faults,
    } = input;
    if !temperature.stations.keys().eq(dew_point.stations.keys()) {
        return Err(Failure::new(
            "Weather.OtherStations",
            "the branches saw different stations",
        ));
    }
    let pairs = temperature.stations.iter().zip(dew_point.stations.values());
    let spreads = pairs.map(|((station, air), dew)| Damp {
        station: station.clone(),
        spread_c: ((air.mean - dew.mean) * 100.0).round() / 100.0,
    });
    Ok(Output {
        rows: temperature.all.count,
        mean_temperature_c: temperature.all.mean,
        mean_dew_point_c: dew_point.all.mean,
        coldest_c: temperature.all.min,
        warmest_c: temperature.all.max,
        dampest: spreads.min_by(|a, b| a.spread_c.total_cmp(&b.spread_c)),
        faults,
    })
}

stepwell_guest::step!(run);

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(stations: &[(&str, f64)]) -> Branch {
        let one = |mean: f64| Summary {
            count: 2,
            mean,
            min: mean,
            max: mean,
        };
        Branch {
            all: one(stations.first().map_or(0.0, |s| s.1)),
            stations: stations
                .iter()
                .map(|(name, mean)| ((*name).into(), one(*mean)))
                .collect(),
        }
    }

    #[test]
    fn the_dampest_station_is_found() {
        let temperature = branch(&[("a", 10.0), ("b", 12.0)]);
        let dew_point = branch(&[("a", 4.0), ("b", 11.5)]);
        let input = Input {
            temperature,
            dew_point,
            faults: vec![],
        };
        let report = run(&Context::for_test(), input).expect("a report");
        let dampest = Damp {
            station: "b".into(),
            spread_c: 0.5,
        };
        assert_eq!(report.dampest, Some(dampest));
    }

    #[test]
    fn branches_on_different_stations_do_not_join() {
        let (temperature, dew_point) = (branch(&[("a", 1.0)]), branch(&[("b", 1.0)]));
        let done = run(
            &Context::for_test(),
            Input {
                temperature,
                dew_point,
                faults: vec![],
            },
        );
        assert_eq!(
            done.map_err(|f| f.error),
            Err("Weather.OtherStations".into())
        );
    }
}
