//! `stepwell serve`: opens everything, serves until told to stop, stops in good order.

use std::io::IsTerminal as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use stepwell_buckets::Holding;
use stepwell_host_api::objects::Objects;
use stepwell_host_api::{Namespaces, Secrets};
use stepwell_orchestrator::ports::Ports;
use stepwell_orchestrator::shell::{self, Companion, Shell};
use stepwell_orchestrator::{Orchestrator, driver};
use stepwell_server as server;
use stepwell_store::Reader;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::args;
use crate::config::{self, Config, Settings};
use crate::elsewhere::Elsewhere;
use crate::exit::{Exit, Trouble};
use crate::limits::Ways;
use crate::objects::InBuckets;
use crate::objects::landing::{self, Recovered};
use crate::objects::room::Room;
use crate::reach::Reach;
use crate::system::{self, SystemClock, SystemEntropy};
use crate::{elsewhere, output, secrets, state, wiring};

/// What is in a data directory.
const STORE: &str = "store";
const BUCKETS: &str = "buckets";
const MODULES: &str = "modules";
const BLACK_BOX: &str = "black-box";

/// Time beyond the bound of a stop for last answers: who waits for an execution that does
/// not end within the bound is told that it goes on later.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// Signals this soon after the first are the same wish.
const ECHO: Duration = Duration::from_millis(300);

/// Runs the server.
pub fn serve(args: &args::Serve) -> Result<Exit, Trouble> {
    let settings = config::load(args)?;
    let mut options = http_options(&settings)?;
    log_to_stderr()?;
    // Before anybody can see that a server is here: from its first open port on, a signal
    // is a wish for a stop in good order, not the end.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the main thread's runtime")?;
    let signals = {
        let _inside = runtime.enter();
        Signals::watch()?
    };
    raise_file_limit();
    // Before anything is made in it.
    stepwell_store_rocks::may_hold(&settings.data_dir, STORE, &[BUCKETS, MODULES, BLACK_BOX])
        .map_err(Trouble::system)?;
    make_private(&settings.data_dir)?;
    let loops = settings
        .config
        .experimental
        .loops
        .unwrap_or_else(system::cores);
    // First the address: a second server must not even look at the store.
    let listeners = server::listen(settings.listen, loops).map_err(Trouble::system)?;
    let address = listeners.first().map(TcpListener::local_addr);
    let address = address.transpose().context("the listening socket")?;
    let reach = Arc::new(Reach::new());
    let (ports, elsewhere, sure) = ports(&settings, &mut options, &reach)?;
    let stop_bound = Duration::from_secs(settings.config.stop_seconds.unwrap_or(20));
    let stop = options.stop.clone();
    let companion = companion(listeners, options, stop_bound + LAST_ANSWERS);
    let engine = engine_options(&settings.config, loops);
    let start = move || {
        let (orchestrator, shell) =
            Shell::start(&engine, ports, &companion).map_err(Trouble::system)?;
        reach.open(orchestrator.executions());
        sure.land(orchestrator.clone())?;
        Ok((orchestrator, shell))
    };
    let announce = || announce(address.unwrap_or(settings.listen), &settings);
    let run = until_stopped(signals, start, announce, &elsewhere, &stop, stop_bound);
    runtime.block_on(run)
}

fn http_options(settings: &Settings) -> Result<server::Options, Trouble> {
    let seed = system::draw();
    let mut options =
        server::Options::new(u32::from_be_bytes([seed[0], seed[1], seed[2], seed[3]]));
    options.token = settings.token.clone();
    options.check(settings.listen).map_err(Trouble::usage)?;
    let config = &settings.config;
    if let Some(bytes) = config.upload_bytes_max {
        options.upload_bytes_max = bytes;
    }
    options.step_limits = Some(wiring::told(config));
    if let Some(seconds) = config.trigger_wait_seconds {
        options.trigger_wait = Duration::from_secs(seconds);
    }
    Ok(options)
}

fn engine_options(config: &Config, loops: usize) -> shell::Options {
    let (_, pool) = wiring::limits(config);
    let experimental = &config.experimental;
    shell::Options {
        loops,
        workers: experimental.workers.unwrap_or_else(system::cores),
        driver: driver::Options {
            hot_max: experimental
                .hot_max
                .unwrap_or(50_000)
                .div_ceil(loops.max(1)),
            hot_bytes_max: memory_for_payloads() / loops.max(1),
            state_bytes_max: memory_for_one(),
            open_bytes_max: 256 << 20,
            // One that began without a slot would wait behind others' guests, flow or no flow.
            steps_running_max: (pool.slots as usize).div_ceil(loops.max(1)).max(STEPS_MIN),
            calls_running_max: experimental
                .calls_max
                .unwrap_or(CALLS_MAX)
                .div_ceil(loops.max(1)),
            checkpoint_bytes_min: 16 << 10,
            descendants_max: stepwell_types::limits::DESCENDANTS_MAX,
            cautious_ms: 60_000,
            aside: driver::Aside {
                at_once: system::cores().div_ceil(loops.max(1)),
                ..driver::Aside::default()
            },
        },
        turn_max: experimental
            .turn_ms_max
            .map_or(TURN_MAX, Duration::from_millis),
        disk_floor_bytes: disk_floor_bytes(config),
        resources: config.resources.clone(),
    }
}

/// Room that is left on the disk of the data directory.
fn disk_floor_bytes(config: &Config) -> u64 {
    config.disk_floor_mib.unwrap_or(256) << 20
}

/// Steps of modules that each loop runs at once at least.
const STEPS_MIN: usize = 4;

/// Calls of Tasks that run at once, in all loops: each takes a connection and some 100 KiB.
const CALLS_MAX: usize = 4_096;

/// All that may be counted for 32 MiB of data takes some 25 s of a free core.
const TURN_MAX: Duration = Duration::from_secs(120);

/// A state's text can grow some ten times when it is parsed: a sixteenth of what is free
/// when the server starts is what payloads may take as text.
fn memory_for_payloads() -> usize {
    usize::try_from(system::memory_bytes_free() / 16)
        .unwrap_or(usize::MAX)
        .max(64 << 20)
}

/// What one execution's data may take: no small machine is one execution's alone. That one ended by
/// it is recorded, so that a machine of another size tells the same of it.
fn memory_for_one() -> usize {
    usize::try_from(system::memory_bytes_free() / 4)
        .unwrap_or(usize::MAX)
        .clamp(STATE_BYTES_MIN, stepwell_types::limits::STATE_BYTES_MAX)
}

/// Two of the largest documents, of many small values.
const STATE_BYTES_MIN: usize = 256 << 20;

/// Changes of objects that are sure, and those of the process before.
struct Sure {
    sure: Receiver<Holding>,
    recovered: Recovered,
}

impl Sure {
    /// Makes them on a thread of its own. Needs a runtime.
    fn land(self, orchestrator: Orchestrator) -> Result<(), Trouble> {
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new()
            .name("landing".into())
            .spawn(move || landing::land(&self.sure, self.recovered, &orchestrator, &runtime))
            .context("a thread for objects")?;
        Ok(())
    }
}

/// The ports, and the buckets that they share with the API.
fn ports(
    settings: &Settings,
    options: &mut server::Options,
    reach: &Arc<Reach>,
) -> Result<(Ports, Elsewhere, Sure), Trouble> {
    let dir = &settings.data_dir;
    let store = stepwell_store_rocks::Options {
        sync: !settings.config.experimental.no_sync,
        ..stepwell_store_rocks::Options::default()
    };
    let (reader, writer) =
        stepwell_store_rocks::open(&dir.join(STORE), store).map_err(Trouble::system)?;
    // After the store: from here on no other process has this data directory.
    let instance = elsewhere::instance(Some(dir))?;
    let buckets = wiring::buckets(&settings.config, Some(dir.join(BUCKETS)), instance.clone())?;
    options.buckets = buckets.clone();
    let reader: Arc<dyn Reader> = Arc::new(reader);
    // Before anybody reads an object.
    let recovered = landing::recover(&buckets, &*reader)?;
    let room = Arc::new(Room::of(
        buckets.clone(),
        disk_floor_bytes(&settings.config),
    ));
    let (in_buckets, sure) = InBuckets::queued(buckets.clone(), Arc::clone(&room));
    let in_buckets: Arc<dyn Objects> = Arc::new(in_buckets);
    let vault = secrets::open(settings, Arc::clone(&reader))?;
    let kept: Arc<dyn Secrets> = Arc::new(vault.clone());
    let limiter = settings.config.limits.limiter()?;
    let elsewhere = Elsewhere::open(&settings.config, &limiter, &in_buckets, &instance, &kept)?;
    elsewhere.will_sweep();
    let namespaces = Namespaces::of(Arc::clone(&reader), settings.config.state.quotas());
    let bridges = wiring::bridges(
        &settings.config,
        &limiter,
        &elsewhere,
        Arc::clone(&kept),
        (namespaces.clone(), in_buckets),
        reach.clone(),
    )?;
    let sandbox = wiring::sandbox(dir.join(MODULES), &settings.config, bridges.clone())?;
    let floor = disk_floor_bytes(&settings.config);
    let shelf = wiring::Shelf::new(sandbox.modules().clone(), floor);
    let ports = Ports {
        reader,
        writer: Box::new(writer),
        runner: Arc::new(wiring::Runner {
            sandbox: Some(sandbox),
            bridges,
            buckets,
            room,
        }),
        outward: Arc::new(Ways {
            limiter,
            machines: elsewhere.machines.clone(),
        }),
        modules: Arc::new(shelf),
        vault: Arc::new(secrets::Sealer(vault)),
        keeper: Arc::new(state::Kept(namespaces)),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        black_box: Arc::new(wiring::Recorder::open(&dir.join(BLACK_BOX))),
        fatal: Arc::new(|e| {
            // Nobody knows whether the last batch is on the disk: recovery decides.
            tracing::error!(code = e.code(), reason = %e, "the store failed; the process ends");
            std::process::abort();
        }),
        worker_started: Arc::new(|| {
            // Steps that take long give way to the loops. Refusal changes nothing else.
            let _ = rustix::process::nice(5);
        }),
    };
    // What was made in it just now, and with it all that comes to lie there, is lost without its name.
    let synced = std::fs::File::open(dir).and_then(|dir| dir.sync_all());
    synced.context("the data directory's names")?;
    Ok((ports, elsewhere, Sure { sure, recovered }))
}

/// HTTP connections beside the driver of each loop.
fn companion(listeners: Vec<TcpListener>, options: server::Options, drain: Duration) -> Companion {
    let listeners: Vec<_> = listeners.into_iter().map(|l| Mutex::new(Some(l))).collect();
    // One application for all loops, so that its counters count everything.
    let app: OnceLock<server::Router> = OnceLock::new();
    Arc::new(move |index, orchestrator: Orchestrator| {
        let app = app
            .get_or_init(|| server::app(orchestrator, options.clone()))
            .clone();
        let listener = listeners
            .get(index)
            .and_then(|slot| slot.lock().unwrap_or_else(PoisonError::into_inner).take());
        let stop = options.stop.clone();
        Box::pin(async move {
            let Some(listener) = listener else { return };
            let served = server::serve_on(listener, app, stop.cancelled(), drain).await;
            if let Err(reason) = served {
                tracing::error!(%reason, "a loop cannot serve HTTP");
            }
        })
    })
}

fn announce(address: SocketAddr, settings: &Settings) {
    let guarded = if settings.token.is_some() {
        "a bearer token is needed"
    } else {
        "no token; only this machine is answered"
    };
    output::print(&format!(
        "stepwell is listening on http://{address} ({guarded})"
    ));
    tracing::info!(
        %address,
        data = %settings.data_dir.display(),
        version = env!("CARGO_PKG_VERSION"),
        "ready"
    );
}

/// The two signals that ask for a stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on both are noted and no longer end the process. Needs a runtime.
    fn watch() -> Result<Signals, Trouble> {
        let failed = "signals cannot be watched";
        Ok(Signals {
            terminate: signal(SignalKind::terminate()).context(failed)?,
            interrupt: signal(SignalKind::interrupt()).context(failed)?,
        })
    }

    /// The next wish for an end, when the first came then. A signal that comes close upon the
    /// first is its echo: whoever ends a group of processes may signal each and the group.
    async fn wish(&mut self, first: Option<Instant>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            if first.is_none_or(|first| first.elapsed() >= ECHO) {
                return;
            }
        }
    }
}

/// Starts, waits for a signal, then stops; a second signal, or time, ends it at once.
/// A signal during a start stops what has been started as soon as it has.
async fn until_stopped(
    mut signals: Signals,
    start: impl FnOnce() -> Result<(Orchestrator, Shell), Trouble> + Send + 'static,
    announce: impl FnOnce(),
    elsewhere: &Elsewhere,
    stop: &CancellationToken,
    bound: Duration,
) -> Result<Exit, Trouble> {
    let mut starting = tokio::task::spawn_blocking(start);
    let mut early = None;
    let started = loop {
        tokio::select! {
            biased;
            started = &mut starting => break started.context("starting")?,
            () = signals.wish(early) => {
                if early.is_some() {
                    die("ended while it was starting");
                }
                early = Some(Instant::now());
                tracing::info!("stopping as soon as the store is read; a second signal ends it at once");
            }
        }
    };
    let (orchestrator, shell) = started?;
    announce();
    let gate = Arc::new(wiring::Door(orchestrator.gate()));
    tokio::spawn(elsewhere.clone().sweep(gate));
    if early.is_none() {
        signals.wish(None).await;
    }
    let first = early.unwrap_or_else(Instant::now);
    tracing::info!(
        seconds = bound.as_secs(),
        "stopping; a second signal ends it at once"
    );
    // First: what runs elsewhere is left to the next process, not ended.
    elsewhere.stopping.cancel();
    orchestrator.close();
    stop.cancel();
    let stopped = tokio::task::spawn_blocking(move || shell.stop(bound));
    // The shell keeps the bound itself; this is the net under it.
    let net = tokio::time::sleep(bound + LAST_ANSWERS + Duration::from_secs(3));
    tokio::select! {
        done = stopped => {
            done.context("stopping")?;
            tracing::info!("stopped");
            Ok(Exit::Ok)
        }
        () = signals.wish(Some(first)) => die("stopped at once"),
        () = net => die("did not stop in time; recovery will go on from the log"),
    }
}

/// As `kill -9` would: what is durable is safe, and nothing else was promised.
fn die(reason: &str) -> ! {
    output::complain(reason);
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}

/// The data directory holds payloads: only its owner may look. One that exists keeps the
/// rights that somebody gave it; that others may look is said.
fn make_private(dir: &Path) -> Result<(), Trouble> {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .and_then(|()| std::fs::metadata(dir));
    let mode = made.map_err(|e| {
        Trouble::system(format!(
            "cannot make the data directory {}: {e}",
            dir.display()
        ))
    })?;
    let mode = mode.permissions().mode() & 0o777;
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    let synced = std::fs::File::open(parent.unwrap_or(Path::new("."))).and_then(|p| p.sync_all());
    if let Err(reason) = synced {
        // One may not look into every directory in which one may be.
        tracing::debug!(%reason, "the data directory's own name is not brought to the disk");
    }
    if mode & 0o077 != 0 {
        tracing::warn!(
            "other users may look into {0} (mode {mode:o}): it holds payloads and the seeds of task tokens; `chmod 700 {0}` keeps them out",
            dir.display()
        );
    }
    Ok(())
}

/// Sockets and tables need more files than the usual soft limit.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What there was may still do.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// A word of a filter that would be read as a part of the program that there is not: nothing at all
/// would be logged.
fn no_level(filter: &str) -> Option<&str> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let mut words = filter.split(',').map(str::trim);
    words.find(|word| {
        let bare = !word.is_empty() && !word.contains(['=', '[', ':', '_']);
        let level = LEVELS.iter().any(|known| word.eq_ignore_ascii_case(known));
        bare && !level && word.parse::<u8>().is_err()
    })
}

/// Human on a terminal, JSON elsewhere.
fn log_to_stderr() -> Result<(), Trouble> {
    let wanted = system::variable("STEPWELL_LOG").unwrap_or_else(|| "info".to_owned());
    if let Some(word) = no_level(&wanted) {
        let text = format!(
            "STEPWELL_LOG has {word:?}, which is no level (off, error, warn, info, debug, trace); of one part of the program say `stepwell_server=debug`"
        );
        return Err(Trouble::usage(text));
    }
    let filter = tracing_subscriber::EnvFilter::builder()
        .parse(&wanted)
        .map_err(|e| Trouble::usage(format!("STEPWELL_LOG is {wanted:?}: {e}")))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second subscriber in one process can only be a test's.
    let _ = if std::io::stderr().is_terminal() {
        let log = log.with_target(false).finish();
        log.with(filter_fn(tells_no_secrets)).try_init()
    } else {
        let log = log.json().flatten_event(true).finish();
        log.with(filter_fn(tells_no_secrets)).try_init()
    };
    Ok(())
}

/// The client of container engines tells whole requests, variables and all, to whoever asks for
/// more than `info`.
fn tells_no_secrets(about: &Metadata<'_>) -> bool {
    !about.target().starts_with("bollard") || *about.level() <= Level::INFO
}

#[cfg(test)]
mod tests {
    use super::no_level;

    #[test]
    fn filters_that_would_log_nothing_are_told() {
        for fine in [
            "",
            "info",
            "WARN,stepwell_server=debug",
            "3",
            "off",
            "hyper=trace",
            "stepwell_cli",
        ] {
            assert_eq!(no_level(fine), None, "{fine}");
        }
        assert_eq!(no_level("verbose"), Some("verbose"));
        assert_eq!(no_level("warn, all"), Some("all"));
    }
}
