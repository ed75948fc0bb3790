//! Power cuts on the RocksDB store: with the sync on, nothing that was told of is lost;
//! with it off, it is, so the test can tell. And on names of files alone.

#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    reason = "the test starts itself again as the victim and tells it so by the environment"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use stepwell_shim::{Discarded, Recorder, Tail};
use stepwell_store::{Batch, Key, Range, Reader, Writer};
use stepwell_store_rocks::{Options, open};
use stepwell_types::{ExecutionId, ShardId, Timestamp};
use tempfile::TempDir;

const DIR: &str = "STEPWELL_POWER_CUT_DIR";
const SYNCED: &str = "STEPWELL_POWER_CUT_SYNCED";
const UNSYNCED: &str = "STEPWELL_POWER_CUT_UNSYNCED";
const ROW_BYTES: &str = "STEPWELL_POWER_CUT_ROW_BYTES";

fn options(sync: bool) -> Options {
    Options {
        sync,
        ballast_bytes: 1 << 20,
        // Small, so that cuts also meet files being written out and merged.
        memtable_bytes_max: 2 << 20,
        wal_bytes_max: 2 << 20,
        ..Options::default()
    }
}

fn row(seq: u64) -> Key {
    Key::Log {
        execution: ExecutionId::new(Timestamp(1), ShardId(0), 1),
        seq,
    }
}

fn count(reader: &impl Reader) -> u64 {
    let range = Range::Log {
        execution: ExecutionId::new(Timestamp(1), ShardId(0), 1),
        from_seq: 0,
    };
    let rows = reader.scan(&range, usize::MAX).expect("read");
    for (seq, (key, _)) in rows.iter().enumerate() {
        assert_eq!(*key, row(seq as u64), "a gap");
    }
    rows.len() as u64
}

/// Commits some rows with the sync on, then some with it off, and waits for its end.
fn victim() {
    let number = |name| -> u64 {
        let text = std::env::var(name).expect("a number");
        text.parse().expect("a number")
    };
    let dir = std::env::var_os(DIR).expect("a directory");
    let row_bytes = usize::try_from(number(ROW_BYTES)).expect("a size");
    for (sync, rows) in [(true, number(SYNCED)), (false, number(UNSYNCED))] {
        if rows == 0 {
            continue;
        }
        let (reader, mut writer) = open(Path::new(&dir), options(sync)).expect("open");
        let first = count(&reader);
        for seq in first..first + rows {
            let mut batch = Batch::default();
            batch.put(row(seq), vec![seq as u8; row_bytes]);
            writer.commit(&[batch]).expect("commit");
        }
        if !sync || number(UNSYNCED) == 0 {
            println!("done");
            // Closing would be an orderly end.
            std::thread::sleep(std::time::Duration::from_secs(600));
        }
    }
}

/// Runs the victim, kills it when it has told of all, cuts the power, and counts.
fn cut(test: &str, place: &Place, synced: u64, unsynced: u64, tail: Tail) -> (u64, Discarded) {
    place.recorder.restart().expect("restart");
    killed(test, place, synced, unsynced);
    after_cut(place, tail)
}

/// Runs the victim, and kills it when it has told of all.
fn killed(test: &str, place: &Place, synced: u64, unsynced: u64) {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", test, "--nocapture"])
        .envs(place.recorder.environment())
        .env(DIR, &place.data)
        .env(SYNCED, synced.to_string())
        .env(UNSYNCED, unsynced.to_string())
        .env(ROW_BYTES, place.row_bytes.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start the victim");
    assert!(
        killed_when_done(&mut child),
        "the victim ended before it was done"
    );
}

/// Cuts the power, and counts.
fn after_cut(place: &Place, tail: Tail) -> (u64, Discarded) {
    let discarded = place.recorder.discard_unsynced(tail).expect("discard");
    let (reader, writer) = open(&place.data, options(true)).expect("open after the power cut");
    let rows = count(&reader);
    drop((reader, writer));
    (rows, discarded)
}

struct Place {
    _dir: TempDir,
    data: std::path::PathBuf,
    recorder: Recorder,
    row_bytes: u64,
}

fn place(row_bytes: u64) -> Place {
    let dir = TempDir::new().expect("a temporary directory");
    let data = dir.path().join("data");
    let recorder = Recorder::new(dir.path(), &[&data]).expect("build the recorder");
    Place {
        _dir: dir,
        data,
        recorder,
        row_bytes,
    }
}

#[test]
fn what_was_synced_is_there_and_the_rest_is_gone() {
    if std::env::var_os(DIR).is_some() {
        return victim();
    }
    let test = "what_was_synced_is_there_and_the_rest_is_gone";
    let place = place(1_000);
    let (rows, discarded) = cut(test, &place, 50, 50, Tail::Gone);
    assert_eq!(rows, 50, "{discarded:?}");
    assert!(discarded.bytes >= 50_000, "{discarded:?}");
    // And again on what is left: the sync alone, then none.
    let (rows, _) = cut(test, &place, 30, 0, Tail::Gone);
    assert_eq!(rows, 80);
    let (rows, discarded) = cut(test, &place, 0, 30, Tail::Gone);
    assert_eq!(rows, 80, "{discarded:?}");
}

#[test]
fn what_a_killed_process_never_synced_is_synced_before_others_build_on_it() {
    if std::env::var_os(DIR).is_some() {
        return victim();
    }
    let test = "what_a_killed_process_never_synced_is_synced_before_others_build_on_it";
    let place = place(1_000);
    place.recorder.restart().expect("restart");
    // The first one's power stays on: the next one sees all that it wrote.
    killed(test, &place, 10, 20);
    killed(test, &place, 10, 0);
    let (rows, discarded) = after_cut(&place, Tail::Gone);
    assert_eq!(rows, 40, "{discarded:?}");
}

#[test]
fn a_torn_tail_is_a_tail() {
    if std::env::var_os(DIR).is_some() {
        return victim();
    }
    let place = place(1_000);
    let mut least = 0;
    for seed in 0..6 {
        let (rows, discarded) = cut("a_torn_tail_is_a_tail", &place, 20, 20, Tail::Torn(seed));
        assert!(
            rows >= least + 20,
            "seed {seed}: {rows} rows, {discarded:?}"
        );
        assert!(
            rows <= least + 40,
            "seed {seed}: {rows} rows, {discarded:?}"
        );
        least = rows;
    }
}

#[test]
fn files_written_out_and_merged_are_synced_too() {
    if std::env::var_os(DIR).is_some() {
        return victim();
    }
    // Many times what is held in memory.
    let place = place(20_000);
    let test = "files_written_out_and_merged_are_synced_too";
    let mut rows = 0;
    for _ in 0..2 {
        let (found, discarded) = cut(test, &place, 300, 0, Tail::Gone);
        rows += 300;
        assert_eq!(found, rows, "{discarded:?}");
    }
    let written_out = std::fs::read_dir(place.data.join("rows"))
        .expect("list")
        .filter_map(Result::ok)
        .any(|entry| entry.path().extension().is_some_and(|e| e == "sst"));
    assert!(written_out, "nothing was written out");

    // Without the sync a prefix survives: what was written out meanwhile.
    let (found, discarded) = cut(test, &place, 0, 300, Tail::Gone);
    assert!(
        found >= rows && found < rows + 300,
        "{found}, {discarded:?}"
    );
}

const STEPS: &str = "STEPWELL_POWER_CUT_STEPS";

/// Does to files in its directory what it is told, a word each, and waits for its end.
fn scribe() {
    use std::fs::{self, File};
    let dir = std::env::var_os(DIR).expect("a directory");
    std::env::set_current_dir(dir).expect("its directory");
    let steps = std::env::var(STEPS).expect("what to do");
    let write = |path: &str, text: &str| {
        use std::io::Write as _;
        let mut file = File::create(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    for step in steps.split(' ') {
        let words: Vec<&str> = step.split(',').collect();
        let done = match *words.as_slice() {
            ["write", path] => write(path, path),
            ["rewrite", path] => write(path, "another"),
            ["rename", from, to] => fs::rename(from, to),
            ["remove", path] => fs::remove_file(path),
            ["folder", path] => fs::create_dir(path),
            ["sync", path] => File::open(path).and_then(|dir| dir.sync_all()),
            _ => panic!("{step}"),
        };
        done.expect(step);
    }
    println!("done");
    std::thread::sleep(std::time::Duration::from_secs(600));
}

/// What is below a directory, with what is in it.
fn all_below(dir: &Path, above: &str) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let entry = entry.expect("an entry");
        let name = format!("{above}{}", entry.file_name().display());
        if entry.path().is_dir() {
            all.push(format!("{name}/"));
            all.extend(all_below(&entry.path(), &format!("{name}/")));
        } else {
            let text = std::fs::read_to_string(entry.path()).expect("its text");
            all.push(if text == name {
                name
            } else {
                format!("{name}={text}")
            });
        }
    }
    all.sort();
    all
}

#[test]
fn names_last_when_their_directory_is_synced() {
    if std::env::var_os(DIR).is_some() {
        return scribe();
    }
    let place = place(0);
    let check = |steps: &str, expected: &[&str]| {
        let _ = std::fs::remove_dir_all(&place.data);
        std::fs::create_dir_all(place.data.join("old")).expect("a folder");
        for name in ["kept", "old/inner"] {
            std::fs::write(place.data.join(name), name).expect("a file");
        }
        place.recorder.restart().expect("restart");
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args([
                "--exact",
                "names_last_when_their_directory_is_synced",
                "--nocapture",
            ])
            .envs(place.recorder.environment())
            .env(DIR, &place.data)
            .env(STEPS, steps)
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the victim");
        assert!(killed_when_done(&mut child), "{steps}");
        place
            .recorder
            .discard_unsynced(Tail::Gone)
            .expect("discard");
        let mut expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        expected.push("old/".to_owned());
        expected.sort();
        assert_eq!(all_below(&place.data, ""), expected, "{steps}");
    };
    check("write,a", &["kept", "old/inner"]);
    check("write,a sync,.", &["a", "kept", "old/inner"]);
    check("write,a sync,. write,b", &["a", "kept", "old/inner"]);
    // Another directory's sync is no help, nor that of the one above.
    check("write,old/a sync,.", &["kept", "old/inner"]);
    check("write,old/a sync,old", &["kept", "old/a", "old/inner"]);
    check("folder,f write,f/a sync,f", &["kept", "old/inner"]);
    check("folder,f write,f/a sync,.", &["f/", "kept", "old/inner"]);
    check(
        "folder,f write,f/a sync,f sync,.",
        &["f/", "f/a", "kept", "old/inner"],
    );
    check("remove,kept", &["kept", "old/inner"]);
    check("remove,kept sync,.", &["old/inner"]);
    check("rename,kept,new", &["kept", "old/inner"]);
    check("rename,kept,new sync,.", &["new=kept", "old/inner"]);
    // In the place of another: the one before, whole.
    check("write,tmp rename,tmp,kept", &["kept", "old/inner"]);
    check(
        "write,tmp sync,. rename,tmp,kept",
        &["kept", "old/inner", "tmp"],
    );
    check(
        "write,tmp rename,tmp,kept sync,.",
        &["kept=tmp", "old/inner"],
    );
    // From one directory into another: both names, or neither, by what was synced.
    check(
        "rename,kept,old/kept sync,old",
        &["kept", "old/inner", "old/kept=kept"],
    );
    check("rename,kept,old/kept sync,.", &["old/inner"]);
}

/// Kills a victim as soon as it says that it is done. `false`: it ended before.
fn killed_when_done(child: &mut Child) -> bool {
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut told = false;
    for line in lines {
        if line.expect("a line").ends_with("done") {
            told = true;
            child.kill().expect("kill -9");
        }
    }
    child.wait().expect("the victim's end");
    told
}
