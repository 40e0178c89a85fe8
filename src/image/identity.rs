//! The node that an image is for, and whether it is this one.

use std::path::PathBuf;

use payload_format::Sha256Digest;

use super::{KernelHeader, OsRelease};

/// Why an image doesn't belong on this node, or its parts not together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrongImage {
    /// It is for another architecture.
    #[error("the new image is for {new}, this node runs {running}")]
    Architecture {
        /// The running image's, in systemd's words.
        running: String,
        /// The new one's.
        new: String,
    },
    /// It is for another board.
    #[error("the new image is for board {new}, this node runs that of {running}")]
    Board {
        /// The running image's.
        running: String,
        /// The new one's.
        new: String,
    },
    /// Its kernel is for another architecture.
    #[error("{} is a kernel for {new}, this node is {running}", kernel.display())]
    KernelArchitecture {
        /// The new kernel's file.
        kernel: PathBuf,
        /// This node's, in systemd's words.
        running: String,
        /// The machine that the kernel is for, in systemd's words.
        new: &'static str,
    },
    /// Its kernel is that of another `/usr`, and would not start this one.
    #[error(
        "{} belongs to another image: it insists on a /usr with the dm-verity root hash {embedded}, {slot} has {found}",
        kernel.display()
    )]
    RootHash {
        /// The new kernel's file.
        kernel: PathBuf,
        /// The root hash in it.
        embedded: Sha256Digest,
        /// Name of the slot.
        slot: String,
        /// The root hash of its hash tree.
        found: Sha256Digest,
    },
}

/// What an image says of the node that it is for. Each may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageIdentity {
    /// `ID`: the distribution.
    pub id: Option<String>,
    /// `ARCHITECTURE`, or that of the board, in systemd's words.
    pub architecture: Option<String>,
    /// Flatcar's board, such as `amd64-usr`.
    pub board: Option<String>,
}

impl ImageIdentity {
    /// What an image's `/usr/lib/os-release` and `/usr/share/flatcar/release` say. Flatcar names
    /// its board in both; `CoreOS` and the first Flatcars called the keys by the older name.
    #[must_use]
    pub fn of(os_release: &OsRelease, release: &OsRelease) -> Self {
        let first = |release: &OsRelease, keys: [&str; 2]| {
            let mut found = keys.iter().filter_map(|key| release.get(key));
            found.next().map(str::to_owned)
        };
        let board = first(os_release, ["FLATCAR_BOARD", "COREOS_BOARD"])
            .or_else(|| first(release, ["FLATCAR_RELEASE_BOARD", "COREOS_RELEASE_BOARD"]));
        let architecture = os_release.get("ARCHITECTURE").map(in_systemds_words);
        Self {
            id: os_release.get("ID").map(str::to_owned),
            architecture: architecture.or_else(|| board.as_deref().and_then(of_board).map(str::to_owned)),
            board,
        }
    }

    /// Whether the image that says this of itself may follow the one that says `running`.
    ///
    /// # Errors
    /// [`WrongImage::Architecture`] or [`WrongImage::Board`], where both name one and they differ.
    pub fn require_same_node(&self, running: &Self) -> Result<(), WrongImage> {
        if let Some((running, new)) = differ(running.architecture.as_ref(), self.architecture.as_ref()) {
            return Err(WrongImage::Architecture { running, new });
        }
        match differ(running.board.as_ref(), self.board.as_ref()) {
            Some((running, new)) => Err(WrongImage::Board { running, new }),
            None => Ok(()),
        }
    }

    /// A warning about an image of another distribution than `running`.
    #[must_use]
    pub fn other_distribution(&self, running: &Self) -> Option<String> {
        let (running, new) = differ(running.id.as_ref(), self.id.as_ref())?;
        Some(format!(
            "the new image is of another distribution: ID={new}, this node runs ID={running}"
        ))
    }
}

impl KernelHeader {
    /// Whether a kernel of this header, at `path`, starts on a node of the architecture `running`
    /// (in systemd's words).
    ///
    /// # Errors
    /// [`WrongImage::KernelArchitecture`]; not for kernels that don't say.
    pub fn require_architecture(&self, path: PathBuf, running: &str) -> Result<(), WrongImage> {
        // A 32-bit system's machine starts either.
        match self.architecture {
            Some(new) if new != running && !(new == "x86-64" && running == "x86") => {
                Err(WrongImage::KernelArchitecture {
                    kernel: path,
                    running: running.to_owned(),
                    new,
                })
            }
            _ => Ok(()),
        }
    }
}

fn differ(running: Option<&String>, new: Option<&String>) -> Option<(String, String)> {
    let both = running.cloned().zip(new.cloned());
    both.filter(|(running, new)| running != new)
}

/// An architecture that an image names by the kernel's or a distribution's word, in systemd's.
fn in_systemds_words(architecture: &str) -> String {
    match architecture {
        "x86_64" | "amd64" => "x86-64",
        "aarch64" => "arm64",
        other => other,
    }
    .to_owned()
}

/// The architecture of one of Flatcar's boards.
fn of_board(board: &str) -> Option<&'static str> {
    match board.split('-').next()? {
        "amd64" => Some("x86-64"),
        "arm64" => Some("arm64"),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// As Flatcar 4593.2.0 has it, cut to the lines that count here.
    const AMD64: &str = "NAME=\"Flatcar Container Linux by Kinvolk\"\nID=flatcar\nID_LIKE=coreos\n\
                         VERSION=4593.2.0\nVERSION_ID=4593.2.0\nSYSEXT_LEVEL=1.0\nFLATCAR_BOARD=\"amd64-usr\"\n";

    fn identity(os_release: &str, release: &str) -> ImageIdentity {
        let parse = |text: &str| OsRelease::parse(text.as_bytes(), None).unwrap();
        ImageIdentity::of(&parse(os_release), &parse(release))
    }

    #[test]
    fn an_image_for_another_board_or_architecture_is_wrong() {
        let running = identity(AMD64, "");
        let new = |from: &str, to: &str| identity(&AMD64.replace(from, to), "");
        assert_eq!(
            new("4593.2.0", "3139.2.0").require_same_node(&running),
            Ok(()),
            "a downgrade"
        );
        let arm64 = new("amd64-usr", "arm64-usr").require_same_node(&running);
        assert!(matches!(arm64, Err(WrongImage::Architecture { .. })), "{arm64:?}");
        let other = new("amd64-usr", "amd64-generic").require_same_node(&running);
        assert_eq!(
            other.unwrap_err().to_string(),
            "the new image is for board amd64-generic, this node runs that of amd64-usr"
        );
    }

    #[test]
    fn an_architecture_by_another_name_is_the_same() {
        let named = |word: &str| identity(&format!("ID=x\nARCHITECTURE={word}\n"), "");
        for word in ["x86-64", "x86_64", "amd64"] {
            assert_eq!(
                named(word).require_same_node(&identity(AMD64, "")),
                Ok(()),
                "{word}"
            );
        }
        assert!(named("aarch64").require_same_node(&identity(AMD64, "")).is_err());
    }

    #[test]
    fn what_either_does_not_say_is_no_mismatch() {
        let (flatcar, silent) = (identity(AMD64, ""), identity("NAME=x\n", ""));
        assert_eq!(silent.require_same_node(&flatcar), Ok(()));
        assert_eq!(flatcar.require_same_node(&silent), Ok(()));
        assert_eq!(silent.other_distribution(&flatcar), None);
    }

    #[test]
    fn the_board_is_also_found_where_older_images_have_it() {
        let old = identity("ID=coreos\nCOREOS_BOARD=\"amd64-usr\"\n", "");
        let released = identity("", "FLATCAR_RELEASE_BOARD=arm64-usr\n");
        assert_eq!(old.board.as_deref(), Some("amd64-usr"));
        assert_eq!(released.architecture.as_deref(), Some("arm64"));
        assert_eq!(old.require_same_node(&identity(AMD64, "")), Ok(()));
        assert_eq!(
            old.other_distribution(&identity(AMD64, "")).unwrap(),
            "the new image is of another distribution: ID=coreos, this node runs ID=flatcar"
        );
    }

    #[test]
    fn a_kernel_for_another_machine_is_wrong() {
        let kernel = |architecture| KernelHeader {
            architecture,
            root_hash: None,
        };
        let judge = |kernel: KernelHeader, running| kernel.require_architecture("vmlinuz-b".into(), running);
        assert_eq!(judge(kernel(None), "x86-64"), Ok(()));
        assert_eq!(judge(kernel(Some("x86-64")), "x86-64"), Ok(()));
        assert_eq!(judge(kernel(Some("x86-64")), "x86"), Ok(()));
        assert!(judge(kernel(Some("arm64")), "x86-64").is_err());
        assert!(judge(kernel(Some("x86-64")), "arm64").is_err());
    }
}
