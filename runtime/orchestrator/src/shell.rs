//! Threads around the drivers: one tokio loop a core, the commit thread, the worker pool.
//!
//! Refuses decisions: it moves messages, time and bytes between the drivers and the ports.

pub(crate) mod event_loop;
mod inbox;
mod marked;
mod processors;
mod slow;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stepwell_flow::resource::ResourceMap;
use stepwell_store::{Batch, Key, Reader};
use stepwell_types::id::SHARDS;
use stepwell_types::{ExecutionId, ShardId};
use tokio::sync::oneshot;

pub(crate) use inbox::{Inbox, Message};

use crate::Error;
use crate::catalog::Catalog;
use crate::committer::Committer;
use crate::driver::{self, Driver};
use crate::handle::Orchestrator;
use crate::ports::Ports;
use crate::rows;
use crate::suspects;
use crate::watch::Watchers;
use event_loop::EventLoop;
use processors::Processors;

/// Bounds and sizes of the whole engine.
#[derive(Debug, Clone)]
pub struct Options {
    /// Loops: one a core.
    pub loops: usize,
    /// Worker-pool threads: one a core.
    pub workers: usize,
    /// Each driver's bounds.
    pub driver: driver::Options,
    /// How long a turn that was sent away from its loop may take.
    pub turn_max: Duration,
    /// Free bytes below which new work is refused.
    pub disk_floor_bytes: u64,
    /// What resources mean in every flow that is published, unless it is published with another meaning.
    pub resources: ResourceMap,
}

/// How long what runs beside a driver may outlive it.
const LINGER: Duration = Duration::from_secs(5);

/// What runs on each loop beside its driver, e.g. the HTTP connections.
pub type Companion =
    Arc<dyn Fn(usize, Orchestrator) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The running threads.
pub struct Shell {
    loops: Vec<std::thread::JoinHandle<()>>,
    inboxes: Vec<Inbox>,
    committer: Arc<Committer>,
    commit_thread: std::thread::JoinHandle<()>,
    disk: DiskWatch,
    pool: tokio::runtime::Runtime,
}

/// What the handle and every loop share.
pub(crate) struct Shared {
    pub inboxes: Vec<Inbox>,
    pub reader: Arc<dyn Reader>,
    pub catalog: Catalog,
    pub committer: Arc<Committer>,
    pub watchers: Arc<Watchers>,
    pub claims: crate::activity::Claims,
    pub clock: Arc<dyn crate::ports::Clock>,
    pub entropy: Arc<dyn crate::ports::Entropy>,
    pub outward: Arc<dyn crate::ports::Outward>,
    pub readers: Arc<tokio::sync::Semaphore>,
    /// Those that read what is short.
    pub short_readers: Arc<tokio::sync::Semaphore>,
    /// Where pages of histories and of logs ended.
    pub histories: crate::history::Histories,
    pub line_bookmarks: crate::logs::LineBookmarks,
    pub stopping: AtomicBool,
    pub turn_max: Duration,
    pub disk_full: parking_lot::Mutex<Option<(u64, u64)>>,
    pub metrics: Vec<parking_lot::Mutex<crate::api::Metrics>>,
}

/// The row that says that the last process stopped in good order.
fn clean_key() -> Key {
    Key::Meta {
        name: "clean-stop".into(),
    }
}

/// The row that says that a process has run on this store: without it nobody can
/// have stopped badly.
fn used_key() -> Key {
    Key::Meta {
        name: "used".into(),
    }
}

/// A number for this process's life that no other has, and is not 0.
fn life(entropy: &dyn crate::ports::Entropy) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = entropy.draw();
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) | 1
}

impl Shell {
    /// Recovers what the store holds and starts all threads.
    /// # Errors
    /// `RUN0012` when the store cannot be read, or the system gives no threads.
    pub fn start(
        options: &Options,
        mut ports: Ports,
        companion: &Companion,
    ) -> Result<(Orchestrator, Shell), Error> {
        let unused = ports.reader.get(&used_key())?.is_none();
        let clean = unused || ports.reader.get(&clean_key())?.is_some();
        let mut begin = Batch::default();
        begin.put(used_key(), rows::encode(&true));
        begin.delete(clean_key());
        let last = ports.black_box.last();
        let suspects = suspects::count(&*ports.reader, &last, &mut begin)?;
        driver::count_open_once(&*ports.reader, &mut begin)?;
        driver::gather_open(&*ports.reader, &mut begin)?;
        ports.writer.commit(&[begin])?;
        if !last.steps.is_empty() {
            tracing::warn!(
                steps = ?last.steps,
                "the last process died while it ran these steps, or walked turns (entry 0); steps run alone until they end"
            );
        }
        ports.black_box.begin(life(&*ports.entropy));
        let processors = Arc::new(Processors::new(ports.black_box.clone(), suspects > 0));
        let system = |e: std::io::Error| Error::Store(format!("cannot start a thread: {e}"));
        let (committer, commit_thread) =
            Committer::start(ports.writer, ports.clock.clone(), ports.fatal.clone())
                .map_err(system)?;
        let catalog = Catalog::open(
            ports.reader.clone(),
            ports.modules.clone(),
            (ports.vault.clone(), ports.keeper.clone()),
            committer.clone(),
            ports.clock.clone(),
            options.resources.clone(),
        )?;
        let count = options.loops.clamp(1, usize::from(SHARDS));
        let (inboxes, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| Inbox::new()).unzip();
        let shared = Arc::new(Shared {
            inboxes: inboxes.clone(),
            reader: ports.reader.clone(),
            catalog,
            committer: committer.clone(),
            watchers: Arc::new(Watchers::default()),
            claims: crate::activity::Claims::default(),
            clock: ports.clock.clone(),
            entropy: ports.entropy.clone(),
            outward: ports.outward.clone(),
            readers: Arc::new(tokio::sync::Semaphore::new(crate::history::READERS_MAX)),
            short_readers: Arc::new(tokio::sync::Semaphore::new(crate::history::READERS_MAX)),
            histories: crate::history::Histories::default(),
            line_bookmarks: crate::logs::LineBookmarks::default(),
            stopping: AtomicBool::new(false),
            turn_max: options.turn_max,
            disk_full: parking_lot::Mutex::new(None),
            metrics: (0..count).map(|_| parking_lot::Mutex::default()).collect(),
        });
        let started = ports.worker_started.clone();
        let pool = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.workers.max(1))
            .thread_name("worker")
            .on_thread_start(move || started())
            .enable_all()
            .build()
            .map_err(system)?;
        let orchestrator = Orchestrator::new(shared.clone());
        let mut loops = Vec::new();
        for (index, receiver) in receivers.into_iter().enumerate() {
            let view = ports_view(&shared, &ports.black_box);
            let driver = recovered_driver(index, count, clean, options, &view)?;
            let event_loop = EventLoop::new(
                index,
                driver,
                receiver,
                shared.clone(),
                ports.runner.clone(),
                processors.clone(),
                pool.handle().clone(),
                ports.fatal.clone(),
            );
            let beside = companion(index, orchestrator.clone());
            loops.push(spawn_loop(index, event_loop, beside, &committer).map_err(system)?);
        }
        let disk = DiskWatch::start(shared, options.disk_floor_bytes).map_err(system)?;
        let shell = Shell {
            loops,
            inboxes,
            committer,
            commit_thread,
            disk,
            pool,
        };
        Ok((orchestrator, shell))
    }

    /// Stops in good order: no step begins, running ones get `grace` to end, what
    /// they leave is committed. Blocks for at most about `grace`.
    pub fn stop(self, grace: Duration) {
        for inbox in &self.inboxes {
            inbox.send(Message::Stop { grace });
        }
        for thread in self.loops {
            let _ = thread.join();
        }
        self.disk.stop();
        let mut clean = Batch::default();
        clean.put(clean_key(), rows::encode(&true));
        self.committer.submit(clean, 1, Box::new(|| {}));
        self.committer.close();
        let _ = self.commit_thread.join();
        self.pool.shutdown_background();
    }
}

/// What a driver is built from.
struct PortsView {
    reader: Arc<dyn Reader>,
    programs: Arc<dyn crate::ports::Programs>,
    now: stepwell_types::Timestamp,
}

fn ports_view(shared: &Arc<Shared>, black_box: &Arc<dyn crate::ports::BlackBox>) -> PortsView {
    PortsView {
        reader: shared.reader.clone(),
        programs: Arc::new(marked::Marked {
            programs: shared.catalog.programs(),
            black_box: black_box.clone(),
        }),
        now: shared.clock.now(),
    }
}

fn recovered_driver(
    index: usize,
    count: usize,
    clean: bool,
    options: &Options,
    view: &PortsView,
) -> Result<Driver, Error> {
    let shards: Vec<_> = (0..SHARDS)
        .filter(|s| usize::from(*s) % count == index)
        .filter_map(|s| u8::try_from(s).ok().map(ShardId))
        .collect();
    let mut driver = Driver::new(
        u8::try_from(index).unwrap_or(u8::MAX),
        &shards,
        options.driver.clone(),
        view.reader.clone(),
        view.programs.clone(),
    );
    driver.recover(clean, view.now)?;
    Ok(driver)
}

thread_local! {
    /// The loop that this thread runs, if it runs one.
    static LOOP: std::cell::Cell<Option<usize>> = const { std::cell::Cell::new(None) };
}

/// The loop that the caller runs on, if any.
pub(crate) fn current_loop() -> Option<usize> {
    LOOP.with(std::cell::Cell::get)
}

fn spawn_loop(
    index: usize,
    event_loop: EventLoop,
    beside: Pin<Box<dyn Future<Output = ()> + Send>>,
    committer: &Arc<Committer>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let (sleeps, wakes) = (committer.clone(), committer.clone());
    // Made here, so that the engine does not start when the system has none to give.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || sleeps.loop_sleeps())
        .on_thread_unpark(move || wakes.loop_wakes())
        .event_interval(31)
        .build()?;
    committer.loop_wakes();
    let last = committer.clone();
    std::thread::Builder::new()
        .name(format!("loop-{index}"))
        .spawn(move || {
            LOOP.with(|l| l.set(Some(index)));
            let beside = runtime.spawn(beside);
            runtime.block_on(event_loop.run());
            // Whoever waited for an answer has just got one, and must still get to send it.
            let _ = runtime.block_on(async { tokio::time::timeout(LINGER, beside).await });
            last.loop_sleeps();
        })
}

/// The shard that an execution of this name lives on, or any of the caller's loop.
pub(crate) fn shard_for(flow: &str, name: Option<&str>, loops: usize, random: u8) -> ShardId {
    if let Some(name) = name {
        return ShardId::of_name(flow, name);
    }
    let any = random & 63;
    match current_loop() {
        None => ShardId(any),
        Some(index) => {
            let step = u8::try_from(loops).unwrap_or(1).max(1);
            let base = any - any % step;
            let shard = base + u8::try_from(index).unwrap_or(0);
            ShardId(if shard < 64 { shard } else { shard % step })
        }
    }
}

/// The loop that owns an execution.
pub(crate) fn loop_of(id: ExecutionId, loops: usize) -> usize {
    usize::from(id.shard().0) % loops
}

/// Looks at the free space now and then, and closes admission before it is gone.
struct DiskWatch {
    quit: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl DiskWatch {
    fn start(shared: Arc<Shared>, floor: u64) -> std::io::Result<DiskWatch> {
        let (quit, quitting) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("disk-watch".into())
            .spawn(move || {
                loop {
                    let full = match shared.reader.free_bytes() {
                        Ok(free) if free >= floor => None,
                        Ok(free) => Some((free >> 20, floor >> 20)),
                        // A data directory that is gone has no room for anything.
                        Err(_) => Some((0, floor >> 20)),
                    };
                    let was = std::mem::replace(&mut *shared.disk_full.lock(), full);
                    if was.is_some() != full.is_some() {
                        match full {
                            Some((free_mib, floor_mib)) => tracing::error!(
                                free_mib,
                                floor_mib,
                                "the disk is almost full: new work is refused until there is room"
                            ),
                            None => tracing::info!("there is room on the disk again"),
                        }
                    }
                    for inbox in &shared.inboxes {
                        inbox.send(Message::Disk(full));
                    }
                    let wait = Duration::from_millis(500);
                    if quitting.recv_timeout(wait)
                        != Err(std::sync::mpsc::RecvTimeoutError::Timeout)
                    {
                        return;
                    }
                }
            })?;
        Ok(DiskWatch { quit, thread })
    }

    fn stop(self) {
        drop(self.quit);
        let _ = self.thread.join();
    }
}

impl Shared {
    /// Whether starts are refused because the process is about to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// A reply to come.
pub(crate) type ReplyTo = oneshot::Sender<driver::Reply>;
