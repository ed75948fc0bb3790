//! The demo's server: a child process with a configuration and a store of its own.
//!
//! Refuses to leave it behind: it is stopped when this value is dropped.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{http, stepwell};
use crate::shell;

/// How long the server may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// The file in its folder that says how it runs.
const CONFIGURATION: &str = "stepwell.toml";
/// And the one that it writes its log to.
const LOG: &str = "server.log";

/// A running server.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its folder in the cache: configuration, data, log.
    pub folder: PathBuf,
    child: Child,
    told: Arc<Told>,
}

/// What the one who waits for Ctrl-C and the one who waits for the server tell each other.
#[derive(Default)]
struct Told {
    /// Set by Ctrl-C, which also asks the server to stop.
    interrupted: AtomicBool,
    /// It has ended: its process id may be another's by now.
    gone: AtomicBool,
}

impl Server {
    /// Starts it on `port`, or on a free one where that is taken, with an empty store
    /// in `folder`, which is emptied first.
    ///
    /// # Errors
    /// It ends, or is not ready in time; the text holds the end of its log.
    pub fn start(port: u16, receiver: SocketAddr, folder: PathBuf) -> Result<Server> {
        let address = free(port)?;
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        let config = folder.join(CONFIGURATION);
        std::fs::write(
            &config,
            configuration(address, receiver, &folder.join("data")),
        )?;
        let log = std::fs::File::create(folder.join(LOG))?;
        let mut command = Command::new(stepwell());
        command
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        // A group of its own: Ctrl-C reaches us, and we ask the server to stop.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command
            .spawn()
            .with_context(|| format!("cannot run {}", stepwell().display()))?;
        let told = Arc::new(Told::default());
        on_interrupt(child.id(), &told)?;
        let mut server = Server {
            address,
            folder,
            child,
            told,
        };
        server.until_ready()?;
        println!(
            "demo: serving at http://{address}, store and log in {}",
            server.folder.display()
        );
        Ok(server)
    }

    /// Runs the command line client against it, and returns what it printed.
    ///
    /// # Errors
    /// The client ended with a status other than 0.
    pub fn client(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(stepwell());
        command
            .env("STEPWELL_URL", format!("http://{}", self.address))
            .args(args);
        shell::output(&mut command)
    }

    /// Its process, for a reader who wants to kill it.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// The file from which it can be started again.
    pub fn configuration(&self) -> PathBuf {
        self.folder.join(CONFIGURATION)
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Errors
    /// It ended badly, or not in time and was killed.
    pub fn stop(&mut self) -> Result<()> {
        // A second signal would end it at once.
        if !self.told.interrupted.swap(true, Ordering::SeqCst) {
            ask_to_stop(self.child.id());
        }
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                if !status.success() {
                    bail!("the server ended with {status}: {}", self.log());
                }
                println!("demo: the server has stopped");
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child.kill()?;
        bail!("the server did not stop within {PATIENCE:?} and was killed")
    }

    /// Waits for Ctrl-C, also when the server has ended: who killed it, as the demo says how to, starts it
    /// again by hand, and what its flows call lives here.
    ///
    /// # Errors
    /// The server ended badly behind Ctrl-C.
    pub fn until_stopped(mut self) -> Result<()> {
        loop {
            let interrupted = || self.told.interrupted.load(Ordering::SeqCst);
            let gone = self.told.gone.load(Ordering::SeqCst);
            if interrupted() {
                return if gone { Ok(()) } else { self.stop() };
            }
            if !gone && let Some(status) = self.child.try_wait()? {
                self.told.gone.store(true, Ordering::SeqCst);
                println!(
                    "\ndemo: the server has ended ({status}); its log is {}\n\
                     demo: the receiver that the examples call stays up until Ctrl-C",
                    self.folder.join(LOG).display()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn until_ready(&mut self) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}: {}", self.log());
            }
            let request = http::Request {
                method: "GET",
                path: "/readyz",
                content_type: "",
                body: b"",
            };
            let answer = http::send(self.address, &request);
            if answer.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!(
            "the server was not ready within {PATIENCE:?}: {}",
            self.log()
        )
    }

    /// The end of its log.
    fn log(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join(LOG)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // In good order also when the demo failed or was interrupted half-way; one
        // that is gone already has told how it ended.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.stop();
        }
        let _ = self.child.wait();
    }
}

/// Sends the signal for a stop in good order. An error means that the process is
/// gone, which its owner finds out by itself.
fn ask_to_stop(id: u32) {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
}

/// From now on Ctrl-C stops the server instead of leaving it behind; the demo's
/// own next step then fails or ends, and the server is waited for.
fn on_interrupt(server: u32, told: &Arc<Told>) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let told = Arc::clone(told);
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            println!("\ndemo: stopping");
            told.interrupted.store(true, Ordering::SeqCst);
            if !told.gone.load(Ordering::SeqCst) {
                ask_to_stop(server);
            }
        }
    });
    Ok(())
}

/// The wanted port of the loopback address, or a free one.
fn free(port: u16) -> Result<SocketAddr> {
    let loopback = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = TcpListener::bind(loopback(port)).or_else(|_| TcpListener::bind(loopback(0)))?;
    Ok(listener.local_addr()?)
}

fn configuration(address: SocketAddr, receiver: SocketAddr, data: &std::path::Path) -> String {
    format!(
        "# Written by `cargo xtask demo`.\n\
         listen = \"{address}\"\n\
         data = {data:?}\n\n\
         [http]\n\
         # The demo's receiver; other loopback addresses stay refused.\n\
         allow = [\"{receiver}\"]\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_kills_the_server_keeps_the_demo_until_ctrl_c() {
        // It has ended badly before anybody looks.
        let child = Command::new("false").spawn().unwrap();
        let told = Arc::new(Told::default());
        let server = Server {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            folder: PathBuf::from("demo"),
            child,
            told: Arc::clone(&told),
        };
        let stays = std::thread::spawn(move || server.until_stopped());
        while !told.gone.load(Ordering::SeqCst) {
            assert!(!stays.is_finished(), "{:?}", stays.join());
            std::thread::sleep(Duration::from_millis(1));
        }
        told.interrupted.store(true, Ordering::SeqCst);
        stays.join().unwrap().unwrap();
    }
}
