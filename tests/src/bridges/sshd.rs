//! An OpenSSH server on a port of its own on loopback, with keys of its own.
//!
//! Refuses passwords, and everybody but who runs the test.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::output;

/// Where Debian keeps it: not on everybody's path, and it wants to be called by its whole name.
const PROGRAM: &str = "/usr/sbin/sshd";

/// A running server; stopped with its connections when it is dropped.
#[derive(Debug)]
pub struct Sshd {
    dir: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Sshd {
    /// Starts one that keeps everything below `dir`.
    ///
    /// # Errors
    /// Something is missing here, or it does not answer.
    pub fn start(dir: &Path) -> Result<Sshd> {
        std::fs::create_dir_all(dir)?;
        // Its own rule; on most machines the system has made it.
        std::fs::create_dir_all("/run/sshd")?;
        for key in ["host", "other", "user"] {
            let file = dir.join(key);
            output(
                Command::new("ssh-keygen")
                    .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                    .arg(file),
            )?;
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let shown = dir.display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {shown}/host\nPidFile none\n\
             AuthorizedKeysFile {shown}/user.pub\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        );
        std::fs::write(dir.join("sshd_config"), config)?;
        let mut sshd = Sshd {
            dir: dir.to_owned(),
            port,
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
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if begun.elapsed() > Duration::from_secs(30) {
                let log = std::fs::read_to_string(self.dir.join("sshd.log")).unwrap_or_default();
                bail!("sshd does not answer:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Ends the process and every connection of it, as a network that breaks.
    ///
    /// # Errors
    /// Its connections cannot be found.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        // A connection's own process is a child of it.
        let own = process.id();
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let parent = stat
                .rsplit_once(')')
                .and_then(|(_, rest)| rest.split_whitespace().nth(1));
            if parent == Some(own.to_string().as_str()) {
                let pid = entry.file_name().to_string_lossy().parse().ok();
                if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
        }
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// The public part of one of the keys `host`, `other` and `user`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn public(&self, key: &str) -> Result<String> {
        let text = std::fs::read_to_string(self.dir.join(format!("{key}.pub")))?;
        // Without the comment.
        Ok(text
            .split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" "))
    }

    /// `[machines.NAME]` for it; `host_key` names one of the keys.
    ///
    /// # Errors
    /// A key cannot be read.
    pub fn config(&self, name: &str, host_key: &str) -> Result<String> {
        let (port, key, host) = (self.port, self.dir.join("user"), self.public(host_key)?);
        let user = output(Command::new("id").arg("-un"))?;
        let user = user.trim();
        Ok(format!(
            "[machines.{name}]\nhost = \"127.0.0.1\"\nport = {port}\nuser = \"{user}\"\nkey_file = {key:?}\nhost_keys = [\"{host}\"]\n"
        ))
    }

    /// The server's port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The user's private key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.dir.join("user")
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}
