//! Transactions over a memory store: what conflicts, who waits, and what lands.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use stepwell_store::memory::Memory;
use stepwell_store::{Batch, Key, NamespaceSize, Quota, Range, Reader, Writer as _};
use stepwell_types::Effects;

use super::view::{Place, Stop};
use super::*;

fn view(all: &Namespaces) -> View {
    let journal = crate::journal::for_tests();
    View::new(all.clone(), journal)
}

fn place(key: &str) -> Place {
    ("m/own".into(), key.into())
}

/// What is there at once; `None`: it waits.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn get(view: &mut View, key: &str) -> Option<Option<String>> {
    let value = now(view.get(&place(key)))?.expect("readable");
    Some(value.map(|bytes| String::from_utf8(bytes).expect("text")))
}

fn put(view: &mut View, key: &str, value: &str) {
    view.put(place(key), Some(value.as_bytes().to_vec()))
        .expect("room");
}

fn end(all: &Namespaces, view: View) -> Result<Option<Effects>, ()> {
    all.end(view.end(), &mut None)
        .map_err(|conflict| match conflict {
            Conflict::Lost(_) => (),
            Conflict::Failed(failure) => panic!("{failure:?}"),
        })
}

/// As the driver does it.
fn land(memory: &Memory, effects: Effects) {
    let mut batch = Batch::default();
    for growth in &effects.growth {
        let key = Key::NamespaceSize {
            namespace: growth.namespace.clone(),
            writer: 0,
        };
        let row = memory.get(&key).expect("readable");
        let before = row.and_then(|row| NamespaceSize::from_row(&row));
        batch.put(key, (before.unwrap_or_default() + growth.into()).to_row());
    }
    for write in effects.writes {
        let key = Key::KeyValue {
            namespace: write.namespace,
            key: write.key,
        };
        match write.value {
            Some(value) => batch.put(key, value),
            None => batch.delete(key),
        }
    }
    memory.writer().commit(&[batch]).expect("committed");
    effects.hold.landed();
}

/// Keys and bytes, as the rows say.
fn size(memory: &Memory) -> (i64, i64) {
    let range = Range::NamespaceSizes {
        namespace: Some("m/own".into()),
        after: None,
    };
    let rows = memory.scan(&range, usize::MAX).expect("readable");
    let size = rows
        .iter()
        .filter_map(|(_, row)| NamespaceSize::from_row(row));
    size.fold((0, 0), |sum, size| (sum.0 + size.keys, sum.1 + size.bytes))
}

#[test]
fn a_namespace_has_no_more_than_its_quota() {
    let memory = Memory::new();
    let quotas = || Quotas {
        each: EACH,
        named: [("m/own".to_owned(), Quota { keys: 3, bytes: 12 })].into(),
    };
    let all = Namespaces::of(Arc::new(memory.clone()), quotas());
    let refused = |view: &mut View, key: &str, value: &str| match view
        .put(place(key), Some(value.as_bytes().to_vec()))
    {
        Err(Stop::Refused(why)) => assert!(why.starts_with("Stepwell.NamespaceFull: "), "{why}"),
        other => panic!("{key}: {other:?}"),
    };
    let mut first = view(&all);
    put(&mut first, "a", "123");
    put(&mut first, "b", "123");
    // As large as it may be, and not a byte more; what is written over counts once.
    refused(&mut first, "c", "1234");
    put(&mut first, "c", "1");
    put(&mut first, "c", "12");
    put(&mut first, "c", "123");
    refused(&mut first, "d", "");
    refused(&mut first, "c", "1234");
    // Another, at once, sees room still: the first to end has it.
    let mut second = view(&all);
    put(&mut second, "d", "123");
    let effects = end(&all, first).expect("no conflict").expect("writes");
    let full = all.end(second.end(), &mut None);
    assert!(
        matches!(&full, Err(Conflict::Failed(f)) if *f.error == *"Stepwell.NamespaceFull"),
        "{full:?}"
    );
    land(&memory, effects);
    assert_eq!(size(&memory), (3, 12));

    // What is given up takes no room; what is made smaller gives some.
    let mut third = view(&all);
    put(&mut third, "c", "");
    drop(end(&all, third).expect("no conflict"));
    refused(&mut view(&all), "d", "");
    let mut fourth = view(&all);
    fourth.put(place("a"), None).expect("room");
    put(&mut fourth, "d", "12");
    land(
        &memory,
        end(&all, fourth).expect("no conflict").expect("writes"),
    );
    assert_eq!(size(&memory), (3, 11));

    // The next process counts on from the rows; one who is no step deletes like a step.
    let all = Namespaces::of(Arc::new(memory.clone()), quotas());
    refused(&mut view(&all), "e", "");
    let keys = ["b".into(), "c".into(), "never".into()];
    let removal = now(all.remove(&"m/own".into(), &keys)).expect("nobody holds them");
    let removal = removal.expect("readable").expect("writes");
    assert_eq!(get(&mut view(&all), "b"), None, "held");
    land(&memory, removal);
    assert_eq!(size(&memory), (1, 3));
    put(&mut view(&all), "e", "123456");
}

#[test]
fn writes_are_seen_by_others_when_they_have_landed_and_held_until_then() {
    let memory = Memory::new();
    let all = Namespaces::of(Arc::new(memory.clone()), Quotas::default());
    let mut first = view(&all);
    put(&mut first, "k", "1");
    assert_eq!(get(&mut first, "k"), Some(Some("1".into())), "its own");
    assert_eq!(get(&mut view(&all), "k"), Some(None));
    let effects = end(&all, first).expect("no conflict").expect("a write");
    let mut other = view(&all);
    assert_eq!(get(&mut other, "k"), None, "who comes now waits");
    assert_eq!(get(&mut other, "l"), Some(None), "for this key alone");
    assert!(
        now(other.list(&"m/own".into(), None)).is_none(),
        "a listing too"
    );
    assert!(now(other.list(&"m/else".into(), None)).is_some());
    land(&memory, effects);
    assert_eq!(get(&mut other, "k"), Some(Some("1".into())));

    // What is given up is as if it had never been.
    let mut lost = view(&all);
    put(&mut lost, "k", "2");
    drop(end(&all, lost).expect("no conflict"));
    assert_eq!(get(&mut view(&all), "k"), Some(Some("1".into())));
}

#[test]
fn what_was_read_must_still_be_so() {
    let memory = Memory::new();
    let all = Namespaces::of(Arc::new(memory.clone()), Quotas::default());
    let check = |reads: &dyn Fn(&mut View), writes: &dyn Fn(&mut View), fits: bool, why: &str| {
        let mut slow = view(&all);
        reads(&mut slow);
        let mut quick = view(&all);
        writes(&mut quick);
        let effects = end(&all, quick).expect("nobody is in its way");
        land(&memory, effects.expect("a write"));
        put(&mut slow, "mine", "x");
        assert_eq!(end(&all, slow).is_ok(), fits, "{why}");
    };
    let read = |key: &'static str| move |view: &mut View| drop(get(view, key));
    let write =
        |key: &'static str, value: &'static str| move |view: &mut View| put(view, key, value);
    let delete =
        |key: &'static str| move |view: &mut View| view.put(place(key), None).expect("room");
    let list = |view: &mut View| drop(now(view.list(&"m/own".into(), None)));
    check(&read("a"), &write("a", "1"), false, "a key came");
    check(
        &read("a"),
        &write("a", "1"),
        true,
        "it has the value that it had",
    );
    check(&read("a"), &write("b", "1"), true, "another key");
    check(&read("a"), &delete("a"), false, "it went");
    check(&list, &write("c", "1"), false, "a key came into the list");
    check(&list, &write("c", "2"), true, "the same keys");
    check(&list, &delete("c"), false, "one went");
    check(&|_| {}, &write("mine", "y"), true, "it read nothing");
}

#[test]
fn a_listing_comes_page_by_page_with_what_the_step_itself_wrote() {
    let memory = Memory::new();
    let all = Namespaces::of(Arc::new(memory.clone()), Quotas::default());
    let key = |n: usize| format!("k{n:04}");
    let mut first = view(&all);
    for n in 0..2_500 {
        put(&mut first, &key(2 * n), "x");
    }
    let effects = end(&all, first).expect("no conflict").expect("writes");
    land(&memory, effects);

    let pages = |view: &mut View| {
        let (mut pages, mut cursor) = (Vec::new(), None);
        loop {
            let listed = now(view.list(&"m/own".into(), cursor));
            let (keys, next) = listed.expect("at once").expect("readable");
            pages.push(keys);
            cursor = next;
            if cursor.is_none() {
                return pages;
            }
        }
    };
    let mut reads = view(&all);
    let sizes: Vec<usize> = pages(&mut reads).iter().map(Vec::len).collect();
    assert_eq!(sizes, [1_000, 1_000, 500]);
    // A page that is full may be the last: then an empty one follows.
    for n in 2_000..2_500 {
        reads.put(place(&key(2 * n)), None).expect("room");
    }
    // At the beginning, on both sides of the first page's end, and at the very end.
    for n in [1, 1_997, 1_999, 4_999] {
        put(&mut reads, &key(n), "x");
    }
    reads.put(place(&key(1_998)), None).expect("room");
    let listed = pages(&mut reads);
    let sizes: Vec<usize> = listed.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1_001, 1_001, 1]);
    let together: Vec<String> = listed.into_iter().flatten().collect();
    let even = (0..2_000).map(|n| 2 * n).filter(|n| *n != 1_998);
    let mut expected: Vec<String> = even.chain([1, 1_997, 1_999, 4_999]).map(key).collect();
    expected.sort();
    assert_eq!(together, expected, "in order, each once");

    // A cursor belongs to its namespace and its step.
    for (namespace, cursor) in [("m/else", 0), ("m/own", 99), ("m/own", u64::MAX)] {
        let listed = now(reads.list(&namespace.into(), Some(cursor))).expect("at once");
        assert!(
            matches!(listed, Err(Stop::Refused(_))),
            "{namespace} {cursor}"
        );
    }

    // What comes into a page that was read is noticed, and what comes into one that was not is not.
    let check = |pages_read: usize, n: usize, fits: bool| {
        let mut slow = view(&all);
        let mut cursor = None;
        for _ in 0..pages_read {
            let listed = now(slow.list(&"m/own".into(), cursor)).expect("at once");
            cursor = listed.expect("readable").1;
        }
        put(&mut slow, "mine", "x");
        let mut quick = view(&all);
        put(&mut quick, &key(n), "x");
        let effects = end(&all, quick).expect("nobody is in its way");
        land(&memory, effects.expect("a write"));
        assert_eq!(end(&all, slow).is_ok(), fits, "{pages_read} pages, {n}");
    };
    check(1, 3_001, true);
    check(2, 3_003, false);
    check(1, 5, false);
}

/// Does something while a row is read.
struct Meddler {
    memory: Memory,
    meddle: parking_lot::Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Reader for Meddler {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, stepwell_store::Error> {
        let meddle = self.meddle.lock().take();
        if let Some(meddle) = meddle {
            meddle();
        }
        self.memory.get(key)
    }

    fn scan(
        &self,
        range: &Range,
        limit: usize,
    ) -> Result<Vec<(Key, Vec<u8>)>, stepwell_store::Error> {
        self.memory.scan(range, limit)
    }

    fn free_bytes(&self) -> Result<u64, stepwell_store::Error> {
        self.memory.free_bytes()
    }
}

#[test]
fn nobody_waits_while_a_step_that_ends_reads_the_store() {
    let reader = Arc::new(Meddler {
        memory: Memory::new(),
        meddle: parking_lot::Mutex::new(None),
    });
    let all = Namespaces::of(reader.clone(), Quotas::default());
    let (mut ends, others) = (view(&all), all.clone());
    get(&mut ends, "read").expect("at once");
    put(&mut ends, "written", "1");
    *reader.meddle.lock() = Some(Box::new(move || {
        let (told, hears) = std::sync::mpsc::channel();
        // On a thread of its own: if it had to wait, it would for ever.
        std::thread::spawn(move || {
            let mut other = view(&others);
            put(&mut other, "elsewhere", "2");
            let read = get(&mut other, "free") == Some(None);
            let held = get(&mut other, "written").is_none();
            let _ = told.send((read, held, end(&others, other).is_ok()));
        });
        let heard = hears.recv_timeout(std::time::Duration::from_secs(30));
        assert_eq!(heard, Ok((true, true, true)));
    }));
    assert!(end(&all, ends).is_ok());
    assert!(reader.meddle.lock().is_none(), "the store was read");
}

#[test]
fn two_writers_of_a_key_meet_and_a_value_that_changed_in_between_is_noticed() {
    let memory = Memory::new();
    let all = Namespaces::of(Arc::new(memory.clone()), Quotas::default());
    let (mut first, mut second, mut third) = (view(&all), view(&all), view(&all));
    put(&mut first, "k", "1");
    put(&mut second, "k", "2");
    assert_eq!(get(&mut third, "k"), Some(None));
    let effects = end(&all, first).expect("no conflict").expect("a write");
    assert!(end(&all, second).is_err(), "the key is held");
    land(&memory, effects);
    let again = now(third.get(&place("k")));
    assert!(matches!(again, Some(Err(Stop::Changed))), "{again:?}");
}

#[test]
fn turns_come_one_after_another_and_end_when_the_writes_have_landed() {
    let memory = Memory::new();
    let all = Namespaces::of(Arc::new(memory.clone()), Quotas::default());
    let wants = |all: &Namespaces| {
        let mut view = view(all);
        put(&mut view, "k", "1");
        view.end()
    };
    let touched = wants(&all);
    let mut turn = now(all.turn(&touched));
    assert!(turn.is_some());
    let mut next = Box::pin(all.turn(&wants(&all)));
    assert!(now(next.as_mut()).is_none());
    let effects = all
        .end(touched, &mut turn)
        .expect("no conflict")
        .expect("a write");
    assert!(turn.is_none() && now(next.as_mut()).is_none());
    land(&memory, effects);
    assert!(now(next.as_mut()).is_some());
}
