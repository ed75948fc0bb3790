//! What one attempt, and one compilation, may use.
//!
//! Refuses to depend on load: the same step meets the same limits, however full the pool is.

use stepwell_types::limits::PAYLOAD_BYTES_MAX;

/// Bounds of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// wasmtime fuel, about one unit an instruction. Default 20,000,000,000, which
    /// is several seconds of one core. Beyond: `Stepwell.FuelExhausted`.
    pub fuel: u64,
    /// Linear memory of all memories together, in bytes. Default 256 MiB; at most
    /// what the [`crate::Pool`] was made for. Beyond: growth is refused, and a step that
    /// then traps failed with `Stepwell.MemoryExceeded`.
    pub memory_bytes: u64,
    /// Elements of all tables together. Default 100,000. Beyond: as memory,
    /// with `Stepwell.TableExceeded`.
    pub table_elements: u64,
    /// Wall time of an attempt to which its flow gives no deadline, in milliseconds,
    /// host calls included. Default 30,000. Beyond: `States.Timeout`.
    pub wall_ms: u64,
    /// Input in bytes of JSON text. Default 32 MiB. Beyond: `Stepwell.InputTooLarge`.
    pub input_bytes: usize,
    /// Output in bytes of JSON text. Default 32 MiB. Beyond: `Stepwell.OutputTooLarge`.
    pub output_bytes: usize,
    /// Text of all log lines in bytes. Default 64 KiB; more is cut, and said.
    pub log_bytes: usize,
    /// Log lines. Default 1,000; more are cut, and said.
    pub log_lines: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            fuel: 20_000_000_000,
            memory_bytes: 256 << 20,
            table_elements: 100_000,
            wall_ms: 30_000,
            input_bytes: PAYLOAD_BYTES_MAX,
            output_bytes: PAYLOAD_BYTES_MAX,
            log_bytes: 64 << 10,
            log_lines: 1_000,
        }
    }
}

/// Bounds of one compilation, in a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space of the compiling process in bytes. Default 4 GiB.
    pub memory_bytes: u64,
    /// Processor time of the compiling process, all threads, in seconds. Default 240.
    pub cpu_s: u64,
    /// Wall time in milliseconds, after which the process is killed. Default 180,000.
    pub wall_ms: u64,
    /// Largest compiled artifact in bytes. Default 1 GiB.
    pub artifact_bytes: u64,
}

impl Default for CompileLimits {
    fn default() -> CompileLimits {
        CompileLimits {
            memory_bytes: 4 << 30,
            cpu_s: 240,
            wall_ms: 180_000,
            artifact_bytes: 1 << 30,
        }
    }
}
