//! A server with everything that can be granted, and with what nobody may reach beside it.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stepwell_shim::names::Names;
use stepwell_tests::api::Api;
use stepwell_tests::bridges::podman::{IMAGE, Podman};
use stepwell_tests::bridges::sshd::Sshd;
use stepwell_tests::guests;
use stepwell_tests::server::Server;
use stepwell_tests::wait::until;

use super::http;

/// What is in the file that nobody may read.
pub const OUTSIDE: &str = "nobody may read this";
/// The secret that holds a line break.
pub const BROKEN: &str = "broken";

/// One try.
pub struct Row {
    /// For whoever reads that it went otherwise.
    pub what: String,
    pub attempt: Attempt,
    /// The name of the refusal; empty: it must go well.
    pub error: &'static str,
}

pub enum Attempt {
    /// An execution of this flow on this input.
    Run(&'static str, Value),
    /// A request to the API: method, path, body.
    Ask(&'static str, String, Vec<u8>),
}

/// An execution that must fail so.
pub fn run(flow: &'static str, what: &str, input: Value, error: &'static str) -> Row {
    Row {
        what: format!("{flow}: {what}"),
        attempt: Attempt::Run(flow, input),
        error,
    }
}

/// A request that must be refused so.
pub fn ask(method: &'static str, path: &str, body: &[u8], error: &'static str) -> Row {
    Row {
        what: format!("{method} {path}"),
        attempt: Attempt::Ask(method, path.to_owned(), body.to_vec()),
        error,
    }
}

pub struct House {
    dir: tempfile::TempDir,
    podman: Podman,
    _sshd: Sshd,
    _server: Server,
    api: Api,
    /// May be called.
    pub place: Place,
    /// May not.
    pub victim: Victim,
    /// The id of an execution that may be sent signals.
    pub taker: String,
    /// Of one that may not.
    pub sealed: String,
}

/// An object in a bucket that nobody is granted, and what is in it.
const UNTOUCHED: (&str, &str) = ("/v1/buckets/other/objects/victim", "nobody may change this");

impl House {
    pub fn start() -> Result<House> {
        let dir = tempfile::tempdir()?;
        let path = dir.path();
        let podman = Podman::start(&path.join("podman"))?;
        let sshd = Sshd::start(&path.join("sshd"))?;
        let (place, victim) = (Place::start()?, Victim::start()?);
        let folder = |name: &str| -> Result<PathBuf> {
            let folder = path.join(name);
            std::fs::create_dir(&folder)?;
            Ok(folder)
        };
        let (shared, own, texts) = (folder("shared")?, folder("own")?, folder("texts")?);
        std::fs::write(path.join("outside"), OUTSIDE)?;
        for granted in [&shared, &own, &texts] {
            std::fs::write(granted.join("inside"), "inside")?;
            std::fs::create_dir(granted.join("below"))?;
            for (name, to) in super::files::LINKS {
                let to = to.replace("DIR", &path.display().to_string());
                std::os::unix::fs::symlink(to, granted.join(name))?;
            }
        }
        let config = format!(
            "object_bytes_max = 1000000\n[http]\nallow = [\"{1}/32\"]\n{2}{3}\
             [[directories]]\nhost = {shared:?}\nguest = \"/shared\"\n\
             [[directories]]\nhost = {own:?}\nguest = \"/own\"\nwrite = true\n\
             [buckets.texts]\npath = {texts:?}\n[buckets.out]\npath = {own:?}\nwrite = true\n\
             [connections.lent]\nurl = \"http://{0}/\"\n[connections.kept]\nurl = \"http://{0}/\"\n",
            place.address,
            place.address.ip(),
            podman.config(),
            sshd.config("worker", "host")?,
        );
        let mut server = Server::new(path, &config)?;
        let names = Names::new(path, http::NAMES)?;
        server.environment(
            names
                .environment()
                .map(|(name, value)| (name.into(), value)),
        );
        server.start()?;
        let mut house = House {
            api: Api::new(&server.url())?,
            dir,
            podman,
            _sshd: sshd,
            _server: server,
            place,
            victim,
            taker: String::new(),
            sealed: String::new(),
        };
        house.furnish()?;
        house.taker = house.begin("taker", "t")?;
        house.sealed = house.begin("sealed", "s")?;
        Ok(house)
    }

    /// Starts an execution of this name that waits for a signal.
    fn begin(&self, flow: &str, name: &str) -> Result<String> {
        self.api.publish(flow, super::signals::TAKER)?;
        let path = format!("/v1/flows/{flow}/executions?name={name}");
        let begun = self.api.send("POST", &path, "{}")?;
        let id = begun.body["id"].as_str().map(str::to_owned);
        id.with_context(|| format!("{begun:?}"))
    }

    /// Secrets, modules and flows: each kind without a manifest, with an empty one, and with one that
    /// grants something.
    fn furnish(&self) -> Result<()> {
        for (name, value) in [
            ("token", "abcdefgh"),
            ("other", "ijklmnop"),
            (BROKEN, "abc\r\nx: y"),
        ] {
            let set = self
                .api
                .send("PUT", &format!("/v1/secrets/{name}"), value)?;
            ensure!(set.status == 200, "{set:?}");
        }
        let port = self.place.address.port();
        let place = json!({"host": self.place.address.ip(), "ports": [port]});
        let mut get = place.clone();
        get["methods"] = json!(["GET"]);
        let all = json!([{"host": "*", "ports": [port, self.victim.port]}]);
        let mut hosts = http::hosts();
        hosts.insert(self.place.address.ip().to_string());
        let by_name: Vec<Value> = hosts
            .iter()
            .map(|host| json!({"host": host, "ports": [port, self.victim.port]}))
            .collect();
        let bucket = |name: &str, write: bool| json!({"bucket": name, "write": write});
        let some = json!({
            "flows": ["taker", "gone"],
            "buckets": [bucket("texts", false), bucket("out", true), bucket("data", true)],
            "http": [get], "images": [IMAGE], "machines": ["worker"], "connections": ["lent"],
            "secrets": ["token", "missing", BROKEN], "directories": ["/shared", "/own"],
            "key_value": [{"namespace": "written", "write": true}, {"namespace": "read"}],
        });
        for program in [
            "blobs",
            "calls",
            "config",
            "executions",
            "files",
            "jobs",
            "keyvalue",
            "secrets",
        ] {
            self.module(program, &format!("{program}-none"), &json!({}))?;
            self.module(program, &format!("{program}-some"), &some)?;
        }
        let wide = json!({"buckets": [bucket("texts", true)]});
        self.module("blobs", "blobs-wide", &wide)?;
        let (path, text) = UNTOUCHED;
        let put = self.api.send("PUT", path, text)?;
        ensure!(put.status == 201, "{put:?}");
        self.module("calls", "calls-all", &json!({"http": all}))?;
        self.module("calls", "calls-named", &json!({"http": by_name}))?;
        self.module("calls", "calls-place", &json!({"http": [place]}))?;
        for (name, resource) in [
            ("http", "http:request"),
            ("container", "container:run"),
            ("machine", "vm:run"),
        ] {
            self.flow(name, resource, None)?;
            self.flow(&format!("{name}-none"), resource, Some(&json!({})))?;
            self.flow(&format!("{name}-some"), resource, Some(&some))?;
        }
        let put = self
            .api
            .send("PUT", "/v1/buckets/data/objects/items", "1\n2\n")?;
        ensure!(put.status == 201, "{put:?}");
        let starts = FLOW.replace("RESOURCE", "flow:start");
        let sends = FLOW.replace("RESOURCE", "signal:send");
        for (name, definition) in [
            ("start", &*starts),
            ("send", &*sends),
            ("items", super::files::ITEMS),
            ("results", super::manifests::RESULTS),
        ] {
            self.publish(&format!("{name}-none"), definition, Some(&json!({})))?;
            self.publish(&format!("{name}-some"), definition, Some(&some))?;
        }
        self.flow("http-all", "http:request", Some(&json!({"http": all})))?;
        let proof = json!({"http": [place], "secrets": ["token", "missing", BROKEN]});
        self.flow("http-proof", "http:request", Some(&proof))?;
        for program in ["keyvalue", "blobs"] {
            let flow = FLOW.replace("RESOURCE", &format!("wasm:{program}-some"));
            let path = format!("/v1/flows/{program}-express?type=express");
            let express = self.api.send("PUT", &path, flow)?;
            ensure!(express.status == 201, "{express:?}");
        }
        self.flow("send", "signal:send", None)?;
        self.flow("wait", "signal:wait", None)?;
        self.api.publish("items", super::files::ITEMS)
    }

    /// Uploads a guest and publishes a flow of its name that runs it.
    fn module(&self, program: &str, name: &str, grants: &Value) -> Result<()> {
        self.api
            .upload_granted(name, &guests::program(program)?, grants)?;
        self.flow(name, &format!("wasm:{name}"), None)
    }

    fn flow(&self, name: &str, resource: &str, grants: Option<&Value>) -> Result<()> {
        self.publish(name, &FLOW.replace("RESOURCE", resource), grants)
    }

    fn publish(&self, name: &str, definition: &str, grants: Option<&Value>) -> Result<()> {
        let mut body = json!({"definition": definition});
        if let Some(grants) = grants {
            body["grants"] = grants.clone();
        }
        let kind = [("content-type", "application/vnd.stepwell.publish+json")];
        let path = format!("/v1/flows/{name}");
        let answer = self.api.send_with("PUT", &path, &kind, body.to_string())?;
        ensure!(answer.status == 201, "{name}: {answer:?}");
        Ok(())
    }

    /// The name by which it is refused; empty when it goes well.
    pub fn attempt(&self, row: &Row) -> Result<String> {
        let (refused, answer) = match &row.attempt {
            Attempt::Run(flow, input) => {
                let shown = self.api.run(flow, &input.to_string())?;
                (shown["error"].clone(), shown)
            }
            Attempt::Ask(method, path, body) => {
                let answer = self.api.send(method, path, body.clone())?;
                (answer.body["code"].clone(), answer.body)
            }
        };
        // Whatever else it says, it does not tell what is in the file.
        let told = answer.to_string().contains(OUTSIDE);
        ensure!(!told, "{}: {answer}", row.what);
        Ok(refused.as_str().unwrap_or_default().to_owned())
    }

    /// No call reached whom it may not, and what may not be changed is as it was.
    pub fn nothing_got_through(&self) -> Result<()> {
        let calls = self.victim.calls.load(Ordering::SeqCst);
        ensure!(calls == 0, "{calls} connections where none may be");
        let outside = std::fs::read_to_string(self.dir.path().join("outside"))?;
        ensure!(outside == OUTSIDE, "{outside}");
        let (path, text) = UNTOUCHED;
        let object = self.api.get(path)?.body;
        ensure!(object == json!(text), "{object}");
        let history = self
            .api
            .get(&format!("/v1/executions/{}/history", self.sealed))?;
        let told = history.body.to_string();
        ensure!(!told.contains("SignalReceived"), "{told}");
        let all = self.api.get("/v1/executions?flow=sealed")?.body;
        let count = all["executions"].as_array().map(Vec::len);
        ensure!(count == Some(1), "{all}");
        let known: BTreeSet<&str> = http::SENT.into_iter().collect();
        let heads = self.place.heads.lock().unwrap_or_else(|e| e.into_inner());
        let smuggled = heads.iter().find(|line| !known.contains(line.as_str()));
        ensure!(
            smuggled.is_none(),
            "{smuggled:?} came by a header or an address"
        );
        // A container is removed when its answer is durable, a moment after that was told.
        until("the removal of every container", || {
            let all = self.podman.containers()?;
            let left = all.iter().any(|name| name.starts_with("stepwell-"));
            Ok((!left).then_some(()))
        })
    }
}

const FLOW: &str = "StartAt: S\nStates:\n  S: {Type: Task, Resource: \"RESOURCE\", TimeoutSeconds: 50, End: true}\n";

/// An HTTP server that may be called: it answers 200, or at `/to?URL` with a redirect there.
pub struct Place {
    pub address: SocketAddr,
    /// The first lines of all requests, and the lines that begin with `x-`.
    heads: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Place {
    fn start() -> Result<Place> {
        let listener = TcpListener::bind("127.0.0.2:0")?;
        let place = Place {
            address: listener.local_addr()?,
            heads: Arc::default(),
        };
        let heads = Arc::clone(&place.heads);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever breaks off says nothing of the server.
                let _ = answer(stream, &heads);
            }
        });
        Ok(place)
    }
}

/// One request a connection, so that each call looks its name up.
fn answer(mut stream: TcpStream, heads: &std::sync::Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut odd = vec![first.split('?').next().unwrap_or_default().to_owned()];
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if line.to_ascii_lowercase().starts_with("x-") {
            odd.push(line);
        }
    }
    heads
        .lock()
        .unwrap_or_else(|e| e.into_inner())
        .append(&mut odd);
    let head = match path.strip_prefix("/to?") {
        Some(to) => format!("302 Found\r\nlocation: {to}"),
        None => "200 OK".to_owned(),
    };
    write!(
        stream,
        "HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}"
    )
}

/// Listens on every address of this machine and counts who comes.
pub struct Victim {
    pub port: u16,
    calls: Arc<AtomicUsize>,
}

impl Victim {
    fn start() -> Result<Victim> {
        // Where there is no IPv6 none of its addresses leads here.
        let listener = TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind("0.0.0.0:0"));
        let listener = listener.context("no port is free")?;
        let victim = Victim {
            port: listener.local_addr()?.port(),
            calls: Arc::default(),
        };
        let calls = Arc::clone(&victim.calls);
        std::thread::spawn(move || {
            for _ in listener.incoming().flatten() {
                calls.fetch_add(1, Ordering::SeqCst);
            }
        });
        Ok(victim)
    }
}
