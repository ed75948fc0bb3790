//! Connections to one machine: host keys checked, shared by many commands, so many at most, closed when idle.
//!
//! Refuses a machine whose key is not known before, and one that shows another.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use parking_lot::Mutex;
use russh::client::{self, AuthResult, Handle, Msg};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, Disconnect, Preferred};
use stepwell_types::Failure;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::known;
use crate::Secrets;
use crate::job::Fault;
use crate::job::program::Kind;

/// How long a connection may take to be made, keys and all.
const CONNECT: Duration = Duration::from_secs(20);
/// How long a packet may wait to be taken.
const STUCK: Duration = Duration::from_secs(60);
/// How often a silent machine is asked whether it is there; three silences end a connection.
const ALIVE: Duration = Duration::from_secs(15);
/// Commands that share a connection: OpenSSH takes no more than ten.
const SHARED: u32 = 8;

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
    /// A file of OpenSSH's format with more of them, and with those that are revoked; read at every connection.
    pub known_hosts: Option<PathBuf>,
    /// Connections at once; each is shared by eight commands, further ones wait.
    pub connections_max: u32,
    /// How long a connection is kept that nobody uses.
    pub idle: Duration,
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
    open: Arc<Mutex<Vec<Arc<Open>>>>,
    /// Commands that all connections together have room for.
    room: Arc<Semaphore>,
    /// Of these, those that do nothing but wait for news: they leave room for others.
    idlers: Semaphore,
    /// One at a time is made: who waits may share it.
    making: tokio::sync::Mutex<()>,
}

struct Open {
    handle: Handle<Keys>,
    slots: Arc<Semaphore>,
    /// When a command ended here last.
    used: Mutex<Instant>,
}

impl Open {
    /// Waits until nobody has used it for so long, and ends it.
    async fn end_when_idle(open: Weak<Open>, all: Arc<Mutex<Vec<Arc<Open>>>>, idle: Duration) {
        loop {
            let Some(this) = open.upgrade() else { return };
            let until = *this.used.lock() + idle;
            if until > Instant::now() {
                drop(this);
                tokio::time::sleep_until(until).await;
            } else if this.leaves(&all) {
                let ended = this.handle.disconnect(Disconnect::ByApplication, "", "");
                // One that is dead is as good.
                let _ = ended.await;
                return;
            }
        }
    }

    /// Takes it out of the list, unless somebody uses it: then it is idle later.
    fn leaves(self: &Arc<Open>, all: &Mutex<Vec<Arc<Open>>>) -> bool {
        // None is given away while the list is locked.
        let mut all = all.lock();
        let idle = self.slots.available_permits() == SHARED as usize;
        if idle {
            all.retain(|other| !Arc::ptr_eq(other, self));
        } else {
            *self.used.lock() = Instant::now();
        }
        idle
    }
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
    _hold: Hold,
}

/// A command's place in a connection.
struct Hold {
    open: Arc<Open>,
    _slot: OwnedSemaphorePermit,
    _room: OwnedSemaphorePermit,
}

impl Drop for Hold {
    fn drop(&mut self) {
        *self.open.used.lock() = Instant::now();
    }
}

impl Connections {
    pub(super) fn new(name: &str, options: MachineOptions) -> Connections {
        let room = options.connections_max.max(1).saturating_mul(SHARED) as usize;
        Connections {
            name: name.to_owned(),
            options,
            open: Arc::default(),
            room: Arc::new(Semaphore::new(room)),
            idlers: Semaphore::new(room / 4 * 3),
            making: tokio::sync::Mutex::default(),
        }
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        let mut all = self.open.lock();
        all.retain(|open| !open.handle.is_closed());
        all.len()
    }

    /// To be had before a command, and held with it, that waits there for news.
    pub(super) async fn idler(&self) -> Result<SemaphorePermit<'_>, Fault> {
        let idler = self.idlers.acquire().await;
        idler.map_err(|e| Fault::Unreachable(e.to_string()))
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
        let room = Arc::clone(&self.room).acquire_owned().await;
        let room = room.map_err(|e| Fault::Unreachable(e.to_string()))?;
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
                _hold: Hold {
                    open,
                    _slot: slot,
                    _room: room,
                },
            }),
            Err(e) => {
                self.open.lock().retain(|other| !Arc::ptr_eq(other, &open));
                Err(Fault::Unreachable(e.to_string()))
            }
        }
    }

    /// An open connection with room.
    fn shared(&self) -> Option<(Arc<Open>, OwnedSemaphorePermit)> {
        let mut all = self.open.lock();
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
        let slots = Arc::new(Semaphore::new(SHARED as usize));
        let slot = Arc::clone(&slots)
            .try_acquire_owned()
            .map_err(|e| Fault::Unreachable(e.to_string()))?;
        let used = Mutex::new(Instant::now());
        let open = Arc::new(Open {
            handle,
            slots,
            used,
        });
        let all = Arc::clone(&self.open);
        all.lock().push(Arc::clone(&open));
        tokio::spawn(Open::end_when_idle(
            Arc::downgrade(&open),
            all,
            self.options.idle,
        ));
        Ok((open, slot))
    }

    async fn connect(&self) -> Result<Handle<Keys>, Fault> {
        let MachineOptions {
            host, port, user, ..
        } = &self.options;
        let known = self.known_keys()?;
        let key = (self.options.key)()?;
        let mut config = client::Config {
            // That it answers when it is asked whether it is there counts as activity.
            inactivity_timeout: Some(STUCK),
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
        let mut why = String::new();
        if let Some(file) = &options.known_hosts {
            let shown = file.display();
            match std::fs::read(file) {
                Ok(bytes) => {
                    let text = String::from_utf8_lossy(&bytes);
                    let listed = known::read(&text, &options.host, options.port);
                    known.extend(listed.known);
                    let listed = listed.revoked;
                    let revoked = |key: &PublicKey| {
                        listed
                            .iter()
                            .any(|other| other.key_data() == key.key_data())
                    };
                    if known.iter().any(revoked) {
                        known.retain(|key| !revoked(key));
                        why = format!(" ({shown} revokes one that was)");
                    }
                }
                // Nobody knows what it revokes.
                Err(e) => {
                    known.clear();
                    why = format!(" ({shown} cannot be read: {e})");
                }
            }
        }
        if known.is_empty() {
            let MachineOptions { host, port, .. } = options;
            return Err(Kind::Machine.failure(
                "HostUnknown",
                format!(
                    "no key of {host}:{port} is known, so nobody can tell whether it is machine {}; give its key in the configuration (host_keys), or list it in known_hosts{why}",
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
