//! Step: adds up a report that it is handed by name.
//!
//! Refuses a line that is no account with two numbers.

use std::io::{BufRead as _, BufReader};

use serde::{Deserialize, Serialize};
use stepwell_guest::blobs::{Bucket, named};
use stepwell_guest::{Context, Failure};

/// An object by its name.
#[derive(Debug, Deserialize)]
pub struct Object {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
}

/// What a report says in all.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Accounts.
    pub accounts: u64,
    /// Cents that came.
    pub cents: i64,
}

fn check(_: &Context, report: Object) -> Result<Totals, Failure> {
    let object = Bucket::open(&report.bucket)?.read(&report.key)?;
    let mut totals = Totals::default();
    for line in BufReader::new(object).lines() {
        totals.add(&line.map_err(named)?)?;
    }
    Ok(totals)
}

impl Totals {
    fn add(&mut self, line: &str) -> Result<(), Failure> {
        let bad = || Failure::new("Ledger.BadReport", format!("no line of a report: {line}"));
        let mut words = line.rsplitn(3, ' ');
        let (now, came) = (words.next(), words.next());
        let (Some(_), Some(came), Some(_)) =
            (now, came.and_then(|c| c.parse::<i64>().ok()), words.next())
        else {
            return Err(bad());
        };
        self.accounts += 1;
        self.cents = self.cents.checked_add(came).ok_or_else(bad)?;
        Ok(())
    }
}

stepwell_guest::step!(check);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports() {
        let mut totals = Totals::default();
        totals.add("till 5 17").expect("a line");
        totals.add("petty cash -7 -7").expect("a line");
        assert_eq!(
            totals,
            Totals {
                accounts: 2,
                cents: -2
            }
        );
        assert!(totals.add("till 5").is_err());
        assert!(totals.add("till five 5").is_err());
    }
}
