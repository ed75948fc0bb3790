//! The black box: a small mapped file that says which steps are on a processor. It
//! outlives the process, whatever kills it, and costs a few stores to memory a step.
//!
//! Refuses to be a store: it does not survive the machine, and what a run of the machine
//! left is ignored in the next one, because a power cut is no step's fault.
//!
//! 256 records of eight 64-bit words in the machine's own byte order. The first is the
//! head: magic, the machine's boot (two words), the process's life. The others belong to
//! a thread each: in use, execution (two words), entry, attempt.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::mm::{MapFlags, ProtFlags, mmap};
use stepwell_store::Error;
use stepwell_types::{EntryId, ExecutionId};

use crate::error;

const WORDS: usize = 8;
const RECORDS: usize = 256;
const BYTES: usize = WORDS * RECORDS * 8;
/// `stepbox1`; another layout gets another number.
const MAGIC: u64 = u64::from_be_bytes(*b"stepbox1");
/// Words of the head after the magic.
const BOOT: usize = 1;
const LIFE: usize = 3;

/// The mapped file. One a process: the mapping stays until the process ends.
pub struct BlackBox {
    words: &'static [AtomicU64],
    boot: (u64, u64),
}

thread_local! {
    /// The calling thread's record, once it needs one.
    static RECORD: RefCell<Option<Record>> = const { RefCell::new(None) };
}

/// Records that are free, and how many were ever given out.
static FREE: Mutex<(Vec<usize>, usize)> = Mutex::new((Vec::new(), 0));

/// A thread's record. Threads that walk turns come and go, so that another one gets it after it.
struct Record(usize);

impl Record {
    fn take() -> Record {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = free.0.pop() {
            return Record(number);
        }
        free.1 += 1;
        Record(free.1)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        FREE.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .push(self.0);
    }
}

impl BlackBox {
    /// Maps `file`, which is made if it is missing. Nobody else may change it: keep it
    /// in a directory that [`crate::open`] holds.
    /// # Errors
    /// `STORE0001`: it cannot be made, read or mapped.
    pub fn open(file: &Path) -> Result<BlackBox, Error> {
        let failed = |e: std::io::Error| error::file("open its black box", file, e);
        let mapped = prepare(file).map_err(failed)?;
        #[allow(unsafe_code, reason = "a mapping is what outlives a killed process")]
        // SAFETY: the address is the kernel's choice, so it overlaps nothing of ours.
        let at = unsafe {
            mmap(
                std::ptr::null_mut(),
                BYTES,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &mapped,
                0,
            )
        };
        let at = at.map_err(|e| failed(e.into()))?.cast::<AtomicU64>();
        #[allow(unsafe_code, reason = "the mapping as what it is: shared words")]
        // SAFETY: a mapping is aligned to a page, holds BYTES zero or written bytes, which
        // any word is made of, is never unmapped, and is only used through atomics. The
        // file keeps its length: only this process writes to it.
        let words = unsafe { std::slice::from_raw_parts(at, WORDS * RECORDS) };
        Ok(BlackBox {
            words,
            boot: boot(),
        })
    }

    /// The life of the process that recorded last, and the steps that were on a processor
    /// at its end. Life 0: there is none, or it was before the machine started.
    #[must_use]
    pub fn last(&self) -> (u64, Vec<(ExecutionId, EntryId, u32)>) {
        let word = |n: usize| self.words.get(n).map_or(0, |w| w.load(Ordering::Acquire));
        let same_boot = (word(BOOT), word(BOOT + 1)) == self.boot;
        if word(0) != MAGIC || !same_boot {
            return (0, Vec::new());
        }
        let used = (1..RECORDS).map(|r| r * WORDS).filter(|at| word(*at) == 1);
        let steps = used.map(|at| {
            let id = u128::from(word(at + 1)) << 64 | u128::from(word(at + 2));
            let attempt = u32::try_from(word(at + 4)).unwrap_or(u32::MAX);
            (
                ExecutionId(id.to_be_bytes()),
                EntryId(word(at + 3)),
                attempt,
            )
        });
        (word(LIFE), steps.collect())
    }

    /// Empties every record and puts this process's life in the head.
    pub fn begin(&self, life: u64) {
        for word in self.words {
            word.store(0, Ordering::Release);
        }
        let head = [MAGIC, self.boot.0, self.boot.1, life];
        for (word, value) in self.words.iter().zip(head) {
            word.store(value, Ordering::Release);
        }
    }

    /// The calling thread runs this step from now on. Beyond 255 threads nothing is kept.
    pub fn enter(&self, execution: ExecutionId, entry: EntryId, attempt: u32) {
        let id = u128::from_be_bytes(execution.0);
        let Some([used, high, low, at, number, ..]) = self.record() else {
            return;
        };
        high.store((id >> 64) as u64, Ordering::Relaxed);
        low.store(id as u64, Ordering::Relaxed);
        at.store(entry.0, Ordering::Relaxed);
        number.store(u64::from(attempt), Ordering::Relaxed);
        used.store(1, Ordering::Release);
    }

    /// The calling thread runs no step.
    pub fn leave(&self) {
        if let Some([used, ..]) = self.record() {
            used.store(0, Ordering::Release);
        }
    }

    fn record(&self) -> Option<&[AtomicU64]> {
        let record =
            |mine: &RefCell<Option<Record>>| mine.borrow_mut().get_or_insert_with(Record::take).0;
        // A thread that is about to end has none.
        let record = RECORD.try_with(record).ok()?;
        self.words.get(record * WORDS..(record + 1) * WORDS)
    }
}

/// The file, as long as it must be and with all its blocks: a hole that cannot be filled
/// when the disk is full would end the process at a step.
fn prepare(path: &Path) -> std::io::Result<File> {
    let mut file = File::options()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .open(path)?;
    let mut bytes = Vec::new();
    let mut start = (&file).take(BYTES as u64 + 1);
    start.read_to_end(&mut bytes)?;
    if bytes.len() != BYTES {
        bytes = vec![0; BYTES];
        file.set_len(BYTES as u64)?;
    }
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&bytes)?;
    Ok(file)
}

/// Which run of the machine this is; zeros where the system does not say.
fn boot() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let id = u128::from_str_radix(&digits, 16).unwrap_or(0);
    ((id >> 64) as u64, id as u64)
}

#[cfg(test)]
mod tests {
    use stepwell_types::{ShardId, Timestamp};

    use super::*;

    #[test]
    fn what_was_running_is_found_by_the_next_process() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("black-box");
        let id = ExecutionId::new(Timestamp(1), ShardId(9), 77);
        let first = BlackBox::open(&file).unwrap();
        assert_eq!(first.last(), (0, vec![]));
        first.begin(41);
        first.enter(id, EntryId(7), 2);
        // The mapping goes with the process; another of the same file sees what it left.
        let second = BlackBox::open(&file).unwrap();
        assert_eq!(second.last(), (41, vec![(id, EntryId(7), 2)]));
        first.leave();
        assert_eq!(second.last(), (41, vec![]));
        // More threads than there are records, one after another: each finds one.
        for n in 0..RECORDS as u64 + 10 {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    first.enter(id, EntryId(n), 1);
                    assert_eq!(second.last(), (41, vec![(id, EntryId(n), 1)]));
                    first.leave();
                });
            });
        }
        first.enter(id, EntryId(8), 0);
        second.begin(42);
        assert_eq!(second.last(), (42, vec![]));
        // Left by an earlier run of the machine.
        second.words[BOOT].fetch_add(1, Ordering::Relaxed);
        assert_eq!(second.last(), (0, vec![]));
        // Cut short by whatever: it is as good as new.
        File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_len(100)
            .unwrap();
        assert_eq!(BlackBox::open(&file).unwrap().last(), (0, vec![]));
    }
}
