//! What servers are told about a failed installation: one match per error, in the original's codes.
//!
//! Causes that the original told nothing about get the nearest code: a running slot on trial defers the
//! offer, a table that can't be edited counts as a slot that can't be opened.

use payload_format::{FormatError, HeaderError, ImageKind, ManifestError, OperationError, SignatureError};

use crate::fetch::FetchError;
use crate::install::InstallError;
use crate::omaha::ErrorCode;

/// The code for `error`.
#[must_use]
pub fn code_of(error: &InstallError) -> ErrorCode {
    use ErrorCode as Code;
    use InstallError as E;
    match error {
        E::NoKeys | E::KeyFile { .. } | E::Keys(_) => Code::PublicKeyVerification,
        E::RunningNotGood { .. } => Code::DeferredPerPolicy,
        E::Open { .. } | E::MakeUnbootable { .. } => Code::InstallDeviceOpen,
        // Distributions' tests know the kernel's failure by this one.
        E::Kernel { .. } | E::Cancelled => Code::Error,
        E::Fetch(error) => of_fetch(error),
        E::Format(error) => of_format(error),
        E::Unsigned => Code::SignedPayloadExpected,
        E::WrongSource { .. } | E::SourceTooSmall { .. } | E::WrongSourceKernel { .. } | E::State(_) => {
            Code::DownloadStateInitialization
        }
        E::Apply(_) => Code::OperationExecution,
        E::Io { .. } => Code::DownloadWrite,
        E::PayloadHash { .. } => Code::PayloadHashMismatch,
        E::MetadataSignature(_) => Code::MetadataSignatureMismatch,
        E::Signature(error) => of_signature(error),
        E::SlotVerification { .. } => Code::NewRootfsVerification,
        E::FileVerification { image, .. } => of_file(*image),
        E::PcrPost { .. } => Code::PcrPost,
        E::Postinst(_) | E::Commit { .. } => Code::Postinstall,
    }
}

fn of_fetch(error: &FetchError) -> ErrorCode {
    match error {
        FetchError::WrongSize { .. } | FetchError::TooLong { .. } => ErrorCode::PayloadSizeMismatch,
        _ => ErrorCode::DownloadTransfer,
    }
}

fn of_format(error: &FormatError) -> ErrorCode {
    use ErrorCode as Code;
    use FormatError as E;
    match error {
        E::Header(HeaderError::Magic(_)) => Code::InvalidMagic,
        E::Header(HeaderError::Version(_)) | E::ManifestLength { .. } => Code::ManifestParse,
        E::Manifest(error) => of_manifest(error),
        E::MetadataSize { .. } => Code::InvalidMetadataSize,
        E::PayloadSize { .. } | E::Truncated { .. } | E::TrailingBytes(_) => Code::PayloadSizeMismatch,
        E::OperationHash { .. } => Code::OperationHashMismatch,
        E::Refused | E::Checkpoint | E::ForeignCheckpoint => Code::DownloadStateInitialization,
    }
}

fn of_manifest(error: &ManifestError) -> ErrorCode {
    match error {
        ManifestError::NoImageInfo(_) => ErrorCode::NewPartitionInfo,
        ManifestError::Operation { error, .. } => match error {
            OperationError::NoHash | OperationError::HashLength(_) => ErrorCode::OperationHashMissing,
            _ => ErrorCode::OperationExecution,
        },
        _ => ErrorCode::ManifestParse,
    }
}

fn of_signature(error: &SignatureError) -> ErrorCode {
    match error {
        SignatureError::Unsigned => ErrorCode::SignedPayloadExpected,
        _ => ErrorCode::PublicKeyVerification,
    }
}

fn of_file(image: ImageKind) -> ErrorCode {
    match image {
        ImageKind::Partition => ErrorCode::NewRootfsVerification,
        ImageKind::Kernel => ErrorCode::NewKernelVerification,
        ImageKind::PcrPolicy => ErrorCode::PcrVerification,
    }
}
