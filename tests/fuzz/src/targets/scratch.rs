//! A host below a directory of this process, for what is read from files.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use update_engine::host::Host;

/// The directory, which `tests/fuzz/run` removes with all of its own; our tests, themselves.
pub(crate) fn directory() -> &'static PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let name = format!("update-engine-fuzz-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).expect("a directory of our own");
        directory
    })
}

/// Removes the scratch directory.
#[cfg(test)]
pub(crate) fn remove() {
    fs::remove_dir_all(directory()).expect("a directory of our own");
}

/// A host with these files.
pub(crate) fn host(files: &[(&str, Option<&[u8]>)]) -> Host {
    let host = Host::new(directory());
    for (path, contents) in files {
        let path = host.path(path);
        match contents {
            Some(contents) => {
                fs::create_dir_all(path.parent().expect("below the root")).expect("a directory");
                fs::write(&path, contents).expect("a file");
            }
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
                _ => {}
            },
        }
    }
    host
}
