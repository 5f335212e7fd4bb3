//! The provisioning journal: what a cut-short provisioning needs to go on. It holds the new authorisations until
//! the authority has them, and is wiped at the end.

use crate::state::StateFolder;
use crate::{KeysError, ProvisioningPlan, Result};
use alcub3_crypto::{Curve, Digest, Entropy, Secret};
use alcub3_tpm::{OsEntropy, TpmError};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{Level, RobotId};
use zeroize::Zeroizing;

const FILE: &str = "provisioning.cbor";
const DOMAIN: &str = "alcub3/provisioning-journal/v1";
const VERSION: u64 = 1;
/// Bytes of each hierarchy authorisation.
const AUTH_LEN: usize = 32;

#[derive(Clone, Debug)]
pub(crate) struct Journal {
    pub(crate) plan: ProvisioningPlan,
    pub(crate) owner: Secret,
    pub(crate) endorsement: Secret,
    pub(crate) lockout: Secret,
}

impl Journal {
    /// The journal of an unfinished provisioning, or a new one, durable before anything is changed in the chip.
    pub(crate) fn open(folder: &StateFolder, plan: &ProvisioningPlan) -> Result<Self> {
        if let Some(found) = Self::load(folder)? {
            if found.plan != *plan {
                return Err(KeysError::OtherProvisioning {
                    robot: found.plan.robot.to_string(),
                });
            }
            return Ok(found);
        }
        let journal = Self {
            plan: plan.clone(),
            owner: random_auth()?,
            endorsement: random_auth()?,
            lockout: random_auth()?,
        };
        folder.write(FILE, &journal.to_canonical())?;
        Ok(journal)
    }

    pub(crate) fn load(folder: &StateFolder) -> Result<Option<Self>> {
        let Some(bytes) = folder.read(FILE)?.map(Zeroizing::new) else {
            return Ok(None);
        };
        Self::from_canonical(&bytes)
            .map(Some)
            .map_err(|source| KeysError::Record {
                name: FILE.into(),
                source,
            })
    }

    pub(crate) fn wipe(folder: &StateFolder) -> Result<()> {
        Ok(folder.wipe(FILE)?)
    }

    fn to_canonical(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Encoder::structure(DOMAIN, VERSION, 7);
        out.u64(2)
            .text(self.plan.robot.as_str())
            .u64(3)
            .u64(self.plan.curve.tpm_id().into());
        out.u64(4).array(self.plan.levels.len());
        for level in &self.plan.levels {
            out.u64(level.id().into());
        }
        out.u64(5).digest(&self.plan.hardware_binding);
        for (key, auth) in (6u64..).zip([&self.owner, &self.endorsement, &self.lockout]) {
            out.u64(key).bytes(auth.expose());
        }
        Zeroizing::new(out.finish())
    }

    fn from_canonical(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "robot")?;
        let robot = r.text("robot")?;
        let robot = RobotId::new(robot).map_err(|_| r.fault("robot", Fault::Value))?;
        fields.key(r, 3, "curve")?;
        let curve = r.u16("curve")?;
        let curve = Curve::from_tpm_id(curve).ok_or_else(|| r.fault("curve", Fault::Value))?;
        fields.key(r, 4, "levels")?;
        let count = r.array("levels", Level::ALL.len())?;
        let levels = (0..count)
            .map(|_| r.id_of("level", Level::from_id))
            .collect::<std::result::Result<_, _>>()?;
        fields.key(r, 5, "hardware_binding")?;
        let hardware_binding: Digest = r.digest("hardware_binding")?;
        let mut auth = |key, field| {
            fields.key(r, key, field)?;
            r.bytes_of::<AUTH_LEN>(field)
                .map(|bytes| Secret::from_slice(bytes))
        };
        let (owner, endorsement, lockout) = (auth(6, "owner")?, auth(7, "endorsement")?, auth(8, "lockout")?);
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            plan: ProvisioningPlan {
                robot,
                curve,
                levels,
                hardware_binding,
            },
            owner,
            endorsement,
            lockout,
        })
    }
}

/// A fresh authorisation value. Its last byte is not zero, since trailing zeros do not count (Part 1, 17.6.4.2).
fn random_auth() -> Result<Secret> {
    let mut auth = Secret::zeroed(AUTH_LEN);
    loop {
        OsEntropy
            .fill(auth.expose_mut())
            .map_err(|e| KeysError::Tpm(TpmError::Entropy(e)))?;
        if auth.expose().last() != Some(&0) {
            return Ok(auth);
        }
    }
}
