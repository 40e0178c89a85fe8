//! The kernel's table of mounts, `/proc/self/mountinfo`, and the mount that holds the system's
//! programs. Pure.
//!
//! System extensions are merged as overlays on `/usr`; the slot's own mount stays below. What lies
//! on what is told by the parents, not by the order of lines:
//! ```text
//!   91  90 0:42  / /usr … btrfs   /dev/mapper/usr        the slot
//!   93 129 0:45  / /usr … overlay sysext                 a bind of an older merge: on top
//!  129  91 0:51  / /usr … overlay sysext                 the merge of today: between the two
//! ```
//! So: from the mount on `/usr` on which no other one lies down to the first that is no overlay.
//! Where the lowest overlay doesn't lie on a mount on `/usr`, or there is none at all, `/usr` is a
//! directory of `/`, and the same is done there.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::DiscoveryError;

const USR: &str = "/usr";
const ROOT: &str = "/";

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    id: u64,
    /// The mount on which it lies; its own number if it lies on none.
    parent: u64,
    /// Of the file system; its major is 0 if it has no device, or hides it as btrfs does.
    pub(super) device: (u64, u64),
    point: PathBuf,
    file_system: OsString,
    /// What was named when it was mounted. Any text, but for file systems on devices.
    pub(super) source: OsString,
    /// Of the file system: what the kernel says of how it was mounted.
    options: OsString,
}

/// All mounts that a process sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MountTable(Vec<Mount>);

/// Where the system's programs come from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SystemMount<'a> {
    /// `/usr`, or `/` if that holds it.
    pub(super) point: &'static str,
    /// The mount whose files are seen, overlays aside. Several only if the table doesn't say which
    /// of them is on top.
    pub(super) seen: Vec<&'a Mount>,
    /// Others at the same place, hidden by it.
    pub(super) hidden: Vec<&'a Mount>,
}

impl Mount {
    fn parse(line: &[u8]) -> Option<Self> {
        let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
        let [id, parent, device, _root, point, _options, rest @ ..] = fields.as_slice() else {
            return None;
        };
        // Any number of optional fields, a hyphen, and three more.
        let end = rest.iter().position(|&field| field == b"-")?;
        let [file_system, source, options, ..] = rest.get(end + 1..)? else {
            return None;
        };
        let (major, minor) = std::str::from_utf8(device).ok()?.split_once(':')?;
        let point = PathBuf::from(unescape(point));
        (point.is_absolute() && !file_system.is_empty()).then_some(())?;
        Some(Self {
            id: number(id)?,
            parent: number(parent)?,
            device: (major.parse().ok()?, minor.parse().ok()?),
            point,
            file_system: unescape(file_system),
            source: unescape(source),
            options: unescape(options),
        })
    }

    fn is_overlay(&self) -> bool {
        self.file_system == "overlay"
    }
}

impl MountTable {
    /// Reads the whole table: of a line that can't be understood nobody knows what it hides.
    pub(super) fn parse(text: &[u8]) -> Result<Self, DiscoveryError> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let lines = text.split(|&byte| byte == b'\n').enumerate();
        let mount = |(index, line): (usize, &[u8])| {
            Mount::parse(line).ok_or_else(|| DiscoveryError::MountLine {
                number: index + 1,
                line: String::from_utf8_lossy(line).into_owned(),
            })
        };
        lines.map(mount).collect::<Result<_, _>>().map(Self)
    }

    /// The mount that holds the system's programs.
    pub(super) fn system(&self) -> Result<SystemMount<'_>, DiscoveryError> {
        let on_usr = self.seen_at(USR)?;
        let (point, seen) = if on_usr.is_empty() {
            (ROOT, self.seen_at(ROOT)?)
        } else {
            (USR, on_usr)
        };
        if seen.is_empty() {
            return Err(DiscoveryError::NotMounted);
        }
        let hidden = self
            .at(point)
            .filter(|mount| !mount.is_overlay() && !seen.contains(mount));
        Ok(SystemMount {
            point,
            hidden: hidden.collect(),
            seen,
        })
    }

    /// The directories that the overlay called `source` at `point` shows, the topmost first; nothing
    /// if there is none. Of several the lowest counts: a bind in this process's namespace may still
    /// show an older one above it.
    pub(super) fn overlay_layers(&self, point: &str, source: &str) -> Option<Vec<PathBuf>> {
        let is_it = |mount: &&Mount| mount.is_overlay() && mount.source == source;
        let lies_on_another = |mount: &Mount| {
            self.at(point)
                .filter(is_it)
                .any(|other| other.id == mount.parent && other.id != mount.id)
        };
        let lowest = self
            .at(point)
            .filter(is_it)
            .find(|mount| !lies_on_another(mount))?;
        Some(lower_directories(lowest.options.as_bytes()))
    }

    /// The mount that holds what is seen at the absolute path `path`.
    pub(super) fn holding(&self, path: &Path) -> Option<&Mount> {
        let above = path.ancestors().filter_map(|point| point.to_str());
        let mut tops = above.filter_map(|point| {
            let tops = self.on_top_of_all(self.tops(point), point);
            tops.first().copied()
        });
        tops.next()
    }

    /// What is seen at `point` below all overlays; nothing if that is no mount on `point`.
    fn seen_at(&self, point: &str) -> Result<Vec<&Mount>, DiscoveryError> {
        let tops = self.on_top_of_all(self.tops(point), point);
        let found: Result<Vec<_>, _> = tops
            .into_iter()
            .map(|top| self.below_overlays(top, point))
            .collect();
        Ok(found?.into_iter().flatten().collect())
    }

    fn at<'a>(&'a self, point: &str) -> impl Iterator<Item = &'a Mount> {
        let point = PathBuf::from(point);
        self.0.iter().filter(move |mount| mount.point == point)
    }

    /// The mounts at `point` on which no other one at `point` lies.
    fn tops(&self, point: &str) -> Vec<&Mount> {
        let is_covered = |below: &Mount| {
            self.at(point)
                .any(|mount| mount.parent == below.id && mount.id != below.id)
        };
        self.at(point).filter(|mount| !is_covered(mount)).collect()
    }

    /// Of several on `/usr`, those that lie on the `/` that is seen: a root that another one covers
    /// takes its mounts along.
    fn on_top_of_all<'a>(&'a self, tops: Vec<&'a Mount>, point: &str) -> Vec<&'a Mount> {
        if tops.len() < 2 || point == ROOT {
            return tops;
        }
        let roots = self.tops(ROOT);
        let is_seen = |top: &&Mount| {
            let lowest = self.chain(top, point).last();
            lowest.is_some_and(|lowest| roots.iter().any(|root| root.id == lowest.parent))
        };
        let seen: Vec<_> = tops.iter().copied().filter(|top| is_seen(top)).collect();
        if seen.is_empty() { tops } else { seen }
    }

    /// `top` and what lies below it at `point`, downwards. Ends, even in a table in which mounts
    /// lie on each other.
    fn chain<'a>(&'a self, top: &'a Mount, point: &str) -> impl Iterator<Item = &'a Mount> {
        let point = PathBuf::from(point);
        let below = move |mount: &&'a Mount| {
            let parent = self.by_id(mount.parent)?;
            (parent.point == point && parent.id != mount.id).then_some(parent)
        };
        std::iter::successors(Some(top), below).take(self.0.len())
    }

    fn by_id(&self, id: u64) -> Option<&Mount> {
        self.0.iter().find(|mount| mount.id == id)
    }

    /// The first of the chain below `top` that is no overlay. An overlay at the chain's end shows
    /// the directory that it lies on: at `/` nothing tells which one that is, so that it stands for
    /// itself.
    fn below_overlays<'a>(
        &'a self,
        top: &'a Mount,
        point: &str,
    ) -> Result<Option<&'a Mount>, DiscoveryError> {
        let found = self.chain(top, point).find(|mount| !mount.is_overlay());
        let lowest = self.chain(top, point).last().unwrap_or(top);
        match found {
            Some(mount) => Ok(Some(mount)),
            None if point == ROOT => Ok(Some(lowest)),
            // A table that was read amid a change, or one of a process that sees only a part of it.
            None if self.by_id(lowest.parent).is_none() => Err(DiscoveryError::NoParent {
                mount: lowest.id,
                parent: lowest.parent,
            }),
            None => Ok(None),
        }
    }
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// The kernel writes a blank, tab, newline, backslash and `#` as a backslash and three octal
/// digits. A backslash before anything else is one: some file systems write their sources
/// themselves.
fn unescape(field: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = if byte == b'\\' { octal(after) } else { None };
        let (byte, after) = escaped.unwrap_or((byte, after));
        plain.push(byte);
        rest = after;
    }
    OsString::from_vec(plain)
}

fn octal(digits: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = digits.split_at_checked(3)?;
    let byte = digits.iter().try_fold(0_u32, |value, digit| {
        matches!(digit, b'0'..=b'7').then(|| value * 8 + u32::from(digit - b'0'))
    })?;
    Some((u8::try_from(byte).ok()?, rest))
}

/// The lower directories in an overlay's options: `lowerdir=A:B`, or one `lowerdir+=A` for each. A
/// backslash takes the next character as it is.
fn lower_directories(options: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for option in split_escaped(options, b',') {
        let value = option
            .strip_prefix(b"lowerdir=")
            .map(|value| split_escaped(value, b':'));
        let one = || {
            option
                .strip_prefix(b"lowerdir+=")
                .map(|value| vec![value.to_vec()])
        };
        let directories = value.or_else(one).unwrap_or_default();
        found.extend(
            directories
                .into_iter()
                .map(|directory| PathBuf::from(OsString::from_vec(plain(&directory)))),
        );
    }
    found
}

/// The parts of `text` between separators that no backslash stands before.
fn split_escaped(text: &[u8], separator: u8) -> Vec<Vec<u8>> {
    let (mut parts, mut is_escaped) = (vec![Vec::new()], false);
    for &byte in text {
        if byte == separator && !is_escaped {
            parts.push(Vec::new());
            continue;
        }
        is_escaped = byte == b'\\' && !is_escaped;
        if let Some(part) = parts.last_mut() {
            part.push(byte);
        }
    }
    parts
}

/// `text` without its backslashes but for those that are escaped themselves.
fn plain(text: &[u8]) -> Vec<u8> {
    let mut is_escaped = false;
    let mut text = text.to_vec();
    text.retain(|&byte| {
        is_escaped = byte == b'\\' && !is_escaped;
        !is_escaped
    });
    text
}

impl Mount {
    /// What it was mounted from, if that is a path.
    pub(super) fn source_path(&self) -> Option<&Path> {
        let path = Path::new(&self.source);
        path.is_absolute().then_some(path)
    }

    /// Its source, for people.
    pub(super) fn source_text(&self) -> String {
        String::from_utf8_lossy(OsStr::as_bytes(&self.source)).into_owned()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
