//! What images and extensions say of themselves, the signatures of their images, and the mount table
//! that says what is merged.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use update_engine::disk::overlay_layers;
use update_engine::extension::{
    CertificateDirectory, CertificateFile, ExtensionClass, ExtensionHost, ImageSignature, NodeCertificates,
    NotMerged, judge, merged_names,
};
use update_engine::image::{ImageIdentity, KernelHeader, OsRelease, root_hash};

use super::memory::Memory;
use super::scratch;
use crate::input::Input;
use crate::{Bug, Target};

pub(super) const TARGET: Target = Target {
    name: "extensions",
    property: "Any value that is quoted as os-release(5) says is read as it was; an extension for any image is \
               merged, one for another is not; an overlay's directories are those that it was mounted from; a \
               signature is taken for the root hash that was signed and for no other.",
    check,
};

fn check(bytes: &[u8], bug: Bug) {
    let mut input = Input::new(bytes);
    let kind = input.byte();
    match kind % 4 {
        _ if kind == u8::MAX => signed(&mut input, bug),
        0 => os_release(&mut input, bug),
        1 => judged(&mut input),
        2 => mounted(&mut input),
        _ => raw(&mut input),
    }
}

/// Settings that are written and read.
fn os_release(input: &mut Input<'_>, bug: Bug) {
    let systemd = [None, Some(252), Some(257)][input.below(3)];
    let (mut text, mut expected) = (String::new(), Vec::new());
    for number in 0..input.byte() % 5 {
        let value = input.text().replace('\0', "");
        let (key, kind) = (format!("KEY_{number}"), input.byte());
        let is_plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let quoted = match kind % 3 {
            0 if is_plain => value.clone(),
            1 if !value.contains('\'') => format!("'{value}'"),
            _ => format!("\"{}\"", escaped(&value)),
        };
        if kind > 200 {
            text.push_str("# a comment = \"\n");
        }
        let _ = writeln!(text, "{key}={quoted}");
        expected.push((key, value));
    }
    let release = OsRelease::parse(text.as_bytes(), systemd).expect("a sound file");
    for (key, mut value) in expected {
        if bug.strikes(value.contains('$') && value.contains('"')) {
            value.push(' ');
        }
        assert_eq!(release.get(&key).unwrap_or_default(), value, "{text:?}");
    }
}

fn escaped(value: &str) -> String {
    value.chars().fold(String::new(), |mut escaped, c| {
        if matches!(c, '"' | '\\' | '`' | '$') {
            escaped.push('\\');
        }
        escaped.push(c);
        escaped
    })
}

/// Pairs of an extension and an image.
fn judged(input: &mut Input<'_>) {
    const KEYS: [&str; 8] = [
        "ID",
        "ID_LIKE",
        "VERSION_ID",
        "SYSEXT_LEVEL",
        "SYSEXT_SCOPE",
        "ARCHITECTURE",
        "CONFEXT_LEVEL",
        "CONFEXT_SCOPE",
    ];
    const VALUES: [&str; 8] = [
        "flatcar",
        "debian",
        "1",
        "2",
        "_any",
        "",
        "system",
        "x86-64 initrd",
    ];
    let file = |input: &mut Input<'_>| {
        (0..input.byte() % 6).fold(String::new(), |mut text, _| {
            let _ = writeln!(text, "{}=\"{}\"", input.one_of(&KEYS), input.one_of(&VALUES));
            text
        })
    };
    let (image, extension) = (file(input), file(input));
    let parse = |text: &str| OsRelease::parse(text.as_bytes(), None).expect("a sound file");
    let (image, of_extension) = (parse(&image), parse(&extension));
    let host = ExtensionHost {
        os_release: &image,
        systemd: [None, Some(252), Some(255), Some(257)][input.below(4)],
        architecture: "x86-64",
    };
    let class = ExtensionClass::ALL[input.below(2)];
    let verdict = judge((class, input.is_odd()), Some(&of_extension), host);
    let id = of_extension.get("ID");
    match verdict {
        Ok(()) => {
            let like = image.get("ID_LIKE").unwrap_or_default();
            let is_like = id.is_some_and(|id| like.split(' ').any(|like| like == id));
            let same = id == image.get("ID");
            assert!(id == Some("_any") || same || is_like, "{extension} on {image:?}");
        }
        Err(NotMerged::Differs {
            key,
            extension,
            image,
        }) => {
            assert_ne!(extension.as_deref(), Some(image.as_str()), "{key}");
        }
        Err(other) => assert!(!other.to_string().is_empty()),
    }
}

/// A signature partition that real systemd took, and the directory with its certificate.
static SIGNED: LazyLock<(Vec<u8>, [CertificateDirectory; 1])> = LazyLock::new(|| {
    let recorded = include_str!("../../../fixtures/extensions/signatures-257.jsonl");
    let find = |kind: &str, name: &str| {
        let mut lines = recorded
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines.find(|line| line[kind] == name).expect("a recorded one")
    };
    let image = find("image", "signed");
    let sectors = image["sectors"].as_object().expect("sectors").iter();
    let sectors: BTreeMap<u64, Vec<u8>> = sectors
        .map(|(number, bytes)| {
            let bytes = STANDARD.decode(bytes.as_str().expect("base64")).expect("base64");
            (number.parse().expect("a number"), bytes)
        })
        .collect();
    // Without the zeros at the end of each.
    let begins = |sector: &&u64| sectors[*sector].starts_with(br#"{"rootHash""#);
    let first = *sectors.keys().find(begins).expect("the signature's partition");
    let text = (first..).map_while(|sector| sectors.get(&sector));
    let partition: Vec<u8> = text.flatten().copied().collect();
    let pem = find("certificate", "site");
    let lines = pem["text"].as_str().expect("PEM").lines();
    let body: String = lines.filter(|line| !line.starts_with('-')).collect();
    let file = ("site.crt".to_owned(), CertificateFile::Certificate(body));
    (partition, [CertificateDirectory::from([file])])
});

/// A signature partition with a few other bytes.
fn signed(input: &mut Input<'_>, bug: Bug) {
    let (partition, certificates) = &*SIGNED;
    let recorded: Value = serde_json::from_slice(partition).expect("JSON");
    let root_hash = recorded["rootHash"].as_str().expect("text");
    let mut changed = partition.clone();
    for _ in 0..input.byte() % 4 {
        let at = input.below(changed.len());
        changed[at] = input.byte();
    }
    let Ok(signature) = ImageSignature::of_partition(&changed) else {
        return;
    };
    let host = scratch::host(&[]);
    let judged = NodeCertificates::of(&host).judge("sysext", &signature, Some(certificates));
    // By the digits alone: whatever else of the text is changed, the root hash is as it was.
    let text = String::from_utf8_lossy(&changed).to_ascii_lowercase();
    let is_another = !text.contains(root_hash);
    if judged.is_ok() || bug.strikes(is_another) {
        assert!(!is_another, "taken for another root hash");
    }
    assert!(
        judged.is_ok() || changed != *partition,
        "not taken as it was signed"
    );
}

/// A table with an overlay of any directories.
fn mounted(input: &mut Input<'_>) {
    let directories: Vec<String> = (0..=input.below(4))
        .map(|number| {
            format!(
                "/run/extensions/{}{number}/usr",
                input.text().replace(['\0', '/'], "")
            )
        })
        .collect();
    let listed: Vec<String> = directories.iter().map(|directory| option(directory)).collect();
    let options = if input.is_odd() {
        format!("ro,lowerdir={},workdir=/w", listed.join(":"))
    } else {
        let each: Vec<String> = listed
            .iter()
            .map(|directory| format!("lowerdir+={directory}"))
            .collect();
        format!("ro,{}", each.join(","))
    };
    let table = format!(
        "30 1 8:1 / / rw - ext4 /dev/sda1 rw\n91 30 0:42 / /usr ro shared:3 - btrfs /dev/mapper/usr ro\n\
         99 91 0:45 / /usr ro - overlay sysext {}\n",
        kernel(&options)
    );
    let host = scratch::host(&[("/proc/self/mountinfo", Some(table.as_bytes()))]);
    let found = overlay_layers(&host, "/usr", "sysext").expect("a sound table");
    let found: Vec<String> = found
        .expect("an overlay")
        .iter()
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    assert_eq!(found, directories, "{table}");
    let names = merged_names(&host, ExtensionClass::System).expect("likewise");
    assert!(names.len() <= directories.len());
}

/// As mount(2) wants a directory in a list.
fn option(directory: &str) -> String {
    directory.chars().fold(String::new(), |mut escaped, c| {
        if matches!(c, '\\' | ':' | ',') {
            escaped.push('\\');
        }
        escaped.push(c);
        escaped
    })
}

/// As the kernel writes a field.
fn kernel(field: &str) -> String {
    field.chars().fold(String::new(), |mut escaped, c| {
        match c {
            ' ' | '\t' | '\n' | '\\' | '#' => {
                let _ = write!(escaped, "\\{:03o}", u32::from(c));
            }
            _ => escaped.push(c),
        }
        escaped
    })
}

/// Any bytes at all.
fn raw(input: &mut Input<'_>) {
    let systemd = [None, Some(252)][input.below(2)];
    let bytes = input.rest();
    if let Ok(release) = OsRelease::parse(bytes, systemd) {
        let image = ImageIdentity::of(&release, &release);
        assert!(
            image.require_same_node(&image).is_ok(),
            "an image isn't for its own node: {image:?}"
        );
    }
    let _ = KernelHeader::of(bytes);
    let _ = ImageSignature::of_partition(bytes);
    let image = Memory::new(bytes.to_vec());
    if let Ok(Some(hash)) = root_hash(image.as_ref(), bytes.len() as u64) {
        assert!(
            bytes.len() >= 4096,
            "{hash} of an image that is shorter than a tree"
        );
    }
    let host = scratch::host(&[("/proc/self/mountinfo", Some(bytes))]);
    let _ = overlay_layers(&host, "/usr", "sysext");
    for class in ExtensionClass::ALL {
        let _ = merged_names(&host, class);
    }
}
