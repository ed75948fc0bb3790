//! A Podman service with a store of its own, and an image that holds busybox alone.
//!
//! Refuses to share anything with the machine's own Podman.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::output;
use crate::wait::{until, until_every};

/// The image's name.
pub const IMAGE: &str = "localhost/stepwell-busybox";

/// A running service; stopped, and its containers removed, when it is dropped.
#[derive(Debug)]
pub struct Podman {
    dir: PathBuf,
    service: Option<Child>,
}

impl Podman {
    /// Starts one that keeps everything below `dir`, and builds the image.
    ///
    /// # Errors
    /// Something is missing here, or the service does not answer.
    pub fn start(dir: &Path) -> Result<Podman> {
        Podman::beside(dir, "localhost")
    }

    /// One that takes images from this registry over plain HTTP.
    ///
    /// # Errors
    /// As [`Podman::start`].
    pub fn beside(dir: &Path, registry: &str) -> Result<Podman> {
        std::fs::create_dir_all(dir)?;
        let shown = dir.display();
        // runc and cgroupfs work where there is no systemd; the rest keeps it apart.
        let containers = format!(
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
             [engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nevents_logfile_path = \"{shown}/events\"\n"
        );
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\nrunroot = \"{shown}/run\"\ngraphroot = \"{shown}/graph\"\n"
        );
        std::fs::write(dir.join("containers.conf"), containers)?;
        std::fs::write(dir.join("storage.conf"), storage)?;
        let registries = format!("[[registry]]\nlocation = \"{registry}\"\ninsecure = true\n");
        std::fs::write(dir.join("registries.conf"), registries)?;
        std::fs::write(dir.join("auth.json"), "{}")?;
        let mut podman = Podman {
            dir: dir.to_owned(),
            service: None,
        };
        podman.build()?;
        podman.serve()?;
        Ok(podman)
    }

    fn build(&self) -> Result<()> {
        let image = self.dir.join("image");
        std::fs::create_dir_all(&image)?;
        std::fs::copy("/bin/busybox", image.join("busybox"))?;
        std::fs::write(
            image.join("Containerfile"),
            "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n",
        )?;
        let mut build = self.command();
        output(build.args(["build", "--quiet", "--tag", IMAGE]).arg(image))?;
        Ok(())
    }

    /// Starts the service, as after its machine's own restart.
    ///
    /// # Errors
    /// It does not answer.
    pub fn serve(&mut self) -> Result<()> {
        let log = std::fs::File::create(self.dir.join("service.log"))?;
        let mut command = self.command();
        let socket = format!("unix://{}", self.socket().display());
        command
            .args(["system", "service", "--time=0", &socket])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.service = Some(command.spawn()?);
        let answers = until_every(Duration::from_millis(20), "podman's service", || {
            Ok(UnixStream::connect(self.socket()).ok())
        });
        let log = || std::fs::read_to_string(self.dir.join("service.log")).unwrap_or_default();
        answers.map(drop).with_context(log)
    }

    /// Ends the service; containers run on.
    pub fn stop(&mut self) {
        if let Some(mut service) = self.service.take() {
            let _ = service.kill();
            let _ = service.wait();
        }
    }

    /// The API's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join("podman.sock")
    }

    /// The configuration of a server that may run the image.
    #[must_use]
    pub fn config(&self) -> String {
        let socket = self.socket();
        format!("[containers]\nsocket = {socket:?}\nimages = [\"{IMAGE}\"]\n")
    }

    /// `podman`, on this store.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new("podman");
        command
            // What it runs leaves files where it was begun.
            .current_dir(&self.dir)
            .env("CONTAINERS_CONF", self.dir.join("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.dir.join("storage.conf"))
            .env(
                "CONTAINERS_REGISTRIES_CONF",
                self.dir.join("registries.conf"),
            )
            // Nobody's passwords but its own.
            .env("REGISTRY_AUTH_FILE", self.dir.join("auth.json"));
        command
    }

    /// The names of the server's containers that run now.
    ///
    /// # Errors
    /// Podman cannot be run.
    pub fn running(&self) -> Result<Vec<String>> {
        let text = output(self.command().args(["ps", "--format", "{{.Names}}"]))?;
        let own = text.lines().filter(|name| name.starts_with("stepwell-"));
        Ok(own.map(str::to_owned).collect())
    }

    /// When the server's containers began and ended, in order: a line each, `+ NAME` or `- NAME`.
    ///
    /// # Errors
    /// Podman cannot be run.
    pub fn turns(&self) -> Result<String> {
        let text = self.events("{{.Status}} {{.Name}}", &[])?;
        let turns = text.lines().filter_map(|line| {
            let (what, name) = line.split_once(' ')?;
            let sign = match what {
                "start" => '+',
                "died" => '-',
                _ => return None,
            };
            let own = name.starts_with("stepwell-");
            own.then(|| format!("{sign} {name}\n"))
        });
        Ok(turns.collect())
    }

    fn events(&self, format: &str, more: &[&str]) -> Result<String> {
        let format = format!("--format={format}");
        let mut events = self.command();
        events.args(["events", "--stream=false", "--since=24h", &format]);
        output(events.args(more))
    }

    /// The names of all containers, ended ones included.
    ///
    /// # Errors
    /// Podman cannot be run.
    pub fn containers(&self) -> Result<Vec<String>> {
        let text = output(
            self.command()
                .args(["ps", "--all", "--format", "{{.Names}}"]),
        )?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Ends the `sleep` of the server's containers: their programs go on behind it.
    ///
    /// # Errors
    /// None of them sleeps.
    pub fn let_go(&self) -> Result<()> {
        let mut tried = false;
        until("the end of the container's sleep", || {
            let names = self.containers()?;
            let ours = names.iter().filter(|name| name.starts_with("stepwell-"));
            let mut ours = ours.peekable();
            // A container that ends with its sleep may take the answer to that with it.
            let mut ended = tried && ours.peek().is_none();
            for name in ours {
                tried = true;
                let mut kill = self.command();
                kill.args(["exec", name.as_str(), "killall", "sleep"]);
                ended |= kill.output()?.status.success();
            }
            Ok(ended.then_some(()))
        })
    }

    /// How many containers were ever started here.
    ///
    /// # Errors
    /// Podman cannot be run.
    pub fn starts(&self) -> Result<usize> {
        let text = self.events("{{.Name}}", &["--filter=event=start"])?;
        Ok(text
            .lines()
            .filter(|name| name.starts_with("stepwell-"))
            .count())
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.stop();
        // The folder goes next: nothing may run in it or be mounted from it.
        let _ = output(self.command().args(["rm", "--all", "--force"]));
    }
}
