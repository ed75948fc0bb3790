//! A disk that fills up: the commit says so, nothing durable is lost, and the store
//! opens again on what its ballast gives back.

use std::fs;
use std::path::Path;
use std::process::Command;

use stepwell_store::{Batch, Key, Reader, Writer};
use stepwell_store_rocks::{Error, Options, open};
use stepwell_types::Digest;
use tempfile::TempDir;

/// A small file system of memory, unmounted at the end.
struct Mount(TempDir);

impl Mount {
    fn new(mib: u32) -> Option<Mount> {
        let dir = TempDir::new().expect("a temporary directory");
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"])
            .arg(dir.path())
            .output();
        match done {
            Ok(output) if output.status.success() => Some(Mount(dir)),
            _ => None,
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(self.0.path()).status();
        assert!(done.is_ok_and(|s| s.success()), "the test's mount stays");
    }
}

fn options() -> Options {
    Options {
        ballast_bytes: 8 << 20,
        memtable_bytes_max: 8 << 20,
        ..Options::default()
    }
}

fn blob(i: u32) -> Batch {
    let mut batch = Batch::default();
    // Noise, which cannot be packed.
    let mut n = i;
    let value: Vec<u8> = std::iter::repeat_with(|| {
        n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        n.to_be_bytes()[0]
    })
    .take(64 << 10)
    .collect();
    let digest = Digest::of(&i.to_be_bytes());
    batch.put(Key::Blob { digest }, value);
    batch
}

fn all_there(reader: &impl Reader, durable: u32) {
    for i in 0..durable {
        let digest = Digest::of(&i.to_be_bytes());
        let row = reader.get(&Key::Blob { digest }).expect("read");
        assert!(row.is_some(), "blob {i} of {durable} is lost");
    }
}

#[test]
fn a_full_disk_loses_nothing_and_opens_again() {
    let Some(mount) = Mount::new(64) else {
        println!("skipped: mounting a small file system is not permitted here");
        return;
    };
    let data = mount.path().join("data");
    let (reader, mut writer) = open(&data, options()).expect("open");
    // Somebody else's file, which the operator can remove.
    let other = mount.path().join("other");
    fs::write(&other, vec![1; 16 << 20]).expect("write");
    assert!(reader.free_bytes().expect("ask") < 48 << 20);

    let mut durable = 0;
    let error = loop {
        match writer.commit(&[blob(durable)]) {
            Ok(()) => durable += 1,
            Err(error) => break error,
        }
        assert!(durable < 2_000, "the disk never fills");
    };
    assert!(matches!(error, Error::Medium { .. }), "{error}");
    assert_eq!(error.code(), "STORE0001");
    assert!(error.to_string().contains("No space left"), "{error}");
    let again = writer.commit(&[blob(durable)]).expect_err("it has failed");
    assert_eq!(again.code(), "STORE0001");
    all_there(&reader, durable);
    drop((reader, writer));
    // Whatever closing gave back: the last byte is gone now.
    let filler = mount.path().join("filler");
    let _ = Command::new("dd")
        .args([
            "if=/dev/zero",
            "bs=64k",
            &format!("of={}", filler.display()),
        ])
        .output();

    let ballast = data.join("ballast");
    assert!(ballast.exists());
    let (reader, mut writer) = open(&data, options()).expect("open on a full disk");
    // Whether the ballast is gone now depends on what RocksDB freed meanwhile; that the
    // store opens and the work can end is what it is for.
    all_there(&reader, durable);
    writer
        .commit(&[blob(durable)])
        .expect("accepted work can end");
    drop((reader, writer));

    fs::remove_file(&filler).expect("remove");
    fs::remove_file(&other).expect("remove");
    let (reader, mut writer) = open(&data, options()).expect("open with room");
    assert!(ballast.exists(), "the ballast is made again");
    all_there(&reader, durable + 1);
    writer.commit(&[blob(durable + 1)]).expect("commit");
}
