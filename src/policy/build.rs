//! Whether this is a production or a developer image.

/// What kind of machine decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// Ordinary.
    Official,
    /// A developer's (`/root/.dev_mode` exists): no backoff.
    Development,
}
