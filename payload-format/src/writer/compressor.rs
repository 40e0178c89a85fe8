//! The compressor of one chunk, as small as the chosen formats make it.

use std::io::{self, Write as _};

use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
use liblzma::write::XzEncoder;
use zstd::bulk::Compressor;

use crate::apply::Compression;
use crate::bzip::bzip;
use crate::wire;

/// The level of zstd beyond which it only takes more memory on chunks of this size.
const ZSTD_LEVEL: i32 = 19;

/// The presets of xz differ in the size of the dictionary, which is a chunk's here, and in effort.
const XZ_PRESET: u32 = 9;

/// An operation's type, and its data.
pub(super) type CompressedData = (i32, Vec<u8>);

/// The smallest form of a chunk; the first one named, of two that are equal. Uncompressed data
/// counts.
pub(super) fn smallest(chunk: Vec<u8>, compressions: &[Compression]) -> io::Result<CompressedData> {
    let mut smallest: Option<CompressedData> = None;
    for compression in compressions {
        let packed = compress(&chunk, *compression)?;
        let limit = smallest.as_ref().map_or(chunk.len(), |(_, data)| data.len());
        if packed.1.len() < limit {
            smallest = Some(packed);
        }
    }
    Ok(smallest.unwrap_or((wire::REPLACE, chunk)))
}

fn compress(chunk: &[u8], compression: Compression) -> io::Result<CompressedData> {
    Ok(match compression {
        Compression::Bzip2 => (wire::REPLACE_BZ, bzip(chunk)?),
        Compression::Xz => (wire::REPLACE_XZ, xz(chunk)?),
        Compression::Zstd => {
            // Knowing the length, it makes the window no larger than that.
            let data = Compressor::new(ZSTD_LEVEL)?.compress(chunk)?;
            (wire::REPLACE_ZSTD, data)
        }
    })
}

/// With CRC-32, the one check that small decoders have.
fn xz(chunk: &[u8]) -> io::Result<Vec<u8>> {
    let mut options = LzmaOptions::new_preset(XZ_PRESET)?;
    // A chunk's length, as far as decoders go along.
    let dictionary = chunk.len().next_power_of_two().clamp(1 << 20, 1 << 23);
    options.dict_size(u32::try_from(dictionary).unwrap_or(1 << 23));
    let stream = Stream::new_stream_encoder(Filters::new().lzma2(&options), Check::Crc32)?;
    let mut encoder = XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(chunk)?;
    encoder.finish()
}
