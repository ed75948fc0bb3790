//! Clocks, randomness and the machine: the ports that only this crate has.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use stepwell_types::Timestamp;

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl SystemClock {
    /// Wall time.
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the port that reads the clock"
    )]
    pub fn wall(self) -> Timestamp {
        let ms = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            // A clock before 1970 is wrong, but no reason to die.
            Err(_) => 0,
        };
        Timestamp(ms)
    }

    /// Microseconds since the first look.
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the port that reads the clock"
    )]
    pub fn steady_us(self) -> u64 {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        let first = FIRST.get_or_init(Instant::now);
        u64::try_from(first.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl stepwell_orchestrator::ports::Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.wall()
    }
    fn monotonic_us(&self) -> u64 {
        self.steady_us()
    }
}

impl stepwell_sandbox::Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.wall()
    }
    fn monotonic_us(&self) -> u64 {
        self.steady_us()
    }
}

/// The kernel's randomness.
#[derive(Debug, Clone, Copy)]
pub struct SystemEntropy;

impl stepwell_orchestrator::ports::Entropy for SystemEntropy {
    fn draw(&self) -> [u8; 16] {
        draw()
    }
}

/// 16 unpredictable bytes, from a buffer that is filled for many draws at once.
pub fn draw() -> [u8; 16] {
    thread_local! {
        static POOL: std::cell::RefCell<(Box<[u8; 4096]>, usize)> =
            std::cell::RefCell::new((Box::new([0; 4096]), 4096));
    }
    POOL.with_borrow_mut(|(pool, used)| {
        if *used + 16 > pool.len() {
            fill(&mut pool[..]);
            *used = 0;
        }
        let mut out = [0; 16];
        let drawn = &mut pool[*used..*used + 16];
        out.copy_from_slice(drawn);
        // What was handed out does not stay behind.
        drawn.fill(0);
        *used += 16;
        out
    })
}

fn fill(buffer: &mut [u8]) {
    if let Err(e) = getrandom::fill(buffer) {
        // Ids and tokens that can be guessed are worse than no server.
        crate::output::complain(&format!("the kernel gives no randomness: {e}"));
        std::process::abort();
    }
}

/// A variable of the environment; empty counts as absent.
#[allow(
    clippy::disallowed_methods,
    reason = "this crate reads the environment"
)]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// Cores that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Bytes of memory that are free, as far as the machine and its control group say.
pub fn memory_bytes_free() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| available(&text))
        .unwrap_or(1 << 30);
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let number = |path: &Path| {
        let text = std::fs::read_to_string(path).ok()?;
        text.trim().parse::<u64>().ok()
    };
    // `max`, or no such file: no bound.
    let left = |(folder, max, used): (PathBuf, &str, &str)| {
        let max = number(&folder.join(max))?;
        Some(max.saturating_sub(number(&folder.join(used)).unwrap_or(0)))
    };
    let groups = groups(&own).into_iter().filter_map(left);
    groups.min().map_or(machine, |group| machine.min(group))
}

/// Where the bounds of this process's control group and of those around it are, as `/proc/self/cgroup`
/// tells it: a folder, and the names of the bound and of what is used. Within a container the group may
/// be what it sees as the root.
fn groups(own: &str) -> Vec<(PathBuf, &'static str, &'static str)> {
    let mut found = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, max, used) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max", "memory.current")
        } else if controllers.split(',').any(|one| one == "memory") {
            let root = "/sys/fs/cgroup/memory";
            (root, "memory.limit_in_bytes", "memory.usage_in_bytes")
        } else {
            continue;
        };
        let below = Path::new(path.trim_start_matches('/'));
        let folders = below.ancestors().map(|below| Path::new(root).join(below));
        found.extend(folders.map(|folder| (folder, max, used)));
    }
    found
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find(|l| l.starts_with("MemAvailable:"))?;
    let kib: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_differ() {
        let draws: std::collections::HashSet<_> = (0..1000).map(|_| draw()).collect();
        assert_eq!(draws.len(), 1000);
    }

    #[test]
    fn groups_of_both_kinds_and_those_around_them() {
        let check = |own: &str, want: &[&str]| {
            let files = groups(own).into_iter();
            let files: Vec<_> = files.map(|(folder, max, _)| folder.join(max)).collect();
            assert_eq!(files, want.iter().map(PathBuf::from).collect::<Vec<_>>());
        };
        check(
            "0::/a/b\n",
            &[
                "/sys/fs/cgroup/a/b/memory.max",
                "/sys/fs/cgroup/a/memory.max",
                "/sys/fs/cgroup/memory.max",
            ],
        );
        check(
            "5:cpu:/x\n4:hugetlb,memory:/a\n",
            &[
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ],
        );
        check("", &[]);
    }

    #[test]
    fn meminfo() {
        assert_eq!(
            available("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(available("MemTotal: 9 kB\n"), None);
    }
}
