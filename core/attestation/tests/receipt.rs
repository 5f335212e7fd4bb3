//! Stop receipts signed by a real TPM: what they prove, and that no byte of them can be changed.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod tpm_tools;

use alcub3_attestation::certify::{CertifyError, Signed, verify_certify, verify_creation, verify_nv};
use alcub3_attestation::checkquote::public_key;
use alcub3_attestation::event_log::agent::{AgentEvent, StopEvent, StopScope};
use alcub3_attestation::receipt::{
    self, Expected, MAX_EXTENDS, Outcome, Receipt, ReceiptReason, ReceiptVerdict, Statement, Step, StepTime,
    epoch_before_data, verify_receipt,
};
use alcub3_crypto::tpm::Public;
use alcub3_crypto::{Digest, HashAlg, VerifyingKey};
use alcub3_trust_model::nv_map::{MissionAnchor, NvIndex, NvMap};
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::{BootId, RobotId, StopCause, StopId};
use tpm_tools::Tpm;

const SHA256: HashAlg = HashAlg::Sha256;

struct Robot {
    tpm: Tpm,
    key: VerifyingKey,
    map: NvMap,
}

impl Robot {
    fn new() -> Option<Self> {
        let tpm = Tpm::start()?;
        tpm.attestation_key("ecc", "sha256", "ecdsa");
        let map = NvMap::new(SHA256).unwrap();
        let spec = map.spec(NvIndex::RobotEpoch);
        tpm.run(&format!(
            "tpm2_nvdefine {:#x} -C o -g sha256 -a {:#x}",
            spec.handle, spec.attributes
        ));
        tpm.run(&format!(
            "tpm2_nvincrement {:#x} -C {:#x}",
            spec.handle, spec.handle
        ));
        let key = public_key(&tpm.read("ak.pub")).unwrap();
        Some(Self { tpm, key, map })
    }

    fn certify_epoch(&self, extra_data: &[u8]) -> Signed {
        let handle = NvIndex::RobotEpoch.handle();
        let hex: String = extra_data.iter().map(|byte| format!("{byte:02x}")).collect();
        self.tpm.run(&format!(
            "tpm2_nvcertify -C ak.ctx -c {handle:#x} -g sha256 -s ecdsa -o nv.sig --attestation nv.msg \
             --size 8 --offset 0 -q {hex} {handle:#x}"
        ));
        self.tpm.flush();
        Signed {
            message: self.tpm.read("nv.msg"),
            signature: self.tpm.read("nv.sig"),
        }
    }

    fn quote(&self, extra_data: &[u8]) -> Signed {
        let hex: String = extra_data.iter().map(|byte| format!("{byte:02x}")).collect();
        self.tpm.run(&format!(
            "tpm2_quote -c ak.ctx -l sha256:13 -g sha256 -q {hex} -m q.msg -s q.sig"
        ));
        self.tpm.flush();
        Signed {
            message: self.tpm.read("q.msg"),
            signature: self.tpm.read("q.sig"),
        }
    }

    /// A stop as the robot does it: certification in advance, extend, increment, quote, certification.
    fn stop(&self, before: Digest, id: u8) -> Receipt {
        self.stop_extending(before, id, 1)
    }

    /// A stop whose event was extended several times, because answers were no good.
    fn stop_extending(&self, before: Digest, id: u8, times: u8) -> Receipt {
        let boot = BootId::new([5; 16]);
        let epoch_before = self.certify_epoch(epoch_before_data(SHA256, &boot).as_bytes());
        let robot = RobotId::new("r1").unwrap();
        let event = StopEvent {
            stop: StopId::new([id; 16]),
            robot,
            scope: StopScope::Robot,
            cause: StopCause::ManualTrigger,
            called_utc_ms: 7,
        };
        let extended = AgentEvent::Stop(event.clone()).digest(SHA256);
        for _ in 0..times {
            self.tpm
                .run(&format!("tpm2_pcrextend 13:sha256={}", extended.to_hex()));
        }
        let handle = NvIndex::RobotEpoch.handle();
        self.tpm
            .run(&format!("tpm2_nvincrement {handle:#x} -C {handle:#x}"));
        let steps = Step::ALL.map(|step| StepTime {
            step,
            began_ns: 10,
            ended_ns: 20 + u64::from(step.id()),
            confirmed: true,
        });
        let statement = Statement {
            event,
            boot,
            pcr_before: before,
            pcr_after: receipt::extended(&before, &extended, times),
            extends: times,
            steps: steps.to_vec(),
        };
        let binding = statement.qualifying_data(SHA256);
        Receipt {
            quote: Some(self.quote(binding.as_bytes())),
            epoch_after: Some(self.certify_epoch(binding.as_bytes())),
            epoch_before: Some(epoch_before),
            statement,
            attestation_key: self.key.to_spki_der(),
        }
    }

    /// The receipt with another statement, signed anew.
    fn restated(&self, receipt: &Receipt, change: impl FnOnce(&mut Statement)) -> Receipt {
        let mut statement = receipt.statement.clone();
        change(&mut statement);
        let binding = statement.qualifying_data(SHA256);
        Receipt {
            quote: Some(self.quote(binding.as_bytes())),
            epoch_after: Some(self.certify_epoch(binding.as_bytes())),
            statement,
            ..receipt.clone()
        }
    }

    fn judge(&self, receipt: &[u8]) -> ReceiptVerdict {
        self.judge_alive_at(receipt, None)
    }

    fn judge_alive_at(&self, receipt: &[u8], alive_at: Option<u64>) -> ReceiptVerdict {
        let expected = Expected {
            alive_at,
            anchor: None,
            attestation_key: &self.key,
            nv: self.map,
            pcrs: PcrMap::DEFAULT,
            robot: None,
            stop: None,
        };
        verify_receipt(receipt, &expected)
    }
}

#[test]
fn a_receipt_proves_a_stop_and_no_changed_byte_of_it_does() {
    let Some(robot) = Robot::new() else { return };
    let receipt = robot.stop(Digest::zero(SHA256), 1);
    let bytes = receipt.to_canonical();
    let verdict = robot.judge(&bytes);
    assert_eq!(verdict.outcome, Outcome::Proven, "{verdict:?}");
    assert_eq!(verdict.epoch_after, verdict.epoch_before.map(|epoch| epoch + 1));
    assert!(verdict.epoch_after.is_some() && verdict.unconfirmed.is_empty());
    for at in 0..bytes.len() {
        for pattern in [0x01, 0x80] {
            let mut changed = bytes.clone();
            changed[at] ^= pattern;
            assert_ne!(
                robot.judge(&changed).outcome,
                Outcome::Proven,
                "byte {at} ^ {pattern:#x}"
            );
        }
    }
    assert_eq!(
        robot.judge(&[bytes.as_slice(), &[0]].concat()).reasons,
        [ReceiptReason::Malformed]
    );
}

/// Root has the counter certified, lets what it names begin at the next value, and never increments it again.
#[test]
fn an_increment_from_before_what_was_stopped_proves_nothing_to_who_knows_where_it_lived() {
    let Some(robot) = Robot::new() else { return };
    let receipt = robot.stop(Digest::zero(SHA256), 1);
    let verdict = robot.judge(&receipt.to_canonical());
    let (before, after) = (verdict.epoch_before.unwrap(), verdict.epoch_after.unwrap());
    let judged = |alive_at| {
        let verdict = robot.judge_alive_at(&receipt.to_canonical(), Some(alive_at));
        (verdict.outcome, verdict.reasons)
    };
    assert_eq!(judged(before), (Outcome::Proven, vec![]));
    for alive_at in [after, after + 1] {
        assert_eq!(
            judged(alive_at),
            (Outcome::Refused, vec![ReceiptReason::StillAlive])
        );
    }
}

#[test]
fn a_receipt_of_another_counter_than_the_missions_anchor_is_refused() {
    let Some(robot) = Robot::new() else { return };
    let receipt = robot.stop(Digest::zero(SHA256), 1);
    let expected = Expected {
        attestation_key: &robot.key,
        nv: robot.map,
        pcrs: PcrMap::DEFAULT,
        robot: None,
        stop: None,
        alive_at: None,
        anchor: MissionAnchor::new(3),
    };
    let verdict = verify_receipt(&receipt.to_canonical(), &expected);
    assert_eq!(
        (verdict.outcome, verdict.reasons),
        (Outcome::Refused, vec![ReceiptReason::Anchor])
    );
}

#[test]
fn what_a_receipt_lacks_is_unconfirmed() {
    let Some(robot) = Robot::new() else { return };
    let whole = robot.stop(Digest::zero(SHA256), 1);
    for (lacking, step) in [
        (
            Receipt {
                quote: None,
                ..whole.clone()
            },
            Step::PcrExtended,
        ),
        (
            Receipt {
                epoch_after: None,
                ..whole.clone()
            },
            Step::CounterIncremented,
        ),
        (
            Receipt {
                epoch_before: None,
                ..whole
            },
            Step::CounterIncremented,
        ),
    ] {
        let verdict = robot.judge(&lacking.to_canonical());
        assert_eq!(
            (verdict.outcome, verdict.unconfirmed),
            (Outcome::Incomplete, vec![step])
        );
    }
}

#[test]
fn a_stop_that_was_extended_again_is_proven_as_often_as_it_says_and_within_the_bound() {
    let Some(robot) = Robot::new() else { return };
    let (mut before, mut id) = (Digest::zero(SHA256), 1);
    for times in 1..=MAX_EXTENDS + 1 {
        let receipt = robot.stop_extending(before, id, times);
        let verdict = robot.judge(&receipt.to_canonical());
        let expected = match times {
            ..=MAX_EXTENDS => (Outcome::Proven, vec![]),
            _ => (Outcome::Refused, vec![ReceiptReason::Malformed]),
        };
        assert_eq!((verdict.outcome, verdict.reasons), expected, "{times} times");
        for said in [times - 1, times + 1] {
            let other = robot.restated(&receipt, |statement| statement.extends = said);
            let verdict = robot.judge(&other.to_canonical());
            assert_eq!(verdict.outcome, Outcome::Refused, "{times} times, {said} said");
        }
        (before, id) = (receipt.statement.pcr_after, id + 1);
    }
}

#[test]
fn another_event_between_is_no_repetition() {
    let Some(robot) = Robot::new() else { return };
    let first = robot.stop(Digest::zero(SHA256), 1);
    let second = robot.stop(first.statement.pcr_after, 2);
    // As if the second stop alone had led from the first one's start to where the PCR is now.
    let claimed = robot.restated(&second, |statement| {
        (statement.pcr_before, statement.extends) = (Digest::zero(SHA256), 2);
    });
    let reasons = robot.judge(&claimed.to_canonical()).reasons;
    assert_eq!(reasons, [ReceiptReason::ExtendChain]);
}

#[test]
fn what_the_tpm_signed_proves_its_commands_although_their_answers_were_lost() {
    let Some(robot) = Robot::new() else { return };
    let whole = robot.stop(Digest::zero(SHA256), 1);
    let unconfirmed = |step: Step| {
        robot.restated(&whole, |statement| {
            let of_step = statement.steps.iter_mut().filter(|time| time.step == step);
            of_step.for_each(|time| time.confirmed = false);
        })
    };
    for step in [Step::PcrExtended, Step::CounterIncremented] {
        let verdict = robot.judge(&unconfirmed(step).to_canonical());
        assert_eq!(verdict.outcome, Outcome::Proven, "{step:?}");
    }
    let verdict = robot.judge(&unconfirmed(Step::BlobsDeleted).to_canonical());
    assert_eq!(
        (verdict.outcome, verdict.unconfirmed),
        (Outcome::Incomplete, vec![Step::BlobsDeleted])
    );
}

#[test]
fn parts_of_another_stop_do_not_fit() {
    let Some(robot) = Robot::new() else { return };
    let first = robot.stop(Digest::zero(SHA256), 1);
    let second = robot.stop(first.statement.pcr_after, 2);
    assert_eq!(robot.judge(&second.to_canonical()).outcome, Outcome::Proven);
    let reasons = |receipt: Receipt| robot.judge(&receipt.to_canonical()).reasons;
    let quote = Receipt {
        quote: first.quote.clone(),
        ..second.clone()
    };
    assert_eq!(reasons(quote), [ReceiptReason::QuoteBinding]);
    let after = Receipt {
        epoch_after: first.epoch_after,
        ..second.clone()
    };
    assert_eq!(reasons(after), [ReceiptReason::EpochAfter]);
    let before = Receipt {
        epoch_before: second.epoch_after.clone(),
        ..second.clone()
    };
    assert_eq!(reasons(before), [ReceiptReason::EpochBefore]);
    let key = Receipt {
        attestation_key: public_key(&robot.tpm.read("ek.pub")).unwrap().to_spki_der(),
        ..second
    };
    assert_eq!(reasons(key), [ReceiptReason::AttestationKey]);
}

/// Everything signed anew, but the PCR, the index or the increment is not what the receipt says.
#[test]
fn a_stop_that_did_not_happen_is_not_proven() {
    let Some(robot) = Robot::new() else { return };
    let boot = BootId::new([5; 16]);
    let event = StopEvent {
        stop: StopId::new([1; 16]),
        robot: RobotId::new("r1").unwrap(),
        scope: StopScope::Robot,
        cause: StopCause::ManualTrigger,
        called_utc_ms: 7,
    };
    let before = Digest::zero(SHA256);
    let pcr_after = before.extend(AgentEvent::Stop(event.clone()).digest(SHA256).as_bytes());
    let statement = Statement {
        event,
        boot,
        pcr_before: before,
        pcr_after,
        extends: 1,
        steps: Vec::new(),
    };
    let binding = statement.qualifying_data(SHA256);
    let epoch_before = robot.certify_epoch(epoch_before_data(SHA256, &boot).as_bytes());
    let receipt = Receipt {
        quote: Some(robot.quote(binding.as_bytes())),
        epoch_after: Some(robot.certify_epoch(binding.as_bytes())),
        epoch_before: Some(epoch_before),
        statement,
        attestation_key: robot.key.to_spki_der(),
    };
    let verdict = robot.judge(&receipt.to_canonical());
    assert_eq!(
        verdict.reasons,
        [ReceiptReason::QuotedValue, ReceiptReason::EpochNotIncreased]
    );
    let unchained = Statement {
        pcr_after: before,
        ..receipt.statement.clone()
    };
    let verdict = robot.judge(
        &Receipt {
            statement: unchained,
            ..receipt
        }
        .to_canonical(),
    );
    assert!(verdict.reasons.contains(&ReceiptReason::ExtendChain));
}

#[test]
fn a_certified_counter_names_its_index() {
    let Some(robot) = Robot::new() else { return };
    let signed = robot.certify_epoch(&[1, 2]);
    let nv = verify_nv(&robot.key, &signed, &[1, 2]).unwrap();
    assert_eq!(nv.index_name, robot.map.spec(NvIndex::RobotEpoch).tpm_name(true));
    assert!(nv.counter().is_some());
    assert!(matches!(
        verify_nv(&robot.key, &signed, &[1, 3]),
        Err(CertifyError::ExtraData)
    ));
    assert!(matches!(
        verify_certify(&robot.key, &signed, &[1, 2]),
        Err(CertifyError::Kind(_))
    ));
}

#[test]
fn certified_objects_and_creations_verify() {
    let Some(robot) = Robot::new() else { return };
    let tpm = &robot.tpm;
    tpm.run("tpm2_createprimary -C o -G ecc -g sha256 -c p.ctx --creation-hash p.hash -t p.ticket");
    tpm.run("tpm2_readpublic -c p.ctx -o p.pub");
    tpm.flush();
    tpm.run("tpm2_certifycreation -C ak.ctx -c p.ctx -d p.hash -t p.ticket -g sha256 -s ecdsa -o c.sig --attestation c.msg -q 0a");
    tpm.flush();
    let name = Public::from_tpm2b(&tpm.read("p.pub")).unwrap().name();
    let creation = Signed {
        message: tpm.read("c.msg"),
        signature: tpm.read("c.sig"),
    };
    let verified = verify_creation(&robot.key, &creation, &[0x0a]).unwrap();
    assert_eq!(
        (verified.name, verified.creation_hash),
        (name, tpm.read("p.hash")[2..].to_vec())
    );
    assert!(matches!(
        verify_nv(&robot.key, &creation, &[0x0a]),
        Err(CertifyError::Kind(_))
    ));
    for at in 0..creation.message.len() {
        let mut changed = creation.clone();
        changed.message[at] ^= 1;
        assert!(verify_creation(&robot.key, &changed, &[0x0a]).is_err());
    }
}
