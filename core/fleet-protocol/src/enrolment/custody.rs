//! Custody: the robot hands its hierarchy authorisations to the authority; nothing at run time needs them.

use std::fmt;

use alcub3_crypto::hpke::{self, RecipientKey};
use alcub3_crypto::{CryptoError, Secret};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{RobotId, SessionId, domain};

use super::EnrolError;

const VERSION: u64 = 1;
/// The longest authorisation value: a SHA-512 digest.
const MAX_AUTHORISATION: usize = 64;

/// The authorisation values of the owner, endorsement and lockout hierarchies.
#[derive(Clone)]
pub struct HierarchyAuthorisations {
    /// The owner hierarchy's.
    pub owner: Secret,
    /// The endorsement hierarchy's.
    pub endorsement: Secret,
    /// The lockout hierarchy's.
    pub lockout: Secret,
}

impl fmt::Debug for HierarchyAuthorisations {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("HierarchyAuthorisations(..)")
    }
}

impl HierarchyAuthorisations {
    /// The values in one secret, for sealing; as [`Self::from_secret`] reads them.
    pub fn to_secret(&self) -> Secret {
        let mut out = Encoder::structure(domain::CUSTODY, VERSION, 3);
        out.u64(2)
            .bytes(self.owner.expose())
            .u64(3)
            .bytes(self.endorsement.expose());
        out.u64(4).bytes(self.lockout.expose());
        Secret::from_vec(out.finish())
    }

    /// The values of exactly this secret.
    ///
    /// # Errors
    /// [`DecodeError`]; an empty value is refused, since it would leave the hierarchy open.
    pub fn from_secret(secret: &Secret) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::CUSTODY, secret.expose());
        let r = &mut reader;
        let mut fields = r.structure(domain::CUSTODY, VERSION)?;
        let mut value = |r: &mut Reader<'_>, key, field| {
            fields.key(r, key, field)?;
            let bytes = r.bytes(field)?;
            let fits = (1..=MAX_AUTHORISATION).contains(&bytes.len());
            if fits {
                Ok(Secret::from_slice(bytes))
            } else {
                Err(r.fault(field, Fault::Value))
            }
        };
        let owner = value(r, 2, "owner")?;
        let endorsement = value(r, 3, "endorsement")?;
        let lockout = value(r, 4, "lockout")?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            owner,
            endorsement,
            lockout,
        })
    }

    /// Seals the values to the authority's custody key, for this robot and this exchange.
    pub(super) fn seal(
        &self,
        custody_key: &[u8],
        robot: &RobotId,
        session: SessionId,
    ) -> Result<Vec<u8>, CryptoError> {
        hpke::seal(
            custody_key,
            domain::CUSTODY.as_bytes(),
            &context(robot, session),
            self.to_secret().expose(),
        )
    }

    pub(super) fn open(
        sealed: &[u8],
        key: &RecipientKey,
        robot: &RobotId,
        session: SessionId,
    ) -> Result<Self, EnrolError> {
        let opened = key.open(domain::CUSTODY.as_bytes(), &context(robot, session), sealed)?;
        Ok(Self::from_secret(&opened)?)
    }
}

fn context(robot: &RobotId, session: SessionId) -> Vec<u8> {
    [session.as_bytes(), robot.as_str().as_bytes()].concat()
}
