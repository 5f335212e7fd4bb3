//! An attestation lease: what a verdict of "trusted" turns into, and a gate takes.

use crate::campaign::random::Random;
use crate::campaign::{Change, Judgement, Kind, Parts, twins};
use crate::software_robot::{BANK, NOW_MS};
use alcub3_command_authority::{AttestationLease, LeaseError, VerifiedLease};
use alcub3_crypto::{Curve, Digest, SigningKey, VerifyingKey};
use alcub3_trust_model::{BootId, LeaseId, Level, LevelProfiles, RobotId};

/// r ‖ s at the end of the message.
const SIGNATURE_BYTES: usize = 64;

/// What a gate expects of a lease.
#[derive(Clone)]
struct Setting {
    what: String,
    key: VerifyingKey,
    robot: RobotId,
    boot: BootId,
    lease: LeaseId,
    level: Level,
    now_ms: u64,
}

impl Setting {
    fn but(&self, what: &str, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        what.clone_into(&mut other.what);
        change(&mut other);
        other
    }

    fn judge(&self, bytes: &[u8]) -> Judgement {
        let profiles = LevelProfiles::builtin();
        let lease = match VerifiedLease::verify(bytes, &self.key, &self.robot, self.boot, &profiles) {
            Ok(lease) => lease,
            Err(LeaseError::Cose(source)) => return Judgement::Refused(code("cose", &source)),
            Err(other) => return Judgement::Refused(code("lease", &other)),
        };
        match lease.supports(self.lease, self.level, self.now_ms) {
            Ok(()) => Judgement::Accepted(format!("{:?}", lease.lease())),
            Err(reason) => Judgement::Refused(code("lease", &reason)),
        }
    }
}

fn code(of: &str, error: &impl core::fmt::Debug) -> String {
    let debug = format!("{error:?}");
    let name = debug.split(|c: char| !c.is_alphanumeric()).next();
    format!("{of} {}", name.unwrap_or_default())
}

fn signed(lease: &AttestationLease, key: &SigningKey) -> Vec<u8> {
    lease.unsigned(key.suite()).sign(key).unwrap()
}

pub fn of_a_boot() -> Kind {
    let key = SigningKey::generate(Curve::P256).unwrap();
    let stranger = SigningKey::generate(Curve::P256).unwrap();
    let another = SigningKey::generate(Curve::P256).unwrap();
    let lease = AttestationLease {
        robot: RobotId::new("r1").unwrap(),
        lease: LeaseId::new([2; 16]),
        boot: BootId::new([1; 16]),
        ceiling: Level::Cui,
        not_before_ms: NOW_MS - 1000,
        not_after_ms: NOW_MS + 5000,
        verdict: BANK.digest(&[b"verdict"]),
    };
    let genuine = Setting {
        what: "the genuine gate".to_owned(),
        key: key.verifying_key(),
        robot: lease.robot.clone(),
        boot: lease.boot,
        lease: lease.lease,
        level: lease.ceiling,
        now_ms: NOW_MS,
    };
    let mut settings = vec![
        genuine.clone(),
        genuine.but("another verifier's key", |gate| {
            gate.key = another.verifying_key();
        }),
        genuine.but("another robot", |gate| gate.robot = RobotId::new("r2").unwrap()),
        genuine.but("a higher level", |gate| gate.level = Level::Secret),
        genuine.but("a time before", |gate| gate.now_ms = lease.not_before_ms - 1),
        genuine.but("the time of its end", |gate| gate.now_ms = lease.not_after_ms),
    ];
    for bit in 0..128 {
        let flipped = |id: &[u8; 16]| {
            let mut id = *id;
            id[bit / 8] ^= 1 << (bit % 8);
            id
        };
        settings.push(genuine.but(&format!("a boot with bit {bit} flipped"), |gate| {
            gate.boot = BootId::new(flipped(gate.boot.as_bytes()));
        }));
        settings.push(genuine.but(&format!("a lease with bit {bit} flipped"), |gate| {
            gate.lease = LeaseId::new(flipped(gate.lease.as_bytes()));
        }));
    }
    let bytes = signed(&lease, &key);
    let comparing = bytes.clone();
    let changing = bytes.clone();
    Kind {
        name: "lease",
        part_names: vec!["lease"],
        genuine: vec![bytes],
        others: settings.iter().skip(1).map(|gate| gate.what.clone()).collect(),
        fields: Box::new(move |random| field(&lease, &changing, &stranger, random)),
        judge: Box::new(move |parts, gate| settings[gate].judge(&parts[0])),
        same_meaning: Box::new(move |parts| same_meaning(&comparing, parts)),
    }
}

/// Another lease under the genuine signature, or another signature under the genuine lease.
fn field(genuine: &AttestationLease, bytes: &[u8], stranger: &SigningKey, random: &mut Random) -> Change {
    let mut lease = genuine.clone();
    match random.below(8) {
        0 => lease.robot = RobotId::new(format!("r{}", random.next() % 100_000)).unwrap(),
        1 => lease.lease = LeaseId::new(random.array()),
        2 => lease.boot = BootId::new(random.array()),
        3 => lease.ceiling = *random.pick(&Level::ALL),
        4 => lease.not_before_ms = random.near(lease.not_before_ms),
        5 => lease.not_after_ms = random.near(lease.not_after_ms),
        6 => lease.verdict = Digest::from_slice(BANK, &random.array::<32>()).unwrap(),
        _ => {}
    }
    let mut changed = signed(&lease, stranger);
    let at = bytes.len() - SIGNATURE_BYTES;
    let what = match random.below(4) {
        0 if lease == *genuine => {
            changed = bytes.to_vec();
            let twin = twins::twin(&bytes[at..]);
            changed[at..].copy_from_slice(&twin);
            "the signature's twin".to_owned()
        }
        0 => format!("a stranger's {lease:?}"),
        _ => {
            let end = changed.len() - SIGNATURE_BYTES;
            changed[end..].copy_from_slice(&bytes[at..]);
            format!("{lease:?}")
        }
    };
    Some((what, vec![changed]))
}

fn same_meaning(genuine: &[u8], parts: &Parts) -> Option<&'static str> {
    let at = genuine.len() - SIGNATURE_BYTES;
    let changed = &parts[0];
    let same = changed.len() == genuine.len() && changed[..at] == genuine[..at];
    (same && twins::twin(&genuine[at..]) == changed[at..]).then_some(twins::CLASS)
}
