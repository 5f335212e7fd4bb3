//! Which keys the authority's own TPM holds, by Name: what is found there at the next opening must be the same.

use std::collections::BTreeMap;

use alcub3_crypto::tpm::Name;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};

use crate::approval::ApprovalPurpose;
use crate::authority::{Authority, AuthorityError};

const RECORD: (&str, &str) = ("config", "vault");
const DOMAIN: &str = "alcub3/vault-names/v1";
const VERSION: u64 = 1;

/// The Names of the keys in an authority's TPM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VaultNames {
    /// The storage parent, which sessions are salted to.
    pub parent: Name,
    /// The approval keys, one for each purpose.
    pub keys: BTreeMap<ApprovalPurpose, Name>,
}

impl VaultNames {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::structure(DOMAIN, VERSION, 2);
        out.u64(2).bytes(self.parent.as_bytes());
        out.u64(3).array(self.keys.len());
        for name in self.keys.values() {
            out.bytes(name.as_bytes());
        }
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "parent")?;
        let parent = read_name(r, "parent")?;
        fields.key(r, 3, "keys")?;
        r.array_of("keys", ApprovalPurpose::ALL.len())?;
        let mut keys = BTreeMap::new();
        for purpose in ApprovalPurpose::ALL {
            keys.insert(purpose, read_name(r, "keys")?);
        }
        fields.finish(r)?;
        r.finish()?;
        Ok(Self { parent, keys })
    }
}

fn read_name(r: &mut Reader<'_>, field: &'static str) -> Result<Name, DecodeError> {
    let bytes = r.bytes(field)?;
    Name::from_bytes(bytes).map_err(|_| r.fault(field, Fault::Value))
}

impl Authority {
    /// Notes which keys the authority's TPM holds.
    ///
    /// # Errors
    /// What the folder refused.
    pub fn pin_vault(&self, names: &VaultNames) -> Result<(), AuthorityError> {
        Ok(self.folder.put(RECORD.0, RECORD.1, &names.encode())?)
    }

    /// Which keys the authority's TPM must hold.
    ///
    /// # Errors
    /// [`AuthorityError::NoVault`] where that was never noted, [`AuthorityError::Config`] where it does not read.
    pub fn pinned_vault(&self) -> Result<VaultNames, AuthorityError> {
        let record = self
            .folder
            .get(RECORD.0, RECORD.1)?
            .ok_or(AuthorityError::NoVault)?;
        Ok(VaultNames::decode(&record)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_encoding_and_any_other_is_refused() {
        let name = |n: u32| Name::of_public(alcub3_crypto::HashAlg::Sha384, &n.to_be_bytes());
        let keys = ApprovalPurpose::ALL.into_iter().zip([name(1), name(2), name(3)]);
        let names = VaultNames {
            parent: name(0),
            keys: keys.collect(),
        };
        let bytes = names.encode();
        assert_eq!(VaultNames::decode(&bytes).unwrap(), names);
        for cut in 0..bytes.len() {
            assert!(VaultNames::decode(&bytes[..cut]).is_err());
        }
        assert!(VaultNames::decode(&[&bytes[..], &[0]].concat()).is_err());
    }
}
