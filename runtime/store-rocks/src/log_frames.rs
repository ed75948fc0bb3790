//! How RocksDB's logs and manifests are framed: records in blocks, each behind a header.
//!
//! RocksDB never gets past a header whose kind is a recycled log's, in a log that is none: one wrong
//! bit, and opening spins for ever without a word. We recycle no logs, so that a sound file has no such
//! kind. And it takes zeros for room that was made and never written, and goes on behind them: a block
//! that was lost between two records is missed by nobody. Room is made behind a file's end, so that a
//! sound log has no zeros; one whose tail a power cut tore has some, and behind them at most the rest of
//! the one record that was on its way. Refuses to judge anything else: other damage is RocksDB's to find.

use std::io::{self, Read};

const BLOCK_BYTES: usize = 32 << 10;
/// Checksum (4 bytes), length of the payload (2), kind (1); little-endian.
const HEADER_BYTES: usize = 7;
/// Where the kind is in the header. The checksum is over all from here.
const KIND: usize = 6;
/// A record in one piece.
const WHOLE: u8 = 1;
/// The first piece of one in several.
const FIRST: u8 = 2;
/// One of those between the first and the last.
const MIDDLE: u8 = 3;

/// What is wrong with a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is this one, at which RocksDB would spin.
    Recycled(u8),
    /// It is zero as all around it, and RocksDB would go on with records behind.
    Zeros,
}

/// The first kind that is wrong: its place in the file, and why. In a manifest zeros are let be: of
/// that more than one record may be on its way to the disk.
pub(crate) fn fault(mut file: impl Read, is_log: bool) -> io::Result<Option<(u64, Fault)>> {
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let (mut before, mut zeros) = (0, Zeros::default());
    loop {
        block.clear();
        file.by_ref()
            .take(BLOCK_BYTES as u64)
            .read_to_end(&mut block)?;
        if block.is_empty() {
            return Ok(None);
        }
        if let Some((at, kind)) = recycled_kind_in(&block) {
            return Ok(Some((before + at as u64, Fault::Recycled(kind))));
        }
        if is_log && let Some(since) = zeros.passed_over(before, &block) {
            return Ok(Some((since + KIND as u64, Fault::Zeros)));
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

/// The zeros of a log, as RocksDB comes by them block by block.
#[derive(Default)]
struct Zeros {
    /// Where they began, if they go on to the end of the last block.
    since: Option<u64>,
    /// Before them a record has begun that has not ended.
    in_record: bool,
    /// RocksDB has met damage that it sees, and replays nothing more.
    seen: bool,
}

impl Zeros {
    /// The next block: where zeros began behind which RocksDB goes on with it.
    fn passed_over(&mut self, before: u64, block: &[u8]) -> Option<u64> {
        if self.seen {
            return None;
        }
        if let (Some(since), Some(next)) = (self.since, records(block).next()) {
            // A later piece misses its first.
            self.seen = true;
            return next.begins_and_is_sound().then_some(since);
        }
        let last = records(block).last();
        let end = last.as_ref().map_or(0, |record| record.end);
        if let Some(last) = last {
            self.in_record = matches!(last.kind, FIRST | MIDDLE);
        }
        // What is shorter than a header is padding.
        if block.len().saturating_sub(end) >= HEADER_BYTES {
            self.seen = self.in_record || !records(block).all(|record| record.is_sound());
            self.since.get_or_insert(before + end as u64);
        }
        None
    }
}

struct Record<'a> {
    at: usize,
    end: usize,
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
            end,
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

    fn begins_and_is_sound(&self) -> bool {
        matches!(self.kind, WHOLE | FIRST) && self.is_sound()
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
        match fault(bytes, false).expect("memory can be read") {
            Some((at, Fault::Recycled(kind))) => Some((at, kind)),
            Some((_, Fault::Zeros)) => panic!("zeros of a manifest are let be"),
            None => None,
        }
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

    /// `at`: where zeros begin that are to be found.
    #[track_caller]
    fn check(parts: &[&[u8]], at: Option<usize>) {
        let found = fault(&*parts.concat(), true).expect("memory can be read");
        let wanted = at.map(|at| ((at + KIND) as u64, Fault::Zeros));
        assert_eq!(found, wanted);
    }

    #[test]
    fn zeros_between_records_are_found_and_a_torn_tail_is_none() {
        let zeros = vec![0; BLOCK_BYTES];
        let sound = record(WHOLE, b"sound");
        let (first, middle, last) = (record(FIRST, b"a"), record(MIDDLE, b"b"), record(4, b"c"));
        let mut unsound = sound.clone();
        unsound[9] ^= 1;
        let mut half = [&sound[..], &sound].concat();
        half.resize(BLOCK_BYTES, 0);
        let mut broken = [&sound[..], &unsound].concat();
        broken.resize(BLOCK_BYTES, 0);
        let whole = record(WHOLE, &[7; BLOCK_BYTES - 2 * HEADER_BYTES - 1]);
        let begun = [&whole[..], &first].concat();
        assert_eq!(begun.len(), BLOCK_BYTES);
        for padding in 0..HEADER_BYTES {
            let block = block(padding);
            check(&[&block, &zeros, &sound], Some(BLOCK_BYTES));
            check(&[&block, &zeros, &zeros, &first], Some(BLOCK_BYTES));
            check(&[&block, &sound], None);
            // Nothing is behind them, or the rest of a record.
            check(&[&block, &zeros], None);
            check(&[&block, &sound, &zeros[..100]], None);
            check(&[&block, &zeros, &middle, &last], None);
            check(&[&block, &zeros, &last, &sound], None);
        }
        check(&[&zeros, &sound], Some(0));
        check(&[&half, &sound], Some(24));
        // RocksDB sees that something is amiss before them, or behind.
        check(&[&begun, &zeros, &sound], None);
        check(&[&broken, &sound], None);
        check(&[&zeros, &unsound, &sound], None);
    }
}
