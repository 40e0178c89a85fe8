//! The directory that everything lies in.

use std::fs;
use std::path::{Path, PathBuf};

use super::arguments::Arguments;
use super::{Outcome, shell};

/// See the module. Nothing but the files that `--reuse` takes outlives a run.
pub struct Workplace {
    directory: PathBuf,
    programs: PathBuf,
    /// Bytes of an image.
    pub size: u64,
    pub reuse: bool,
}

impl Workplace {
    pub fn open(arguments: &Arguments) -> Outcome<Self> {
        let size = arguments.size;
        let directory = std::path::absolute(arguments.work.join(format!("{}M", size >> 20)))?;
        if !arguments.reuse && directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        let program = std::env::current_exe()?;
        let programs = match &arguments.programs {
            Some(programs) => programs,
            None => program
                .ancestors()
                .nth(2)
                .ok_or("a program without a directory")?,
        };
        let place = Self {
            directory,
            programs: programs.to_owned(),
            size,
            reuse: arguments.reuse,
        };
        place.make_keys()?;
        Ok(place)
    }

    /// One for images of so many bytes in this directory, which is kept.
    pub fn at(arguments: &Arguments, name: &str, size: u64) -> Outcome<Self> {
        let work = arguments.work.join(name);
        let mut place = Self::open(&Arguments {
            work,
            reuse: true,
            ..arguments.clone()
        })?;
        place.size = size;
        Ok(place)
    }

    /// Another one within, for images so many times as large.
    pub fn larger(&self, times: u8) -> Outcome<Self> {
        let place = Self {
            directory: self.path("large"),
            programs: self.programs.clone(),
            size: self.size * u64::from(times),
            reuse: false,
        };
        fs::create_dir_all(&place.directory)?;
        place.make_keys()?;
        Ok(place)
    }

    /// A file of this run.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// One of our own programs: they are built beside this one.
    pub fn program(&self, name: &str) -> Outcome<PathBuf> {
        let path = self.programs.join(name);
        if path.exists() {
            return Ok(path);
        }
        Err(format!("{} is missing: build with --bins", path.display()).into())
    }

    /// Removes what was installed to: the next to install make it anew.
    pub fn drop_targets(&self) -> Outcome {
        for name in ["disk.img", "target.img", "other.img"] {
            let path = self.path(name);
            if path.exists() {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Makes the file `name` by `make`, unless an earlier run did.
    pub fn once(&self, name: &str, make: impl FnOnce(&Path) -> Outcome) -> Outcome<PathBuf> {
        let path = self.path(name);
        if self.reuse && path.exists() {
            return Ok(path);
        }
        let draft = self.path(&format!("{name}.draft"));
        make(&draft)?;
        fs::rename(&draft, &path)?;
        Ok(path)
    }

    /// One RSA key, with a certificate that RAUC and `SWUpdate` take.
    fn make_keys(&self) -> Outcome {
        self.once("key.pem", |path| {
            shell::run(&format!(
                "openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=bench -keyout {} -out {} \
                 -addext extendedKeyUsage=emailProtection -addext keyUsage=digitalSignature",
                shell::word(&path),
                shell::word(&self.path("cert.pem")),
            ))
        })?;
        let (key, public) = (self.path("key.pem"), self.path("key.pub.pem"));
        shell::run(&format!(
            "openssl pkey -in {} -pubout -out {}",
            shell::word(&key),
            shell::word(&public)
        ))
    }
}
