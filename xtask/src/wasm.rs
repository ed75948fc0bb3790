//! The Rust toolchain that builds guests: rustup's target where rustup can fetch
//! it, else Debian's `rustc-web` with a standard library built once.
//!
//! Guests are built for `wasm32-unknown-unknown` and linked by
//! `wasm-component-ld`, so that a component imports only what its WIT names.
//! Refuses to build guests itself: that is `guests.rs`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{place, setup, shell};

/// The target of every guest.
pub const TARGET: &str = "wasm32-unknown-unknown";
/// Set to `debian` to pass over rustup: for trying the second way where the first works.
const FORCE: &str = "STEPWELL_WASM";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust/library/Cargo.lock";

/// How to call cargo for a guest.
#[derive(Debug, Clone)]
pub struct Toolchain {
    /// Another compiler than cargo's own, if any.
    rustc: Option<PathBuf>,
    rustflags: Vec<String>,
    linker: PathBuf,
    /// Compiler version and flags: another text needs another build.
    pub id: String,
}

impl Toolchain {
    /// Sets the variables that make `cargo build --target` emit components, and
    /// clears those that would overrule them.
    pub fn prepare(&self, cargo: &mut Command) {
        if let Some(rustc) = &self.rustc {
            cargo.env("RUSTC", rustc);
        }
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER"] {
            cargo.env_remove(name);
        }
        cargo
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &self.linker)
            .env(
                "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
                self.rustflags.join(" "),
            );
    }
}

/// Finds the toolchain, installing what is missing.
///
/// # Errors
/// Neither way works here; the text says what both lacked.
pub fn toolchain() -> Result<Toolchain> {
    let tools = Tools::find()?;
    let forced = std::env::var(FORCE).is_ok_and(|way| way == "debian");
    // Rustup is asked over the network, which takes seconds: not once it has
    // been without success and the other way is ready.
    if !forced && (tools.has_target() || !sysroot_is_ready() && rustup_target_add(&tools)) {
        return Ok(tools.with(None, Vec::new(), &tools.version));
    }
    let sysroot = debian_sysroot(&tools).with_context(|| {
        format!("no way to the target {TARGET}: rustup could not fetch it, and Debian's packages did not do")
    })?;
    let flags = vec!["--sysroot".into(), sysroot.display().to_string()];
    let version = version_of(Path::new(DEBIAN_RUSTC))?;
    Ok(tools.with(Some(DEBIAN_RUSTC.into()), flags, &version))
}

/// What cargo's own toolchain brings.
struct Tools {
    sysroot: PathBuf,
    /// Folder with `wasm-component-ld` and `gcc-ld/wasm-ld`.
    bin: PathBuf,
    version: String,
}

impl Tools {
    fn find() -> Result<Tools> {
        let rustc = Path::new("rustc");
        let version = version_of(rustc)?;
        let host = version
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .context("`rustc -vV` names no host")?;
        let print = shell::output(plain(rustc).args(["--print", "sysroot"]))?;
        let sysroot = PathBuf::from(print.trim());
        let bin = sysroot.join("lib/rustlib").join(host).join("bin");
        if !bin.join("wasm-component-ld").exists() {
            bail!(
                "{} has no wasm-component-ld: rustup's Rust 1.95 or newer ships it",
                bin.display()
            );
        }
        Ok(Tools {
            sysroot,
            bin,
            version,
        })
    }

    fn has_target(&self) -> bool {
        let lib = self.sysroot.join("lib/rustlib").join(TARGET).join("lib");
        lib.read_dir().is_ok_and(|entries| {
            entries
                .flatten()
                .any(|e| e.file_name().to_string_lossy().starts_with("libstd-"))
        })
    }

    fn with(&self, rustc: Option<PathBuf>, mut flags: Vec<String>, version: &str) -> Toolchain {
        let wasm_ld = self.bin.join("gcc-ld").join("wasm-ld");
        for arg in [
            format!("--wasm-ld-path={}", wasm_ld.display()),
            "--wasi-adapter=none".into(),
        ] {
            flags.push("-C".into());
            flags.push(format!("link-arg={arg}"));
        }
        let linker = self.bin.join("wasm-component-ld");
        Toolchain {
            rustc,
            id: format!("{version}\n{}\n{}", flags.join(" "), linker.display()),
            rustflags: flags,
            linker,
        }
    }
}

/// A compiler call that no outer cargo's choice of compiler bends.
fn plain(rustc: &Path) -> Command {
    let mut command = Command::new(rustc);
    command.env_remove("RUSTC").env_remove("RUSTFLAGS");
    command
}

fn version_of(rustc: &Path) -> Result<String> {
    shell::output(plain(rustc).arg("-vV"))
}

fn rustup_target_add(tools: &Tools) -> bool {
    if shell::which("rustup").is_none() {
        return false;
    }
    println!("setup: rustup target add {TARGET}");
    let mut command = Command::new("rustup");
    command.args(["target", "add", TARGET]);
    match shell::run(&mut command) {
        Ok(()) => tools.has_target(),
        Err(error) => {
            println!("setup: {error:#}; taking Debian's rustc-web instead");
            false
        }
    }
}

/// Whether the sysroot in the cache is there and made by today's compiler.
fn sysroot_is_ready() -> bool {
    let stamp = place::cache().join("wasm-sysroot").join("version");
    let stamped = std::fs::read_to_string(stamp);
    stamped
        .is_ok_and(|text| version_of(Path::new(DEBIAN_RUSTC)).is_ok_and(|version| version == text))
}

/// A sysroot in the cache with the standard library for [`TARGET`], built once
/// from Debian's sources by Debian's compiler (about a minute).
fn debian_sysroot(tools: &Tools) -> Result<PathBuf> {
    if !Path::new(DEBIAN_RUSTC).exists() || !Path::new(DEBIAN_SOURCES).exists() {
        println!("setup: this machine lacks a Rust with Wasm sources (rustc-web, rust-web-src)");
        setup::apt_install(&["rustc-web", "rust-web-src"])?;
    }
    let version = version_of(Path::new(DEBIAN_RUSTC))?;
    let sysroot = place::cache().join("wasm-sysroot");
    std::fs::create_dir_all(place::cache())?;
    let lock = std::fs::File::create(place::cache().join("wasm-sysroot.lock"))?;
    lock.lock()?;
    let stamp = sysroot.join("version");
    if std::fs::read_to_string(&stamp).is_ok_and(|text| text == version) {
        return Ok(sysroot);
    }
    println!("setup: building the standard library for {TARGET}, once");
    let built = build_std()?;
    if sysroot.exists() {
        std::fs::remove_dir_all(&sysroot)?;
    }
    let rustlib = sysroot.join("lib/rustlib");
    let lib = rustlib.join(TARGET).join("lib");
    std::fs::create_dir_all(&lib)?;
    // Build scripts and procedural macros are compiled for the host, whose own
    // library Debian keeps beside its compiler.
    let host = tools
        .bin
        .parent()
        .and_then(Path::file_name)
        .context("no host folder")?;
    std::os::unix::fs::symlink(Path::new("/usr/lib/rustlib").join(host), rustlib.join(host))?;
    let deps = built
        .path()
        .join("target")
        .join(TARGET)
        .join("release/deps");
    for entry in deps.read_dir()? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libonly_std") {
            std::fs::copy(&path, lib.join(name))?;
        }
    }
    // Last: a sysroot without its stamp is made again.
    std::fs::write(stamp, version)?;
    Ok(sysroot)
}

/// Builds an empty crate with its own standard library, and returns its folder.
fn build_std() -> Result<tempfile::TempDir> {
    let dir = tempfile::tempdir()?;
    std::fs::create_dir(dir.path().join("src"))?;
    std::fs::write(dir.path().join("src/lib.rs"), "")?;
    std::fs::write(
        dir.path().join("Cargo.toml"),
        "[package]\nname = \"only-std\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n\
         [profile.release]\npanic = \"abort\"\n\n[workspace]\n",
    )?;
    let mut cargo = shell::cargo(dir.path());
    cargo
        .env("RUSTC", DEBIAN_RUSTC)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", dir.path().join("target"))
        // Without bitcode a guest's link-time optimisation fails.
        .env(
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
            "-C embed-bitcode=yes",
        )
        .args([
            "build",
            "--quiet",
            "--release",
            "-Z",
            "build-std=std,panic_abort",
        ])
        .args(["--target", TARGET]);
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER"] {
        cargo.env_remove(name);
    }
    shell::run(&mut cargo)?;
    Ok(dir)
}
