//! `Reportable`: the code that the server is told for an error, in the original's numbers, and the
//! obstacle that the node's status shows. All implementations stand here.
//!
//! Causes that the original told nothing about get the nearest code: a running slot on trial defers
//! the offer, a table that can't be edited counts as a slot that can't be opened.

use std::error::Error;

use payload_format::{
    ApplyError, Fault, FormatError, HeaderError, ImageKind, ManifestError, OperationError, SignatureError,
};

use super::node::RememberError;
use crate::disk::DiskError;
use crate::extension::ExtensionError;
use crate::fetch::FetchError;
use crate::host::Unreadable;
use crate::image::WrongImage;
use crate::install::InstallError;
use crate::omaha::{ErrorCode, PostError, ResponseError};
use crate::payload::{ApplicationError, PayloadError, VerifyError};
use crate::policy::ExtensionsError;
use crate::status::Obstacle;
use crate::store::PrefsError;
use crate::store::record::RecordError;

/// An error that ends a check or an attempt.
pub trait Reportable: Error {
    /// The code for the server, without the flags that tell about this node.
    fn code(&self) -> ErrorCode;

    /// The kind of reason that it is for having no update.
    fn obstacle(&self) -> Obstacle {
        Obstacle::Failed
    }
}

/// The request could not be made: whom to ask, and as whom, is not known.
impl Reportable for Unreadable {
    fn code(&self) -> ErrorCode {
        ErrorCode::OmahaRequest
    }
}

impl Reportable for PostError {
    fn code(&self) -> ErrorCode {
        Self::code(self)
    }
}

impl Reportable for ResponseError {
    fn code(&self) -> ErrorCode {
        Self::code(self)
    }

    fn obstacle(&self) -> Obstacle {
        match self {
            Self::Refused { .. } => Obstacle::Refused,
            _ => Obstacle::Failed,
        }
    }
}

impl Reportable for ExtensionsError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Directory(_) => ErrorCode::Error,
            _ => ErrorCode::ResponseInvalid,
        }
    }
}

/// Without durable prefs the next check would tell the same news again; better to say so.
impl Reportable for PrefsError {
    fn code(&self) -> ErrorCode {
        ErrorCode::Error
    }
}

impl Reportable for RecordError {
    fn code(&self) -> ErrorCode {
        ErrorCode::Error
    }
}

impl Reportable for RememberError {
    fn code(&self) -> ErrorCode {
        ErrorCode::Error
    }
}

/// The slots can't be looked at.
impl Reportable for DiskError {
    fn code(&self) -> ErrorCode {
        ErrorCode::InstallDeviceOpen
    }
}

impl Reportable for InstallError {
    fn code(&self) -> ErrorCode {
        use ErrorCode as Code;
        use InstallError as E;
        match self {
            E::NoKeys | E::KeyFile { .. } | E::Keys(_) => Code::PublicKeyVerification,
            E::RunningNotGood { .. } => Code::DeferredPerPolicy,
            E::Blocked { .. } => Code::IgnoredPerPolicy,
            E::Open { .. } | E::MakeUnbootable { .. } | E::Target { .. } | E::NoTarget(_) | E::OwnDisk(_) => {
                Code::InstallDeviceOpen
            }
            // Distributions' tests know the kernel's failure by this one.
            E::Kernel { .. } | E::KernelDisk(_) | E::Staging { .. } | E::Cancelled => Code::Error,
            E::Encoded { source, .. } => source.code(),
            E::Fetch(error) => of_fetch(error),
            E::Format(error) => of_format(error),
            E::Unsigned => Code::SignedPayloadExpected,
            E::WrongSource { .. }
            | E::WrongSourcePartition { .. }
            | E::SourceTooSmall { .. }
            | E::WrongSourceKernel { .. }
            | E::ReadSource { .. }
            | E::State(_)
            | E::StateDirectory { .. }
            | E::StateFull { .. } => Code::DownloadStateInitialization,
            E::Apply(error) => of_apply(error),
            E::Io { .. } | E::Extensions(_) => Code::DownloadWrite,
            E::Extension { source, .. } | E::ExtensionsRoom(source) => of_extension(source),
            E::PayloadHash { .. } => Code::PayloadHashMismatch,
            E::MetadataUnsigned | E::MetadataSignature(SignatureError::Unsigned) => {
                Code::MetadataSignatureMissing
            }
            E::MetadataSignature(_) => Code::MetadataSignatureMismatch,
            E::Signature(error) => of_signature(error),
            E::SlotVerification { .. } => Code::NewRootfsVerification,
            E::FileVerification { image, .. } => of_file(*image),
            E::WrongImage(error) => of_wrong_image(error),
            E::PcrPost { .. } => Code::PcrPost,
            E::Postinst(_) | E::Commit { .. } | E::NotUnbootable { .. } | E::ExtensionsLost(_) => {
                Code::Postinstall
            }
        }
    }

    fn obstacle(&self) -> Obstacle {
        match self {
            Self::Blocked { .. } => Obstacle::RolledBack,
            _ => Obstacle::Failed,
        }
    }
}

/// Nothing was wrong with how it came: it should not have been offered.
fn of_wrong_image(error: &WrongImage) -> ErrorCode {
    match error {
        WrongImage::Architecture { .. } | WrongImage::Board { .. } => ErrorCode::NewPartitionInfo,
        WrongImage::KernelArchitecture { .. } | WrongImage::RootHash { .. } => {
            ErrorCode::NewKernelVerification
        }
    }
}

fn of_fetch(error: &FetchError) -> ErrorCode {
    match error {
        FetchError::WrongSize { .. } | FetchError::TooLong { .. } => ErrorCode::PayloadSizeMismatch,
        FetchError::Encoded { source, .. } | FetchError::WebPage { source, .. } => of_fetch(source),
        _ => ErrorCode::DownloadTransfer,
    }
}

fn of_format(error: &FormatError) -> ErrorCode {
    use ErrorCode as Code;
    use FormatError as E;
    match error {
        E::Header(HeaderError::Magic(_)) => Code::InvalidMagic,
        E::Header(HeaderError::Version(_)) | E::ManifestLength { .. } | E::MetadataSignatureLength(_) => {
            Code::ManifestParse
        }
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

/// A medium that fails is not the payload's fault.
fn of_apply(error: &ApplyError) -> ErrorCode {
    match error.fault() {
        Some(Fault::Write { .. }) => ErrorCode::DownloadWrite,
        Some(Fault::SourceHash { .. } | Fault::ReadOld { .. }) => ErrorCode::DownloadStateInitialization,
        _ => ErrorCode::OperationExecution,
    }
}

fn of_signature(error: &SignatureError) -> ErrorCode {
    match error {
        SignatureError::Unsigned => ErrorCode::SignedPayloadExpected,
        _ => ErrorCode::PublicKeyVerification,
    }
}

/// The codes of the payload's own failures: servers know no others.
fn of_extension(error: &ExtensionError) -> ErrorCode {
    use ErrorCode as Code;
    use ExtensionError as E;
    match error {
        E::Fetch { source, .. } => of_fetch(source),
        E::Size { .. } | E::Nowhere => Code::DownloadTransfer,
        E::Hash { .. } => Code::PayloadHashMismatch,
        E::Encoded { source, .. } => of_extension(source),
        E::Key(_) => Code::PublicKeyVerification,
        E::Payload(error) => of_payload_file(error),
        E::Apply { source, .. } => of_application(source),
        E::Full { .. } | E::Keep { .. } => Code::DownloadWrite,
    }
}

fn of_payload_file(error: &PayloadError) -> ErrorCode {
    match error {
        PayloadError::Read { .. } => ErrorCode::DownloadWrite,
        PayloadError::Packed { .. } => ErrorCode::InvalidMagic,
        PayloadError::Format { source, .. } => of_format(source),
    }
}

fn of_application(error: &ApplicationError) -> ErrorCode {
    use ApplicationError as E;
    use ErrorCode as Code;
    match error {
        E::Verify(VerifyError::Payload(error)) => of_payload_file(error),
        E::Verify(VerifyError::Signature { source, .. }) => of_signature(source),
        E::NoImage(_) => Code::NewPartitionInfo,
        E::NoSource(_) | E::Mismatch { .. } | E::InPlace { .. } | E::Content { .. } => {
            Code::OperationExecution
        }
        E::Operation { source, .. } => of_apply(source),
        E::Read { .. } | E::Write { .. } | E::Changed { .. } => Code::DownloadWrite,
    }
}

fn of_file(image: ImageKind) -> ErrorCode {
    match image {
        ImageKind::Slot | ImageKind::ExtraPartition(_) => ErrorCode::NewRootfsVerification,
        ImageKind::Kernel => ErrorCode::NewKernelVerification,
        ImageKind::PcrPolicy => ErrorCode::PcrVerification,
    }
}

#[cfg(test)]
mod tests {
    use payload_format::{BlockRange, Sha256Digest};

    use super::*;

    #[test]
    fn causes_have_the_codes_that_servers_know() {
        let url = || "http://server/update.gz".to_owned();
        let sha256 = || Sha256Digest::of(b"");
        let fetch = |error| InstallError::Fetch(error);
        let format = |error| InstallError::Format(error);
        let cases = [
            (InstallError::NoKeys, 18),
            (InstallError::Signature(SignatureError::Mismatch { keys: 1 }), 18),
            (InstallError::Signature(SignatureError::Unsigned), 17),
            (InstallError::Unsigned, 17),
            (
                fetch(FetchError::Status {
                    url: url(),
                    status: 404,
                }),
                9,
            ),
            (
                fetch(FetchError::TooLong {
                    url: url(),
                    offered: 1,
                }),
                11,
            ),
            (format(FormatError::Header(HeaderError::Magic(*b"PK34"))), 21),
            (format(FormatError::Header(HeaderError::Version(3))), 23),
            (format(FormatError::Manifest(ManifestError::Broken(7))), 23),
            (format(FormatError::MetadataSize { found: 1, offered: 2 }), 32),
            (format(FormatError::TrailingBytes(9)), 11),
            (format(FormatError::ForeignCheckpoint), 20),
            (
                InstallError::PayloadHash {
                    expected: sha256(),
                    found: sha256(),
                },
                10,
            ),
            (
                InstallError::ReadSource {
                    what: "USR-A".to_owned(),
                    source: std::io::Error::other("no medium"),
                },
                20,
            ),
            (InstallError::Cancelled, 1),
        ];
        for (error, code) in cases {
            assert_eq!(error.code().number(), code, "{error}");
        }
    }

    #[test]
    fn a_medium_that_fails_is_not_the_payloads_fault() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let copying = |fault| {
            let blocks = BlockRange::new(0, 1).unwrap();
            InstallError::Apply(ApplyError::Copy { blocks, fault }).code()
        };
        let (offset, source) = (0, full());
        assert_eq!(copying(Fault::Write { offset, source }).number(), 14);
        let source = full();
        assert_eq!(copying(Fault::ReadOld { offset, source }).number(), 20);
    }

    #[test]
    fn metadata_without_a_signature_is_another_cause_than_with_a_wrong_one() {
        let refused = |error| InstallError::MetadataSignature(error).code().number();
        assert_eq!(refused(SignatureError::Unsigned), 39);
        assert_eq!(refused(SignatureError::Mismatch { keys: 1 }), 26);
    }

    #[test]
    fn an_operation_whose_source_is_another_has_the_code_of_a_delta_for_another_image() {
        let fault = Fault::SourceHash {
            found: Sha256Digest::of(b"found"),
            expected: Sha256Digest::of(b"expected"),
        };
        let error = ApplyError::Operation {
            op: payload_format::OpId::FIRST,
            fault,
        };
        assert_eq!(InstallError::Apply(error).code().number(), 20);
    }
}
