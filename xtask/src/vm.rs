//! The image that the suite `vm` boots: Debian's kernel for clouds, and a file system of busybox and dropbear.
//!
//! Refuses to fetch a finished image: what is in it are Debian's packages, put together here.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{place, setup, shell};

/// Depends on the newest kernel.
const KERNEL: &str = "linux-image-cloud-amd64";
/// The programs of the file system; busybox is Debian's static one.
const BUSYBOX: &str = "/bin/busybox";
const DROPBEAR: &str = "/usr/sbin/dropbear";
/// Drivers for the emulated network card and disk, in the order in which they need each other.
const MODULES: &[&str] = &[
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
    "virtio_blk",
];
/// The machine's first process. Its disk is the home of its one user and holds the server's key.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /root /tmp
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
for module in MODULES; do
  [ ! -e /modules/$module.ko ] || insmod /modules/$module.ko
done
mount -t ext2 /dev/vda /root
cd /root
chown -R 0:0 /root
chmod -R go-w /root
ip link set lo up
ip address add 10.0.2.15/24 dev eth0
ip link set eth0 up
while :; do
  dropbear -F -E -s -r host_key
  sleep 1
done
";

/// What QEMU boots.
#[derive(Debug, Clone)]
pub struct Image {
    /// The kernel.
    pub kernel: PathBuf,
    /// The file system that it begins with.
    pub system: PathBuf,
}

impl Image {
    fn new() -> Image {
        let folder = place::cache().join("vm");
        Image {
            kernel: folder.join("kernel"),
            system: folder.join("system"),
        }
    }

    /// Whether it is what this program would make.
    fn is_ready(&self) -> bool {
        let made_of = fs::read_to_string(self.stamp()).unwrap_or_default();
        made_of == init() && self.kernel.exists() && self.system.exists()
    }

    /// Where it is told what it was made of; written last.
    fn stamp(&self) -> PathBuf {
        self.system.with_extension("made")
    }
}

/// The image, made before.
///
/// # Errors
/// There is none; the text says what makes it.
pub fn image() -> Result<Image> {
    let image = Image::new();
    ensure!(
        image.is_ready(),
        "no image of a virtual machine in {}: `cargo xtask test vm` makes it",
        place::cache().join("vm").display()
    );
    Ok(image)
}

/// Installs what the suite `vm` needs, and makes its image if there is none.
///
/// # Errors
/// Something cannot be installed or fetched here; the text says what.
pub fn setup() -> Result<()> {
    ensure!(
        std::env::consts::ARCH == "x86_64",
        "the suite `vm` is for x86_64: its machine has this machine's own programs"
    );
    setup::vm()?;
    let image = Image::new();
    if image.is_ready() {
        return Ok(());
    }
    let folder = place::cache().join("vm");
    println!(
        "setup: making the image of a virtual machine in {}, of Debian's kernel for clouds (fetched, not installed), busybox and dropbear",
        folder.display()
    );
    fs::create_dir_all(&folder)?;
    let parts = tempfile::tempdir_in(&folder)?;
    let package = kernel(parts.path())?;
    fs::copy(&package.kernel, &image.kernel)?;
    let root = parts.path().join("root");
    fill(&root, &package.modules)?;
    pack(&root, &parts.path().join("names"), &image.system)?;
    Ok(fs::write(image.stamp(), init())?)
}

fn init() -> String {
    INIT.replace("MODULES", &MODULES.join(" "))
}

/// A kernel's package, unpacked.
struct Package {
    kernel: PathBuf,
    /// All files of it.
    modules: Vec<PathBuf>,
}

/// Fetches the newest kernel into a folder and unpacks it there.
fn kernel(folder: &Path) -> Result<Package> {
    // An old list names kernels that are gone.
    setup::apt(&["update", "-qq"])?;
    let depends = shell::output(Command::new("apt-cache").args(["depends", KERNEL]))
        .context("the suite `vm` takes its kernel from Debian")?;
    let mut lines = depends.lines().map(str::trim);
    let name = lines.find_map(|line| line.strip_prefix("Depends: "));
    let name = name.with_context(|| format!("apt does not tell what {KERNEL} depends on"))?;
    let mut fetch = Command::new("apt-get");
    fetch.args(["download", "-qq", name]).current_dir(folder);
    println!("setup: {}", shell::shown(&fetch));
    shell::run(&mut fetch)?;
    let package = files(folder)?.pop().context("nothing was fetched")?;
    let there = folder.join("kernel");
    shell::run(Command::new("dpkg-deb").arg("-x").arg(package).arg(&there))?;
    let modules = files(&there)?;
    let kernel = modules.iter().find(|file| named_like(file, "vmlinuz-"));
    Ok(Package {
        kernel: kernel.context("the package has no kernel")?.clone(),
        modules,
    })
}

fn named_like(file: &Path, start: &str) -> bool {
    file.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with(start))
}

/// Lays the file system out.
fn fill(root: &Path, modules: &[PathBuf]) -> Result<()> {
    let put = |from: &Path, to: &str| -> Result<()> {
        let to = root.join(to.trim_start_matches('/'));
        fs::create_dir_all(to.parent().context("no folder")?)?;
        fs::copy(from, to).with_context(|| from.display().to_string())?;
        Ok(())
    };
    put(Path::new(BUSYBOX), BUSYBOX)?;
    put(Path::new(DROPBEAR), "/bin/dropbear")?;
    let libraries = shell::output(Command::new("ldd").arg(DROPBEAR))?;
    for library in libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        put(Path::new(library), library)?;
    }
    for name in MODULES {
        // A kernel may have it built in; or packed, as newer ones do.
        let start = format!("{name}.ko");
        let Some(module) = modules.iter().find(|file| named_like(file, &start)) else {
            continue;
        };
        let plain = module.with_extension("");
        if module.extension().is_some_and(|e| e == "xz") {
            shell::run(Command::new("xz").arg("-dk").arg(module))?;
            put(&plain, &format!("modules/{start}"))?;
        } else {
            put(module, &format!("modules/{start}"))?;
        }
    }
    let etc = root.join("etc");
    fs::create_dir_all(&etc)?;
    fs::write(etc.join("passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(root.join("init"), init())?;
    Ok(fs::set_permissions(
        root.join("init"),
        fs::Permissions::from_mode(0o755),
    )?)
}

/// Packs it as a kernel reads it. `names` is a file to list it in.
fn pack(root: &Path, names: &Path, to: &Path) -> Result<()> {
    let all = shell::output(Command::new("find").arg(".").current_dir(root))?;
    fs::write(names, all)?;
    let mut cpio = Command::new(BUSYBOX);
    cpio.args(["cpio", "-o", "-H", "newc"]).current_dir(root);
    shell::run(cpio.stdin(File::open(names)?).stdout(File::create(to)?))
}

/// Every file below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => found.extend(files(&entry.path())?),
            false => found.push(entry.path()),
        }
    }
    Ok(found)
}
