//! Which command policy the robot follows, where no old disk brings an earlier one back: the store's generation is counted
//! by the chip.

use super::seal::{RecordKey, RecordKind};
use crate::robot::RobotKeys;
use crate::{KeysError, Result};
use alcub3_crypto::Digest;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Reader};
use alcub3_trust_model::domain;

const VERSION: u64 = 1;

/// The policy that was taken last.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct PolicyMark {
    pub(crate) version: u64,
    pub(crate) digest: Digest,
}

impl PolicyMark {
    pub(crate) fn to_canonical(self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::COMMAND_POLICY_MARK, VERSION, 2);
        out.u64(2).u64(self.version).u64(3).digest(&self.digest);
        out.finish()
    }

    pub(crate) fn from_canonical(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::COMMAND_POLICY_MARK, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::COMMAND_POLICY_MARK, VERSION)?;
        fields.key(r, 2, "version")?;
        let version = r.u64("version")?;
        fields.key(r, 3, "digest")?;
        let digest = r.digest("digest")?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self { version, digest })
    }
}

fn key() -> RecordKey {
    RecordKey::new(RecordKind::CommandPolicy, &[])
}

impl RobotKeys {
    /// The policy that was taken last; none where none was. Commands: none once the store is open.
    pub(crate) fn policy_mark(&self) -> Result<Option<PolicyMark>> {
        let body = self.with_store(|store, _| store.get(&key()))?;
        let read = |body: Vec<u8>| {
            PolicyMark::from_canonical(&body).map_err(|source| KeysError::Record {
                name: "the mark of the command policy".to_owned(),
                source,
            })
        };
        body.map(read).transpose()
    }

    /// Notes a policy as taken. Commands: 1 NV_Increment.
    pub(crate) fn mark_policy(&self, mark: PolicyMark) -> Result<()> {
        self.with_store(|store, chip| store.commit(vec![(key(), Some(mark.to_canonical()))], chip))
    }
}
