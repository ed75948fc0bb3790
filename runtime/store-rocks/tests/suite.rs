//! The store's suite on RocksDB, reopened as a restart would.

use stepwell_store::suite::{self, Place};
use stepwell_store_rocks::{Options, RocksReader, RocksWriter, open};
use tempfile::TempDir;

struct OnDisk {
    dir: TempDir,
    options: Options,
}

impl Place for OnDisk {
    type Reader = RocksReader;
    type Writer = RocksWriter;

    fn open(&mut self) -> (RocksReader, RocksWriter) {
        open(&self.dir.path().join("data"), self.options.clone()).expect("the store opens")
    }
}

fn check(options: &Options) {
    suite::run(|| OnDisk {
        dir: TempDir::new().expect("a temporary directory"),
        options: options.clone(),
    });
}

#[test]
fn as_it_is_used() {
    check(&Options::default());
}

#[test]
fn with_rows_written_out_and_merged_all_the_time() {
    check(&Options {
        ballast_bytes: 0,
        memtable_bytes_max: 256 << 10,
        wal_bytes_max: 256 << 10,
        cache_bytes: 64 << 10,
        open_files_max: 16,
        ..Options::default()
    });
}
