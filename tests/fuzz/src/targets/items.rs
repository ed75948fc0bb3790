//! Item readers: JSON, JSON Lines and CSV, by the page.
//!
//! The first line says how: a JSON pointer, or `lines`, `csv` or `tab`. The rest is the object. Whatever it
//! is, small pages must hold what one page holds.

use stepwell_buckets::items::of_bytes;
use stepwell_types::items::{ItemCursor, ItemFormat};

/// Words of objects.
pub const WORDS: &[&str] = &[
    "/a", "~1", "[", "]", "{\"a\":", "}", ",", "\"", "\\\"", "\"\"", "\r\n", "\n", "\\", "null",
    "1.5e3", "\u{feff}", "\t", "[[[[",
];

/// Objects of each kind.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        "\n[1, {\"a\": [\"]\"]}, \"x\"]",
        "/a/b\n{\"x\": 1, \"a\": {\"b\": {\"k\": 1, \"l\": [2]}}}",
        "/1\n[0, [1, 2]]",
        "lines\n{\"a\": 1}\n\n[2]\n",
        "csv\na,b\r\n\"x\n\"\"\",y\\,z\r\n1\r\n",
        "tab\n1\t2\n\n3\t4",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// Reads all of it in one page and in small ones.
pub fn run(data: &[u8]) {
    let mut lines = data.splitn(2, |b| *b == b'\n');
    let how = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let object = lines.next().unwrap_or_default();
    let format = match &*how {
        "lines" => ItemFormat::JsonLines,
        "csv" => ItemFormat::Csv {
            header: None,
            delimiter: b',',
        },
        "tab" => ItemFormat::Csv {
            header: Some(["a".into(), "b".into()].into()),
            delimiter: b'\t',
        },
        pointer => ItemFormat::Json {
            pointer: Some(pointer.into()),
        },
    };
    let whole = all(object, &format, 1_000);
    assert_eq!(all(object, &format, 1), whole, "pages of one item");
    assert_eq!(all(object, &format, 3), whole, "pages of three items");
}

fn all(object: &[u8], format: &ItemFormat, items_max: u32) -> Result<Vec<String>, String> {
    let (mut items, mut cursor) = (Vec::new(), None);
    loop {
        let page = of_bytes(object, format, cursor.as_ref(), items_max)?;
        let page = page.value();
        let list = page["items"].as_array().into_iter().flatten();
        items.extend(list.map(ToString::to_string));
        match page["next"].as_str() {
            None => return Ok(items),
            Some(next) => cursor = Some(ItemCursor(next.into())),
        }
    }
}
