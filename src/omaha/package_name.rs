//! Names of packages, as servers give them.
//!
//! A server that hosts a file calls it what it likes: Nebraska makes
//! `extrafile-amd64-4081.2.0-oem-azure.gz` of `oem-azure.gz`, and others put it into a directory.
//! The original's tools look for `*oem-azure.gz`: a file is known by the end of its name.

/// Bytes of a path that is asked for, at most.
const LONGEST_PATH: usize = 1024;

/// Bytes of a file's name at most.
pub(super) const LONGEST_NAME: usize = 128;

/// What Nebraska puts before the names of files that it hosts, with architecture and version behind
/// it.
const HOSTED: &str = "extrafile-";

/// How a package's name is that of the file that is looked for, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameMatch {
    /// It is no other.
    Whole,
    /// It is the last part of it, behind `-`, `_`, `/` or the like.
    LastPart,
    /// It ends like it, within a word.
    End,
}

impl NameMatch {
    /// Of a package and a file that is looked for, if it is one.
    #[must_use]
    pub fn of(package: &str, file: &str) -> Option<Self> {
        let before = package.strip_suffix(file)?;
        Some(match before.chars().next_back() {
            None => Self::Whole,
            Some(c) if c.is_alphanumeric() => Self::End,
            Some(_) => Self::LastPart,
        })
    }
}

/// Where within a name a last part of it begins: `a`, `b.c` and `c` are those of `x-a`, `y/b.c` … .
pub fn last_parts(name: &str) -> impl Iterator<Item = &str> {
    let begins = name.char_indices().filter(|(_, c)| !c.is_alphanumeric());
    begins.filter_map(|(at, c)| name.get(at + c.len_utf8()..))
}

/// The name that a file of an offer of this version had before Nebraska hosted it.
#[must_use]
pub fn before_hosting<'a>(name: &'a str, version: &str) -> &'a str {
    let hosted = name.strip_prefix(HOSTED);
    let behind_version = hosted.and_then(|rest| rest.split_once(&format!("-{version}-")));
    match behind_version {
        Some((architecture, own)) if is_file_name(architecture) && !own.is_empty() => own,
        _ => name,
    }
}

/// Whether it can be a file's name as it is, and leads nowhere else.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(fits)
}

/// Whether it can be asked for below an offer's URL: a path that leads nowhere else.
pub(super) fn is_path(name: &str) -> bool {
    let fits = |c: char| !c.is_control() && !matches!(c, '?' | '#' | '\\');
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.');
    name.len() <= LONGEST_PATH && name.chars().all(fits) && name.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_name_tells_and_the_whole_name_best() {
        let of = |package| NameMatch::of(package, "oem-a.gz");
        assert_eq!(of("oem-a.gz"), Some(NameMatch::Whole));
        for name in ["extrafile-amd64-1.2.3-oem-a.gz", "dir/oem-a.gz", "x_oem-a.gz"] {
            assert_eq!(of(name), Some(NameMatch::LastPart), "{name}");
        }
        assert_eq!(of("xoem-a.gz"), Some(NameMatch::End));
        assert_eq!(of("oem-a.gz.sig"), None);
        assert!(NameMatch::Whole < NameMatch::LastPart && NameMatch::LastPart < NameMatch::End);
    }

    #[test]
    fn names_have_last_parts() {
        let parts: Vec<_> = last_parts("d/x-1.a").collect();
        assert_eq!(parts, ["x-1.a", "1.a", "a"]);
    }

    #[test]
    fn what_nebraska_adds_is_taken_off() {
        let own = |name| before_hosting(name, "4081.2.0+nightly");
        assert_eq!(own("extrafile-amd64-4081.2.0+nightly-oem-a"), "oem-a");
        assert_eq!(
            own("extrafile-arm64-4081.2.0+nightly-x-4081.2.0+nightly-y"),
            "x-4081.2.0+nightly-y"
        );
        for name in [
            "oem-a",
            "extrafile-amd64-4081.2.1-oem-a",
            "extrafile--4081.2.0+nightly-oem-a",
            "extrafile-amd64-4081.2.0+nightly-",
            "x-4081.2.0+nightly-oem-a",
        ] {
            assert_eq!(own(name), name);
        }
    }

    #[test]
    fn paths_lead_downwards() {
        for name in [
            "a",
            "dir/flatcar-<example>.gz",
            "a b & c",
            "extrafile-amd64-1+n-a.gz",
        ] {
            assert!(is_path(name), "{name}");
        }
        for name in [
            "", "/a", "a/", "a//b", "..", "a/../b", ".a", "a?b", "a#b", "a\\b", "a\nb",
        ] {
            assert!(!is_path(name), "{name}");
        }
        assert!(!is_path(&"a".repeat(LONGEST_PATH + 1)));
        assert!(
            is_file_name("oem-a_1.b") && !is_file_name("a/b") && !is_file_name(".a") && !is_file_name("")
        );
    }
}
