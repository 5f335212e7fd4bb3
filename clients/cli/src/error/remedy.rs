//! What to do about each error.

use super::{CliError, with_sources};
use alcub3_agent::AgentError;
use alcub3_attestation::corim::CorimError;
use alcub3_keys::KeysError;
use alcub3_server::{AttestationError, RobotError};
use alcub3_tpm::TpmError;
use alcub3_tpm::transport::TransportError;

impl CliError {
    /// The message and what to do. The libraries end their messages with the remedy, after the last semicolon.
    pub(crate) fn message_and_remedy(&self) -> (String, String) {
        let text = with_sources(self);
        match self.own_remedy() {
            Some(remedy) => (self.without_remedy(text), remedy.to_owned()),
            None => match text.rsplit_once("; ") {
                Some((message, remedy)) => (message.to_owned(), remedy.to_owned()),
                None => (text, self.general_remedy().to_owned()),
            },
        }
    }

    /// Where the library's message has no remedy of its own.
    fn general_remedy(&self) -> &'static str {
        match self {
            Self::RobotRecords(RobotError::NoReference(_))
            | Self::Attestation(AttestationError::Robot(RobotError::NoReference(_))) => {
                "set them with `alcub3 authority reference ROBOT --eventlog FILE`"
            }
            Self::Platform(_) => "mend what the reason names, then begin again",
            Self::Attestation(_) => "ask for new evidence (`alcub3 appraise --request`), or attest again",
            Self::Agent(AgentError::Link(_)) if self.code() == "below-every-floor" => {
                "ask the authority what it admits; a simulator needs one made with --admit-simulators"
            }
            Self::Agent(AgentError::Link(_)) => "mend what the authority's reason names, then ask it again",
            Self::ChipMessage { .. } | Self::CommanderMessage { .. } => {
                "check that the file is the one you mean, and that --authority-key is the key of `authority show --key`"
            }
            Self::Mission(_)
            | Self::Rearm(_)
            | Self::Purge(_)
            | Self::Replacement(_)
            | Self::Duplication(_)
            | Self::Chip(_)
            | Self::EndorsementPin(_)
            | Self::SharedKey(_) => "mend what the reason names, then begin again",
            Self::Tpm(_) | Self::Vault(_) => "see `alcub3 tpm doctor`",
            Self::Keys(KeysError::Recovery(_)) | Self::Agent(AgentError::Keys(KeysError::Recovery(_))) => {
                "mend what the reason names, then try again"
            }
            Self::Agent(_) | Self::Keys(_) | Self::State(_) => {
                "see `alcub3 tpm doctor` and `alcub3 identity show`"
            }
            _ => "see `alcub3 --help`",
        }
    }

    /// The messages of transports that could not be opened say the remedy after a colon.
    fn without_remedy(&self, text: String) -> String {
        use TransportError as E;
        let says_remedy = matches!(
            self,
            Self::Tpm(TpmError::Open(
                E::DeviceAbsent { .. }
                    | E::PermissionDenied { .. }
                    | E::DeviceBusy { .. }
                    | E::NotADevice { .. }
                    | E::SwtpmMissing
                    | E::StateLocked { .. }
            ))
        );
        match text.split_once(": ") {
            Some((message, _)) if says_remedy => message.to_owned(),
            _ => text,
        }
    }

    fn own_remedy(&self) -> Option<&'static str> {
        if let Some(TpmError::Open(error) | TpmError::Transport { source: error, .. }) = self.tpm_error() {
            return Some(transport_remedy(error));
        }
        match self {
            Self::Usage { .. } | Self::NoInput => Some("see `alcub3 --help`"),
            Self::Approvers { .. } | Self::SameApprover => Some(
                "give --approver NAME=FILE twice, for two persons with a key each (`authority operator key`)",
            ),
            Self::Corim { source, .. } if matches!(**source, CorimError::Inexpressible(_)) => {
                Some("write TOML or JSON, or leave that out knowingly (--leave-out)")
            }
            Self::Corim { .. } => {
                Some("get one that fits, or write the values down as TOML (docs/reference-values.md)")
            }
            Self::Reference { .. } => Some(
                "mend it as docs/reference-values.md describes, or learn it anew (`alcub3 reference learn`)",
            ),
            Self::CommandPolicyFile { .. } => Some("mend the policy; docs/command-policy.md has every key"),
            Self::AppraisalPolicyFile { .. } => {
                Some("mend it, then `alcub3 policy check` says what it asks (docs/appraisal-policy.md)")
            }
            Self::PlatformReferences { .. } => {
                Some("write the document as docs/reference-values.md describes")
            }
            Self::Root { .. } => Some("name a root certificate as PEM or DER"),
            Self::NotAnArgument { .. } => Some("write it as NAME=VALUE"),
            Self::OtherIssuer { .. } => Some("give --issuer and --mac of the same person"),
            Self::BareStorageKey { .. } => Some(
                "name a recovery set (`key backup split`) or the admission of a recovery TPM (`authority chip admit -o`)",
            ),
            Self::HeldKey { .. } => Some("name the file that `alcub3 commander take --out` wrote, unchanged"),
            Self::SelfTest { .. } => {
                Some("do not use this program on this machine: build it again, or replace the machine")
            }
            Self::NoStateFolder => Some("name a folder with --state DIR"),
            Self::Read { source, .. } => Some(match source.kind() {
                std::io::ErrorKind::NotFound => "check the path",
                std::io::ErrorKind::PermissionDenied => {
                    "make the file readable for this user, or run as one who may read it"
                }
                _ => "check the file and its disk",
            }),
            Self::TooLong { .. } => Some("check that this is the file you mean"),
            Self::Write { .. } => Some("check the path, its permissions and the room on its disk"),
            Self::SealedFile { .. } => Some("name the file that `alcub3 tpm seal --out` wrote, unchanged"),
            Self::PublicKey { .. } | Self::NvMap { .. } => {
                Some("name the robot's attestation key as TPM2B_PUBLIC, TPMT_PUBLIC or PEM")
            }
            Self::KeyExists { .. } => Some("name another file: keys are never overwritten"),
            Self::KeyExposed { .. } => {
                Some("chmod 600 the file, and make a new key if somebody may have read it")
            }
            Self::NotPem { .. } | Self::KeyFile { .. } => Some(
                "name a P-256 or P-384 key as PEM: PKCS#8 for a private one, SubjectPublicKeyInfo for a public one",
            ),
            Self::NotASimulator => Some("leave --simulator-ca out: a real chip has its vendor's certificate"),
            Self::Folder(_) => Some("make the folder for temporary files writable, or set TMPDIR"),
            Self::Demo(_) => {
                Some("this is a fault of the program or of the software TPM: report it with the output")
            }
            Self::Untrusted { .. } => Some("see what the findings say, mend it, and attest again"),
            _ => None,
        }
    }
}

fn transport_remedy(error: &TransportError) -> &'static str {
    match error {
        TransportError::DeviceAbsent { .. } => {
            "enable the TPM (fTPM, PTT) in the firmware settings and check its kernel driver, or name another TPM with \
             --tpm; a simulator is used only when named, as --tpm swtpm"
        }
        TransportError::NotADevice { .. } => "name a TPM device such as /dev/tpmrm0 with --tpm device:PATH",
        TransportError::PermissionDenied { .. } => {
            "add this user to the group `tss` and log in again, or make the path readable and writable for this user"
        }
        TransportError::DeviceBusy { .. } => {
            "use /dev/tpmrm0, which can be shared, or stop the other program"
        }
        TransportError::StateLocked { .. } => {
            "stop the other swtpm, or name another folder with --tpm swtpm:DIR"
        }
        TransportError::StateCorrupt { .. } | TransportError::BadStatePath { .. } => {
            "name another folder with --tpm swtpm:DIR, or restore this one from a copy"
        }
        TransportError::SwtpmMissing => "install the package `swtpm`, or name another TPM with --tpm",
        TransportError::ConnectFailed { .. } => "start the simulator, or correct the address in --tpm",
        TransportError::DeadlineExceeded { .. } | TransportError::Poisoned => {
            "try again; if the TPM never answers, power it off and on"
        }
        _ => "open the TPM again; if it persists, see the kernel's or the simulator's log",
    }
}
