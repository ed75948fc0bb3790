//! JSON Lines: a JSON value a line; empty lines are none.

use std::io::Read;

use stepwell_types::Data;

use super::scan::Scan;
use super::{Page, Place};

pub(super) fn page<R: Read>(
    scan: &mut Scan<R>,
    place: Option<Place>,
    page: &mut Page,
) -> Result<Option<Place>, String> {
    let mut index = place.map_or(0, |place| place.index);
    let mut text = Vec::new();
    loop {
        // Empty lines too: what is left then has an item.
        if scan.skip_space()?.is_none() {
            return Ok(None);
        }
        if page.is_full() {
            return Ok(Some(scan.place(index, '-')));
        }
        let (line, offset) = (scan.line(), scan.offset());
        text.clear();
        while let Some(byte) = scan.take()? {
            if byte == b'\n' {
                break;
            }
            scan.grow(&mut text, byte)?;
        }
        let bad = |reason: &str| format!("line {line}, byte {offset}: {reason}");
        let item = std::str::from_utf8(&text).map_err(|_| bad("it is not UTF-8 text"))?;
        let item = item.trim_ascii_end();
        Data::check(item).map_err(|e| bad(&format!("it is not a JSON value: {e}")))?;
        page.push(item);
        index += 1;
    }
}
