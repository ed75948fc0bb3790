//! The raw cost of one step: through the sandbox, beside a bare wasmtime loop.
//!
//! Both get the same guest and input; each call checks that the answer is right.
//! Refuses to reuse an instance: that is the promise that costs.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use stepwell_host_api::http::WallClock;
use stepwell_host_api::wasi::Directories;
use stepwell_host_api::{Bridges, HttpBridge, HttpOptions, LimitOptions, Limiter, OpenGate};
use stepwell_sandbox::{Clock, CompileLimits, Limits, Options, Pool, Sandbox};
use stepwell_types::{Data, EntryId, ExecutionId, ShardId, StepRequest, StepTarget, Timestamp};

use crate::Scale;
use crate::bare::{Bare, drive};
use crate::measure::{median, real, thread_cpu};
use crate::report::Report;

/// What every step gets: 200 bytes of JSON, printed as the guest prints it.
pub const INPUT: &str = r#"{"order":"A-1007","customer":{"id":41772,"name":"Maria Schmidt","tier":"gold"},"lines":[{"sku":"kb-12","quantity":2,"price":49.9},{"sku":"m-7","quantity":1,"price":19.5}],"paid":true,"note":"leave it"}"#;

/// Threads that run steps at once, at most: the goals are for two cores.
const THREADS_MAX: usize = 2;

/// The guest that parses and prints JSON.
pub fn guest() -> Result<PathBuf> {
    xtask::guests::component("tests/programs", "json-step")
}

/// A loop of steps on some threads.
pub trait Steps: Sync {
    /// One step in a fresh instance, on this one of the threads; the answer's length.
    fn one(&self, thread: usize) -> Result<usize>;
}

impl Steps for Bare {
    fn one(&self, _: usize) -> Result<usize> {
        Ok(self.call(INPUT)?.len())
    }
}

/// What a loop gave.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Steps a second, over all threads.
    pub rate: f64,
    /// Processor time of one step in microseconds: steadier than the rate when
    /// other programs want the processor too.
    pub cpu_us: f64,
}

/// Runs steps on `threads` threads at once.
///
/// # Errors
/// A step failed, or answered wrongly.
pub fn pace(steps: &dyn Steps, threads: usize, window: Duration) -> Result<Pace> {
    let barrier = Barrier::new(threads);
    let worker = |thread: usize| -> Result<(u64, f64, Duration)> {
        steps.one(thread)?;
        barrier.wait();
        let (began, cpu) = (Instant::now(), thread_cpu()?);
        let mut done = 0_u64;
        while began.elapsed() < window {
            for _ in 0..32 {
                ensure!(
                    steps.one(thread)? == INPUT.len(),
                    "the guest's answer is wrong"
                );
            }
            done += 32;
        }
        let cpu = thread_cpu()?.saturating_sub(cpu);
        Ok((done, began.elapsed().as_secs_f64(), cpu))
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || worker(thread)))
            .collect();
        let (mut rate, mut all, mut cpu_s) = (0.0, 0, 0.0);
        for thread in running {
            let (done, seconds, cpu) = thread.join().ok().context("a thread panicked")??;
            rate += real(done) / seconds;
            all += done;
            cpu_s += cpu.as_secs_f64();
        }
        Ok(Pace {
            rate,
            cpu_us: cpu_s * 1e6 / real(all),
        })
    })
}

/// Measures and reports.
///
/// # Errors
/// As [`pace`], or the guest cannot be built.
pub fn measure(scale: &Scale, report: &mut Report) -> Result<()> {
    report.section(
        "step",
        "(a) one step: fresh instance, call, fuel on (JSON in, JSON out, 200 bytes)",
    );
    let wasm = guest()?;
    let bare = Bare::open(&wasm)?;
    let boxed = Boxed::open(&wasm)?;
    let window = Duration::from_secs_f64(scale.window_s / 3.0);
    let rounds = scale.rounds * 2 + 1;
    for threads in [1, THREADS_MAX] {
        let mut pairs = Vec::new();
        for _ in 0..rounds {
            pairs.push((
                pace(&bare, threads, window)?,
                pace(&boxed, threads, window)?,
            ));
        }
        tell(threads, &pairs, report);
    }
    Ok(())
}

/// Prints the medians of what was measured in pairs, bare and boxed.
fn tell(threads: usize, pairs: &[(Pace, Pace)], report: &mut Report) {
    let of = |figure: &dyn Fn(&(Pace, Pace)) -> f64| {
        median(&pairs.iter().map(figure).collect::<Vec<_>>())
    };
    let (rounds, n) = (pairs.len(), threads);
    let (rate, cpu) = (of(&|p| p.0.rate), of(&|p| p.0.cpu_us));
    let line = format!(
        "bare loop, {n} thread(s): {rate:.0} steps/s, {cpu:.2} us of processor time a step"
    );
    report.add(&format!("bare_{n}_steps_s"), rate, &line);
    report.keep(&format!("bare_{n}_cpu_us"), cpu);
    let (rate, cpu) = (of(&|p| p.1.rate), of(&|p| p.1.cpu_us));
    let line = format!(
        "sandbox,   {n} thread(s): {rate:.0} steps/s, {cpu:.2} us of processor time a step"
    );
    report.add(&format!("sandbox_{n}_steps_s"), rate, &line);
    report.keep(&format!("sandbox_{n}_cpu_us"), cpu);
    let (wall, cpu) = (
        of(&|p| p.0.rate / p.1.rate),
        of(&|p| p.1.cpu_us / p.0.cpu_us),
    );
    let line = format!(
        "beside bare, {n} thread(s): {wall:.2} times by the clock, {cpu:.2} times by processor time (goal: at most 1.2; {rounds} pairs)"
    );
    report.add(&format!("ratio_{n}"), wall, &line);
    report.keep(&format!("ratio_{n}_cpu"), cpu);
}

/// The sandbox with one module, as the server holds it.
struct Boxed {
    sandbox: Arc<Sandbox>,
    /// Each thread's own: executions that run at once share the names of their flow and state,
    /// and neither their own name nor what they hand to a step.
    requests: Vec<StepRequest>,
    _dir: tempfile::TempDir,
}

impl Steps for Boxed {
    fn one(&self, thread: usize) -> Result<usize> {
        let request = self.requests.get(thread).context("too many threads")?;
        let outcome = drive(self.sandbox.run(request.clone(), Arc::new(OpenGate)));
        ensure!(outcome.spent.fuel > 0, "no fuel was counted");
        match outcome.result {
            Ok(data) => Ok(data.len_bytes()),
            Err(failure) => bail!("the step failed: {failure:?}"),
        }
    }
}

struct SystemClock(Instant);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp(since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }
    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Boxed {
    fn open(wasm: &std::path::Path) -> Result<Boxed> {
        let dir = tempfile::tempdir()?;
        let limits = Limits::default();
        let sandbox = Sandbox::open(Options {
            modules_dir: dir.path().to_owned(),
            compiler: crate::compiler()?,
            module_bytes_max: 100 << 20,
            limits,
            compile_limits: CompileLimits::default(),
            pool: Pool {
                slots: 48,
                memory_bytes: limits.memory_bytes,
                table_elements: limits.table_elements,
            },
            directories: Directories::default(),
            bridges: bridges()?,
            clock: Arc::new(SystemClock(Instant::now())),
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let info = runtime.block_on(async {
            let mut upload = sandbox.modules().upload()?;
            upload.write(&std::fs::read(wasm)?)?;
            let info = upload.finish().await?;
            sandbox.modules().warm(&info.digest).await?;
            anyhow::Ok(info)
        })?;
        let first = StepRequest {
            execution: ExecutionId::new(Timestamp(1), ShardId(0), 7),
            execution_name: "order-7".into(),
            flow: "ten".into(),
            state: "S1".into(),
            entry: EntryId(1),
            attempt: 0,
            target: StepTarget::Wasm {
                name: "json".into(),
                digest: info.digest,
                function: None,
            },
            input: Data::parse(INPUT)?,
            deadline: None,
            token: None,
            seed: 7,
            grants: None,
            recorded: None,
            entered: None,
        };
        let own = || -> Result<StepRequest> {
            Ok(StepRequest {
                execution_name: "order-7".into(),
                input: Data::parse(INPUT)?,
                ..first.clone()
            })
        };
        let requests = (0..THREADS_MAX).map(|_| own()).collect::<Result<_>>()?;
        Ok(Boxed {
            sandbox,
            requests,
            _dir: dir,
        })
    }
}

/// Bridges that lead nowhere.
fn bridges() -> Result<Bridges> {
    let clock: WallClock = Arc::new(|| Timestamp(0));
    let limiter = Limiter::new(LimitOptions::default(), clock.clone());
    let options = HttpOptions::default();
    let http = HttpBridge::new(options, limiter.clone(), clock.clone())?;
    Ok(Bridges::http_alone(http, &limiter, &clock))
}
