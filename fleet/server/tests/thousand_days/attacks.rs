//! What is done to robots, evidence and messages: nothing of it is trusted.

use alcub3_attestation::appraisal::{Reason, Verdict};
use alcub3_attestation::event_log::agent::AgentEvent;
use alcub3_attestation::event_log::builder::{Boot, Builder};
use alcub3_crypto::HashAlg;
use alcub3_fleet_protocol::attestation::{AttestRequest, EvidenceMessage};
use alcub3_server::EXCHANGE_MS;
use alcub3_trust_model::MissionId;

use super::living::program;
use super::support::robot::BANK;
use super::{Fleet, ROBOTS};

impl Fleet {
    /// What comes of evidence that is not as it should be: never trust.
    pub fn refused(&mut self, at: usize, evidence: &[u8], what: &'static str) -> Option<Verdict> {
        self.count(what);
        match self.world.authority.appraise(evidence, self.now) {
            Err(_) => None,
            Ok(appraised) => {
                assert!(!appraised.verdict.is_trusted(), "false pass: {what}");
                assert_eq!(appraised.answer.lease, None, "a lease: {what}");
                if appraised.verdict.attested().is_some() {
                    self.judged(at, false);
                }
                Some(appraised.verdict)
            }
        }
    }

    pub fn attack(&mut self, at: usize) {
        // From what the authority knows, so that what goes back goes back behind it.
        self.attest(at);
        let request = self.ask(at);
        match self.course.below(11) {
            0 => self.intruder(at, &request),
            1 => self.other_loader(at, &request),
            2 => self.replay(at, &request),
            3 => self.another_robot(at, &request),
            4 => self.sequence_back(at, &request),
            5 => self.resets_back(at, &request),
            6 => self.lost_entries(at, &request),
            7 => self.late_answer(at, &request),
            8 => self.hidden_mission_end(at, &request),
            9 => self.forged_rearm(at),
            _ => self.flipped_bit(at, &request),
        }
    }

    fn intruder(&mut self, at: usize, request: &AttestRequest) {
        // A program that nobody knows; it stays found until the machine starts anew.
        let list = self.robots[at].measured.clone();
        self.robots[at]
            .measured
            .file("/tmp/intruder", &BANK.digest(&[b"x"]));
        let evidence = self.robots[at].evidence(request);
        let verdict = self.refused(at, &evidence, "intruders");
        assert!(verdict.unwrap().has(Reason::RuntimeFile));
        let request = self.ask(at);
        let evidence = self.robots[at].evidence(&request);
        assert!(self.refused(at, &evidence, "intruders again").is_some());
        self.robots[at].measured = list;
        self.power_cut(at);
    }

    fn other_loader(&mut self, at: usize, request: &AttestRequest) {
        let good = self.robots[at].uefi_log.clone();
        let mut log = Builder::new(&[HashAlg::Sha1, BANK]).unwrap();
        log.uefi_boot(&Boot {
            boot_loader: b"another loader",
            ..Boot::default()
        });
        self.robots[at].uefi_log = log.finish();
        let evidence = self.robots[at].evidence(request);
        assert!(self.refused(at, &evidence, "other boot loaders").is_some());
        self.robots[at].uefi_log = good;
    }

    fn replay(&mut self, at: usize, request: &AttestRequest) {
        let Some(old) = self.kept.pop() else { return };
        self.refused(at, &old, "replays");
        // Under a new session its quote binds another nonce.
        let mut message = EvidenceMessage::from_canonical(&old).unwrap();
        message.session = request.session;
        message.robot = self.robots[at].id.clone();
        self.refused(at, &message.to_canonical(), "replays in a new exchange");
    }

    fn another_robot(&mut self, at: usize, request: &AttestRequest) {
        let other = (at + 1) % ROBOTS;
        let evidence = self.robots[other].evidence(request);
        let mut message = EvidenceMessage::from_canonical(&evidence).unwrap();
        self.refused(at, &message.to_canonical(), "another robot's evidence");
        let request = self.ask(at);
        let evidence = self.robots[other].evidence(&request);
        message = EvidenceMessage::from_canonical(&evidence).unwrap();
        message.robot = self.robots[at].id.clone();
        self.refused(at, &message.to_canonical(), "another robot's evidence renamed");
    }

    fn sequence_back(&mut self, at: usize, request: &AttestRequest) {
        // Of an old disk: the sequence goes back.
        let sequence = self.robots[at].sequence;
        self.robots[at].sequence = sequence.saturating_sub(3);
        let evidence = self.robots[at].evidence(request);
        let verdict = self.refused(at, &evidence, "sequences that go back");
        assert!(verdict.unwrap().has(Reason::Sequence));
        self.robots[at].sequence = sequence;
    }

    fn resets_back(&mut self, at: usize, request: &AttestRequest) {
        let clock = self.robots[at].clock;
        self.robots[at].clock.reset_count -= 1;
        let evidence = self.robots[at].evidence(request);
        let verdict = self.refused(at, &evidence, "reset counts that go back");
        assert!(verdict.unwrap().has(Reason::ResetCount));
        self.robots[at].clock = clock;
    }

    fn lost_entries(&mut self, at: usize, request: &AttestRequest) {
        // Entries that the PCR holds and the list does not.
        let quoted = self.robots[at].measured.clone();
        program(&mut self.robots[at].measured, 7);
        let pcrs = self.robots[at].pcrs();
        self.robots[at].measured = quoted;
        let evidence = self.robots[at].evidence_of(request, pcrs);
        let verdict = self.refused(at, &evidence, "lists that lost entries");
        assert!(verdict.unwrap().has(Reason::RuntimeLogMismatch));
    }

    fn late_answer(&mut self, at: usize, request: &AttestRequest) {
        let evidence = self.robots[at].evidence(request);
        let late = self.now + EXCHANGE_MS;
        self.count("answers too late");
        self.world.authority.appraise(&evidence, late).unwrap_err();
    }

    fn flipped_bit(&mut self, at: usize, request: &AttestRequest) {
        let mut evidence = self.robots[at].evidence(request);
        let byte = usize::try_from(self.course.next()).unwrap_or_default() % evidence.len();
        evidence[byte] ^= 1 << self.course.below(8);
        self.count("flipped bits");
        // A bit of what is not signed and not judged (the wish for a lease) changes nothing; a robot that is trusted is.
        if let Ok(appraised) = self.world.authority.appraise(&evidence, self.now) {
            let trusted = appraised.verdict.is_trusted();
            if trusted {
                self.count("flipped bits that mean nothing");
            }
            if appraised.verdict.attested().is_some() {
                self.judged(at, trusted);
            }
        }
    }

    /// A mission's end that the retire PCR holds and the agent's log does not.
    fn hidden_mission_end(&mut self, at: usize, request: &AttestRequest) {
        let end = AgentEvent::MissionEnded(MissionId::new(self.course.id()));
        self.robots[at].retired.push(end);
        let pcrs = self.robots[at].pcrs();
        self.robots[at].retired.pop();
        let evidence = self.robots[at].evidence_of(request, pcrs);
        let verdict = self.refused(at, &evidence, "hidden mission ends");
        assert!(verdict.unwrap().has(Reason::AgentLogMismatch));
    }
}
