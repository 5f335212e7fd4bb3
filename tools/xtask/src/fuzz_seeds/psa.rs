//! Seeds of PSA attestation tokens: claims-sets that the fuzz target signs.

use alcub3_attestation::evidence::Nonce;
use alcub3_attestation::psa::{PROFILE, challenge};
use alcub3_crypto::HashAlg;
use alcub3_trust_model::RobotId;
use alcub3_trust_model::canonical::Encoder;

use super::{Seed, SeedResult, seed};

/// What the fuzz target has for a state and a nonce, and whom it judges.
const STATE: &[u8] = b"no state of a robot";
const NONCE: Nonce = Nonce([7; 32]);
const ROBOT: &str = "robot-17";

pub(super) fn seeds() -> SeedResult<Vec<Seed>> {
    let mut seeds = Vec::new();
    for alg in [HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512] {
        seeds.push(seed("psa_token", format!("claims-{alg}"), claims(alg, false)?));
    }
    seeds.push(seed("psa_token", "every-claim", claims(HashAlg::Sha256, true)?));
    Ok(seeds)
}

fn claims(alg: HashAlg, every: bool) -> SeedResult<Vec<u8>> {
    let robot = RobotId::new(ROBOT)?;
    let nonce = challenge(alg, &NONCE, &robot, &alg.digest(&[STATE])).ok_or("the algorithm is approved")?;
    let mut out = Encoder::new();
    out.map(if every { 10 } else { 7 })
        .u64(10)
        .bytes(nonce.as_bytes());
    out.u64(256).bytes(&[&[1], &[2; 32][..]].concat());
    out.u64(265).text(PROFILE);
    if every {
        out.u64(268).bytes(&[6; 16]);
    }
    out.u64(2394)
        .i64(-1)
        .u64(2395)
        .u64(0x3000)
        .u64(2396)
        .bytes(&[0; 32]);
    if every {
        out.u64(2398).text("0716053824013-10010");
    }
    out.u64(2399)
        .array(1)
        .map(4)
        .u64(1)
        .text("PRoT")
        .u64(2)
        .bytes(&[3; 32]);
    out.u64(4).text("1.2.3+4").u64(5).bytes(&[4; 32]);
    if every {
        out.u64(2400).text("https://verify.example/psa");
    }
    Ok(out.finish())
}
