//! What an authority does for running missions, with its keys in software: later ends, shared keys, leases.
#![allow(dead_code, missing_docs, unreachable_pub)]

use crate::support::{LEVEL, LONG, Life, NOW_MS, SoftAuthority, open_tpm, robot_id, steady};
use alcub3_agent::{Asked, PlatformLogs, Robot, Surroundings};
use alcub3_command_authority::{
    Arguments, AttestationLease, CommandEnvelope, CommandName, MissionToken, Value, VerifiedMission,
};
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::{Digest, HashAlg, SigningKey, Suite};
use alcub3_fleet_protocol::commander::commander_policy;
use alcub3_fleet_protocol::extension::{ExtendedToken, ExtensionRequest};
use alcub3_fleet_protocol::hand_over::{HandOverRequest, HandedOverToken};
use alcub3_fleet_protocol::mission::MissionApproval;
use alcub3_fleet_protocol::shared_key::{Recipient, SharedKeyRequest, SharedSecret};
use alcub3_keys::{MissionKeyRecord, MissionRecord};
use alcub3_testkit::Swtpm;
use alcub3_tpm::ops::{Key, PolicyInputs};
use alcub3_tpm::{Auth, Lane, OsEntropy, Tpm};
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::{
    AttestationKind, Integrity, Labels, LevelProfiles, MissionId, MissionKeyPurpose, OperatorId, SessionId,
};

pub fn alice() -> OperatorId {
    OperatorId::new("alice").unwrap()
}

impl SoftAuthority {
    pub fn token(&self, record: &MissionRecord) -> MissionToken {
        let verified = VerifiedMission::as_approved(
            record.token_in_force(),
            &self.signing.verifying_key(),
            &robot_id(),
        );
        verified.unwrap().token().clone()
    }

    /// The approval of a token with another end, whatever it says.
    pub fn approve_token(&self, token: &MissionToken, session: SessionId) -> Vec<u8> {
        let end_approval = self.approve_end_of(token);
        let token = token.unsigned(self.signing.suite()).sign(&self.signing).unwrap();
        MissionApproval {
            session,
            token,
            end_approval,
        }
        .to_canonical()
    }

    /// The later token that a request asks for, as the authority checks it.
    pub fn extended(&self, request: &[u8], record: &MissionRecord, session: SessionId) -> MissionToken {
        let request = ExtensionRequest::from_canonical(request).unwrap();
        let token = self.token(record);
        let later = ExtendedToken::of(
            &request,
            &token,
            &self.enrolment(),
            session,
            (&LevelProfiles::builtin(), NOW_MS),
        );
        later.unwrap().token().clone()
    }

    /// The token of a hand-over that the robot asks for, as the authority makes it.
    pub fn handed_over(
        &self,
        robot: &Robot,
        mission: MissionId,
        session: SessionId,
        (who, key): (&str, &SigningKey),
    ) -> MissionToken {
        let request = robot.hand_over_request(session, mission).unwrap();
        let request = HandOverRequest::from_canonical(&request).unwrap();
        let known = self.token(&robot.keys().mission(mission).unwrap());
        let to = (vec![Self::commander(who, key)], NOW_MS);
        let handed = HandedOverToken::of(&request, &known, &self.enrolment(), session, to);
        handed.unwrap().token().clone()
    }

    /// Whom a shared key is wrapped for.
    pub fn recipient(&self, request: &[u8], record: &MissionRecord, session: SessionId) -> Recipient {
        let request = SharedKeyRequest::from_canonical(request).unwrap();
        let (token, anchors) = (self.token(record), self.anchors());
        let map = PcrMap::DEFAULT;
        Recipient::verify(&request, &token, &self.enrolment(), &anchors, &map, session).unwrap()
    }
}

impl Life {
    /// Moves a mission's end to `lasts_ms` after its start.
    pub fn move_end(&mut self, record: &MissionRecord, lasts_ms: u64) -> MissionRecord {
        let session = self.next_session();
        let request = self
            .robot()
            .extension_request(session, record.mission, lasts_ms)
            .unwrap();
        let later = self.authority.extended(&request, record, session);
        let approval = self.authority.approve_token(&later, session);
        self.robot()
            .extend_mission(session, record.mission, &approval, NOW_MS)
            .unwrap()
    }

    /// Asks for a shared key; the authority's view of the robot, and the exchange.
    pub fn ask_for_shared(
        &mut self,
        record: &MissionRecord,
        purpose: MissionKeyPurpose,
    ) -> (Recipient, SessionId) {
        let session = self.next_session();
        let request = self
            .robot()
            .shared_key_request(session, record.mission, purpose)
            .unwrap();
        (self.authority.recipient(&request, record, session), session)
    }

    /// The robot takes a lease for this boot.
    pub fn take_lease(&self) {
        self.robot().take_lease(&self.lease()).unwrap();
    }

    /// A lease for this boot.
    pub fn lease(&self) -> Vec<u8> {
        self.lease_from(NOW_MS)
    }

    /// A lease for this boot that begins then.
    pub fn lease_from(&self, not_before_ms: u64) -> Vec<u8> {
        let lease = AttestationLease {
            robot: robot_id(),
            lease: self.robot().lease_id(),
            boot: self.robot().boot(),
            ceiling: LEVEL,
            not_before_ms,
            not_after_ms: not_before_ms + 60_000,
            verdict: HashAlg::Sha256.digest(&[b"trusted"]),
        };
        let signing = &self.authority.signing;
        lease.unsigned(signing.suite()).sign(signing).unwrap()
    }

    /// A command of alice's for this robot.
    pub fn envelope(&self, record: &MissionRecord, sequence: u64) -> CommandEnvelope {
        CommandEnvelope {
            robot: robot_id(),
            mission: record.mission,
            lease: self.robot().lease_id(),
            issuer: alice(),
            sequence,
            issued_at_ms: NOW_MS,
            expires_at_ms: NOW_MS + 10_000,
            command: CommandName::new("move.velocity").unwrap(),
            labels: Labels::new(LEVEL, Integrity::Operational),
            arguments: Arguments::new()
                .with("velocity_x_mm_per_s", Value::Int(100))
                .unwrap(),
        }
    }
}

/// The reason codes of the last audit entries, by looking for them in the log's bytes: the log's own form is tested
/// elsewhere.
pub fn audit_names(life: &Life, code: &str) -> bool {
    let log = std::fs::read(life.path().join("audit.log")).unwrap();
    log.windows(code.len()).any(|window| window == code.as_bytes())
}

pub fn message() -> Digest {
    HashAlg::Sha256.digest(&[b"a message of the mission"])
}

/// The TPM of whoever commands: its copy of the secret is in it, and only HMACs come out.
pub struct Commander {
    _swtpm: Swtpm,
    tpm: Tpm,
    key: Key,
}

impl Commander {
    /// Imports the secret under a storage key of its own.
    pub fn new(secret: &SharedSecret) -> Self {
        let swtpm = Swtpm::start().unwrap();
        let (tpm, _) = open_tpm(swtpm.transport());
        let parent = tpm
            .run(Lane::Background, LONG, |chip| {
                let template = PublicTemplate::storage_parent(alcub3_crypto::Curve::P256);
                let owner = alcub3_tpm::ops::Hierarchy::Owner;
                chip.create_primary(owner, Auth::Empty, template.as_tpmt_bytes(), None, &[])
            })
            .unwrap()
            .object;
        let wrapped = secret
            .wrap_for_commander(parent.public(), &mut OsEntropy)
            .unwrap();
        let key = tpm
            .run(Lane::Background, LONG, move |chip| {
                let parent = Key::from(parent);
                let private = chip.import(
                    &parent,
                    Auth::Empty,
                    &wrapped.public,
                    &wrapped.duplicate,
                    &wrapped.encrypted_seed,
                )?;
                chip.load(&parent, Auth::Empty, &private, &wrapped.public)
            })
            .unwrap();
        Self {
            _swtpm: swtpm,
            tpm,
            key: Key::from(key),
        }
    }

    fn tag(&self, data: Vec<u8>) -> Digest {
        let key = self.key.clone();
        let tag = self.tpm.run(Lane::Command, LONG, move |chip| {
            let policy = commander_policy(HashAlg::Sha256).unwrap();
            let session = chip.policy_session(&policy, &PolicyInputs::new())?;
            chip.hmac(&key, Auth::Policy(&session), &data)
        });
        Digest::from_slice(HashAlg::Sha256, tag.unwrap().expose()).unwrap()
    }

    pub fn command(&self, life: &Life, record: &MissionRecord, sequence: u64) -> Vec<u8> {
        let unsigned = life.envelope(record, sequence).unsigned(Suite::HmacSha256);
        let tag = self.tag(unsigned.to_be_signed());
        unsigned.finish(tag.as_bytes().to_vec()).unwrap()
    }
}

/// Gives a robot its copy of a command secret.
pub fn share(life: &mut Life, record: &MissionRecord, secret: &SharedSecret) -> MissionKeyRecord {
    share_for(life, record, secret, MissionKeyPurpose::CommandMac)
}

/// Gives a robot its copy of a secret of this purpose.
pub fn share_for(
    life: &mut Life,
    record: &MissionRecord,
    secret: &SharedSecret,
    purpose: MissionKeyPurpose,
) -> MissionKeyRecord {
    let (recipient, session) = life.ask_for_shared(record, purpose);
    let (alice, commands) = (alice(), purpose == MissionKeyPurpose::CommandMac);
    let key = secret
        .wrap_for(&recipient, commands.then_some(&alice), &mut OsEntropy)
        .unwrap();
    let signing = &life.authority.signing;
    let message = key.unsigned(signing.suite()).sign(signing).unwrap();
    life.robot()
        .take_shared_key(session, record.mission, &message, NOW_MS)
        .unwrap()
}

pub fn command_secret() -> SharedSecret {
    shared_secret(MissionKeyPurpose::CommandMac)
}

pub fn shared_secret(purpose: MissionKeyPurpose) -> SharedSecret {
    SharedSecret::generate(purpose, HashAlg::Sha256, &mut OsEntropy).unwrap()
}

/// Every operation on a running mission with the number of TPM commands it takes in the steady state, what it has done in
/// the background included.
pub fn counted_mission_operations(life: &mut Life) -> Vec<(String, u64)> {
    let mut counts = Vec::new();
    let settle = |life: &Life| {
        let flushed = life.tpm.run(Lane::Background, LONG, |chip| chip.flush_dropped());
        flushed.unwrap();
    };
    let mut count = |life: &mut Life, operation: &str, work: &mut dyn FnMut(&mut Life)| {
        settle(life);
        let before = life.counts.total();
        work(life);
        settle(life);
        counts.push((operation.to_owned(), life.counts.total() - before));
    };
    let mission = life.start_mission(3_600_000);
    let id = mission.mission;
    let mut session = life.next_session();
    let (asked, nowhere) = (steady(life.robot()), Surroundings::unknown());
    let asked = Asked {
        kind: AttestationKind::Mission(mission.mission),
        ..asked
    };
    count(life, "attest: mission", &mut |life| {
        life.robot()
            .evidence(&asked, &nowhere, &PlatformLogs::NONE, NOW_MS)
            .unwrap();
    });
    count(life, "shared key: request", &mut |life| {
        let purpose = MissionKeyPurpose::CommandMac;
        life.robot().shared_key_request(session, id, purpose).unwrap();
    });
    session = life.next_session();
    count(life, "mission: request a later end", &mut |life| {
        let request = life.robot().extension_request(session, id, 7_200_000);
        request.unwrap();
    });
    let request = life.robot().extension_request(session, id, 7_200_000).unwrap();
    let later = life.authority.extended(&request, &mission, session);
    let approval = life.authority.approve_token(&later, session);
    count(life, "mission: move its end", &mut |life| {
        life.robot()
            .extend_mission(session, id, &approval, NOW_MS)
            .unwrap();
    });
    let session = life.next_session();
    count(life, "mission: request a hand-over", &mut |life| {
        life.robot().hand_over_request(session, id).unwrap();
    });
    let handed = life
        .authority
        .handed_over(life.robot(), id, session, ("alice", &life.authority.operator));
    let approval = life.authority.approve_token(&handed, session);
    count(life, "mission: hand over", &mut |life| {
        life.robot()
            .hand_over_mission(session, id, &approval, NOW_MS)
            .unwrap();
    });
    let mut made = Vec::new();
    for purpose in MissionKeyPurpose::ALL {
        count(life, &format!("mission key: create, {purpose}"), &mut |life| {
            let keys = life.robot().create_mission_keys(id, purpose, 1, NOW_MS);
            made.extend(keys.unwrap());
        });
    }
    let load = |life: &Life, at: usize| life.robot().further_key(id, made[at].key).unwrap();
    let (mac, data) = (load(life, 1), load(life, 2));
    // The approval of the end is verified by the chip once; its ticket is kept.
    let armed = life.robot().keys().arm(&mac).unwrap();
    count(life, "mission key: MAC in an armed session", &mut |life| {
        let tag = life.robot().keys().mac_armed(&mac, &armed, b"x".to_vec());
        tag.unwrap();
    });
    drop(armed);
    let record = &made[2];
    count(life, "mission key: seal or open data", &mut |life| {
        life.robot().keys().seal_data(record, &data, b"x").unwrap();
    });
    drop((mac, data));
    count(life, "mission: look for ends that have passed", &mut |life| {
        let ended = life.robot().end_expired_missions(Some(NOW_MS)).unwrap();
        assert!(ended.is_empty());
    });
    let mission = life.robot().keys().mission(id).unwrap();
    life.take_lease();
    let secret = command_secret();
    let (recipient, session) = life.ask_for_shared(&mission, MissionKeyPurpose::CommandMac);
    let key = secret
        .wrap_for(&recipient, Some(&alice()), &mut OsEntropy)
        .unwrap();
    let signing = &life.authority.signing;
    let shared = key.unsigned(signing.suite()).sign(signing).unwrap();
    // The new end's approval is verified by the chip the first time.
    life.robot().mission_sign(id, None, message(), NOW_MS).unwrap();
    let mut taken = None;
    count(
        life,
        "shared key: take a command key and arm its first session",
        &mut |life| {
            let record = life
                .robot()
                .take_shared_key(session, id, &shared, NOW_MS)
                .unwrap();
            taken = Some(life.robot().further_key(id, record.key).unwrap());
            wait_until_ready(taken.as_ref().unwrap());
        },
    );
    let key = taken.unwrap();
    let envelope = Commander::new(&secret).command(life, &mission, 1);
    count(
        life,
        "command: verdict by a key in the chip, and the next session armed",
        &mut |life| {
            let verdict = life.robot().validate(&envelope, Some(NOW_MS)).unwrap();
            assert!(matches!(verdict, alcub3_security_hal::GateVerdict::Admitted(_)));
            wait_until_ready(&key);
        },
    );
    counts
}

fn wait_until_ready(key: &alcub3_keys::MissionKey) {
    let until = std::time::Instant::now() + LONG;
    while !key.is_armed_ahead() {
        assert!(std::time::Instant::now() < until, "no session is armed ahead");
        std::thread::yield_now();
    }
}
