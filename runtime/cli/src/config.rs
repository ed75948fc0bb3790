//! The configuration file and the flags, as one checked whole.
//!
//! Refuses unknown keys, and never prints the token.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use stepwell_flow::resource::ResourceMap;
use stepwell_server::Token;
use stepwell_types::limits::PAYLOAD_BYTES_MAX;

use crate::elsewhere::{Containers, Machine};
use crate::exit::Trouble;
use crate::limits::Limits;
use crate::secrets::Secrets;
use crate::state::State;
use crate::{apart, args, input, system};

/// Where a server listens, and a client looks, unless told otherwise.
pub const LISTEN: &str = "127.0.0.1:7420";

/// The TOML file. Every key is optional; flags win. Keys are there since 0.1.0, here and in
/// the tables below it; one that comes later says `Since` when, and so does its line in
/// `docs/guides/configuration.md`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port. Default `127.0.0.1:7420`.
    pub listen: Option<SocketAddr>,
    /// Where everything is kept. Default `stepwell-data` in the working directory.
    pub data: Option<PathBuf>,
    /// A file that holds the bearer token alone.
    pub token_file: Option<PathBuf>,
    /// Seconds that a graceful stop may take. Default 20; 1 to 3,600.
    pub stop_seconds: Option<u64>,
    /// Largest module in bytes. Default 100 MiB.
    pub upload_bytes_max: Option<u64>,
    /// Seconds that a synchronous endpoint holds its caller. Default 60; 1 to 900.
    pub trigger_wait_seconds: Option<u64>,
    /// Free MiB on the disk below which new work is refused. Default 256; at most 2^30.
    pub disk_floor_mib: Option<u64>,
    /// Calls to the outside.
    pub http: Http,
    /// What runs in containers.
    pub containers: Containers,
    /// Machines that programs run on, by name. None by default.
    pub machines: BTreeMap<String, Machine>,
    /// Where the master key of secrets lies.
    pub secrets: Secrets,
    /// How many calls go outside, and how fast.
    pub limits: Limits,
    /// How much steps may keep.
    pub state: State,
    /// Headers with secrets that calls borrow by name.
    pub connections: BTreeMap<String, Connection>,
    /// What resources mean in flows that are published here, unless they say otherwise.
    #[serde(deserialize_with = "resources")]
    pub resources: ResourceMap,
    /// Bounds of one attempt of a step.
    pub steps: Steps,
    /// Bounds of a module's compilation.
    pub compile: Compile,
    /// Directories that modules may open. None by default.
    pub directories: Vec<Directory>,
    /// Largest object that is uploaded into a bucket, in bytes. Default 5 GiB.
    pub object_bytes_max: Option<u64>,
    /// Directories that are buckets: flows and clients reach them by name. None by default.
    pub buckets: BTreeMap<String, Bucket>,
    /// May change or go with any release.
    pub experimental: Experimental,
}

fn resources<'de, D: Deserializer<'de>>(from: D) -> Result<ResourceMap, D::Error> {
    crate::filling::resource_map(BTreeMap::deserialize(from)?).map_err(D::Error::custom)
}

/// `[http]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Places that `http:request` may call although they are not public: `HOST:PORT` or a range.
    pub allow: Vec<String>,
    /// Largest body of a Task's request in bytes. Default 4 MiB.
    pub request_bytes_max: Option<u64>,
    /// Largest body of a module's request in bytes. Default 256 MiB.
    pub guest_request_bytes_max: Option<u64>,
    /// Largest response body in bytes. Default 16 MiB.
    pub response_bytes_max: Option<u64>,
    /// Bytes of all answers to Tasks' calls that are being read. Default 256 MiB.
    pub answers_bytes_max: Option<u64>,
    /// PEM files with certificates of authorities that are trusted beside the system's. Default: none.
    pub ca_files: Vec<PathBuf>,
}

/// `[connections.NAME]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// Only calls below this URL get the headers.
    pub url: String,
    /// Header names and values.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Header names, and files that hold a value each.
    #[serde(default)]
    pub header_files: BTreeMap<String, PathBuf>,
}

/// `[steps]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Steps {
    /// wasmtime fuel. Default 20,000,000,000.
    pub fuel: Option<u64>,
    /// Linear memory in MiB. Default 256; 1 to 4,095.
    pub memory_mib: Option<u64>,
    /// Elements of all tables. Default 100,000.
    pub table_elements: Option<u64>,
    /// Milliseconds of an attempt without a deadline of its own. Default 30,000.
    pub wall_ms: Option<u64>,
    /// Largest output in bytes. Default 32 MiB.
    pub output_bytes: Option<usize>,
    /// Text of all log lines in bytes. Default 64 KiB.
    pub log_bytes: Option<usize>,
}

/// `[compile]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compile {
    /// Address space in MiB. Default 4,096.
    pub memory_mib: Option<u64>,
    /// Processor seconds. Default 240.
    pub cpu_seconds: Option<u64>,
    /// Wall milliseconds. Default 180,000.
    pub wall_ms: Option<u64>,
}

/// `[[directories]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// On this machine.
    pub host: PathBuf,
    /// As modules see it.
    pub guest: String,
    /// Whether modules may change it. Default `false`.
    #[serde(default)]
    pub write: bool,
}

/// `[buckets]`: NAME = { path, write }
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// The directory on this machine.
    pub path: PathBuf,
    /// Whether flows and clients may change it. Default `false`.
    #[serde(default)]
    pub write: bool,
}

/// `[experimental]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Experimental {
    /// Loops; one a core by default. 1 to 64.
    pub loops: Option<usize>,
    /// Worker threads; one a core by default. 1 to 1,024.
    pub workers: Option<usize>,
    /// Executions in memory above which starts are refused: each loop takes its share, at
    /// least one. Default 50,000; from 1.
    pub hot_max: Option<usize>,
    /// Calls of Tasks that run at once: each loop takes its share, at least one. Default 4,096; from 1.
    pub calls_max: Option<usize>,
    /// Milliseconds that a turn on a thread of its own may take. Default 120,000.
    pub turn_ms_max: Option<u64>,
    /// `true` answers before the disk has it: a power cut loses what was promised.
    /// Only for the test that shows so.
    pub no_sync: bool,
}

/// What `serve` is started with: file and flags together.
#[derive(Debug)]
pub struct Settings {
    /// The file, with defaults where flags or the file say nothing.
    pub config: Config,
    /// Address and port.
    pub listen: SocketAddr,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// The bearer token.
    pub token: Option<Token>,
}

/// Reads the file and the environment; flags win.
pub fn load(args: &args::Serve) -> Result<Settings, Trouble> {
    let mut config = match &args.config {
        None => Config::default(),
        Some(file) => {
            let text = input::text(file, 1 << 20)?;
            let shown = file.display();
            let read = input::from_toml(&text);
            read.map_err(|e| Trouble::configuration(format!("{shown}: {e}")))?
        }
    };
    bounded("stop_seconds", config.stop_seconds, 1, 3_600)?;
    bounded("trigger_wait_seconds", config.trigger_wait_seconds, 1, 900)?;
    bounded("upload_bytes_max", config.upload_bytes_max, 1, 4 << 30)?;
    bounded("object_bytes_max", config.object_bytes_max, 1, 1 << 50)?;
    bounded("disk_floor_mib", config.disk_floor_mib, 0, 1 << 30)?;
    for (key, given, max) in [
        ("experimental.loops", config.experimental.loops, 64),
        ("experimental.workers", config.experimental.workers, 1 << 10),
        ("experimental.hot_max", config.experimental.hot_max, 1 << 30),
        (
            "experimental.calls_max",
            config.experimental.calls_max,
            1 << 20,
        ),
    ] {
        bounded(key, given.map(|n| n as u64), 1, max)?;
    }
    bounded("steps.memory_mib", config.steps.memory_mib, 1, 4_095)?;
    // Below that the compiler's threads find no room for their stacks.
    bounded(
        "compile.memory_mib",
        config.compile.memory_mib,
        512,
        1 << 20,
    )?;
    bounded("steps.fuel", config.steps.fuel, 1, u64::MAX / 2)?;
    bounded("steps.wall_ms", config.steps.wall_ms, 1, 900_000)?;
    let log_bytes = config.steps.log_bytes.map(|n| n as u64);
    bounded("steps.log_bytes", log_bytes, 0, 16 << 20)?;
    let payload = PAYLOAD_BYTES_MAX as u64;
    for (key, given, max) in [
        (
            "steps.table_elements",
            config.steps.table_elements,
            10_000_000,
        ),
        (
            "steps.output_bytes",
            config.steps.output_bytes.map(|n| n as u64),
            payload,
        ),
        ("compile.cpu_seconds", config.compile.cpu_seconds, 3_600),
        ("compile.wall_ms", config.compile.wall_ms, 3_600_000),
        (
            "http.request_bytes_max",
            config.http.request_bytes_max,
            payload,
        ),
        (
            "http.guest_request_bytes_max",
            config.http.guest_request_bytes_max,
            1 << 40,
        ),
        (
            "http.response_bytes_max",
            config.http.response_bytes_max,
            1 << 30,
        ),
        (
            "http.answers_bytes_max",
            config.http.answers_bytes_max,
            1 << 40,
        ),
        (
            "experimental.turn_ms_max",
            config.experimental.turn_ms_max,
            86_400_000,
        ),
    ] {
        bounded(key, given, 1, max)?;
    }
    config.http.allow.extend(args.http_allow.iter().cloned());
    let token_file = args.token_file.clone().or_else(|| config.token_file.take());
    let token = match &token_file {
        Some(file) => Some(input::text(file, 4096)?),
        None => system::variable("STEPWELL_TOKEN"),
    };
    let token = token
        .map(|secret| Token::new(secret.trim()))
        .transpose()
        .map_err(Trouble::usage)?;
    let default_listen = LISTEN.parse().map_err(Trouble::usage)?;
    let data_dir = args.data.clone().or_else(|| config.data.take());
    let data_dir = data_dir.unwrap_or_else(|| PathBuf::from("stepwell-data"));
    check_directories(&config.directories)?;
    let settings = Settings {
        listen: args.listen.or(config.listen).unwrap_or(default_listen),
        data_dir,
        token,
        config,
    };
    apart::check(&settings, token_file.as_deref())?;
    Ok(settings)
}

/// Modules see each under an absolute path of its own.
fn check_directories(directories: &[Directory]) -> Result<(), Trouble> {
    let mut seen = BTreeSet::new();
    for Directory { guest, .. } in directories {
        let text = if !guest.starts_with('/') {
            format!(
                "the configuration's directories have the guest path {guest:?}; it must begin with /"
            )
        } else if !seen.insert(guest.trim_end_matches('/')) {
            format!(
                "the configuration's directories have the guest path {guest:?} twice; give each one of its own"
            )
        } else {
            continue;
        };
        return Err(Trouble::configuration(text));
    }
    Ok(())
}

fn bounded(key: &str, value: Option<u64>, min: u64, max: u64) -> Result<(), Trouble> {
    match value {
        Some(n) if !(min..=max).contains(&n) => {
            let text = format!("the configuration's {key} is {n}; it must be {min} to {max}");
            Err(Trouble::configuration(text))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Result<(), &str>) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(&file, text).unwrap();
        let args = args::Serve {
            config: Some(file),
            listen: None,
            data: None,
            token_file: None,
            http_allow: vec!["127.0.0.1:9000".into()],
        };
        match (load(&args), want) {
            (Ok(settings), Ok(())) => {
                let allowed = settings.config.http.allow.last();
                assert_eq!(allowed.map(String::as_str), Some("127.0.0.1:9000"));
            }
            (Err(e), Err(want)) => assert!(e.message.contains(want), "{}", e.message),
            (got, want) => panic!("{text}: got {got:?}, want {want:?}"),
        }
    }

    #[test]
    fn files() {
        check("", Ok(()));
        check(
            "listen = \"127.0.0.1:0\"\n[http]\nallow = [\"10.0.0.0/8\"]\n[steps]\nfuel = 5",
            Ok(()),
        );
        check("listn = \"127.0.0.1:0\"", Err("listn"));
        check(
            "listn = \"127.0.0.1:0\"",
            Err("hint: did you mean `listen`?"),
        );
        check(
            "[http]\nallow = \"127.0.0.1\"",
            Err("hint: a list stands in brackets"),
        );
        check("listn = 1", Err("CONF0001: "));
        check("stop_seconds = 0", Err("CONF0001: "));
        check(
            "data = \"/srv\"\n[buckets]\nin = { path = \"/srv\" }",
            Err("CONF0001: "),
        );
        check("listen = \"nowhere\"", Err("listen"));
        check("[buckets]\nin = { path = \"/srv/in\" }", Ok(()));
        check(
            "[buckets]\nin = { path = \"/srv/in\", writ = true }",
            Err("writ"),
        );
        check(
            "data = \"/srv/data\"\n[buckets]\nin = { path = \"/srv/data/buckets/x\" }",
            Err("buckets.in"),
        );
        check(
            "data = \"/srv/data\"\n[buckets]\nin = { path = \"/srv\" }",
            Err("buckets.in"),
        );
        let directory =
            |guest: &str| format!("[[directories]]\nhost = \"/srv\"\nguest = {guest:?}\n");
        check(&(directory("/a") + &directory("/b")), Ok(()));
        for host in ["/srv/data/store", "/srv"] {
            check(
                &format!("data = \"/srv/data\"\n[[directories]]\nhost = {host:?}\nguest = \"/a\""),
                Err("directory \"/a\""),
            );
        }
        check(
            "[secrets]\nkey_file = \"/etc/keys/k\"\n[[directories]]\nhost = \"/etc/keys\"\nguest = \"/a\"",
            Err("around /etc/keys/k, which is secret"),
        );
        check(&directory("a"), Err("must begin with /"));
        check(&(directory("/a") + &directory("/a/")), Err("twice"));
        check("stop_seconds = 0", Err("stop_seconds is 0"));
        check("disk_floor_mib = 1073741824", Ok(()));
        check("disk_floor_mib = 17592186044416", Err("disk_floor_mib"));
        check("[experimental]\nhot_max = 0", Err("experimental.hot_max"));
        check("[experimental]\nloops = 65", Err("experimental.loops"));
        check("[steps]\nmemory_mib = 9999", Err("steps.memory_mib"));
        check("[compile]\nmemory_mib = 511", Err("compile.memory_mib"));
        check("[steps]\nlog_bytes = 0", Ok(()));
        check(
            "[steps]\noutput_bytes = 33554433",
            Err("steps.output_bytes"),
        );
        check("[compile]\nwall_ms = 0", Err("compile.wall_ms"));
        check(
            "[http]\nresponse_bytes_max = 0",
            Err("http.response_bytes_max"),
        );
        check("token_file = \"/nonexistent/token\"", Err("cannot read"));
        check("token = \"secret\"", Err("token"));
    }
}
