//! Error codes that servers and their dashboards know.

use std::fmt;

/// Why an attempt ended, in the numbers of the Omaha dialect. The base code; [`Flags`] say under
/// which circumstances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorCode {
    /// 1: none of the others, the kernel's copy to the boot partition among them.
    Error,
    /// 2: the request could not be made.
    OmahaRequest,
    /// 3: the answer could not be turned into a plan.
    ResponseHandler,
    /// 4: blocks of the running slot could not be copied.
    FilesystemCopier,
    /// 5: the new image's postinst failed.
    Postinstall,
    /// 7: the slot to write could not be opened.
    InstallDeviceOpen,
    /// 8: the kernel file to write could not be opened.
    KernelDeviceOpen,
    /// 9: the payload could not be fetched.
    DownloadTransfer,
    /// 10: the payload is not the one that was offered.
    PayloadHashMismatch,
    /// 11: the payload is longer or shorter than offered.
    PayloadSizeMismatch,
    /// 12: the payload's signature could not be checked.
    PayloadVerification,
    /// 13: the manifest says nothing usable about the new image.
    NewPartitionInfo,
    /// 14: the slot could not be written.
    DownloadWrite,
    /// 15: the slot, read back, is not the new image.
    NewRootfsVerification,
    /// 16: the kernel, read back, is not the new one.
    NewKernelVerification,
    /// 17: the payload carries no signature.
    SignedPayloadExpected,
    /// 18: no trusted key made the payload's signature.
    PublicKeyVerification,
    /// 19: the postinst asked for a reboot although it failed (its exit code 3).
    BootedFromFirmwareB,
    /// 20: the running slot is not the one that a delta starts from, or the decoder could not
    /// start.
    DownloadStateInitialization,
    /// 21: not a payload.
    InvalidMagic,
    /// 22: the manifest names no signature.
    SignatureMissing,
    /// 23: the manifest makes no sense.
    ManifestParse,
    /// 24: the metadata's signature could not be read.
    MetadataSignature,
    /// 25: the metadata's signature could not be checked.
    MetadataSignatureVerification,
    /// 26: no trusted key made the metadata's signature.
    MetadataSignatureMismatch,
    /// 27: an operation's hash could not be computed.
    OperationHashVerification,
    /// 28: an operation could not be carried out.
    OperationExecution,
    /// 29: an operation's data is not what the manifest says.
    OperationHashMismatch,
    /// 30: the answer to a check has no body.
    EmptyResponse,
    /// 31: the answer to a check is no XML.
    XmlParse,
    /// 32: the metadata's size is not the one that was offered.
    InvalidMetadataSize,
    /// 33: the offered metadata signature is no signature.
    InvalidMetadataSignature,
    /// 34: the answer to a check is no answer, or the server refused one.
    ResponseInvalid,
    /// 35: the offer is not wanted here, such as a payload that was rolled back.
    IgnoredPerPolicy,
    /// 36: not now, such as while the running slot is on trial.
    DeferredPerPolicy,
    /// 38: an operation's data comes without a hash.
    OperationHashMissing,
    /// 39: a metadata signature was due and is missing.
    MetadataSignatureMissing,
    /// 40: this payload failed before; the next try is later.
    DeferredForBackoff,
    /// 41: a factory reset could not be prepared.
    Powerwash,
    /// 42: the PCR policy, read back, is not the new one.
    PcrVerification,
    /// 43: the PCR policy could not be posted.
    PcrPost,
    /// 44: the last update was rolled back.
    Rollback,
    /// 2000 and above: the check's HTTP status.
    Http(HttpStatus),
}

/// What came back from the server in place of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HttpStatus {
    /// No HTTP answer at all.
    None,
    /// Three digits.
    Status(u16),
}

impl HttpStatus {
    /// 0 for no answer; a status that is none becomes 999.
    fn number(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Status(status @ 0..1000) => u32::from(status),
            Self::Status(_) => 999,
        }
    }
}

impl ErrorCode {
    /// The number without flags.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Error => 1,
            Self::OmahaRequest => 2,
            Self::ResponseHandler => 3,
            Self::FilesystemCopier => 4,
            Self::Postinstall => 5,
            Self::InstallDeviceOpen => 7,
            Self::KernelDeviceOpen => 8,
            Self::DownloadTransfer => 9,
            Self::PayloadHashMismatch => 10,
            Self::PayloadSizeMismatch => 11,
            Self::PayloadVerification => 12,
            Self::NewPartitionInfo => 13,
            Self::DownloadWrite => 14,
            Self::NewRootfsVerification => 15,
            Self::NewKernelVerification => 16,
            Self::SignedPayloadExpected => 17,
            Self::PublicKeyVerification => 18,
            Self::BootedFromFirmwareB => 19,
            Self::DownloadStateInitialization => 20,
            Self::InvalidMagic => 21,
            Self::SignatureMissing => 22,
            Self::ManifestParse => 23,
            Self::MetadataSignature => 24,
            Self::MetadataSignatureVerification => 25,
            Self::MetadataSignatureMismatch => 26,
            Self::OperationHashVerification => 27,
            Self::OperationExecution => 28,
            Self::OperationHashMismatch => 29,
            Self::EmptyResponse => 30,
            Self::XmlParse => 31,
            Self::InvalidMetadataSize => 32,
            Self::InvalidMetadataSignature => 33,
            Self::ResponseInvalid => 34,
            Self::IgnoredPerPolicy => 35,
            Self::DeferredPerPolicy => 36,
            Self::OperationHashMissing => 38,
            Self::MetadataSignatureMissing => 39,
            Self::DeferredForBackoff => 40,
            Self::Powerwash => 41,
            Self::PcrVerification => 42,
            Self::PcrPost => 43,
            Self::Rollback => 44,
            Self::Http(status) => 2000 + status.number(),
        }
    }

    /// Whether the attempt was put off rather than failed: events then carry result 9, not 0.
    #[must_use]
    pub const fn is_deferral(self) -> bool {
        matches!(
            self,
            Self::IgnoredPerPolicy | Self::DeferredPerPolicy | Self::DeferredForBackoff
        )
    }

    /// Whether it is the fault of the payload: it is not what was offered, makes no sense, or no trusted
    /// key has signed it.
    #[must_use]
    pub const fn is_fault_of_payload(self) -> bool {
        matches!(
            self,
            Self::PayloadHashMismatch
                | Self::PayloadSizeMismatch
                | Self::PayloadVerification
                | Self::NewPartitionInfo
                | Self::SignedPayloadExpected
                | Self::PublicKeyVerification
                | Self::InvalidMagic
                | Self::SignatureMissing
                | Self::ManifestParse
                | Self::MetadataSignature
                | Self::MetadataSignatureVerification
                | Self::MetadataSignatureMismatch
                | Self::OperationExecution
                | Self::OperationHashMismatch
                | Self::InvalidMetadataSize
                | Self::InvalidMetadataSignature
                | Self::OperationHashMissing
                | Self::MetadataSignatureMissing
        )
    }

    /// The code with its circumstances, as events carry it.
    #[must_use]
    pub const fn with(self, flags: Flags) -> ReportedCode {
        ReportedCode { code: self, flags }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

/// Circumstances of a failure, as bits above the code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u32);

impl Flags {
    /// Nothing particular.
    pub const NONE: Self = Self(0);
    /// Bit 28: the server is not the public one.
    pub const PRIVATE_SERVER: Self = Self(1 << 28);
    /// Bit 29: a developer's machine.
    pub const DEV_IMAGE: Self = Self(1 << 29);
    /// Bit 30: the attempt continued an earlier one.
    pub const RESUMED: Self = Self(1 << 30);
}

impl std::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

/// A code together with its flags. Displays as the number that events carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReportedCode {
    /// The error, without flags.
    pub code: ErrorCode,
    /// The flags that tell about this node, as the original sends them.
    pub flags: Flags,
}

impl fmt::Display for ReportedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Bit 31 is never set: signed and unsigned readers see the same number.
        write!(f, "{}", self.code.number() | self.flags.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reported_numbers_are_those_that_the_original_sent() {
        let private = Flags::PRIVATE_SERVER;
        let cases = [
            (ErrorCode::ResponseInvalid, private, "268435490"),
            (ErrorCode::XmlParse, private, "268435487"),
            (ErrorCode::EmptyResponse, private, "268435486"),
            (ErrorCode::Http(HttpStatus::Status(500)), private, "268437956"),
            (ErrorCode::Http(HttpStatus::None), private, "268437456"),
            (ErrorCode::PayloadHashMismatch, private, "268435466"),
            (ErrorCode::BootedFromFirmwareB, private, "268435475"),
            (ErrorCode::Postinstall, private | Flags::RESUMED, "1342177285"),
            (ErrorCode::Rollback, Flags::NONE, "44"),
        ];
        for (code, flags, number) in cases {
            assert_eq!(code.with(flags).to_string(), number, "{code:?}");
        }
    }

    #[test]
    fn a_status_of_four_digits_is_reported_as_999() {
        assert_eq!(ErrorCode::Http(HttpStatus::Status(1000)).number(), 2999);
    }
}
