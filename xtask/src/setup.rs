//! `cargo xtask setup`: finds what the build needs and this machine lacks, says
//! so, and installs it.
//!
//! Refuses to install anything that it has not named first, and to touch a
//! machine that has everything.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{shell, wasm};

/// One thing that the build needs.
struct Need {
    /// For the reader: what it is for.
    why: &'static str,
    /// Debian packages that bring it.
    packages: &'static [&'static str],
    /// Whether it is here.
    here: fn() -> bool,
}

const NEEDS: &[Need] = &[
    Need {
        why: "a C++ compiler, for RocksDB",
        packages: &["g++"],
        here: || shell::which("c++").is_some() || shell::which("g++").is_some(),
    },
    Need {
        why: "a C compiler, for RocksDB and for the crash suite's preload shim",
        packages: &["gcc", "libc6-dev"],
        here: || shell::which("cc").is_some(),
    },
    Need {
        why: "libclang, with which bindgen reads RocksDB's headers",
        packages: &["libclang-dev"],
        here: libclang_is_here,
    },
];

/// What the suite `bridges` runs against.
const BRIDGES: &[Need] = &[
    Need {
        why: "Podman and runc, on which the bridges' tests run containers",
        packages: &["podman", "runc"],
        here: || shell::which("podman").is_some() && shell::which("runc").is_some(),
    },
    Need {
        why: "a busybox that needs no libraries, for the image of those tests",
        packages: &["busybox-static"],
        here: || Path::new("/bin/busybox").exists(),
    },
    Need {
        why: "Python and pip, with which the guests in other languages are built",
        packages: &["python3", "python3-pip"],
        here: pip_is_here,
    },
    Need {
        why: "OpenSSH's server and its keygen, for the tests of runs on machines",
        packages: &["openssh-server", "openssh-client"],
        here: || Path::new("/usr/sbin/sshd").exists() && shell::which("ssh-keygen").is_some(),
    },
    Need {
        why: "curl and jq, which the example of an external worker uses",
        packages: &["curl", "jq"],
        here: || shell::which("curl").is_some() && shell::which("jq").is_some(),
    },
];

/// What the suite `vm` runs against.
const VM: &[Need] = &[
    Need {
        why: "QEMU, which emulates a machine",
        packages: &["qemu-system-x86"],
        here: || shell::which("qemu-system-x86_64").is_some(),
    },
    Need {
        why: "dropbear, that machine's SSH server",
        packages: &["dropbear-bin"],
        here: || {
            Path::new("/usr/sbin/dropbear").exists() && shell::which("dropbearconvert").is_some()
        },
    },
    Need {
        why: "a busybox that needs no libraries, which is all else on it",
        packages: &["busybox-static"],
        here: || Path::new("/bin/busybox").exists(),
    },
    Need {
        why: "mke2fs, for its disk",
        packages: &["e2fsprogs"],
        here: || Path::new("/usr/sbin/mke2fs").exists(),
    },
    Need {
        why: "OpenSSH's client and its keygen, to look at it past Stepwell",
        packages: &["openssh-client"],
        here: || shell::which("ssh").is_some() && shell::which("ssh-keygen").is_some(),
    },
];

const COMPONENTS: &[(&str, &str)] = &[("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")];

/// Installs what is missing, the Wasm target included.
///
/// # Errors
/// Something is missing and cannot be installed here; the text says what to do by hand.
pub fn run() -> Result<()> {
    native()?;
    wasm::toolchain()?;
    println!("setup: everything is here");
    Ok(())
}

/// Installs what a native build lacks: compilers and libclang.
///
/// # Errors
/// As [`run`].
pub fn native() -> Result<()> {
    install(NEEDS)
}

/// Installs what the suite `bridges` runs against, a Podman and an sshd, and what builds its guests in
/// other languages. The suite starts its own of each; what the packages may have started is left alone.
///
/// # Errors
/// As [`run`].
pub fn bridges() -> Result<()> {
    install(BRIDGES)
}

/// Installs what the suite `vm` runs against: an emulator, and what is put into the machine's image.
///
/// # Errors
/// As [`run`].
pub fn vm() -> Result<()> {
    install(VM)
}

fn install(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !(need.here)()).collect();
    if !missing.is_empty() {
        let packages: Vec<&str> = missing.iter().flat_map(|n| n.packages).copied().collect();
        println!("setup: this machine lacks");
        for need in &missing {
            println!("  - {} ({})", need.why, need.packages.join(", "));
        }
        apt_install(&packages)?;
        if let Some(need) = missing.iter().find(|need| !(need.here)()) {
            bail!("still missing after the installation: {}", need.why);
        }
    }
    Ok(())
}

/// Installs rustfmt and clippy, which only the tests need.
///
/// # Errors
/// rustup is missing or cannot fetch them.
pub fn lints() -> Result<()> {
    for (program, component) in COMPONENTS {
        let works = Command::new(program)
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success());
        if !works {
            println!("setup: installing rustup's component {component}");
            shell::run(Command::new("rustup").args(["component", "add", component]))?;
        }
    }
    Ok(())
}

/// Installs Debian packages, as root or through sudo.
///
/// # Errors
/// There is no apt-get, no way to become root, or apt-get failed.
pub fn apt_install(packages: &[&str]) -> Result<()> {
    if shell::which("apt-get").is_none() {
        bail!(
            "this machine has no apt-get; install what these Debian packages hold: {}",
            packages.join(" ")
        );
    }
    if !rustix::process::geteuid().is_root() && shell::which("sudo").is_none() {
        bail!(
            "not root and no sudo; run: apt-get install -y --no-install-recommends {}",
            packages.join(" ")
        );
    }
    apt(&["update", "-qq"])?;
    let mut planned = Command::new("apt-get");
    planned.args(["install", "--simulate", "--no-install-recommends"]);
    let planned = shell::output(planned.args(packages))?;
    for change in changes(&planned) {
        println!("setup: that also {change}");
    }
    let mut args = vec!["install", "-qq", "-y", "--no-install-recommends"];
    args.extend(packages);
    apt(&args)
}

/// What an installation does to packages that are there, as apt-get's simulation tells it:
/// `Inst NAME [OLD] (NEW …)` and `Remv NAME [OLD]`.
fn changes(planned: &str) -> Vec<String> {
    let change = |line: &str| {
        let mut words = line.split_whitespace();
        let (what, name, old) = (words.next()?, words.next()?, words.next()?);
        let old = old.strip_prefix('[')?.trim_end_matches(']');
        match what {
            "Remv" => Some(format!("removes {name} {old}")),
            "Inst" => {
                let new = words.next().unwrap_or_default().trim_start_matches('(');
                Some(format!("replaces {name} {old} by {new}"))
            }
            _ => None,
        }
    };
    planned.lines().filter_map(change).collect()
}

/// Runs apt-get, as root or through sudo.
///
/// # Errors
/// It cannot be run so, or failed.
pub fn apt(args: &[&str]) -> Result<()> {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("apt-get")
    } else {
        let mut command = Command::new("sudo");
        command.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        command
    };
    command.env("DEBIAN_FRONTEND", "noninteractive").args(args);
    println!("setup: {}", shell::shown(&command));
    shell::run(&mut command)
}

fn pip_is_here() -> bool {
    let mut pip = Command::new("python3");
    let asked = pip.args(["-m", "pip", "--version"]).output();
    asked.is_ok_and(|output| output.status.success())
}

/// Looks where bindgen's loader looks: `LIBCLANG_PATH`, Debian's versioned
/// folders, the usual library folders.
fn libclang_is_here() -> bool {
    if std::env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let mut folders: Vec<std::path::PathBuf> = [
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/opt/homebrew/opt/llvm/lib",
        "/usr/local/opt/llvm/lib",
    ]
    .iter()
    .map(std::path::PathBuf::from)
    .collect();
    if let Ok(entries) = Path::new("/usr/lib").read_dir() {
        folders.extend(
            entries
                .flatten()
                .filter(|e| e.file_name().to_string_lossy().starts_with("llvm"))
                .map(|e| e.path().join("lib")),
        );
    }
    // Headers come with the -dev package only; the bare runtime library
    // (libclang.so.1 with a version) is not enough for bindgen.
    folders.iter().any(|folder| {
        ["libclang.so", "libclang.dylib"]
            .iter()
            .any(|name| folder.join(name).exists())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_and_changes_is_told() {
        let planned = "NOTE: This is only a simulation!
Inst qemu-system-common (1:7.2+dfsg-7+deb12u18 Debian-Security:12/stable-security [amd64])
Inst qemu-utils [1:7.2+dfsg-7+deb12u7] (1:7.2+dfsg-7+deb12u18 Debian-Security:12/stable-security [amd64])
Remv qemu-kvm [1:5.2]
Conf qemu-utils (1:7.2+dfsg-7+deb12u18 Debian-Security:12/stable-security [amd64])
";
        let expected = [
            "replaces qemu-utils 1:7.2+dfsg-7+deb12u7 by 1:7.2+dfsg-7+deb12u18",
            "removes qemu-kvm 1:5.2",
        ];
        assert_eq!(changes(planned), expected);
    }
}
