//! WASI 0.2 in its smallest form, fixed for an attempt.
//!
//! Refuses the machine: no environment, no arguments, no network, no directory
//! but those that the configuration and the module's manifest both name. Clocks and randomness come from the
//! attempt's start, waits and seed, so that a replay sees the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use stepwell_types::LogLevel;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{FsPerms, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView};

use crate::account::{Account, RESOURCES_MAX};
use crate::http::{HttpDoor, Weights};
use crate::log::{SharedLogs, lock};
use crate::waits::{Io, Waits};
use crate::{Journal, Outside};

/// Longest line that standard output gathers before it becomes a log line, in bytes.
const LINE_BYTES_MAX: usize = 8 << 10;
/// Most random bytes that one call gives. They are made in one piece, which no deadline interrupts
/// and which costs no fuel: 64 MiB, that wasmtime-wasi allows, are seconds on a thread of others too.
const RANDOM_BYTES_MAX: u64 = 256 << 10;
/// How far each reading moves the clocks, in nanoseconds: time never stands still,
/// and never depends on how fast the machine is.
pub(crate) const TICK_NS: u64 = 1_000;

/// Directories that modules may be granted, read-only unless said. None by default.
#[derive(Debug, Default)]
pub struct Directories(pub Vec<DirectoryGrant>);

/// One directory that guests whose manifest names it may open; nothing outside it can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryGrant {
    /// On the host.
    pub host: std::path::PathBuf,
    /// The path under which guests see it.
    pub guest: String,
    /// Whether guests may change it.
    pub write: bool,
}

impl Directories {
    /// Checks that every granted directory can be opened.
    /// # Errors
    /// `HOST0004`.
    pub fn check(&self) -> Result<(), crate::Error> {
        for grant in &self.0 {
            cap_std::fs::Dir::open_ambient_dir(&grant.host, cap_std::ambient_authority()).map_err(
                |e| crate::Error::Directory {
                    path: grant.host.display().to_string(),
                    detail: e.to_string(),
                },
            )?;
        }
        Ok(())
    }
}

/// The WASI state of one attempt.
pub(crate) struct Wasi {
    /// Goes first when the attempt ends.
    door: HttpDoor,
    ctx: WasiCtx,
    table: ResourceTable,
    pub(crate) account: Account,
    pub(crate) weights: Weights,
    waits: Waits,
    http: WasiHttpCtx,
    out: LineStream,
    err: LineStream,
}

impl Wasi {
    pub(crate) fn new(seed: u64, logs: &SharedLogs, outside: &Outside) -> Wasi {
        let time = Time::default();
        let waits = Waits::new(
            outside.journal.clone(),
            outside.around.steady.clone(),
            time.clone(),
        );
        let out = LineStream::new(LogLevel::Info, logs);
        let err = LineStream::new(LogLevel::Warn, logs);
        let mut builder = WasiCtxBuilder::new();
        builder
            .stdout(out.clone())
            .stderr(err.clone())
            .secure_random(Randomness::new(seed, b"secure"))
            .insecure_random(Randomness::new(seed, b"insecure"))
            .insecure_random_seed(u128::from(seed) << 64 | u128::from(!seed))
            .max_random_size(RANDOM_BYTES_MAX)
            .wall_clock(Wall {
                journal: outside.journal.clone(),
                time: time.clone(),
            })
            .allow_tcp(false)
            .allow_udp(false);
        let granted = outside.grants().into_iter().flat_map(|g| &g.directories);
        let granted: Vec<&str> = granted.map(|path| &**path).collect();
        for grant in &outside.around.directories.0 {
            if !granted.contains(&grant.guest.as_str()) {
                continue;
            }
            let perms = if grant.write {
                FsPerms::ReadWrite
            } else {
                FsPerms::ReadOnly
            };
            // Checked when the configuration was read; one that has gone since is
            // simply not there for the guest.
            let _ = builder.preopened_dir(&grant.host, &grant.guest, perms);
        }
        let account = Account::new(outside.journal.clone());
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(crate::http::FIELD_BYTES_MAX);
        let looks = waits.looks.clone();
        Wasi {
            ctx: builder.build(),
            table,
            door: HttpDoor::new(outside, looks, account.clone(), logs.clone()),
            account,
            weights: Weights::default(),
            waits,
            http,
            out,
            err,
        }
    }

    pub(crate) fn view(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.ctx,
            table: &mut self.table,
        }
    }

    pub(crate) fn io(&mut self) -> Io<'_> {
        Io {
            wasi: WasiCtxView {
                ctx: &mut self.ctx,
                table: &mut self.table,
            },
            waits: &mut self.waits,
        }
    }

    pub(crate) fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.door,
        }
    }

    /// Counts what some headers or a request weigh now.
    pub(crate) fn weigh(&mut self, rep: u32) -> wasmtime::Result<()> {
        self.weights.weigh(rep, &self.table, &self.account)
    }

    /// Logs what was printed without a line break at its end.
    pub(crate) fn flush_lines(&self) {
        self.out.flush_line();
        self.err.flush_line();
    }
}

/// Nanoseconds since the attempt's start, moved by being read and by waits that end.
#[derive(Clone, Default)]
pub(crate) struct Time(Arc<AtomicU64>);

impl Time {
    /// A reading.
    pub(crate) fn read_ns(&self) -> u64 {
        self.0.fetch_add(TICK_NS, Ordering::Relaxed)
    }

    /// What the next reading gives, without reading.
    pub(crate) fn ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// It is at least so late now; never goes back. Gives the microsecond that it is.
    pub(crate) fn reach_us(&self, us: u64) -> u64 {
        let ns = us.saturating_mul(1_000);
        self.0.fetch_max(ns, Ordering::Relaxed).max(ns) / 1_000
    }
}

struct Wall {
    journal: Arc<Journal>,
    time: Time,
}

impl HostWallClock for Wall {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(TICK_NS)
    }

    fn now(&self) -> Duration {
        self.journal.looks_at_clock();
        let began_ms = u64::try_from(self.journal.began().0).unwrap_or(0);
        Duration::from_millis(began_ms) + Duration::from_nanos(self.time.read_ns())
    }
}

/// SHA-256 in counter mode over the attempt's seed.
struct Randomness {
    key: [u8; 32],
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Randomness {
    fn new(seed: u64, purpose: &[u8]) -> Randomness {
        let mut hash = Sha256::new();
        hash.update(seed.to_le_bytes());
        hash.update(purpose);
        Randomness {
            key: hash.finalize().into(),
            counter: 0,
            block: [0; 32],
            used: 32,
        }
    }

    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            if self.used == self.block.len() {
                let mut hash = Sha256::new();
                hash.update(self.key);
                hash.update(self.counter.to_le_bytes());
                self.block = hash.finalize().into();
                self.counter += 1;
                self.used = 0;
            }
            *byte = self.block[self.used];
            self.used += 1;
        }
    }
}

impl rand_core::TryRng for Randomness {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        self.fill(out);
        Ok(())
    }
}

/// Standard output or error: lines that go to the step's log.
#[derive(Clone)]
struct LineStream {
    level: LogLevel,
    logs: SharedLogs,
    line: Arc<std::sync::Mutex<Vec<u8>>>,
}

impl LineStream {
    fn new(level: LogLevel, logs: &SharedLogs) -> LineStream {
        LineStream {
            level,
            logs: logs.clone(),
            line: Arc::default(),
        }
    }

    fn add(&self, mut bytes: &[u8]) {
        let mut line = self
            .line
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            line.extend_from_slice(&bytes[..end]);
            self.emit(&mut line);
            bytes = &bytes[end + 1..];
        }
        line.extend_from_slice(bytes);
        if line.len() > LINE_BYTES_MAX {
            self.emit(&mut line);
        }
    }

    fn emit(&self, line: &mut Vec<u8>) {
        lock(&self.logs).push(self.level, &String::from_utf8_lossy(line));
        line.clear();
    }

    fn flush_line(&self) {
        let mut line = self
            .line
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if !line.is_empty() {
            self.emit(&mut line);
        }
    }
}

impl IsTerminal for LineStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LineStream {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LineStream {
    async fn ready(&mut self) {}
}

impl OutputStream for LineStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.add(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

impl tokio::io::AsyncWrite for LineStream {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        self.add(bytes);
        std::task::Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}
