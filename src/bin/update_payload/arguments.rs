//! Command line of `update_payload`.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use payload_format::{Compression, MajorVersion, PartitionName, PatchKind};
use update_engine::serve::PackageName;

/// Makes, signs, shows, checks, applies and serves update payloads.
#[derive(Parser)]
#[command(name = "update_payload", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Inspect(Inspect),
    Verify(Verify),
    Apply(Apply),
    Generate(Generate),
    Hash(Hash),
    Attach(Attach),
    Serve(Serve),
}

/// Shows what a payload says of itself, unverified, and what every node refuses of it
#[derive(Args)]
pub(crate) struct Inspect {
    /// The payload
    pub(crate) file: PathBuf,
    /// As JSON, with every operation
    #[arg(long)]
    pub(crate) json: bool,
    /// Draws which blocks come from where, as SVG; of a content payload as text, too
    #[arg(long, value_name = "SVG")]
    pub(crate) map: Option<PathBuf>,
    /// Image whose content a node has that applies a content payload, for the map
    #[arg(long, value_name = "IMG", requires = "map")]
    pub(crate) source: Option<PathBuf>,
}

/// Checks that a payload is complete, unchanged, signed by a trusted key, and nothing that every node refuses
#[derive(Args)]
pub(crate) struct Verify {
    /// The payload
    pub(crate) file: PathBuf,
    /// Trusted RSA public key; may be given several times: one of them must have signed
    #[arg(long = "public-key", value_name = "PEM", required = true)]
    pub(crate) public_keys: Vec<PathBuf>,
}

/// Builds the image of a payload, verified first
#[derive(Args)]
pub(crate) struct Apply {
    /// The payload
    pub(crate) file: PathBuf,
    /// File or block device that becomes the new image
    #[arg(long, value_name = "IMG")]
    pub(crate) target: PathBuf,
    /// The old image, which deltas are built from
    #[arg(long, value_name = "IMG")]
    pub(crate) source: Option<PathBuf>,
    /// File that becomes the new kernel
    #[arg(long, value_name = "OUT")]
    pub(crate) kernel: Option<PathBuf>,
    /// The old kernel, likewise
    #[arg(long, value_name = "IN", requires = "kernel")]
    pub(crate) source_kernel: Option<PathBuf>,
    /// File or block device that becomes a partition beside the slot
    #[arg(long = "partition", value_name = "NAME=OUT", value_parser = partition)]
    pub(crate) extra_partitions: Vec<(PartitionName, PathBuf)>,
    /// The old one of that name, likewise
    #[arg(long = "source-partition", value_name = "NAME=IN", value_parser = partition, requires = "extra_partitions")]
    pub(crate) source_extra_partitions: Vec<(PartitionName, PathBuf)>,
    /// Trusted RSA public key; may be given several times: one of them must have signed
    #[arg(
        long = "public-key",
        value_name = "PEM",
        required_unless_present = "allow_unsigned"
    )]
    pub(crate) public_keys: Vec<PathBuf>,
    /// Takes a payload without signature, and without a public key any payload
    #[arg(long)]
    pub(crate) allow_unsigned: bool,
}

/// Makes a payload from an image: a full one, or a delta from an old image
#[derive(Args)]
pub(crate) struct Generate {
    /// Image of the slot
    #[arg(long, value_name = "IMG")]
    pub(crate) new_image: PathBuf,
    /// Kernel that boots it
    #[arg(long, value_name = "FILE")]
    pub(crate) new_kernel: Option<PathBuf>,
    /// A partition beside the slot, which nodes have a target for; in v2
    #[arg(long = "partition", value_name = "NAME=IMG", value_parser = partition)]
    pub(crate) extra_partitions: Vec<(PartitionName, PathBuf)>,
    /// Makes a delta for nodes that run this image, and exactly this
    #[arg(long, value_name = "IMG")]
    pub(crate) old_image: Option<PathBuf>,
    /// The kernel of these nodes; without it the new one is sent whole
    #[arg(long, value_name = "FILE", requires = "old_image", requires = "new_kernel")]
    pub(crate) old_kernel: Option<PathBuf>,
    /// A partition of these nodes; without it the new one is sent whole
    #[arg(long = "old-partition", value_name = "NAME=IMG", value_parser = partition, requires = "old_image")]
    pub(crate) old_extra_partitions: Vec<(PartitionName, PathBuf)>,
    /// Layout of the payload: v1 for every node, v2 for those that run this update engine
    #[arg(long, value_enum, default_value_t = Format::V1)]
    pub(crate) format: Format,
    /// How it may be compressed: of several, each piece takes the smallest [default: bzip2 in v1, zstd in v2, all in deltas]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) compression: Vec<Packing>,
    /// How a delta may patch what is similar: each piece takes the smallest [default: all]
    #[arg(long, value_enum, value_delimiter = ',', requires = "old_image")]
    pub(crate) patches: Vec<Patching>,
    /// Sends the image as its content, of which a node fetches what it doesn't have; in v2
    #[arg(long, conflicts_with = "old_image")]
    pub(crate) content: bool,
    /// Adds patches for nodes that run this image, by content; others take the same payload without them
    #[arg(long = "from", value_name = "IMG", requires = "content")]
    pub(crate) predecessors: Vec<PathBuf>,
    /// The image's os-release, which v2 tells nodes before they write anything [default: that of an ext2, ext3 or ext4 image]
    #[arg(long, value_name = "FILE")]
    pub(crate) os_release: Option<PathBuf>,
    /// RSA private key to sign with; of several, clients check the second one's signature
    #[arg(long = "private-key", value_name = "PEM")]
    pub(crate) private_keys: Vec<PathBuf>,
    /// Where the payload goes
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// Layouts of payloads
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Format {
    V1,
    V2,
}

/// Ways to compress
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Packing {
    Bzip2,
    Xz,
    Zstd,
    None,
}

/// Ways to patch
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Patching {
    /// BSDIFF40, as by bsdiff: `SOURCE_BSDIFF`
    Bsdiff,
    /// BSDF2, with brotli: `BROTLI_BSDIFF`
    Brotli,
    None,
}

impl Generate {
    pub(crate) fn patch_kinds(&self) -> Vec<PatchKind> {
        let named = |patching: &Patching| match patching {
            Patching::Bsdiff => Some(PatchKind::SourceBsdiff),
            Patching::Brotli => Some(PatchKind::BrotliBsdiff),
            Patching::None => None,
        };
        match self.patches.as_slice() {
            [] => vec![PatchKind::SourceBsdiff, PatchKind::BrotliBsdiff],
            patchings => patchings.iter().filter_map(named).collect(),
        }
    }

    pub(crate) fn version(&self) -> MajorVersion {
        match self.format {
            Format::V1 => MajorVersion::V1,
            Format::V2 => MajorVersion::V2,
        }
    }

    pub(crate) fn compressions(&self) -> Vec<Compression> {
        let named = |packing: &Packing| match packing {
            Packing::Bzip2 => Some(Compression::Bzip2),
            Packing::Xz => Some(Compression::Xz),
            Packing::Zstd => Some(Compression::Zstd),
            Packing::None => None,
        };
        match (self.compression.as_slice(), self.format) {
            ([], Format::V1) => vec![Compression::Bzip2],
            ([], Format::V2) if self.old_image.is_some() => {
                vec![Compression::Bzip2, Compression::Xz, Compression::Zstd]
            }
            ([], Format::V2) => vec![Compression::Zstd],
            (packings, _) => packings.iter().filter_map(named).collect(),
        }
    }
}

/// Prints what keys that are kept elsewhere must sign
#[derive(Args)]
pub(crate) struct Hash {
    /// The payload, without signatures
    pub(crate) file: PathBuf,
    /// Bytes of a signature, which are those of the key: 256 with RSA-2048, 512 with 4096; once for each key, in order
    #[arg(long = "signature-size", value_name = "BYTES", required = true)]
    pub(crate) sizes: Vec<usize>,
    /// Where the payload's digest goes, as 32 bytes
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Where the metadata's digest goes, likewise
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_out: Option<PathBuf>,
}

/// Puts signatures that were made elsewhere into a payload
#[derive(Args)]
pub(crate) struct Attach {
    /// The payload, without signatures
    pub(crate) file: PathBuf,
    /// A signature of the payload's digest; once for each key, in the order of `hash`
    #[arg(long = "signature", value_name = "FILE", required = true)]
    pub(crate) signatures: Vec<PathBuf>,
    /// A signature of the metadata's digest, which version 2 needs; likewise
    #[arg(long = "metadata-signature", value_name = "FILE")]
    pub(crate) metadata_signatures: Vec<PathBuf>,
    /// RSA public key of one who signed; once for each
    #[arg(long = "public-key", value_name = "PEM", required = true)]
    pub(crate) public_keys: Vec<PathBuf>,
    /// Where the signed payload goes
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// Serves an update to nodes whose SERVER= names this machine
#[derive(Args)]
pub(crate) struct Serve {
    /// The update
    #[arg(long, value_name = "FILE")]
    pub(crate) payload: PathBuf,
    /// Its version: nodes that run it are told that there is no update
    #[arg(long)]
    pub(crate) version: String,
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// A further file to offer with the update
    #[arg(long = "package", value_name = "NAME=FILE", value_parser = package)]
    pub(crate) packages: Vec<(PackageName, PathBuf)>,
    /// Offers the update also to nodes that run its version
    #[arg(long)]
    pub(crate) always: bool,
    /// Bytes per second for each download
    #[arg(long, value_name = "BYTES")]
    pub(crate) limit_rate: Option<NonZeroU64>,
}

fn package(argument: &str) -> Result<(PackageName, PathBuf), String> {
    let (name, path) = argument.split_once('=').ok_or("it must read NAME=FILE")?;
    Ok((name.parse().map_err(|error| format!("{error}"))?, path.into()))
}

fn partition(argument: &str) -> Result<(PartitionName, PathBuf), String> {
    let (name, path) = argument.split_once('=').ok_or("it must read NAME=FILE")?;
    let refused = "not the name of a partition beside the slot: 1 to 23 letters, digits, - and _";
    Ok((PartitionName::new(name).ok_or(refused)?, path.into()))
}
