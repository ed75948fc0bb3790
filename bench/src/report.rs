//! The figures: lines for people as they come, and one JSON file at the end.
//!
//! Refuses to judge: a goal is printed beside the figure that it is for.

use std::path::Path;

use anyhow::Result;
use serde_json::{Map, Value, json};

/// Collects figures by benchmark.
pub struct Report {
    figures: Map<String, Value>,
    section: String,
}

impl Report {
    /// Begins, and says what kind of machine this is.
    pub fn new(quick: bool) -> Report {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split_whitespace().next().unwrap_or("?").to_owned();
        println!(
            "{cores} cores, load {load} before the start{}",
            if quick { ", quick" } else { "" }
        );
        let mut figures = Map::new();
        figures.insert(
            "machine".into(),
            json!({"cores": cores, "load_before": load, "quick": quick}),
        );
        Report {
            figures,
            section: String::new(),
        }
    }

    /// Begins a benchmark.
    pub fn section(&mut self, key: &str, title: &str) {
        println!("\n{title}");
        self.section = key.to_owned();
        self.figures.insert(key.to_owned(), json!({}));
    }

    /// Adds a figure: `key` in the file, `text` for people.
    pub fn add(&mut self, key: &str, value: f64, text: &str) {
        println!("  {text}");
        self.keep(key, value);
    }

    /// Adds a figure to the file alone.
    pub fn keep(&mut self, key: &str, value: f64) {
        let rounded = (value * 10_000.0).round() / 10_000.0;
        if let Some(Value::Object(section)) = self.figures.get_mut(&self.section) {
            section.insert(key.to_owned(), json!(rounded));
        }
    }

    /// Adds a remark that is no figure.
    pub fn note(&self, text: &str) {
        println!("  {text}");
    }

    /// Writes the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        std::fs::write(file, serde_json::to_string_pretty(&self.figures)?)?;
        println!("\nfigures as JSON: {}", file.display());
        Ok(())
    }
}
