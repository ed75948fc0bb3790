//! A registry of container images on the loopback, over plain HTTP: it has one image, whose tag may move.
//!
//! Refuses uploads: what it has was made with it.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use stepwell_types::Digest;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// The programs of busybox that the image has.
const PROGRAMS: [&str; 4] = ["sh", "echo", "sleep", "true"];

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Whoever asks gets it.
    Open,
    /// It wants a password, which nobody here knows.
    Login,
    /// Nobody gets an answer.
    Silent,
    /// Nobody listens.
    Away,
}

/// A running registry.
#[derive(Clone)]
pub struct Registry {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    mood: Mood,
    layer: Vec<u8>,
    /// Type and bytes by the last part of a path.
    things: HashMap<String, (&'static str, Vec<u8>)>,
    /// Manifests that were asked for.
    asked: usize,
}

impl Registry {
    /// Starts one whose image says `one`; `dir` is for its parts.
    ///
    /// # Errors
    /// There is no busybox, no `tar` or no port.
    pub fn start(dir: &Path) -> Result<Registry> {
        let bin = dir.join("root/bin");
        std::fs::create_dir_all(&bin)?;
        std::fs::copy("/bin/busybox", bin.join("busybox"))?;
        for program in PROGRAMS {
            std::os::unix::fs::symlink("busybox", bin.join(program))?;
        }
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(dir.join("root"));
        let tar = tar.args(["--owner=0", "--group=0", "-cf", "-", "bin"]);
        let tar = tar.output()?;
        ensure!(tar.status.success(), "{tar:?}");
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let registry = Registry {
            address,
            state: Arc::new(Mutex::new(State {
                mood: Mood::Open,
                layer: tar.stdout,
                things: HashMap::new(),
                asked: 0,
            })),
        };
        registry.says("one");
        registry.listen(listener);
        Ok(registry)
    }

    /// What flows call the image.
    #[must_use]
    pub fn image(&self) -> String {
        format!("{}/jobs/says:now", self.address)
    }

    /// Gives the tag to another image, whose variable `SAYS` is this.
    pub fn says(&self, word: &str) {
        let mut state = self.state();
        let layer = state.layer.clone();
        let mut put = |kind: &'static str, bytes: Vec<u8>| -> Value {
            let digest = format!("sha256:{}", Digest::of(&bytes));
            let size = bytes.len();
            state.things.insert(digest.clone(), (kind, bytes));
            json!({"mediaType": kind, "digest": digest, "size": size})
        };
        let layer = put(LAYER, layer);
        let machine = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let config = json!({
            "architecture": machine,
            "os": "linux",
            "config": {"Env": ["PATH=/bin", format!("SAYS={word}")]},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        });
        let config = put(CONFIG, config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer],
        });
        let manifest = manifest.to_string().into_bytes();
        put(MANIFEST, manifest.clone());
        state.things.insert("now".to_owned(), (MANIFEST, manifest));
    }

    /// How it answers from now on.
    ///
    /// # Errors
    /// Its port is taken by another when it should come back.
    pub fn turn(&self, mood: Mood) -> Result<()> {
        let before = std::mem::replace(&mut self.state().mood, mood);
        if mood == Mood::Away {
            // Whoever waits for connections sees that it should not.
            let _ = TcpStream::connect(self.address);
        } else if before == Mood::Away {
            self.listen(TcpListener::bind(self.address)?);
        }
        Ok(())
    }

    /// How often somebody asked for the image behind the tag.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.state().asked
    }

    fn listen(&self, listener: TcpListener) {
        let registry = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if registry.state().mood == Mood::Away {
                    return;
                }
                let registry = registry.clone();
                std::thread::spawn(move || registry.converse(stream));
            }
        });
    }

    /// Reads requests without bodies and answers them, until it is away or nobody asks.
    fn converse(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut out = stream.try_clone()?;
        let mut lines = BufReader::new(stream).lines();
        while let Some(first) = lines.next() {
            let first = first?;
            let mut words = first.split(' ');
            let method = words.next().unwrap_or_default().to_owned();
            let path = words.next().unwrap_or_default().to_owned();
            for line in lines.by_ref() {
                if line?.is_empty() {
                    break;
                }
            }
            let mood = self.state().mood;
            match mood {
                Mood::Away => return Ok(()),
                Mood::Silent => {
                    while self.state().mood == Mood::Silent {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                    return Ok(());
                }
                Mood::Login => {
                    write!(
                        out,
                        "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"jobs\"\r\ncontent-length: 0\r\n\r\n"
                    )?;
                    continue;
                }
                Mood::Open => {}
            }
            let (status, kind, bytes) = self.thing(&path);
            let digest = Digest::of(&bytes);
            write!(
                out,
                "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\ndocker-content-digest: sha256:{digest}\r\n\r\n",
                bytes.len()
            )?;
            if method != "HEAD" {
                out.write_all(&bytes)?;
            }
        }
        Ok(())
    }

    fn thing(&self, path: &str) -> (&'static str, &'static str, Vec<u8>) {
        let mut state = self.state();
        if path == "/v2/" {
            return ("200 OK", "application/json", b"{}".to_vec());
        }
        state.asked += usize::from(path.ends_with("/manifests/now"));
        let last = path.rsplit('/').next().unwrap_or_default();
        match state.things.get(last) {
            Some((kind, bytes)) => ("200 OK", *kind, bytes.clone()),
            None => {
                let text = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such image"}]}"#;
                ("404 Not Found", "application/json", text.to_vec())
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
