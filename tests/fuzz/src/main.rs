//! The fuzzer: one program, whose target is named by `STEPWELL_FUZZ_TARGET`.
//!
//! With `STEPWELL_FUZZ_SEEDS=DIR` it only writes the target's seeds and its
//! dictionary there. Without a target it lists them. Everything else is libFuzzer's command line.
#![no_main]
#![allow(
    unsafe_code,
    missing_docs,
    reason = "libFuzzer calls two functions by their C names, which its macro defines"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a program of its own, which reads what xtask tells it"
)]

use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use stepwell_fuzz::{INPUT_BYTES_MAX, TARGETS, Target, target};

static CHOSEN: OnceLock<&'static Target> = OnceLock::new();

fn choose() -> &'static Target {
    let Some(chosen) = std::env::var("STEPWELL_FUZZ_TARGET")
        .ok()
        .and_then(|name| target(&name))
    else {
        for target in TARGETS {
            println!("{}", target.name);
        }
        std::process::exit(0);
    };
    if let Some(folder) = std::env::var_os("STEPWELL_FUZZ_SEEDS") {
        let done = write_seeds(chosen, Path::new(&folder));
        std::process::exit(match done {
            Ok(()) => 0,
            Err(why) => {
                eprintln!("cannot write the seeds: {why}");
                1
            }
        });
    }
    chosen
}

fn write_seeds(target: &Target, folder: &Path) -> std::io::Result<()> {
    let corpus = folder.join("corpus");
    std::fs::create_dir_all(&corpus)?;
    for (i, seed) in (target.seeds)().iter().enumerate() {
        std::fs::write(corpus.join(format!("seed-{i:04}")), seed)?;
    }
    let mut words = String::new();
    for word in target.words {
        // libFuzzer's own notation: whatever might mean something there, as a number.
        let escaped: String = word
            .bytes()
            .map(|b| match b {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(b).to_string(),
                other => format!("\\x{other:02X}"),
            })
            .collect();
        words.push_str(&format!("\"{escaped}\"\n"));
    }
    std::fs::write(folder.join("words"), words)
}

fuzz_target!(
    init: {
        let _ = CHOSEN.set(choose());
    },
    |data: &[u8]| -> Corpus {
        if data.len() > INPUT_BYTES_MAX {
            return Corpus::Reject;
        }
        if let Some(target) = CHOSEN.get() {
            (target.run)(data);
        }
        Corpus::Keep
    }
);
