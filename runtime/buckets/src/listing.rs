//! Objects of a directory tree in the order of their keys, page by page.
//!
//! Refuses to hold a folder in memory: of each folder on the way, only the next
//! [`BATCH`] names are kept, however many it has. Links to folders are not followed.

use std::collections::BinaryHeap;
use std::io;

use cap_std::fs::{Dir, Metadata};
use stepwell_types::Timestamp;

use crate::bucket::{etag, modified};
use crate::name::{KEY_BYTES_MAX, check_key};

/// Names of one folder that are held at a time. A larger folder is read as often as it has batches.
pub(crate) const BATCH: usize = 8_192;

/// What a listing says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Timestamp,
    /// As [`crate::Object::etag`].
    pub etag: String,
}

/// Part of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectPage {
    /// In the order of their keys.
    pub objects: Vec<ObjectInfo>,
    /// Whether there may be more after the last one.
    pub more: bool,
}

struct Query<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
    limit: usize,
}

/// A name in a folder; a folder's ends with a slash, so that names sort as keys do.
type Named = (String, bool);

pub(crate) fn page(
    dir: &Dir,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> io::Result<ObjectPage> {
    let query = Query {
        prefix,
        after,
        limit,
    };
    let mut page = ObjectPage::default();
    walk(dir, "", &query, &mut page)?;
    Ok(page)
}

/// `false`: the page is full.
fn walk(dir: &Dir, base: &str, query: &Query<'_>, page: &mut ObjectPage) -> io::Result<bool> {
    let mut floor: Option<String> = None;
    loop {
        let names = batch(dir, base, query, floor.as_deref())?;
        let last = names.len() < BATCH;
        for (name, is_folder) in &names {
            let key = format!("{base}{name}");
            if *is_folder {
                // It may have gone since.
                let Ok(below) = dir.open_dir(name) else {
                    continue;
                };
                if !walk(&below, &key, query, page)? {
                    return Ok(false);
                }
            } else if let Some(about) = object(dir, name) {
                if page.objects.len() == query.limit {
                    page.more = true;
                    return Ok(false);
                }
                page.objects.push(ObjectInfo {
                    key,
                    size: about.len(),
                    modified: modified(&about),
                    etag: etag(&about),
                });
            }
        }
        if last {
            return Ok(true);
        }
        floor = names.into_iter().last().map(|(name, _)| name);
    }
}

/// The first names of a folder, after `floor`, under which the query may find something.
fn batch(dir: &Dir, base: &str, query: &Query<'_>, floor: Option<&str>) -> io::Result<Vec<Named>> {
    let mut first: BinaryHeap<Named> = BinaryHeap::new();
    for entry in dir.entries()? {
        let entry = entry?;
        let Ok(mut name) = entry.file_name().into_string() else {
            continue;
        };
        let is_folder = entry.file_type()?.is_dir();
        if is_folder {
            name.push('/');
        }
        // What is cheap comes first: a large folder is read often.
        let full = first.len() == BATCH;
        let late = |(largest, _): &Named| full && *largest <= name;
        if floor.is_some_and(|floor| name.as_str() <= floor) || first.peek().is_some_and(late) {
            continue;
        }
        let key = format!("{base}{name}");
        if key.len() > KEY_BYTES_MAX
            || check_key(name.trim_end_matches('/')).is_err()
            || !query.reaches(&key, is_folder)
        {
            continue;
        }
        if full {
            first.pop();
        }
        first.push((name, is_folder));
    }
    Ok(first.into_sorted_vec())
}

impl Query<'_> {
    fn reaches(&self, key: &str, is_folder: bool) -> bool {
        if is_folder {
            (key.starts_with(self.prefix) || self.prefix.starts_with(key))
                && self
                    .after
                    .is_none_or(|after| key > after || after.starts_with(key))
        } else {
            key.starts_with(self.prefix) && self.after.is_none_or(|after| key > after)
        }
    }
}

/// What is known of a file; `None` for what is no object: a pipe, a link to the outside or to a folder.
fn object(dir: &Dir, name: &str) -> Option<Metadata> {
    dir.metadata(name).ok().filter(Metadata::is_file)
}

/// How many objects lie in a folder and below it.
pub(crate) fn count(dir: &Dir, depth: usize) -> io::Result<u64> {
    let mut count = 0;
    for entry in dir.entries()? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            count += 1;
        } else if depth < KEY_BYTES_MAX / 2 {
            count += self::count(&entry.open_dir()?, depth + 1)?;
        }
    }
    Ok(count)
}
