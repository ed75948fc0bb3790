//! Connections to one machine: host keys checked, shared by many commands, closed when idle.
//!
//! Refuses a machine whose key is not known before, and one that shows another.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use russh::client::{self, AuthResult, Handle, Msg};
use russh::keys::{
    PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate, known_hosts,
};
use russh::{Channel, ChannelMsg, Preferred};
use stepwell_types::Failure;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Secrets;
use crate::job::Fault;
use crate::job::program::Kind;

/// How long a connection may take to be made, keys and all.
const CONNECT: Duration = Duration::from_secs(20);
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(60);
/// How often a silent machine is asked whether it is there; three silences end a connection.
const ALIVE: Duration = Duration::from_secs(15);
/// Commands that share a connection: OpenSSH takes no more than ten.
const SHARED: usize = 8;

/// Where a private key comes from. Fails with `Stepwell.MachineAuthenticationFailed` or a
/// secret's failure.
pub type KeySource = Arc<dyn Fn() -> Result<PrivateKey, Failure> + Send + Sync>;

/// One machine, as configured.
#[derive(Clone)]
pub struct MachineOptions {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Who runs there.
    pub user: String,
    /// The private key, asked for at every connection.
    pub key: KeySource,
    /// The machine's keys.
    pub host_keys: Vec<PublicKey>,
    /// A file of OpenSSH's format with more of them; read at every connection.
    pub known_hosts: Option<PathBuf>,
}

/// Reads a private key.
/// # Errors
/// The text is none, it is encrypted, or of a kind that is not supported.
pub fn private_key(text: &str) -> Result<PrivateKey, String> {
    let key = PrivateKey::from_openssh(text).map_err(|e| e.to_string())?;
    if key.is_encrypted() {
        return Err(
            "the key is encrypted; give one that is not, which only the server can read".to_owned(),
        );
    }
    if key.algorithm().is_rsa() {
        return Err("RSA keys are not supported; make one with `ssh-keygen -t ed25519`".to_owned());
    }
    Ok(key)
}

/// The key that a secret holds at the time: a new version is used by the next connection.
#[must_use]
pub fn secret_key(secrets: Arc<dyn Secrets>, name: String) -> KeySource {
    Arc::new(move || {
        let refused = |why: &str| {
            let cause = format!("secret {name:?} is no key: {why}");
            Kind::Machine.failure("AuthenticationFailed", cause)
        };
        let opened = secrets.open(&name, None)?;
        let opened = opened.ok_or_else(|| refused("there is no secret of this name"))?;
        let text = std::str::from_utf8(opened.value.bytes());
        private_key(text.map_err(|_| refused("it is no text"))?).map_err(|why| refused(&why))
    })
}

/// Reads a public key, `ssh-ed25519 AAAA…`.
/// # Errors
/// The text is none.
pub fn public_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::from_openssh(text).map_err(|e| e.to_string())
}

/// The connections to one machine.
pub(super) struct Connections {
    name: String,
    options: MachineOptions,
    open: Mutex<Vec<Arc<Open>>>,
    /// One at a time is made: who waits may share it.
    making: tokio::sync::Mutex<()>,
}

struct Open {
    handle: Handle<Keys>,
    slots: Arc<Semaphore>,
}

/// What a command on the far side answered.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: Option<u32>,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// A command's own way through a connection.
pub(super) struct Way {
    pub(super) channel: Channel<Msg>,
    _slot: OwnedSemaphorePermit,
    _open: Arc<Open>,
}

impl Connections {
    pub(super) fn new(name: &str, options: MachineOptions) -> Connections {
        Connections {
            name: name.to_owned(),
            options,
            open: Mutex::default(),
            making: tokio::sync::Mutex::default(),
        }
    }

    /// Runs a command: `stdin` goes there, at most `max` bytes of its output are kept.
    pub(super) async fn exec(
        &self,
        command: &str,
        stdin: Option<impl Stream<Item = std::io::Result<Bytes>> + Send>,
        max: usize,
    ) -> Result<Answer, Fault> {
        let way = self.begin(command).await?;
        let (mut read, write) = way.channel.split();
        let feed = async {
            if let Some(stdin) = stdin {
                let mut to = write.make_writer();
                let mut stdin = pin!(stdin);
                while let Some(bytes) = stdin.next().await {
                    to.write_all(&bytes?).await?;
                }
                to.flush().await?;
            }
            write.eof().await.map_err(std::io::Error::other)
        };
        let take = async {
            let mut answer = Answer::default();
            while let Some(message) = read.wait().await {
                match message {
                    ChannelMsg::Data { data } => keep(&mut answer.stdout, &data, max),
                    ChannelMsg::ExtendedData { data, .. } => {
                        keep(&mut answer.stderr, &data, 4_096);
                    }
                    ChannelMsg::ExitStatus { exit_status } => answer.status = Some(exit_status),
                    ChannelMsg::ExitSignal { .. } => answer.status = Some(255),
                    _ => {}
                }
            }
            answer
        };
        let (fed, answer) = tokio::join!(feed, take);
        match (answer.status, fed) {
            (Some(0), Err(e)) => Err(Fault::Unreachable(format!("a transfer broke off: {e}"))),
            (Some(_), _) => Ok(answer),
            (None, _) => Err(Fault::Unreachable("the connection broke off".to_owned())),
        }
    }

    /// Begins a command whose output is read piece by piece.
    pub(super) async fn begin(&self, command: &str) -> Result<Way, Fault> {
        // A kept connection may be dead without a sign; the second try makes its own.
        let mut way = match self.way().await {
            Ok(way) => way,
            Err(Fault::Unreachable(_)) => self.way().await?,
            Err(fault) => return Err(fault),
        };
        let refused = |e: russh::Error| Fault::Unreachable(e.to_string());
        way.channel.exec(true, command).await.map_err(refused)?;
        loop {
            match way.channel.wait().await {
                Some(ChannelMsg::Success) => return Ok(way),
                Some(ChannelMsg::Failure) => {
                    let cause = format!("machine {} runs no commands for this user", self.name);
                    return Err(Kind::Machine.failure("Refused", cause).into());
                }
                Some(_) => {}
                None => return Err(Fault::Unreachable("the connection broke off".to_owned())),
            }
        }
    }

    async fn way(&self) -> Result<Way, Fault> {
        let (open, slot) = match self.shared() {
            Some(found) => found,
            None => {
                let _making = self.making.lock().await;
                match self.shared() {
                    Some(found) => found,
                    None => self.connected().await?,
                }
            }
        };
        match open.handle.channel_open_session().await {
            Ok(channel) => Ok(Way {
                channel,
                _slot: slot,
                _open: open,
            }),
            Err(e) => {
                self.lock().retain(|other| !Arc::ptr_eq(other, &open));
                Err(Fault::Unreachable(e.to_string()))
            }
        }
    }

    /// An open connection with room.
    fn shared(&self) -> Option<(Arc<Open>, OwnedSemaphorePermit)> {
        let mut all = self.lock();
        all.retain(|open| !open.handle.is_closed());
        all.iter().find_map(|open| {
            let slot = Arc::clone(&open.slots).try_acquire_owned().ok()?;
            Some((Arc::clone(open), slot))
        })
    }

    async fn connected(&self) -> Result<(Arc<Open>, OwnedSemaphorePermit), Fault> {
        let made = tokio::time::timeout(CONNECT, self.connect()).await;
        let handle = made.map_err(|_| {
            Fault::Unreachable(format!("no answer within {} s", CONNECT.as_secs()))
        })??;
        let slots = Arc::new(Semaphore::new(SHARED));
        let slot = Arc::clone(&slots)
            .try_acquire_owned()
            .map_err(|e| Fault::Unreachable(e.to_string()))?;
        let open = Arc::new(Open { handle, slots });
        self.lock().push(Arc::clone(&open));
        Ok((open, slot))
    }

    async fn connect(&self) -> Result<Handle<Keys>, Fault> {
        let MachineOptions {
            host, port, user, ..
        } = &self.options;
        let known = self.known_keys()?;
        let key = (self.options.key)()?;
        let mut config = client::Config {
            inactivity_timeout: Some(IDLE),
            keepalive_interval: Some(ALIVE),
            nodelay: true,
            ..client::Config::default()
        };
        // Only a key that is known can be shown.
        let algorithms: Vec<_> = known.iter().map(PublicKey::algorithm).collect();
        config.preferred = Preferred {
            key: algorithms.into(),
            ..Preferred::default()
        };
        let keys = Keys { known };
        let connected = client::connect(Arc::new(config), (host.as_str(), *port), keys).await;
        let mut handle = connected.map_err(|e| match e {
            Trouble::OtherKey => self.other_key(),
            // It has no key of the kinds that are known: it is not the machine that was known.
            Trouble::Ssh(russh::Error::NoCommonAlgo {
                kind: russh::AlgorithmKind::Key,
                ..
            }) => self.other_key(),
            Trouble::Ssh(e) => Fault::Unreachable(e.to_string()),
        })?;
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
        let proved = handle.authenticate_publickey(user, key).await;
        match proved {
            Ok(AuthResult::Success) => Ok(handle),
            Ok(AuthResult::Failure { .. }) => {
                let cause = format!("machine {} does not take the key of user {user}", self.name);
                Err(Kind::Machine.failure("AuthenticationFailed", cause).into())
            }
            Err(e) => Err(Fault::Unreachable(e.to_string())),
        }
    }

    fn known_keys(&self) -> Result<Vec<PublicKey>, Failure> {
        let options = &self.options;
        let mut known = options.host_keys.clone();
        let mut unread = String::new();
        if let Some(file) = &options.known_hosts {
            match known_hosts::known_host_keys_path(&options.host, options.port, file) {
                Ok(listed) => known.extend(listed.into_iter().map(|(_, key)| key)),
                Err(e) => unread = format!(" ({} cannot be read: {e})", file.display()),
            }
        }
        if known.is_empty() {
            let MachineOptions { host, port, .. } = options;
            return Err(Kind::Machine.failure(
                "HostUnknown",
                format!(
                    "no key of {host}:{port} is known, so nobody can tell whether it is machine {}; give its key in the configuration (host_keys), or list it in known_hosts{unread}",
                    self.name
                ),
            ));
        }
        Ok(known)
    }

    fn other_key(&self) -> Fault {
        let cause = format!(
            "what answers as machine {} shows another key than the known one: it may not be that machine; if it was set up anew, put its new key into the configuration",
            self.name
        );
        Kind::Machine.failure("HostKeyMismatch", cause).into()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Open>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep(kept: &mut Vec<u8>, bytes: &[u8], max: usize) {
    let room = max.saturating_sub(kept.len()).min(bytes.len());
    kept.extend_from_slice(&bytes[..room]);
}

/// Checks the machine's key.
struct Keys {
    known: Vec<PublicKey>,
}

enum Trouble {
    OtherKey,
    Ssh(russh::Error),
}

impl std::fmt::Debug for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::OtherKey => f.write_str("another host key"),
            Trouble::Ssh(e) => write!(f, "{e}"),
        }
    }
}

impl From<russh::Error> for Trouble {
    fn from(e: russh::Error) -> Trouble {
        Trouble::Ssh(e)
    }
}

impl client::Handler for Keys {
    type Error = Trouble;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Trouble> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else {
            return Err(Trouble::OtherKey);
        };
        match self
            .known
            .iter()
            .any(|known| known.key_data() == key.key_data())
        {
            true => Ok(true),
            false => Err(Trouble::OtherKey),
        }
    }
}
