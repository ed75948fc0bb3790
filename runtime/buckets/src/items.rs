//! Pages of items: what a distributed Map reads, from an object's contents or from a listing.
//!
//! Refuses to hold a file in memory: a page begins where the one before ended, and reads as far
//! as it goes. Refuses to go on in an object that was changed between two pages.

mod ahead;
mod csv;
mod inventory;
mod json;
mod lines;
mod scan;
mod source;

use std::fmt::Write as _;
use std::io::{Cursor, Read, Seek};

use stepwell_types::items::{
    CURSOR_BYTES_MAX, ItemCursor, ItemFormat, ItemPlace, ItemRead, PAGE_BYTES_MAX, PAGE_ITEMS_MAX,
};
use stepwell_types::{Data, Failure};

use crate::Buckets;
pub(crate) use ahead::Ahead;
use scan::Scan;
use source::Source;

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
            let next = match format {
                ItemFormat::Inventory => inventory::page(buckets, bucket, key, cursor, &mut page),
                format => object(buckets, bucket, key, format, cursor, &mut page),
            };
            next.map_err(|reason| {
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
    let place = place(cursor, "")?;
    let mut under = Under::open(Cursor::new(bytes), format, place.as_ref())?;
    let next = under.page(format, place, &mut page)?;
    Ok(page.answer(next.map(|next| next.cursor("")).as_deref()))
}

/// A page of what one object holds.
fn object(
    buckets: &Buckets,
    bucket: &str,
    key: &str,
    format: &ItemFormat,
    cursor: Option<&ItemCursor>,
    page: &mut Page,
) -> Result<Option<String>, String> {
    let opened = buckets.bucket(bucket).and_then(|b| b.get(key));
    let object = opened.map_err(|e| e.to_string())?;
    let etag = &object.etag;
    page.version.get_or_insert_with(|| etag.clone());
    let place = place(cursor, etag)?;
    let ready = place.as_ref();
    let ready = ready.and_then(|place| ahead::take_object(buckets, etag, place.offset));
    let mut under = match ready {
        Some(under) => under,
        None => {
            let file = object.file.try_clone().map_err(|e| e.to_string())?;
            Under::open(file, format, place.as_ref())?
        }
    };
    let next = under.page(format, place, page)?;
    if !object.is_unchanged() {
        return Err(CHANGED.to_owned());
    }
    let Some(next) = next else {
        return Ok(None);
    };
    if !under.scan.is_plain() {
        ahead::keep_object(buckets, etag, next.offset, under);
    }
    Ok(Some(next.cursor(etag)))
}

/// A page that fills.
struct Page {
    /// `[`, and the items with commas between them.
    items: String,
    count: usize,
    count_max: usize,
    bytes_max: usize,
    /// The etag of the object that a request names.
    version: Option<String>,
    /// The items are the fields of an object.
    keyed: bool,
}

impl Page {
    fn new(items_max: u32, bytes_max: u32) -> Page {
        Page {
            items: String::from("["),
            count: 0,
            count_max: items_max.clamp(1, PAGE_ITEMS_MAX) as usize,
            bytes_max: bytes_max as usize,
            version: None,
            keyed: false,
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
        let or_null = |text: Option<&str>| text.map_or("null".to_owned(), quoted);
        let (next, version) = (or_null(next), or_null(self.version.as_deref()));
        let (items, keyed) = (self.items, self.keyed);
        Data::from_valid_text(format!(
            "{{\"items\":{items}],\"keyed\":{keyed},\"next\":{next},\"version\":{version}}}"
        ))
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

/// The place that a cursor of this very object means.
fn place(cursor: Option<&ItemCursor>, etag: &str) -> Result<Option<Place>, String> {
    let Some(ItemCursor(cursor)) = cursor else {
        return Ok(None);
    };
    let (place, of) = Place::parse(cursor).ok_or("the cursor is none of ours")?;
    match of == etag {
        true => Ok(Some(place)),
        false => Err(CHANGED.to_owned()),
    }
}

/// An object under way.
struct Under<R> {
    scan: Scan<Source<R>>,
    /// The first row of a CSV file that holds the columns: it is needed for every page.
    header: Option<csv::Columns>,
}

impl<R: Read + Seek> Under<R> {
    /// Opens the bytes and goes to the place.
    fn open(bytes: R, format: &ItemFormat, place: Option<&Place>) -> Result<Under<R>, String> {
        let mut scan = Scan::new(Source::open(bytes)?);
        scan.skip_mark()?;
        let header = match format {
            ItemFormat::Csv {
                header: None,
                delimiter,
            } => Some(csv::header(&mut scan, *delimiter)?),
            ItemFormat::Csv {
                header: Some(given),
                ..
            } => Some(csv::columns(given.iter().map(|name| name.to_string()))),
            ItemFormat::Json { .. } | ItemFormat::JsonLines | ItemFormat::Inventory => None,
        };
        if let Some(place) = place {
            scan.go_to(place.offset, place.line)?;
        }
        Ok(Under { scan, header })
    }

    /// The page at the place where it is, and the next one's.
    fn page(
        &mut self,
        format: &ItemFormat,
        place: Option<Place>,
        page: &mut Page,
    ) -> Result<Option<Place>, String> {
        let scan = &mut self.scan;
        match format {
            ItemFormat::Json { pointer } => json::page(scan, pointer.as_deref(), place, page),
            ItemFormat::JsonLines => lines::page(scan, place, page),
            ItemFormat::Csv { delimiter, .. } => {
                let columns = self.header.as_ref().ok_or("it has no header")?;
                csv::page(scan, columns, *delimiter, place, page)
            }
            ItemFormat::Inventory => Err("an inventory has no items but its files'".to_owned()),
        }
    }
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
