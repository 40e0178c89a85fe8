//! A payload from an image.

use std::fs::File;
use std::io::{self, BufWriter, Read as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use payload_format::writer::{FullPayload, RsaSigner, SignError, Summary, WriteError};
use payload_format::{Compression, MajorVersion};

use super::output::Output;
use super::progress::Progress;

/// What a payload is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingredients {
    /// The image of the slot.
    pub image: PathBuf,
    /// The kernel that boots it.
    pub kernel: Option<PathBuf>,
    /// Major version of the format.
    pub version: MajorVersion,
    /// How chunks may be compressed: each gets its smallest form. None leaves all as they are.
    pub compressions: Vec<Compression>,
    /// Private keys (PEM), in the order of their signatures; none leaves the payload unsigned.
    pub private_keys: Vec<PathBuf>,
}

/// Why there is no payload.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// A file can't be opened or read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not a usable private key.
    #[error("cannot sign with {path}")]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        source: SignError,
    },
    /// The payload can't be put together.
    #[error("cannot make a payload of {path}")]
    Write {
        /// The image.
        path: PathBuf,
        /// Why.
        source: WriteError,
    },
    /// The payload's file can't be written.
    #[error("cannot write {path}")]
    Output {
        /// The payload.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Makes a full payload of `from` and puts it at `out`, which holds either what it held before or all of
/// the new payload. The data is spooled to an unnamed file in the same directory meanwhile.
///
/// # Errors
/// [`GenerateError`].
pub fn generate(from: &Ingredients, out: &Path) -> Result<Summary, GenerateError> {
    let signers = from
        .private_keys
        .iter()
        .map(|path| signer(path))
        .collect::<Result<Vec<_>, _>>()?;
    let (mut image, mut total) = open(&from.image)?;
    let mut kernel = from.kernel.as_deref().map(open).transpose()?;
    total += kernel.as_ref().map_or(0, |(_, len)| *len);
    let mut progress = Progress::new("compressing", total);

    let mut payload = FullPayload::new(&mut image)
        .with_format(from.version, &from.compressions)
        .with_threads(thread::available_parallelism().unwrap_or(NonZeroUsize::MIN));
    if let Some((kernel, _)) = &mut kernel {
        payload = payload.with_kernel(kernel);
    }
    for signer in &signers {
        payload = payload.with_signer(signer);
    }
    let failed = |source| GenerateError::Output {
        path: out.into(),
        source,
    };
    let output = Output::begin(out).map_err(failed)?;
    let mut spool = output.spool().map_err(failed)?;
    // The writer flushes it.
    let mut file = BufWriter::with_capacity(1 << 20, output.file());
    let written = payload.write(&mut spool, &mut file, &mut |done| progress.show(done));
    let summary = written.map_err(|source| GenerateError::Write {
        path: from.image.clone(),
        source,
    })?;
    drop(file);
    output.publish().map_err(failed)?;
    Ok(summary)
}

fn open(path: &Path) -> Result<(File, u64), GenerateError> {
    let read = |source| GenerateError::Read {
        path: path.into(),
        source,
    };
    let file = File::open(path).map_err(read)?;
    let len = file.metadata().map_err(read)?.len();
    Ok((file, len))
}

fn signer(path: &Path) -> Result<RsaSigner, GenerateError> {
    let mut pem = String::new();
    // Keys take a few KiB; whatever is longer isn't one.
    let read = File::open(path).and_then(|file| file.take(64 << 10).read_to_string(&mut pem));
    read.map_err(|source| GenerateError::Read {
        path: path.into(),
        source,
    })?;
    RsaSigner::from_pem(&pem).map_err(|source| GenerateError::Key {
        path: path.into(),
        source,
    })
}
