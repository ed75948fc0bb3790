//! Bytes one by one, with the place where they are.
//!
//! Refuses an item that is larger than an item may be, before it is all in memory.

use std::io::{BufRead as _, BufReader, Read, Seek, SeekFrom};

use super::source::Source;
use super::{CHANGED, ITEM_BYTES_MAX, Place};

/// Bytes read from a file at a time.
const BUFFER_BYTES: usize = 64 << 10;

pub(super) struct Scan<R> {
    bytes: BufReader<R>,
    offset: u64,
    line: u64,
}

impl<R: Read> Scan<R> {
    /// Over bytes from the first.
    pub(super) fn new(bytes: R) -> Scan<R> {
        Scan {
            bytes: BufReader::with_capacity(BUFFER_BYTES, bytes),
            offset: 0,
            line: 1,
        }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Where it is: before the item of this number.
    pub(super) fn place(&self, index: u64, within: char) -> Place {
        Place {
            offset: self.offset,
            line: self.line,
            index,
            within,
        }
    }

    /// The next byte, which stays the next; `None` at the end.
    pub(super) fn peek(&mut self) -> Result<Option<u8>, String> {
        loop {
            match self.bytes.fill_buf() {
                Ok(bytes) => return Ok(bytes.first().copied()),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.at(&e.to_string())),
            }
        }
    }

    /// Goes past the byte that was peeked at.
    pub(super) fn pass(&mut self, byte: u8) {
        self.bytes.consume(1);
        self.offset += 1;
        if byte == b'\n' {
            self.line += 1;
        }
    }

    /// Takes the next byte.
    pub(super) fn take(&mut self) -> Result<Option<u8>, String> {
        let byte = self.peek()?;
        if let Some(byte) = byte {
            self.pass(byte);
        }
        Ok(byte)
    }

    /// Goes past what JSON takes for space; the byte after it.
    pub(super) fn skip_space(&mut self) -> Result<Option<u8>, String> {
        loop {
            match self.peek()? {
                Some(byte @ (b' ' | b'\t' | b'\r' | b'\n')) => self.pass(byte),
                other => return Ok(other),
            }
        }
    }

    /// Goes past a byte order mark, which some programs write before UTF-8.
    pub(super) fn skip_mark(&mut self) -> Result<(), String> {
        if self.peek()? == Some(0xEF) {
            for want in [0xEF, 0xBB, 0xBF] {
                if self.take()? != Some(want) {
                    return Err(self.at("it is not UTF-8 text"));
                }
            }
        }
        Ok(())
    }

    /// Adds a byte to an item.
    pub(super) fn grow(&self, item: &mut Vec<u8>, byte: u8) -> Result<(), String> {
        if item.len() >= ITEM_BYTES_MAX {
            return Err(self.at(&format!("an item is larger than {ITEM_BYTES_MAX} bytes")));
        }
        item.push(byte);
        Ok(())
    }

    /// A reason with the place.
    pub(super) fn at(&self, reason: &str) -> String {
        format!("line {}, byte {}: {reason}", self.line, self.offset)
    }
}

impl<R: Read + Seek> Scan<Source<R>> {
    pub(super) fn is_plain(&self) -> bool {
        self.bytes.get_ref().is_plain()
    }

    /// Goes to a place that a page before ended at. What is packed is unpacked on the way.
    pub(super) fn go_to(&mut self, offset: u64, line: u64) -> Result<(), String> {
        if self.is_plain() {
            let gone = self.bytes.seek(SeekFrom::Start(offset));
            gone.map_err(|e| e.to_string())?;
        } else {
            let left = offset.checked_sub(self.offset).ok_or(CHANGED)?;
            let passed = std::io::copy(&mut self.bytes.by_ref().take(left), &mut std::io::sink());
            if passed.map_err(|e| self.at(&e.to_string()))? != left {
                return Err(CHANGED.to_owned());
            }
        }
        (self.offset, self.line) = (offset, line);
        Ok(())
    }
}
