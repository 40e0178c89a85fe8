//! File servers that publish the extensions of a version, for packages that the node's own server
//! doesn't offer.

use super::release::Release;
use crate::host::{Host, Unreadable};

/// Default server of releases.
const PUBLIC: &str = "https://update.release.flatcar-linux.net";
const COMMAND_LINE: &str = "/proc/cmdline";
/// Key of the kernel's command line for a server in place of [`PUBLIC`].
const OF_RELEASES: &str = "flatcar.release_file_server_url";
/// Key of the kernel's command line for a server of developers' builds, which is asked last.
const OF_DEVELOPERS: &str = "flatcar.dev_file_server_url";

/// The servers, in the order in which they are asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FileServers(Vec<String>);

impl FileServers {
    /// The servers for `host`.
    ///
    /// # Errors
    /// If the kernel's command line can't be read: it may name a server that must not be passed
    /// over.
    pub(super) fn of(host: &Host) -> Result<Self, Unreadable> {
        let line = host.read(COMMAND_LINE)?.unwrap_or_default();
        Ok(Self::named(&String::from_utf8_lossy(&line)))
    }

    fn named(line: &str) -> Self {
        let releases = last(line, OF_RELEASES).unwrap_or(PUBLIC);
        let servers = [Some(releases), last(line, OF_DEVELOPERS)].into_iter().flatten();
        Self(servers.map(|url| url.trim_end_matches('/').to_owned()).collect())
    }

    /// URLs of `file` of `release`; none if its board isn't known.
    pub(super) fn urls<'a>(
        &'a self,
        release: &'a Release,
        file: &'a str,
    ) -> impl Iterator<Item = String> + 'a {
        let Release { board, version, .. } = release;
        let servers = self.0.iter().filter(|_| !board.is_empty());
        servers.map(move |server| format!("{server}/{board}/{version}/{file}"))
    }
}

/// Value of the last word that sets `key`, which is the one that counts.
fn last<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let words = line.split_ascii_whitespace().rev();
    let mut values = words.filter_map(|word| word.trim_matches('"').strip_prefix(key)?.strip_prefix('='));
    let value = values.next()?.trim_matches('"');
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_that_cannot_be_read_may_name_a_server() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let host = Host::new(root.path());
        assert!(FileServers::of(&host).is_ok_and(|servers| servers.0 == [PUBLIC]));
        std::fs::create_dir_all(host.path(COMMAND_LINE))?;
        assert!(FileServers::of(&host).is_err());
        Ok(())
    }

    #[test]
    fn servers_of_the_command_line_take_the_public_ones_place() {
        for (line, expected) in [
            ("quiet root=LABEL=ROOT\n", &[PUBLIC][..]),
            (
                "flatcar.release_file_server_url=http://own/files/ quiet",
                &["http://own/files"],
            ),
            ("flatcar.release_file_server_url=\"http://own\"", &["http://own"]),
            ("\"flatcar.release_file_server_url=http://own\"", &["http://own"]),
            // The last one counts, and an empty one is none.
            (
                "flatcar.release_file_server_url=http://a flatcar.release_file_server_url=http://b",
                &["http://b"],
            ),
            (
                "flatcar.release_file_server_url=http://a flatcar.release_file_server_url=",
                &[PUBLIC],
            ),
            ("flatcar.dev_file_server_url=http://dev", &[PUBLIC, "http://dev"]),
            (
                "flatcar.dev_file_server_url=http://dev flatcar.release_file_server_url=http://own",
                &["http://own", "http://dev"],
            ),
            // Others' words.
            (
                "flatcar.release_file_server_url_old=http://a x.flatcar.release_file_server_url=http://a",
                &[PUBLIC],
            ),
        ] {
            assert_eq!(FileServers::named(line).0, expected, "{line}");
        }
    }
}
