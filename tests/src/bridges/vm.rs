//! A virtual machine under emulation: a kernel of its own, a disk, a dropbear.
//!
//! Refuses the processor's help, which not every machine can lend: it is slow, and the same everywhere.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal};

use super::machine::{Address, Machine};
use super::output;

/// Not on everybody's path.
const MKE2FS: &str = "/usr/sbin/mke2fs";
/// How long it may take until it answers. Alone on two cores it takes some ten seconds.
const BOOT: Duration = Duration::from_secs(240);

/// A running machine; its power goes when it is dropped. What is on its disk stays.
#[derive(Debug)]
pub struct Vm {
    dir: PathBuf,
    address: Address,
    process: Option<Child>,
}

impl Vm {
    /// Turns it on and waits until it answers.
    ///
    /// # Errors
    /// It runs already, something is missing here, or it does not answer.
    pub fn boot(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the machine runs already");
        let Err(first) = self.turn_on() else {
            return Ok(());
        };
        let ended = match &mut self.process {
            Some(process) => process.try_wait()?.is_some(),
            None => false,
        };
        ensure!(ended, "{first:#}");
        // What is emulated beside other work may lose its kernel to a clock that stood still.
        eprintln!("the machine's kernel gave up, it is turned on once more: {first:#}");
        self.process = None;
        self.turn_on()
    }

    fn turn_on(&mut self) -> Result<()> {
        let image = xtask::vm::image()?;
        let (disk, console) = (self.dir.join("disk"), self.dir.join("console"));
        let port = self.address.port();
        // With a parent that dies it dies, however that comes.
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
            // All that can be emulated, for its source of randomness: without one it waits for some.
            .args(["-accel", "tcg", "-cpu", "max", "-m", "256"])
            .args(["-nodefaults", "-no-reboot"])
            .args(["-display", "none", "-serial"])
            .arg(format!("file:{}", console.display()))
            .arg("-kernel")
            .arg(image.kernel)
            .arg("-initrd")
            .arg(image.system)
            // On a busy machine the timer's own test fails, and the kernel with it.
            .args(["-append", "console=ttyS0 quiet panic=-1 no_timer_check"])
            // It reaches nobody, and is reached by its one port.
            .arg("-netdev")
            .arg(format!(
                "user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"
            ))
            .args(["-device", "virtio-net-pci,netdev=n0", "-drive"])
            .arg(format!("file={},format=raw,if=virtio", disk.display()))
            .stdin(Stdio::null())
            .spawn()
            .context("qemu-system-x86_64: `cargo xtask test vm` installs it")?;
        self.process = Some(process);
        self.answers()
    }

    /// Takes its power.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the machine does not run")?;
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// Stands it still: it says nothing any more, and no connection breaks.
    ///
    /// # Errors
    /// It does not run.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// It does not run.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process.as_ref().context("the machine does not run")?;
        let pid = Pid::from_raw(i32::try_from(process.id())?);
        Ok(rustix::process::kill_process(
            pid.context("a process id")?,
            signal,
        )?)
    }

    /// Waits until it answers.
    fn answers(&mut self) -> Result<()> {
        let begun = Instant::now();
        while let Err(error) = self.shell("true") {
            let process = self.process.as_mut().context("the machine does not run")?;
            let ended = process.try_wait()?;
            if ended.is_some() || begun.elapsed() > BOOT {
                let console = std::fs::read(self.dir.join("console")).unwrap_or_default();
                let console = String::from_utf8_lossy(&console).into_owned();
                bail!("the machine does not answer ({ended:?}): {error:#}\n{console}");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

impl Machine for Vm {
    const SLOWER: u64 = 3;

    fn start(dir: &Path) -> Result<Vm> {
        let address = Address::new(dir, "root")?;
        // Its disk is the home of its one user, with the keys that it takes and shows.
        let (home, disk) = (dir.join("home"), dir.join("disk"));
        std::fs::create_dir_all(home.join(".ssh"))?;
        std::fs::write(home.join(".ssh/authorized_keys"), address.public("user")?)?;
        output(
            Command::new("dropbearconvert")
                .args(["openssh", "dropbear"])
                .args([address.key("host"), home.join("host_key")]),
        )?;
        output(
            Command::new(MKE2FS)
                .args(["-q", "-F", "-t", "ext2", "-d"])
                .args([&home, &disk])
                .arg("512M"),
        )?;
        let port = address.port();
        let known = format!("[127.0.0.1]:{port} {}\n", address.public("host")?);
        std::fs::write(dir.join("known_hosts"), known)?;
        let mut vm = Vm {
            dir: dir.to_owned(),
            address,
            process: None,
        };
        vm.boot()?;
        Ok(vm)
    }

    fn address(&self) -> &Address {
        &self.address
    }

    fn folder(&self) -> String {
        "/root".to_owned()
    }

    fn shell(&self, line: &str) -> Result<String> {
        let known = self.dir.join("known_hosts");
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-p", &self.address.port().to_string()])
            .arg("-i")
            .arg(self.address.key("user"))
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", known.display()));
        for option in [
            "BatchMode=yes",
            "ConnectTimeout=10",
            "ServerAliveInterval=10",
        ] {
            ssh.args(["-o", option]);
        }
        output(ssh.args(["root@127.0.0.1", line]))
    }

    fn break_off(&mut self) -> Result<()> {
        let own = self.shell("killall -9 dropbear");
        ensure!(own.is_err(), "this connection was not broken");
        self.answers()
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
