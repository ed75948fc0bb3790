//! An OpenSSH server on a port of its own on loopback, with keys of its own.
//!
//! Refuses passwords, and everybody but who runs the test.

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::machine::{Address, Machine};
use super::output;
use crate::wait::until_every;

/// Where Debian keeps it: not on everybody's path, and it wants to be called by its whole name.
const PROGRAM: &str = "/usr/sbin/sshd";

/// A running server; stopped with its connections when it is dropped.
#[derive(Debug)]
pub struct Sshd {
    dir: PathBuf,
    address: Address,
    process: Option<Child>,
}

impl Sshd {
    /// Starts one that keeps everything below `dir`.
    ///
    /// # Errors
    /// Something is missing here, or it does not answer.
    pub fn start(dir: &Path) -> Result<Sshd> {
        let user = output(Command::new("id").arg("-un"))?;
        let address = Address::new(dir, user.trim())?;
        // Its own rule; on most machines the system has made it.
        std::fs::create_dir_all("/run/sshd")?;
        let (shown, port) = (dir.display(), address.port());
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {shown}/host\nPidFile none\n\
             AuthorizedKeysFile {shown}/user.pub\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        );
        std::fs::write(dir.join("sshd_config"), config)?;
        let mut sshd = Sshd {
            dir: dir.to_owned(),
            address,
            process: None,
        };
        sshd.serve()?;
        Ok(sshd)
    }

    /// Starts the process again.
    ///
    /// # Errors
    /// It does not answer.
    pub fn serve(&mut self) -> Result<()> {
        let process = Command::new(PROGRAM)
            .arg("-D")
            .arg("-f")
            .arg(self.dir.join("sshd_config"))
            .arg("-E")
            .arg(self.dir.join("sshd.log"))
            .stdin(Stdio::null())
            .spawn()
            .context("sshd: `cargo xtask test bridges` installs it")?;
        self.process = Some(process);
        let address = (Ipv4Addr::LOCALHOST, self.address.port());
        let answers = until_every(Duration::from_millis(20), "sshd", || {
            Ok(TcpStream::connect(address).ok())
        });
        let log = || std::fs::read_to_string(self.dir.join("sshd.log")).unwrap_or_default();
        answers.map(drop).with_context(log)
    }

    /// Ends the process and every connection of it, as a network that breaks.
    ///
    /// # Errors
    /// Its connections cannot be found.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        for pid in children(process.id())? {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// Connections that are open now.
    ///
    /// # Errors
    /// It does not run.
    pub fn sessions(&self) -> Result<usize> {
        let process = self.process.as_ref().context("sshd does not run")?;
        Ok(children(process.id())?.len())
    }

    /// Connections whose key it ever took.
    ///
    /// # Errors
    /// Its log cannot be read.
    pub fn accepted(&self) -> Result<usize> {
        let log = std::fs::read_to_string(self.dir.join("sshd.log"))?;
        Ok(log.matches("Accepted publickey").count())
    }

    /// As [`Address::config`].
    ///
    /// # Errors
    /// A key cannot be read.
    pub fn config(&self, name: &str, host_key: &str) -> Result<String> {
        self.address.config(name, host_key)
    }

    /// The user's private key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.address.key("user")
    }
}

/// The processes whose parent this one is: one for each connection of an sshd.
fn children(parent: u32) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest);
        let mut fields = fields.unwrap_or_default().split_whitespace();
        // One that is dead, and that nobody has waited for yet, is none.
        let alive = fields.next().is_some_and(|state| state != "Z");
        if alive && fields.next() == Some(parent.to_string().as_str()) {
            found.extend(entry.file_name().to_string_lossy().parse::<i32>());
        }
    }
    Ok(found)
}

/// This machine, by way of the server.
impl Machine for Sshd {
    const SLOWER: u64 = 1;

    fn start(dir: &Path) -> Result<Sshd> {
        Sshd::start(dir)
    }

    fn address(&self) -> &Address {
        &self.address
    }

    fn folder(&self) -> String {
        self.dir.display().to_string()
    }

    fn shell(&self, line: &str) -> Result<String> {
        output(Command::new("sh").args(["-c", line]))
    }

    fn break_off(&mut self) -> Result<()> {
        self.stop()?;
        std::thread::sleep(Duration::from_secs(1));
        self.serve()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}
