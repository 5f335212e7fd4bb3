//! Endorsement keys that operators pinned, for chips whose vendors ship no certificate. Nothing is ever pinned because a
//! robot showed it.

use alcub3_audit_log::EntryKind;
use alcub3_command_authority::cose::SignError;
use alcub3_crypto::{Digest, VerifyingKey};
use alcub3_fleet_protocol::endorsement::{EndorsementPin, PinError};
use alcub3_trust_model::{HardwareTier, IdError, RobotId};

use crate::audit::Decision;
use crate::authority::Authority;
use crate::store::{StateFolder, StoreError};

const COLLECTION: &str = "endorsement-pins";

/// Why a pin was not made, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// It states too much, or it is none that this authority signed.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// A record lies under another robot's name.
    #[error("the pinned endorsement key of {robot} is of {found}; restore the state folder from a backup")]
    OtherRobot {
        /// Where it lies.
        robot: RobotId,
        /// Whose it is.
        found: RobotId,
    },
    /// There is none.
    #[error("no endorsement key of {0} is pinned")]
    NoPin(RobotId),
    /// A name in the folder is none.
    #[error(
        "a pinned endorsement key lies under a name that is none: {0}; restore the state folder from a backup"
    )]
    Name(#[source] IdError),
    /// Signing failed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The pins in the state folder, with the key that signed them.
pub(crate) struct Pins<'a> {
    folder: &'a StateFolder,
    authority: VerifyingKey,
}

impl Pins<'_> {
    /// What is pinned for a robot, if anything.
    pub(crate) fn of(&self, robot: &RobotId) -> Result<Option<EndorsementPin>, PinsError> {
        let Some(signed) = self.folder.get(COLLECTION, robot.as_str())? else {
            return Ok(None);
        };
        let pin = EndorsementPin::verify(&signed, &self.authority)?;
        if pin.robot == *robot {
            Ok(Some(pin))
        } else {
            Err(PinsError::OtherRobot {
                robot: robot.clone(),
                found: pin.robot,
            })
        }
    }
}

impl Authority {
    pub(crate) fn pins(&self) -> Pins<'_> {
        Pins {
            folder: &self.folder,
            authority: self.verifying_key(),
        }
    }

    /// Pins an endorsement key that has no certificate, by its digest
    /// ([`pin_digest`](alcub3_fleet_protocol::endorsement::pin_digest)), for one robot, in the place of any earlier pin of it.
    /// A robot that is enrolled already stays as it is.
    ///
    /// # Errors
    /// [`PinsError::Pin`] for a kind of TPM that only a certificate can vouch for; the folder's.
    pub fn pin_endorsement(
        &mut self,
        robot: &RobotId,
        key: Digest,
        tier: HardwareTier,
        now_ms: u64,
    ) -> Result<EndorsementPin, PinsError> {
        let pin = EndorsementPin {
            robot: robot.clone(),
            key,
            tier,
            pinned_at_ms: now_ms,
        };
        let subject = format!("endorsement key pinned as a {tier} TPM's");
        let decision = Decision::about(EntryKind::Configuration, Some(robot), subject);
        self.acting_on_record(decision.with_object(key), now_ms, |authority| {
            let signing = authority.signing();
            let signed = pin.unsigned(signing.suite())?.sign(signing)?;
            authority.folder.put(COLLECTION, robot.as_str(), &signed)?;
            Ok(pin)
        })
    }

    /// Takes a robot's pin away: no TPM without a certificate enrols under its name any more. One that is enrolled stays so.
    ///
    /// # Errors
    /// [`PinsError::NoPin`]; the folder's.
    pub fn unpin_endorsement(&mut self, robot: &RobotId, now_ms: u64) -> Result<(), PinsError> {
        let decision = Decision::about(
            EntryKind::Configuration,
            Some(robot),
            "endorsement key no more pinned",
        );
        self.acting_on_record(decision, now_ms, |authority| {
            if authority.folder.get(COLLECTION, robot.as_str())?.is_none() {
                return Err(PinsError::NoPin(robot.clone()));
            }
            Ok(authority.folder.remove(COLLECTION, robot.as_str())?)
        })
    }

    /// What is pinned, by robot.
    ///
    /// # Errors
    /// [`PinsError`] where a record is none that this authority signed for that robot.
    pub fn endorsement_pins(&self) -> Result<Vec<EndorsementPin>, PinsError> {
        let pins = self.pins();
        let mut found = Vec::new();
        for name in self.folder.keys(COLLECTION)? {
            let robot = RobotId::new(name).map_err(PinsError::Name)?;
            found.extend(pins.of(&robot)?);
        }
        Ok(found)
    }
}
