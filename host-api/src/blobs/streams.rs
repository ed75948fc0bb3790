//! An object's bytes as streams of the guest: a piece at a time, so that none is held whole.
//!
//! Pieces begin at the same places whenever an attempt runs, and a look without a wait sees nothing
//! new: what a guest gets depends on the object alone.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes as Buffer;
use parking_lot::Mutex;
use stepwell_types::Failure;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use wasmtime::format_err;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::view::{Permit, take};
use super::{PIECE_BYTES, UNNAMED_BYTES_MAX};
use crate::Journal;
use crate::account::Held;
use crate::objects::{Begun, Bytes, refused};

/// Reads part of an object.
pub(super) struct Reading {
    bytes: Arc<dyn Bytes>,
    at: u64,
    end: u64,
    piece: Buffer,
    task: Option<JoinHandle<Result<Vec<u8>, Failure>>>,
    failed: Option<Failure>,
    journal: Arc<Journal>,
    _open: Permit,
}

impl Reading {
    /// From `at` up to `end`, which is no part of it.
    pub(super) fn new(
        bytes: Arc<dyn Bytes>,
        (at, end): (u64, u64),
        journal: Arc<Journal>,
        open: Permit,
    ) -> Reading {
        Reading {
            bytes,
            at,
            end,
            piece: Buffer::new(),
            task: None,
            failed: None,
            journal,
            _open: open,
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Reading {
    async fn ready(&mut self) {
        if !self.piece.is_empty() || self.at == self.end || self.failed.is_some() {
            return;
        }
        let (bytes, at) = (self.bytes.clone(), self.at);
        let wanted = usize::try_from(self.end - at).unwrap_or(usize::MAX);
        let wanted = wanted.min(PIECE_BYTES);
        // Whoever waits no longer leaves it to the next who does.
        let task = self
            .task
            .get_or_insert_with(|| tokio::task::spawn_blocking(move || bytes.read_at(at, wanted)));
        let read = task.await;
        self.task = None;
        let failure = match read {
            Ok(Ok(piece)) if !piece.is_empty() => {
                self.at += piece.len() as u64;
                self.piece = piece.into();
                return;
            }
            Ok(Ok(_)) => shorter(),
            Ok(Err(failure)) => failure,
            Err(e) => {
                let cause = format!("a bucket's thread broke off: {e}");
                Failure::new("Stepwell.ObjectFailed", cause)
            }
        };
        self.journal.unnoted(&failure);
        self.failed = Some(failure);
    }
}

/// An object has fewer bytes than it had.
pub(super) fn shorter() -> Failure {
    let cause = "the object was cut while the step read it";
    Failure::new("Stepwell.ObjectChanged", cause)
}

impl InputStream for Reading {
    fn read(&mut self, size: usize) -> StreamResult<Buffer> {
        if let Some(failure) = &self.failed {
            return Err(told(failure));
        }
        if self.piece.is_empty() && self.at == self.end {
            return Err(StreamError::Closed);
        }
        Ok(self.piece.split_to(size.min(self.piece.len())))
    }
}

fn told(failure: &Failure) -> StreamError {
    StreamError::LastOperationFailed(format_err!("{}: {}", failure.error, failure.cause))
}

/// An object that is being written: by its stream, and by whoever gives it a name or ends it.
pub(super) struct Writing {
    state: Mutex<State>,
    /// Told when a piece is written.
    written: Notify,
    room: Arc<AtomicU64>,
    journal: Arc<Journal>,
}

enum State {
    /// It has no name yet: what came so far.
    Unnamed(Part),
    /// And what is no whole piece yet.
    Named(Box<dyn Begun>, Part),
    /// A piece is being written.
    Busy,
    Failed(Failure),
    /// It was ended.
    Over,
}

/// Bytes that are not on the disk yet.
pub(super) struct Part {
    pub(super) bytes: Vec<u8>,
    held: Held,
}

impl Part {
    fn add(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.held.more(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.held.clear();
    }
}

impl Writing {
    /// Nothing yet; what comes counts as `held`.
    pub(super) fn new(room: Arc<AtomicU64>, journal: Arc<Journal>, held: Held) -> Arc<Writing> {
        let bytes = Vec::new();
        Arc::new(Writing {
            state: Mutex::new(State::Unnamed(Part { bytes, held })),
            written: Notify::new(),
            room,
            journal,
        })
    }

    /// Whether it has no name yet.
    pub(super) fn is_unnamed(&self) -> bool {
        matches!(*self.state.lock(), State::Unnamed(_))
    }

    /// It is to be this object: what came so far goes there.
    pub(super) fn name(&self, begun: Box<dyn Begun>) {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Over) {
            State::Unnamed(part) => *state = State::Named(begun, part),
            other => *state = other,
        }
    }

    /// Waits until no piece is being written.
    async fn settled(&self) {
        loop {
            let written = self.written.notified();
            let mut written = std::pin::pin!(written);
            // From here on nothing is missed.
            written.as_mut().enable();
            if !matches!(*self.state.lock(), State::Busy) {
                return;
            }
            written.await;
        }
    }

    /// Ends it: the object, if it has a name, and its last bytes.
    pub(super) async fn end(&self) -> Result<Option<(Box<dyn Begun>, Part)>, Failure> {
        self.settled().await;
        match std::mem::replace(&mut *self.state.lock(), State::Over) {
            State::Named(begun, rest) => Ok(Some((begun, rest))),
            State::Failed(failure) => Err(failure),
            State::Unnamed(_) | State::Busy | State::Over => Ok(None),
        }
    }

    /// How many bytes may come now: with them at most a piece is whole.
    fn room(&self) -> StreamResult<usize> {
        match &*self.state.lock() {
            State::Busy => Ok(0),
            State::Failed(failure) => Err(told(failure)),
            State::Over => Err(StreamError::Closed),
            State::Unnamed(_) => Ok(PIECE_BYTES),
            State::Named(_, part) => Ok(PIECE_BYTES - part.bytes.len() % PIECE_BYTES),
        }
    }

    /// Whether a piece is whole with these bytes, and is being written from now on.
    fn write(self: &Arc<Writing>, bytes: &Buffer) -> Result<bool, Failure> {
        take(&self.room, bytes.len())?;
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Busy) {
            State::Unnamed(mut part) => {
                if part.bytes.len() + bytes.len() > UNNAMED_BYTES_MAX {
                    return Err(refused(format!(
                        "the value has more than {UNNAMED_BYTES_MAX} bytes and no name; call write-data first"
                    )));
                }
                part.add(bytes)?;
                *state = State::Unnamed(part);
            }
            State::Named(mut begun, mut part) => {
                part.add(bytes)?;
                if part.bytes.len() < PIECE_BYTES {
                    *state = State::Named(begun, part);
                    return Ok(false);
                }
                let shared = Arc::clone(self);
                tokio::task::spawn_blocking(move || {
                    let written = begun.write(&part.bytes);
                    part.clear();
                    *shared.state.lock() = match written {
                        Ok(()) => State::Named(begun, part),
                        Err(failure) => {
                            shared.journal.unnoted(&failure);
                            State::Failed(failure)
                        }
                    };
                    shared.written.notify_waiters();
                });
                return Ok(true);
            }
            State::Failed(failure) => return Err(failure),
            // Nothing but no bytes is permitted there.
            other => *state = other,
        }
        Ok(false)
    }
}

/// The stream by which a guest writes.
pub(super) struct Body {
    writing: Arc<Writing>,
    /// Bytes that a look has permitted and that have not come.
    permitted: usize,
}

impl Body {
    pub(super) fn new(writing: Arc<Writing>) -> Body {
        Body {
            writing,
            permitted: 0,
        }
    }

    /// A write that was not permitted would be lost while a piece is being written.
    fn permits(&self, bytes: usize) -> StreamResult<()> {
        match bytes <= self.permitted {
            true => Ok(()),
            false => Err(StreamError::trap(&format!(
                "a write of {bytes} bytes where check-write permits {}",
                self.permitted
            ))),
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Body {
    async fn ready(&mut self) {
        self.writing.settled().await;
    }
}

impl OutputStream for Body {
    fn write(&mut self, bytes: Buffer) -> StreamResult<()> {
        self.permits(bytes.len())?;
        self.permitted -= bytes.len();
        match self.writing.write(&bytes) {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.permitted = 0;
                Ok(())
            }
            Err(failure) => {
                let error = told(&failure);
                *self.writing.state.lock() = State::Failed(failure);
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.permitted = self.writing.room()?;
        Ok(self.permitted)
    }

    fn write_zeroes(&mut self, bytes: usize) -> StreamResult<()> {
        self.permits(bytes)?;
        self.write(Buffer::from(vec![0; bytes]))
    }
}
