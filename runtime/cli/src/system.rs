//! Clocks, randomness and the machine: the ports that only this crate has.

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
    let number = |path: &str| {
        let text = std::fs::read_to_string(path).ok()?;
        text.trim().parse::<u64>().ok()
    };
    // `max`, or no such file: no bound.
    let group = number("/sys/fs/cgroup/memory.max")
        .map(|max| max.saturating_sub(number("/sys/fs/cgroup/memory.current").unwrap_or(0)));
    group.map_or(machine, |group| machine.min(group))
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
    fn meminfo() {
        assert_eq!(
            available("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(available("MemTotal: 9 kB\n"), None);
    }
}
