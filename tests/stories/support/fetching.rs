//! Downloads by the library alone.

use update_engine::fetch::{FetchError, FetchRequest, PayloadStream};

/// All of the `size` bytes at `url`, which nobody has any of yet.
pub fn request(url: impl Into<String>, size: u64) -> FetchRequest {
    FetchRequest {
        url: url.into(),
        fallbacks: Vec::new(),
        start: 0,
        entity: None,
        size,
        credentials: None,
    }
}

/// What comes, to its end.
pub async fn read(mut stream: PayloadStream) -> Result<Vec<u8>, FetchError> {
    let mut all = Vec::new();
    while let Some(bytes) = stream.next().await {
        all.extend_from_slice(&bytes?);
    }
    Ok(all)
}
