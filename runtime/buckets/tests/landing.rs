//! Objects of steps: nothing is seen of them until they land, whoever waits sees them then, and
//! what a crash leaves is finished or swept.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use stepwell_buckets::{Buckets, Change, Error, Grant, Holding, Landing, Options, Seen, Unheld};

fn open(kept: &Path, granted: &Path) -> Buckets {
    let options = Options {
        kept: Some(kept.to_path_buf()),
        granted: vec![Grant {
            name: "out".to_owned(),
            path: granted.to_path_buf(),
            write: true,
        }],
        object_bytes_max: 1_000,
        instance: "here".to_owned(),
    };
    Buckets::open(&options).unwrap()
}

fn put(buckets: &Buckets, bucket: &str, key: &str, text: &str) -> Change {
    let mut upload = buckets.bucket(bucket).unwrap().put_later(key).unwrap();
    upload.write(text.as_bytes()).unwrap();
    Change::Put(upload.stage().unwrap())
}

fn delete(buckets: &Buckets, bucket: &str, key: &str) -> Change {
    Change::Delete {
        bucket: buckets.bucket(bucket).unwrap(),
        key: key.to_owned(),
    }
}

fn get(buckets: &Buckets, bucket: &str, key: &str) -> Result<String, &'static str> {
    let object = buckets.bucket(bucket).and_then(|b| b.get(key));
    let mut object = object.map_err(|e| e.code())?;
    let mut text = String::new();
    object.file.read_to_string(&mut text).unwrap();
    Ok(text)
}

fn hold(buckets: &Buckets, changes: Vec<Change>) -> Holding {
    buckets.hold(changes, &[]).unwrap()
}

fn rows(holding: &Holding) -> Vec<Landing> {
    holding.landings().cloned().collect()
}

fn names(landings: &[Landing]) -> BTreeSet<String> {
    landings.iter().map(|l| l.name.clone()).collect()
}

fn files(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

#[test]
fn changes_are_seen_when_they_land_and_waited_for_until_then() {
    let (kept, granted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let buckets = open(kept.path(), granted.path());
    let mut first = hold(
        &buckets,
        vec![
            put(&buckets, "data", "a/b", "1"),
            put(&buckets, "out", "c", "2"),
        ],
    );
    assert_eq!(
        get(&buckets, "data", "other"),
        Err("BUCKET0001"),
        "not held"
    );
    let reader = std::thread::spawn({
        let buckets = buckets.clone();
        move || {
            let page = buckets.bucket("out").unwrap().list("", None, 9).unwrap();
            (get(&buckets, "data", "a/b"), page.objects.len())
        }
    });
    std::thread::sleep(Duration::from_millis(50));
    assert!(!reader.is_finished());
    first.land().unwrap();
    assert_eq!(reader.join().unwrap(), (Ok("1".to_owned()), 1));
    drop(first);

    // What is given up leaves nothing.
    drop(hold(
        &buckets,
        vec![
            put(&buckets, "data", "a/b", "3"),
            put(&buckets, "new", "x", "3"),
        ],
    ));
    assert_eq!(get(&buckets, "data", "a/b").unwrap(), "1");
    assert_eq!(get(&buckets, "new", "x"), Err("BUCKET0001"));
    assert_eq!((files(kept.path()), files(granted.path())), (1, 1));

    // One that goes, with the folder and the bucket that held nothing else.
    let mut gone = hold(
        &buckets,
        vec![
            delete(&buckets, "data", "a/b"),
            delete(&buckets, "data", "never"),
        ],
    );
    assert_eq!(rows(&gone).len(), 1);
    gone.land().unwrap();
    assert_eq!(get(&buckets, "data", "a/b"), Err("BUCKET0001"));
    assert_eq!(files(kept.path()), 0);
}

#[test]
fn who_saw_another_object_or_comes_second_is_refused() {
    let (kept, granted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let buckets = open(kept.path(), granted.path());
    let none = Seen {
        bucket: "data".into(),
        key: "k".into(),
        etag: None,
    };
    let mut first = buckets
        .hold(
            vec![put(&buckets, "data", "k", "1")],
            std::slice::from_ref(&none),
        )
        .unwrap();
    let second = buckets.hold(vec![put(&buckets, "data", "k", "2")], &[]);
    assert!(matches!(second, Err(Unheld::Changed)), "it is held");
    first.land().unwrap();
    let second = buckets.hold(vec![put(&buckets, "data", "k", "2")], &[none]);
    assert!(matches!(second, Err(Unheld::Changed)), "there was none");
    let seen = Seen {
        bucket: "data".into(),
        key: "k".into(),
        etag: Some(buckets.bucket("data").unwrap().get("k").unwrap().etag),
    };
    let held = buckets.hold(vec![put(&buckets, "data", "k", "2")], &[seen]);
    held.unwrap().land().unwrap();
    assert_eq!(get(&buckets, "data", "k").unwrap(), "2");

    // No key lies below another, held or there, whoever writes it.
    let refused = |change| match buckets.hold(vec![change], &[]) {
        Err(Unheld::Refused(e)) => e.code(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(put(&buckets, "data", "k/below", "")), "BUCKET0007");
    // None leads out of its bucket, into another one neither.
    assert_eq!(refused(delete(&buckets, "data", "../data/k")), "BUCKET0003");
    std::os::unix::fs::symlink("..", granted.path().join("up")).unwrap();
    assert_eq!(refused(put(&buckets, "out", "up/new", "")), "BUCKET0011");
    assert_eq!(refused(delete(&buckets, "out", "up/new")), "BUCKET0011");
    let holding = hold(&buckets, vec![put(&buckets, "data", "x/y", "")]);
    assert_eq!(refused(put(&buckets, "data", "x", "")), "BUCKET0007");
    let upload = buckets.bucket("data").unwrap().put("x/y/z").unwrap();
    assert_eq!(upload.finish().unwrap_err().code(), "BUCKET0007");
    drop(holding);
    let two = vec![
        put(&buckets, "data", "p", ""),
        put(&buckets, "data", "p/q", ""),
    ];
    assert!(matches!(
        buckets.hold(two, &[]),
        Err(Unheld::Refused(Error::Conflict { .. }))
    ));
    assert_eq!(files(kept.path()), 1, "nothing is left of what was refused");
}

#[test]
fn the_next_process_finishes_what_is_sure_and_sweeps_the_rest() {
    let (kept, granted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sure;
    {
        let buckets = open(kept.path(), granted.path());
        let upload = buckets.bucket("data").unwrap().put("old");
        upload.unwrap().finish().unwrap();
        let holding = hold(
            &buckets,
            vec![
                put(&buckets, "data", "a/b", "1"),
                put(&buckets, "out", "c", "2"),
                delete(&buckets, "data", "old"),
            ],
        );
        sure = rows(&holding);
        let lost = hold(
            &buckets,
            vec![
                put(&buckets, "data", "lost", "3"),
                put(&buckets, "out", "lost", "3"),
            ],
        );
        let begun = buckets.bucket("out").unwrap().put_later("begun").unwrap();
        // As a kill leaves them.
        std::mem::forget((holding, lost, begun));
    }
    let strange = granted.path().join(".stepwell-part-step-elsewhere-1-1");
    fs::write(&strange, "another server's").unwrap();
    for life in 0..3 {
        let buckets = open(kept.path(), granted.path());
        buckets.sweep_staged(&names(&sure)).unwrap();
        for landing in &sure {
            buckets.land(landing).unwrap();
        }
        assert_eq!(get(&buckets, "out", "c").unwrap(), "2");
        assert_eq!(get(&buckets, "data", "lost"), Err("BUCKET0002"));
        match life {
            0 => {
                assert_eq!(get(&buckets, "data", "a/b").unwrap(), "1");
                assert_eq!(get(&buckets, "data", "old"), Err("BUCKET0002"));
                assert_eq!((files(kept.path()), files(granted.path())), (1, 2));
                // Others come in their place before the rows are gone.
                for key in ["a/b", "old"] {
                    let mut upload = buckets.bucket("data").unwrap().put(key).unwrap();
                    upload.write(b"newer").unwrap();
                    upload.finish().unwrap();
                }
            }
            _ => {
                assert_eq!(get(&buckets, "data", "a/b").unwrap(), "newer");
                assert_eq!(get(&buckets, "data", "old").unwrap(), "newer");
            }
        }
    }
    assert!(strange.exists());
}

#[test]
fn no_row_lands_outside_of_its_bucket() {
    let (kept, granted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let buckets = open(kept.path(), granted.path());
    let upload = buckets.bucket("theirs").unwrap().put("object").unwrap();
    upload.finish().unwrap();
    let bucket = buckets.bucket("mine").unwrap();
    bucket.put("object").unwrap().finish().unwrap();
    let there = buckets.bucket("theirs").unwrap().get("object").unwrap();
    for key in ["../theirs/object", ".stepwell-part-1"] {
        let row = Landing {
            name: "row".to_owned(),
            bucket: "mine".to_owned(),
            key: key.to_owned(),
            gone: Some(there.etag.clone()),
        };
        let refused = buckets.land(&row).unwrap_err();
        assert_eq!(refused.code(), "BUCKET0003", "{key}");
    }
    assert_eq!(get(&buckets, "theirs", "object").unwrap(), "");
}
