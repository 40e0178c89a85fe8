//! The `MESSAGE_ID`s of notable events. They outlive every change of wording.

use std::fmt::Write as _;

/// Something that an alert may wait for. Its identifier never changes its meaning, and is never
/// used again for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageId {
    /// The other slot holds an update and boots next.
    Installed,
    /// The other slot holds an update and doesn't boot before it is activated.
    Staged,
    /// An attempt failed after an offer had been taken.
    Failed,
    /// A payload is not what was offered, or not signed by a trusted key.
    PayloadRefused,
    /// A check failed.
    CheckFailed,
    /// An offer is not taken now: backoff, a rollback before, a slot on trial, configuration.
    Deferred,
    /// A version was left again.
    RolledBack,
    /// The running slot is good from now on.
    MarkedGood,
    /// The running slot was not healthy in time.
    DeadlinePassed,
    /// A copy of the partition table was damaged, or differed from the other one; it isn't any
    /// more.
    TableRepaired,
    /// This node holds the reboot lock, or needs none, and prepares its reboot.
    RebootLockTaken,
    /// The reboot lock was given back.
    RebootLockReleased,
    /// The reboot lock is kept after a rollback.
    RebootLockKept,
    /// logind was asked to reboot.
    RebootOrdered,
    /// A reboot is not wanted any more.
    RebootCalledOff,
    /// What the version before had is gone, by the image's doing.
    Lost,
    /// Something is worse than before the update, and perhaps meant.
    WorseThanBefore,
}

impl MessageId {
    const ALL: [Self; 17] = [
        Self::Installed,
        Self::Staged,
        Self::Failed,
        Self::PayloadRefused,
        Self::CheckFailed,
        Self::Deferred,
        Self::RolledBack,
        Self::MarkedGood,
        Self::DeadlinePassed,
        Self::TableRepaired,
        Self::RebootLockTaken,
        Self::RebootLockReleased,
        Self::RebootLockKept,
        Self::RebootOrdered,
        Self::RebootCalledOff,
        Self::Lost,
        Self::WorseThanBefore,
    ];

    /// The value of `MESSAGE_ID`: 32 hexadecimal digits in lower case.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Installed => "03565a79a9fe4fc9ae4a27f53e47e96d",
            Self::Staged => "7d3f0c52b1e84a6f9c20d5a8e41b6730",
            Self::Failed => "6bc48167aafd46a18002773e16965dd1",
            Self::PayloadRefused => "d93aee2f29414e569bb13b2518339005",
            Self::CheckFailed => "405f49730b3d4beba4a6d2934f268687",
            Self::Deferred => "58ef86cb2906400b8c1425c481f220d5",
            Self::RolledBack => "6a1c21af108c447b8e4c019e94679ac5",
            Self::MarkedGood => "b83d623bdb08422f96cbf95dba84db8a",
            Self::DeadlinePassed => "6b3a5cc8c37b482ea97c9b44a48e2d1d",
            Self::TableRepaired => "4bee69d1f4d749e8907e16575c418670",
            Self::RebootLockTaken => "91e6c48f5c81440ca25241a5084ab7bc",
            Self::RebootLockReleased => "21342e9d3f38461a8e60baaea62c0e26",
            Self::RebootLockKept => "33e50d4e7b7841ec964c599814294d9a",
            Self::RebootOrdered => "b1f416983e8c4d20afc9e50032606619",
            Self::RebootCalledOff => "130c5525de7a4d0286d40bb1ac1566a7",
            Self::Lost => "14ebb242a21b4e0f89c1598fa94cf851",
            Self::WorseThanBefore => "3219f64cd1c04058929a91986bdcb782",
        }
    }

    /// For people.
    const fn meaning(self) -> &'static str {
        match self {
            Self::Installed => "an update is installed and waits for the reboot",
            Self::Staged => "an update is staged: it doesn't boot before it is activated",
            Self::Failed => "an update failed after it had been offered and taken",
            Self::PayloadRefused => {
                "a payload was refused: it is not what was offered, or no trusted key has signed it"
            }
            Self::CheckFailed => "a check for updates failed",
            Self::Deferred => {
                "an offer is not taken now: put off after failures, rolled back from before, the running slot on trial, or updates are switched off"
            }
            Self::RolledBack => "the node has left a version for the one before",
            Self::MarkedGood => "the running slot was marked good",
            Self::DeadlinePassed => {
                "the running slot was not healthy by its deadline; it is left if the other one boots"
            }
            Self::TableRepaired => {
                "a copy of the partition table was damaged or differed from the other, and was written anew"
            }
            Self::RebootLockTaken => {
                "this node holds the reboot lock and prepares its reboot (of `update_reboot_manager`, as those below)"
            }
            Self::RebootLockReleased => "the reboot lock was given back",
            Self::RebootLockKept => {
                "the reboot lock is kept after a rollback, so that other nodes stay on what works"
            }
            Self::RebootOrdered => "logind was asked to reboot the node",
            Self::RebootCalledOff => {
                "a reboot was called off: nothing waits for it any more, or the node came back without it"
            }
            Self::Lost => {
                "an extension or a unit that was well before the update is lost, by the image's doing; the slot is left if the other one boots"
            }
            Self::WorseThanBefore => {
                "something is worse than before the update, and the slot is kept: a unit has failed or is gone, or the default route"
            }
        }
    }

    /// The fields that come with it, beside those of the attempt under way.
    const fn fields(self) -> &'static str {
        match self {
            Self::Installed | Self::Staged | Self::RebootLockTaken | Self::RebootOrdered => {
                "`UPDATE_VERSION`, `UPDATE_SLOT`"
            }
            Self::Failed | Self::PayloadRefused | Self::CheckFailed | Self::Deferred => "`UPDATE_CODE`",
            Self::Lost | Self::WorseThanBefore => "`UPDATE_VERSION`",
            Self::RolledBack | Self::RebootLockKept => "`UPDATE_VERSION`: the version that was left",
            Self::MarkedGood | Self::DeadlinePassed => "`UPDATE_SLOT`",
            Self::TableRepaired | Self::RebootLockReleased | Self::RebootCalledOff => "",
        }
    }
}

/// One Markdown table, for `docs/monitoring.md`.
#[must_use]
pub fn reference() -> String {
    let mut text = "| `MESSAGE_ID` | says that | with |\n|---|---|---|".to_owned();
    for message_id in MessageId::ALL {
        let (id, meaning, fields) = (message_id.id(), message_id.meaning(), message_id.fields());
        // Writing to a string can't fail.
        let _ = write!(text, "\n| `{id}` | {meaning} | {fields} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_has_an_identifier_of_its_own_that_journald_takes() {
        let ids: BTreeSet<&str> = MessageId::ALL.map(MessageId::id).into();
        assert_eq!(ids.len(), MessageId::ALL.len());
        for id in ids {
            let is_digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
            assert!(id.len() == 32 && id.chars().all(is_digit), "{id}");
        }
    }
}
