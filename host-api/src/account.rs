//! What the host keeps in memory for one attempt, beside the guest's own memory.
//!
//! Refuses to keep more than a bound for all of it together: what a guest makes and never sends or
//! finishes would fill the server's memory, however little it has itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use stepwell_types::Failure;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::Journal;

/// Most bytes that the host keeps for one attempt.
pub(crate) const HELD_BYTES_MAX: usize = 32 << 20;
/// Most resources that one attempt has at once.
pub const RESOURCES_MAX: usize = 4_096;
/// Error name of an attempt that wanted more.
pub const HOST_MEMORY_EXCEEDED: &str = "Stepwell.HostMemoryExceeded";

/// Counts what is kept for an attempt.
#[derive(Clone)]
pub(crate) struct Account(Arc<Kept>);

struct Kept {
    journal: Arc<Journal>,
    bytes: AtomicUsize,
}

impl Account {
    pub(crate) fn new(journal: Arc<Journal>) -> Account {
        let bytes = AtomicUsize::new(0);
        Account(Arc::new(Kept { journal, bytes }))
    }

    /// Nothing yet, of what will be kept.
    pub(crate) fn open(&self) -> Held {
        Held {
            account: self.clone(),
            bytes: 0,
        }
    }

    /// Counts so many bytes, until what is given is dropped.
    /// # Errors
    /// `Stepwell.HostMemoryExceeded`; the attempt ends.
    pub(crate) fn hold(&self, bytes: usize) -> Result<Held, Failure> {
        let mut held = self.open();
        held.more(bytes)?;
        Ok(held)
    }
}

/// Bytes that are counted while this is there.
pub(crate) struct Held {
    account: Account,
    bytes: usize,
}

impl Held {
    /// Counts so many more.
    /// # Errors
    /// As [`Account::hold`].
    pub(crate) fn more(&mut self, bytes: usize) -> Result<(), Failure> {
        let Kept {
            journal,
            bytes: all,
        } = &*self.account.0;
        let add = |all: usize| all.checked_add(bytes).filter(|all| *all <= HELD_BYTES_MAX);
        if all
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .is_err()
        {
            let failure = Failure::new(
                HOST_MEMORY_EXCEEDED,
                format!(
                    "the server keeps at most {HELD_BYTES_MAX} bytes for a step outside of its memory; \
                     send, finish or drop requests, objects and listings before the next"
                ),
            );
            journal.break_off(failure.clone());
            return Err(failure);
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Counts nothing any more.
    pub(crate) fn clear(&mut self) {
        let all = &self.account.0.bytes;
        all.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A stream of which every piece counts until it is sent or dropped, wherever it waits.
pub(crate) struct Counted {
    pub(crate) inner: Box<dyn OutputStream>,
    pub(crate) account: Account,
}

struct Piece {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Counted {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Counted {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let held = self.account.hold(bytes.len());
        let _held = held.map_err(|failure| StreamError::trap(&failure.cause))?;
        self.inner.write(Bytes::from_owner(Piece { bytes, _held }))
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.inner.check_write()
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_counts_while_it_is_there() {
        let journal = crate::journal::for_tests();
        let account = Account::new(journal.clone());
        let half = account.hold(HELD_BYTES_MAX / 2).expect("half");
        let mut rest = account.hold(HELD_BYTES_MAX / 2).expect("half");
        rest.clear();
        rest.more(HELD_BYTES_MAX / 2).expect("the same half");
        drop(half);
        rest.more(HELD_BYTES_MAX / 2).expect("the other half");
        assert!(journal.broken().is_none());
        assert_eq!(
            &*rest.more(1).expect_err("no room").error,
            HOST_MEMORY_EXCEEDED
        );
        assert_eq!(
            &*journal.broken().expect("over").error,
            HOST_MEMORY_EXCEEDED
        );
    }
}
