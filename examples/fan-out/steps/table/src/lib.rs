//! Step: reads a table of measurements (CSV with a header) into rows.
//!
//! Refuses a table whose rows cannot be read; rows with impossible values are
//! kept apart and named.

use serde::{Deserialize, Serialize};
use stepwell_guest::{Context, Failure};

const HEADER: &str = "station,altitude_m,hour,temperature_c,humidity_percent,wind_m_s";
/// Most rows of a table.
const ROWS_MAX: usize = 100_000;

/// What the flow hands in.
#[derive(Debug, Deserialize)]
pub struct Input {
    /// The file's text.
    csv: String,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    station: String,
    altitude_m: f64,
    hour: u32,
    temperature_c: f64,
    humidity_percent: f64,
    wind_m_s: f64,
}

/// What the flow gets.
#[derive(Debug, PartialEq, Serialize)]
pub struct Output {
    rows: Vec<Row>,
    /// Lines of the file (from 1) with impossible values, and why.
    faults: Vec<String>,
}

fn run(_: &Context, input: Input) -> Result<Output, Failure> {
    let mut lines = input.csv.lines();
    if lines.next().map(str::trim) != Some(HEADER) {
        let cause = format!("the first line is `{HEADER}`");
        return Err(Failure::new("Weather.BadHeader", cause));
    }
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    for (index, line) in lines.filter(|line| !line.trim().is_empty()).enumerate() {
        if index >= ROWS_MAX {
            let cause = format!("more than {ROWS_MAX} rows");
            return Err(Failure::new("Weather.TooLong", cause));
        }
        let number = index + 2;
        let row = row(line)
            .ok_or_else(|| Failure::new("Weather.BadRow", format!("line {number}: `{line}`")))?;
        match fault(&row) {
            None => rows.push(row),
            Some(fault) => faults.push(format!("line {number}: {}: {fault}", row.station)),
        }
    }
    Ok(Output { rows, faults })
}

fn row(line: &str) -> Option<Row> {
    let mut fields = line.split(',').map(str::trim);
    let row = Row {
        station: fields.next().filter(|name| !name.is_empty())?.to_owned(),
        altitude_m: fields.next()?.parse().ok()?,
        hour: fields.next()?.parse().ok()?,
        temperature_c: fields.next()?.parse().ok()?,
        humidity_percent: fields.next()?.parse().ok()?,
        wind_m_s: fields.next()?.parse().ok()?,
    };
    fields.next().is_none().then_some(row)
}

/// What no weather on earth can be.
fn fault(row: &Row) -> Option<String> {
    let within = |name: &str, value: f64, low: f64, high: f64| {
        (!(low..=high).contains(&value)).then(|| format!("{name} {value} is impossible"))
    };
    within("temperature", row.temperature_c, -90.0, 60.0)
        .or_else(|| within("humidity", row.humidity_percent, 0.0, 100.0))
        .or_else(|| within("wind", row.wind_m_s, 0.0, 115.0))
}

stepwell_guest::step!(run);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rows: &str) -> Result<(usize, Vec<String>), String> {
        let csv = format!("{HEADER}\n{rows}");
        let done = run(&Context::for_test(), Input { csv });
        done.map(|o| (o.rows.len(), o.faults)).map_err(|f| f.cause)
    }

    #[test]
    fn rows_are_read_and_faults_named() {
        assert_eq!(
            read("a,1,0,10.5,80,2\n\nb,2,1,-3,70,0.5\n"),
            Ok((2, vec![]))
        );
        let faults = vec!["line 2: a: temperature 85 is impossible".to_owned()];
        assert_eq!(read("a,1,0,85,80,2"), Ok((0, faults)));
        assert_eq!(
            read("a,1,0,warm,80,2"),
            Err("line 2: `a,1,0,warm,80,2`".into())
        );
        assert_eq!(read("a,1,0,1,1,1,1"), Err("line 2: `a,1,0,1,1,1,1`".into()));
    }

    #[test]
    fn the_examples_file_has_two_faults() {
        let csv = include_str!("../../../data/measurements.csv").to_owned();
        let done = run(&Context::for_test(), Input { csv }).expect("a table");
        assert_eq!((done.rows.len(), done.faults.len()), (198, 2));
    }
}
