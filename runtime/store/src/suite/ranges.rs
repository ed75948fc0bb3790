//! Order and bounds of every range.

use std::sync::Arc;

use stepwell_types::{ExecutionId, ShardId, Timestamp};

use super::{Place, id};
use crate::{Batch, Key, Range, Reader, Writer};

/// Each group lists keys of one kind in the order of the store; ranges name places in it.
pub(super) fn order_and_bounds<P: Place>(place: &mut P) {
    let (reader, mut writer) = place.open();
    let mut batch = Batch::default();
    let groups = groups();
    // Written back to front, so that the order that comes out isn't the one that went in.
    for (i, key) in groups.iter().flatten().rev().enumerate() {
        batch.put(key.clone(), i.to_be_bytes());
    }
    writer.commit(&[batch]).unwrap();
    check_all(&reader, &groups);
    drop((reader, writer));
    check_all(&place.open().0, &groups);
}

fn check_all(reader: &impl Reader, groups: &[Vec<Key>]) {
    for (range, first, last) in table() {
        check(reader, groups, &range, first, last);
    }
}

/// The range must give the keys from `first` to `last` of its group, both included;
/// `first > last` reads backwards; both empty: nothing.
fn check(reader: &impl Reader, groups: &[Vec<Key>], range: &Range, first: At, last: At) {
    let expected: Vec<&Key> = match (first, last) {
        (At::Nothing, _) | (_, At::Nothing) => Vec::new(),
        (At::Key(group, a), At::Key(_, b)) if a <= b => groups[group][a..=b].iter().collect(),
        (At::Key(group, a), At::Key(_, b)) => groups[group][b..=a].iter().rev().collect(),
    };
    let found = reader.scan(range, 1_000).unwrap();
    let keys: Vec<&Key> = found.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, expected, "{range:?}");
    for (key, value) in &found {
        assert_eq!(reader.get(key).unwrap().as_ref(), Some(value), "{key:?}");
    }
    let members = groups.iter().flatten().filter(|k| range.contains(k));
    assert_eq!(
        members.count(),
        expected.len(),
        "Range::contains of {range:?}"
    );
    for limit in 0..=expected.len() {
        let found = reader.scan(range, limit).unwrap();
        let keys: Vec<&Key> = found.iter().map(|(key, _)| key).collect();
        assert_eq!(keys, expected[..limit], "{limit} rows of {range:?}");
    }
}

#[derive(Clone, Copy)]
enum At {
    Key(usize, usize),
    Nothing,
}

const HIGH: ExecutionId = ExecutionId([
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 63, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
]);

fn groups() -> Vec<Vec<Key>> {
    let (old, mid, new) = (id(1, 3, 0), id(255, 3, 9), id(256, 3, 0));
    let log = |execution, seq| Key::Log { execution, seq };
    let summary = |execution| Key::Summary { execution };
    let of_flow = |flow: &str, execution| Key::FlowExecution {
        flow: flow.into(),
        execution,
    };
    let hot = |execution| Key::Hot { execution };
    let timer = |at, execution| Key::Timer {
        at: Timestamp(at),
        execution,
    };
    let outbox = |shard, execution, number| Key::Outbox {
        shard: ShardId(shard),
        execution,
        number,
    };
    let usage = |flow: &str, day, writer| Key::Usage {
        flow: flow.into(),
        day,
        writer,
    };
    let flow = |name: &str, version| Key::Flow {
        name: name.into(),
        version,
    };
    let module = |name: &str| Key::Module { name: name.into() };
    let trigger = |flow: &str| Key::Trigger { flow: flow.into() };
    let secret = |name: &str| Key::Secret { name: name.into() };
    let kept = |namespace: &str, key: &str| Key::KeyValue {
        namespace: namespace.into(),
        key: key.into(),
    };
    let landing = |name: &str| Key::Landing { name: name.into() };
    let size = |namespace: &str, writer| Key::NamespaceSize {
        namespace: namespace.into(),
        writer,
    };
    vec![
        // 0
        vec![
            log(old, 0),
            log(old, 7),
            log(old, 255),
            log(old, 256),
            log(old, u64::MAX),
            log(mid, 0),
            log(HIGH, 5),
        ],
        // 1
        vec![summary(old), summary(mid), summary(new), summary(HIGH)],
        // 2
        vec![
            of_flow("a", old),
            of_flow("a", HIGH),
            of_flow("a\u{0}", mid),
            of_flow("ab", mid),
            of_flow("b", old),
            of_flow("b", mid),
            of_flow("b", new),
        ],
        // 3
        vec![
            hot(id(9, 0, 1)),
            hot(old),
            hot(mid),
            hot(new),
            hot(id(0, 4, 0)),
            hot(HIGH),
        ],
        // 4
        vec![
            timer(i64::MAX, id(5, 2, 0)),
            timer(i64::MIN, mid),
            timer(-1, old),
            timer(0, old),
            timer(0, mid),
            timer(255, old),
            timer(256, old),
            timer(i64::MAX, old),
            timer(i64::MIN, id(5, 4, 0)),
            timer(8, HIGH),
        ],
        // 5: an outbox row lives on the shard that the key names.
        vec![
            outbox(2, HIGH, 4),
            outbox(3, old, 0),
            outbox(3, old, 255),
            outbox(3, old, 256),
            outbox(3, mid, 0),
            outbox(4, old, 1),
        ],
        // 6
        vec![
            usage("a", 9, 0),
            usage("a", 255, 255),
            usage("a", 256, 0),
            usage("aa", 1, 0),
            usage("b", 0, 0),
            usage("b", u32::MAX, 1),
        ],
        // 7
        vec![
            flow("a", 1),
            flow("a", 255),
            flow("a", 256),
            flow("a\u{0}", 1),
            flow("aa", 3),
            flow("b", u32::MAX),
        ],
        // 8
        vec![module(""), module("a"), module("a\u{0}"), module("aa")],
        // 9
        vec![trigger("a"), trigger("b")],
        // 10
        vec![secret("a"), secret("a\u{0}"), secret("b")],
        // 11
        vec![
            kept("a", "a"),
            kept("a", "a\u{0}"),
            kept("a", "b"),
            kept("a\u{0}", "a"),
            kept("b", "a"),
        ],
        // 12
        vec![
            size("a", 0),
            size("a", 255),
            size("a\u{0}", 1),
            size("b", 0),
        ],
        // 13
        vec![landing("a"), landing("a\u{0}"), landing("b")],
        // 14: neighbours that no range reads.
        vec![
            Key::Checkpoint { execution: old },
            Key::Checkpoint { execution: HIGH },
            Key::Meta { name: "a".into() },
            Key::Name {
                flow: "a".into(),
                name: "b".into(),
            },
        ],
    ]
}

fn table() -> Vec<(Range, At, At)> {
    let mut table = by_execution();
    table.extend(by_shard());
    table.extend(by_name());
    table
}

fn by_execution() -> Vec<(Range, At, At)> {
    let k = At::Key;
    let no = At::Nothing;
    let (old, mid, new) = (id(1, 3, 0), id(255, 3, 9), id(256, 3, 0));
    let log = |execution, from_seq| Range::Log {
        execution,
        from_seq,
    };
    let summaries = |before| Range::Summaries { before };
    let of_flow = |flow: &str, before| Range::FlowExecutions {
        flow: flow.into(),
        before,
    };
    vec![
        (log(old, 0), k(0, 0), k(0, 4)),
        (log(old, 7), k(0, 1), k(0, 4)),
        (log(old, 8), k(0, 2), k(0, 4)),
        (log(old, u64::MAX), k(0, 4), k(0, 4)),
        (log(mid, 0), k(0, 5), k(0, 5)),
        (log(mid, 1), no, no),
        (log(new, 0), no, no),
        (log(HIGH, 5), k(0, 6), k(0, 6)),
        (summaries(None), k(1, 3), k(1, 0)),
        (summaries(Some(HIGH)), k(1, 2), k(1, 0)),
        (summaries(Some(mid)), k(1, 0), k(1, 0)),
        (summaries(Some(id(256, 4, 0))), k(1, 2), k(1, 0)),
        (summaries(Some(old)), no, no),
        (of_flow("a", None), k(2, 1), k(2, 0)),
        (of_flow("a", Some(HIGH)), k(2, 0), k(2, 0)),
        (of_flow("a\u{0}", None), k(2, 2), k(2, 2)),
        (of_flow("b", None), k(2, 6), k(2, 4)),
        (of_flow("b", Some(new)), k(2, 5), k(2, 4)),
        (of_flow("b", Some(old)), no, no),
        (of_flow("", None), no, no),
        (of_flow("c", None), no, no),
    ]
}

fn by_shard() -> Vec<(Range, At, At)> {
    let k = At::Key;
    let no = At::Nothing;
    let (old, mid, new) = (id(1, 3, 0), id(255, 3, 9), id(256, 3, 0));
    let hot = |shard, after| Range::Hot {
        shard: ShardId(shard),
        after,
    };
    let timers = |shard, from| Range::Timers {
        shard: ShardId(shard),
        from: Timestamp(from),
    };
    let outbox = |shard, after| Range::Outbox {
        shard: ShardId(shard),
        after,
    };
    vec![
        (hot(0, None), k(3, 0), k(3, 0)),
        (hot(1, None), no, no),
        (hot(3, None), k(3, 1), k(3, 3)),
        (hot(3, Some(old)), k(3, 2), k(3, 3)),
        (hot(3, Some(new)), no, no),
        // An id of another shard as the cursor is unusual, and still means "sorts after".
        (hot(3, Some(id(255, 2, 0))), k(3, 2), k(3, 3)),
        (hot(3, Some(id(255, 4, 0))), k(3, 3), k(3, 3)),
        (hot(4, None), k(3, 4), k(3, 4)),
        (hot(63, None), k(3, 5), k(3, 5)),
        (hot(63, Some(HIGH)), no, no),
        (timers(2, i64::MIN), k(4, 0), k(4, 0)),
        (timers(3, i64::MIN), k(4, 1), k(4, 7)),
        (timers(3, i64::MIN + 1), k(4, 2), k(4, 7)),
        (timers(3, 0), k(4, 3), k(4, 7)),
        (timers(3, 1), k(4, 5), k(4, 7)),
        (timers(3, 256), k(4, 6), k(4, 7)),
        (timers(3, i64::MAX), k(4, 7), k(4, 7)),
        (timers(4, i64::MAX), no, no),
        (timers(63, 0), k(4, 9), k(4, 9)),
        (outbox(0, None), no, no),
        (outbox(3, None), k(5, 1), k(5, 4)),
        (outbox(3, Some((old, 0))), k(5, 2), k(5, 4)),
        (outbox(3, Some((old, 255))), k(5, 3), k(5, 4)),
        (outbox(3, Some((old, u64::MAX))), k(5, 4), k(5, 4)),
        (outbox(3, Some((mid, 0))), no, no),
        (outbox(4, None), k(5, 5), k(5, 5)),
    ]
}

fn by_name() -> Vec<(Range, At, At)> {
    let k = At::Key;
    let no = At::Nothing;
    let text = |t: &str| -> Option<Arc<str>> { Some(t.into()) };
    let usage = |flow, after: Option<(&str, u32)>| Range::Usage {
        flow,
        after: after.map(|(flow, day)| (flow.into(), day)),
    };
    let flows = |name, after: Option<(&str, u32)>| Range::Flows {
        name,
        after: after.map(|(name, version)| (name.into(), version)),
    };
    let modules = |after| Range::Modules { after };
    let secrets = |after| Range::Secrets { after };
    let kept = |namespace: &str, after| Range::KeyValues {
        namespace: namespace.into(),
        after,
    };
    let landings = |after| Range::Landings { after };
    let sizes = |namespace, after| Range::NamespaceSizes { namespace, after };
    vec![
        (usage(None, None), k(6, 0), k(6, 5)),
        (usage(None, Some(("a", 255))), k(6, 2), k(6, 5)),
        (usage(None, Some(("a", u32::MAX))), k(6, 3), k(6, 5)),
        (usage(None, Some(("b", u32::MAX))), no, no),
        (usage(text("a"), None), k(6, 0), k(6, 2)),
        (usage(text("a"), Some(("a", 8))), k(6, 0), k(6, 2)),
        (usage(text("a"), Some(("a", 256))), no, no),
        (usage(text("aa"), Some(("a", 9))), k(6, 3), k(6, 3)),
        (usage(text("b"), None), k(6, 4), k(6, 5)),
        (usage(text(""), None), no, no),
        (flows(None, None), k(7, 0), k(7, 5)),
        (flows(None, Some(("a", 1))), k(7, 1), k(7, 5)),
        (flows(None, Some(("a", u32::MAX))), k(7, 3), k(7, 5)),
        (flows(None, Some(("b", u32::MAX))), no, no),
        (flows(text("a"), None), k(7, 0), k(7, 2)),
        (flows(text("a"), Some(("a", 255))), k(7, 2), k(7, 2)),
        (flows(text("a"), Some(("a", 256))), no, no),
        (flows(text("a"), Some(("", 9))), k(7, 0), k(7, 2)),
        (flows(text("a"), Some(("aa", 1))), no, no),
        (flows(text("aa"), Some(("a", 7))), k(7, 4), k(7, 4)),
        (flows(text("c"), None), no, no),
        (modules(None), k(8, 0), k(8, 3)),
        (modules(text("")), k(8, 1), k(8, 3)),
        (modules(text("a")), k(8, 2), k(8, 3)),
        (modules(text("aa")), no, no),
        (Range::Triggers, k(9, 0), k(9, 1)),
        (secrets(None), k(10, 0), k(10, 2)),
        (secrets(text("a")), k(10, 1), k(10, 2)),
        (secrets(text("b")), no, no),
        (kept("a", None), k(11, 0), k(11, 2)),
        (kept("a", text("a")), k(11, 1), k(11, 2)),
        (kept("a", text("b")), no, no),
        (kept("b", None), k(11, 4), k(11, 4)),
        (kept("c", None), no, no),
        (sizes(None, None), k(12, 0), k(12, 3)),
        (sizes(None, text("a")), k(12, 2), k(12, 3)),
        (sizes(None, text("b")), no, no),
        (sizes(text("a"), None), k(12, 0), k(12, 1)),
        (sizes(text("a"), text("a")), no, no),
        (sizes(text("b"), text("a")), k(12, 3), k(12, 3)),
        (sizes(text("c"), None), no, no),
        (landings(None), k(13, 0), k(13, 2)),
        (landings(text("a")), k(13, 1), k(13, 2)),
        (landings(text("b")), no, no),
    ]
}

/// Timers and hot rows come and go: what is left is right, and in pages too.
pub(super) fn many_rows<P: Place>(place: &mut P) {
    const ROWS: i64 = 4_000;
    let (reader, mut writer) = place.open();
    let timer = |i: i64| Key::Timer {
        at: Timestamp(i),
        execution: id(i, 1, 0),
    };
    let summary = |i: i64| Key::Summary {
        execution: id(i, 1, 0),
    };
    let mut batch = Batch::default();
    for i in 0..ROWS {
        batch.put(timer(i), "");
        batch.put(summary(i), "");
    }
    writer.commit(&[batch]).unwrap();
    for chunk in 0..(ROWS - 100) / 100 {
        let mut batch = Batch::default();
        (0..100).for_each(|i| batch.delete(timer(chunk * 100 + i)));
        writer.commit(&[batch]).unwrap();
    }
    let left = reader
        .scan(
            &Range::Timers {
                shard: ShardId(1),
                from: Timestamp(0),
            },
            usize::MAX,
        )
        .unwrap();
    let expected: Vec<Key> = (ROWS - 100..ROWS).map(timer).collect();
    assert_eq!(
        left.into_iter().map(|(k, _)| k).collect::<Vec<_>>(),
        expected
    );

    let (mut before, mut pages) = (None, Vec::new());
    loop {
        let page = reader.scan(&Range::Summaries { before }, 333).unwrap();
        let Some((Key::Summary { execution }, _)) = page.last() else {
            break;
        };
        before = Some(*execution);
        pages.extend(page.into_iter().map(|(key, _)| key));
    }
    let expected: Vec<Key> = (0..ROWS).rev().map(summary).collect();
    assert_eq!(pages, expected, "pages of summaries, newest first");
}
