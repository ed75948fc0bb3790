//! The elements of one JSON array, or the fields of one JSON object, wherever in the document it lies.
//!
//! Refuses to read more of the document than the way to the items and the items themselves: what
//! lies behind an array that a pointer names is not looked at.

use std::io::Read;

use stepwell_types::Data;

use super::scan::Scan;
use super::{Page, Place, quoted};

pub(super) fn page<R: Read>(
    scan: &mut Scan<R>,
    pointer: Option<&str>,
    place: Option<Place>,
    page: &mut Page,
) -> Result<Option<Place>, String> {
    let (within, mut index) = match place {
        Some(place) => (place.within, place.index),
        None => (find(scan, pointer)?, 0),
    };
    let close = if within == '[' { b']' } else { b'}' };
    page.keyed = within == '{';
    let mut item = Vec::new();
    loop {
        match scan.skip_space()? {
            Some(byte) if byte == close => {
                scan.pass(byte);
                // Behind the whole document there is nothing; behind a part of it, its rest.
                if pointer.is_none_or(str::is_empty) && scan.skip_space()?.is_some() {
                    return Err(scan.at("there is more behind the end of the JSON document"));
                }
                return Ok(None);
            }
            Some(_) if page.is_full() => {
                return Ok(Some(scan.place(index, within)));
            }
            Some(b',') if index > 0 => {
                scan.pass(b',');
                scan.skip_space()?;
            }
            Some(_) if index == 0 => {}
            Some(_) => return Err(scan.at("a comma or the end of the items was expected here")),
            None => return Err(scan.at("the document ends in the middle of its items")),
        }
        let key = if within == '{' {
            Some(member(scan)?)
        } else {
            None
        };
        item.clear();
        let (line, offset) = (scan.line(), scan.offset());
        value(scan, &mut item)?;
        let bad = |reason: &str| format!("line {line}, byte {offset}: item {index}: {reason}");
        let text = std::str::from_utf8(&item).map_err(|_| bad("it is not UTF-8 text"))?;
        Data::check(text).map_err(|e| bad(&e.to_string()))?;
        match key {
            None => page.push(text),
            Some(key) => page.push(&format!("{{\"Key\":{},\"Value\":{text}}}", quoted(&key))),
        }
        index += 1;
    }
}

/// Goes to the first item; what it is in.
fn find<R: Read>(scan: &mut Scan<R>, pointer: Option<&str>) -> Result<char, String> {
    let pointer = pointer.unwrap_or_default();
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return Err(format!(
            "ItemsPointer {pointer:?} is not a JSON pointer: it begins with `/`"
        ));
    }
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        enter(scan, &token, pointer)?;
    }
    match scan.skip_space()? {
        Some(byte @ (b'[' | b'{')) => {
            scan.pass(byte);
            Ok(char::from(byte))
        }
        Some(_) if pointer.is_empty() => {
            Err(scan.at("the document is neither an array nor an object: it has no items"))
        }
        Some(_) => Err(scan.at(&format!(
            "what ItemsPointer {pointer:?} names is neither an array nor an object: it has no items"
        ))),
        None => Err(scan.at("the document ends before its items begin")),
    }
}

/// Goes to the member or element of this name.
fn enter<R: Read>(scan: &mut Scan<R>, token: &str, pointer: &str) -> Result<(), String> {
    let missing = |scan: &Scan<R>| {
        Err(scan.at(&format!(
            "ItemsPointer {pointer:?} names nothing: there is no {token:?}"
        )))
    };
    let open = scan.skip_space()?;
    let (close, wanted) = match open {
        Some(b'{') => (b'}', None),
        Some(b'[') => match token.parse::<u64>() {
            Ok(number) => (b']', Some(number)),
            Err(_) => return missing(scan),
        },
        _ => return missing(scan),
    };
    scan.pass(open.unwrap_or_default());
    let mut index = 0;
    loop {
        match scan.skip_space()? {
            Some(byte) if byte == close => return missing(scan),
            Some(b',') if index > 0 => {
                scan.pass(b',');
                scan.skip_space()?;
            }
            Some(_) if index == 0 => {}
            _ => return Err(scan.at("this is not valid JSON")),
        }
        let found = match wanted {
            Some(number) => number == index,
            None => member(scan)? == token,
        };
        if found {
            return Ok(());
        }
        skip(scan)?;
        index += 1;
    }
}

/// A member's name and the colon.
fn member<R: Read>(scan: &mut Scan<R>) -> Result<String, String> {
    if scan.skip_space()? != Some(b'"') {
        return Err(scan.at("a field's name was expected here"));
    }
    let mut raw = Vec::new();
    value(scan, &mut raw)?;
    let name = serde_json::from_slice(&raw).map_err(|e| scan.at(&e.to_string()))?;
    if scan.skip_space()? != Some(b':') {
        return Err(scan.at("a colon was expected here"));
    }
    scan.pass(b':');
    Ok(name)
}

/// One value's text, as far as brackets and quotes tell; whether it is valid is not looked at.
fn value<R: Read>(scan: &mut Scan<R>, into: &mut Vec<u8>) -> Result<(), String> {
    each(scan, |scan, byte| scan.grow(into, byte))
}

fn skip<R: Read>(scan: &mut Scan<R>) -> Result<(), String> {
    each(scan, |_, _| Ok(()))
}

fn each<R: Read>(
    scan: &mut Scan<R>,
    mut give: impl FnMut(&Scan<R>, u8) -> Result<(), String>,
) -> Result<(), String> {
    scan.skip_space()?;
    let (mut depth, mut quoted, mut escaped, mut any) = (0_u64, false, false, false);
    loop {
        let Some(byte) = scan.peek()? else {
            if depth == 0 && !quoted && any {
                return Ok(());
            }
            return Err(scan.at("the document ends in the middle of a value"));
        };
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            scan.pass(byte);
            give(scan, byte)?;
            if !quoted && depth == 0 {
                return Ok(());
            }
            continue;
        }
        match byte {
            // The end of a number or a word, which is not its own.
            b',' | b']' | b'}' | b':' | b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => {
                return if any {
                    Ok(())
                } else {
                    Err(scan.at("a value was expected here"))
                };
            }
            b'"' if depth == 0 && any => return Err(scan.at("this is not valid JSON")),
            b'"' => quoted = true,
            b'[' | b'{' if depth == 0 && any => return Err(scan.at("this is not valid JSON")),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        any = true;
        scan.pass(byte);
        give(scan, byte)?;
        if depth == 0 && matches!(byte, b']' | b'}') {
            return Ok(());
        }
    }
}
