//! What may be opened, and what is refused untouched.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use stepwell_store::{Batch, Key, Reader, Writer};
use stepwell_store_rocks::{Error, FORMAT, Options, RocksReader, RocksWriter, may_hold, open};
use tempfile::TempDir;

fn small() -> Options {
    Options {
        ballast_bytes: 1 << 20,
        ..Options::default()
    }
}

fn key() -> Key {
    Key::Module { name: "m".into() }
}

fn put(value: &str) -> Batch {
    let mut batch = Batch::default();
    batch.put(key(), value);
    batch
}

fn error(dir: &Path) -> Error {
    match open(dir, small()) {
        Ok(_) => panic!("{} was opened", dir.display()),
        Err(error) => error,
    }
}

/// A store that was used and closed.
fn used() -> TempDir {
    let dir = TempDir::new().expect("a temporary directory");
    let (_, mut writer) = open(dir.path(), small()).expect("an empty directory");
    writer.commit(&[put("kept")]).expect("commit");
    dir
}

fn value((reader, _): &(RocksReader, RocksWriter)) -> Option<Vec<u8>> {
    reader.get(&key()).expect("read")
}

type Files = BTreeMap<PathBuf, (Option<SystemTime>, Vec<u8>)>;

fn files(dir: &Path, into: &mut Files) {
    for entry in fs::read_dir(dir).expect("list") {
        let path = entry.expect("list").path();
        if path.is_dir() {
            files(&path, into);
        } else {
            let changed = fs::metadata(&path).and_then(|m| m.modified()).ok();
            into.insert(path.clone(), (changed, fs::read(&path).expect("read")));
        }
    }
}

fn check_untouched(dir: &Path, code: &str) {
    let (mut before, mut after) = (Files::new(), Files::new());
    files(dir, &mut before);
    let error = error(dir);
    assert_eq!(error.code(), code, "{error}");
    files(dir, &mut after);
    assert!(before == after, "{code} changed {}", dir.display());
}

#[test]
fn a_newer_format_is_refused_untouched() {
    let dir = used();
    let newer = format!("stepwell {}\n", FORMAT + 1);
    fs::write(dir.path().join("FORMAT"), newer).expect("write");
    check_untouched(dir.path(), "STORE0003");
    // A newer release may lay out everything else anew.
    fs::remove_dir_all(dir.path().join("rows")).expect("remove");
    check_untouched(dir.path(), "STORE0003");
}

#[test]
fn a_format_that_makes_no_sense_is_refused_untouched() {
    for text in [
        "",
        "stepwell",
        "stepwell 0",
        "stepwell -1",
        "other 1",
        "stepwell 1 1",
    ] {
        let dir = used();
        fs::write(dir.path().join("FORMAT"), text).expect("write");
        check_untouched(dir.path(), "STORE0002");
    }
}

#[test]
fn a_foreign_directory_is_refused_untouched() {
    let dir = TempDir::new().expect("a temporary directory");
    fs::write(dir.path().join("thesis.txt"), "years of work").expect("write");
    check_untouched(dir.path(), "STORE0005");
    assert!(error(dir.path()).to_string().contains("thesis.txt"));
    let file = dir.path().join("thesis.txt");
    assert_eq!(error(&file).code(), "STORE0001", "a file is no directory");
    let nowhere = dir.path().join("no/such");
    assert_eq!(error(&nowhere).code(), "STORE0001", "its parent is missing");
}

#[test]
fn lost_rows_are_not_replaced_by_empty_ones() {
    let dir = used();
    fs::remove_dir_all(dir.path().join("rows")).expect("remove");
    check_untouched(dir.path(), "STORE0002");
}

#[test]
fn a_lost_log_is_noticed() {
    let dir = TempDir::new().expect("a temporary directory");
    let options = Options {
        ballast_bytes: 0,
        // So small that logs are closed, and their sizes recorded, while others go on.
        memtable_bytes_max: 512 << 10,
        ..Options::default()
    };
    let (reader, mut writer) = open(dir.path(), options.clone()).expect("open");
    for i in 0..300u32 {
        let mut batch = put("kept");
        let digest = stepwell_types::Digest::of(&i.to_be_bytes());
        batch.put(Key::Blob { digest }, vec![7; 4_000]);
        writer.commit(&[batch]).expect("commit");
    }
    drop((reader, writer));
    let mut logs: Vec<PathBuf> = fs::read_dir(dir.path().join("rows"))
        .expect("list")
        .map(|entry| entry.expect("list").path())
        .filter(|path| path.extension().is_some_and(|e| e == "log"))
        .collect();
    logs.sort();
    assert!(logs.len() > 1, "only {} logs to lose one of", logs.len());
    fs::remove_file(&logs[0]).expect("remove");
    let error = error(dir.path());
    assert_eq!(error.code(), "STORE0002", "{error}");
}

#[test]
fn a_manifest_that_was_cut_short_is_noticed() {
    // The columns are in it in the order in which they were made; the first is always there.
    for column in ["log", "state", "queue", "blob"] {
        let dir = used();
        let rows = dir.path().join("rows");
        let current = fs::read_to_string(rows.join("CURRENT")).expect("read");
        let manifest = rows.join(current.trim_end());
        let bytes = fs::read(&manifest).expect("read");
        let name = column.as_bytes();
        let at = bytes.windows(name.len()).position(|part| part == name);
        let at = at.unwrap_or_else(|| panic!("no {column} in {}", manifest.display()));
        // In the middle of a record, as a power cut or a copy that was broken off leaves it.
        fs::write(&manifest, &bytes[..at]).expect("write");
        check_untouched(dir.path(), "STORE0002");
        let said = error(dir.path()).to_string();
        assert!(said.contains(&format!("column `{column}`")), "{said}");
    }
}

/// A store that was closed, and has more in its log than a few rows.
fn filled() -> TempDir {
    let dir = TempDir::new().expect("a temporary directory");
    let (reader, mut writer) = open(dir.path(), small()).expect("an empty directory");
    for n in 0..100u32 {
        let mut batch = put("kept");
        let digest = stepwell_types::Digest::of(&n.to_be_bytes());
        batch.put(Key::Blob { digest }, vec![7; 1_000]);
        writer.commit(&[batch]).expect("commit");
    }
    drop((reader, writer));
    dir
}

fn newest_log(dir: &Path) -> PathBuf {
    let logs = fs::read_dir(dir.join("rows")).expect("list");
    let logs = logs.map(|entry| entry.expect("list").path());
    let log = logs.filter(|path| path.extension().is_some_and(|e| e == "log"));
    log.max().expect("a log")
}

/// Damages the newest log of a store that nobody has open any more: closing it sets the log's length.
fn damaged(damage: impl Fn(&Path, Vec<u8>)) -> TempDir {
    let dir = filled();
    let log = newest_log(dir.path());
    let bytes = fs::read(&log).expect("read");
    assert!(bytes.len() > 100_000, "{}", bytes.len());
    damage(&log, bytes);
    dir
}

#[test]
fn a_log_that_lost_what_was_promised_is_noticed_and_can_be_given_up() {
    let flipped = |log: &Path, mut bytes: Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle..middle + 64]
            .iter_mut()
            .for_each(|b| *b ^= 0xff);
        fs::write(log, bytes).expect("write");
    };
    let cut = |log: &Path, bytes: Vec<u8>| {
        fs::write(log, &bytes[..bytes.len() / 2]).expect("write");
    };
    let gone = |log: &Path, _: Vec<u8>| fs::remove_file(log).expect("remove");
    for dir in [damaged(flipped), damaged(cut), damaged(gone)] {
        // As often as it is tried: the evidence stays.
        for _ in 0..2 {
            let error = error(dir.path());
            assert_eq!(error.code(), "STORE0002", "{error}");
            assert!(error.to_string().contains("watermark"), "{error}");
        }
        fs::remove_file(dir.path().join("watermark")).expect("remove");
        let (_, mut writer) = open(dir.path(), small()).expect("given up");
        writer.commit(&[put("new")]).expect("commit");
        drop(writer);
        let again = open(dir.path(), small()).expect("sound again");
        assert_eq!(value(&again).as_deref(), Some(b"new".as_slice()));
    }
}

#[test]
fn a_torn_tail_that_nobody_was_promised_is_no_damage() {
    let torn = |log: &Path, mut bytes: Vec<u8>| {
        // A record begins with its checksum, its length, here 1,000, and its kind, here a whole one.
        bytes.extend([1, 2, 3, 4, 0xe8, 3, 1]);
        bytes.extend([0xff; 300]);
        fs::write(log, bytes).expect("write");
    };
    let dir = damaged(torn);
    let again = open(dir.path(), small()).expect("all is there that was promised");
    assert_eq!(value(&again).as_deref(), Some(b"kept".as_slice()));
}

/// Where the kind is in a record's header.
const KIND: usize = 6;

/// The first record at or behind `from`. RocksDB's blocks of 32 KiB begin with one each.
fn record(bytes: &[u8], from: usize) -> usize {
    let mut at = from >> 15 << 15;
    while at < from {
        at += 7 + usize::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]));
    }
    assert_eq!(bytes[at + KIND], 1, "a whole record at {at}");
    at
}

#[test]
fn a_log_that_rocksdb_would_read_for_ever_is_refused_and_can_be_given_up() {
    let flipped = |log: &Path, mut bytes: Vec<u8>| {
        let at = record(&bytes, bytes.len() / 2);
        bytes[at + KIND] ^= 4;
        fs::write(log, bytes).expect("write");
    };
    let behind = |log: &Path, mut bytes: Vec<u8>| {
        bytes.extend([7; 300]);
        fs::write(log, bytes).expect("write");
    };
    for (dir, kind, promised) in [(damaged(flipped), 5, true), (damaged(behind), 7, false)] {
        check_untouched(dir.path(), "STORE0002");
        let said = error(dir.path()).to_string();
        let log = newest_log(dir.path());
        // As the message says.
        let at = said
            .split_once("byte ")
            .and_then(|(_, at)| at.split_once(&format!(" of {} is {kind},", log.display())))
            .unwrap_or_else(|| panic!("{said}"));
        let at: usize = at.0.parse().expect("a number");
        let mut bytes = fs::read(&log).expect("read");
        assert_eq!(bytes[at], kind, "{said}");
        bytes[at] = 255;
        fs::write(&log, bytes).expect("write");
        if promised {
            let error = error(dir.path());
            assert_eq!(error.code(), "STORE0002", "{error}");
            assert!(error.to_string().contains("watermark"), "{error}");
            fs::remove_file(dir.path().join("watermark")).expect("remove");
        }
        let again = open(dir.path(), small()).expect("given up");
        assert_eq!(value(&again).as_deref(), Some(b"kept".as_slice()));
    }
}

/// Bytes of RocksDB's blocks.
const BLOCK: usize = 32 << 10;

/// A store whose log has a block that whole records fill to the byte, with others before and behind it:
/// where that block begins.
fn with_a_block_of_its_own() -> (TempDir, usize) {
    let dir = TempDir::new().expect("a temporary directory");
    let (reader, mut writer) = open(dir.path(), small()).expect("an empty directory");
    let mut number = 0u32;
    let mut commit = |bytes: usize| {
        number += 1;
        let mut batch = put(&number.to_string());
        let digest = stepwell_types::Digest::of(&number.to_be_bytes());
        batch.put(Key::Blob { digest }, vec![7; bytes]);
        writer.commit(&[batch]).expect("commit");
    };
    // So that all numbers from here on have as many digits.
    for _ in 0..9 {
        commit(10);
    }
    let log = newest_log(dir.path());
    let len = || usize::try_from(fs::metadata(&log).expect("a log").len()).expect("a short log");
    let before = len();
    commit(1_000);
    let besides = len() - before - 1_000;
    let mut fill = || {
        loop {
            let left = BLOCK - len() % BLOCK;
            if left < 4_000 {
                commit(left - besides);
                return len();
            }
            commit(1_000);
        }
    };
    let (begin, end) = (fill(), fill());
    assert_eq!((begin % BLOCK, end), (0, begin + BLOCK), "{besides}");
    for _ in 0..3 {
        commit(1_000);
    }
    drop((reader, writer));
    (dir, begin)
}

#[test]
fn a_block_of_zeros_between_records_is_refused_and_can_be_given_up() {
    let (dir, begin) = with_a_block_of_its_own();
    let log = newest_log(dir.path());
    let mut bytes = fs::read(&log).expect("read");
    // Both borders are those of records.
    assert_eq!(
        [begin, begin + BLOCK].map(|at| record(&bytes, at)),
        [begin, begin + BLOCK]
    );
    bytes[begin..begin + BLOCK].fill(0);
    fs::write(&log, &bytes).expect("write");
    check_untouched(dir.path(), "STORE0002");
    let said = error(dir.path()).to_string();
    let byte = format!("byte {} of {} is 0 ", begin + KIND, log.display());
    assert!(said.contains(&byte), "{said}");
    // As the message says.
    bytes[begin + KIND] = 255;
    fs::write(&log, &bytes).expect("write");
    let error = error(dir.path()).to_string();
    assert!(
        error.contains("STORE0002") && error.contains("watermark"),
        "{error}"
    );
    fs::remove_file(dir.path().join("watermark")).expect("remove");
    let again = open(dir.path(), small()).expect("given up");
    let last = value(&again).expect("what is before the zeros");
    let last: usize = String::from_utf8_lossy(&last).parse().expect("a number");
    assert!((20..40).contains(&last), "{last}");
}

#[test]
fn a_tail_of_zeros_is_no_damage() {
    let zeros = |log: &Path, mut bytes: Vec<u8>| {
        bytes.resize(bytes.len() + 3 * BLOCK, 0);
        fs::write(log, bytes).expect("write");
    };
    let dir = damaged(zeros);
    let again = open(dir.path(), small()).expect("all is there that was promised");
    assert_eq!(value(&again).as_deref(), Some(b"kept".as_slice()));
}

#[test]
fn a_manifest_that_rocksdb_would_read_for_ever_is_refused() {
    let dir = used();
    let files = fs::read_dir(dir.path().join("rows")).expect("list");
    let manifest = files
        .map(|entry| entry.expect("list").path())
        .find(|path| path.display().to_string().contains("/MANIFEST-"))
        .expect("a manifest");
    let mut bytes = fs::read(&manifest).expect("read");
    let second = record(&bytes, 1);
    bytes[second + KIND] ^= 4;
    fs::write(&manifest, bytes).expect("write");
    check_untouched(dir.path(), "STORE0002");
    let error = error(dir.path()).to_string();
    assert!(error.contains(&manifest.display().to_string()), "{error}");
}

#[test]
fn one_process_and_one_handle_at_a_time() {
    let dir = used();
    let (reader, writer) = open(dir.path(), small()).expect("open");
    let error = error(dir.path());
    assert_eq!(error.code(), "STORE0004", "{error}");
    assert!(
        error
            .to_string()
            .contains(&dir.path().display().to_string())
    );
    drop(writer);
    assert!(open(dir.path(), small()).is_err(), "a reader still has it");
    drop(reader);
    let again = open(dir.path(), small()).expect("nobody has it any more");
    assert_eq!(value(&again).as_deref(), Some(b"kept".as_slice()));
}

#[test]
fn a_store_that_was_not_finished_is_made_anew() {
    // What a crash while the store was made leaves behind, in the order of its steps.
    let steps: [&[&str]; 3] = [
        &["LOCK"],
        &["LOCK", "rows/"],
        &["LOCK", "FORMAT.new", "lost+found/"],
    ];
    for left in steps {
        let dir = TempDir::new().expect("a temporary directory");
        for name in left {
            let path = dir.path().join(name);
            match name.ends_with('/') {
                true => fs::create_dir(path),
                false => fs::write(path, ""),
            }
            .expect("write");
        }
        let mut store = open(dir.path(), small()).expect("open");
        assert_eq!(value(&store), None);
        store.1.commit(&[put("kept")]).expect("commit");
        drop(store);
        let store = open(dir.path(), small()).expect("open again");
        assert_eq!(
            value(&store).as_deref(),
            Some(b"kept".as_slice()),
            "{left:?}"
        );
    }
    // Killed after the rows were made, before the directory was marked.
    let dir = used();
    fs::remove_file(dir.path().join("FORMAT")).expect("remove");
    let store = open(dir.path(), small()).expect("open");
    assert_eq!(value(&store).as_deref(), Some(b"kept".as_slice()));
    assert!(dir.path().join("FORMAT").exists());
}

#[test]
fn the_ballast_follows_its_option() {
    let dir = used();
    let ballast = dir.path().join("ballast");
    let blocks = |path: &Path| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(path).map(|m| m.blocks() * 512).unwrap_or(0)
    };
    assert!(blocks(&ballast) >= 1 << 20, "it holds real space");
    for (bytes, expected) in [
        (2 << 20, Some(2 << 20)),
        (0, None),
        (1 << 20, Some(1 << 20)),
    ] {
        let options = Options {
            ballast_bytes: bytes,
            ..Options::default()
        };
        drop(open(dir.path(), options).expect("open"));
        let len = fs::metadata(&ballast).ok().map(|m| m.len());
        assert_eq!(len, expected, "asked for {bytes}");
    }
}

#[test]
fn a_store_is_made_beside_its_own_files_only() {
    let dir = TempDir::new().expect("a temporary directory");
    let data = dir.path();
    let may = || may_hold(data, "store", &["modules"]);
    may().expect("an empty directory");
    may_hold(&data.join("none"), "store", &[]).expect("none yet");
    fs::create_dir(data.join("modules")).expect("make");
    may().expect("what an interrupted first start left");
    fs::write(data.join("photo.jpg"), "").expect("write");
    match may() {
        Err(Error::Foreign { found, .. }) => assert_eq!(found, "photo.jpg"),
        other => panic!("{other:?}"),
    }
    fs::create_dir(data.join("store")).expect("make");
    may().expect_err("a folder is no store");
    let _store = open(&data.join("store"), small()).expect("a fresh store");
    may().expect("a store's files may get company");
}
