//! Secrets in a memory store: what opens, with which key, and what is refused by name.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use stepwell_store::memory::Memory;
use stepwell_store::{Batch, Writer as _};

use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// Never the same twice, whichever vault asks.
fn draw() -> Draw {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    Arc::new(|| {
        let n = DRAWN.fetch_add(1, Ordering::Relaxed);
        let digest = stepwell_types::Digest::of(&n.to_be_bytes());
        digest.0[..16].try_into().expect("16 bytes")
    })
}

fn open(memory: &Memory, file: &Path) -> Vault {
    Vault::open(Arc::new(memory.clone()), file.to_owned(), draw()).expect("a vault")
}

fn row(memory: &Memory, name: &str) -> Option<Vec<u8>> {
    let key = Key::Secret { name: name.into() };
    memory.get(&key).expect("readable")
}

fn put(memory: &Memory, name: &str, row: Vec<u8>) {
    let mut batch = Batch::default();
    batch.put(Key::Secret { name: name.into() }, row);
    memory.writer().commit(&[batch]).expect("committed");
}

fn set(vault: &Vault, memory: &Memory, name: &str, value: &str) -> Result<u32, &'static str> {
    let value = Secret::new(value.as_bytes().to_vec());
    let before = row(memory, name);
    let added = vault.add(name, before.as_deref(), &value, NOW);
    let (row, version) = added.map_err(|e| e.code())?;
    put(memory, name, row);
    Ok(version)
}

/// The value and version that are read, or the code of the refusal.
fn get(
    vault: &Vault,
    name: &str,
    version: Option<u32>,
) -> Result<Option<(String, u32)>, &'static str> {
    let opened = vault.read(name, version).map_err(|e| e.code())?;
    Ok(opened.map(|o| {
        let text = String::from_utf8(o.value.bytes().to_vec()).expect("text");
        (text, o.version)
    }))
}

fn some(value: &str, version: u32) -> Result<Option<(String, u32)>, &'static str> {
    Ok(Some((value.to_owned(), version)))
}

#[test]
fn versions_open_until_they_are_dropped_and_numbers_are_never_given_twice() {
    let dir = tempfile::tempdir().expect("a folder");
    let (memory, file) = (Memory::new(), dir.path().join("key"));
    let vault = open(&memory, &file);
    assert_eq!(get(&vault, "a", None), Ok(None));
    assert!(!file.exists(), "the key is made when it is needed");
    assert_eq!(set(&vault, &memory, "a", "one"), Ok(1));
    assert_eq!(set(&vault, &memory, "a", "two"), Ok(2));
    let mode = std::fs::metadata(&file)
        .expect("a key file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    // Another process.
    let vault = open(&memory, &file);
    assert_eq!(get(&vault, "a", None), some("two", 2));
    assert_eq!(get(&vault, "a", Some(1)), some("one", 1));
    assert_eq!(get(&vault, "a", Some(3)), Ok(None));
    for n in 3..=10 {
        assert_eq!(set(&vault, &memory, "a", &n.to_string()), Ok(n));
    }
    assert_eq!(get(&vault, "a", Some(2)), Ok(None));
    assert_eq!(get(&vault, "a", Some(3)), some("3", 3));

    put(
        &memory,
        "a",
        Vault::clear("a", &row(&memory, "a").expect("a row")).expect("cleared"),
    );
    assert_eq!(get(&vault, "a", None), Ok(None));
    assert_eq!(get(&vault, "a", Some(10)), Ok(None));
    assert_eq!(set(&vault, &memory, "a", "new"), Ok(11));
    assert_eq!(get(&vault, "a", None), some("new", 11));
}

#[test]
fn sizes_are_bounded() {
    let dir = tempfile::tempdir().expect("a folder");
    let memory = Memory::new();
    let vault = open(&memory, &dir.path().join("key"));
    let check = |bytes: usize, expected: Result<u32, &str>| {
        let name = format!("s{bytes}");
        assert_eq!(
            set(&vault, &memory, &name, &"x".repeat(bytes)),
            expected,
            "{bytes} bytes"
        );
    };
    check(0, Err("HOST0009"));
    check(1, Ok(1));
    check(SECRET_BYTES_MAX, Ok(1));
    check(SECRET_BYTES_MAX + 1, Err("HOST0009"));
    assert!(room(SECRETS_MAX - 1).is_ok());
    assert_eq!(room(SECRETS_MAX).map_err(|e| e.code()), Err("HOST0009"));
}

#[test]
fn nothing_opens_with_another_key_or_without_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let (memory, file) = (Memory::new(), dir.path().join("key"));
    assert_eq!(set(&open(&memory, &file), &memory, "a", "value"), Ok(1));
    let right = std::fs::read(&file).expect("a key file");

    std::fs::remove_file(&file).expect("removed");
    let missing = open(&memory, &file);
    assert_eq!(missing.check().map_err(|e| e.code()), Err("HOST0007"));
    assert_eq!(get(&missing, "a", None), Err("HOST0007"));
    // No new key beside the missing one.
    assert_eq!(set(&missing, &memory, "b", "value"), Err("HOST0007"));
    assert!(!file.exists());
    assert_eq!(
        missing.begin_rotation().map_err(|e| e.code()),
        Err("HOST0007")
    );

    let (other, elsewhere) = (Memory::new(), dir.path().join("other"));
    assert_eq!(set(&open(&other, &elsewhere), &other, "x", "y"), Ok(1));
    std::fs::rename(&elsewhere, &file).expect("moved");
    let wrong = open(&memory, &file);
    assert_eq!(get(&wrong, "a", None), Err("HOST0007"));
    assert_eq!(set(&wrong, &memory, "b", "value"), Err("HOST0007"));

    // Once what it sealed is deleted, a new key can be made.
    std::fs::remove_file(&file).expect("removed");
    put(
        &memory,
        "a",
        Vault::clear("a", &row(&memory, "a").expect("a row")).expect("cleared"),
    );
    assert_eq!(set(&open(&memory, &file), &memory, "a", "again"), Ok(2));

    // The old one opens nothing of it.
    std::fs::write(&file, right).expect("written");
    assert_eq!(get(&open(&memory, &file), "a", None), Err("HOST0007"));
}

#[test]
fn a_row_that_was_moved_or_mended_does_not_open() {
    let dir = tempfile::tempdir().expect("a folder");
    let memory = Memory::new();
    let vault = open(&memory, &dir.path().join("key"));
    set(&vault, &memory, "a", "value of a").expect("set");
    let bytes = row(&memory, "a").expect("a row");
    put(&memory, "b", bytes.clone());
    assert_eq!(get(&vault, "b", None), Err("HOST0008"));

    let mut older = read_row("a", &bytes).expect("a row");
    older.versions[0].version = 7;
    put(&memory, "c", write_row(&older));
    assert_eq!(get(&vault, "c", None), Err("HOST0008"));
    for at in [0, bytes.len() / 2, bytes.len() - 1] {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x40;
        put(&memory, "a", bytes);
        assert_eq!(get(&vault, "a", None), Err("HOST0008"), "byte {at}");
    }
    put(&memory, "a", Vec::new());
    assert_eq!(get(&vault, "a", None), Err("HOST0008"));
}

#[test]
fn a_rotation_that_was_interrupted_anywhere_loses_nothing() {
    for stop in 0..=4 {
        let dir = tempfile::tempdir().expect("a folder");
        let (memory, file) = (Memory::new(), dir.path().join("key"));
        let vault = open(&memory, &file);
        let old = || std::fs::read_to_string(&file).expect("a key file");
        for name in ["a", "b"] {
            set(&vault, &memory, name, &format!("value of {name}")).expect("set");
        }
        let first = old();
        let rotate = |vault: &Vault, stop: usize| {
            let steps: [&dyn Fn(); 4] = [
                &|| vault.begin_rotation().expect("begun"),
                &|| {
                    put(
                        &memory,
                        "a",
                        vault.reseal("a", &row(&memory, "a").unwrap()).unwrap(),
                    )
                },
                &|| {
                    put(
                        &memory,
                        "b",
                        vault.reseal("b", &row(&memory, "b").unwrap()).unwrap(),
                    )
                },
                &|| vault.end_rotation().expect("ended"),
            ];
            steps.iter().take(stop).for_each(|step| step());
        };
        rotate(&vault, stop);
        // Keys are dropped when nothing needs them, not before.
        if (1..3).contains(&stop) {
            let early = vault.end_rotation().map_err(|e| e.code());
            assert_eq!(early, Err("HOST0007"), "stopped after {stop}");
        }
        let vault = open(&memory, &file);
        for name in ["a", "b"] {
            assert_eq!(
                get(&vault, name, None),
                some(&format!("value of {name}"), 1),
                "{stop}"
            );
        }
        rotate(&vault, 4);
        let vault = open(&memory, &file);
        assert_eq!(get(&vault, "a", None), some("value of a", 1));
        assert_eq!(old().matches(&format!("\n{}", "stepwell-key-1")).count(), 1);
        assert_ne!(old(), first);
    }
}

#[test]
fn key_files_are_as_they_should_be_or_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("key");
    let key = format!("stepwell-key-1 {}\n", "0f".repeat(32));
    let check = |text: &str, mode: u32, expected: Result<(), &str>| {
        std::fs::write(&file, text).expect("written");
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&file, permissions).expect("set");
        let opened = Vault::open(Arc::new(Memory::new()), file.clone(), draw());
        match (opened.map(|_| ()), expected) {
            (Ok(()), Ok(())) => {}
            (Err(e), Err(why)) => {
                assert_eq!(e.code(), "HOST0006");
                assert!(e.to_string().contains(why), "{e}");
                assert!(!e.to_string().contains("0f0f"), "{e}");
            }
            (got, want) => panic!("{text:?} {mode:o}: {got:?}, not {want:?}"),
        }
    };
    check(&key, 0o600, Ok(()));
    check(&key, 0o400, Ok(()));
    check(&format!("# a word\n\n{key}{key}"), 0o600, Ok(()));
    check(&key, 0o640, Err("mode 640"));
    check(&key, 0o604, Err("chmod 600"));
    check("", 0o600, Err("no key file"));
    check("stepwell-key-1 abc", 0o600, Err("no key file"));
    check(&key.replace('f', "g"), 0o600, Err("no key file"));
    check(&key.replace("key-1", "key-2"), 0o600, Err("no key file"));
    std::fs::remove_file(&file).expect("removed");
    std::os::unix::fs::symlink("/dev/null", &file).expect("linked");
    let linked = Vault::open(Arc::new(Memory::new()), file, draw());
    assert_eq!(linked.map(|_| ()).map_err(|e| e.code()), Err("HOST0006"));
}

#[test]
fn nothing_shows_a_value() {
    let dir = tempfile::tempdir().expect("a folder");
    let memory = Memory::new();
    let vault = open(&memory, &dir.path().join("key"));
    set(&vault, &memory, "a", "correct horse").expect("set");
    let opened = vault.read("a", None).expect("readable").expect("there");
    let shown = format!("{opened:?} {:?}", opened.value);
    assert!(
        !shown.contains("correct") && !shown.contains("99, 111"),
        "{shown}"
    );
    let row = row(&memory, "a").expect("a row");
    assert!(!row.windows(7).any(|w| w == b"correct"));
}
