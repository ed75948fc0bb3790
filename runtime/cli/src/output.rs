//! What the user sees: answers on standard output, complaints on standard error.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::exit::Trouble;
use crate::written;

/// Why what was to be printed is not where it should be, for [`lost`].
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Why standard output did not take an answer: a full disk, most likely. A reader that has
/// gone away (`| head`) is nobody's failure.
pub fn lost() -> Option<&'static io::Error> {
    LOST.get()
}

fn write(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    if let Err(e) = out.write_all(bytes).and_then(|()| out.flush())
        && e.kind() != io::ErrorKind::BrokenPipe
    {
        // The first reason is the one to tell.
        let _ = LOST.set(e);
    }
}

/// What others said may hold anything, and must neither move the cursor nor command the terminal.
pub fn plain(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() && c != '\n' && c != '\t' {
            ' '
        } else {
            c
        }
    };
    text.chars().map(shown).collect()
}

/// Prints a line for people.
pub fn print(line: &str) {
    write(format!("{}\n", plain(line)).as_bytes());
}

/// Prints bytes as they are.
pub fn print_raw(bytes: &[u8]) {
    write(bytes);
}

/// Prints JSON text: indented on a terminal, as it came elsewhere.
pub fn print_json(text: &str) {
    if io::stdout().is_terminal() && serde_json::from_str::<&RawValue>(text).is_ok() {
        write(format!("{}\n", escaped(&written::indented(text))).as_bytes());
    } else {
        write(format!("{}\n", text.trim_end()).as_bytes());
    }
}

/// One of several lines of JSON, for programs.
pub fn print_json_line(text: &str) {
    write(format!("{text}\n").as_bytes());
}

/// JSON that leaves DEL and what lies beyond as they are, which terminals obey too.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() && c != '\n' {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// A complaint.
pub fn complain(message: &str) {
    remark(&format!("stepwell: {message}"));
}

/// A remark that is no answer.
pub fn remark(message: &str) {
    let mut err = io::stderr().lock();
    let _ = writeln!(err, "{}", plain(message));
}

/// Trouble, as text for people or as JSON on one line.
pub fn trouble(trouble: &Trouble, as_json: bool) {
    // A closed pipe (`| head`) is nobody's failure.
    if trouble.message.is_empty() {
        return;
    }
    if as_json {
        remark(&trouble.as_json().to_string());
    } else {
        complain(&trouble.message);
    }
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
    // A value of several lines must not look like the next name.
    let indent = format!("\n{}", " ".repeat(width + 2));
    for (name, value) in pairs {
        if let Some(value) = value {
            let value = value.trim_end().replace('\n', &indent);
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
    fn nothing_commands_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\rc\u{9b}d\n\te"), "a [2Jb c d\n\te");
        let json = "{\n  \"a\": \"\u{7f}\u{9b}é\"\n}";
        let shown = escaped(json);
        assert_eq!(shown, "{\n  \"a\": \"\\u007f\\u009bé\"\n}");
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(value(&shown), value(json));
    }

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
