//! The column families, and how RocksDB is set up for each, with the reasons.
//!
//! Rows that live and die alike share a column, so that short-lived ones don't
//! drag long-lived ones through every merge.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType,
    DBRecoveryMode, LogLevel, LruCacheOptions, Options as Rocks, SliceTransform,
};

use crate::Options;
use crate::keys::LOG_PREFIX_BYTES;

/// A column family. The names are on disk: never rename or reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// Flows, modules, triggers, usage, meta: few rows, read often.
    Catalog,
    /// Logs: written once, read by execution, removed with it.
    Log,
    /// Checkpoints, summaries, indexes: rewritten a few times, then kept.
    State,
    /// Hot, timer and outbox rows: most are gone soon after they came.
    Queue,
    /// Large payloads.
    Blob,
}

impl Column {
    pub(crate) const ALL: [Column; 5] = [
        Column::Catalog,
        Column::Log,
        Column::State,
        Column::Queue,
        Column::Blob,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            // RocksDB wants this one to exist.
            Column::Catalog => "default",
            Column::Log => "log",
            Column::State => "state",
            Column::Queue => "queue",
            Column::Blob => "blob",
        }
    }
}

/// The settings of the whole database.
/// # Errors
/// RocksDB's, when it does not know a setting by name.
pub(crate) fn database(options: &Options, create: bool) -> Result<Rocks, rocksdb::Error> {
    // The one setting that the binding has no function for. A restart replays the log
    // into memory and goes on, instead of writing it all out first: faster, and it
    // needs no room on a full disk.
    let mut db = Rocks::default().get_options_from_string("avoid_flush_during_recovery=true")?;
    db.create_if_missing(create);
    // One that is missing later was lost, with all its rows.
    db.create_missing_column_families(create);

    // After a power cut the log's tail may be torn: replay up to it. That this loses
    // no more than a tail is checked against the sizes of synced logs in the manifest.
    db.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    db.set_track_and_verify_wals_in_manifest(true);
    // A log file is never written over: what is in it belongs to it.
    db.set_recycle_log_file_num(0);
    // Bounds the replay at a restart. A column that writes little would otherwise
    // keep old logs alive.
    db.set_max_total_wal_size(options.wal_bytes_max);
    db.set_db_write_buffer_size(options.memtable_bytes_max);

    // The cores are for steps.
    db.set_max_background_jobs(options.background_threads.max(1));
    db.set_max_subcompactions(1);
    // Only one thread writes, so the memtable needs no care for several.
    db.set_allow_concurrent_memtable_write(false);
    db.set_max_open_files(options.open_files_max);
    // Removing an old file must not delay a commit.
    db.set_avoid_unnecessary_blocking_io(true);
    // Sorted files go to disk bit by bit while they are written, so that a commit's
    // sync does not queue behind a hundred megabytes of theirs.
    db.set_bytes_per_sync(1 << 20);

    // The default takes 4 MiB for a file of a few kilobytes.
    db.set_manifest_preallocation_size(64 << 10);
    db.set_max_manifest_file_size(16 << 20);
    // RocksDB's own diary (`LOG`): what went wrong, bounded.
    db.set_log_level(LogLevel::Warn);
    db.set_max_log_file_size(2 << 20);
    db.set_keep_log_file_num(3);
    db.set_stats_dump_period_sec(0);
    db.set_stats_persist_period_sec(0);
    Ok(db)
}

/// All columns with their settings, for opening.
pub(crate) fn descriptors(options: &Options) -> Vec<ColumnFamilyDescriptor> {
    // In few parts: what is larger than its part of the cache is never kept in it.
    let mut parts = LruCacheOptions::default();
    parts.set_capacity(options.cache_bytes);
    parts.set_num_shard_bits(2);
    let cache = Cache::new_lru_cache_opts(&parts);
    Column::ALL
        .into_iter()
        .map(|column| ColumnFamilyDescriptor::new(column.name(), settings(column, options, &cache)))
        .collect()
}

fn settings(column: Column, options: &Options, cache: &Cache) -> Rocks {
    let mut cf = Rocks::default();
    cf.set_compression_type(DBCompressionType::Lz4);
    // Merges run by themselves; the store never asks for one.
    cf.set_disable_auto_compactions(false);
    cf.set_level_compaction_dynamic_level_bytes(true);
    cf.set_target_file_size_base(32 << 20);
    // Three at once: one filling, two on their way out, so that a burst doesn't stall.
    cf.set_max_write_buffer_number(3);
    cf.set_write_buffer_size(memtable_bytes(column, options));
    let mut table = table(cache);
    match column {
        Column::Log => {
            // Reads go by execution, so filters hold executions, not rows.
            cf.set_prefix_extractor(SliceTransform::create_fixed_prefix(LOG_PREFIX_BYTES));
            table.set_whole_key_filtering(false);
        }
        Column::Queue => {
            // Removed rows slow a scan until a merge drops them: a file that is mostly
            // removals, or has a run of them, is merged at once.
            cf.add_compact_on_deletion_collector_factory(1_024, 512, 0.5);
        }
        Column::Blob => {
            // Large values are written once beside the sorted files, and merges move
            // their addresses only. A quarter of the oldest files is looked at for
            // space to win back.
            cf.set_enable_blob_files(true);
            cf.set_min_blob_size(16 << 10);
            cf.set_blob_file_size(64 << 20);
            cf.set_blob_compression_type(DBCompressionType::Lz4);
            cf.set_enable_blob_gc(true);
            cf.set_blob_gc_age_cutoff(0.25);
            cf.set_blob_gc_force_threshold(0.5);
        }
        Column::Catalog | Column::State => {}
    }
    cf.set_block_based_table_factory(&table);
    cf
}

fn memtable_bytes(column: Column, options: &Options) -> usize {
    let share = match column {
        Column::Log | Column::Blob => 4,
        // Smaller, so that removed rows leave memory sooner.
        Column::State => 8,
        Column::Queue => 12,
        Column::Catalog => 24,
    };
    (options.memtable_bytes_max / share).max(64 << 10)
}

fn table(cache: &Cache) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(16 << 10);
    // Ten bits a key: 99 of 100 reads of what is not there, as of a new execution's
    // name, touch no file, however many finished executions there are.
    table.set_bloom_filter(10.0, false);
    table.set_optimize_filters_for_memory(true);
    // Indexes and filters grow with the data: inside the cache they have its bound, and
    // in small parts only those in use are held. In one piece, the filter of a large
    // file is megabytes that each read would fetch again.
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_metadata_block_size(8 << 10);
    table.set_pin_top_level_index_and_filter(true);
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table
}
