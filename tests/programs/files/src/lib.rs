//! Does one thing with a path of a directory that it sees, and fails with WASI's name of what went wrong.

use serde::Deserialize;
use stepwell_guest::{Context, Failure};

use bindings::wasi::filesystem::preopens::get_directories;
use bindings::wasi::filesystem::types::{
    Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags,
};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package stepwell:files;
            world client {
                import wasi:filesystem/types@0.2.6;
                import wasi:filesystem/preopens@0.2.6;
            }
        ",
        path: ["wit"],
        world: "stepwell:files/client",
        generate_all,
    });
}

/// Most bytes that are read of a file.
const BYTES: u64 = 4_096;

#[derive(Deserialize)]
struct Input {
    /// As the guest sees it.
    directory: String,
    path: String,
    #[serde(flatten)]
    what: What,
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum What {
    /// Gives its text.
    Read,
    Create,
    Unlink,
    MakeDirectory,
    ReadLink,
    /// Lists the directory so often, a listing after the other or all at once, and counts the names in
    /// the last.
    List {
        times: u32,
        at_once: bool,
    },
    /// A symbolic link at the path.
    Symlink {
        to: String,
    },
    /// A hard link to the path.
    Link {
        at: String,
    },
    /// A new name for the path.
    Rename {
        to: String,
    },
}

fn files(_: &Context, input: Input) -> Result<String, Failure> {
    let all = get_directories();
    let found = all.into_iter().find(|(_, path)| *path == input.directory);
    let (directory, _) = found.ok_or_else(|| {
        Failure::new("Files.no-directory", format!("no {} here", input.directory))
    })?;
    one(&directory, &input)
        .map_err(|code| Failure::new(format!("Files.{}", code.name()), input.path.clone()))
}

fn one(directory: &Descriptor, input: &Input) -> Result<String, ErrorCode> {
    let (path, follow) = (input.path.as_str(), PathFlags::SYMLINK_FOLLOW);
    let nothing = String::new();
    match &input.what {
        What::Read => {
            let flags = DescriptorFlags::READ;
            let file = directory.open_at(follow, path, OpenFlags::empty(), flags)?;
            let (bytes, _) = file.read(BYTES, 0)?;
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
        What::Create => {
            let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
            directory.open_at(follow, path, OpenFlags::CREATE, flags)?;
        }
        What::Unlink => directory.unlink_file_at(path)?,
        What::MakeDirectory => directory.create_directory_at(path)?,
        What::ReadLink => return directory.readlink_at(path),
        What::List { times, at_once } => {
            let mut all = Vec::new();
            for _ in 0..*times {
                if !at_once {
                    all.clear();
                }
                all.push(directory.read_directory()?);
            }
            let mut names = 0;
            if let Some(last) = all.last() {
                while last.read_directory_entry()?.is_some() {
                    names += 1;
                }
            }
            return Ok(names.to_string());
        }
        What::Symlink { to } => directory.symlink_at(to, path)?,
        What::Link { at } => directory.link_at(PathFlags::empty(), path, directory, at)?,
        What::Rename { to } => directory.rename_at(path, directory, to)?,
    }
    Ok(nothing)
}

stepwell_guest::step!(files);
