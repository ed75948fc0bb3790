//! `cargo xtask demo [--exit] [--port N]`: the examples on a real server.
//!
//! Installs what is missing, builds, serves with a fresh store, uploads, publishes,
//! triggers over HTTP, prints each result, and stays up. Refuses to look away when
//! an example ends otherwise than its `example.toml` says.

mod example;
mod http;
mod play;
mod receiver;
mod serve;
mod show;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{guests, place, setup, shell};
use example::Example;
use receiver::Receiver;
use serve::Server;

/// The examples in the order of the tour.
const EXAMPLES: &[&str] = &[
    "photo-pipeline",
    "approval",
    "approval-cloudflow",
    "fan-out",
    "bucket-map",
    "orders",
    "ledger-import",
];
const PORT: u16 = 7420;

/// Runs the demo.
///
/// # Errors
/// A wrong command line, a failed build, or a result that is not the expected one.
pub fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let begun = Instant::now();
    setup::native()?;
    println!("demo: building the steps (Rust to WebAssembly components)");
    let examples = built()?;
    println!("demo: building Stepwell (the first time this takes minutes: RocksDB and wasmtime)");
    shell::run(shell::workspace_cargo().args(["build", "--workspace"]))?;
    show::seconds("demo: built", begun);

    let receiver = Receiver::start()?;
    println!(
        "demo: a receiver counts calls at http://{}",
        receiver.address()
    );
    let folder = place::cache().join("demo");
    let mut server = Server::start(options.port, receiver.address(), folder)?;
    let ends = played(&server, &receiver, &examples)?;
    let wrong: usize = ends.iter().map(|(_, missed)| missed).sum();
    show::seconds("\ndemo: all examples ended after", begun);
    if wrong > 0 {
        server.stop()?;
        bail!("{wrong} results are not what the examples expect");
    }
    if options.exit {
        return server.stop();
    }
    show::next_steps(&server, receiver.address());
    server.until_stopped()
}

/// The suite `examples`: as the demo plays them, beside a demo that may be up. Gives
/// each case with how many of its expectations it missed. All is built before.
///
/// # Errors
/// The server does not start or does not answer as documented.
pub fn suite() -> Result<Vec<(String, usize)>> {
    let examples = built()?;
    let receiver = Receiver::start()?;
    let folder = place::cache().join("examples-suite");
    let mut server = Server::start(0, receiver.address(), folder)?;
    let ends = played(&server, &receiver, &examples)?;
    server.stop()?;
    Ok(ends)
}

type Guests = BTreeMap<String, PathBuf>;

/// Each example with its steps, built.
fn built() -> Result<Vec<(Example, Guests)>> {
    let with_steps = |name: &&str| {
        let example = Example::read(name)?;
        let guests = guests::workspace(&format!("examples/{}/steps", example.steps_of()))?;
        Ok((example, guests))
    };
    EXAMPLES.iter().map(with_steps).collect()
}

/// Each case with how many expectations it missed.
fn played(
    server: &Server,
    receiver: &Receiver,
    examples: &[(Example, Guests)],
) -> Result<Vec<(String, usize)>> {
    let mut ends = Vec::new();
    for (example, guests) in examples {
        show::title(&example.title, &example.name);
        play::publish(server, example, guests)?;
        for case in &example.cases {
            let missed = play::case(server, receiver, example, case)?;
            ends.push((format!("{}: {}", example.name, case.title), missed));
        }
    }
    Ok(ends)
}

struct Options {
    exit: bool,
    port: u16,
}

impl Options {
    fn parse(args: &[String]) -> Result<Options> {
        let mut options = Options {
            exit: false,
            port: PORT,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--exit" => options.exit = true,
                "--port" => {
                    let port = args.next().context("--port N: which?")?;
                    options.port = port.parse().context("--port takes a number")?;
                }
                other => bail!("demo knows --exit and --port N, not `{other}`"),
            }
        }
        Ok(options)
    }
}

/// The built command.
fn stepwell() -> std::path::PathBuf {
    place::target().join("debug/stepwell")
}
