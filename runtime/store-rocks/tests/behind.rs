//! Writes that come faster than RocksDB merges: each is held up, and none for ever.

use stepwell_store::{Batch, Key, Reader, Writer};
use stepwell_store_rocks::{Options, open};
use tempfile::TempDir;

/// Bytes of one row, and rows of one commit.
const ROW_BYTES: usize = 16 << 10;
const ROWS: u64 = 32;
const COMMITS: u64 = 400;

fn name(n: u64) -> Key {
    // All over the key space, so that every sorted file overlaps every other.
    let name = format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    Key::Meta { name: name.into() }
}

#[test]
fn commits_end_while_merges_are_behind() {
    let dir = TempDir::new().expect("a temporary directory");
    let options = Options {
        sync: false,
        ballast_bytes: 0,
        // A sorted file every few commits, and one thread to write and merge them.
        memtable_bytes_max: 1 << 20,
        background_threads: 1,
        ..Options::default()
    };
    let (reader, mut writer) = open(&dir.path().join("data"), options).expect("open");
    let mut noise = 1_u64;
    for commit in 0..COMMITS {
        let mut batch = Batch::default();
        for row in 0..ROWS {
            let value: Vec<u8> = std::iter::repeat_with(|| {
                noise = noise
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                noise.to_be_bytes()[0]
            })
            .take(ROW_BYTES)
            .collect();
            batch.put(name(commit * ROWS + row), value);
        }
        writer.commit(&[batch]).expect("commit");
    }
    for n in 0..COMMITS * ROWS {
        let row = reader.get(&name(n)).expect("read");
        assert_eq!(row.map(|row| row.len()), Some(ROW_BYTES), "row {n}");
    }
}
