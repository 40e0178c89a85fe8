//! `SWUpdate`: one run of the program for each installation, over HTTP.

use std::path::{Path, PathBuf};

use super::Contestant;
use crate::Outcome;
use crate::archives::Archive;
use crate::figures::Figures;
use crate::node::Server;
use crate::workplace::Workplace;
use crate::{meter, shell};

/// See the module.
pub struct Swupdate {
    archive: Archive,
    script: String,
    image: PathBuf,
    target: PathBuf,
    _server: Server,
}

impl Swupdate {
    /// `payload` is what the server serves beside: it wants one.
    pub fn new(place: &Workplace, archive: &Archive, payload: &Archive, image: &Path) -> Outcome<Self> {
        let server = Server::start(place, payload, Some(&archive.path))?;
        let target = place.path("target.img");
        Ok(Self {
            script: format!(
                "swupdate -H bench:1 -k {} -d '-u {}' > {} 2>&1 && sync {}",
                shell::word(&place.path("cert.pem")),
                server.package_url(),
                shell::word(&place.path("swupdate.log")),
                shell::word(&target)
            ),
            archive: archive.clone(),
            image: image.to_owned(),
            target,
            _server: server,
        })
    }
}

impl Contestant for Swupdate {
    fn name(&self) -> &'static str {
        "SWUpdate, zstd"
    }

    fn download(&self) -> u64 {
        self.archive.bytes
    }

    fn promise(&self) -> &'static str {
        "verifies while it writes; HTTP; synced by us"
    }

    fn install(&mut self) -> Outcome<Figures> {
        let figures = meter::script(&self.script, std::slice::from_ref(&self.target))?;
        shell::run(&format!(
            "cmp {} {}",
            shell::word(&self.target),
            shell::word(&self.image)
        ))?;
        Ok(figures)
    }
}
