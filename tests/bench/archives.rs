//! The new image as every contestant wants it, and what making that took.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::figures::seconds;
use super::image::Images;
use super::shell::word;
use super::workplace::Workplace;
use super::{Outcome, by_file, shell};

/// One artefact.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Archive {
    pub path: PathBuf,
    pub bytes: u64,
    /// Seconds that making it took, and the largest resident size of a process meanwhile.
    pub seconds: f64,
    pub peak_kib: u64,
}

/// All of them.
pub struct Archives {
    /// One bzip2 stream per MiB, made on one core.
    pub bzip2: Archive,
    /// The same format, in one stream, made on all cores.
    pub lbzip2: Archive,
    pub zstd: Archive,
    /// In frames that unpack side by side.
    pub pzstd: Archive,
    pub rauc: Archive,
    pub swupdate: Archive,
    pub v1: Archive,
    pub v2: Archive,
    pub delta: Archive,
    /// Bytes of a delta of the same images by the C++ generator's means.
    pub delta_by_file: u64,
    /// The delta of the tests' pair, of which the C++ generator makes 152,444 bytes.
    pub fixture: Archive,
}

pub fn pack(place: &Workplace, images: &Images) -> Outcome<Archives> {
    let (image, work) = (word(&images.new), place.path(""));
    let zstd = place.make("image.zst", &format!("zstd -q -f -12 -T0 {image} -o"))?;
    Ok(Archives {
        v1: generate(place, images, "v1.payload", "--format v1")?,
        lbzip2: place.make("image.lbzip2.bz2", &format!("lbzip2 -9 -c {image} >"))?,
        bzip2: place.make(
            "image.bz2",
            &format!("split --bytes=1M --filter='bzip2 -9' {image} >"),
        )?,
        v2: generate(place, images, "v2.payload", "--format v2")?,
        pzstd: place.make("image.pzst", &format!("pzstd -q -f -12 {image} -o"))?,
        rauc: rauc(place, &work, &images.new)?,
        swupdate: swupdate(place, &work, &zstd.path)?,
        zstd,
        delta: delta(place, images)?,
        delta_by_file: by_file::delta(place, images)?,
        fixture: fixture(place)?,
    })
}

/// A payload of ours.
pub fn generate(place: &Workplace, images: &Images, name: &str, options: &str) -> Outcome<Archive> {
    let script = format!(
        "{} generate --new-image {} --private-key {} {options} --out",
        word(&place.program("update_payload")?),
        word(&images.new),
        word(&place.path("key.pem"))
    );
    place.make(name, &script)
}

pub fn delta(place: &Workplace, images: &Images) -> Outcome<Archive> {
    let options = format!("--format v2 --old-image {}", word(&images.old));
    generate(place, images, "delta.payload", &options)
}

fn fixture(place: &Workplace) -> Outcome<Archive> {
    let unpack = |name: &str| {
        place.once(&format!("fixture-{name}"), |path| {
            let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/payload");
            shell::run(&format!(
                "zstd -dcq {}/{name}.zst > {}",
                word(&packed),
                word(&path)
            ))
        })
    };
    let images = Images {
        old: unpack("old.img")?,
        new: unpack("new.img")?,
    };
    let options = format!("--format v2 --old-image {}", word(&images.old));
    generate(place, &images, "fixture.payload", &options)
}

impl Workplace {
    /// The archive `name`, written by `script` with its path behind.
    pub fn make(&self, name: &str, script: &str) -> Outcome<Archive> {
        let account = self.path(&format!("{name}.json"));
        if self.reuse && account.exists() {
            return Ok(serde_json::from_slice(&fs::read(account)?)?);
        }
        println!("  {name}");
        // RAUC writes no bundle over another one.
        let _ = fs::remove_file(self.path(name));
        let (path, peak) = (self.path(name), tempfile::NamedTempFile::new()?);
        let begun = Instant::now();
        let timed = format!(
            "command time --quiet --format=%M --output={} bash -c {}",
            word(peak.path()),
            word(&format!("{script} {}", word(&path)))
        );
        shell::run(&timed)?;
        let archive = Archive {
            bytes: fs::metadata(&path)?.len(),
            path,
            seconds: seconds(begun.elapsed()),
            peak_kib: fs::read_to_string(peak.path())?.trim().parse()?,
        };
        fs::write(account, serde_json::to_vec(&archive)?)?;
        Ok(archive)
    }
}

/// A bundle: a squashfs that holds the image, and a CMS signature.
fn rauc(place: &Workplace, work: &Path, image: &Path) -> Outcome<Archive> {
    let bundle = work.join("bundle");
    let _ = fs::remove_dir_all(&bundle);
    fs::create_dir_all(&bundle)?;
    fs::hard_link(image, bundle.join("root.img"))?;
    fs::write(
        bundle.join("manifest.raucm"),
        "[update]\ncompatible=bench\nversion=2\n\n[bundle]\nformat=plain\n\n[image.rootfs]\nfilename=root.img\n",
    )?;
    let archive = place.make(
        "image.raucb",
        &format!(
            "rauc bundle --cert {work}/cert.pem --key {work}/key.pem \
             --mksquashfs-args='-comp zstd -Xcompression-level 9' {}",
            word(&bundle),
            work = word(&work)
        ),
    );
    fs::remove_dir_all(bundle)?;
    archive
}

/// A cpio with the image as zstd packed it, and a signed description.
fn swupdate(place: &Workplace, work: &Path, packed: &Path) -> Outcome<Archive> {
    let sums = shell::bash(&format!("openssl dgst -r -sha256 {}", word(&packed))).output()?;
    let sha256 = String::from_utf8(sums.stdout)?
        .chars()
        .take(64)
        .collect::<String>();
    let target = place.path("target.img");
    fs::write(
        work.join("sw-description"),
        format!(
            "software = {{ version = \"2\"; hardware-compatibility: [ \"1\" ]; images: ( {{ \
             filename = \"image.zst\"; device = \"{}\"; type = \"raw\"; installed-directly = true; \
             compressed = \"zstd\"; sha256 = \"{sha256}\"; }} ); }}\n",
            target.display()
        ),
    )?;
    shell::run(&format!(
        "cd {} && openssl cms -sign -in sw-description -out sw-description.sig -signer cert.pem -inkey key.pem \
         -outform DER -nosmimecap -binary",
        word(&work)
    ))?;
    place.make(
        "image.swu",
        &format!(
            "cd {} && printf '%s\\n' sw-description sw-description.sig image.zst | cpio -o -H crc >",
            word(&work)
        ),
    )
}
