//! Buckets over real directories: what is found, what is refused, what a crash leaves.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use proptest::prelude::*;
use stepwell_buckets::{Buckets, Grant, Options};

fn open(kept: Option<&Path>, granted: &[(&str, &Path, bool)]) -> Buckets {
    Buckets::open(&Options {
        kept: kept.map(Path::to_path_buf),
        granted: granted
            .iter()
            .map(|(name, path, write)| Grant {
                name: (*name).to_owned(),
                path: path.to_path_buf(),
                write: *write,
            })
            .collect(),
        object_bytes_max: 1_000,
        instance: "here".to_owned(),
    })
    .unwrap()
}

fn put(buckets: &Buckets, bucket: &str, key: &str, bytes: &[u8]) -> Result<bool, &'static str> {
    let put = || {
        let mut upload = buckets.bucket(bucket)?.put(key)?;
        for piece in bytes.chunks(7) {
            upload.write(piece)?;
        }
        upload.finish().map(|(_, new)| new)
    };
    put().map_err(|e: stepwell_buckets::Error| e.code())
}

fn get(buckets: &Buckets, bucket: &str, key: &str) -> Result<Vec<u8>, &'static str> {
    let object = buckets.bucket(bucket).and_then(|b| b.get(key));
    let mut object = object.map_err(|e| e.code())?;
    let mut bytes = Vec::new();
    object.file.read_to_end(&mut bytes).unwrap();
    assert_eq!(object.size, bytes.len() as u64);
    Ok(bytes)
}

fn keys(buckets: &Buckets, bucket: &str, prefix: &str) -> Result<Vec<String>, &'static str> {
    let page = buckets
        .bucket(bucket)
        .and_then(|b| b.list(prefix, None, 10_000));
    let page = page.map_err(|e| e.code())?;
    Ok(page.objects.into_iter().map(|o| o.key).collect())
}

fn delete(buckets: &Buckets, bucket: &str, key: &str) -> Result<(), &'static str> {
    let deleted = buckets.bucket(bucket).and_then(|b| b.delete(key));
    deleted.map_err(|e| e.code())
}

#[test]
fn kept_objects_come_back_and_a_bucket_goes_with_its_last() {
    let dir = tempfile::tempdir().unwrap();
    let buckets = open(Some(dir.path()), &[]);
    assert_eq!(get(&buckets, "data", "a/b.csv"), Err("BUCKET0001"));
    assert_eq!(put(&buckets, "data", "a/b.csv", b"one, two"), Ok(true));
    assert_eq!(put(&buckets, "data", "a/b.csv", b"three"), Ok(false));
    assert_eq!(get(&buckets, "data", "a/b.csv").unwrap(), b"three");
    assert_eq!(get(&buckets, "data", "a"), Err("BUCKET0002"));
    assert_eq!(get(&buckets, "data", "a/b.csv/c"), Err("BUCKET0002"));
    assert_eq!(put(&buckets, "data", "a", b""), Err("BUCKET0007"));
    assert_eq!(put(&buckets, "data", "a/b.csv/c", b""), Err("BUCKET0007"));
    assert_eq!(put(&buckets, "data", "big", &[0; 1_001]), Err("BUCKET0005"));
    assert_eq!(put(&buckets, "no/name", "a", b""), Err("BUCKET0003"));
    assert_eq!(put(&buckets, "data", "../a", b""), Err("BUCKET0003"));
    assert_eq!(keys(&buckets, "data", "").unwrap(), ["a/b.csv"]);
    assert_eq!(delete(&buckets, "data", "a"), Err("BUCKET0002"));
    assert_eq!(delete(&buckets, "data", "a/b.csv"), Ok(()));
    assert_eq!(delete(&buckets, "data", "a/b.csv"), Err("BUCKET0001"));
    assert!(buckets.list().unwrap().is_empty());
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        0,
        "nothing is left"
    );
}

#[test]
fn half_an_upload_is_never_an_object() {
    let dir = tempfile::tempdir().unwrap();
    let buckets = open(Some(dir.path()), &[]);
    let mut upload = buckets.bucket("data").unwrap().put("k").unwrap();
    upload.write(b"half").unwrap();
    assert_eq!(get(&buckets, "data", "k"), Err("BUCKET0001"));
    drop(upload);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    // As a killed process leaves it.
    let mut upload = buckets.bucket("data").unwrap().put("k").unwrap();
    upload.write(b"half").unwrap();
    std::mem::forget(upload);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    let buckets = open(Some(dir.path()), &[]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(get(&buckets, "data", "k"), Err("BUCKET0001"));
}

#[test]
fn a_granted_directory_is_read_and_nothing_outside_it() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("secret");
    fs::write(&outside, "secret").unwrap();
    let inside = dir.path().join("inside");
    fs::create_dir_all(inside.join("sub")).unwrap();
    fs::write(inside.join("sub/a.csv"), "a").unwrap();
    let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, inside.join(name)).unwrap();
    link(&outside, "escape");
    link(Path::new("../secret"), "sideways");
    link(dir.path(), "up");
    link(Path::new("sub/a.csv"), "within");
    link(Path::new("."), "loop");
    let buckets = open(None, &[("data", &inside, false)]);
    assert_eq!(get(&buckets, "data", "sub/a.csv").unwrap(), b"a");
    assert_eq!(get(&buckets, "data", "within").unwrap(), b"a");
    for key in ["escape", "sideways", "up/secret"] {
        assert_eq!(get(&buckets, "data", key), Err("BUCKET0011"), "{key}");
    }
    assert_eq!(get(&buckets, "data", "sub"), Err("BUCKET0002"));
    assert_eq!(keys(&buckets, "data", "").unwrap(), ["sub/a.csv", "within"]);
    assert_eq!(put(&buckets, "data", "new", b""), Err("BUCKET0004"));
    assert_eq!(delete(&buckets, "data", "sub/a.csv"), Err("BUCKET0004"));
    assert_eq!(get(&buckets, "other", "a"), Err("BUCKET0001"));

    let writable = open(None, &[("data", &inside, true)]);
    assert_eq!(put(&writable, "data", "deep/er/new", b"x"), Ok(true));
    assert_eq!(fs::read(inside.join("deep/er/new")).unwrap(), b"x");
    assert_eq!(put(&writable, "data", "up/new", b"x"), Err("BUCKET0011"));
    assert_eq!(delete(&writable, "data", "up/secret"), Err("BUCKET0011"));
    // The link is replaced, not what it leads to.
    assert_eq!(put(&writable, "data", "escape", b"mine"), Ok(false));
    assert_eq!(fs::read(&outside).unwrap(), b"secret");
}

#[test]
fn a_grant_that_makes_no_sense_is_refused() {
    for (name, path) in [("data", "/nonexistent/x"), ("no/name", "/")] {
        let grant = Grant {
            name: name.into(),
            path: path.into(),
            write: false,
        };
        let options = Options {
            kept: None,
            granted: vec![grant],
            object_bytes_max: 1,
            instance: String::new(),
        };
        assert_eq!(Buckets::open(&options).unwrap_err().code(), "BUCKET0009");
    }
}

#[test]
fn a_changed_object_has_another_etag() {
    let dir = tempfile::tempdir().unwrap();
    let buckets = open(Some(dir.path()), &[]);
    let etag = || buckets.bucket("d").unwrap().get("k").unwrap().etag;
    put(&buckets, "d", "k", b"1").unwrap();
    let first = etag();
    assert_eq!(first, etag());
    put(&buckets, "d", "k", b"2").unwrap();
    assert_ne!(first, etag());
}

#[test]
fn a_large_folder_is_listed_in_order() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..9_000 {
        fs::write(dir.path().join(format!("{i}")), "").unwrap();
    }
    let buckets = open(None, &[("d", dir.path(), false)]);
    let bucket = buckets.bucket("d").unwrap();
    let mut want: Vec<String> = (0..9_000).map(|i| i.to_string()).collect();
    want.sort();
    let (mut got, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = bucket.list("", after.as_deref(), 4_999).unwrap();
        got.extend(page.objects.into_iter().map(|o| o.key));
        if !page.more {
            break;
        }
        after = got.last().cloned();
    }
    assert_eq!(got, want);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// Whatever was put is listed, in the order of its keys' bytes, however it is split into pages.
    #[test]
    fn listings_are_what_was_put(
        put_keys in proptest::collection::vec("[a-c.-]{1,2}(/[a-c-]{1,2}){0,2}", 1..30),
        prefix in "[a-c]{0,1}[/-]{0,1}",
        limit in 1_usize..5,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let buckets = open(Some(dir.path()), &[]);
        let mut model = BTreeMap::new();
        for key in &put_keys {
            if put(&buckets, "b", key, key.as_bytes()).is_ok() {
                model.insert(key.clone(), ());
            }
        }
        let want: Vec<&String> = model.keys().filter(|k| k.starts_with(&prefix)).collect();
        prop_assume!(!model.is_empty());
        let bucket = buckets.bucket("b").unwrap();
        let (mut got, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = bucket.list(&prefix, after.as_deref(), limit).unwrap();
            prop_assert!(page.objects.len() <= limit);
            got.extend(page.objects.into_iter().map(|o| o.key));
            if !page.more {
                break;
            }
            after = got.last().cloned();
        }
        prop_assert_eq!(got.iter().collect::<Vec<_>>(), want);
        for key in model.keys() {
            delete(&buckets, "b", key).unwrap();
        }
        prop_assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
