//! The layout is a promise to every data directory: these bytes never change.

use super::*;

const ID: ExecutionId = ExecutionId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
const ID_HEX: &str = "000102030405060708090a0b0c0d0e0f";

fn check(key: &Key, hex: &str) {
    let mut bytes = vec![1, 2, 3];
    encode(key, &mut bytes);
    let written: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(
        written,
        hex.replace(' ', "").replace("ID", ID_HEX),
        "{key:?}"
    );
    assert_eq!(decode(&bytes).expect("it was just encoded"), *key);
    // Nothing shorter or longer is taken for a key.
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end]).is_err(), "{key:?} cut at {end}");
    }
    bytes.push(0);
    assert_eq!(
        decode(&bytes).expect_err("a byte too much").code(),
        "STORE0002"
    );
}

#[test]
fn layout() {
    let (execution, flow, name): (_, Arc<str>, Arc<str>) = (ID, "f".into(), "a\0b".into());
    let seq = 0x0102;
    check(&Key::Log { execution, seq }, "0101 ID 0000000000000102");
    check(&Key::Checkpoint { execution }, "0102 ID");
    check(&Key::Summary { execution }, "0103 ID");
    let key = Key::FlowExecution {
        flow: flow.clone(),
        execution,
    };
    check(&key, "0104 66 0000 ID");
    let key = Key::Name {
        flow: flow.clone(),
        name: name.clone(),
    };
    check(&key, "0105 66 0000 61 00ff 62 0000");
    check(&Key::Hot { execution }, "0106 06 ID");
    for (at, hex) in [
        (-1, "7fffffffffffffff"),
        (0, "8000000000000000"),
        (i64::MIN, "0000000000000000"),
        (i64::MAX, "ffffffffffffffff"),
    ] {
        let at = Timestamp(at);
        check(&Key::Timer { at, execution }, &format!("0107 06 {hex} ID"));
    }
    let digest = Digest([0xab; 32]);
    check(&Key::Blob { digest }, &format!("0108 {}", "ab".repeat(32)));
    let key = Key::Outbox {
        shard: ShardId(63),
        execution,
        number: 1,
    };
    check(&key, "0109 3f ID 0000000000000001");
    let key = Key::Usage {
        flow: flow.clone(),
        day: 256,
        writer: 2,
    };
    check(&key, "010a 66 0000 00000100 02");
    let key = Key::Flow {
        name: name.clone(),
        version: 9,
    };
    check(&key, "010b 61 00ff 62 0000 00000009");
    check(&Key::Module { name: name.clone() }, "010c 61 00ff 62 0000");
    check(&Key::Trigger { flow }, "010d 66 0000");
    let key = Key::Activity {
        name: name.clone(),
        execution,
        entry: EntryId(2),
        attempt: 3,
    };
    check(&key, "010f 61 00ff 62 0000 ID 0000000000000002 00000003");
    check(&Key::Secret { name: name.clone() }, "0112 61 00ff 62 0000");
    let key = Key::KeyValue {
        namespace: "n".into(),
        key: name.clone(),
    };
    check(&key, "0113 6e 0000 61 00ff 62 0000");
    let key = Key::Signal {
        execution: ID,
        key: Digest([0xab; 32]),
    };
    check(&key, &format!("0114 ID {}", "ab".repeat(32)));
    let key = Key::NamespaceSize {
        namespace: name.clone(),
        writer: 7,
    };
    check(&key, "0115 61 00ff 62 0000 07");
    check(&Key::Landing { name: name.clone() }, "0116 61 00ff 62 0000");
    check(&Key::Meta { name }, "010e 61 00ff 62 0000");
    let key = Key::MapResult {
        execution,
        entry: EntryId(2),
        run: 3,
        slot: 4,
    };
    check(&key, "0111 ID 0000000000000002 00000003 00000004");
}

#[test]
fn damaged_keys_are_refused() {
    let id = ID.0.as_slice();
    for (why, bytes) in [
        ("nothing", vec![]),
        ("another project", [&[2, 3], id].concat()),
        ("no such kind", [&[1, 0], id].concat()),
        ("a kind to come", [&[1, 16], id].concat()),
        ("a hot row on another shard", [&[1, 6, 7], id].concat()),
        (
            "a timer on another shard",
            [&[1, 7, 7, 0, 0, 0, 0, 0, 0, 0, 0], id].concat(),
        ),
        ("text without an end", vec![1, 12, b'a']),
        ("text with an unknown mark", vec![1, 12, b'a', 0, 7, 0, 0]),
        ("text that is not UTF-8", vec![1, 12, 0xff, 0, 0]),
    ] {
        let error = decode(&bytes).expect_err(why);
        assert_eq!(error.code(), "STORE0002", "{why}");
    }
}

#[test]
fn the_log_prefix_is_what_the_filter_cuts() {
    let bounds = bounds(&Range::Log {
        execution: ID,
        from_seq: 7,
    });
    assert_eq!(bounds.lower.len(), LOG_PREFIX_BYTES + 8);
    assert_eq!(bounds.upper.len(), LOG_PREFIX_BYTES);
    assert_eq!(after_prefix(&[1, 2, 0xff, 0xff]), [1, 3]);
}
