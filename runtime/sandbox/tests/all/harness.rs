//! A sandbox in a temporary folder, and steps to run in it.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use stepwell_host_api::http::WallClock;
use stepwell_host_api::wasi::Directories;
use stepwell_host_api::{Bridges, HttpBridge, HttpOptions, LimitOptions, Limiter, OpenGate};
use stepwell_sandbox::{Clock, CompileLimits, Limits, Options, Pool, Sandbox};
use stepwell_types::{
    Data, Digest, EntryId, ExecutionId, ShardId, StepOutcome, StepRequest, StepTarget, Timestamp,
};

pub struct RealClock(Instant);

impl RealClock {
    pub fn new() -> RealClock {
        RealClock(Instant::now())
    }
}

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("clock");
        Timestamp(i64::try_from(since.as_millis()).expect("clock"))
    }

    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).expect("clock")
    }
}

/// A clock that nobody sets of which a millisecond lasts twenty seconds.
pub struct Hasty(RealClock);

impl Hasty {
    pub fn new() -> Hasty {
        Hasty(RealClock::new())
    }
}

impl Clock for Hasty {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn monotonic_us(&self) -> u64 {
        self.0.monotonic_us().saturating_mul(20_000)
    }
}

pub struct TestBox {
    pub sandbox: Arc<Sandbox>,
    pub dir: tempfile::TempDir,
}

pub fn options(dir: &Path, limits: Limits) -> Options {
    Options {
        modules_dir: dir.join("modules"),
        compiler: vec![env!("CARGO_BIN_EXE_stepwell-compile-module").into()],
        module_bytes_max: 8 << 20,
        limits,
        compile_limits: CompileLimits::default(),
        pool: Pool {
            slots: 8,
            memory_bytes: limits.memory_bytes,
            table_elements: limits.table_elements,
        },
        directories: Directories::default(),
        bridges: bridges(HttpOptions::default()),
        clock: Arc::new(RealClock::new()),
    }
}

/// Bridges of these settings.
pub fn bridges(http: HttpOptions) -> Bridges {
    let clock: WallClock = Arc::new(|| RealClock::new().now());
    let limiter = Limiter::new(LimitOptions::default(), clock.clone());
    let http = HttpBridge::new(http, limiter.clone(), clock.clone()).expect("bridge");
    Bridges::http_alone(http, &limiter, &clock)
}

pub fn sandbox(limits: Limits) -> TestBox {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let sandbox = Sandbox::open(options(dir.path(), limits)).expect("sandbox");
    TestBox { sandbox, dir }
}

/// A sandbox with another clock.
pub fn sandbox_by(clock: impl Clock + 'static, limits: Limits) -> TestBox {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut options = options(dir.path(), limits);
    options.clock = Arc::new(clock);
    // By that clock too: compiling is not what such a test is about.
    options.compile_limits.wall_ms = 1 << 40;
    let sandbox = Sandbox::open(options).expect("sandbox");
    TestBox { sandbox, dir }
}

/// A sandbox with directories that modules may be granted.
pub fn sandbox_with(directories: Directories) -> TestBox {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut options = options(dir.path(), Limits::default());
    options.directories = directories;
    let sandbox = Sandbox::open(options).expect("sandbox");
    TestBox { sandbox, dir }
}

/// The component of a guest in `tests/programs`.
pub fn guest(name: &str) -> Vec<u8> {
    let path: PathBuf = xtask::guests::component("tests/programs", name).expect(name);
    std::fs::read(path).expect(name)
}

/// Waits for a future the plain way, without a runtime.
pub fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut cx = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        std::thread::park();
    }
}

impl TestBox {
    /// As after a restart: the same folder, nothing loaded. `between` sees the
    /// files while no process has them mapped.
    pub fn reopen(self, limits: Limits, between: impl FnOnce()) -> TestBox {
        let TestBox { sandbox, dir } = self;
        drop(sandbox);
        between();
        let sandbox = Sandbox::open(options(dir.path(), limits)).expect("sandbox");
        TestBox { sandbox, dir }
    }

    pub fn upload(&self, bytes: &[u8]) -> Digest {
        self.try_upload(bytes).expect("upload").digest
    }

    pub fn try_upload(
        &self,
        bytes: &[u8],
    ) -> Result<stepwell_sandbox::ModuleInfo, stepwell_sandbox::Error> {
        let mut upload = self.sandbox.modules().upload()?;
        for chunk in bytes.chunks(64 << 10) {
            upload.write(chunk)?;
        }
        wait(upload.finish())
    }

    /// An attempt that leads nowhere outside.
    pub fn start(&self, request: StepRequest) -> Pin<Box<dyn Future<Output = StepOutcome> + Send>> {
        self.sandbox.run(request, Arc::new(OpenGate))
    }

    pub fn run(&self, digest: Digest, input: &str) -> StepOutcome {
        wait(self.start(request(digest, input)))
    }

    pub fn files(&self, ending: &str) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = std::fs::read_dir(self.dir.path().join("modules"))
            .expect("modules")
            .map(|e| e.expect("entry").path())
            .filter(|p| p.to_string_lossy().ends_with(ending))
            .collect();
        found.sort();
        found
    }
}

pub fn request(digest: Digest, input: &str) -> StepRequest {
    StepRequest {
        execution: ExecutionId::new(Timestamp(1_700_000_000_000), ShardId(7), 42),
        execution_name: "order-7".into(),
        flow: "orders".into(),
        state: "Charge".into(),
        entry: EntryId(3),
        attempt: 0,
        target: StepTarget::Wasm {
            name: "module".into(),
            digest,
            function: None,
        },
        input: Data::parse(input).expect("JSON"),
        deadline: None,
        token: None,
        seed: 99,
        grants: None,
        recorded: None,
        entered: None,
    }
}
