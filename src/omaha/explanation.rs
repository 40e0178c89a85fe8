//! Explanations of error codes, meaning and remedy: for `docs/errors.md` and `update_engine_client
//! why`.

use std::fmt::Write as _;

use super::ErrorCode as Code;
use super::HttpStatus;

/// The explanation of a code for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// The meaning: a sentence in Markdown.
    pub meaning: &'static str,
    /// The remedy: a sentence in Markdown.
    pub remedy: &'static str,
}

/// Every code, ascending; of HTTP's the one for no answer.
const ALL: [Code; 43] = [
    Code::Error,
    Code::OmahaRequest,
    Code::ResponseHandler,
    Code::FilesystemCopier,
    Code::Postinstall,
    Code::InstallDeviceOpen,
    Code::KernelDeviceOpen,
    Code::DownloadTransfer,
    Code::PayloadHashMismatch,
    Code::PayloadSizeMismatch,
    Code::PayloadVerification,
    Code::NewPartitionInfo,
    Code::DownloadWrite,
    Code::NewRootfsVerification,
    Code::NewKernelVerification,
    Code::SignedPayloadExpected,
    Code::PublicKeyVerification,
    Code::BootedFromFirmwareB,
    Code::DownloadStateInitialization,
    Code::InvalidMagic,
    Code::SignatureMissing,
    Code::ManifestParse,
    Code::MetadataSignature,
    Code::MetadataSignatureVerification,
    Code::MetadataSignatureMismatch,
    Code::OperationHashVerification,
    Code::OperationExecution,
    Code::OperationHashMismatch,
    Code::EmptyResponse,
    Code::XmlParse,
    Code::InvalidMetadataSize,
    Code::InvalidMetadataSignature,
    Code::ResponseInvalid,
    Code::IgnoredPerPolicy,
    Code::DeferredPerPolicy,
    Code::OperationHashMissing,
    Code::MetadataSignatureMissing,
    Code::DeferredForBackoff,
    Code::Powerwash,
    Code::PcrVerification,
    Code::PcrPost,
    Code::Rollback,
    Code::Http(HttpStatus::None),
];

const OTHERS: &str = "This engine doesn't report it; other clients of the same servers do.";
const REBUILD: &str =
    "Make the payload anew; `update_payload verify` says whether it is good before nodes see it.";
const TRANSFER: &str = "Compare the file at the payload's URL with the one that was published: a proxy, a mirror or an \
                        upload changed it.";
const SIGNED: &str =
    "Sign with the key whose public half lies in the image, or put the right public key there.";
const DISK: &str =
    "Make room where the reason says it is missing; else look at the kernel's messages about the disk.";

impl Code {
    /// The code of this number without flags.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        match number {
            2001..=2999 => u16::try_from(number - 2000)
                .ok()
                .map(HttpStatus::Status)
                .map(Self::Http),
            _ => ALL.into_iter().find(|code| code.number() == number),
        }
    }

    /// What it means, and what to do about it.
    #[must_use]
    pub const fn explanation(self) -> Explanation {
        let (meaning, remedy) = self.texts();
        Explanation { meaning, remedy }
    }

    const fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Error
            | Self::OmahaRequest
            | Self::ResponseHandler
            | Self::EmptyResponse
            | Self::XmlParse
            | Self::ResponseInvalid
            | Self::IgnoredPerPolicy
            | Self::DeferredPerPolicy
            | Self::DeferredForBackoff
            | Self::Rollback
            | Self::Http(_) => self.texts_of_checks(),
            Self::Postinstall
            | Self::InstallDeviceOpen
            | Self::KernelDeviceOpen
            | Self::FilesystemCopier
            | Self::DownloadWrite
            | Self::NewRootfsVerification
            | Self::NewKernelVerification
            | Self::BootedFromFirmwareB
            | Self::DownloadStateInitialization
            | Self::Powerwash
            | Self::PcrVerification
            | Self::PcrPost => self.texts_of_nodes(),
            _ => self.texts_of_payloads(),
        }
    }

    const fn texts_of_checks(self) -> (&'static str, &'static str) {
        match self {
            Self::OmahaRequest => (
                "The request could not be made. A file of the configuration, the machine's id or the mark of a developer's machine can't be read, so that nobody knows whom to ask, or as whom.",
                "Put the file right that the reason names, or remove it; [configuration.md](configuration.md) says what counts as missing.",
            ),
            Self::ResponseHandler => ("The answer could not be turned into a plan.", OTHERS),
            Self::EmptyResponse => (
                "The answer to a check has no body.",
                "Look at the update server's log; `SERVER` may name something else than an Omaha server.",
            ),
            Self::XmlParse => (
                "The answer to a check is no XML, but a web page, a login page, or something packed or cut; the reason says which.",
                "Check `SERVER` (it must be the URL where an update server answers checks), and whether a network or a proxy wants a login first.",
            ),
            Self::ResponseInvalid => (
                "The answer to a check is XML, but no answer, or the server refused one, or the offer lacks what `EXTENSIONS` names; the reason names the part.",
                "Do what the reason of a refusal says ([operating.md](operating.md)). Else check `SERVER`, the offer it makes, and `EXTENSIONS`.",
            ),
            Self::IgnoredPerPolicy => (
                "The offered payload, or the image in it, was rolled back on this node before.",
                "Publish a fixed one. `update_engine_client -update` tries the same one again.",
            ),
            Self::DeferredPerPolicy => (
                "Not now: the running slot is not known to be good.",
                "Wait until its trial has ended ([health.md](health.md)); see what the trial waits for.",
            ),
            Self::DeferredForBackoff => (
                "This payload failed before; the next try is later.",
                "Remove the cause of the failures before, and wait. A delta, another offer, or one with `DisablePayloadBackoff` doesn't.",
            ),
            Self::Rollback => (
                "The last update was left again: its slot did not come up, or was not healthy in time.",
                "Find out why on a node that rolled back ([rollback.md](rollback.md)).",
            ),
            Self::Http(_) => (
                "The check got the HTTP status that is the code minus 2000; 2000: no HTTP answer at all.",
                "Check `SERVER`, name resolution, the clock, proxies (`ALL_PROXY` …) and trusted certificates.",
            ),
            _ => (
                "Something that has no code of its own: the attempt was cancelled, the kernel could not be copied to the \
                 boot partition, or the engine's own files can't be read or written. The reason says which.",
                "Make room on the boot partition and on `/var`, and have both mounted for writing; an attempt that was cancelled goes on by itself.",
            ),
        }
    }

    const fn texts_of_nodes(self) -> (&'static str, &'static str) {
        match self {
            Self::FilesystemCopier => ("Blocks of the running slot could not be copied.", OTHERS),
            Self::KernelDeviceOpen => ("The kernel file to write could not be opened.", OTHERS),
            Self::Powerwash => ("A factory reset could not be prepared.", OTHERS),
            Self::InstallDeviceOpen => (
                "The other slot could not be opened or made unbootable: it is in use, or the partition table can't be \
                 edited.",
                "See who uses it (`findmnt`, `fuser`) and whether `sgdisk -v` likes the table.",
            ),
            Self::DownloadWrite => (
                "The slot, a file beside it, or an extension could not be written, or has no room; the reason says which.",
                DISK,
            ),
            Self::NewRootfsVerification => (
                "The slot, read back from the medium, is not the new image.",
                "The disk lies or is broken. Look at the kernel's messages; replace the disk if it happens again.",
            ),
            Self::NewKernelVerification => (
                "The kernel on the boot partition, read back, is not the new one; or it is a kernel for another architecture, or the one \
                 of another image ([images.md](images.md)).",
                "Check the boot partition's file system, and whether something else writes there. If the message speaks of another image, \
                 build the payload anew, of an image and the kernel that was built with it.",
            ),
            Self::PcrVerification => (
                "The PCR policy, read back, is not the new one.",
                "Check the file system of `/var`.",
            ),
            Self::PcrPost => (
                "The PCR policy could not be posted.",
                "Check `PCR_POLICY_SERVER` and what that server answers.",
            ),
            Self::BootedFromFirmwareB => (
                "The postinst ended with exit code 3, which counts as success with a remark.",
                "Nothing, if the image's maker meant it so.",
            ),
            Self::DownloadStateInitialization => (
                "The running slot is not what the delta starts from or can't be read, or the engine's record of the attempt can't be written.",
                "Serve a full payload to nodes whose slot was changed; make room on `/var`.",
            ),
            _ => (
                "The new image's postinst failed, the image would not merge an extension of the node's (`EXTENSIONS_JUDGED=refuse`), or the slot could not be made the one that boots next.",
                "If the message names an extension, provide one that fits the new image; else read the postinst's output in the journal (`journalctl -u update-engine`).",
            ),
        }
    }

    const fn texts_of_payloads(self) -> (&'static str, &'static str) {
        match self {
            Self::PayloadHashMismatch => (
                "The payload or an extension is not the one that was offered.",
                TRANSFER,
            ),
            Self::PayloadSizeMismatch => (
                "The payload or an extension is longer or shorter than offered, or cut off.",
                TRANSFER,
            ),
            Self::InvalidMetadataSize => (
                "Header and manifest have another size than was offered.",
                "Let the offer's `MetadataSize` be what `update_payload inspect` says.",
            ),
            Self::NewPartitionInfo => (
                "The manifest doesn't say what the new image is, or the image is for another architecture or board \
                 ([images.md](images.md)).",
                "If the message names a board or an architecture, correct which payload the server offers to this node's group; else build \
                 the payload anew.",
            ),
            Self::SignedPayloadExpected => ("The payload or an extension carries no signature.", SIGNED),
            Self::PublicKeyVerification => (
                "No trusted key made the signature of the payload or of an extension, or there is no trusted key on the node.",
                SIGNED,
            ),
            Self::MetadataSignatureMismatch => ("No trusted key made the signature of the metadata.", SIGNED),
            Self::MetadataSignatureMissing => ("A signature of the metadata was due and is missing.", SIGNED),
            Self::InvalidMagic => (
                "What came is no payload at all.",
                "Fetch the payload's URL by hand: it is often a login or error page.",
            ),
            Self::ManifestParse => (
                "The manifest makes no sense, or the payload is of an unknown version or for partitions that the node \
                 doesn't have; the reason names the part.",
                REBUILD,
            ),
            Self::OperationExecution => (
                "An operation could not be carried out: unknown, or its data does not unpack to what it should.",
                REBUILD,
            ),
            Self::OperationHashMismatch => ("Data of an operation is not what the manifest says.", TRANSFER),
            Self::OperationHashMissing => ("An operation's data comes without a hash.", REBUILD),
            Self::PayloadVerification => ("The payload's signature could not be checked.", OTHERS),
            Self::SignatureMissing => ("The manifest names no signature.", OTHERS),
            Self::MetadataSignature => ("The metadata's signature could not be read.", OTHERS),
            Self::MetadataSignatureVerification => ("The metadata's signature could not be checked.", OTHERS),
            Self::OperationHashVerification => ("An operation's hash could not be computed.", OTHERS),
            Self::InvalidMetadataSignature => ("The offered metadata signature is no signature.", OTHERS),
            _ => (
                "The payload or an extension could not be fetched; the reason has the URL and the last of the tries.",
                "Check that the node reaches the payload's server, which need not be the update server.",
            ),
        }
    }
}

/// The reference of all codes: one Markdown table.
#[must_use]
pub fn reference() -> String {
    let mut text = "| code | meaning | what to do |\n|---|---|---|\n".to_owned();
    for code in ALL {
        let Explanation { meaning, remedy } = code.explanation();
        let number = match code {
            Code::Http(_) => "2000 to 2999".to_owned(),
            code => code.to_string(),
        };
        // Writing to a string can't fail.
        let _ = writeln!(text, "| {number} | {meaning} | {remedy} |");
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_back_to_their_codes() {
        for code in ALL {
            assert_eq!(Code::from_number(code.number()), Some(code));
        }
        assert_eq!(Code::from_number(2404), Some(Code::Http(HttpStatus::Status(404))));
        for unknown in [0, 6, 37, 45, 1999, 3000, u32::MAX] {
            assert_eq!(Code::from_number(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn no_two_codes_mean_the_same() {
        let mut meanings: Vec<_> = ALL.iter().map(|code| code.explanation().meaning).collect();
        meanings.sort_unstable();
        meanings.dedup();
        assert_eq!(meanings.len(), ALL.len());
    }

    /// Every number that [`Code::number`] spells out, from its source: a new code must not be
    /// forgotten here.
    #[test]
    fn every_code_has_a_row() {
        let source = include_str!("code.rs");
        // 0 is no code, but what HTTP's begins with.
        let spelled = |line: &str| {
            let (name, number) = line.trim().strip_prefix("Self::")?.split_once(" => ")?;
            let number: u32 = number.strip_suffix(',')?.parse().ok()?;
            (number > 0 && name.chars().all(char::is_alphanumeric)).then_some(number)
        };
        let numbers: Vec<u32> = source.lines().filter_map(spelled).collect();
        assert_eq!(numbers.len() + 1, ALL.len(), "HTTP's are one more");
        for number in numbers {
            assert!(Code::from_number(number).is_some(), "{number}");
        }
    }
}
