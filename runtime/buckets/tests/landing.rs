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

/// As the next process does, and all of it is made.
fn land(buckets: &Buckets, rows: &[Landing]) {
    let (landed, late) = buckets.land_all(rows);
    let landed: Result<(), Error> = landed.into_iter().collect();
    landed.unwrap();
    assert!(late.is_empty());
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
        land(&buckets, &sure);
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
fn an_object_waits_while_its_bucket_is_another_one() {
    let (kept, granted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let elsewhere = tempfile::tempdir().unwrap();
    let sure;
    {
        let buckets = open(kept.path(), granted.path());
        let mut holding = hold(&buckets, vec![put(&buckets, "out", "k", "sure")]);
        sure = rows(&holding);
        holding.leave();
    }
    // The configuration grants the name another directory, or no longer any.
    let without = Options {
        kept: Some(kept.path().to_path_buf()),
        granted: Vec::new(),
        object_bytes_max: 1_000,
        instance: "here".to_owned(),
    };
    let without = Buckets::open(&without).unwrap();
    for buckets in [open(kept.path(), elsewhere.path()), without] {
        buckets.sweep_staged(&names(&sure)).unwrap();
        let (landed, late) = buckets.land_all(&sure);
        let refused = landed[0].as_ref().unwrap_err();
        assert_eq!(refused.code(), "BUCKET0013");
        assert!(
            refused
                .to_string()
                .contains(&*granted.path().to_string_lossy()),
            "{refused}"
        );
        assert!(late.is_empty(), "nothing that this process could do");
        // What is under that name now is free.
        buckets
            .bucket("out")
            .unwrap()
            .put("k")
            .unwrap()
            .finish()
            .unwrap();
    }
    let buckets = open(kept.path(), granted.path());
    buckets.sweep_staged(&names(&sure)).unwrap();
    land(&buckets, &sure);
    assert_eq!(get(&buckets, "out", "k").unwrap(), "sure");
}

#[test]
fn a_deletion_is_done_where_a_file_stands_in_the_place_of_its_folder() {
    let (kept, granted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let buckets = open(kept.path(), granted.path());
    buckets
        .bucket("out")
        .unwrap()
        .put("a/b")
        .unwrap()
        .finish()
        .unwrap();
    let mut holding = hold(&buckets, vec![delete(&buckets, "out", "a/b")]);
    let sure = rows(&holding);
    holding.land().unwrap();
    fs::remove_dir(granted.path().join("a")).unwrap();
    fs::write(granted.path().join("a"), "a file").unwrap();

    let buckets = open(kept.path(), granted.path());
    land(&buckets, &sure);
    buckets
        .bucket("out")
        .unwrap()
        .put("a")
        .unwrap()
        .finish()
        .unwrap();
}

#[test]
fn what_a_start_could_not_make_is_made_later() {
    let (kept, granted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sure;
    {
        let buckets = open(kept.path(), granted.path());
        let changes = vec![
            put(&buckets, "out", "k", "1"),
            put(&buckets, "data", "k", "2"),
        ];
        let mut holding = hold(&buckets, changes);
        sure = rows(&holding);
        holding.leave();
    }
    fs::create_dir_all(granted.path().join("k/x")).unwrap();
    fs::create_dir_all(kept.path().join("data/k/x")).unwrap();
    let buckets = open(kept.path(), granted.path());
    buckets.sweep_staged(&names(&sure)).unwrap();
    let (landed, mut late) = buckets.land_all(&sure);
    assert!(landed.iter().all(Result::is_err));
    assert_eq!(late.landings().count(), 2);
    let put = |bucket: &str, key: &str| {
        let upload = buckets.bucket(bucket).unwrap().put(key).unwrap();
        upload.finish().map(drop).map_err(|e| e.code())
    };
    assert_eq!(put("out", "k"), Err("BUCKET0010"));
    late.land().unwrap_err();
    // Counts what is there.
    put("data", "other").unwrap();

    fs::remove_dir_all(granted.path().join("k")).unwrap();
    fs::remove_dir_all(kept.path().join("data/k")).unwrap();
    late.land().unwrap();
    assert_eq!(get(&buckets, "out", "k").unwrap(), "1");
    assert_eq!(get(&buckets, "data", "k").unwrap(), "2");
    put("out", "k").unwrap();
    put("data", "k").unwrap();
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
            place: None,
            key: key.to_owned(),
            gone: Some(there.etag.clone()),
        };
        let (mut refused, late) = buckets.land_all(&[row]);
        assert!(late.is_empty());
        let refused = refused.pop().unwrap().unwrap_err();
        assert_eq!(refused.code(), "BUCKET0003", "{key}");
    }
    assert_eq!(get(&buckets, "theirs", "object").unwrap(), "");
}

#[test]
fn many_land_together_and_one_that_cannot_keeps_none_of_the_others() {
    let (kept, granted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let buckets = open(kept.path(), granted.path());
    let one = |n: usize| {
        let key = format!("{}/{n}", n % 3);
        hold(
            &buckets,
            vec![
                put(&buckets, "data", &key, "new"),
                put(&buckets, "out", &key, "new"),
            ],
        )
    };
    let mut holdings: Vec<Holding> = (0..9).map(one).collect();
    // Somebody makes a folder by hand where the fifth is to be.
    fs::create_dir_all(granted.path().join("1/4/x")).unwrap();
    let landed = Holding::land_all(&mut holdings);
    let failed: Vec<usize> = (0..9).filter(|n| landed[*n].is_err()).collect();
    assert_eq!(failed, [4]);
    for (n, holding) in holdings.iter().enumerate() {
        let left: Vec<_> = holding.landings().map(|l| l.bucket.as_str()).collect();
        assert_eq!(left, if n == 4 { vec!["out"] } else { vec![] });
    }
    for bucket in ["data", "out"] {
        assert_eq!(get(&buckets, bucket, "2/8").unwrap(), "new");
    }
    // It comes about as soon as nothing is in its way.
    fs::remove_dir_all(granted.path().join("1/4")).unwrap();
    holdings[4].land().unwrap();
    assert_eq!(get(&buckets, "out", "1/4").unwrap(), "new");
}

#[test]
fn nothing_newer_takes_the_key_of_a_change_that_the_disk_refuses() {
    let (kept, granted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sure;
    {
        let buckets = open(kept.path(), granted.path());
        let mut holding = hold(&buckets, vec![put(&buckets, "out", "k", "older")]);
        fs::create_dir_all(granted.path().join("k/x")).unwrap();
        sure = rows(&holding);
        holding.land().unwrap_err();
        holding.give_way();
        fs::remove_dir_all(granted.path().join("k")).unwrap();
        // Readers and lists go on; who writes is refused, at once and by name.
        assert_eq!(get(&buckets, "out", "k"), Err("BUCKET0002"));
        assert!(buckets.bucket("out").unwrap().list("", None, 9).is_ok());
        let write = |buckets: &Buckets| {
            let upload = buckets.bucket("out").unwrap().put("k").unwrap();
            upload.finish().map_err(|e| e.code())
        };
        assert_eq!(write(&buckets).err(), Some("BUCKET0010"));
        let step = buckets.hold(vec![put(&buckets, "out", "k", "newer")], &[]);
        assert!(matches!(step, Err(Unheld::Refused(Error::OnItsWay { .. }))));
        let deletion = buckets.bucket("out").unwrap().delete("k");
        assert_eq!(deletion.map_err(|e| e.code()), Err("BUCKET0010"));
        // Not even when the thread ends that would try it again.
        drop(holding);
        assert_eq!(write(&buckets).err(), Some("BUCKET0010"));
    }
    // Nor in the next process, if that cannot make it either.
    let buckets = open(kept.path(), granted.path());
    buckets.sweep_staged(&names(&sure)).unwrap();
    fs::create_dir_all(granted.path().join("k/x")).unwrap();
    assert!(buckets.land_all(&sure).0[0].is_err());
    fs::remove_dir_all(granted.path().join("k")).unwrap();
    let upload = buckets.bucket("out").unwrap().put("k").unwrap();
    assert_eq!(upload.finish().unwrap_err().code(), "BUCKET0010");
    let buckets = open(kept.path(), granted.path());
    land(&buckets, &sure);
    assert_eq!(get(&buckets, "out", "k").unwrap(), "older");
}

#[test]
fn a_list_waits_for_what_was_on_its_way_and_not_for_what_comes() {
    let (kept, granted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let buckets = open(kept.path(), granted.path());
    let mut before = hold(&buckets, vec![put(&buckets, "data", "m", "1")]);
    let (told, listed) = std::sync::mpsc::channel();
    std::thread::spawn({
        let buckets = buckets.clone();
        move || told.send(buckets.bucket("data").unwrap().list("", None, 9))
    });
    let soon = Duration::from_millis(100);
    assert!(listed.recv_timeout(soon).is_err(), "it waits for the first");
    // There is always one on its way: others, and the same again.
    let _after = hold(&buckets, vec![put(&buckets, "data", "n", "2")]);
    before.land().unwrap();
    let _again = hold(&buckets, vec![put(&buckets, "data", "m", "3")]);
    let page = listed
        .recv_timeout(Duration::from_secs(20))
        .unwrap()
        .unwrap();
    let keys: Vec<_> = page.objects.into_iter().map(|object| object.key).collect();
    assert_eq!(keys, ["m"]);
    // What lies before the page, and in other folders, is nothing to it.
    let list = |prefix: &'static str, after: Option<&'static str>| {
        let buckets = buckets.clone();
        let (told, listed) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            told.send(buckets.bucket("data").unwrap().list(prefix, after, 9))
        });
        listed.recv_timeout(Duration::from_secs(2)).is_ok()
    };
    assert!(list("x", None) && list("", Some("n")));
    assert!(!list("", Some("m")));
}

#[test]
fn a_step_begins_no_object_while_too_many_are_on_their_way() {
    let (kept, granted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let buckets = open(kept.path(), granted.path());
    let some = |from: usize, to: usize| {
        let keys = (from..to).map(|n| n.to_string());
        let each = keys.map(|key| {
            fs::write(granted.path().join(&key), "").unwrap();
            delete(&buckets, "out", &key)
        });
        hold(&buckets, each.collect())
    };
    let mut first = some(0, 1_023);
    buckets.calm().unwrap();
    let _one_more = some(1_023, 1_024);
    let (told, calm) = std::sync::mpsc::channel();
    std::thread::spawn({
        let buckets = buckets.clone();
        move || told.send(buckets.calm())
    });
    assert!(calm.recv_timeout(Duration::from_millis(100)).is_err());
    first.land().unwrap();
    calm.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
}
