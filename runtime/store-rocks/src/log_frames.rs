//! How RocksDB's logs and manifests are framed: records in blocks, each behind a header.
//!
//! RocksDB never gets past a header whose kind is a recycled log's, in a log that is none: one wrong
//! bit, and opening spins for ever without a word. We recycle no logs, so that a sound file has no such
//! kind. Refuses to judge anything else: other damage is RocksDB's to find.

use std::io::{self, Read};

const BLOCK_BYTES: usize = 32 << 10;
/// Checksum (4 bytes), length of the payload (2), kind (1); little-endian.
const HEADER_BYTES: usize = 7;
/// Where the kind is in the header. The checksum is over all from here.
const KIND: usize = 6;

/// The first kind at which RocksDB would spin: its place in the file, and what it is.
pub(crate) fn recycled_kind(mut file: impl Read) -> io::Result<Option<(u64, u8)>> {
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let mut before = 0;
    loop {
        block.clear();
        file.by_ref()
            .take(BLOCK_BYTES as u64)
            .read_to_end(&mut block)?;
        if block.is_empty() {
            return Ok(None);
        }
        if let Some((at, kind)) = recycled_kind_in(&block) {
            return Ok(Some((before + at as u64, kind)));
        }
        before += block.len() as u64;
    }
}

fn recycled_kind_in(block: &[u8]) -> Option<(usize, u8)> {
    let found = records(block).find(Record::is_recycled)?;
    // RocksDB leaves the block at a wrong checksum: what follows is no header, just looks like one.
    let reached = records(block)
        .take_while(|record| record.at < found.at)
        .all(|record| record.is_sound());
    reached.then_some((found.at + KIND, found.kind))
}

struct Record<'a> {
    at: usize,
    checksum: u32,
    kind: u8,
    /// What the checksum is over; `None` when the block ends before it does.
    summed: Option<&'a [u8]>,
}

/// The records of a block as their lengths have it, up to its padding or to zeros.
fn records(block: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let header = block.get(at..at + HEADER_BYTES)?;
        let checksum = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let length = usize::from(u16::from_le_bytes([header[4], header[5]]));
        let kind = header[KIND];
        if kind == 0 && length == 0 {
            return None;
        }
        let end = at + HEADER_BYTES + length;
        let record = Record {
            at,
            checksum,
            kind,
            summed: block.get(at + KIND..end),
        };
        at = end;
        Some(record)
    })
}

impl Record<'_> {
    /// The kinds are in RocksDB's `db/log_format.h`.
    fn is_recycled(&self) -> bool {
        matches!(self.kind, 5..=8 | 11 | 131)
    }

    fn is_sound(&self) -> bool {
        self.summed
            .is_some_and(|bytes| checksum(bytes) == self.checksum)
    }
}

/// RocksDB's checksum: CRC-32C, turned and moved so that it may be part of what is summed.
/// Slow and small: it is asked for one block of a damaged file.
fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
            crc = crc >> 1 ^ carry;
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut summed = vec![kind];
        summed.extend(payload);
        let mut bytes = checksum(&summed).to_le_bytes().to_vec();
        let length = u16::try_from(payload.len()).expect("a short payload");
        bytes.extend(length.to_le_bytes());
        bytes.extend(summed);
        bytes
    }

    fn found(bytes: &[u8]) -> Option<(u64, u8)> {
        recycled_kind(bytes).expect("memory can be read")
    }

    /// A block of one record, and as many bytes of padding at its end.
    fn block(padding: usize) -> Vec<u8> {
        let mut bytes = record(1, &vec![7; BLOCK_BYTES - HEADER_BYTES - padding]);
        bytes.resize(BLOCK_BYTES, 0);
        bytes
    }

    #[test]
    fn the_checksum_is_that_of_rocksdb() {
        // The check value of CRC-32C, 0xe3069283, turned and moved.
        assert_eq!(checksum(b"123456789"), 0xc78a_b0e5);
    }

    #[test]
    fn a_recycled_kind_is_found_wherever_a_header_is() {
        for kind in 0..=255 {
            let wrong = matches!(kind, 5..=8 | 11 | 131);
            let mut bytes = record(1, b"sound");
            bytes.extend(record(kind, b"asked about"));
            bytes.extend(record(1, b"sound"));
            assert_eq!(found(&bytes), wrong.then_some((18, kind)), "{kind}");
        }
        for padding in 0..HEADER_BYTES {
            let mut bytes = block(padding);
            bytes.extend(record(1, b"sound"));
            assert_eq!(found(&bytes), None, "{padding}");
            // The length that its header gives is more than there is.
            bytes.extend([7; 10]);
            let at = BLOCK_BYTES as u64 + 12 + 6;
            assert_eq!(found(&bytes), Some((at, 7)), "{padding}");
        }
    }

    #[test]
    fn what_rocksdb_does_not_take_for_a_header_is_passed_over() {
        let sound = record(1, &[7; 300]);
        assert_eq!(found(&[]), None);
        assert_eq!(found(&sound), None, "a payload");
        assert_eq!(found(&sound[..50]), None, "a torn record");
        assert_eq!(
            found(&[&sound[..], &[7; 6]].concat()),
            None,
            "half a header"
        );
        let zeros = [&sound[..], &[0; 7], &[7; 300]].concat();
        assert_eq!(found(&zeros), None, "zeros");
        let mut shortened = sound;
        shortened[4..6].copy_from_slice(&[100, 0]);
        assert_eq!(found(&shortened), None, "a length with a wrong bit");
        // The block after such a one is read again.
        shortened.resize(BLOCK_BYTES, 0);
        shortened.extend(record(8, b"wrong"));
        let at = BLOCK_BYTES as u64 + 6;
        assert_eq!(found(&shortened), Some((at, 8)));
    }
}
