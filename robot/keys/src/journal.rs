//! The provisioning journal: what a cut-short provisioning needs to go on. It holds the new authorisations from the
//! moment the authority has vouched for the chip until the authority has them, and is wiped at the end.

use crate::state::StateFolder;
use crate::{Custody, KeysError, ProvisioningPlan, Result};
use alcub3_crypto::tpm::Name;
use alcub3_crypto::{Curve, Entropy, Secret};
use alcub3_tpm::{OsEntropy, TpmError};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Fields, Reader};
use alcub3_trust_model::hardware::Inventory;
use alcub3_trust_model::{Level, RobotId};
use zeroize::Zeroizing;

const FILE: &str = "provisioning.cbor";
const DOMAIN: &str = "alcub3/provisioning-journal/v1";
const VERSION: u64 = 3;
/// Bytes of each hierarchy authorisation.
const AUTH_LEN: usize = 32;
/// Persistent handles that are noted at most; a chip has room for a few dozen.
const MOST_TAKEN: usize = 256;

#[derive(Clone, Debug)]
pub(crate) struct Journal {
    pub(crate) plan: ProvisioningPlan,
    /// The persistent handles that were taken before provisioning: another's, whatever they hold.
    pub(crate) taken_before: Vec<u32>,
    pub(crate) ownership: Option<Ownership>,
}

/// The authorisations, and the EK of the chip that they are for and that the authority vouched for.
#[derive(Clone, Debug)]
pub(crate) struct Ownership {
    pub(crate) endorsement_key: Name,
    pub(crate) custody: Custody,
}

impl Journal {
    /// A new journal, durable before anything is changed in the chip.
    pub(crate) fn start(folder: &StateFolder, plan: &ProvisioningPlan, taken_before: &[u32]) -> Result<Self> {
        let journal = Self {
            plan: plan.clone(),
            taken_before: taken_before.iter().take(MOST_TAKEN).copied().collect(),
            ownership: None,
        };
        folder.write(FILE, &journal.to_canonical())?;
        Ok(journal)
    }

    /// This journal, where it is of that plan.
    pub(crate) fn of(self, plan: &ProvisioningPlan) -> Result<Self> {
        if self.plan == *plan {
            return Ok(self);
        }
        Err(KeysError::OtherProvisioning {
            robot: self.plan.robot.to_string(),
        })
    }

    /// The authorisations: those that are in the journal, or new ones, durable before the chip is given any.
    pub(crate) fn take_ownership(&mut self, folder: &StateFolder, endorsement_key: Name) -> Result<Custody> {
        if let Some(ownership) = &self.ownership {
            return Ok(ownership.custody.clone());
        }
        let custody = Custody {
            owner: random_auth()?,
            endorsement: random_auth()?,
            lockout: random_auth()?,
        };
        self.ownership = Some(Ownership {
            endorsement_key,
            custody: custody.clone(),
        });
        folder.write(FILE, &self.to_canonical())?;
        Ok(custody)
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

    pub(crate) fn to_canonical(&self) -> Zeroizing<Vec<u8>> {
        let owned = if self.ownership.is_some() { 4 } else { 0 };
        let mut out = Encoder::structure(DOMAIN, VERSION, 5 + owned);
        out.u64(2)
            .text(self.plan.robot.as_str())
            .u64(3)
            .u64(self.plan.curve.tpm_id().into());
        out.u64(4).array(self.plan.levels.len());
        for level in &self.plan.levels {
            out.u64(level.id().into());
        }
        self.plan.inventory.encode(out.u64(5));
        out.u64(6).array(self.taken_before.len());
        for handle in &self.taken_before {
            out.u64((*handle).into());
        }
        if let Some(Ownership {
            endorsement_key,
            custody,
        }) = &self.ownership
        {
            out.u64(7).bytes(endorsement_key.as_bytes());
            for (key, auth) in (8u64..).zip([&custody.owner, &custody.endorsement, &custody.lockout]) {
                out.u64(key).bytes(auth.expose());
            }
        }
        Zeroizing::new(out.finish())
    }

    pub(crate) fn from_canonical(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
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
        fields.key(r, 5, "inventory")?;
        let inventory = Inventory::decode(r)?;
        fields.key(r, 6, "taken_before")?;
        let count = r.array("taken_before", MOST_TAKEN)?;
        let taken_before = (0..count)
            .map(|_| r.u32("taken_before"))
            .collect::<std::result::Result<_, _>>()?;
        let ownership = if fields.optional(r, 7, "endorsement_key")? {
            Some(read_ownership(r, &mut fields)?)
        } else {
            None
        };
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            plan: ProvisioningPlan {
                robot,
                curve,
                levels,
                inventory,
            },
            taken_before,
            ownership,
        })
    }
}

/// The rest of the ownership, its first key read.
fn read_ownership(r: &mut Reader<'_>, fields: &mut Fields) -> std::result::Result<Ownership, DecodeError> {
    let name = r.bytes("endorsement_key")?;
    let endorsement_key = Name::from_bytes(name).map_err(|_| r.fault("endorsement_key", Fault::Value))?;
    let mut auth = |key, field| {
        fields.key(r, key, field)?;
        r.bytes_of::<AUTH_LEN>(field)
            .map(|bytes| Secret::from_slice(bytes))
    };
    Ok(Ownership {
        endorsement_key,
        custody: Custody {
            owner: auth(8, "owner")?,
            endorsement: auth(9, "endorsement")?,
            lockout: auth(10, "lockout")?,
        },
    })
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
