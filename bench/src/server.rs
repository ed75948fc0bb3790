//! A real `stepwell serve` in a directory of its own, and what it uses.
//!
//! Refuses settings: what is measured is what a user gets. Standard output tells
//! the address; the process is killed when the value is dropped.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::load;
use crate::measure;

/// Longest wait for a server that starts.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A running server.
pub struct Server {
    child: Child,
    address: SocketAddr,
    /// From the start of the process until it said that it listens.
    pub listening: Duration,
    /// From the start of the process until it was ready for work.
    pub ready: Duration,
}

impl Server {
    /// Starts one over `dir`.
    ///
    /// # Errors
    /// It isn't built, or doesn't get ready in two minutes.
    pub fn start(dir: &Path) -> Result<Server> {
        Server::start_with(dir, &[])
    }

    /// As [`Server::start`], with what it may call.
    ///
    /// # Errors
    /// As there.
    pub fn start_with(dir: &Path, allowed: &[SocketAddr]) -> Result<Server> {
        let program = std::env::current_exe()?.with_file_name("stepwell");
        ensure!(program.exists(), "no server at {}", program.display());
        let began = Instant::now();
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(dir)
            .args(allowed.iter().map(|place| format!("--http-allow={place}")))
            .env("STEPWELL_LOG", "warn")
            .env_remove("STEPWELL_TOKEN")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("no standard output")?;
        let address = address(BufReader::new(output));
        let mut server = Server {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            listening: began.elapsed(),
            ready: Duration::ZERO,
        };
        server.address = address?;
        server.listening = began.elapsed();
        while server.get("/readyz").is_err() {
            ensure!(
                began.elapsed() < START_LIMIT,
                "the server doesn't get ready"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        server.ready = began.elapsed();
        Ok(server)
    }

    /// Starts one over a new directory, with the module `json` uploaded.
    ///
    /// # Errors
    /// As [`Server::start`], or the upload was refused.
    pub fn fresh(dir: &Path) -> Result<Server> {
        let server = Server::start(dir)?;
        let wasm = std::fs::read(crate::step::guest()?)?;
        server.call("PUT", "/v1/modules/json", wasm)?;
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Publishes a flow.
    ///
    /// # Errors
    /// It was refused.
    pub fn publish(&self, name: &str, definition: &Value) -> Result<()> {
        let text = definition.to_string().into_bytes();
        self.call("PUT", &format!("/v1/flows/{name}"), text)?;
        Ok(())
    }

    /// One request; the body of a good answer.
    ///
    /// # Errors
    /// No answer, or its status isn't 2xx.
    pub fn call(&self, method: &str, path: &str, body: Vec<u8>) -> Result<String> {
        load::once(self.address, method, path, body)
    }

    /// As [`Server::call`] with `GET`.
    ///
    /// # Errors
    /// As there.
    pub fn get(&self, path: &str) -> Result<String> {
        self.call("GET", path, Vec::new())
    }

    /// One counter or gauge of `/metrics`, without labels.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let text = self.get("/metrics")?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .with_context(|| format!("no metric {name}"))?;
        Ok(line.trim().parse()?)
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// The process is gone.
    pub fn rss_bytes(&self) -> Result<u64> {
        Ok(measure::process_number(self.pid(), "status", "VmRSS")? * 1024)
    }

    /// The most resident memory that it ever had, in bytes.
    ///
    /// # Errors
    /// The process is gone.
    pub fn peak_bytes(&self) -> Result<u64> {
        Ok(measure::process_number(self.pid(), "status", "VmHWM")? * 1024)
    }

    /// Bytes that it has sent towards the disk.
    ///
    /// # Errors
    /// The process is gone.
    pub fn written_bytes(&self) -> Result<u64> {
        measure::process_number(self.pid(), "io", "write_bytes")
    }

    /// Processor seconds used so far.
    ///
    /// # Errors
    /// The process is gone.
    pub fn cpu_s(&self) -> Result<f64> {
        measure::process_cpu_s(self.pid())
    }

    /// Ends the process as a power cut would: no farewell.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends it in good order.
    ///
    /// # Errors
    /// It doesn't end within half a minute.
    pub fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.pid())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.context("no pid")?, rustix::process::Signal::TERM)?;
        let began = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(
                began.elapsed() < Duration::from_secs(30),
                "the server doesn't stop"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, or nobody needs it any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory on a real disk: the system's temporary folder may be memory.
///
/// # Errors
/// It cannot be made.
pub fn folder() -> Result<tempfile::TempDir> {
    let parent = xtask::place::cache().join("bench");
    std::fs::create_dir_all(&parent)?;
    // As a careful user would: a server warns of a directory that others may read.
    let own = std::fs::Permissions::from_mode(0o700);
    Ok(tempfile::Builder::new()
        .permissions(own)
        .tempdir_in(parent)?)
}

fn address(mut output: impl BufRead) -> Result<SocketAddr> {
    let mut line = String::new();
    while output.read_line(&mut line)? > 0 {
        if let Some((_, rest)) = line.split_once("http://") {
            let text = rest.split_whitespace().next().unwrap_or("");
            return Ok(text.parse()?);
        }
        line.clear();
    }
    bail!("the server ended before it listened")
}
