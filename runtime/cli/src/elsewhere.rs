//! Containers and machines: their configuration, and their bridges with it.
//!
//! Refuses a machine without a key to prove ourselves by.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use stepwell_host_api::container::{ContainerBridge, ContainerOptions};
use stepwell_host_api::gate::Gate;
use stepwell_host_api::machine::{
    KeySource, MachineBridge, MachineOptions, MachinesOptions, private_key, public_key, secret_key,
};
use stepwell_host_api::objects::Objects;
use stepwell_host_api::{Limiter, Secrets};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::exit::Trouble;
use crate::input;
use crate::system::{self, SystemClock};

/// Largest key file in bytes.
const KEY_BYTES_MAX: usize = 64 << 10;

/// `[containers]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Containers {
    /// The Unix socket of Docker or Podman. Without one no container runs.
    pub socket: Option<PathBuf>,
    /// Images that may run; a final `*` stands for any rest. None by default.
    pub images: Vec<String>,
    /// Networks that a container may join, likewise. None by default.
    pub networks: Vec<String>,
    /// Capabilities that every container keeps. None by default.
    pub capabilities: Vec<String>,
    /// Most memory of one container in MiB. Default 2,048.
    pub memory_mib_max: Option<u64>,
    /// Most processors of one container. Default 2.
    pub cpus_max: Option<f64>,
    /// Most processes and threads of one container. Default 1,024.
    pub pids_max: Option<u64>,
    /// Longest run in milliseconds. Default 86,400,000.
    pub timeout_ms_max: Option<u64>,
    /// How long an image may take to be fetched, in milliseconds. Default 900,000.
    pub pull_timeout_ms: Option<u64>,
    /// Largest standard output that a call may ask for, in bytes. Default 8 MiB.
    pub stdout_bytes_max: Option<u64>,
}

/// `[machines.NAME]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Host name or address.
    pub host: String,
    /// Port. Default 22.
    #[serde(default = "ssh")]
    pub port: u16,
    /// Who runs there.
    pub user: String,
    /// The private key, in OpenSSH's format and not encrypted.
    pub key_file: Option<PathBuf>,
    /// The secret that holds it, in place of a file.
    pub key_secret: Option<String>,
    /// The machine's public keys, as in `ssh-ed25519 AAAA…`.
    #[serde(default)]
    pub host_keys: Vec<String>,
    /// A file of OpenSSH's format that lists them.
    pub known_hosts: Option<PathBuf>,
    /// Connections at once, each for eight commands. Default 16.
    #[serde(default = "connections")]
    pub connections: u32,
    /// Seconds that a connection is kept which nobody uses. Default 60.
    #[serde(default = "idle_seconds")]
    pub idle_seconds: u64,
}

fn ssh() -> u16 {
    22
}

fn connections() -> u32 {
    16
}

fn idle_seconds() -> u64 {
    60
}

/// The bridges to programs elsewhere. Cheap to clone.
#[derive(Clone)]
pub struct Elsewhere {
    /// For `container:run`.
    pub containers: ContainerBridge,
    /// For `vm:run`.
    pub machines: MachineBridge,
    /// Cancelled when the server begins to stop.
    pub stopping: CancellationToken,
}

impl Elsewhere {
    /// The bridges of the configuration. What they run is marked as this instance's.
    pub fn open(
        config: &Config,
        limiter: &Limiter,
        objects: &Arc<dyn Objects>,
        instance: &str,
        secrets: &Arc<dyn Secrets>,
    ) -> Result<Elsewhere, Trouble> {
        let stopping = CancellationToken::new();
        let clock = || Arc::new(|| SystemClock.wall());
        let containers = ContainerBridge::new(
            container_options(&config.containers, instance)?,
            Arc::clone(objects),
            clock(),
            limiter.clone(),
            stopping.clone(),
        );
        let machines = MachineBridge::new(
            MachinesOptions {
                machines: machines(&config.machines, secrets)?,
                instance: instance.to_owned(),
                ..MachinesOptions::default()
            },
            Arc::clone(objects),
            clock(),
            limiter.clone(),
            stopping.clone(),
        );
        Ok(Elsewhere {
            containers,
            machines,
            stopping,
        })
    }

    /// [`Elsewhere::sweep`] will be called: until then nothing new begins.
    pub fn will_sweep(&self) {
        self.containers.will_sweep();
        self.machines.will_sweep();
    }

    /// Removes what nobody wants, until the server stops.
    pub async fn sweep(self, gate: Arc<dyn Gate>) {
        tokio::join!(
            self.containers.sweep(Arc::clone(&gate)),
            self.machines.sweep(gate)
        );
    }
}

/// The data directory's own name, which goes with it wherever it is moved; without one, this process's.
pub fn instance(data_dir: Option<&Path>) -> Result<String, Trouble> {
    let drawn = || system::draw().iter().map(|b| format!("{b:02x}")).collect();
    let Some(dir) = data_dir else {
        return Ok(drawn());
    };
    let file = dir.join("instance");
    let fine = |text: &str| text.len() == 32 && text.chars().all(|c| c.is_ascii_hexdigit());
    let failed = |e: std::io::Error| Trouble::system(format!("{}: {e}", file.display()));
    match std::fs::read(&file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()) {
        Ok(text) if fine(text.trim()) => Ok(text.trim().to_owned()),
        Ok(_) => Err(Trouble::system(format!(
            "{} does not hold 32 hexadecimal digits, by which containers and files elsewhere are known as this server's; restore it from a backup, or remove it and look for what is left there by hand",
            file.display()
        ))),
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed(e)),
        _ => {
            let text: String = drawn();
            let new = dir.join("instance.new");
            let write = || {
                let mut made = std::fs::File::create(&new)?;
                made.write_all(text.as_bytes())?;
                made.sync_all()?;
                std::fs::rename(&new, &file)
            };
            write().map_err(failed)?;
            Ok(text)
        }
    }
}

fn container_options(config: &Containers, instance: &str) -> Result<ContainerOptions, Trouble> {
    let base = ContainerOptions::default();
    let cpus_max = config.cpus_max.unwrap_or(base.cpus_max);
    if !(0.01..=1_024.0).contains(&cpus_max) {
        let text = format!(
            "the configuration's containers.cpus_max is {cpus_max}; it must be 0.01 to 1024"
        );
        return Err(Trouble::configuration(text));
    }
    // Such a network would be another container's, whoever's it is.
    if let Some(name) = config.networks.iter().find(|n| n.contains([':', '/'])) {
        let text = format!("the configuration's containers.networks has {name:?}; name a network");
        return Err(Trouble::configuration(text));
    }
    Ok(ContainerOptions {
        socket: config.socket.clone(),
        images: config.images.clone(),
        networks: config.networks.clone(),
        capabilities: config.capabilities.clone(),
        memory_mib_max: config.memory_mib_max.unwrap_or(base.memory_mib_max),
        cpus_max,
        pids_max: config.pids_max.unwrap_or(base.pids_max),
        timeout_ms_max: config.timeout_ms_max.unwrap_or(base.timeout_ms_max),
        pull_timeout_ms: config.pull_timeout_ms.unwrap_or(base.pull_timeout_ms),
        stdout_bytes_max: config.stdout_bytes_max.unwrap_or(base.stdout_bytes_max),
        instance: instance.to_owned(),
    })
}

fn machines(
    config: &BTreeMap<String, Machine>,
    secrets: &Arc<dyn Secrets>,
) -> Result<BTreeMap<String, MachineOptions>, Trouble> {
    let mut all = BTreeMap::new();
    for (name, machine) in config {
        let wrong = |what: &str, why: String| {
            Trouble::configuration(format!("machine {name}: {what}: {why}"))
        };
        let key: KeySource = match (&machine.key_file, &machine.key_secret) {
            (Some(file), None) => {
                let text = input::text(file, KEY_BYTES_MAX)?;
                // The key's text is in no message.
                let key =
                    private_key(&text).map_err(|why| wrong(&file.display().to_string(), why))?;
                Arc::new(move || Ok(key.clone()))
            }
            (None, Some(secret)) => secret_key(Arc::clone(secrets), secret.clone()),
            _ => {
                let why = "name one of the two".to_owned();
                return Err(wrong("key_file and key_secret", why));
            }
        };
        let bounds = [
            ("connections", u64::from(machine.connections), 1_000),
            ("idle_seconds", machine.idle_seconds, 86_400),
        ];
        if let Some((what, given, most)) = bounds
            .into_iter()
            .find(|(_, given, most)| !(1..=*most).contains(given))
        {
            return Err(wrong(what, format!("{given}; it must be 1 to {most}")));
        }
        let host_keys = machine
            .host_keys
            .iter()
            .map(|text| public_key(text).map_err(|why| wrong("host_keys", why)));
        let options = MachineOptions {
            host: machine.host.clone(),
            port: machine.port,
            user: machine.user.clone(),
            key,
            host_keys: host_keys.collect::<Result<_, _>>()?,
            known_hosts: machine.known_hosts.clone(),
            connections_max: machine.connections,
            idle: Duration::from_secs(machine.idle_seconds),
        };
        all.insert(name.clone(), options);
    }
    Ok(all)
}
