//! The server that the secrets are kept by, and the search for them in all that it leaves.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use stepwell_tests::api::{Answer, Api};
use stepwell_tests::bridges::ask;
use stepwell_tests::bridges::place::{Place, TOKEN_HEAD};
use stepwell_tests::guests;
use stepwell_tests::server::{self, Server};

/// Values that must be found nowhere. Not one of them compresses.
pub const TOKEN: &str = "tQ7vXk2mR9pLw4ZsB8nY-bearer";
pub const NEXT: &str = "hJ3dFg6sA1qWe5rTy0uI-second";
pub const PASSWORD: &str = "pZ9xCv8bNm7aSd6fGh5j:word";
pub const API_KEY: &str = "kL2wEr3tYu4iOp5aSd6f/key";
pub const CLIENT: &str = "cV5bNm6qWe7rTy8uIo9p+client";
/// What the configuration's connection `billing` lends.
pub const BORROWED: &str = "bX4nMz8qLk2wJh6gFd0s-borrowed";
/// Is found, so that one knows that the search finds.
pub const MARK: &str = "zA1xSw2cDe3vFr4bGt5n-mark";

pub const CALL: &str = r#"{"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "http:request", "End": true}}}"#;

pub struct House {
    pub dir: tempfile::TempDir,
    pub server: Server,
    pub api: Api,
    pub place: Place,
    /// Every answer of the API.
    pub answers: Vec<String>,
}

impl House {
    /// A server with the flow `call`, which may use every secret but `other`, and the module
    /// and flow `reads`, likewise.
    pub fn start() -> Result<House> {
        let dir = tempfile::tempdir()?;
        let place = Place::start()?;
        let config = format!(
            "[http]\nallow = [\"127.0.0.1\"]\n[connections.billing]\nurl = {:?}\n\
             headers = {{ authorization = \"Bearer {BORROWED}\" }}\n",
            place.url("/")
        );
        let (server, api) = ask::started(dir.path(), &config)?;
        let mut house = House {
            api,
            dir,
            server,
            place,
            answers: Vec::new(),
        };
        let grants = house.grants();
        house.publish("call", CALL, Some(&grants))?;
        let encoded: String =
            url::form_urlencoded::byte_serialize(grants.to_string().as_bytes()).collect();
        let wasm = std::fs::read(guests::program("secrets")?)?;
        let pushed = house.send("PUT", &format!("/v1/modules/reads?grants={encoded}"), wasm)?;
        ensure!(pushed.status == 201, "{pushed:?}");
        let gained = pushed.body["gained"].to_string();
        ensure!(gained.contains("secret token"), "{gained}");
        let flow = CALL.replace("http:request", "wasm:reads");
        house.publish("reads", &flow, None)?;
        Ok(house)
    }

    pub fn grants(&self) -> Value {
        json!({
            "http": [{"host": "127.0.0.1", "ports": [self.place.address.port()]}],
            "secrets": ["token", "password", "pair", "api-key", "client", "missing"],
        })
    }

    pub fn publish(&mut self, name: &str, flow: &str, grants: Option<&Value>) -> Result<()> {
        let mut body = json!({"definition": flow});
        if let Some(grants) = grants {
            body["grants"] = grants.clone();
        }
        let kind = [("content-type", "application/vnd.stepwell.publish+json")];
        let path = format!("/v1/flows/{name}?confirm_grants=true");
        let answer = self.api.send_with("PUT", &path, &kind, body.to_string())?;
        ensure!(answer.status < 300, "{name}: {answer:?}");
        Ok(())
    }

    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> Result<Answer> {
        let answer = self.api.send(method, path, body)?;
        self.answers.push(answer.body.to_string());
        Ok(answer)
    }

    pub fn set(&mut self, name: &str, value: &str) -> Result<u64> {
        let answer = self.send("PUT", &format!("/v1/secrets/{name}"), value.to_owned())?;
        let version = answer.body["version"].as_u64();
        version.with_context(|| format!("{answer:?}"))
    }

    /// Runs a flow to its end, and reads all that can be read of it.
    pub fn run(&mut self, flow: &str, input: &Value) -> Result<Value> {
        let id = self.begin(flow, input)?;
        let shown = self.ended(&id)?;
        for path in ["", "/history", "/history?limit=1000", "/trace?state=T"] {
            self.send("GET", &format!("/v1/executions/{id}{path}"), "")?;
        }
        Ok(shown)
    }

    pub fn begin(&mut self, flow: &str, input: &Value) -> Result<String> {
        let path = format!("/v1/flows/{flow}/executions");
        let started = self.send("POST", &path, input.to_string())?;
        let id = started.body["id"].as_str().map(str::to_owned);
        id.with_context(|| format!("{flow}: {started:?}"))
    }

    pub fn ended(&mut self, id: &str) -> Result<Value> {
        let path = format!("/v1/executions/{id}?wait=20");
        let mut shown = Value::Null;
        for _ in 0..9 {
            shown = self.send("GET", &path, "")?.body;
            if shown["status"] != "RUNNING" {
                return Ok(shown);
            }
        }
        bail!("{id} does not end: {shown}")
    }

    pub fn call(&self, path: &str, authentication: Value) -> Value {
        json!({"url": self.place.url(path), "method": "POST", "authentication": authentication})
    }

    pub fn restart(&mut self) -> Result<()> {
        self.server.again()
    }

    /// The command line; its value goes in by standard input.
    pub fn cli(&mut self, args: &[&str], input: &str) -> Result<(Option<i32>, String)> {
        let mut run = Command::new(server::binary()?)
            .args(args)
            .args(["--url", &self.server.url()])
            .env_remove("STEPWELL_TOKEN")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        run.stdin
            .take()
            .context("no input")?
            .write_all(input.as_bytes())?;
        let done = run.wait_with_output()?;
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        let text = text + &String::from_utf8_lossy(&done.stderr);
        self.answers.push(text.clone());
        Ok((done.status.code(), text))
    }

    /// Whether a file of the server holds a text.
    pub fn somewhere(&self, text: &str) -> Result<bool> {
        let mut files = Vec::new();
        walk(self.dir.path(), &mut files)?;
        let read = files
            .iter()
            .map(std::fs::read)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(read.iter().any(|bytes| holds(bytes, text)))
    }

    /// Looks for values in every file of the server and in every answer that it gave.
    pub fn found_nowhere(&self) -> Result<()> {
        let mut files = Vec::new();
        walk(self.dir.path(), &mut files)?;
        for file in files {
            let bytes = std::fs::read(&file)?;
            for value in [TOKEN, NEXT, PASSWORD, API_KEY, CLIENT, TOKEN_HEAD] {
                for form in [
                    value.to_owned(),
                    base64(value),
                    base64(&format!("user:{value}")),
                ] {
                    ensure!(!holds(&bytes, &form), "{} holds {form}", file.display());
                }
            }
        }
        ensure!(self.somewhere(MARK)?, "the search finds what is there");
        for answer in &self.answers {
            for value in [TOKEN, NEXT, PASSWORD, API_KEY, CLIENT, TOKEN_HEAD] {
                ensure!(!answer.contains(value), "{answer}");
                ensure!(!answer.contains(&base64(value)), "{answer}");
            }
        }
        Ok(())
    }
}

pub fn walk(dir: &Path, files: &mut Vec<std::path::PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

pub fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

/// Without the end, which depends on what follows.
pub fn base64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = text.as_bytes().chunks_exact(3);
    let group = |g: &[u8]| {
        let n = u32::from(g[0]) << 16 | u32::from(g[1]) << 8 | u32::from(g[2]);
        [18, 12, 6, 0].map(|shift| char::from(DIGITS[(n >> shift & 63) as usize]))
    };
    groups.flat_map(group).collect()
}

#[track_caller]
pub fn failed(shown: &Value, error: &str) {
    assert_eq!(shown["error"], error, "{shown}");
}
