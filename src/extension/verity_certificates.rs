//! The certificates by which systemd takes signatures of extensions' images, in the directories
//! `verity.d`; and the judgement whether it takes one.
//!
//! ```text
//!   /etc/verity.d  /run/verity.d  /usr/local/lib/verity.d  /usr/lib/verity.d      NAME.crt, PEM
//!     a name in an earlier directory hides the same in a later one; an empty file only hides
//!   signature ─▶ does the kernel know the key? ── no ─▶ first certificate that the signature names
//!                  └ yes: taken                            ├ its key signed ─▶ taken
//!                                                          └ else, or none ─▶ not taken
//! ```
//!
//! Which keys the new image's kernel will know can't be told (Flatcar's has one that was made for
//! its build), so that a signature is judged as taken, or as one of which that can't be told: never
//! as refused.
//!
//! Sources: `systemd-sysext(8)`, systemd's `dissect-image.c` and `conf-files.c`; held to systemd 252
//! and 257 by `tests/fixtures/extensions`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::certificate::Certificate;
use super::image_signature::ImageSignature;
use super::in_force::{WalkEnd, WalkLimit, path_in_image, walk};
use crate::host::Host;

/// The operator's directory of certificates.
const OF_ETC: &str = "/etc/verity.d";
/// The image's, the first of which hides files of the second.
const OF_IMAGE: [&str; 2] = ["/usr/local/lib/verity.d", "/usr/lib/verity.d"];
/// Where Flatcar's image has files that show in `/etc` unless the operator has others.
const IMAGES_ETC: &str = "/usr/share/flatcar/etc";
/// Turns off certificates in files, on the kernel's command line.
const ALLOWED: &str = "systemd.allow_userspace_verity=";

/// Files of a directory that are looked at; one with more can't be told.
const MOST_FILES: usize = 64;
/// Longest file that is read, in bytes; a longer one is none in its usual form.
const LONGEST_FILE: u64 = 64 << 10;
/// Base64 of all certificates of an image: what the looker prints must fit in what is read of it.
const LONGEST: usize = 20 << 10;

/// A file in a directory of certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateFile {
    /// An empty one, which only hides others of its name.
    Hides,
    /// A certificate: its DER in base64.
    Certificate(String),
    /// It can't be told what systemd would read there.
    NotTold,
}

/// The files of a directory of certificates by their names.
pub type CertificateDirectory = BTreeMap<String, CertificateFile>;

/// Why it can't be told whether systemd takes the signature of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureNotTold {
    /// The image was not looked at yet, or can't be.
    #[error("its image is signed, and the certificates of the new image are not known")]
    ImageNotSeen,
    /// The certificates of the node can't be told.
    #[error("its image is signed, and {0}")]
    Certificates(String),
    /// Only the kernel's keys count.
    #[error("its image is signed, and only keys of the new image's kernel count ({0} on the command line)")]
    OnlyKernel(String),
    /// No certificate of the new system is the signer's.
    #[error(
        "its image is signed, and neither the new image nor {OF_ETC} has a certificate for it{}: unless the new \
         image's kernel knows the key, no {class} is merged at all",
        .hint.as_ref().map(|path| format!(", as {} is", path.display())).unwrap_or_default()
    )]
    NoCertificate {
        /// Kind of extension, in systemd's word.
        class: &'static str,
        /// The file of the running image by which it was taken.
        hint: Option<PathBuf>,
    },
}

/// The name of the file with the signer's certificate, where earlier directories come first.
fn signer_in<'a>(signature: &ImageSignature, directories: &[&'a CertificateDirectory]) -> Option<&'a str> {
    let mut files = BTreeMap::new();
    for (name, file) in directories.iter().copied().flatten() {
        files.entry(name).or_insert(file);
    }
    for (name, file) in files {
        let CertificateFile::Certificate(base64) = file else {
            continue;
        };
        let certificate = Certificate::of_base64(base64);
        // Of several that it names, the first one counts.
        if let Some(is_by) = certificate.and_then(|certificate| signature.is_by(&certificate)) {
            return is_by.then_some(name);
        }
    }
    None
}

/// What the node has to take signatures by, whatever its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCertificates {
    /// Those of `/etc`, or why they can't be told.
    etc: Result<CertificateDirectory, String>,
    /// The word of the command line by which no file counts.
    turned_off: Option<String>,
    /// Those of the running image, for hints.
    running: Vec<CertificateDirectory>,
}

impl NodeCertificates {
    /// Of the node `host`. What an image shows in `/etc`, or what a link leads to in its `/usr`, is
    /// not told: another image has another one.
    #[must_use]
    pub fn of(host: &Host) -> Self {
        let lies = |path: &Path| host.path(&path.to_string_lossy());
        let in_etc = |path: &Path| {
            let images = Path::new(IMAGES_ETC).join(path.strip_prefix("/etc").unwrap_or(path));
            match walk(lies, path, WalkLimit::AtUsr)? {
                WalkEnd::Nowhere => Ok(None),
                WalkEnd::To(found, _) if found.starts_with("/usr") => Err(of_the_image(path)),
                WalkEnd::To(_, _) if path != Path::new(OF_ETC) && lies(&images).exists() => {
                    Err(of_the_image(path))
                }
                WalkEnd::To(found, _) => Ok(Some(lies(&found))),
            }
        };
        let line = host.read("/proc/cmdline").ok().flatten().unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let mut words = line.split_ascii_whitespace().rev();
        let word = words.find(|word| word.starts_with(ALLOWED));
        let allows = ["1", "yes", "y", "true", "t", "on"];
        let is_off = |word: &&str| !allows.contains(&word.trim_start_matches(ALLOWED));
        Self {
            etc: read_directory(OF_ETC, in_etc).map_err(|error| format!("{OF_ETC}: {error}")),
            turned_off: word.filter(is_off).map(str::to_owned),
            running: image_certificates(host, &host.path("/usr")).unwrap_or_default(),
        }
    }

    /// Whether systemd takes `signature` under an image that has the certificates `of_image`.
    ///
    /// # Errors
    /// [`SignatureNotTold`].
    pub fn judge(
        &self,
        class: &'static str,
        signature: &ImageSignature,
        of_image: Option<&[CertificateDirectory]>,
    ) -> Result<(), SignatureNotTold> {
        if let Some(word) = &self.turned_off {
            return Err(SignatureNotTold::OnlyKernel(word.clone()));
        }
        let etc = self
            .etc
            .as_ref()
            .map_err(|why| SignatureNotTold::Certificates(why.clone()))?;
        let directories: Vec<_> = [etc].into_iter().chain(of_image.into_iter().flatten()).collect();
        if signer_in(signature, &directories).is_some() {
            return Ok(());
        }
        if of_image.is_none() {
            return Err(SignatureNotTold::ImageNotSeen);
        }
        let mut places = self.running.iter().zip(OF_IMAGE);
        let hint = places.find_map(|(directory, place)| {
            let name = signer_in(signature, &[directory])?;
            Some(Path::new(place).join(name))
        });
        Err(SignatureNotTold::NoCertificate { class, hint })
    }
}

fn of_the_image(path: &Path) -> io::Error {
    io::Error::other(format!("{} is a file of the image", path.display()))
}

/// The certificates of the image mounted at `image`, in each of its directories; none if they can't be
/// told.
#[must_use]
pub fn image_certificates(host: &Host, image: &Path) -> Option<Vec<CertificateDirectory>> {
    let inside = |path: &Path| match path_in_image(host, image, path)? {
        Some(found) if !found.starts_with(image) => Err(io::Error::other("it lies outside of the image")),
        found => Ok(found),
    };
    let directories = OF_IMAGE.map(|directory| read_directory(directory, inside).ok());
    let directories = directories.into_iter().collect::<Option<Vec<_>>>()?;
    let files = directories.iter().flat_map(BTreeMap::iter);
    let len = files.fold(0, |len, (name, file)| match file {
        CertificateFile::Certificate(base64) => len + name.len() + base64.len(),
        CertificateFile::Hides | CertificateFile::NotTold => len + name.len(),
    });
    (len <= LONGEST).then_some(directories)
}

/// Reads a directory of certificates, where `lies` says at which path of ours an absolute path lies,
/// if there is anything.
fn read_directory(
    directory: &str,
    lies: impl Fn(&Path) -> io::Result<Option<PathBuf>>,
) -> io::Result<CertificateDirectory> {
    let directory = Path::new(directory);
    let mut files = CertificateDirectory::new();
    let Some(place) = lies(directory)? else {
        return Ok(files);
    };
    for (count, entry) in fs::read_dir(place)?.enumerate() {
        if count == MOST_FILES {
            return Err(io::Error::other(format!(
                "there are more than {MOST_FILES} files"
            )));
        }
        let Ok(name) = entry?.file_name().into_string() else {
            continue;
        };
        let is_certificate = Path::new(&name).extension().is_some_and(|end| end == "crt");
        if name.starts_with('.') || !is_certificate {
            continue;
        }
        let file = match lies(&directory.join(&name)) {
            // A link that leads nowhere is as good as none.
            Ok(None) => None,
            Ok(Some(path)) => read_file(&path).unwrap_or(Some(CertificateFile::NotTold)),
            Err(_) => Some(CertificateFile::NotTold),
        };
        files.extend(file.map(|file| (name, file)));
    }
    Ok(files)
}

/// What a file is; none if systemd passes over it.
fn read_file(path: &Path) -> io::Result<Option<CertificateFile>> {
    let found = fs::metadata(path)?;
    if found.file_type().is_char_device() || found.is_file() && found.len() == 0 {
        return Ok(Some(CertificateFile::Hides));
    }
    if !found.is_file() {
        return Ok(None);
    }
    let mut pem = Vec::new();
    File::open(path)?.take(LONGEST_FILE).read_to_end(&mut pem)?;
    let base64 = Certificate::base64_of_pem(&pem);
    Ok(Some(
        base64.map_or(CertificateFile::NotTold, CertificateFile::Certificate),
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::{FileExt as _, symlink};

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::Value;

    use super::*;

    /// All of systemd's directories, in its order.
    const ALL: [&str; 4] = [OF_ETC, "/run/verity.d", OF_IMAGE[0], OF_IMAGE[1]];

    /// A file of `tests/fixtures/extensions`: what real systemd did.
    struct Recording {
        lines: Vec<Value>,
        root: tempfile::TempDir,
    }

    impl Recording {
        fn open(name: &str) -> Self {
            let path = format!("{}/tests/fixtures/extensions/{name}", env!("CARGO_MANIFEST_DIR"));
            let text = fs::read_to_string(path).unwrap();
            Self {
                lines: text
                    .lines()
                    .map(|line| serde_json::from_str(line).unwrap())
                    .collect(),
                root: tempfile::tempdir().unwrap(),
            }
        }

        fn line(&self, key: &str, name: &str) -> &Value {
            let found = self
                .lines
                .iter()
                .find(|line| line[key] == *name && line["merged"].is_null());
            found.unwrap_or_else(|| panic!("no {key} {name}"))
        }

        /// Path of an image, of which the file systems are zeros.
        fn image(&self, name: &str) -> PathBuf {
            let path = self.root.path().join(format!("{name}.raw"));
            let line = self.line("image", name);
            let file = File::create(&path).unwrap();
            file.set_len(line["length"].as_u64().unwrap()).unwrap();
            for (sector, bytes) in line["sectors"].as_object().unwrap() {
                let bytes = STANDARD.decode(bytes.as_str().unwrap()).unwrap();
                file.write_all_at(&bytes, 512 * sector.parse::<u64>().unwrap())
                    .unwrap();
            }
            path
        }

        fn certificate(&self, name: &str) -> Vec<u8> {
            let text = self.line("certificate", name)["text"].as_str().unwrap();
            // Each character stands for a byte.
            text.chars().map(|c| u8::try_from(c).unwrap()).collect()
        }

        /// A host with the files of a case.
        fn host(&self, files: &Value) -> Host {
            let host = Host::new(self.root.path().join("host"));
            let _ = fs::remove_dir_all(host.path("/"));
            fs::create_dir_all(host.path("/dev")).unwrap();
            fs::write(host.path("/dev/null"), "").unwrap();
            for (path, contents) in files.as_object().unwrap() {
                let (path, contents) = (host.path(path), contents.as_str().unwrap());
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                match contents.strip_prefix("-> ") {
                    Some(target) => symlink(target, path).unwrap(),
                    None if contents == "directory" => fs::create_dir(path).unwrap(),
                    None => fs::write(path, self.certificate(contents)).unwrap(),
                }
            }
            host
        }
    }

    /// What systemd reads there, where the running image is the one in question.
    fn directories(host: &Host) -> Vec<CertificateDirectory> {
        let lies = |path: &Path| host.path(&path.to_string_lossy());
        let inside = |path: &Path| match walk(lies, path, WalkLimit::Never)? {
            WalkEnd::Nowhere => Ok(None),
            WalkEnd::To(found, _) => Ok(Some(lies(&found))),
        };
        let read = ALL.map(|directory| read_directory(directory, inside).unwrap());
        read.into_iter().collect()
    }

    /// Whether systemd merges it, judged without the kernel's keys; none if that can't be told.
    fn judged(recording: &Recording, case: &Value) -> Option<()> {
        let image = recording.image(case["image"].as_str().unwrap());
        let Some(signature) = ImageSignature::of_file(&image, "x86-64").ok()? else {
            return Some(());
        };
        let directories = directories(&recording.host(&case["certificates"]));
        let node = NodeCertificates {
            etc: Ok(CertificateDirectory::new()),
            turned_off: (case["files_allowed"] == false).then(|| ALLOWED.to_owned()),
            running: Vec::new(),
        };
        node.judge("sysext", &signature, Some(&directories)).ok()
    }

    #[test]
    fn what_is_told_is_what_real_systemd_does() {
        for (name, least) in [("signatures-252.jsonl", 30), ("signatures-257.jsonl", 30)] {
            let recording = Recording::open(name);
            let is_merged = |case: &Value| {
                let merged = case["merged"].as_array().unwrap();
                merged.iter().any(|name| name == "probe")
            };
            let cases = || recording.lines.iter().filter(|line| line["merged"].is_array());
            // Only of what is merged now it is asked: an image that no certificate helps isn't.
            let on_a_node = |case: &&Value| {
                let mut same = cases().filter(|other| other["image"] == case["image"]);
                same.any(is_merged)
            };
            let (mut told, mut not_told, mut wrong) = (0, [0, 0], Vec::new());
            for case in cases() {
                match judged(&recording, case) {
                    Some(()) if is_merged(case) => told += 1,
                    Some(()) if on_a_node(&case) => wrong.push(case.to_string()),
                    Some(()) => {}
                    None => not_told[usize::from(is_merged(case))] += 1,
                }
            }
            assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
            println!("{name}: {told} told as merged; not told: {not_told:?} that are not, and are, merged");
            assert!(
                told >= least && not_told[0] >= least,
                "{name}: {told}, {not_told:?}"
            );
        }
    }

    /// A signed image, and the certificate of its key.
    fn signed() -> (Recording, ImageSignature, CertificateDirectory) {
        let recording = Recording::open("signatures-257.jsonl");
        let signature = ImageSignature::of_file(&recording.image("signed"), "x86-64");
        let base64 = Certificate::base64_of_pem(&recording.certificate("site")).unwrap();
        let directory = [("site.crt".to_owned(), CertificateFile::Certificate(base64))];
        (recording, signature.unwrap().unwrap(), directory.into())
    }

    fn said(host: &Host, signature: &ImageSignature, of_image: Option<&[CertificateDirectory]>) -> String {
        let judged = NodeCertificates::of(host).judge("sysext", signature, of_image);
        judged.err().map(|why| why.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_signature_is_taken_by_a_certificate_of_etc_or_of_the_new_image() {
        let (recording, signature, directory) = signed();
        let none = [CertificateDirectory::new(), CertificateDirectory::new()];
        let host = recording.host(&serde_json::json!({"/usr/lib/verity.d/a.crt": "site"}));
        assert_eq!(
            said(&host, &signature, Some(&none)),
            "its image is signed, and neither the new image nor /etc/verity.d has a certificate for it, as \
             /usr/lib/verity.d/a.crt is: unless the new image's kernel knows the key, no sysext is merged at all"
        );
        assert_eq!(
            said(&host, &signature, None),
            "its image is signed, and the certificates of the new image are not known"
        );
        assert_eq!(
            said(&host, &signature, Some(&[CertificateDirectory::new(), directory])),
            ""
        );
        let host = recording.host(&serde_json::json!({"/etc/verity.d/a.crt": "site"}));
        assert_eq!(said(&host, &signature, Some(&none)), "");
        assert_eq!(said(&host, &signature, None), "");
        // As systemd's own tool makes it.
        let by_repart = ImageSignature::of_file(&recording.image("by-repart"), "x86-64");
        assert_eq!(said(&host, &by_repart.unwrap().unwrap(), Some(&none)), "");
    }

    /// What is in `/etc` and comes with the image may be another one, or gone.
    #[test]
    fn certificates_of_the_running_image_tell_nothing_of_the_new_one() {
        let (recording, signature, _) = signed();
        for files in [
            serde_json::json!({"/etc/verity.d/a.crt": "-> /usr/share/a.pem", "/usr/share/a.pem": "site"}),
            serde_json::json!({"/etc/verity.d/a.crt": "site", "/usr/share/flatcar/etc/verity.d/a.crt": "site"}),
            serde_json::json!({"/run/verity.d/a.crt": "site"}),
        ] {
            let said = said(&recording.host(&files), &signature, Some(&[]));
            assert!(said.contains("has a certificate for it:"), "{files}: {said}");
        }
        let whole =
            serde_json::json!({"/etc/verity.d": "-> /usr/share/certs", "/usr/share/certs/a.crt": "site"});
        let said = said(&recording.host(&whole), &signature, Some(&[]));
        assert_eq!(
            said,
            "its image is signed, and /etc/verity.d: /etc/verity.d is a file of the image"
        );
    }

    #[test]
    fn files_count_unless_the_command_line_turns_them_off() {
        let (recording, signature, _) = signed();
        for (line, is_off) in [
            ("quiet", false),
            ("systemd.allow_userspace_verity=no", true),
            (
                "systemd.allow_userspace_verity=no systemd.allow_userspace_verity=1",
                false,
            ),
            ("systemd.allow_userspace_verity=maybe", true),
        ] {
            let host = recording.host(&serde_json::json!({"/etc/verity.d/a.crt": "site"}));
            fs::create_dir_all(host.path("/proc")).unwrap();
            fs::write(host.path("/proc/cmdline"), line).unwrap();
            let said = said(&host, &signature, Some(&[]));
            assert_eq!(
                said.contains("only keys of the new image's kernel count"),
                is_off,
                "{line}: {said}"
            );
        }
    }

    #[test]
    fn an_image_with_too_many_certificates_is_not_told() {
        let (recording, _, directory) = signed();
        let host = recording.host(&serde_json::json!({}));
        let image = host.path("/image");
        fs::create_dir_all(image.join("lib/verity.d")).unwrap();
        let pem = recording.certificate("site");
        let read = || image_certificates(&host, &image).map(|read| read[1].len());
        for number in 0..=MOST_FILES {
            fs::write(image.join(format!("lib/verity.d/{number:02}.crt")), &pem).unwrap();
            if number == 3 {
                assert_eq!(read(), Some(4));
            }
        }
        assert_eq!(read(), None);
        assert_eq!(directory.len(), 1);
        // A link out of the image.
        fs::remove_dir_all(image.join("lib/verity.d")).unwrap();
        symlink("/etc", image.join("lib/verity.d")).unwrap();
        fs::create_dir_all(host.path("/etc")).unwrap();
        assert_eq!(read(), None);
    }
}
