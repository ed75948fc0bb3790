//! Guests' HTTP calls through the bridge, beside the same client without it: the same crate, the same settings,
//! the same server on the loopback, in interleaved rounds.
//!
//! A step makes its calls one after another, each journalled: its intent is on the disk before it leaves.
//! Express executions keep no journal, which shows what of the difference the journal is.
//! Refuses to count a call that was not answered as it should be.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;

use crate::Scale;
use crate::durable::waiting;
use crate::load::{self, Load, Until};
use crate::measure::{median, real};
use crate::report::Report;
use crate::server::{Server, folder};

/// Calls of one step.
const CALLS: u64 = 50;
/// What the called server says.
const ANSWER: &str = "fine";

/// Ways to call: without the bridge, by a guest of a standard execution, and of an express one.
const WAYS: [&str; 3] = ["bare", "standard", "express"];

/// What one way gave in one round.
struct Pace {
    rate: f64,
    /// Processor time of our server a call.
    cpu_us: f64,
    commits: f64,
}

/// Measures and reports.
pub fn measure(scale: &Scale, report: &mut Report) -> Result<()> {
    report.section(
        "guest_http",
        "guests' HTTP calls through the bridge, beside the same client without it",
    );
    let called = called()?;
    let dir = folder()?;
    let server = Server::start_with(dir.path(), &[called])?;
    prepare(&server, called)?;
    let input: &'static str = input(called).leak();
    let bare = Bare::new(called)?;
    let window = Duration::from_secs_f64(scale.window_s);
    for clients in [1, 64] {
        let mut rounds = [const { Vec::new() }; 3];
        for _ in 0..scale.rounds {
            for (way, paces) in WAYS.iter().zip(&mut rounds) {
                paces.push(match *way {
                    "bare" => bare.pace(clients, window)?,
                    way => guests(&server, way, clients, window, input)?,
                });
            }
        }
        tell(clients, &rounds, report);
    }
    server.stop()
}

/// Uploads the guest, granted to call there, and publishes its flow in both types.
fn prepare(server: &Server, called: SocketAddr) -> Result<()> {
    let wasm = std::fs::read(xtask::guests::component("tests/programs", "calls")?)?;
    let grants = json!({"http": [{"host": "127.0.0.1", "ports": [called.port()]}]}).to_string();
    let grants: String = url::form_urlencoded::byte_serialize(grants.as_bytes()).collect();
    server.call("PUT", &format!("/v1/modules/calls?grants={grants}"), wasm)?;
    let flow = json!({"StartAt": "S", "States": {"S": {"Type": "Task", "Resource": "wasm:calls", "End": true}}});
    for way in ["standard", "express"] {
        server.publish(&format!("calls-{way}?type={way}"), &flow)?;
    }
    Ok(())
}

fn input(called: SocketAddr) -> String {
    let call = json!({"url": format!("http://{called}/")});
    json!({"calls": vec![call; usize::try_from(CALLS).unwrap_or(1)]}).to_string()
}

/// Steps that call, so many at once.
fn guests(
    server: &Server,
    way: &str,
    clients: usize,
    window: Duration,
    input: &'static str,
) -> Result<Pace> {
    let load = Load {
        body: Some(input),
        ..waiting(
            server,
            &format!("calls-{way}"),
            clients,
            Until::Elapsed(window),
        )
    };
    let counter = "stepwell_store_commits_total";
    let (cpu, commits) = (server.cpu_s()?, server.metric(counter)?);
    let outcome = load::run(&load)?;
    let (cpu, commits) = (server.cpu_s()? - cpu, server.metric(counter)? - commits);
    let wanted = usize::try_from(CALLS)?;
    for answer in &outcome.samples {
        let fine = answer.matches(ANSWER).count();
        ensure!(fine == wanted, "{fine} of {wanted} calls in {answer}");
    }
    let calls = real((outcome.done * CALLS).max(1));
    Ok(Pace {
        rate: outcome.rate() * real(CALLS),
        cpu_us: cpu * 1e6 / calls,
        commits: commits / calls,
    })
}

/// The client that the bridge has, by itself.
struct Bare {
    client: reqwest::Client,
    url: String,
    runtime: tokio::runtime::Runtime,
}

impl Bare {
    fn new(called: SocketAddr) -> Result<Bare> {
        // Fails only when there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_secs(10))
            .pool_idle_timeout(Duration::from_secs(30))
            .user_agent("stepwell/bench")
            .build()?;
        Ok(Bare {
            client,
            url: format!("http://{called}/"),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?,
        })
    }

    fn pace(&self, clients: usize, window: Duration) -> Result<Pace> {
        let began = Instant::now();
        let tasks: Vec<_> = (0..clients)
            .map(|_| {
                let (client, url) = (self.client.clone(), self.url.clone());
                self.runtime.spawn(async move {
                    let mut done = 0_u64;
                    while began.elapsed() < window {
                        let response = client.get(&url).send().await?;
                        let body = response.bytes().await?;
                        ensure!(body == ANSWER, "a wrong answer: {body:?}");
                        done += 1;
                    }
                    Ok(done)
                })
            })
            .collect();
        let mut done = 0;
        for task in tasks {
            done += self.runtime.block_on(task)??;
        }
        Ok(Pace {
            rate: real(done) / began.elapsed().as_secs_f64(),
            cpu_us: 0.0,
            commits: 0.0,
        })
    }
}

/// A server that answers every call alike, on a thread that ends with the process.
fn called() -> Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the called server's runtime")?;
    std::thread::spawn(move || {
        runtime.block_on(async move {
            let Ok(listener) = TcpListener::from_std(listener) else {
                return;
            };
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(async move {
                    let service = service_fn(|_: Request<hyper::body::Incoming>| async {
                        let body = Full::new(Bytes::from_static(ANSWER.as_bytes()));
                        Ok::<_, Infallible>(Response::new(body))
                    });
                    // Who goes away is no trouble here.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
    });
    Ok(address)
}

fn tell(clients: usize, rounds: &[Vec<Pace>; 3], report: &mut Report) {
    let of = |paces: &[Pace], figure: &dyn Fn(&Pace) -> f64| {
        median(&paces.iter().map(figure).collect::<Vec<_>>())
    };
    let [bare, ..] = rounds;
    for (way, paces) in WAYS.iter().zip(rounds) {
        let rate = of(paces, &|p| p.rate);
        let share = median(
            &paces
                .iter()
                .zip(bare)
                .map(|(pace, bare)| pace.rate / bare.rate)
                .collect::<Vec<_>>(),
        );
        let (cpu, commits) = (of(paces, &|p| p.cpu_us), of(paces, &|p| p.commits));
        let key = format!("{way}_{clients}");
        let text = match *way {
            "bare" => format!("{clients} at once, the client alone: {rate:.0} calls/s"),
            way => format!(
                "{clients} at once, a guest, {way}: {rate:.0} calls/s, {:.0} % of the client alone, {cpu:.0} us of the server's processor time and {commits:.3} commits a call",
                share * 100.0
            ),
        };
        report.add(&format!("{key}_calls_s"), rate, &text);
        report.keep(&format!("{key}_share"), share);
        report.keep(&format!("{key}_cpu_us"), cpu);
        report.keep(&format!("{key}_commits"), commits);
    }
}
