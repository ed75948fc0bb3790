//! Pages of items: the same items however they are split, as a library reads them, and no panic
//! from any bytes.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::{Value, json};
use stepwell_buckets::{Buckets, Grant, Options, items};
use stepwell_types::items::{ItemCursor, ItemFormat, ItemPlace, ItemRead, ItemSource};

struct House {
    dir: tempfile::TempDir,
    buckets: Buckets,
}

fn house() -> House {
    let dir = tempfile::tempdir().unwrap();
    let grant = Grant {
        name: "b".into(),
        path: dir.path().into(),
        write: true,
    };
    let options = Options {
        kept: None,
        granted: vec![grant],
        object_bytes_max: 1 << 30,
        instance: String::new(),
    };
    let buckets = Buckets::open(&options).unwrap();
    House { dir, buckets }
}

fn object(format: ItemFormat) -> ItemPlace {
    let key = "k".into();
    ItemPlace::Object { key, format }
}

fn json_at(pointer: Option<&str>) -> ItemPlace {
    object(ItemFormat::Json {
        pointer: pointer.map(Arc::from),
    })
}

fn csv(header: Option<&[&str]>, delimiter: u8) -> ItemPlace {
    let header = header.map(|names| names.iter().map(|n| Arc::from(*n)).collect());
    object(ItemFormat::Csv { header, delimiter })
}

/// One page's items and what comes next, or the cause of the failure.
type Read = Result<(Vec<Value>, Option<String>), String>;

impl House {
    fn write(&self, bytes: &[u8]) {
        std::fs::write(self.dir.path().join("k"), bytes).unwrap();
    }

    fn page(&self, place: &ItemPlace, cursor: Option<&str>, items: u32, bytes: u32) -> Read {
        let read = ItemRead {
            source: ItemSource {
                bucket: "b".into(),
                place: place.clone(),
            },
            cursor: cursor.map(|c| ItemCursor(c.into())),
            items_max: items,
            bytes_max: bytes,
        };
        let page = items::read(&self.buckets, &read).map_err(|failure| {
            assert_eq!(&*failure.error, "States.ItemReaderFailed");
            failure.cause.to_string()
        })?;
        let page: Value = serde_json::from_str(page.text()).expect("a page is valid JSON");
        let items = page["items"].as_array().unwrap().clone();
        Ok((items, page["next"].as_str().map(str::to_owned)))
    }

    /// All pages' items.
    fn all(&self, place: &ItemPlace, items: u32, bytes: u32) -> Result<Vec<Value>, String> {
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let (page, next) = self.page(place, cursor.as_deref(), items, bytes)?;
            assert!(page.len() <= items as usize);
            assert!(!page.is_empty() || next.is_none(), "each page goes on");
            all.extend(page);
            match next {
                None => return Ok(all),
                next => cursor = next,
            }
        }
    }
}

#[track_caller]
fn check(place: &ItemPlace, text: &str, want: Result<Value, &str>) {
    let house = house();
    for object in [text.as_bytes().to_vec(), gzip(text.as_bytes())] {
        house.write(&object);
        for (items, bytes) in [(1, 1 << 20), (2, 1 << 20), (1_000, 1), (1_000, 1 << 20)] {
            match (house.all(place, items, bytes), &want) {
                (Ok(got), Ok(want)) => assert_eq!(Value::Array(got), *want, "{text:?}"),
                (Err(cause), Err(want)) => assert!(cause.contains(want), "{text:?}: {cause}"),
                (got, want) => panic!("{text:?}: got {got:?}, want {want:?}"),
            }
        }
    }
}

/// As two members, which is what some programs write.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let packed = [first, second].map(|part| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap()
    });
    packed.concat()
}

#[test]
fn packed_objects() {
    let lines = object(ItemFormat::JsonLines);
    let house = house();
    let text: String = (0..5_000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let want: Vec<Value> = (0..5_000).map(|n| json!({"n": n})).collect();
    house.write(&gzip(text.as_bytes()));
    assert_eq!(house.all(&lines, 7, 1 << 20), Ok(want));
    // A page that was read before is read again, as after a crash, and so is the one after it.
    let (_, second) = house.page(&lines, None, 1_000, 1 << 20).unwrap();
    let read = |cursor: &Option<String>| {
        let page = house.page(&lines, cursor.as_deref(), 1_000, 1 << 20);
        page.unwrap()
    };
    let (again, third) = read(&second);
    assert_eq!(again[0], json!({"n": 1_000}));
    assert_eq!(read(&third).0[0], json!({"n": 2_000}));
    assert_eq!(read(&second), (again, third));

    let mut damaged = gzip(text.as_bytes());
    let end = damaged.len() - 9;
    damaged.truncate(end);
    house.write(&damaged);
    let cause = house.all(&lines, 1_000, 1 << 20).unwrap_err();
    assert!(cause.contains("line "), "{cause}");
    house.write(&[0x28, 0xb5, 0x2f, 0xfd, 0]);
    let cause = house.all(&lines, 1_000, 1 << 20).unwrap_err();
    assert!(cause.contains("zstd"), "{cause}");
}

#[test]
fn inventories() {
    let inventory = object(ItemFormat::Inventory);
    let house = house();
    let file = |name: &str, bytes: &[u8]| std::fs::write(house.dir.path().join(name), bytes);
    let manifest = |format: &str, files: &[&str]| {
        let files: Vec<Value> = files
            .iter()
            .map(|key| json!({"key": key, "size": 1}))
            .collect();
        json!({
            "sourceBucket": "s", "destinationBucket": "arn:aws:s3:::b", "version": "2016-11-30",
            "creationTimestamp": "1668560400000", "fileFormat": format,
            "fileSchema": "Bucket, Key, Size", "files": files,
        })
    };
    let written = |format: &str, files: &[&str]| {
        house.write(manifest(format, files).to_string().as_bytes());
    };
    file(
        "one.csv.gz",
        &gzip(b"\"s\",\"a\",\"1\"\n\"s\",\"b\",\"2\"\n"),
    )
    .unwrap();
    file("none.csv", b"").unwrap();
    file("two.csv", b"\"s\",\"c\",\"3\"\n").unwrap();
    let row = |key: &str, size: &str| json!({"Bucket": "s", "Key": key, "Size": size});
    let want = vec![row("a", "1"), row("b", "2"), row("c", "3")];

    let all = |items: u32| {
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let (page, next) = house.page(&inventory, cursor.as_deref(), items, 1 << 20)?;
            all.extend(page);
            match next {
                None => return Ok::<_, String>(all),
                next => cursor = next,
            }
        }
    };
    written("CSV", &["one.csv.gz", "none.csv", "two.csv"]);
    for items in [1, 2, 1_000] {
        assert_eq!(all(items).as_ref(), Ok(&want));
    }
    written("CSV", &[]);
    assert_eq!(all(1), Ok(vec![]));
    for (format, files, says) in [
        ("ORC", &["two.csv"][..], "are ORC"),
        ("CSV", &["gone.csv"], "its file gone.csv"),
        ("CSV", &["../k"], "its file ../k"),
    ] {
        written(format, files);
        let cause = all(1).unwrap_err();
        assert!(cause.contains(says), "{cause}");
    }
    house.write(b"[]");
    let cause = all(1).unwrap_err();
    assert!(cause.contains("no manifest"), "{cause}");

    // Between two pages another inventory took its place.
    written("CSV", &["one.csv.gz", "two.csv"]);
    let (_, next) = house.page(&inventory, None, 1, 1 << 20).unwrap();
    written("CSV", &["two.csv"]);
    let cause = house
        .page(&inventory, next.as_deref(), 1, 1 << 20)
        .unwrap_err();
    assert!(cause.contains("changed"), "{cause}");
}

#[test]
fn json_documents() {
    let whole = json_at(None);
    check(
        &whole,
        " [1, \"a]\\\"\", {\"b\": [2]} ,null]\n",
        Ok(json!([1, "a]\"", {"b": [2]}, null])),
    );
    check(&whole, "[]", Ok(json!([])));
    check(&whole, "\u{feff}[1]", Ok(json!([1])));
    check(
        &whole,
        r#"{"a": 1, "b": [2]}"#,
        Ok(json!([{"Key": "a", "Value": 1}, {"Key": "b", "Value": [2]}])),
    );
    check(&whole, "", Err("ends before its items begin"));
    check(&whole, "7", Err("neither an array nor an object"));
    check(
        &whole,
        "[1,]",
        Err("line 1, byte 3: a value was expected here"),
    );
    check(&whole, "[1\n,2\n 3]", Err("line 3, byte 7: a comma"));
    check(&whole, "[1,\n2", Err("the document ends in the middle"));
    check(&whole, "[1] 2", Err("more behind the end"));
    check(&whole, "[1, nul]", Err("byte 4: item 1"));
    check(&whole, "[[}]", Err("item 0"));
    check(&json_at(Some("")), "[1]", Ok(json!([1])));
    let deep = r#"{"x": {"items": "no"}, "a/b": [0, {"items": [1, 2], "n": "}"}], "tail"#;
    check(&json_at(Some("/a~1b/1/items")), deep, Ok(json!([1, 2])));
    check(
        &json_at(Some("/a~1b/1/n")),
        deep,
        Err("neither an array nor an object"),
    );
    check(&json_at(Some("/a~1b/7")), deep, Err(r#"there is no "7""#));
    check(
        &json_at(Some("/x/none")),
        deep,
        Err(r#"there is no "none""#),
    );
    check(&json_at(Some("items")), deep, Err("not a JSON pointer"));
}

#[test]
fn numbers_keep_their_spelling() {
    let house = house();
    house.write(b"[1.10, 12345678901234567890123]");
    let read = ItemRead {
        source: ItemSource {
            bucket: "b".into(),
            place: json_at(None),
        },
        cursor: None,
        items_max: 10,
        bytes_max: 1_000,
    };
    let page = items::read(&house.buckets, &read).unwrap();
    let (items, version) = page.text().split_once(",\"version\":").unwrap();
    assert_eq!(
        items,
        r#"{"items":[1.10,12345678901234567890123],"keyed":false,"next":null"#
    );
    // It is the object's own: another object has another.
    let own = house.buckets.bucket("b").unwrap().get("k").unwrap().etag;
    assert_eq!(version, format!("{}}}", json!(own)));
}

#[test]
fn pages_of_an_object_say_so() {
    let told = |text: &str, cursor: Option<&ItemCursor>| {
        let format = ItemFormat::Json { pointer: None };
        let page = items::of_bytes(text.as_bytes(), &format, cursor, 1).expect("a page");
        let next = page.value()["next"].as_str().map(str::to_owned);
        (page.value()["keyed"].clone(), next)
    };
    let (keyed, next) = told(r#"{"a":1,"b":2}"#, None);
    assert_eq!(keyed, true);
    let cursor = ItemCursor(next.expect("a second page").into());
    assert_eq!(told(r#"{"a":1,"b":2}"#, Some(&cursor)).0, true);
    assert_eq!(told(r#"[{"Key":"a","Value":1}]"#, None).0, false);
}

#[test]
fn json_lines() {
    let lines = object(ItemFormat::JsonLines);
    check(
        &lines,
        "{\"a\": 1}\r\n\n[2]\n  \"x\"  \n",
        Ok(json!([{"a": 1}, [2], "x"])),
    );
    check(&lines, "", Ok(json!([])));
    check(&lines, "1\n2", Ok(json!([1, 2])));
    check(
        &lines,
        "1\n{\"a\":\n2}",
        Err("line 2, byte 2: it is not a JSON value"),
    );
    check(&lines, "1 2", Err("line 1, byte 0"));
}

#[test]
fn csv_rows() {
    let first = csv(None, b',');
    check(
        &first,
        "a,b\n1,2\n3,4",
        Ok(json!([{"a": "1", "b": "2"}, {"a": "3", "b": "4"}])),
    );
    check(
        &first,
        "\u{feff}a\r\n1\r\n\r\n2\r\n",
        Ok(json!([{"a": "1"}, {"a": "2"}])),
    );
    check(
        &first,
        "a,b\n1\n1,2,3\n,\n",
        Ok(json!([{"a": "1", "b": ""}, {"a": "1", "b": "2"}, {"a": "", "b": ""}])),
    );
    check(
        &first,
        "a,b\n\"x,\n\"\"y\",z",
        Ok(json!([{"a": "x,\n\"y", "b": "z"}])),
    );
    check(
        &first,
        "a,b\nC:\\\\x\\,y,\"q\\\"r\"",
        Ok(json!([{"a": "C:\\x,y", "b": "q\"r"}])),
    );
    check(&first, "a\n", Ok(json!([])));
    check(&first, "", Err("it is empty"));
    check(&first, "a,a,b\n1,2,3", Ok(json!([{"a": "2", "b": "3"}])));
    check(&first, "a\n1\n\"2", Err("line 3, byte 4: a quotation mark"));
    check(
        &csv(Some(&["x", "y"]), b'|'),
        "1|2\n",
        Ok(json!([{"x": "1", "y": "2"}])),
    );
    check(
        &csv(Some(&["x", "y"]), b' '),
        "1 2\n",
        Ok(json!([{"x": "1", "y": "2"}])),
    );
    check(
        &csv(Some(&["x", "y", "x"]), b' '),
        "1 2\n",
        Ok(json!([{"x": "", "y": "2"}])),
    );
}

#[test]
fn listings() {
    let house = house();
    for key in ["in/1", "in/2", "out/3"] {
        let file = house.dir.path().join(key);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, key).unwrap();
    }
    let listing = |prefix: &str| ItemPlace::Listing {
        prefix: prefix.into(),
    };
    for items in [1, 2, 10] {
        let all = house.all(&listing("in/"), items, 1).unwrap();
        let keys: Vec<&Value> = all.iter().map(|o| &o["Key"]).collect();
        assert_eq!(keys, ["in/1", "in/2"]);
        assert_eq!(
            (&all[0]["Size"], &all[0]["StorageClass"]),
            (&json!(4), &json!("STANDARD"))
        );
        assert!(all[0]["LastModified"].as_i64().unwrap() > 1_600_000_000);
        assert!(all[0]["Etag"].as_str().unwrap().starts_with('"'));
    }
    assert_eq!(house.all(&listing("none"), 10, 1), Ok(vec![]));
    assert_eq!(house.all(&listing(""), 10, 1).unwrap().len(), 3);
}

#[test]
fn a_changed_object_is_not_read_on() {
    let house = house();
    house.write(b"[1,2,3]");
    let place = json_at(None);
    let (_, next) = house.page(&place, None, 1, 1_000).unwrap();
    house.write(b"[1,2,3,4]");
    let cause = house.page(&place, next.as_deref(), 1, 1_000).unwrap_err();
    assert!(
        cause.contains("it was changed while its items were read"),
        "{cause}"
    );
    std::fs::remove_file(house.dir.path().join("k")).unwrap();
    let cause = house.page(&place, None, 1, 1_000).unwrap_err();
    assert!(cause.contains("BUCKET0002"), "{cause}");
    let cause = house.page(&place, Some("7 x"), 1, 1_000).unwrap_err();
    assert!(cause.contains("BUCKET0002"), "{cause}");
}

/// An item that never ends must not fill the memory.
#[test]
fn an_item_is_bounded() {
    let house = house();
    let big = vec![b'1'; items::ITEM_BYTES_MAX + 10];
    for (before, place) in [
        ("[", json_at(None)),
        ("", object(ItemFormat::JsonLines)),
        ("a\n\"", csv(None, b',')),
    ] {
        let bytes = [before.as_bytes(), &big].concat();
        house.write(&bytes);
        let cause = house.page(&place, None, 1, 1_000).unwrap_err();
        assert!(cause.contains("larger than 16777216 bytes"), "{cause}");
    }
}

/// What a library reads, as items.
fn csv_oracle(text: &str, delimiter: u8) -> Vec<Value> {
    let mut reader = ::csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .from_reader(text.as_bytes());
    let mut rows = reader.records().map(Result::unwrap);
    let Some(header) = rows.next() else {
        return Vec::new();
    };
    let item = |row: ::csv::StringRecord| {
        let field = |(i, name): (usize, &str)| {
            (name.to_owned(), Value::from(row.get(i).unwrap_or_default()))
        };
        Value::Object(header.iter().enumerate().map(field).collect())
    };
    rows.map(item).collect()
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~\u{e9}\n\"\\\\]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-c/~\"]{0,2}", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn json_pages_hold_what_the_array_holds(
        want in proptest::collection::vec(value(), 0..12),
        (items, bytes) in (1_u32..6, 1_u32..60),
        pretty: bool,
    ) {
        let house = house();
        let document = json!({"x": [want.clone()], "to": {"it": want}});
        let print = if pretty { serde_json::to_string_pretty } else { serde_json::to_string };
        house.write(print(&document).unwrap().as_bytes());
        let got = house.all(&json_at(Some("/to/it")), items, bytes);
        prop_assert_eq!(got.as_ref(), Ok(&want));
        house.write(print(&Value::from(want.clone())).unwrap().as_bytes());
        let got = house.all(&json_at(None), items, bytes);
        prop_assert_eq!(got.as_ref(), Ok(&want));
        let lines: String = want.iter().map(|v| format!("{v}\n")).collect();
        house.write(lines.as_bytes());
        prop_assert_eq!(house.all(&object(ItemFormat::JsonLines), items, bytes), Ok(want));
    }

    /// Rows as the library reads them. A backslash and a quotation mark that is never closed are
    /// left out: there we do as Step Functions does.
    #[test]
    fn csv_pages_hold_what_a_library_reads(
        rows in proptest::collection::vec(
            proptest::collection::vec("([a-c |]{0,3}|\"([a-c,\n|]|\"\"){0,4}\"[a-c]{0,1})", 1..4), 0..8),
        ends in proptest::collection::vec(prop_oneof!["\n", "\r\n", "\r", "\n\n"], 8),
        delimiter in prop_oneof![Just(b','), Just(b'|'), Just(b';')],
        (items, bytes) in (1_u32..6, 1_u32..60),
    ) {
        let glue = char::from(delimiter).to_string();
        let mut text = format!("h{glue}i{glue}j\n");
        for (row, end) in rows.iter().zip(&ends) {
            text.push_str(&row.join(&glue));
            text.push_str(end);
        }
        let house = house();
        house.write(text.as_bytes());
        let got = house.all(&csv(None, delimiter), items, bytes);
        prop_assert_eq!(got, Ok(csv_oracle(&text, delimiter)), "{:?}", text);
    }

    /// Any bytes give items or a reason, and any split gives the same.
    #[test]
    fn no_bytes_panic(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60),
            "[\\[\\]{}\",:\\\\a1\n\r ]{0,60}".prop_map(String::into_bytes),
        ],
        pointer in proptest::option::of("[/a01~]{0,4}"),
        items in 1_u32..4,
    ) {
        let house = house();
        house.write(&bytes);
        for place in [
            json_at(pointer.as_deref()),
            object(ItemFormat::JsonLines),
            csv(None, b','),
            csv(Some(&["a"]), b'\t'),
        ] {
            let whole = house.all(&place, 1_000, 1 << 20);
            prop_assert_eq!(house.all(&place, items, 1 << 20), whole);
        }
    }

    /// A cursor that is none of ours is a reason too.
    #[test]
    fn no_cursor_panics(cursor in "[0-9 a\\[{-]{0,20}", offset: u64) {
        let house = house();
        house.write(b"[1,2]");
        let place = json_at(None);
        prop_assert!(house.page(&place, Some(&cursor), 1, 9).is_err());
        let (_, next) = house.page(&place, None, 1, 9).unwrap();
        let next = next.unwrap();
        let moved = format!("{offset} {}", next.split_once(' ').unwrap().1);
        let _ = house.page(&place, Some(&moved), 1, 9);
    }
}

/// A file that is larger than what may be in memory is read in pages of a bounded size.
#[test]
fn pages_do_not_grow_with_the_file() {
    let house = house();
    write_rows(&house.dir.path().join("k"), 50_000);
    let place = csv(None, b',');
    let (mut count, mut cursor) = (0, None::<String>);
    loop {
        let (page, next) = house
            .page(&place, cursor.as_deref(), 1_000, 16 << 10)
            .unwrap();
        assert!(page.len() < 1_000, "16 KiB hold fewer");
        count += page.len();
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(count, 50_000);
}

fn write_rows(file: &Path, rows: usize) {
    use std::io::Write as _;
    let mut out = std::io::BufWriter::new(std::fs::File::create(file).unwrap());
    writeln!(out, "id,name,text").unwrap();
    for row in 0..rows {
        writeln!(out, "{row},name {row},\"some text, with a comma\"").unwrap();
    }
}

/// A folder is not read again for each page, and a Map that begins later sees it as it is then.
#[test]
fn a_listing_is_read_ahead_and_begun_anew() {
    let house = house();
    let dir = house.dir.path();
    for i in 0..30 {
        std::fs::write(dir.join(format!("f{i:02}")), "").unwrap();
    }
    let listing = ItemPlace::Listing { prefix: "f".into() };
    let (first, next) = house.page(&listing, None, 10, 1).unwrap();
    assert_eq!(first.len(), 10);
    std::fs::write(dir.join("f091"), "").unwrap();
    std::fs::remove_file(dir.join("f29")).unwrap();
    // The Map that is under way, and the same page again, as after a crash.
    let (_, third) = house.page(&listing, next.as_deref(), 10, 1).unwrap();
    let (again, _) = house.page(&listing, next.as_deref(), 10, 1).unwrap();
    assert_eq!(again[0]["Key"], "f091");
    std::fs::remove_file(dir.join("f28")).unwrap();
    let (rest, end) = house.page(&listing, third.as_deref(), 100, 1).unwrap();
    assert_eq!((rest.len(), end), (10, None), "as it was when it was read");
    let (rest, _) = house.page(&listing, third.as_deref(), 100, 1).unwrap();
    assert_eq!(rest.len(), 8, "as it is now");
    assert_eq!(house.all(&listing, 7, 1).unwrap().len(), 29);
    std::fs::remove_dir_all(dir).unwrap();
}
