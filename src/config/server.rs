//! The update server's address (`SERVER`).

/// The server of the public releases, asked unless `SERVER` says otherwise.
pub const PUBLIC_SERVER: &str = "https://public.update.flatcar-linux.net/v1/update/";

/// The setting `SERVER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerSetting {
    /// `SERVER=disabled`: no update is ever looked for, and the running slot is still marked good.
    Disabled,
    /// Any other value, verbatim: the URL that requests are posted to.
    At(String),
}

impl ServerSetting {
    pub(super) fn from_setting(value: &str) -> Self {
        match value {
            "disabled" => Self::Disabled,
            url => Self::At(url.to_owned()),
        }
    }

    /// Whether this is, letter by letter, the public server. Error codes reported from any other
    /// carry a flag that says so.
    #[must_use]
    pub fn is_public(&self) -> bool {
        matches!(self, Self::At(url) if url == PUBLIC_SERVER)
    }
}
