//! What an attempt's host calls work on, and how they are offered to guests.
//!
//! Refuses to cost anything for a capability that a module doesn't use: logs and
//! WASI are made on first use.

use stepwell_types::LogLine;
use wasmtime::StoreContextMut;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::WasiHttpCtxView;

use crate::account::Account;
use crate::bindings::stepwell::container::containers;
use crate::bindings::stepwell::execution::executions;
use crate::bindings::stepwell::log::log;
use crate::bindings::stepwell::machine::machines;
use crate::bindings::stepwell::secrets::secrets;
use crate::bindings::wasi::config::store as config;
use crate::blobs::Blobs;
use crate::keyvalue::{Touched, View};
use crate::log::{LogLimits, Logs};
use crate::waits::Io;
use crate::wasi::Wasi;
use crate::{Error, Outside, waits};

/// The host's side of one attempt.
pub struct Host {
    pub(crate) logs: Logs,
    seed: u64,
    outside: Outside,
    wasi: Option<Box<Wasi>>,
    view: Option<Box<View>>,
    blobs: Option<Box<Blobs>>,
}

impl Host {
    /// The host's side of an attempt; `seed` feeds its randomness.
    #[must_use]
    pub fn new(seed: u64, logs: LogLimits, outside: Outside) -> Host {
        Host {
            logs: Logs::new(logs),
            seed,
            outside,
            wasi: None,
            view: None,
            blobs: None,
        }
    }

    /// What the guest logged so far; the log starts anew.
    #[must_use]
    pub fn take_logs(&mut self) -> Vec<LogLine> {
        if let Some(wasi) = &self.wasi {
            wasi.flush_lines();
        }
        self.logs.take()
    }

    /// What of namespaces and objects the attempt touched, when it is over.
    #[must_use]
    pub fn take_touched(&mut self) -> Option<Touched> {
        let mut touched = self.view.take().map(|view| view.end());
        if let Some(blobs) = self.blobs.take() {
            touched.get_or_insert_default().objects = blobs.end();
        }
        touched
    }

    /// The attempt's view of objects.
    pub(crate) fn blobs(&mut self) -> &mut Blobs {
        let outside = &self.outside;
        self.blobs.get_or_insert_with(|| {
            let objects = outside.bridges().objects.clone();
            Box::new(Blobs::new(objects, outside.journal.clone()))
        })
    }

    /// The attempt's view of the namespaces.
    pub(crate) fn view(&mut self) -> &mut View {
        let outside = &self.outside;
        self.view.get_or_insert_with(|| {
            let namespaces = outside.bridges().keyvalue.clone();
            Box::new(View::new(namespaces, outside.journal.clone()))
        })
    }

    /// The guest's resources.
    pub(crate) fn table(&mut self) -> &mut ResourceTable {
        self.made().view().table
    }

    /// What is kept for the guest.
    pub(crate) fn account(&mut self) -> Account {
        self.made().account.clone()
    }

    /// Counts what the guest's headers or request of this number weigh.
    pub(crate) fn weigh(&mut self, rep: u32) -> wasmtime::Result<()> {
        self.made().weigh(rep)
    }

    /// What had this number is gone.
    pub(crate) fn forget(&mut self, rep: u32) {
        self.made().weights.forget(rep);
    }

    /// What has this number goes into a body.
    pub(crate) fn give(&mut self, rep: u32) {
        self.made().weights.give(rep);
    }

    /// The WASI state, made on the first WASI call.
    pub fn wasi(&mut self) -> WasiCtxView<'_> {
        self.made().view()
    }

    /// How long the attempts of this process take: microseconds that never go back.
    #[must_use]
    pub fn monotonic_us(&self) -> u64 {
        self.outside.around.steady.monotonic_us()
    }

    /// What leads the attempt outside.
    pub(crate) fn outside(&self) -> &Outside {
        &self.outside
    }

    /// What the guest waits with.
    pub(crate) fn io(&mut self) -> Io<'_> {
        self.made().io()
    }

    /// The guest's HTTP.
    pub(crate) fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.made().http()
    }

    fn made(&mut self) -> &mut Wasi {
        let logs = self.logs.shared();
        self.wasi
            .get_or_insert_with(|| Box::new(Wasi::new(self.seed, logs, &self.outside)))
    }
}

/// A store's data that holds a [`Host`].
pub trait HostView: WasiView + 'static {
    /// The host's side of the attempt that this store runs.
    fn host(&mut self) -> &mut Host;
}

pub(crate) struct Doors;

impl HasData for Doors {
    type Data<'a> = &'a mut Host;
}

/// Offers every host interface to the guests that `linker` will make.
/// # Errors
/// `HOST0003`.
pub fn link<T: HostView>(linker: &mut Linker<T>) -> Result<(), Error> {
    let link_all = |linker: &mut Linker<T>| -> wasmtime::Result<()> {
        wasmtime_wasi::p2::add_to_linker_async(linker)?;
        log::add_to_linker::<T, Doors>(linker, T::host)?;
        secrets::add_to_linker::<T, Doors>(linker, T::host)?;
        config::add_to_linker::<T, Doors>(linker, T::host)?;
        containers::add_to_linker::<T, Doors>(linker, T::host)?;
        machines::add_to_linker::<T, Doors>(linker, T::host)?;
        executions::add_to_linker::<T, Doors>(linker, T::host)?;
        crate::keyvalue::link(linker)?;
        crate::blobs::link(linker)?;
        crate::http::link(linker)?;
        replaces(linker)?;
        linker.allow_shadowing(true);
        waits::link(linker)?;
        crate::http::link_handle(linker)?;
        crate::http::link_kept(linker)?;
        crate::listing::link(linker)?;
        linker.allow_shadowing(false);
        Ok(())
    };
    link_all(linker).map_err(|e| Error::Link {
        detail: format!("{e:#}"),
    })
}

/// Makes sure that what is replaced is what guests were given before: a name that nobody
/// defined would leave them with functions that the journal does not see.
fn replaces<T: HostView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    for (name, function) in [
        ("wasi:io/streams", "[method]input-stream.read"),
        ("wasi:io/streams", "[method]input-stream.skip"),
        ("wasi:io/streams", "[method]output-stream.check-write"),
        ("wasi:io/streams", "[method]output-stream.splice"),
        ("wasi:io/error", "[method]error.to-debug-string"),
        ("wasi:filesystem/types", "[method]descriptor.read-directory"),
        ("wasi:filesystem/types", "directory-entry-stream"),
        (
            "wasi:filesystem/types",
            "[method]directory-entry-stream.read-directory-entry",
        ),
        ("wasi:http/types", "http-error-code"),
        ("wasi:http/outgoing-handler", "handle"),
    ]
    .into_iter()
    .chain(crate::http::REPLACED.map(|name| ("wasi:http/types", name)))
    {
        let versioned = format!("{name}@{}", waits::WASI);
        let mut instance = linker.instance(&versioned)?;
        let free = instance.func_wrap(function, |_: StoreContextMut<'_, T>, ()| Ok(()));
        if free.is_ok() {
            wasmtime::bail!("wasmtime-wasi no longer defines {versioned}#{function}");
        }
    }
    Ok(())
}

/// The interfaces that the host offers, without version, for messages.
///
/// WASI ones in any version 0.2.x, but for [`DRAFTS`].
pub const OFFERED: &[&str] = &[
    "stepwell:container/containers",
    "stepwell:execution/executions",
    "stepwell:log/log",
    "stepwell:machine/machines",
    "stepwell:secrets/secrets",
    "wasi:blobstore/blobstore",
    "wasi:blobstore/container",
    "wasi:blobstore/types",
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:config/store",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:keyvalue/atomics",
    "wasi:keyvalue/batch",
    "wasi:keyvalue/store",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// Packages of WASI that are drafts still, each offered in one version.
pub const DRAFTS: &[(&str, &str)] = &[
    ("wasi:blobstore/", "0.2.0-draft"),
    ("wasi:config/", "0.2.0-rc.1"),
    ("wasi:keyvalue/", "0.2.0-draft"),
];
