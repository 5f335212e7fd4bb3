//! The attestation lease: a verifier's word, for a short time, that this boot of this robot was appraised and found
//! good. Without one no command is carried out.

use alcub3_crypto::{Digest, HashAlg, Suite, VerifyingKey};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{BelowFloor, BootId, LeaseId, Level, LevelProfiles, RobotId, domain};

use crate::Reason;
use crate::cose::{CoseError, Message, Unsigned};

/// What a lease says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttestationLease {
    /// The robot.
    pub robot: RobotId,
    /// The lease's identifier, drawn by the robot at boot; a renewal keeps it.
    pub lease: LeaseId,
    /// The run of the robot's agent.
    pub boot: BootId,
    /// The highest level that the appraisal reached.
    pub ceiling: Level,
    /// When it begins, UTC in milliseconds since 1970.
    pub not_before_ms: u64,
    /// When it ends, UTC in milliseconds since 1970; at this moment it is over.
    pub not_after_ms: u64,
    /// The digest of the attestation result on which it stands.
    pub verdict: Digest,
}

const VERSION: u64 = 1;

/// Why a lease was refused.
#[derive(Copy, Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum LeaseError {
    /// The message is malformed, of another key, or not authentic.
    #[error("lease refused")]
    Cose(#[from] CoseError),
    /// The payload is not the one form allowed.
    #[error("lease refused")]
    Payload(#[from] DecodeError),
    /// The lease is another robot's.
    #[error("the lease is another robot's")]
    WrongRobot,
    /// The lease is of another boot.
    #[error("the lease is of another boot: ask for a new one")]
    WrongBoot,
    /// The lease ends before it begins.
    #[error("the lease ends before it begins")]
    Times,
    /// The lease lasts longer than its level allows.
    #[error("the lease lasts {lasts_ms} ms, {ceiling} allows {most_ms} ms")]
    TooLong {
        /// How long it lasts, in milliseconds.
        lasts_ms: u64,
        /// The level.
        ceiling: Level,
        /// The longest allowed, in milliseconds.
        most_ms: u64,
    },
    /// The suite is weaker than the level asks for.
    #[error("the lease's suite: {0}")]
    SuiteTooWeak(#[from] BelowFloor),
}

impl LeaseError {
    /// The reason code, stable across releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "lease-too-long",
            Self::SuiteTooWeak(source) => source.code(),
            _ => "lease-refused",
        }
    }
}

impl AttestationLease {
    /// The lease, ready to be signed by the verifier.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(domain::LEASE, VERSION, 7);
        out.u64(2)
            .text(self.robot.as_str())
            .u64(3)
            .bytes(self.lease.as_bytes())
            .u64(4)
            .bytes(self.boot.as_bytes());
        out.u64(5)
            .u64(self.ceiling.id().into())
            .u64(6)
            .u64(self.not_before_ms)
            .u64(7)
            .u64(self.not_after_ms);
        out.u64(8).digest(&self.verdict);
        Unsigned::new(suite, out.finish())
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::LEASE, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::LEASE, VERSION)?;
        fields.key(r, 2, "robot")?;
        let robot = RobotId::new(r.text("robot")?).map_err(|_| r.fault("robot", Fault::Value))?;
        fields.key(r, 3, "lease")?;
        let lease = LeaseId::new(*r.bytes_of("lease")?);
        fields.key(r, 4, "boot")?;
        let boot = BootId::new(*r.bytes_of("boot")?);
        fields.key(r, 5, "ceiling")?;
        let ceiling = r.id_of("ceiling", Level::from_id)?;
        fields.key(r, 6, "not_before_ms")?;
        let not_before_ms = r.u64("not_before_ms")?;
        fields.key(r, 7, "not_after_ms")?;
        let not_after_ms = r.u64("not_after_ms")?;
        fields.key(r, 8, "verdict")?;
        let verdict = r.digest("verdict")?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            robot,
            lease,
            boot,
            ceiling,
            not_before_ms,
            not_after_ms,
            verdict,
        })
    }
}

/// A lease that its verifier signed and that is this robot's and this boot's. Whether it is in force is a question of
/// the time, which each command asks anew.
#[derive(Clone, Debug)]
pub struct VerifiedLease {
    lease: AttestationLease,
    digest: Digest,
}

impl VerifiedLease {
    /// Verifies a lease within the profiles in force.
    ///
    /// # Errors
    /// [`LeaseError`] says why it is none for this boot of this robot.
    pub fn verify(
        bytes: &[u8],
        verifier: &VerifyingKey,
        robot: &RobotId,
        boot: BootId,
        profiles: &LevelProfiles,
    ) -> Result<Self, LeaseError> {
        let message = Message::parse(domain::LEASE, bytes)?;
        message.verify(verifier)?;
        let lease = AttestationLease::decode(message.payload())?;
        if lease.robot != *robot {
            return Err(LeaseError::WrongRobot);
        }
        if lease.boot != boot {
            return Err(LeaseError::WrongBoot);
        }
        let ceiling = lease.ceiling;
        let lasts_ms = lease
            .not_after_ms
            .checked_sub(lease.not_before_ms)
            .ok_or(LeaseError::Times)?;
        let floor = profiles.of(ceiling);
        let most_ms = floor.lease_ms;
        if lasts_ms > most_ms {
            return Err(LeaseError::TooLong {
                lasts_ms,
                ceiling,
                most_ms,
            });
        }
        floor.check_suite(message.suite())?;
        Ok(Self {
            lease,
            digest: HashAlg::Sha256.digest(&[bytes]),
        })
    }

    /// What the lease says.
    pub const fn lease(&self) -> &AttestationLease {
        &self.lease
    }

    /// The SHA-256 of the signed lease, for the audit log.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Whether the lease supports a command that names it, on a mission of a level, at a time.
    ///
    /// # Errors
    /// The [`Reason`] why not.
    pub fn supports(&self, lease: LeaseId, level: Level, now_ms: u64) -> Result<(), Reason> {
        if self.lease.lease != lease {
            return Err(Reason::WrongLease);
        }
        if now_ms < self.lease.not_before_ms {
            return Err(Reason::LeaseNotBegun);
        }
        if now_ms >= self.lease.not_after_ms {
            return Err(Reason::LeaseOver);
        }
        // A lease fit for a higher level is shorter than a lower one allows: its length was checked when verified.
        if self.lease.ceiling < level {
            Err(Reason::LeaseInsufficient)
        } else {
            Ok(())
        }
    }
}
