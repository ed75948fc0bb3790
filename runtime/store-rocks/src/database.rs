//! The reader and the writer over one open database.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rocksdb::properties::ACTUAL_DELAYED_WRITE_RATE;
use rocksdb::{
    ColumnFamily, DB, Direction, ErrorKind, IteratorMode, ReadOptions, WriteBatch, WriteOptions,
};
use stepwell_store::{Batch, Change, Error, Key, Range, Reader, Writer};

use crate::ballast::Ballast;
use crate::columns::{self, Column};
use crate::directory::Directory;
use crate::keys::{self, Bounds};
use crate::watermark::{self, Watermark};
use crate::{FORMAT, Options, error};

/// The meta row that repeats the format, so that rows and `FORMAT` can't be mixed up.
const FORMAT_ROW: &str = "format";

/// Time between two looks at whether RocksDB is still behind with its files.
const BEHIND_LOOK: Duration = Duration::from_millis(2);

/// Commits between two looks at whether the ballast can be made again.
const COMMITS_PER_LOOK: u32 = 1_024;

/// Reads what is durable. Clones share one database.
#[derive(Clone)]
pub struct RocksReader {
    shared: Arc<Shared>,
}

/// The one way in.
pub struct RocksWriter {
    shared: Arc<Shared>,
    ballast: Ballast,
    watermark: Watermark,
    commits: u32,
    sync: bool,
    failed: bool,
}

struct Shared {
    // Before the directory, so that it is closed before the lock is given back.
    db: DB,
    directory: Directory,
}

pub(crate) fn open(dir: &Path, options: &Options) -> Result<(RocksReader, RocksWriter), Error> {
    let mut directory = Directory::claim(dir)?;
    directory.check_frames()?;
    let settings =
        columns::database(options, !directory.complete).map_err(|e| error::rocks("set up", &e))?;
    if directory.complete {
        check_columns(&settings, &directory)?;
    }
    // Before RocksDB needs room.
    let mut ballast = Ballast::open(&directory, options.ballast_bytes)?;
    if options.sync {
        directory.sync_logs()?;
    }
    let db = DB::open_cf_descriptors(&settings, directory.rows(), columns::descriptors(options))
        .map_err(|e| error::rocks("open", &e))?;
    let (watermark, known) = Watermark::open(&directory)?;
    check_watermark(&db, &directory, known)?;
    check_format(&db)?;
    // Without syncs nothing is sure, nor will what was noted before stay so.
    watermark.note(if options.sync {
        db.latest_sequence_number()
    } else {
        0
    });
    if !directory.complete {
        directory.finish()?;
    }
    ballast.renew(&directory)?;
    let shared = Arc::new(Shared { db, directory });
    let reader = RocksReader {
        shared: shared.clone(),
    };
    let writer = RocksWriter {
        shared,
        ballast,
        watermark,
        commits: 0,
        sync: options.sync,
        failed: false,
    };
    Ok((reader, writer))
}

/// Whether the manifest knows every column. One that was cut short may not, and RocksDB takes what
/// it does not tell for what never was.
fn check_columns(settings: &rocksdb::Options, directory: &Directory) -> Result<(), Error> {
    let known = DB::list_cf(settings, directory.rows())
        .map_err(|e| error::rocks("list its columns", &e))?;
    let missing = Column::ALL
        .into_iter()
        .find(|column| !known.iter().any(|name| name == column.name()));
    match missing {
        Some(column) => Err(Error::Damaged {
            detail: format!(
                "the manifest in {} does not know the column `{}`: it is damaged or cut short; restore a backup",
                directory.rows().display(),
                column.name(),
            ),
        }),
        None => Ok(()),
    }
}

/// Whether all is there that was on the disk once. The logs stay as they are when it is not:
/// nothing has been written out yet.
fn check_watermark(db: &DB, directory: &Directory, known: Option<u64>) -> Result<(), Error> {
    let found = db.latest_sequence_number();
    match known {
        Some(known) if found < known => Err(Error::Damaged {
            detail: format!(
                "the logs in {} end at change {found}, and change {known} was on the disk: one of them is damaged, cut short or gone; restore a backup, or remove {} to go on without what is lost",
                directory.rows().display(),
                directory.path().join(watermark::FILE).display(),
            ),
        }),
        _ => Ok(()),
    }
}

/// Reads the format from the rows, or writes it into fresh ones.
fn check_format(db: &DB) -> Result<(), Error> {
    let key = Key::Meta {
        name: FORMAT_ROW.into(),
    };
    let mut bytes = Vec::new();
    keys::encode(&key, &mut bytes);
    let cf = family(db, keys::column(&key))?;
    let row = db
        .get_cf(cf, &bytes)
        .map_err(|e| error::rocks("read its format", &e))?;
    let Some(row) = row else {
        let mut durable = WriteOptions::default();
        durable.set_sync(true);
        return db
            .put_cf_opt(cf, &bytes, FORMAT.to_be_bytes(), &durable)
            .map_err(|e| error::rocks("write its format", &e));
    };
    match row.try_into().map(u32::from_be_bytes) {
        Ok(FORMAT) => Ok(()),
        Ok(found) if found > FORMAT => Err(Error::NewerFormat {
            found,
            known: FORMAT,
        }),
        _ => Err(Error::Damaged {
            detail: "the format in the rows makes no sense".into(),
        }),
    }
}

fn family(db: &DB, column: Column) -> Result<&ColumnFamily, Error> {
    db.cf_handle(column.name()).ok_or_else(|| Error::Damaged {
        detail: format!("the column `{}` is missing", column.name()),
    })
}

impl RocksReader {
    /// What `row` makes of each row of a range.
    fn each<T>(
        &self,
        range: &Range,
        limit: usize,
        row: impl Fn(Key, Box<[u8]>) -> T,
    ) -> Result<Vec<T>, Error> {
        let Bounds {
            column,
            lower,
            upper,
            reverse,
        } = keys::bounds(range);
        // RocksDB takes crossed bounds for a caller's mistake.
        if limit == 0 || lower >= upper {
            return Ok(Vec::new());
        }
        let start = if reverse { &upper } else { &lower }.clone();
        let mode = if reverse {
            IteratorMode::From(&start, Direction::Reverse)
        } else {
            IteratorMode::From(&start, Direction::Forward)
        };
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(lower);
        options.set_iterate_upper_bound(upper);
        // A log is read within its execution: files that lack it are passed over.
        options.set_prefix_same_as_start(column == Column::Log);
        // A Map's results are read once, all of them: nothing else is to leave the cache for them.
        options.fill_cache(!matches!(range, Range::MapResults { .. }));
        let db = &self.shared.db;
        db.iterator_cf_opt(family(db, column)?, options, mode)
            .take(limit)
            .map(|found| {
                let (key, value) = found.map_err(|e| error::rocks("read", &e))?;
                Ok(row(keys::decode(&key)?, value))
            })
            .collect()
    }
}

impl Reader for RocksReader {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, Error> {
        let db = &self.shared.db;
        let mut bytes = Vec::with_capacity(64);
        keys::encode(key, &mut bytes);
        let row = db
            .get_pinned_cf(family(db, keys::column(key))?, &bytes)
            .map_err(|e| error::rocks("read", &e))?;
        Ok(row.map(|row| row.to_vec()))
    }

    fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Key, Vec<u8>)>, Error> {
        self.each(range, limit, |key, value| (key, value.into_vec()))
    }

    fn keys(&self, range: &Range, limit: usize) -> Result<Vec<Key>, Error> {
        self.each(range, limit, |key, _| key)
    }

    fn free_bytes(&self) -> Result<u64, Error> {
        self.shared.directory.free_bytes()
    }
}

impl Writer for RocksWriter {
    fn commit(&mut self, batches: &[Batch]) -> Result<(), Error> {
        if batches.iter().all(Batch::is_empty) {
            return Ok(());
        }
        if self.failed {
            return Err(Error::Medium {
                action: "commit",
                detail: "a commit before this one failed; only a restart can tell what is there"
                    .into(),
            });
        }
        let mut options = WriteOptions::default();
        options.set_sync(self.sync);
        // A write that waits inside RocksDB for its merges leads the write queue, and the
        // recovery from a full disk waits for that queue: neither would ever go on.
        options.set_no_slowdown(true);
        loop {
            let merged = self.merge(batches)?;
            let bytes = merged.size_in_bytes();
            // It becomes visible to readers only after the sync: visible means durable.
            match self.shared.db.write_opt(merged, &options) {
                Ok(()) => break,
                // Nothing of it has been written.
                Err(e) if e.kind() == ErrorKind::Incomplete => self.let_catch_up(bytes),
                Err(e) => {
                    self.failed = true;
                    return Err(error::rocks("commit", &e));
                }
            }
        }
        if self.sync {
            self.watermark.note(self.shared.db.latest_sequence_number());
        }
        self.look_after_ballast();
        Ok(())
    }
}

impl RocksWriter {
    fn merge(&self, batches: &[Batch]) -> Result<WriteBatch, Error> {
        let db = &self.shared.db;
        let weight: usize = batches.iter().map(Batch::len_bytes).sum();
        let mut merged = WriteBatch::with_capacity_bytes(weight);
        let mut bytes = Vec::with_capacity(64);
        for change in batches.iter().flat_map(|b| &b.changes) {
            match change {
                Change::Put(key, value) => {
                    keys::encode(key, &mut bytes);
                    merged.put_cf(family(db, keys::column(key))?, &bytes, value);
                }
                Change::Delete(key) => {
                    keys::encode(key, &mut bytes);
                    merged.delete_cf(family(db, keys::column(key))?, &bytes);
                }
                Change::Clear(range) => {
                    let bounds = keys::bounds(range);
                    let column = family(db, bounds.column)?;
                    // A range whose last row is behind its end holds nothing, and is an error here.
                    if bounds.lower < bounds.upper {
                        merged.delete_range_cf(column, &bounds.lower, &bounds.upper);
                    }
                }
            }
        }
        Ok(merged)
    }

    /// Waits while RocksDB's merges are behind, as long as it would have held up a write
    /// of this size.
    ///
    /// It refills its allowance at a rate, and a write refused before there is enough
    /// sets that moment back: who asks too often is never let in.
    fn let_catch_up(&self, bytes: usize) {
        let mut waited = Duration::ZERO;
        loop {
            thread::sleep(BEHIND_LOOK);
            waited += BEHIND_LOOK;
            // 0: not slowed down, but perhaps stopped. The next try will tell.
            let rate = self
                .shared
                .db
                .property_int_value(ACTUAL_DELAYED_WRITE_RATE)
                .ok()
                .flatten()
                .unwrap_or(0);
            // The allowance is set back once by the refused write, and filled once more.
            let owed = 2 * bytes as u128 * 1_000 / u128::from(rate.max(1));
            if rate == 0 || waited.as_millis() > owed {
                return;
            }
        }
    }

    fn look_after_ballast(&mut self) {
        self.commits = self.commits.wrapping_add(1);
        if self.ballast.missing() && self.commits.is_multiple_of(COMMITS_PER_LOOK) {
            // The commit is durable: that the disk cannot be asked must not undo it.
            let _ = self.ballast.renew(&self.shared.directory);
        }
    }
}
