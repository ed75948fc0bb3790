//! A real `stepwell serve` as a child process: started, killed, stopped, started again on
//! the same data and the same port.
//!
//! Refuses to know what is asked of it: that is each suite's client.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};

use crate::port::Port;
use crate::wait::until_every;

/// Tells where the built command is.
const BINARY: &str = "STEPWELL_BIN";
/// Between two looks at what a process does, which seldom takes long.
const PAUSE: Duration = Duration::from_millis(5);

/// A server's place: configuration, data, log and port outlive its processes.
#[derive(Debug)]
pub struct Server {
    binary: PathBuf,
    dir: PathBuf,
    port: Port,
    environment: Vec<(OsString, OsString)>,
    child: Option<Child>,
}

impl Server {
    /// A server that keeps everything below `dir`: its data in `dir/data`, its log in
    /// `dir/server.log`. `config` is TOML without `listen` and `data`. Not started yet.
    ///
    /// # Errors
    /// There is no built command, no free port, or `dir` cannot be written.
    pub fn new(dir: &Path, config: &str) -> Result<Server> {
        let server = Server {
            binary: binary()?,
            dir: dir.to_owned(),
            port: Port::new()?,
            environment: Vec::new(),
            child: None,
        };
        server.configure(config)?;
        Ok(server)
    }

    /// Gives the next process this configuration.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn configure(&self, config: &str) -> Result<()> {
        let (address, data) = (self.port.address(), self.data());
        let text = format!("listen = \"{address}\"\ndata = {data:?}\n{config}");
        Ok(std::fs::write(self.dir.join("stepwell.toml"), text)?)
    }

    /// Variables for every process from now on.
    pub fn environment(&mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) {
        self.environment.extend(variables);
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// `http://ADDRESS`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// Starts a process and returns at once.
    ///
    /// # Errors
    /// One runs already, or the program cannot be run.
    pub fn spawn(&mut self) -> Result<()> {
        if self.child.is_some() {
            bail!("the server runs already");
        }
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("server.log"))?;
        let child = Command::new(&self.binary)
            .arg("serve")
            .arg("--config")
            .arg(self.dir.join("stepwell.toml"))
            .env_remove("STEPWELL_TOKEN")
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", self.binary.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Starts a process, and waits until it takes work.
    ///
    /// # Errors
    /// As [`Server::spawn`] and [`Server::ready`].
    pub fn start(&mut self) -> Result<()> {
        self.spawn()?;
        self.ready()
    }

    /// Waits until the process takes work.
    ///
    /// # Errors
    /// It ended, or does not answer.
    pub fn ready(&mut self) -> Result<()> {
        let address = self.port.address();
        self.until("the server's readiness", || answers(address))
    }

    /// Waits until the process has its port open: it may still be reading its store.
    ///
    /// # Errors
    /// It ended, or does not open it.
    pub fn listening(&mut self) -> Result<()> {
        let address = self.port.address();
        self.until("the server's port", || TcpStream::connect(address).is_ok())
    }

    /// Looks until it is so, as long as the process lives.
    fn until(&mut self, what: &str, so: impl Fn() -> bool) -> Result<()> {
        let child = self.child.as_mut().context("the server was not started")?;
        let came = until_every(PAUSE, what, || {
            if let Some(status) = child.try_wait()? {
                bail!("the server ended with {status}");
            }
            Ok(so().then_some(()))
        });
        came.with_context(|| self.log_end())
    }

    /// The most memory that the process ever had, in KiB.
    ///
    /// # Errors
    /// It does not run.
    pub fn peak_kib(&self) -> Result<u64> {
        let child = self.child.as_ref().context("the server was not started")?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.context("no VmHWM")?.trim().trim_end_matches(" kB");
        Ok(peak.parse()?)
    }

    /// `kill -9`; the process is gone when this returns.
    ///
    /// # Errors
    /// It had ended by itself before.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the server was not started")?;
        if let Some(status) = child.try_wait()? {
            bail!("the server ended by itself, {status}:\n{}", self.log_end());
        }
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Kills it, and starts a process that takes work.
    ///
    /// # Errors
    /// As [`Server::kill`], [`Server::spawn`] and [`Server::ready`].
    pub fn again(&mut self) -> Result<()> {
        self.kill()?;
        self.start()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It was not started.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().context("the server was not started")?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.context("a strange process id")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// As [`Server::signal`] and [`Server::ends`].
    pub fn stop(&mut self, bound: Duration) -> Result<(ExitStatus, Duration)> {
        self.signal(Signal::TERM)?;
        self.ends(bound)
    }

    /// Waits for its end, which it was asked for: its status, and how long it took.
    ///
    /// # Errors
    /// It runs on after so much looking; then it is killed.
    pub fn ends(&mut self, bound: Duration) -> Result<(ExitStatus, Duration)> {
        let begun = Instant::now();
        let mut child = self.child.take().context("the server was not started")?;
        for _ in 0..bound.as_millis() / PAUSE.as_millis() {
            if let Some(status) = child.try_wait()? {
                return Ok((status, begun.elapsed()));
            }
            std::thread::sleep(PAUSE);
        }
        child.kill()?;
        child.wait()?;
        bail!(
            "the server runs {bound:?} after it was asked to stop:\n{}",
            self.log_end()
        );
    }

    /// The last lines that it logged.
    #[must_use]
    pub fn log_end(&self) -> String {
        let bytes = std::fs::read(self.dir.join("server.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already, which is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The built `stepwell`: where `cargo xtask test` says, else beside the test programs.
///
/// # Errors
/// There is none; the text says how to build it.
pub fn binary() -> Result<PathBuf> {
    let told = std::env::var_os(BINARY).map(PathBuf::from);
    let beside = || -> Option<PathBuf> {
        let own = std::env::current_exe().ok()?;
        Some(own.parent()?.parent()?.join("stepwell"))
    };
    let found = told.or_else(beside).filter(|path| path.is_file());
    found.with_context(|| {
        format!(
            "there is no built `stepwell`: run `cargo build --workspace`, or name it by {BINARY}"
        )
    })
}

/// Whether `GET /readyz` is answered by 200.
fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(&head == b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}
