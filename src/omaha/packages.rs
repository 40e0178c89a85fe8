//! All packages of an answer: beside the payload it may name extensions of the system.

use thiserror::Error;

use super::document::{self, DocumentError, Element};
use super::package_name::is_path;

/// Largest package whose size is believed, in bytes.
pub(super) const MAX_SIZE: u64 = 16 << 30;

/// One package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its file's name, as its server gives it: a path that leads nowhere else.
    pub name: String,
    /// Where it can be had: the first URL of the answer.
    pub url: String,
    /// Where else: the further ones.
    pub fallback_urls: Vec<String>,
    /// Bytes, above 0.
    pub size: u64,
}

/// Why packages can't be read from an answer.
#[derive(Debug, Error)]
pub enum PackagesError {
    /// It is no XML.
    #[error("the kept answer of the server cannot be parsed")]
    Document(#[from] DocumentError),
}

/// The packages of an answer, the payload first; none if it offers nothing. One whose name or size makes no
/// sense is left out: it can't be asked for.
///
/// # Errors
/// [`PackagesError`].
pub fn packages(body: &[u8]) -> Result<Vec<Package>, PackagesError> {
    let root = document::parse(body)?;
    let checks = root.descend(&["app", "updatecheck"]);
    Ok(checks.first().map_or_else(Vec::new, |check| of_check(check)))
}

fn of_check(check: &Element) -> Vec<Package> {
    let urls = check.descend(&["urls", "url"]);
    let mut bases = urls.iter().map(|url| url.attribute("codebase"));
    let first = bases.next().unwrap_or_default();
    let further: Vec<_> = bases.filter(|base| !base.is_empty()).collect();
    let manifests = check.descend(&["manifest"]);
    let found = manifests
        .first()
        .map(|manifest| manifest.descend(&["packages", "package"]));
    let package = |element: &Element| {
        let name = element.attribute("name");
        let size = element.attribute("size").parse().ok()?;
        let sensible = !first.is_empty() && is_path(name) && (1..=MAX_SIZE).contains(&size);
        sensible.then(|| Package {
            name: name.to_owned(),
            url: joined(first, name),
            fallback_urls: further.iter().map(|base| joined(base, name)).collect(),
            size,
        })
    };
    found.into_iter().flatten().filter_map(package).collect()
}

fn joined(base: &str, name: &str) -> String {
    let slash = if base.ends_with('/') { "" } else { "/" };
    format!("{base}{slash}{name}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_package_of_the_first_manifest_is_named_with_its_url() {
        let body = br#"<response><app><updatecheck status="ok"><urls><url codebase="http://x/p"/><url codebase="http://y/"/></urls>
            <manifest version="1"><packages>
              <package name="flatcar_production_update.gz" size="10"/>
              <package name="oem-azure.gz" size="20" hash_sha256="00"/>
              <package name="../etc/passwd" size="1"/>
              <package name="nothing.gz" size="0"/>
            </packages></manifest></updatecheck></app></response>"#;
        let found = packages(body).unwrap();
        assert_eq!(found[1].fallback_urls, ["http://y/oem-azure.gz"]);
        let names: Vec<_> = found.iter().map(|p| (p.url.as_str(), p.size)).collect();
        assert_eq!(
            names,
            [
                ("http://x/p/flatcar_production_update.gz", 10),
                ("http://x/p/oem-azure.gz", 20)
            ]
        );
    }

    /// As Nebraska gave them, which had to be told these names.
    #[test]
    fn recorded_packages_are_found_under_the_names_that_their_server_gives() {
        let hosted = include_bytes!(
            "../../tests/fixtures/recordings/nebraska-extra-files/01-check-hosted-by-nebraska.response.xml"
        );
        let elsewhere = include_bytes!(
            "../../tests/fixtures/recordings/nebraska-extra-files/02-check-by-url-without-slash.response.xml"
        );
        let urls = |body| {
            let found = packages(body).unwrap().into_iter();
            found.map(|package| package.url).collect::<Vec<_>>()
        };
        let base = "http://127.0.0.1:18101/flatcar";
        assert_eq!(
            urls(&hosted[..]),
            ["update-2.0.1.gz", "oem-example.gz", "flatcar-example.gz"].map(|name| format!("{base}/{name}"))
        );
        let base = "https://update.example.com/files";
        assert_eq!(
            urls(&elsewhere[..]),
            [
                "update 2.0.2 & more.gz",
                "oem-example.gz",
                "dir/flatcar-<example>.gz"
            ]
            .map(|name| format!("{base}/{name}"))
        );
    }

    #[test]
    fn an_answer_without_an_offer_has_none() {
        assert_eq!(packages(b"<response/>").unwrap(), []);
        assert!(packages(b"no XML").is_err());
    }
}
