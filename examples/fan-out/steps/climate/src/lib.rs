//! Step: derives the dew point of one measurement, by the Magnus formula.
//!
//! Refuses air without any water: it has no dew point.

use serde::{Deserialize, Serialize};
use stepwell_guest::{Context, Failure};

/// One measurement; other fields of the row are passed over.
#[derive(Debug, Deserialize)]
pub struct Input {
    station: String,
    temperature_c: f64,
    humidity_percent: f64,
}

/// What the flow gets.
#[derive(Debug, PartialEq, Serialize)]
pub struct Output {
    station: String,
    /// The dew point in degrees Celsius, to a tenth.
    value: f64,
}

fn run(_: &Context, input: Input) -> Result<Output, Failure> {
    if input.humidity_percent <= 0.0 {
        return Err(Failure::new("Weather.NoWater", "humidity is zero"));
    }
    // Sonntag (1990), over water: valid from -45 to 60 degrees.
    let (b, c) = (17.62, 243.12);
    let gamma =
        (input.humidity_percent / 100.0).ln() + b * input.temperature_c / (c + input.temperature_c);
    let dew_point = c * gamma / (b - gamma);
    Ok(Output {
        station: input.station,
        value: (dew_point * 10.0).round() / 10.0,
    })
}

stepwell_guest::step!(run);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dew_points_agree_with_the_tables() {
        let check = |temperature_c: f64, humidity_percent: f64, expected: Option<f64>| {
            let station = String::new();
            let input = Input {
                station,
                temperature_c,
                humidity_percent,
            };
            let value = run(&Context::for_test(), input).ok().map(|o| o.value);
            assert_eq!(value, expected, "{temperature_c} C, {humidity_percent} %");
        };
        check(20.0, 100.0, Some(20.0));
        check(20.0, 50.0, Some(9.3));
        check(0.0, 80.0, Some(-3.0));
        check(20.0, 0.0, None);
    }
}
