//! Waiting, as the journal knows it: `wasi:io/poll`, the monotonic clock, and what of
//! `wasi:io/streams` would depend on how fast the outside is.
//!
//! A guest must run again as it ran. So it learns of the outside only where it waits, and how each
//! wait ended is noted: what was ready, and the attempt's time. Nothing else moves the clock but
//! being read. Refuses to let a look without a wait see what came meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime::{Result, StoreContextMut, bail};
use wasmtime_wasi::WasiCtxView;
use wasmtime_wasi::clocks::WasiClocksCtxView;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::bindings::io::{poll, streams};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamError};

use crate::Journal;
use crate::host::HostView;
use crate::journal::{Wait, diverged};
use crate::wasi::Time;

/// The version of the interfaces that wasmtime-wasi defines: what is replaced here must be there.
pub(crate) const WASI: &str = "0.2.12";

/// A clock that no wall clock moves: microseconds since some fixed moment.
pub trait Steady: Send + Sync {
    /// Never goes back; may be coarse.
    fn monotonic_us(&self) -> u64;
}

/// What an attempt waits with.
pub(crate) struct Waits {
    pub(crate) journal: Arc<Journal>,
    steady: Arc<dyn Steady>,
    /// What the steady clock said when the attempt's time was `base_us`.
    begun_us: u64,
    base_us: u64,
    pub(crate) time: Time,
    /// Pollables that are mere sleeps, by number, and when they end in the attempt's time.
    sleeps: HashMap<u32, u64>,
    /// Whether the guest looks without waiting: streams then have what they had.
    pub(crate) looks: Arc<AtomicBool>,
    /// The attempt has left the thread that it began on.
    aside: bool,
}

impl Waits {
    pub(crate) fn new(journal: Arc<Journal>, steady: Arc<dyn Steady>, time: Time) -> Waits {
        Waits {
            base_us: journal.time_before(),
            begun_us: steady.monotonic_us(),
            journal,
            steady,
            time,
            sleeps: HashMap::new(),
            looks: Arc::default(),
            aside: false,
        }
    }

    /// Microseconds since the attempt began, those before a crash included and the time between
    /// left out.
    fn elapsed_us(&self) -> u64 {
        let now = self.steady.monotonic_us();
        self.base_us + now.saturating_sub(self.begun_us)
    }

    /// Whoever waits, or calls, does so on a thread where that holds nobody up.
    pub(crate) async fn step_aside(&mut self) {
        if !std::mem::replace(&mut self.aside, true) {
            tokio::task::yield_now().await;
        }
    }
}

/// A guest's view of what it waits for.
pub(crate) struct Io<'a> {
    pub(crate) wasi: WasiCtxView<'a>,
    pub(crate) waits: &'a mut Waits,
}

impl Io<'_> {
    fn table(&mut self) -> &mut ResourceTable {
        self.wasi.table
    }

    /// Waits for one of these, or says how that ended before the crash.
    async fn wait(&mut self, pollables: Vec<Resource<DynPollable>>) -> Result<Vec<u32>> {
        if let Some(wait) = self.waits.journal.wait_before() {
            for index in &wait.ready {
                let Some(one) = pollables.get(*index as usize) else {
                    let failure =
                        diverged("this attempt waited for something else before the crash");
                    self.waits.journal.break_off(failure);
                    bail!("the attempt diverged from its journal");
                };
                // A sleep is over; what had come must be where it was.
                if !self.waits.sleeps.contains_key(&one.rep()) {
                    let one = Resource::new_borrow(one.rep());
                    poll::HostPollable::block(self.table(), one).await?;
                }
            }
            self.waits.time.reach_us(wait.us);
            return Ok(wait.ready);
        }
        self.waits.step_aside().await;
        let ready = poll::Host::poll(self.table(), pollables).await?;
        Ok(self.waited(ready))
    }

    fn waited(&mut self, ready: Vec<u32>) -> Vec<u32> {
        let us = self.waits.time.reach_us(self.waits.elapsed_us());
        let wait = Wait { us, ready };
        self.waits.journal.waited(wait.clone());
        wait.ready
    }
}

impl poll::Host for Io<'_> {
    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> Result<Vec<u32>> {
        self.wait(pollables).await
    }
}

impl poll::HostPollable for Io<'_> {
    async fn block(&mut self, pollable: Resource<DynPollable>) -> Result<()> {
        self.wait(vec![pollable]).await.map(|_| ())
    }

    async fn ready(&mut self, pollable: Resource<DynPollable>) -> Result<bool> {
        if let Some(wait) = self.waits.journal.wait_before() {
            let ready = !wait.ready.is_empty();
            if ready && !self.waits.sleeps.contains_key(&pollable.rep()) {
                poll::HostPollable::block(self.table(), pollable).await?;
            }
            self.waits.time.reach_us(wait.us);
            return Ok(ready);
        }
        self.waits.step_aside().await;
        let ready = poll::HostPollable::ready(self.table(), pollable).await?;
        self.waited(if ready { vec![0] } else { Vec::new() });
        Ok(ready)
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> Result<()> {
        self.waits.sleeps.remove(&pollable.rep());
        poll::HostPollable::drop(self.table(), pollable)
    }
}

impl monotonic_clock::Host for Io<'_> {
    fn now(&mut self) -> Result<monotonic_clock::Instant> {
        Ok(self.waits.time.read_ns())
    }

    fn resolution(&mut self) -> Result<monotonic_clock::Instant> {
        Ok(crate::wasi::TICK_NS)
    }

    fn subscribe_instant(
        &mut self,
        when: monotonic_clock::Instant,
    ) -> Result<Resource<DynPollable>> {
        let left = when.saturating_sub(self.waits.time.read_ns());
        self.subscribe_duration(left)
    }

    fn subscribe_duration(
        &mut self,
        wanted: monotonic_clock::Duration,
    ) -> Result<Resource<DynPollable>> {
        let now = self.waits.time.ns();
        // Of a sleep that began before a crash some is over, unless it is asked for again.
        let due_us = now.saturating_add(wanted) / 1_000;
        let left_us = due_us.saturating_sub(self.waits.elapsed_us());
        let left = wanted.min(left_us.saturating_mul(1_000));
        let mut clocks = WasiClocksCtxView {
            ctx: self.wasi.ctx.clocks(),
            table: self.wasi.table,
        };
        let sleep = monotonic_clock::Host::subscribe_duration(&mut clocks, left)?;
        self.waits.sleeps.insert(sleep.rep(), due_us);
        Ok(sleep)
    }
}

/// Offers [`Io`] in the place of what does not know the journal.
pub(crate) struct IoDoor;

impl HasData for IoDoor {
    type Data<'a> = Io<'a>;
}

/// Replaces what wasmtime-wasi linked. The linker must allow shadowing.
pub(crate) fn link<T: HostView>(linker: &mut Linker<T>) -> Result<()> {
    poll::add_to_linker::<T, IoDoor>(linker, |t| t.host().io())?;
    monotonic_clock::add_to_linker::<T, IoDoor>(linker, |t| t.host().io())?;
    let mut error = linker.instance(&format!("wasi:io/error@{WASI}"))?;
    error.func_wrap(
        "[method]error.to-debug-string",
        |mut store: StoreContextMut<'_, T>, (error,): (Resource<streams::Error>,)| {
            let io = store.data_mut().host().io();
            // As it is displayed: with what the server's environment may add to that, a guest
            // would see paths of the host, and another text on a replay.
            let text = format!("{:#}", io.wasi.table.get(&error)?);
            Ok((text,))
        },
    )?;
    let mut streams = linker.instance(&format!("wasi:io/streams@{WASI}"))?;
    streams.func_wrap(
        "[method]input-stream.read",
        |mut store: StoreContextMut<'_, T>, (stream, len): (Resource<DynInputStream>, u64)| {
            let io = store.data_mut().host().io();
            let read = look(io, |table| {
                streams::HostInputStream::read(table, stream, len)
            })?;
            Ok((read,))
        },
    )?;
    streams.func_wrap(
        "[method]input-stream.skip",
        |mut store: StoreContextMut<'_, T>, (stream, len): (Resource<DynInputStream>, u64)| {
            let io = store.data_mut().host().io();
            let skipped = look(io, |table| {
                streams::HostInputStream::skip(table, stream, len)
            })?;
            Ok((skipped,))
        },
    )?;
    streams.func_wrap_async(
        "[method]output-stream.check-write",
        |mut store: StoreContextMut<'_, T>, (stream,): (Resource<DynOutputStream>,)| {
            Box::new(async move {
                let mut io = store.data_mut().host().io();
                ready(&mut io, &stream).await?;
                let room = look(io, |table| {
                    streams::HostOutputStream::check_write(table, stream)
                })?;
                Ok((room,))
            })
        },
    )?;
    streams.func_wrap_async(
        "[method]output-stream.splice",
        |mut store: StoreContextMut<'_, T>,
         (to, from, len): (Resource<DynOutputStream>, Resource<DynInputStream>, u64)| {
            Box::new(async move {
                let mut io = store.data_mut().host().io();
                ready(&mut io, &to).await?;
                let moved = look(io, |table| {
                    streams::HostOutputStream::splice(table, to, from, len)
                })?;
                Ok((moved,))
            })
        },
    )?;
    Ok(())
}

/// Whether a stream has room depends on how fast the other side reads: the guest finds out
/// when it has.
async fn ready(io: &mut Io<'_>, stream: &Resource<DynOutputStream>) -> Result<()> {
    io.table().get_mut(stream)?.ready().await;
    Ok(())
}

/// Does what a guest does without waiting.
fn look<R>(
    io: Io<'_>,
    work: impl FnOnce(&mut ResourceTable) -> Result<R, StreamError>,
) -> Result<Result<R, streams::StreamError>> {
    io.waits.looks.store(true, Ordering::Relaxed);
    let done = work(io.wasi.table);
    io.waits.looks.store(false, Ordering::Relaxed);
    match done {
        Ok(done) => Ok(Ok(done)),
        Err(e) => streams::Host::convert_stream_error(io.wasi.table, e).map(Err),
    }
}
