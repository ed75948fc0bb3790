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
use crate::objects::{Begun, Bytes, refused};

/// Reads part of an object.
pub(super) struct Reading {
    bytes: Arc<dyn Bytes>,
    at: u64,
    end: u64,
    piece: Buffer,
    task: Option<JoinHandle<Result<Vec<u8>, Failure>>>,
    failed: Option<Failure>,
    _open: Permit,
}

impl Reading {
    /// From `at` up to `end`, which is no part of it.
    pub(super) fn new(bytes: Arc<dyn Bytes>, at: u64, end: u64, open: Permit) -> Reading {
        Reading {
            bytes,
            at,
            end,
            piece: Buffer::new(),
            task: None,
            failed: None,
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
        match read {
            Ok(Ok(piece)) if !piece.is_empty() => {
                self.at += piece.len() as u64;
                self.piece = piece.into();
            }
            Ok(Ok(_)) => self.failed = Some(shorter()),
            Ok(Err(failure)) => self.failed = Some(failure),
            Err(e) => {
                let cause = format!("a bucket's thread broke off: {e}");
                self.failed = Some(Failure::new("Stepwell.ObjectFailed", cause));
            }
        }
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
}

enum State {
    /// It has no name yet: what came so far.
    Unnamed(Vec<u8>),
    /// And what is no whole piece yet.
    Named(Box<dyn Begun>, Vec<u8>),
    /// A piece is being written.
    Busy,
    Failed(Failure),
    /// It was ended.
    Over,
}

impl Writing {
    pub(super) fn new(room: Arc<AtomicU64>) -> Arc<Writing> {
        Arc::new(Writing {
            state: Mutex::new(State::Unnamed(Vec::new())),
            written: Notify::new(),
            room,
        })
    }

    /// Whether it has no name yet.
    pub(super) fn is_unnamed(&self) -> bool {
        matches!(*self.state.lock(), State::Unnamed(_))
    }

    /// It is to be this object: what came so far goes there.
    pub(super) fn name(&self, begun: Box<dyn Begun>) {
        let mut state = self.state.lock();
        if let State::Unnamed(held) = &mut *state {
            let held = std::mem::take(held);
            *state = State::Named(begun, held);
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
    pub(super) async fn end(&self) -> Result<Option<(Box<dyn Begun>, Vec<u8>)>, Failure> {
        self.settled().await;
        match std::mem::replace(&mut *self.state.lock(), State::Over) {
            State::Named(begun, rest) => Ok(Some((begun, rest))),
            State::Failed(failure) => Err(failure),
            State::Unnamed(_) | State::Busy | State::Over => Ok(None),
        }
    }

    fn write(self: &Arc<Writing>, bytes: Buffer) -> Result<(), Failure> {
        take(&self.room, bytes.len())?;
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Busy) {
            State::Unnamed(mut held) => {
                if held.len() + bytes.len() > UNNAMED_BYTES_MAX {
                    return Err(refused(format!(
                        "the value has more than {UNNAMED_BYTES_MAX} bytes and no name; call write-data first"
                    )));
                }
                held.extend_from_slice(&bytes);
                *state = State::Unnamed(held);
            }
            State::Named(begun, mut held) if held.len() + bytes.len() < PIECE_BYTES => {
                held.extend_from_slice(&bytes);
                *state = State::Named(begun, held);
            }
            State::Named(mut begun, mut held) => {
                held.extend_from_slice(&bytes);
                let shared = Arc::clone(self);
                tokio::task::spawn_blocking(move || {
                    let written = begun.write(&held);
                    held.clear();
                    *shared.state.lock() = match written {
                        Ok(()) => State::Named(begun, held),
                        Err(failure) => State::Failed(failure),
                    };
                    shared.written.notify_waiters();
                });
            }
            other => *state = other,
        }
        Ok(())
    }
}

/// The stream by which a guest writes.
pub(super) struct Body(pub(super) Arc<Writing>);

#[wasmtime_wasi::async_trait]
impl Pollable for Body {
    async fn ready(&mut self) {
        self.0.settled().await;
    }
}

impl OutputStream for Body {
    fn write(&mut self, bytes: Buffer) -> StreamResult<()> {
        self.0.write(bytes).map_err(|failure| {
            let error = told(&failure);
            *self.0.state.lock() = State::Failed(failure);
            error
        })
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        match &*self.0.state.lock() {
            State::Busy => Ok(0),
            State::Failed(failure) => Err(told(failure)),
            State::Over => Err(StreamError::Closed),
            State::Unnamed(_) | State::Named(..) => Ok(PIECE_BYTES),
        }
    }
}
