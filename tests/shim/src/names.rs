//! Answers look-ups of names as a test says, another time otherwise: a name server that nobody
//! needs to be root for.
//!
//! It preloads `names.c` into the program under test. Refuses to answer for names that it was not
//! given: those are the machine's.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// The names that a program finds.
#[derive(Debug)]
pub struct Names {
    library: PathBuf,
    answers: String,
}

impl Names {
    /// Compiles the library into `work` with `cc`. For each name the addresses of its first answer, its
    /// second and so on; the last is given again and again.
    /// # Errors
    /// When the compiler fails.
    pub fn new(work: &Path, names: &[(&str, &[&[&str]])]) -> io::Result<Names> {
        let one = |(name, answers): &(&str, &[&[&str]])| {
            let answers: Vec<String> = answers.iter().map(|all| all.join("+")).collect();
            format!("{name}={}", answers.join(","))
        };
        let answers: Vec<String> = names.iter().map(one).collect();
        Ok(Names {
            library: crate::compiled(work, "names", include_str!("names.c"))?,
            answers: answers.join(";"),
        })
    }

    /// The environment with which the program under test is to be started.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, OsString); 2] {
        [
            ("LD_PRELOAD", self.library.clone().into()),
            ("STEPWELL_NAMES", self.answers.clone().into()),
        ]
    }
}
