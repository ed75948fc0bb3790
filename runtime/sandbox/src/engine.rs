//! The engine's settings: one place, for the server and for the compiling process.
//!
//! Refuses nondeterminism: canonical NaNs, deterministic relaxed SIMD, no threads.
//! Whatever changes generated code changes the fingerprint too.

use std::hash::{Hash, Hasher};

use sha2::{Digest as _, Sha256};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::Error;
use crate::limits::Limits;

/// Most core instances, memories and tables inside one component: what the
/// components of all five guest languages stay well below.
const CORE_INSTANCES: u32 = 32;
const MEMORIES: u32 = 2;
const TABLES: u32 = 16;

/// How many attempts run at once, and how large each may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Instances at once; further attempts wait for one. 1 to 1,000.
    pub slots: u32,
    /// Largest linear memory of an instance in bytes.
    pub memory_bytes: u64,
    /// Largest table of an instance in elements.
    pub table_elements: u64,
}

impl Pool {
    /// A pool that fits the machine: half of the free memory at the limits'
    /// size each, and at least four attempts a core.
    #[must_use]
    pub fn sized(cores: usize, memory_bytes_free: u64, limits: &Limits) -> Pool {
        let floor = u32::try_from(cores).unwrap_or(64).clamp(1, 64) * 4;
        let fit = memory_bytes_free / 2 / limits.memory_bytes.max(1 << 20);
        Pool {
            slots: u32::try_from(fit).unwrap_or(u32::MAX).clamp(floor, 1_000),
            memory_bytes: limits.memory_bytes,
            table_elements: limits.table_elements,
        }
    }
}

/// The engine that runs steps.
pub(crate) fn running(pool: &Pool) -> Result<Engine, Error> {
    let slots = pool.slots.clamp(1, 1_000);
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let mut p = PoolingAllocationConfig::new();
    p.total_component_instances(slots)
        .total_core_instances(slots * CORE_INSTANCES)
        .total_memories(slots * MEMORIES)
        .total_tables(slots * TABLES)
        .total_stacks(slots)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_tables_per_module(TABLES)
        .max_memories_per_module(MEMORIES)
        .max_memory_size(size(pool.memory_bytes).next_multiple_of(64 << 10))
        .table_elements(size(pool.table_elements))
        .max_unused_warm_slots(slots)
        .linear_memory_keep_resident(1 << 20)
        .table_keep_resident(64 << 10)
        .async_stack_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(p));
    Engine::new(&config).map_err(engine_error)
}

/// The engine that only compiles: same code, no pool.
pub(crate) fn compiling() -> Result<Engine, Error> {
    Engine::new(&config()).map_err(engine_error)
}

/// Names everything that generated code depends on: wasmtime's version, its
/// settings, the features of this processor.
pub(crate) fn fingerprint(engine: &Engine) -> String {
    let mut hasher = Sha(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let bytes: [u8; 32] = hasher.0.finalize().into();
    bytes[..8].iter().map(|b| format!("{b:02x}")).collect()
}

fn config() -> Config {
    let mut c = Config::new();
    c.concurrency_support(false)
        .memory_init_cow(true)
        .consume_fuel(true)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .max_wasm_stack(512 << 10)
        .async_stack_size(2 << 20);
    c
}

fn engine_error(e: wasmtime::Error) -> Error {
    Error::Engine {
        detail: format!("{e:#}"),
    }
}

/// A hasher whose result is the same in every process and release of Rust.
struct Sha(Sha256);

impl Hasher for Sha {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let bytes: [u8; 32] = self.0.clone().finalize().into();
        u64::from_le_bytes([
            bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7],
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_follows_the_machine() {
        let limits = Limits::default();
        let check = |cores, free, slots| {
            assert_eq!(Pool::sized(cores, free, &limits).slots, slots);
        };
        check(2, 24 << 30, 48);
        check(2, 1 << 30, 8);
        check(2, 0, 8);
        check(0, 0, 4);
        check(500, 1 << 50, 1_000);
    }

    #[test]
    fn the_compiling_process_makes_code_for_the_running_one() {
        let pool = Pool {
            slots: 2,
            memory_bytes: 1 << 20,
            table_elements: 10,
        };
        let running = running(&pool).expect("engine");
        let compiling = compiling().expect("engine");
        assert_eq!(fingerprint(&running), fingerprint(&compiling));
        let mut other = config();
        other.cranelift_nan_canonicalization(false);
        let other = Engine::new(&other).expect("engine");
        assert_ne!(fingerprint(&other), fingerprint(&compiling));
    }

    /// Where a processor may choose, every one must give what the others give: a replay may
    /// run on another machine.
    #[test]
    fn the_processor_chooses_no_result() {
        let engine = compiling().expect("engine");
        let text = r#"(module
            (func (export "relaxed") (param f32) (result i32)
                (i32x4.extract_lane 0 (i32x4.relaxed_trunc_f32x4_s (f32x4.splat (local.get 0)))))
            (func (export "nan") (param i32) (result i32)
                (i32.reinterpret_f32 (f32.add (f32.reinterpret_i32 (local.get 0)) (f32.const 1)))))"#;
        let wasm = wat::parse_str(text).expect("a module");
        let module = wasmtime::Module::new(&engine, wasm).expect("compiled");
        let mut store = wasmtime::Store::new(&engine, ());
        store.set_fuel(10_000).expect("fuel");
        store.set_epoch_deadline(1);
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).expect("an instance");
        let relaxed = instance
            .get_typed_func::<f32, i32>(&mut store, "relaxed")
            .expect("exported");
        // x86 gives i32::MIN for both, ARM what is written here.
        assert_eq!(relaxed.call(&mut store, 1e10).expect("run"), i32::MAX);
        assert_eq!(relaxed.call(&mut store, f32::NAN).expect("run"), 0);
        let nan = instance
            .get_typed_func::<i32, i32>(&mut store, "nan")
            .expect("exported");
        let (payload, canonical) = (0x7fa0_1234, 0x7fc0_0000);
        assert_eq!(nan.call(&mut store, payload).expect("run"), canonical);
    }
}
