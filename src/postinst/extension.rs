//! System extensions of a version: the OEM's, and those that the operator enabled; each downloaded,
//! verified and put in place.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::PostinstRefusal;
use super::package_sources::{FileServers, offered};
use super::release::Release;
use crate::extension::{ExtensionError, PackageOrigin, download};
use crate::fetch::{FetchSettings, Fetcher};
use crate::host::{Host, Unreadable};
use crate::omaha::{NameMatch, PackageDownload};
use crate::payload::Trust;
use crate::printable::printable;

const OEM: &str = "/usr/share/oem";
/// Directory for an OEM's extension when its own partition is full.
const OEM_OVERFLOW: &str = "/etc/flatcar/oem-sysext";
const SYSEXTS: &str = "/etc/flatcar/sysext";
/// Files with the names of enabled extensions; a `-` before a name disables it.
const ENABLED: [&str; 2] = [
    "/etc/flatcar/enabled-sysext.conf",
    "/usr/share/flatcar/enabled-sysext.conf",
];

/// Sources of packages.
struct PackageSources {
    /// Packages that the node's own server offers.
    packages: Vec<PackageDownload>,
    /// File servers for packages that it doesn't offer.
    servers: FileServers,
}

/// Change of extensions from the running to the new version.
pub(super) struct VersionExtensions<'a> {
    host: &'a Host,
    image: &'a Path,
    new: &'a Release,
    running: &'a Release,
}

impl<'a> VersionExtensions<'a> {
    pub(super) fn new(host: &'a Host, image: &'a Path, new: &'a Release, running: &'a Release) -> Self {
        Self {
            host,
            image,
            new,
            running,
        }
    }

    /// Removes the extensions of neither version, and fetches those of the new one.
    pub(super) async fn update(&self, oem: &str) -> Result<(), PostinstRefusal> {
        let oem_place = self.host.path(OEM).join("sysext");
        let active = format!("{OEM}/sysext/active-oem-{oem}");
        let is_active = is_name(oem) && self.host.is_there(&active)?;
        let image = Host::new(self.image);
        let wants_oem =
            is_active || (is_name(oem) && image.is_there(&format!("/share/flatcar/oems/{oem}"))?);
        let enabled = enabled(self.host)?;
        if !wants_oem && enabled.is_empty() {
            // Nothing will be asked for: an answer that can't be read is no reason to refuse.
            return self.prune(&self.host.path(SYSEXTS), "flatcar");
        }
        let offered = PackageSources {
            packages: offered(self.host)?,
            servers: FileServers::of(self.host)?,
        };
        if wants_oem {
            let places = [oem_place.clone(), self.host.path(OEM_OVERFLOW)];
            self.replace(&format!("oem-{oem}"), "oem", &places, &offered)
                .await?;
            if !is_active {
                touch(&oem_place.join(format!("migrate-oem-{oem}")))?;
            }
        }
        let places = [self.host.path(SYSEXTS)];
        self.prune(&places[0], "flatcar")?;
        for name in enabled {
            self.replace(&format!("flatcar-{name}"), "flatcar", &places, &offered)
                .await?;
        }
        Ok(())
    }

    async fn replace(
        &self,
        package: &str,
        family: &str,
        places: &[PathBuf],
        offered: &PackageSources,
    ) -> Result<(), PostinstRefusal> {
        for place in places {
            self.prune(place, family)?;
        }
        let name = format!("{package}-{}.raw", self.new.version);
        let mut failure = ExtensionError::Nowhere;
        for origin in self.origins(package, offered) {
            println!("Downloading {}", printable(&origin.shown()));
            match install(self.host, &origin, places, &name).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    eprintln!("{}", printable(&format!("{}: {error}", origin.shown())));
                    failure = error;
                }
            }
        }
        Err(PostinstRefusal::Extension {
            package: package.to_owned(),
            source: Box::new(failure),
        })
    }

    /// Origins of `package`: the URLs of the server's offer, then the published release.
    fn origins(&self, package: &str, offered: &PackageSources) -> Vec<PackageOrigin> {
        let file = format!("{package}.gz");
        // Of those whose names fit as well the first, as the original's tools do.
        let matches = |package: &&PackageDownload| NameMatch::of(&package.name, &file);
        let packages = offered
            .packages
            .iter()
            .filter(|package| matches(package).is_some());
        let offer = packages.min_by_key(matches);
        let published = offered.servers.urls(self.new, &file).map(|url| (url, None));
        let urls = offer.into_iter().flat_map(|offer| {
            let urls = [&offer.url].into_iter().chain(&offer.fallback_urls);
            urls.map(|url| (url.clone(), Some(offer.size)))
        });
        let origin = |(url, size)| PackageOrigin {
            url,
            size,
            sha256: None,
            credentials: None,
        };
        urls.chain(published).map(origin).collect()
    }

    /// Removes the images of `family` that belong to neither version: the running one's must stay,
    /// the node may come back to it.
    fn prune(&self, place: &Path, family: &str) -> Result<(), PostinstRefusal> {
        let failed = |source| PostinstRefusal::Directory {
            path: place.to_owned(),
            source,
        };
        let entries = match fs::read_dir(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kept = [self.running, self.new]
                .iter()
                .any(|release| name.ends_with(&format!("-{}.raw", release.version)));
            if name.starts_with(family) && name.ends_with("raw") && !kept {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// The enabled names, without the disabled ones.
///
/// # Errors
/// [`Unreadable`]: a slot would boot without what is enabled there.
fn enabled(host: &Host) -> Result<BTreeSet<String>, Unreadable> {
    let (mut on, mut off) = (BTreeSet::new(), BTreeSet::new());
    for path in ENABLED {
        let text = host.read(path)?.unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines().map(str::trim) {
            match line.strip_prefix('-') {
                Some(name) => off.insert(name.to_owned()),
                None => is_name(line) && on.insert(line.to_owned()),
            };
        }
    }
    Ok(&on - &off)
}

/// Whether `text` can be part of a file's name and a URL: no comment, no path.
fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(fits)
}

fn touch(path: &Path) -> Result<(), PostinstRefusal> {
    File::create(path)
        .map(drop)
        .map_err(|source| PostinstRefusal::Directory {
            path: path.to_owned(),
            source,
        })
}

/// The key that signs the extensions of releases.
const PAYLOAD_KEY: &str = "/usr/share/update_engine/update-payload-key.pub.pem";

/// Downloads the payload at `origin` and makes the image in it the file `name` in the first of
/// `places` that has room. Nothing appears there before it is verified and complete.
pub(super) async fn install(
    host: &Host,
    origin: &PackageOrigin,
    places: &[PathBuf],
    name: &str,
) -> Result<(), ExtensionError> {
    use ExtensionError as E;
    let keys = Trust::Keys(Trust::in_keys(&[host.path(PAYLOAD_KEY)])?);
    let fetcher = Fetcher::new(FetchSettings::default());
    let mut failure = E::Nowhere;
    for place in places {
        let package = download(&fetcher, origin, place).await;
        match package.and_then(|package| package.build(&keys, name)) {
            Err(error @ (E::Keep { .. } | E::Full { .. } | E::Apply { .. })) => failure = error,
            result => return result,
        }
    }
    Err(failure)
}
