//! Seeds of the records that only the robot's keys read, and of level policies. What has no public constructor is written field
//! by field; a test has the reader take it.

use alcub3_crypto::tpm::{Public, PublicTemplate, attribute};
use alcub3_crypto::{Curve, HashAlg, SigningKey, Suite};
use alcub3_fleet_protocol::level_policy::LevelPolicy;
use alcub3_trust_model::canonical::Encoder;
use alcub3_trust_model::{Level, LevelProfiles};

use super::authority::payload;
use super::structures::signature;
use super::{Seed, SeedResult, seed};

const RECORDS: &str = "own_records";
const POLICY: &str = "level_policy";
const NOW_MS: u64 = 1_790_000_000_000;

pub(super) fn seeds() -> SeedResult<Vec<Seed>> {
    let mut seeds = recoverable_keys()?;
    seeds.push(seed(RECORDS, "purge", purge()?));
    seeds.push(seed(RECORDS, "policy-mark", policy_mark()));
    seeds.extend(provisioning()?);
    seeds.push(seed(RECORDS, "robot", robot()?));
    seeds.push(seed(RECORDS, "commander", commander()?));
    seeds.extend(level_policies()?);
    Ok(seeds)
}

fn public() -> SeedResult<Public> {
    Ok(PublicTemplate::signing_key(Curve::P256, attribute::SIGN, None).to_public()?)
}

fn recoverable_keys() -> SeedResult<Vec<Seed>> {
    let public = public()?;
    let record = |under: u64, fields| {
        let mut out = Encoder::structure("alcub3/recoverable-key/v1", 2, fields);
        out.u64(2).u64(Level::Cui.id().into()).u64(3).text("beacon");
        out.u64(4).bytes(public.as_tpmt_bytes()).u64(5).bytes(&[2; 120]);
        out.u64(6).u64(under);
        if under == 2 {
            out.u64(7).bytes(public.as_tpmt_bytes()).u64(8).bytes(&[3; 120]);
        }
        out.finish()
    };
    Ok(vec![
        seed(RECORDS, "recoverable-level", record(0, 5)),
        seed(RECORDS, "recoverable-root", record(1, 5)),
        seed(RECORDS, "recoverable-recovered", record(2, 7)),
    ])
}

fn policy_mark() -> Vec<u8> {
    let mut out = Encoder::structure("alcub3/command-policy-mark/v1", 1, 2);
    out.u64(2)
        .u64(9)
        .u64(3)
        .digest(&HashAlg::Sha256.digest(&[b"order"]));
    out.finish()
}

fn purge() -> SeedResult<Vec<u8>> {
    let mut out = Encoder::structure("alcub3/purge-intent/v1", 1, 5);
    out.u64(2)
        .u64(9)
        .u64(3)
        .bytes(&signature(Curve::P256, HashAlg::Sha256)?);
    out.u64(4).digest(&HashAlg::Sha256.digest(&[b"order"]));
    out.u64(5).bytes(&[4; 200]).u64(6).u64(NOW_MS);
    Ok(out.finish())
}

fn provisioning() -> SeedResult<Vec<Seed>> {
    let inventory = super::fleet::hardware()?.inventory;
    let journal = |owned: bool| {
        let fields = if owned { 9 } else { 5 };
        let mut out = Encoder::structure("alcub3/provisioning-journal/v1", 3, fields);
        out.u64(2)
            .text("robot-17")
            .u64(3)
            .u64(Curve::P256.tpm_id().into());
        out.u64(4).array(1).u64(Level::Cui.id().into());
        inventory.encode(out.u64(5));
        out.u64(6).array(1).u64(0x8100_0001);
        if owned {
            let name = [&[0, 0x0b][..], HashAlg::Sha256.digest(&[b"key"]).as_bytes()].concat();
            out.u64(7).bytes(&name);
            for key in 8..11 {
                out.u64(key).bytes(&[1; 32]);
            }
        }
        out.finish()
    };
    Ok(vec![
        seed(RECORDS, "provisioning", journal(false)),
        seed(RECORDS, "provisioning-owned", journal(true)),
    ])
}

fn commander() -> SeedResult<Vec<u8>> {
    let policy = HashAlg::Sha256.digest(&[b"policy"]);
    let key = PublicTemplate::hmac_key(HashAlg::Sha256, attribute::NO_DA, Some(&policy)).to_public()?;
    let mut out = Encoder::structure("alcub3/held-command-key/v1", 1, 5);
    out.u64(2)
        .text("operator-1")
        .u64(3)
        .bytes(public()?.name().as_bytes());
    out.u64(4).u64(Curve::P256.tpm_id().into());
    out.u64(5).bytes(key.as_tpmt_bytes()).u64(6).bytes(&[6; 120]);
    Ok(out.finish())
}

fn robot() -> SeedResult<Vec<u8>> {
    let public = public()?;
    let mut out = Encoder::structure("alcub3/robot-record/v1", 2, 9);
    out.u64(2)
        .text("robot-17")
        .u64(3)
        .u64(Curve::P256.tpm_id().into());
    for key in 4..8 {
        out.u64(key).bytes(public.as_tpmt_bytes());
    }
    out.u64(8).array(1).array(3).u64(Level::Cui.id().into());
    out.bytes(public.as_tpmt_bytes()).bytes(public.as_tpmt_bytes());
    let authority = SigningKey::generate(Curve::P256)?.verifying_key();
    out.u64(9)
        .bytes(&authority.to_spki_der())
        .u64(10)
        .bytes(&[5; 300]);
    Ok(out.finish())
}

fn level_policies() -> SeedResult<Vec<Seed>> {
    let builtin = LevelProfiles::builtin();
    let mut rows = *builtin.rows();
    for row in &mut rows {
        row.max_mission_ms /= 2;
        row.suite_floor = Suite::EcdsaP384Sha384;
        row.allowed_resets = 0;
    }
    let policy = |version, profiles| -> SeedResult<Vec<u8>> {
        let policy = LevelPolicy {
            version,
            issued_at_ms: NOW_MS,
            profiles,
        };
        let key = SigningKey::generate(Curve::P256)?;
        payload(&policy.unsigned(Suite::EcdsaP256Sha256).sign(&key)?)
    };
    Ok(vec![
        seed(POLICY, "built-in", policy(1, builtin)?),
        seed(POLICY, "stricter", policy(2, LevelProfiles::tightened(rows)?)?),
    ])
}
