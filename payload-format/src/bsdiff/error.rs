//! Errors of patches.

use thiserror::Error;

/// Why a patch is refused.
#[derive(Debug, Error)]
pub enum PatchError {
    /// The first bytes are not the format's, or the header is cut off.
    #[error("it has no {0} header")]
    Header(&'static str),
    /// A part is compressed in a way that nobody here knows.
    #[error("its {stream} stream has unknown compression {number}")]
    Packing {
        /// The stream concerned.
        stream: Stream,
        /// Number of the compression in the header.
        number: u8,
    },
    /// A brotli stream that refers back farther than is remembered, or none at all.
    #[error("its {stream} stream is no brotli stream with a window of 4 MiB at most")]
    Window {
        /// The stream concerned.
        stream: Stream,
    },
    /// Negative, or past the patch's end.
    #[error("its {stream} stream has an impossible length")]
    StreamLength {
        /// The stream concerned.
        stream: Stream,
    },
    /// More of what says where the bytes go than is held in memory.
    #[error("its control stream has {len} bytes; at most {limit} are held in memory")]
    ControlLength {
        /// Length of the stream in bytes, decompressed.
        len: u64,
        /// The most bytes of it.
        limit: u64,
    },
    /// Negative length of the result.
    #[error("the length of its result is negative")]
    NegativeResult,
    /// The header's length is not the operation's.
    #[error("its result has {found} bytes instead of {expected}")]
    ResultLength {
        /// Length in the patch's header, in bytes.
        found: u64,
        /// Length that the operation has to write, in bytes.
        expected: u64,
    },
    /// A stream is damaged or ends early.
    #[error("its {stream} stream is damaged or ends early")]
    Damaged {
        /// The stream concerned.
        stream: Stream,
        /// What the decoder says.
        #[source]
        source: std::io::Error,
    },
    /// A negative count.
    #[error("it has a negative count at byte {at} of the result")]
    NegativeCount {
        /// Offset in the result, in bytes.
        at: u64,
    },
    /// Counts beyond the result's length.
    #[error("it yields more than the {len} bytes of its result")]
    TooLong {
        /// Length of the result in bytes.
        len: u64,
    },
    /// The old position leaves 64 bits.
    #[error("it seeks beyond all bounds at byte {at} of the result")]
    Seek {
        /// Offset in the result, in bytes.
        at: u64,
    },
    /// Steps that yield next to nothing.
    #[error("it has more than {limit} steps for a result of {len} bytes")]
    Steps {
        /// The most steps that a result of this length may take.
        limit: u64,
        /// Bytes of the result.
        len: u64,
    },
    /// The same of all patches together.
    #[error("the image's patches have too many steps for what they make")]
    Budget,
    /// Endless steps that yield nothing.
    #[error("it has too many steps that yield nothing")]
    Idle,
}

impl PatchError {
    /// A stream of which no more comes ends before it should.
    pub(crate) fn cut_off(stream: Stream) -> Self {
        Self::Damaged {
            stream,
            source: std::io::ErrorKind::UnexpectedEof.into(),
        }
    }
}

/// The three parts of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The triples.
    Control,
    /// Bytes to add.
    Diff,
    /// Bytes to insert.
    Extra,
}

impl std::fmt::Display for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Control => "control",
            Self::Diff => "diff",
            Self::Extra => "extra",
        })
    }
}
