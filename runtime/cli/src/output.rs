//! What the user sees: answers on standard output, complaints on standard error.

use std::io::{IsTerminal as _, Write as _};

use serde_json::Value;

/// Prints a line. A reader that has gone away is no error.
pub fn print(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
}

/// Prints bytes as they are.
pub fn print_raw(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

/// Prints JSON text: indented on a terminal, as it came elsewhere.
pub fn print_json(text: &str) {
    if std::io::stdout().is_terminal()
        && let Ok(value) = serde_json::from_str::<Value>(text)
        && let Ok(pretty) = serde_json::to_string_pretty(&value)
    {
        print(&pretty);
    } else {
        print(text.trim_end());
    }
}

/// A complaint.
pub fn complain(message: &str) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "stepwell: {message}");
}

/// A remark that is no answer.
pub fn remark(message: &str) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{message}");
}

/// Rows in columns, the first row being the titles.
pub fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| {
        let cells = rows.iter().filter_map(|r| r.get(c));
        cells.map(|t| t.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            let pad = width.saturating_sub(cell.chars().count()) + 2;
            line.extend(std::iter::repeat_n(' ', pad));
        }
        print(line.trim_end());
    }
}

/// Names and values below each other; absent ones are left out.
pub fn card(pairs: &[(&str, Option<String>)]) {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in pairs {
        if let Some(value) = value {
            print(&format!("{name:width$}  {value}"));
        }
    }
}

/// A member of a JSON object as text: strings bare, numbers printed, others absent.
pub fn field(value: &Value, name: &str) -> Option<String> {
    match value.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        _ => None,
    }
}

/// A count of bytes for people.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut unit = 0;
    let mut whole = n;
    while whole >= 10_240 && unit + 1 < UNITS.len() {
        whole /= 1024;
        unit += 1;
    }
    format!("{whole} {}", UNITS.get(unit).unwrap_or(&"B"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_counts() {
        for (n, want) in [
            (0, "0 B"),
            (10_239, "10239 B"),
            (10_240, "10 KiB"),
            (64 << 20, "64 MiB"),
        ] {
            assert_eq!(bytes(n), want);
        }
    }
}
