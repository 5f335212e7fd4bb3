//! The persons an authority knows: who may issue commands, and who may approve.

use std::collections::BTreeMap;

use alcub3_command_authority::Role;
use alcub3_crypto::{CryptoError, VerifyingKey};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{Labels, OperatorId};

use crate::store::{StateFolder, StoreError};

const COLLECTION: &str = "operators";
const DOMAIN: &str = "alcub3/authority-operator/v1";
const VERSION: u64 = 1;

/// A registered person.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The name.
    pub id: OperatorId,
    /// The key that signs for the person. No two persons share one.
    pub key: VerifyingKey,
    /// What the person may do.
    pub role: Role,
    /// What the person is cleared for, and how far commands from the person are trusted.
    pub labels: Labels,
}

/// An operator could not be registered or read.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The name is taken by another key or role.
    #[error("operator {0} is registered already; names are not given anew, choose another")]
    NameTaken(OperatorId),
    /// The key belongs to somebody else: one person would count as two.
    #[error("the key of {new} is that of {holder}; every operator needs a key of their own")]
    KeyTaken {
        /// Who was to be registered.
        new: OperatorId,
        /// Whose key it is.
        holder: OperatorId,
    },
    /// A record does not read.
    #[error("the record of operator {operator}: {source}; restore the state folder from a backup")]
    Record {
        /// Whose.
        operator: String,
        /// What is wrong.
        source: DecodeError,
    },
    /// The key in a record is not one.
    #[error("the key of operator {operator}: {source}; restore the state folder from a backup")]
    Key {
        /// Whose.
        operator: String,
        /// What is wrong.
        source: CryptoError,
    },
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Operator {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::structure(DOMAIN, VERSION, 4);
        out.u64(2)
            .text(self.id.as_str())
            .u64(3)
            .bytes(&self.key.to_spki_der());
        out.u64(4).u64(self.role.id().into()).u64(5);
        self.labels.encode(&mut out);
        out.finish()
    }

    fn decode(name: &str, bytes: &[u8]) -> Result<Self, OperatorError> {
        let parts = decode_parts(bytes);
        let (id, spki, role, labels) = parts.map_err(|source| OperatorError::Record {
            operator: name.to_owned(),
            source,
        })?;
        let key = VerifyingKey::from_spki_der(&spki);
        let key = key.map_err(|source| OperatorError::Key {
            operator: name.to_owned(),
            source,
        })?;
        Ok(Self {
            id,
            key,
            role,
            labels,
        })
    }
}

fn decode_parts(bytes: &[u8]) -> Result<(OperatorId, Vec<u8>, Role, Labels), DecodeError> {
    let mut reader = Reader::new(DOMAIN, bytes);
    let r = &mut reader;
    let mut fields = r.structure(DOMAIN, VERSION)?;
    fields.key(r, 2, "id")?;
    let id = r.text("id")?;
    let id = OperatorId::new(id).map_err(|_| r.fault("id", Fault::Value))?;
    fields.key(r, 3, "key")?;
    let spki = r.bytes("key")?.to_vec();
    fields.key(r, 4, "role")?;
    let role = r.id_of("role", Role::from_id)?;
    fields.key(r, 5, "labels")?;
    let labels = Labels::decode(r)?;
    fields.finish(r)?;
    r.finish()?;
    Ok((id, spki, role, labels))
}

/// All registered operators.
#[derive(Clone, Debug, Default)]
pub struct Operators {
    by_id: BTreeMap<OperatorId, Operator>,
}

impl Operators {
    pub(crate) fn load(folder: &StateFolder) -> Result<Self, OperatorError> {
        let mut by_id = BTreeMap::new();
        for name in folder.keys(COLLECTION)? {
            let Some(bytes) = folder.get(COLLECTION, &name)? else {
                continue;
            };
            let operator = Operator::decode(&name, &bytes)?;
            by_id.insert(operator.id.clone(), operator);
        }
        Ok(Self { by_id })
    }

    /// Registers a person, durably.
    pub(crate) fn register(&mut self, folder: &StateFolder, operator: Operator) -> Result<(), OperatorError> {
        if self.by_id.contains_key(&operator.id) {
            return Err(OperatorError::NameTaken(operator.id));
        }
        let spki = operator.key.to_spki_der();
        if let Some(holder) = self.by_id.values().find(|other| other.key.to_spki_der() == spki) {
            return Err(OperatorError::KeyTaken {
                new: operator.id,
                holder: holder.id.clone(),
            });
        }
        folder.put(COLLECTION, operator.id.as_str(), &operator.encode())?;
        self.by_id.insert(operator.id.clone(), operator);
        Ok(())
    }

    /// One operator.
    pub fn get(&self, id: &OperatorId) -> Option<&Operator> {
        self.by_id.get(id)
    }

    /// All operators, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Operator> {
        self.by_id.values()
    }
}
