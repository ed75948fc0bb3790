//! Pages of items: what a distributed Map reads, from an object's contents or from a listing.
//!
//! Refuses to hold a file in memory: a page begins where the one before ended, and reads as far
//! as it goes. Refuses to go on in an object that was changed between two pages.

mod ahead;
mod csv;
mod json;
mod lines;
mod scan;

use std::fmt::Write as _;
use std::io::{Cursor, Read, Seek, SeekFrom};

use stepwell_types::items::{
    CURSOR_BYTES_MAX, ItemCursor, ItemFormat, ItemPlace, ItemRead, PAGE_BYTES_MAX, PAGE_ITEMS_MAX,
};
use stepwell_types::{Data, Failure};

use crate::Buckets;
pub(crate) use ahead::Ahead;
use scan::Scan;

/// Largest item, in bytes of text.
pub const ITEM_BYTES_MAX: usize = 16 << 20;

const CHANGED: &str = "it was changed while its items were read";

/// Reads one page: a [`stepwell_types::items::ItemPage`] as JSON. Blocks as long as the disk takes.
/// # Errors
/// `States.ItemReaderFailed`, with the place (line and byte) and the reason.
pub fn read(buckets: &Buckets, read: &ItemRead) -> Result<Data, Failure> {
    let mut page = Page::new(read.items_max, read.bytes_max);
    let cursor = read.cursor.as_ref();
    let bucket = &*read.source.bucket;
    let next = match &read.source.place {
        ItemPlace::Listing { prefix } => list(buckets, bucket, prefix, cursor, &mut page)
            .map_err(|reason| format!("the objects of bucket {bucket} cannot be listed: {reason}")),
        ItemPlace::Object { key, format } => {
            let open = buckets.bucket(bucket).and_then(|b| b.get(key));
            open.map_err(|e| e.to_string())
                .and_then(|object| {
                    let next = contents(&object.file, &object.etag, format, cursor, &mut page)?;
                    let sound = object.is_unchanged();
                    sound.then_some(next).ok_or_else(|| CHANGED.to_owned())
                })
                .map_err(|reason| {
                    format!("object {key} of bucket {bucket} cannot be read: {reason}")
                })
        }
    };
    let next = next.map_err(|cause| Failure::new("States.ItemReaderFailed", cause))?;
    Ok(page.answer(next.as_deref()))
}

/// The items of some bytes, a page of them: what [`read`] does with an object's.
/// # Errors
/// The place and the reason.
pub fn of_bytes(
    bytes: &[u8],
    format: &ItemFormat,
    cursor: Option<&ItemCursor>,
    items_max: u32,
) -> Result<Data, String> {
    let mut page = Page::new(items_max, PAGE_BYTES_MAX);
    let next = contents(Cursor::new(bytes), "", format, cursor, &mut page)?;
    Ok(page.answer(next.as_deref()))
}

/// A page that fills.
struct Page {
    /// `[`, and the items with commas between them.
    items: String,
    count: usize,
    count_max: usize,
    bytes_max: usize,
}

impl Page {
    fn new(items_max: u32, bytes_max: u32) -> Page {
        Page {
            items: String::from("["),
            count: 0,
            count_max: items_max.clamp(1, PAGE_ITEMS_MAX) as usize,
            bytes_max: bytes_max as usize,
        }
    }

    fn is_full(&self) -> bool {
        self.count >= self.count_max || self.items.len() > self.bytes_max
    }

    /// `item` is valid JSON.
    fn push(&mut self, item: &str) {
        if self.count > 0 {
            self.items.push(',');
        }
        self.items.push_str(item);
        self.count += 1;
    }

    fn answer(self, next: Option<&str>) -> Data {
        let next = next.map_or("null".to_owned(), quoted);
        let items = self.items;
        Data::from_valid_text(format!("{{\"items\":{items}],\"next\":{next}}}"))
    }
}

/// Where a page of an object ended.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// In bytes from the object's beginning.
    offset: u64,
    /// From 1.
    line: u64,
    /// Items before it.
    index: u64,
    /// What the items are in: `[` or `{` of JSON, `-` otherwise.
    within: char,
}

impl Place {
    fn cursor(&self, etag: &str) -> String {
        let Place {
            offset,
            line,
            index,
            within,
        } = self;
        format!("{offset} {line} {index} {within} {etag}")
    }

    /// The place, and the etag of the object that it is in.
    fn parse(cursor: &str) -> Option<(Place, &str)> {
        let mut parts = cursor.splitn(5, ' ');
        let place = Place {
            offset: parts.next()?.parse().ok()?,
            line: parts.next()?.parse().ok()?,
            index: parts.next()?.parse().ok()?,
            within: parts.next()?.chars().next()?,
        };
        Some((place, parts.next()?))
    }
}

fn contents<R: Read + Seek>(
    mut bytes: R,
    etag: &str,
    format: &ItemFormat,
    cursor: Option<&ItemCursor>,
    page: &mut Page,
) -> Result<Option<String>, String> {
    let place = match cursor {
        None => None,
        Some(ItemCursor(cursor)) => {
            let (place, of) = Place::parse(cursor).ok_or("the cursor is none of ours")?;
            if of != etag {
                return Err(CHANGED.to_owned());
            }
            Some(place)
        }
    };
    // The first row of a CSV file is needed for every page.
    let header = match format {
        ItemFormat::Csv {
            header: None,
            delimiter,
        } => {
            let mut scan = Scan::new(&mut bytes, 0, 1);
            let header = csv::header(&mut scan, *delimiter)?;
            Some((header, scan.offset(), scan.line()))
        }
        _ => None,
    };
    let (offset, line) = match (&place, &header) {
        (Some(place), _) => (place.offset, place.line),
        (None, Some((_, offset, line))) => (*offset, *line),
        (None, None) => (0, 1),
    };
    bytes
        .seek(SeekFrom::Start(offset))
        .map_err(|e| e.to_string())?;
    let mut scan = Scan::new(&mut bytes, offset, line);
    if offset == 0 {
        scan.skip_mark()?;
    }
    let next = match format {
        ItemFormat::Json { pointer } => json::page(&mut scan, pointer.as_deref(), place, page)?,
        ItemFormat::JsonLines => lines::page(&mut scan, place, page)?,
        ItemFormat::Csv {
            header: given,
            delimiter,
        } => {
            let columns = match (given, header) {
                (Some(given), _) => csv::columns(given.iter().map(|name| name.to_string()))?,
                (None, Some((header, ..))) => header,
                (None, None) => return Err("it has no header".to_owned()),
            };
            csv::page(&mut scan, &columns, *delimiter, place, page)?
        }
    };
    Ok(next.map(|place| place.cursor(etag)))
}

fn list(
    buckets: &Buckets,
    bucket: &str,
    prefix: &str,
    cursor: Option<&ItemCursor>,
    page: &mut Page,
) -> Result<Option<String>, String> {
    let after = cursor.map(|cursor| &*cursor.0);
    let mut listed = ahead::take(buckets, bucket, prefix, after).map_err(|e| e.to_string())?;
    let wanted = page.count_max.min(listed.objects.len());
    let rest = listed.objects.split_off(wanted);
    let mut item = String::new();
    for object in &listed.objects {
        item.clear();
        // Writing into memory cannot fail.
        let _ = write!(
            item,
            "{{\"Etag\":{},\"Key\":{},\"LastModified\":{},\"Size\":{},\"StorageClass\":\"STANDARD\"}}",
            quoted(&object.etag),
            quoted(&object.key),
            object.modified.0.div_euclid(1_000),
            object.size,
        );
        page.push(&item);
    }
    let last = listed.objects.into_iter().next_back();
    let last = last.filter(|_| listed.more || !rest.is_empty());
    let last = last.map(|object| object.key);
    if let Some(last) = &last {
        ahead::keep(buckets, bucket, prefix, last, rest, listed.more);
    }
    Ok(last)
}

/// A JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

const _: () = assert!(crate::name::KEY_BYTES_MAX < CURSOR_BYTES_MAX);
