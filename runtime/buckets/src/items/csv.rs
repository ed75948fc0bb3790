//! CSV as Step Functions reads it: RFC 4180, other delimiters, and a backslash that takes the
//! meaning from the byte after it, inside quotes and outside.
//!
//! Without that backslash outside quotes a library would do; `tests/items.rs` holds the two
//! against each other on text without it. Of two columns of one name the later one counts. Too
//! short a row is filled up with empty strings, too long a one is cut. Refuses no row for its
//! length.

use std::io::Read;

use super::scan::Scan;
use super::{Page, Place, quoted};

/// The columns' names, as JSON strings; `None`: a later one has the name too.
pub(super) type Columns = Vec<Option<String>>;

/// Columns of these names.
pub(super) fn columns(names: impl DoubleEndedIterator<Item = String>) -> Columns {
    let mut seen = std::collections::BTreeSet::new();
    let mut columns: Columns = names
        .rev()
        .map(|name| seen.insert(name.clone()).then(|| quoted(&name)))
        .collect();
    columns.reverse();
    columns
}

/// The first row's.
pub(super) fn header<R: Read>(scan: &mut Scan<R>, delimiter: u8) -> Result<Columns, String> {
    let mut row = Row::default();
    if !row.read(scan, delimiter)? {
        return Err("it is empty: its first row should hold the names of the columns".to_owned());
    }
    let names: Result<Vec<&str>, String> = row.fields().map(|f| text(scan, f)).collect();
    Ok(columns(names?.into_iter().map(str::to_owned)))
}

pub(super) fn page<R: Read>(
    scan: &mut Scan<R>,
    columns: &Columns,
    delimiter: u8,
    place: Option<Place>,
    page: &mut Page,
) -> Result<Option<Place>, String> {
    let mut index = place.map_or(0, |place| place.index);
    let mut row = Row::default();
    let mut item = String::new();
    loop {
        row.skip_empty(scan)?;
        if scan.peek()?.is_none() {
            return Ok(None);
        }
        if page.is_full() {
            return Ok(Some(scan.place(index, '-')));
        }
        row.read(scan, delimiter)?;
        item.clear();
        item.push('{');
        let mut fields = row.fields();
        for column in columns {
            let field = text(scan, fields.next().unwrap_or_default())?;
            let Some(column) = column else {
                continue;
            };
            if item.len() > 1 {
                item.push(',');
            }
            item.push_str(column);
            item.push(':');
            item.push_str(&quoted(field));
        }
        item.push('}');
        page.push(&item);
        index += 1;
    }
}

fn text<'a, R: Read>(scan: &Scan<R>, field: &'a [u8]) -> Result<&'a str, String> {
    std::str::from_utf8(field).map_err(|_| scan.at("the row before this place is not UTF-8 text"))
}

/// One row: all fields' bytes, and where each ends.
#[derive(Default)]
struct Row {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Row {
    fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        let both = begins.zip(self.ends.iter().copied());
        both.map(|(begin, end)| self.bytes.get(begin..end).unwrap_or_default())
    }

    fn skip_empty<R: Read>(&self, scan: &mut Scan<R>) -> Result<(), String> {
        while let Some(byte @ (b'\r' | b'\n')) = scan.peek()? {
            scan.pass(byte);
        }
        Ok(())
    }

    /// `false`: there is none any more.
    fn read<R: Read>(&mut self, scan: &mut Scan<R>, delimiter: u8) -> Result<bool, String> {
        self.bytes.clear();
        self.ends.clear();
        self.skip_empty(scan)?;
        if scan.peek()?.is_none() {
            return Ok(false);
        }
        loop {
            if scan.peek()? == Some(b'"') {
                self.quoted(scan)?;
            }
            let end = self.plain(scan, delimiter)?;
            // A row of delimiters alone grows here only.
            if self.ends.len() >= super::ITEM_BYTES_MAX {
                return Err(scan.at("a row has too many fields"));
            }
            self.ends.push(self.bytes.len());
            if end != Some(delimiter) {
                // Of `\r\n` the rest is an empty line.
                return Ok(true);
            }
        }
    }

    /// The bytes up to the end of the field, which is taken too.
    fn plain<R: Read>(&mut self, scan: &mut Scan<R>, delimiter: u8) -> Result<Option<u8>, String> {
        loop {
            match scan.take()? {
                None => return Ok(None),
                Some(byte) if byte == delimiter || matches!(byte, b'\r' | b'\n') => {
                    return Ok(Some(byte));
                }
                Some(b'\\') => self.escaped(scan)?,
                Some(byte) => scan.grow(&mut self.bytes, byte)?,
            }
        }
    }

    fn quoted<R: Read>(&mut self, scan: &mut Scan<R>) -> Result<(), String> {
        let begin = scan.at("a quotation mark that is never closed");
        scan.pass(b'"');
        loop {
            match scan.take()? {
                None => return Err(begin),
                Some(b'"') if scan.peek()? == Some(b'"') => {
                    scan.pass(b'"');
                    scan.grow(&mut self.bytes, b'"')?;
                }
                Some(b'"') => return Ok(()),
                Some(b'\\') => self.escaped(scan)?,
                Some(byte) => scan.grow(&mut self.bytes, byte)?,
            }
        }
    }

    /// The backslash goes; what it stands before loses its meaning, except a line's end.
    fn escaped<R: Read>(&mut self, scan: &mut Scan<R>) -> Result<(), String> {
        match scan.peek()? {
            None | Some(b'\r' | b'\n') => Ok(()),
            Some(byte) => {
                scan.pass(byte);
                scan.grow(&mut self.bytes, byte)
            }
        }
    }
}
