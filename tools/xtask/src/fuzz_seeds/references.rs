//! Seeds of reference values: the text that people write, and a CoRIM.

use super::{Seed, SeedResult, seed};
use alcub3_attestation::appraisal::{ReferenceValues, RuntimeReferences};
use alcub3_attestation::corim::{Naming, write};
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::event_log::builder::{Boot, Builder};
use alcub3_attestation::ima::ImaLog;
use alcub3_attestation::ima::builder::ListBuilder;
use alcub3_crypto::HashAlg;

pub(super) fn seeds() -> SeedResult<Vec<Seed>> {
    let bank = HashAlg::Sha256;
    let log = Builder::new(&[bank])?
        .uefi_boot(&Boot::default())
        .clone()
        .finish();
    let mut list = ListBuilder::new();
    list.file("/usr/bin/driver", &bank.digest(&[b"driver"]));
    let runtime = RuntimeReferences::golden(&ImaLog::parse(list.bytes())?)?;
    let references = ReferenceValues::golden(&EventLog::parse(&log)?, bank)?.with_runtime(runtime);
    let naming = Naming {
        id: "rover",
        vendor: "Rover Works",
        model: "RW-7",
    };
    let corim = write(&references, &naming, false)?;
    Ok(vec![
        seed("evidence", "references-toml", references.to_toml().into_bytes()),
        seed("corim", "rover", corim),
    ])
}
