//! JSON and text from the command line, files and standard input.

use std::io::Read as _;
use std::path::Path;

use stepwell_types::Data;
use stepwell_types::limits::PAYLOAD_BYTES_MAX;

use crate::exit::Trouble;

/// `JSON`, `@FILE` or `-`, checked and kept as it came.
pub fn json(given: &str) -> Result<Data, Trouble> {
    let text = match given.strip_prefix('@') {
        Some(file) => text(Path::new(file), PAYLOAD_BYTES_MAX)?,
        None if given == "-" => text(Path::new("-"), PAYLOAD_BYTES_MAX)?,
        None => given.to_owned(),
    };
    let place = match given.strip_prefix('@') {
        Some(file) => file,
        None if given == "-" => "standard input",
        None => "the value given",
    };
    Data::parse(&text).map_err(|e| Trouble::usage(format!("{place} cannot be taken as JSON: {e}")))
}

/// A file's text, or standard input's for `-`; at most `max` bytes.
pub fn text(file: &Path, max: usize) -> Result<String, Trouble> {
    let shown = file.display();
    let failed = |e: std::io::Error| Trouble::system(format!("cannot read {shown}: {e}"));
    let limit = max as u64 + 1;
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        let stdin = std::io::stdin().lock();
        stdin.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let open = std::fs::File::open(file).map_err(failed)?;
        open.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    }
    if bytes.len() > max {
        return Err(Trouble::usage(format!("{shown} has more than {max} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| Trouble::usage(format!("{shown} is not UTF-8 text")))
}
