//! Kills a real server at random moments under load, starts it again on the same data,
//! and checks in the end that nothing was lost, done twice or told wrongly.
//!
//! Refuses to look into the server: it knows only what clients and the receiver see.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

pub mod calls;
pub mod checker;
pub mod children;
pub mod client;
pub mod collect;
pub mod history;
pub mod kept;
pub mod load;
pub mod plan;
pub mod receiver;
pub mod report;
pub mod secrets;
pub mod seen;
pub mod turns;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use stepwell_shim::{Recorder, Tail};
use tokio::task::JoinSet;

use crate::guests;
use crate::random::Random;
use crate::server::Server;
use client::{Api, Told};
use load::Load;
use receiver::Receiver;
use report::Rule;

/// The modules that call out, that keep keys and values, and that use a secret, with their manifests.
/// `HTTP` stands for the receiver.
const GRANTED: [(&str, &str); 3] = [
    ("calls", r#"{"http": HTTP}"#),
    (
        "keyvalue",
        r#"{"key_value": [{"namespace": "counts", "write": true}]}"#,
    ),
    ("secrets", r#"{"http": HTTP, "secrets": ["crash-token"]}"#),
];
/// The guests that the flows run.
const MODULES: [&str; 3] = ["echo", "fail", "json-step"];
/// Clients at work at the same time.
const CLIENTS: usize = 24;
/// Once nobody kills any more: how long it may take until one more client comes to its end.
const LAST: Duration = Duration::from_secs(180);
/// And one more execution to its own.
const SETTLE: Duration = Duration::from_secs(60);
/// `stop_seconds` of the server, and what is allowed beyond.
const STOP: Duration = Duration::from_secs(10);
const STOP_SLACK: Duration = Duration::from_secs(3);
/// How many executions a server that syncs nothing accepts before its power is cut, and how
/// long it may take to: a life in which nothing was accepted has nothing to lose.
const LOSABLE: usize = 20;
const LOSABLE_WITHIN: Duration = Duration::from_secs(60);

/// How the server's processes end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// `kill -9`.
    Kill,
    /// `kill -9`, and what was not synced is thrown away.
    PowerCut,
    /// SIGTERM; it must end in time with status 0.
    Stop,
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Decides the cases and the moments.
    pub seed: u64,
    /// How many processes end under load.
    pub deaths: u32,
    /// How they end.
    pub death: Death,
    /// Whether the server syncs its commits; `false` is the fault that must be found.
    pub sync: bool,
}

/// Runs it, prints the figures, and returns what was found.
///
/// # Errors
/// The run itself could not be done: that is a failure too.
pub fn run(run: &Run) -> Result<Arc<Load>> {
    println!("{run:?} (STEPWELL_SEED={} repeats the cases)", run.seed);
    let work = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let begun = Instant::now();
    let mut campaign = Campaign::new(run, work.path())?;
    let done = runtime.block_on(campaign.carry_out());
    let load = Arc::clone(&campaign.load);
    println!(
        "{}  seconds: {}",
        load.report.text(),
        begun.elapsed().as_secs()
    );
    if done.is_err() || (run.sync && !load.report.clean()) {
        println!(
            "  the server's data and log are kept in {}",
            work.keep().display()
        );
    }
    done.map(|()| load)
}

struct Campaign<'a> {
    run: &'a Run,
    server: Server,
    recorder: Option<Recorder>,
    bucket: PathBuf,
    place: PathBuf,
    random: Random,
    values: secrets::Values,
    /// What is asked of the server while it may die.
    meddling: JoinSet<()>,
    /// When the process that lives now was started, and how long those before it lived.
    born: Instant,
    lives: Vec<Duration>,
    load: Arc<Load>,
}

impl<'a> Campaign<'a> {
    fn new(run: &'a Run, work: &Path) -> Result<Campaign<'a>> {
        let receiver = Receiver::start()?;
        let bucket = work.join("bucket");
        std::fs::create_dir_all(&bucket)?;
        std::fs::write(bucket.join("rows.csv"), plan::rows())?;
        let mut server = Server::new(work, &config(&receiver, &bucket, true))?;
        let recorder = match run.death {
            Death::PowerCut => Some(recorder(work, &mut server, &bucket)?),
            Death::Kill | Death::Stop => None,
        };
        let api = Api::new(server.url())?;
        Ok(Campaign {
            run,
            server,
            recorder,
            bucket,
            place: work.to_owned(),
            values: secrets::Values::default(),
            meddling: JoinSet::new(),
            born: Instant::now(),
            lives: Vec::new(),
            random: Random::new(run.seed, u64::MAX),
            load: Load::new(run.seed, api, receiver),
        })
    }

    async fn carry_out(&mut self) -> Result<()> {
        self.start()?;
        self.ready().await?;
        let value = self.values.draw(&mut self.random);
        self.load.api.set_secret(secrets::NAME, value).await?;
        prepare(&self.load.api, &self.load.receiver).await?;
        // What was uploaded and published must survive as all else does.
        self.end().await?;
        let config = config(&self.load.receiver, &self.bucket, self.run.sync);
        self.server.configure(&config)?;
        self.start()?;
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(Arc::clone(&self.load).client());
        }
        for _ in 0..self.run.deaths {
            self.one_death().await?;
        }
        if self.run.sync {
            self.load.begun().await;
        }
        self.load.stop();
        self.finish(clients).await
    }

    /// Lets the server live for a while, ends it, and starts the next process.
    async fn one_death(&mut self) -> Result<()> {
        if self.run.sync {
            self.live_at_random().await?;
        } else {
            self.live_until_it_can_lose().await?;
        }
        self.end().await?;
        self.load.report.count("deaths", 1);
        self.start()
    }

    async fn live_at_random(&mut self) -> Result<()> {
        // Some die while they still recover.
        let longest = if self.random.chance(15) {
            120
        } else {
            self.ready().await?;
            self.meddle();
            700
        };
        let life = Duration::from_millis(self.random.between(1, longest));
        tokio::time::sleep(life).await;
        if self.run.death == Death::Stop {
            // From its open port on, also while it still reads its store, it is told of signals.
            tokio::task::block_in_place(|| self.server.listening())?;
        }
        Ok(())
    }

    async fn live_until_it_can_lose(&mut self) -> Result<()> {
        self.ready().await?;
        let wanted = self.load.seen.notes().accepted.len() + LOSABLE;
        let accepting = async {
            while self.load.seen.notes().accepted.len() < wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LOSABLE_WITHIN, accepting)
            .await
            .context("the server accepts nothing")
    }

    /// Now and then sets the secret anew, or gives the server a new master key.
    fn meddle(&mut self) {
        let load = Arc::clone(&self.load);
        let value = self
            .random
            .chance(15)
            .then(|| self.values.draw(&mut self.random));
        let rotate = self.random.chance(25);
        self.meddling.spawn(async move {
            let api = &load.api;
            let mut answers = Vec::new();
            if let Some(value) = value {
                answers.push(api.set_secret(secrets::NAME, value).await);
            }
            if rotate {
                load.report.count("rotations of the master key begun", 1);
                let path = "/v1/secret-key/rotate";
                answers.push(api.ask(reqwest::Method::POST, path, None).await);
            }
            for answer in answers {
                // That it dies on the way is the plan.
                let right = match &answer {
                    Ok(Told::Answer(answer)) => matches!(answer.status, 200 | 429 | 503),
                    Ok(Told::Unknown | Told::Away) => true,
                    Err(_) => false,
                };
                load.report.check(right, Rule::Secret, || {
                    format!("it was answered {answer:?}")
                });
            }
        });
    }

    /// Ends the process, and with a power cut what was not synced.
    async fn end(&mut self) -> Result<()> {
        match self.run.death {
            Death::Kill | Death::PowerCut => {
                self.load.api.server_ends();
                let begun = Instant::now();
                // Other tasks go on: a dying process may wait for the disk first.
                tokio::task::block_in_place(|| self.server.kill())?;
                let took = millis(begun.elapsed());
                self.load.report.most("longest death in ms", took);
            }
            Death::Stop => {
                let took = stop(&mut self.server)?;
                self.load.report.most("longest stop in ms", millis(took));
            }
        }
        let load = Arc::clone(&self.load);
        tokio::task::spawn_blocking(move || load.receiver.next_generation()).await??;
        self.lives.push(self.born.elapsed());
        // Now and then the power stays on: the next process sees what this one never synced, builds on it,
        // and loses both at the next cut if it was not synced by then.
        let stays_on = self.run.sync && self.random.chance(25);
        if let Some(recorder) = self.recorder.as_ref().filter(|_| !stays_on) {
            let tail = match self.random.below(3) {
                // A torn tail may happen to keep all of what a fault would lose.
                0 if self.run.sync => Tail::Torn(self.random.draw()),
                _ => Tail::Gone,
            };
            let gone = recorder.discard_unsynced(tail)?;
            self.load
                .report
                .count("unsynced bytes discarded", gone.bytes);
            self.load
                .report
                .count("unsynced files cut or removed", gone.cut + gone.removed);
            self.load
                .report
                .count("unsynced names as they were before", gone.names);
            recorder.restart()?;
        }
        Ok(())
    }

    fn start(&mut self) -> Result<()> {
        self.born = Instant::now();
        self.server.spawn()
    }

    async fn ready(&mut self) -> Result<()> {
        let begun = Instant::now();
        tokio::task::block_in_place(|| self.server.ready())?;
        self.load
            .report
            .most("longest restart in ms", millis(begun.elapsed()));
        Ok(())
    }

    /// Nobody kills any more: all must end. Then everything is read, twice, with a
    /// restart between, and compared.
    async fn finish(&mut self, mut clients: JoinSet<()>) -> Result<()> {
        self.ready().await?;
        // Each has so long behind the one before.
        while let Some(client) = tokio::time::timeout(LAST, clients.join_next())
            .await
            .context("the clients do not come to an end")?
        {
            client.context("a client broke")?;
        }
        while let Some(done) = self.meddling.join_next().await {
            done.context("who meddles broke")?;
        }
        let given_up = self.load.api.given_up();
        let figures = &self.load.report;
        figures.count("connections that a dead server kept open", given_up);
        let load = Arc::clone(&self.load);
        for id in collect::settle(&load.api, SETTLE).await? {
            let shown = load.api.get(&format!("/v1/executions/{id}")).await?.body;
            load.report
                .breach(Rule::Ended, format!("{id} does not end: {shown}"));
        }
        let all = collect::everything(&load.api).await?;
        stop(&mut self.server)?;
        self.server.spawn()?;
        self.ready().await?;
        let again = collect::everything(&load.api).await?;
        load.report.check(all == again, Rule::Ended, || {
            let differs = all
                .executions
                .iter()
                .find(|(id, known)| again.executions.get(*id) != Some(known));
            format!("a restart changed what had ended: {differs:?}")
        });
        self.answers_hold().await?;
        let counted = self.counted().await?;
        stop(&mut self.server)?;
        self.lives.push(self.born.elapsed());
        let (calls, wrong) = load.receiver.calls();
        for text in wrong {
            load.report.breach(Rule::Call, text);
        }
        checker::check(self.run.seed, &all, &load.seen.notes(), &load.report);
        calls::check(self.run.seed, &all, &calls, &load.report);
        kept::check(self.run.seed, &all, &counted, &load.report);
        secrets::check(&self.values, &calls, &load.report);
        turns::check(&self.lives, &calls, &load.report);
        secrets::search(&self.place, &load.report)
    }

    /// What all executions counted together, read by a flow.
    async fn counted(&self) -> Result<serde_json::Value> {
        let path = format!("/v1/flows/{}/executions?name=last&wait=30", plan::COUNTED);
        let input = serde_json::json!({});
        let (told, _) = self
            .load
            .api
            .insist(reqwest::Method::POST, &path, Some(&input))
            .await?;
        Ok(told.body["output"].clone())
    }

    /// The same answer to a token, long after, gets the same reply.
    async fn answers_hold(&self) -> Result<()> {
        let mut answers = self.load.seen.notes().answers.clone();
        answers.truncate(50);
        for (id, token, answer) in answers {
            let path = format!("/v1/tasks/{token}/succeed");
            let (told, _) = self
                .load
                .api
                .insist(reqwest::Method::POST, &path, Some(&answer))
                .await?;
            self.load.report.check(told.status == 204, Rule::Token, || {
                format!("{id}: its acknowledged answer, given again after a restart: {told:?}")
            });
        }
        Ok(())
    }
}

/// The server's configuration but for its place.
fn config(receiver: &Receiver, bucket: &Path, sync: bool) -> String {
    format!(
        "stop_seconds = {}\n[http]\nallow = {:?}\n{}[buckets.crash]\npath = {bucket:?}\nwrite = true\n[experimental]\nno_sync = {}\n",
        STOP.as_secs(),
        receiver.addresses().map(|address| address.to_string()),
        turns::config(receiver),
        !sync,
    )
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Uploads the modules and publishes the flows.
async fn prepare(api: &Api, receiver: &Receiver) -> Result<()> {
    for module in MODULES {
        let bytes = std::fs::read(guests::program(module)?)?;
        api.put(&format!("/v1/modules/{module}"), "application/wasm", bytes)
            .await?;
    }
    let ports = receiver.addresses().map(|address| address.port());
    let http = format!(r#"[{{"host": "127.0.0.1", "ports": {ports:?}}}]"#);
    for (module, grants) in GRANTED {
        let grants = grants.replace("HTTP", &http);
        let grants: String = url::form_urlencoded::byte_serialize(grants.as_bytes()).collect();
        let path = format!("/v1/modules/{module}?grants={grants}");
        let bytes = std::fs::read(guests::program(module)?)?;
        api.put(&path, "application/wasm", bytes).await?;
    }
    for (flow, definition) in plan::flows() {
        let path = format!("/v1/flows/{flow}");
        if flow != plan::SECRET {
            let bytes = definition.as_bytes().to_vec();
            api.put(&path, "application/json", bytes).await?;
            continue;
        }
        let grants = format!(r#"{{"http": {http}, "secrets": ["{}"]}}"#, secrets::NAME);
        let grants: serde_json::Value = serde_json::from_str(&grants)?;
        let publish = serde_json::json!({ "definition": definition, "grants": grants });
        let kind = "application/vnd.stepwell.publish+json";
        api.put(&path, kind, publish.to_string().into_bytes())
            .await?;
    }
    Ok(())
}

/// SIGTERM; returns how long the end took.
fn stop(server: &mut Server) -> Result<Duration> {
    // It ends itself some seconds behind its own bound, and its status tells of that: it is looked at for longer.
    let looked = 2 * STOP + STOP_SLACK;
    let (status, took) = tokio::task::block_in_place(|| server.stop(looked))?;
    if !status.success() {
        bail!(
            "after SIGTERM the server ended with {status}:\n{}",
            server.log_end()
        );
    }
    Ok(took)
}

/// Records what is synced; every process from now on is watched.
fn recorder(work: &Path, server: &mut Server, bucket: &Path) -> Result<Recorder> {
    let tools = work.join("recorder");
    std::fs::create_dir_all(&tools)?;
    let recorder = Recorder::new(&tools, &[&server.data(), bucket])?;
    let environment = recorder.environment();
    server.environment(environment.map(|(name, value)| (name.into(), value)));
    Ok(recorder)
}
