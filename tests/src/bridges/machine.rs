//! A machine of a test's own, wherever it is: what the cases of `vm:run` need of it.
//!
//! Refuses keys that were there before: each machine has its own, made with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::output;
use crate::port::Port;

/// A machine with an SSH server. It ends when it is dropped.
pub trait Machine: Sized {
    /// How many times as long as on this machine a program may take there.
    const SLOWER: u64;

    /// Starts one that keeps everything below `dir`.
    ///
    /// # Errors
    /// Something is missing here, or it does not answer.
    fn start(dir: &Path) -> Result<Self>;

    /// Where it is reached, and by which keys.
    fn address(&self) -> &Address;

    /// A folder there in which programs may write.
    fn folder(&self) -> String;

    /// Runs a line of shell there, past the bridge, and gives what it prints.
    ///
    /// # Errors
    /// It ends with another status than 0, or nobody answers.
    fn shell(&self, line: &str) -> Result<String>;

    /// Breaks every connection; a moment later it takes new ones.
    ///
    /// # Errors
    /// It does not take them.
    fn break_off(&mut self) -> Result<()>;
}

/// Where a machine is reached: a port on loopback, and the keys `host`, `user` and `other`, which is nobody's.
#[derive(Debug)]
pub struct Address {
    dir: PathBuf,
    port: Port,
    user: String,
}

impl Address {
    /// A free port, and new keys in `dir`.
    ///
    /// # Errors
    /// There is no port, or no `ssh-keygen`.
    pub fn new(dir: &Path, user: &str) -> Result<Address> {
        std::fs::create_dir_all(dir)?;
        for key in ["host", "other", "user"] {
            let file = dir.join(key);
            output(
                Command::new("ssh-keygen")
                    .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                    .arg(file),
            )?;
        }
        Ok(Address {
            dir: dir.to_owned(),
            port: Port::new()?,
            user: user.to_owned(),
        })
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.address().port()
    }

    /// The file of a private key.
    #[must_use]
    pub fn key(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The public part of a key.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn public(&self, name: &str) -> Result<String> {
        let text = std::fs::read_to_string(self.dir.join(format!("{name}.pub")))?;
        // Without the comment.
        let words: Vec<&str> = text.split_whitespace().take(2).collect();
        Ok(words.join(" "))
    }

    /// `[machines.NAME]` for it; `host_key` names the key that is known as the machine's.
    ///
    /// # Errors
    /// A key cannot be read.
    pub fn config(&self, name: &str, host_key: &str) -> Result<String> {
        let (port, user) = (self.port(), &self.user);
        let (key, host) = (self.key("user"), self.public(host_key)?);
        Ok(format!(
            "[machines.{name}]\nhost = \"127.0.0.1\"\nport = {port}\nuser = \"{user}\"\nkey_file = {key:?}\nhost_keys = [\"{host}\"]\n"
        ))
    }
}
