//! Lines for the attempt's log, and a panic's last words.

pub use crate::bindings::stepwell::log::log::Level;

/// Adds one line to the attempt's log. Natively it goes to standard error.
pub fn log(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::stepwell::log::log::log(level, message);
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?}: {message}");
}

/// Makes a panic leave its message in the log before it traps.
pub(crate) fn panics() {
    #[cfg(target_arch = "wasm32")]
    std::panic::set_hook(Box::new(|info| log(Level::Error, &info.to_string())));
}

/// Logs a formatted line. Finest detail.
#[macro_export]
macro_rules! trace {
    ($($arg:tt)*) => {
        $crate::log($crate::Level::Trace, &::std::format!($($arg)*))
    };
}

/// Logs a formatted line. Detail for the developer.
#[macro_export]
macro_rules! debug {
    ($($arg:tt)*) => {
        $crate::log($crate::Level::Debug, &::std::format!($($arg)*))
    };
}

/// Logs a formatted line. Worth knowing.
#[macro_export]
macro_rules! info {
    ($($arg:tt)*) => {
        $crate::log($crate::Level::Info, &::std::format!($($arg)*))
    };
}

/// Logs a formatted line. Looks wrong, goes on.
#[macro_export]
macro_rules! warn {
    ($($arg:tt)*) => {
        $crate::log($crate::Level::Warn, &::std::format!($($arg)*))
    };
}

/// Logs a formatted line. Is wrong.
#[macro_export]
macro_rules! error {
    ($($arg:tt)*) => {
        $crate::log($crate::Level::Error, &::std::format!($($arg)*))
    };
}
