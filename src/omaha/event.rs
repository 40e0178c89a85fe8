//! Events: what a server learns of an attempt's life.
//!
//! ```text
//!  check ──▶ 13/1 ──▶ download ──▶ 14/1 ──▶ verify, postinst ──▶ 3/1 ──▶ reboot ──▶ check with 3/2 "from version"
//!                         └────────── any failure: 3/0 code, put off: 3/9 code ───────┘   or 3/0 44: rolled back
//! ```
//!
//! Every check carries a 3/2 or 3/0 event; Nebraska resets a machine that it believes to be in
//! mid-update only because of it.

use std::fmt;

use super::code::{ErrorCode, ReportedCode};
use super::document::Escaped;

/// Something that happened during an attempt, sent in a request of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptEvent {
    /// 13/1: about to download.
    DownloadStarted,
    /// 14/1: the whole payload is here.
    DownloadFinished,
    /// 3/1: the other slot boots next.
    Complete,
    /// 3/0, or 3/9 if put off: the attempt ended.
    Failed(ReportedCode),
}

impl fmt::Display for AttemptEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, result, code) = match self {
            Self::DownloadStarted => (13, 1, None),
            Self::DownloadFinished => (14, 1, None),
            Self::Complete => (3, 1, None),
            Self::Failed(reported) if reported.code.is_deferral() => (3, 9, Some(reported)),
            Self::Failed(reported) => (3, 0, Some(reported)),
        };
        write!(f, r#"<event eventtype="{kind}" eventresult="{result}""#)?;
        if let Some(code) = code {
            write!(f, r#" errorcode="{code}""#)?;
        }
        f.write_str("></event>")
    }
}

/// What became of the last update, told with every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckEvent {
    /// Never asked before: 3/2 from `0.0.0.0`.
    FirstCheck,
    /// Nothing happened since the last check: 3/2 from an empty version.
    NothingNew,
    /// The first check after booting an update: 3/2 with the version before it.
    UpdatedFrom(String),
    /// An update was installed and runs, and nobody knows yet whether it stays: 3/1, as when it was
    /// installed. Told with a ping only.
    Installed,
    /// An update was installed and the old version still runs: 3/0 with code 44.
    RolledBack,
}

/// What the slots say of this boot, as far as the last update is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootOutcome {
    /// The slot that runs is the one that the last update went to.
    Updated,
    /// It is not, or there was none.
    Stayed,
    /// The update was tried and left, and no server knows it yet.
    RolledBack,
}

impl CheckEvent {
    /// Reads the pref `previous-version`, which the last successful update set to the version that
    /// ran then, and every check since has emptied. `current` is the version that runs now.
    ///
    /// The original takes a pref equal to `current` for a rollback. It is also so when an update
    /// was undone by hand before a reboot, or installed the same version again: the slots know
    /// better.
    #[must_use]
    pub fn from_pref(previous_version: Option<&str>, current: &str, boot: BootOutcome) -> Self {
        match (previous_version, boot) {
            (_, BootOutcome::RolledBack) => Self::RolledBack,
            (None, _) => Self::FirstCheck,
            (Some(""), _) => Self::NothingNew,
            (Some(previous), BootOutcome::Stayed) if previous == current => Self::NothingNew,
            (Some(previous), _) => Self::UpdatedFrom(previous.to_owned()),
        }
    }
}

impl fmt::Display for CheckEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let previous = match self {
            Self::FirstCheck => "0.0.0.0",
            Self::NothingNew => "",
            Self::UpdatedFrom(version) => version,
            Self::Installed => return AttemptEvent::Complete.fmt(f),
            Self::RolledBack => {
                let code = ErrorCode::Rollback;
                return write!(
                    f,
                    r#"<event eventtype="3" eventresult="0" errorcode="{code}"></event>"#
                );
            }
        };
        let previous = Escaped(previous);
        write!(
            f,
            r#"<event eventtype="3" eventresult="2" previousversion="{previous}"></event>"#
        )
    }
}
