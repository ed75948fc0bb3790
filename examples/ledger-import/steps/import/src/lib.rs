//! Step: counts a ledger file into the balances of its accounts, once, and writes what came of it.
//!
//! The file is read a line at a time, however large it is. Balances, the mark that the file is counted, and
//! the report land together with the step's outcome. Refuses a file with a row that it cannot read.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};

use serde::{Deserialize, Serialize};
use stepwell_guest::blobs::{Bucket, named};
use stepwell_guest::keyvalue::Namespace;
use stepwell_guest::{Context, Failure, info};

/// First line of a ledger.
const HEADER: &str = "booking,account,cents";
/// Most accounts of one file: a step reads and writes a bounded number of keys.
const ACCOUNTS_MAX: usize = 4_000;
/// Longest line, in bytes.
const LINE_BYTES_MAX: usize = 1_000;

/// An object by its name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Object {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
}

/// What came of a file.
#[derive(Debug, Serialize)]
pub struct Imported {
    /// Rows of the file.
    pub rows: u64,
    /// The file was counted before, and is not counted again.
    pub repeated: bool,
    /// Where the report lies.
    pub report: Object,
}

fn import(_: &Context, file: Object) -> Result<Imported, Failure> {
    let balances = Namespace::open("balances")?;
    let mark = format!("imported/{}/{}", file.bucket, file.key);
    let report = Object {
        bucket: "ledger-reports".into(),
        key: format!("{}.txt", file.key),
    };
    if let Some(rows) = balances.get(&mark)? {
        let rows = number(&rows)?.unsigned_abs();
        return Ok(Imported {
            rows,
            repeated: true,
            report,
        });
    }
    let ledger = read(&file)?;
    info!("{} rows of {} accounts", ledger.rows, ledger.sums.len());
    let mut writer = BufWriter::new(Bucket::open(&report.bucket)?.write(&report.key)?);
    for (account, sum) in &ledger.sums {
        let key = format!("account/{account}");
        let before = balances.get(&key)?;
        let before = before.as_deref().map_or(Ok(0), number)?;
        let now = before.checked_add(*sum).ok_or_else(too_large)?;
        balances.set(&key, now.to_string().as_bytes())?;
        writeln!(writer, "{account} {sum} {now}").map_err(named)?;
    }
    let writer = writer.into_inner();
    writer.map_err(|e| named(e.into_error()))?.finish()?;
    balances.set(&mark, ledger.rows.to_string().as_bytes())?;
    Ok(Imported {
        rows: ledger.rows,
        repeated: false,
        report,
    })
}

fn read(file: &Object) -> Result<Ledger, Failure> {
    let object = Bucket::open(&file.bucket)?.read(&file.key)?;
    let mut reader = BufReader::with_capacity(256 << 10, object);
    let (mut ledger, mut line, mut number) = (Ledger::default(), Vec::new(), 0);
    loop {
        line.clear();
        number += 1;
        let mut bounded = std::io::Read::take(&mut reader, LINE_BYTES_MAX as u64);
        if bounded.read_until(b'\n', &mut line).map_err(named)? == 0 {
            return Ok(ledger);
        }
        ledger.add(number, &line)?;
    }
}

/// The sums of a file.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Cents by account.
    pub sums: BTreeMap<String, i64>,
    /// Rows so far.
    pub rows: u64,
}

impl Ledger {
    /// Takes a line, counted from 1, its end with it.
    /// # Errors
    /// `Ledger.BadHeader`, `Ledger.BadRow`, `Ledger.TooManyAccounts`.
    pub fn add(&mut self, number: u64, line: &[u8]) -> Result<(), Failure> {
        let bad = |why: &str| Failure::new("Ledger.BadRow", format!("line {number}: {why}"));
        if line.len() >= LINE_BYTES_MAX {
            return Err(bad("it is too long"));
        }
        let text = std::str::from_utf8(line).map_err(|_| bad("it is no UTF-8"))?;
        let text = text.trim_end_matches(['\r', '\n']);
        if number == 1 {
            return match text == HEADER {
                true => Ok(()),
                false => Err(Failure::new(
                    "Ledger.BadHeader",
                    format!("the first line is not `{HEADER}`"),
                )),
            };
        }
        let mut fields = text.split(',');
        let (Some(_), Some(account), Some(cents), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(bad("it has not three fields"));
        };
        if account.is_empty() {
            return Err(bad("it names no account"));
        }
        let cents: i64 = cents
            .parse()
            .map_err(|_| bad("cents are no whole number"))?;
        self.rows += 1;
        // Only a new account takes memory.
        if let Some(sum) = self.sums.get_mut(account) {
            *sum = sum.checked_add(cents).ok_or_else(too_large)?;
            return Ok(());
        }
        if self.sums.len() == ACCOUNTS_MAX {
            let cause = format!("more than {ACCOUNTS_MAX} accounts; split the file");
            return Err(Failure::new("Ledger.TooManyAccounts", cause));
        }
        self.sums.insert(account.to_owned(), cents);
        Ok(())
    }
}

fn number(bytes: &[u8]) -> Result<i64, Failure> {
    let text = std::str::from_utf8(bytes).ok();
    let number = text.and_then(|text| text.parse().ok());
    number.ok_or_else(|| Failure::new("Ledger.BadState", "what is kept is no number"))
}

fn too_large() -> Failure {
    Failure::new("Ledger.TooLarge", "a balance has more digits than are kept")
}

stepwell_guest::step!(import);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&str], expected: Result<&[(&str, i64)], &str>) {
        let mut ledger = Ledger::default();
        let added = lines
            .iter()
            .enumerate()
            .try_for_each(|(n, line)| ledger.add(n as u64 + 1, format!("{line}\r\n").as_bytes()));
        let sums: Vec<(&str, i64)> = ledger.sums.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        match (added, expected) {
            (Ok(()), Ok(expected)) => assert_eq!(sums, expected),
            (Err(failure), Err(expected)) => {
                let told = format!("{}: {}", failure.error, failure.cause);
                assert!(told.starts_with(expected), "{told}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ledgers() {
        check(
            &[HEADER, "1,a,5", "2,b,-7", "3,a,10"],
            Ok(&[("a", 15), ("b", -7)]),
        );
        check(&["1,a,5"], Err("Ledger.BadHeader"));
        check(&[HEADER, "1,a,5", "2,a,5.5"], Err("Ledger.BadRow: line 3"));
        check(&[HEADER, "1,a"], Err("Ledger.BadRow: line 2"));
        check(&[HEADER, "1,a,5,6"], Err("Ledger.BadRow: line 2"));
        check(&[HEADER, "1,,5"], Err("Ledger.BadRow: line 2"));
        check(
            &[HEADER, "1,a,9223372036854775807", "2,a,1"],
            Err("Ledger.TooLarge"),
        );
    }
}
