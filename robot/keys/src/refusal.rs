//! What the robot refuses to do with its mission keys, each with a reason code for programs and the audit log.

use crate::KeysError;
use crate::missions::{MissionOver, RecordFault};
use alcub3_tpm::{ResponseCode, TpmError};
use alcub3_trust_model::{MissionId, MissionKeyPurpose};

/// Why a mission key is not made, taken or used.
#[derive(Clone, Debug, thiserror::Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum KeyRefusal {
    /// The key is for something else; the chip would refuse it too.
    #[error("the key is for {found}, not for {asked}; create one of that purpose")]
    Purpose {
        /// What was asked of it.
        asked: MissionKeyPurpose,
        /// What it is for.
        found: MissionKeyPurpose,
    },
    /// The mission is over, so that a new key would be dead.
    #[error("mission {mission} is over ({}); start another", over.code())]
    Over {
        /// The mission.
        mission: MissionId,
        /// Why.
        over: MissionOver,
    },
    /// What was to be imported was changed on its way, or wrapped to another chip.
    #[error(
        "the imported key's integrity check fails: it was changed on its way, or wrapped to another chip; ask for it again"
    )]
    ImportIntegrity,
    /// What was to be imported is not under this mission's policy, so that it could outlive the mission.
    #[error(
        "the shared key is not under this robot's policy of the mission, so it could outlive it; ask again"
    )]
    ImportPolicy,
    /// What the disk says of the mission is not believed; the mission ends.
    #[error("mission {mission} is refused: {}; it ends, start another", fault.problem())]
    MissionRecord {
        /// The mission.
        mission: MissionId,
        /// What is wrong.
        fault: RecordFault,
    },
    /// The chip's clock or reset count is lower than it was: its state is an older one.
    #[error(
        "the TPM's clock went back: resetCount {reset_count} and {clock_ms} ms, after {seen_reset_count} and \
         {seen_clock_ms} ms had been seen; its missions end, start others"
    )]
    ClockWentBack {
        /// What the chip says.
        reset_count: u32,
        /// What the chip says, in milliseconds.
        clock_ms: u64,
        /// What was seen before.
        seen_reset_count: u32,
        /// What was seen before, in milliseconds.
        seen_clock_ms: u64,
    },
}

impl KeyRefusal {
    /// The reason code, stable across releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Purpose { .. } => "key-purpose",
            Self::Over { .. } => "mission-over",
            Self::ImportIntegrity => "import-integrity",
            Self::ImportPolicy => "import-policy",
            Self::MissionRecord { fault, .. } => fault.code(),
            Self::ClockWentBack { .. } => "clock-went-back",
        }
    }
}

/// How the chip says that what it was given is not whole: the seed does not decrypt to a point or a secret, the outer
/// HMAC differs, or what was inside does not fit the public area (Part 3, §13.3; Part 1, §23.3.2). Arming the
/// parent's session is refused with other codes.
pub(crate) fn import_integrity(error: TpmError) -> KeysError {
    let codes = [
        ResponseCode::INTEGRITY,
        ResponseCode::VALUE,
        ResponseCode::SIZE,
        ResponseCode::BINDING,
        ResponseCode::KEY,
        ResponseCode::KEY_SIZE,
        ResponseCode::TYPE,
        ResponseCode::ECC_POINT,
        ResponseCode::INSUFFICIENT,
    ];
    if codes.iter().any(|code| error.is_refusal(*code)) {
        KeyRefusal::ImportIntegrity.into()
    } else {
        error.into()
    }
}
