//! Two robots attest each other with no authority in reach, each on a TPM of its own.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_agent::{
    AgentError, LogSource, PEER_EXCHANGE_MS, PeerJudged, PlatformLogs, Surroundings, provision,
};
use alcub3_attestation::appraisal::{AppraisalPolicy, Reason, ReferenceValues, RuleInForce};
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::event_log::builder::{Boot, Builder};
use alcub3_crypto::HashAlg;
use alcub3_fleet_protocol::StopStanding;
use alcub3_fleet_protocol::attestation::EvidenceMessage;
use alcub3_fleet_protocol::policy_bundle::{PeerPolicy, PolicyBundle};
use alcub3_keys::StateFolder;
use alcub3_testkit::PowerUp;
use alcub3_tpm::Lane;
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::{HardwareTier, Level, RobotId};
use support::{LONG, Life, NOW_MS, SoftAuthority, request};

const BANK: HashAlg = HashAlg::Sha256;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const LEASE_MS: u64 = 300_000;

fn boot_log() -> Vec<u8> {
    let mut log = Builder::new(&[BANK]).unwrap();
    log.uefi_boot(&Boot::default());
    log.finish()
}

/// The machine's firmware and boot loader measure into the robot's TPM.
fn boot(life: &Life) {
    let log = boot_log();
    let log = EventLog::parse(&log).unwrap();
    let extended = log.events().iter().filter(|event| event.is_extended());
    let events: Vec<_> = extended
        .map(|event| (u32::from(event.pcr), event.digest(BANK).unwrap()))
        .collect();
    let extend = move |chip: &mut alcub3_tpm::Chip| {
        let mut events = events.iter();
        events.try_for_each(|(pcr, digest)| chip.pcr_extend(*pcr, std::slice::from_ref(digest)))
    };
    life.tpm.run(Lane::Background, LONG, extend).unwrap();
}

fn named(name: &str, authority: SoftAuthority) -> Life {
    let mut life = Life::blank();
    life.authority = authority;
    boot(&life);
    let mut asked = request(&life.authority);
    asked.robot = RobotId::new(name).unwrap();
    {
        let state = StateFolder::open(&life.path()).unwrap();
        provision(&life.tpm, &state, &asked, &mut life.authority).unwrap();
    }
    life.open();
    life.rearm();
    life
}

/// Two robots of one authority, which then is out of reach but for the bundles it has signed.
struct Pair {
    one: Life,
    two: Life,
    peers: Vec<PeerPolicy>,
}

impl Pair {
    fn new() -> Self {
        let mut one = named("one", SoftAuthority::new());
        let peer = |life: &Life| PeerPolicy {
            enrolment: life.authority.enrolled.as_ref().unwrap().signed_record.clone(),
            references: ReferenceValues::golden(&EventLog::parse(&boot_log()).unwrap(), BANK)
                .unwrap()
                .to_json(),
            rearmed: Vec::new(),
            stops: StopStanding::default(),
            min_tier: HardwareTier::Simulator,
            lease_ms: LEASE_MS,
            rule: None,
        };
        let first = peer(&one);
        let two = named("two", std::mem::replace(&mut one.authority, SoftAuthority::new()));
        let peers = vec![first, peer(&two)];
        Self { one, two, peers }
    }

    fn bundle(&self, version: u64, change: impl FnOnce(&mut PolicyBundle)) -> Vec<u8> {
        let mut bundle = PolicyBundle {
            version,
            issued_at_ms: NOW_MS,
            not_after_ms: NOW_MS + DAY_MS,
            peers: self.peers.clone(),
        };
        change(&mut bundle);
        let signing = &self.two.authority.signing;
        bundle.unsigned(signing.suite()).sign(signing).unwrap()
    }

    fn with_bundle() -> Self {
        let pair = Self::new();
        let bundle = pair.bundle(1, |_| ());
        for life in [&pair.one, &pair.two] {
            assert_eq!(life.robot().take_policy_bundle(&bundle, NOW_MS).unwrap(), 1);
        }
        pair
    }
}

fn answered(life: &Life, asked: &[u8], now_ms: u64) -> Vec<u8> {
    let logs = PlatformLogs::uefi(LogSource::Bytes(boot_log()));
    life.robot()
        .attest(asked, &Surroundings::unknown(), &logs, now_ms)
        .unwrap()
}

fn id(life: &Life) -> RobotId {
    life.robot().robot().clone()
}

fn rule(text: &str) -> RuleInForce {
    let policy = AppraisalPolicy::from_toml(text).unwrap();
    policy.rule(&RobotId::new("one").unwrap(), Level::Unclassified)
}

/// What the fleet's appraisal policy asks of a robot is asked by its peers too.
#[test]
fn a_peer_is_held_to_the_rule_in_the_bundle() {
    let pair = Pair::new();
    let classed = |asks: &str| {
        rule(&format!(
            "name = \"p\"\nversion = 1\n[[class]]\nname = \"c\"\nrobots = [\"*\"]\n[class.level.UNCLASSIFIED]\n{asks}"
        ))
    };
    let stranger = rule("name = \"p\"\nversion = 1\n[[class]]\nname = \"c\"\nrobots = [\"two\"]");
    for (version, rule, refused) in [
        (1, classed("max-state-age-ms = 1000"), None),
        (2, classed("min-tier = \"firmware\""), Some(Reason::PolicyTier)),
        (3, classed("runtime = \"required\""), Some(Reason::PolicyRuntime)),
        (4, stranger, Some(Reason::PolicyClass)),
        (5, classed("origin = [\"iak\"]"), Some(Reason::PolicyOrigin)),
        (6, classed(""), None),
    ] {
        let bundle = pair.bundle(version, |bundle| bundle.peers[0].rule = Some(rule));
        pair.two.robot().take_policy_bundle(&bundle, NOW_MS).unwrap();
        let found = judged(&pair.two, &pair.one, NOW_MS);
        assert_eq!(
            found.verdict.is_trusted(),
            refused.is_none(),
            "{:?}",
            found.verdict.findings()
        );
        assert_eq!(found.not_after_ms.is_some(), refused.is_none());
        assert!(refused.is_none_or(|reason| found.verdict.has(reason)));
    }
}

/// One robot asks another and judges it.
fn judged(verifier: &Life, attester: &Life, now_ms: u64) -> PeerJudged {
    let asked = verifier.robot().ask_peer(&id(attester), now_ms).unwrap();
    let evidence = answered(attester, &asked, now_ms);
    verifier.robot().judge_peer(&evidence, now_ms).unwrap()
}

fn code(error: &AgentError) -> &'static str {
    error.reason_code().unwrap()
}

#[test]
fn two_robots_attest_each_other_with_no_server() {
    let mut pair = Pair::with_bundle();
    for _ in 0..2 {
        for (verifier, attester) in [(&pair.one, &pair.two), (&pair.two, &pair.one)] {
            let before = verifier.counts.total();
            let judged = judged(verifier, attester, NOW_MS);
            assert!(judged.verdict.is_trusted(), "{:?}", judged.verdict.findings());
            assert_eq!(judged.robot, id(attester));
            assert_eq!(judged.not_after_ms, Some(NOW_MS + LEASE_MS));
            assert_eq!(verifier.counts.total(), before, "judging takes no TPM command");
        }
    }
    // After restarts of both agents, and of one robot's machine.
    pair.one.open();
    pair.two
        .reopen_after(|swtpm| swtpm.kill_and_respawn(PowerUp::Clear).unwrap());
    boot(&pair.two);
    pair.two.open();
    let verdict = judged(&pair.one, &pair.two, NOW_MS).verdict;
    assert!(verdict.is_trusted(), "{:?}", verdict.findings());
    assert!(verdict.has(Reason::Restarted));
}

#[test]
fn a_stopped_robot_one_that_booted_otherwise_and_a_kind_of_tpm_below_the_policy_are_untrusted() {
    let mut pair = Pair::with_bundle();
    assert!(pair.two.stop().is_complete());
    let verdict = judged(&pair.one, &pair.two, NOW_MS).verdict;
    assert!(verdict.has(Reason::Stopped) && verdict.has(Reason::StopInForce));
    // Rearmed by two persons, and the bundle does not know it yet.
    pair.two.rearm();
    let judged_again = judged(&pair.one, &pair.two, NOW_MS);
    assert!(judged_again.verdict.has(Reason::StopInForce));
    assert_eq!(judged_again.not_after_ms, None);
    let stop = judged_again.verdict.attested().unwrap().stops[0];
    let bundle = pair.bundle(2, |bundle| bundle.peers[1].rearmed.push(stop));
    pair.one.robot().take_policy_bundle(&bundle, NOW_MS).unwrap();
    let verdict = judged(&pair.one, &pair.two, NOW_MS).verdict;
    assert!(verdict.is_trusted(), "{:?}", verdict.findings());

    let higher = pair.bundle(3, |bundle| {
        bundle.peers[1].min_tier = HardwareTier::Firmware;
        bundle.peers[1].rearmed.push(stop);
    });
    pair.one.robot().take_policy_bundle(&higher, NOW_MS).unwrap();
    assert!(judged(&pair.one, &pair.two, NOW_MS).verdict.has(Reason::Tier));
    let extend = |chip: &mut alcub3_tpm::Chip| chip.pcr_extend(4, &[BANK.digest(&[b"another loader"])]);
    pair.two.tpm.run(Lane::Background, LONG, extend).unwrap();
    assert!(
        judged(&pair.one, &pair.two, NOW_MS)
            .verdict
            .has(Reason::BootLogMismatch)
    );
}

/// A boot begins the log anew: a stop that was seen is in force until a bundle says that it was rearmed.
#[test]
fn a_peer_that_was_seen_stopped_is_untrusted_over_its_boots_until_a_bundle_says_that_it_was_rearmed() {
    let mut pair = Pair::with_bundle();
    assert!(pair.two.stop().is_complete());
    let seen = judged(&pair.one, &pair.two, NOW_MS).verdict;
    let stop = seen.attested().unwrap().stops[0];
    pair.two.rearm();
    pair.two
        .reopen_after(|swtpm| swtpm.kill_and_respawn(PowerUp::Clear).unwrap());
    boot(&pair.two);
    pair.two.open();
    pair.one.open();
    for _ in 0..2 {
        let verdict = judged(&pair.one, &pair.two, NOW_MS).verdict;
        assert!(verdict.attested().unwrap().stops.is_empty());
        assert!(verdict.has(Reason::StopInForce) && !verdict.is_trusted());
    }
    let bundle = pair.bundle(2, |bundle| bundle.peers[1].rearmed.push(stop));
    pair.one.robot().take_policy_bundle(&bundle, NOW_MS).unwrap();
    let verdict = judged(&pair.one, &pair.two, NOW_MS).verdict;
    assert!(verdict.is_trusted(), "{:?}", verdict.findings());
}

fn epoch(life: &Life) -> u64 {
    life.robot().keys().counter(NvIndex::RobotEpoch).unwrap().value
}

/// A peer that was stopped, rearmed and booted anew, so that its evidence says nothing of it. Gives the epoch that the rearm named.
fn stopped_and_back(life: &mut Life) -> u64 {
    assert!(life.stop().is_complete());
    let rearmed = epoch(life);
    life.rearm();
    life.reopen_after(|swtpm| swtpm.kill_and_respawn(PowerUp::Clear).unwrap());
    boot(life);
    life.open();
    assert_eq!(epoch(life), rearmed);
    rearmed
}

/// The authority knows of a stop that this robot never saw, and of a rearm that the peer cannot prove to it.
#[test]
fn a_peer_whose_stop_the_bundle_names_is_refused_until_a_bundle_says_that_a_rearm_named_its_epoch() {
    let mut pair = Pair::with_bundle();
    assert!(judged(&pair.one, &pair.two, NOW_MS).verdict.is_trusted());
    let running = epoch(&pair.two);
    let stopped = stopped_and_back(&mut pair.two);
    assert_eq!(stopped, running + 1);
    // Whom nobody told cannot know: the evidence shows a robot at work.
    assert!(judged(&pair.one, &pair.two, NOW_MS).verdict.is_trusted());
    let standings = [
        // The stop, as its receipt had it.
        (StopStanding::new(Some(running), Some(stopped)), false),
        // Silent of it; of the rearm before it alone; and of a later stop.
        (StopStanding::default(), false),
        (StopStanding::new(Some(running), None), false),
        (StopStanding::new(Some(stopped), Some(stopped + 1)), false),
        // The rearm of the first says nothing of the later one.
        (StopStanding::new(Some(stopped), None), false),
        (StopStanding::new(Some(stopped + 1), None), true),
    ];
    for (version, (stops, trusted)) in (2..).zip(standings) {
        let bundle = pair.bundle(version, |bundle| bundle.peers[1].stops = stops);
        pair.one.robot().take_policy_bundle(&bundle, NOW_MS).unwrap();
        // Over restarts of this robot, and again and again.
        pair.one.open();
        for _ in 0..2 {
            let found = judged(&pair.one, &pair.two, NOW_MS);
            let verdict = &found.verdict;
            assert_eq!(
                verdict.is_trusted(),
                trusted,
                "{stops:?}: {:?}",
                verdict.findings()
            );
            assert_eq!(verdict.has(Reason::StopInForce), !trusted);
            assert_eq!(found.not_after_ms.is_some(), trusted);
        }
    }
}

/// A bundle that was replaced before anybody was judged by it has named the stop all the same.
#[test]
fn a_stop_that_a_bundle_named_outlasts_it_and_is_of_that_chip_alone() {
    let mut pair = Pair::with_bundle();
    let stopped = stopped_and_back(&mut pair.two);
    let take = |pair: &Pair, version, stops| {
        let bundle = pair.bundle(version, |bundle| bundle.peers[1].stops = stops);
        pair.one.robot().take_policy_bundle(&bundle, NOW_MS).unwrap();
    };
    take(&pair, 2, StopStanding::new(None, Some(stopped)));
    // Left out of one bundle, and back in the next.
    let alone = pair.bundle(3, |bundle| bundle.peers.truncate(1));
    pair.one.robot().take_policy_bundle(&alone, NOW_MS).unwrap();
    take(&pair, 4, StopStanding::default());
    assert!(
        judged(&pair.one, &pair.two, NOW_MS)
            .verdict
            .has(Reason::StopInForce)
    );
    // Another chip takes the name.
    let authority = std::mem::replace(&mut pair.two.authority, SoftAuthority::new());
    pair.two = named("two", authority);
    let enrolled = pair.two.authority.enrolled.as_ref().unwrap();
    pair.peers[1].enrolment = enrolled.signed_record.clone();
    take(&pair, 5, StopStanding::default());
    let verdict = judged(&pair.one, &pair.two, NOW_MS).verdict;
    assert!(verdict.is_trusted(), "{:?}", verdict.findings());
}

/// What was seen of the chip that had its name is not held against a robot, and vouches for nothing of it.
#[test]
fn a_peer_that_was_enrolled_anew_begins_anew() {
    let mut pair = Pair::with_bundle();
    for _ in 0..5 {
        assert!(judged(&pair.one, &pair.two, NOW_MS).verdict.is_trusted());
    }
    // Another chip takes the name.
    let authority = std::mem::replace(&mut pair.two.authority, SoftAuthority::new());
    pair.two = named("two", authority);
    let record = pair
        .two
        .authority
        .enrolled
        .as_ref()
        .unwrap()
        .signed_record
        .clone();
    pair.peers[1].enrolment = record;
    let bundle = pair.bundle(2, |_| ());
    pair.one.robot().take_policy_bundle(&bundle, NOW_MS).unwrap();
    let asked = pair.one.robot().ask_peer(&id(&pair.two), NOW_MS).unwrap();
    let request = alcub3_fleet_protocol::attestation::AttestRequest::from_canonical(&asked).unwrap();
    assert_eq!(request.registers, None, "nothing is known of this one");
    let evidence = answered(&pair.two, &asked, NOW_MS);
    let verdict = pair.one.robot().judge_peer(&evidence, NOW_MS).unwrap().verdict;
    assert!(verdict.is_trusted(), "{:?}", verdict.findings());
    assert!(judged(&pair.one, &pair.two, NOW_MS).verdict.is_trusted());
}

#[test]
fn evidence_counts_once_in_time_for_whom_it_was_asked_and_from_whom() {
    let pair = Pair::with_bundle();
    let (one, two) = (pair.one.robot(), pair.two.robot());
    let asked = one.ask_peer(&id(&pair.two), NOW_MS).unwrap();
    let evidence = answered(&pair.two, &asked, NOW_MS);
    // To another robot than asked.
    assert_eq!(code(&two.judge_peer(&evidence, NOW_MS).unwrap_err()), "exchange");
    one.judge_peer(&evidence, NOW_MS).unwrap();
    assert_eq!(code(&one.judge_peer(&evidence, NOW_MS).unwrap_err()), "exchange");

    // Of another robot: by its name, and by its name changed.
    let asked = one.ask_peer(&id(&pair.two), NOW_MS).unwrap();
    let own = answered(&pair.one, &asked, NOW_MS);
    assert_eq!(code(&one.judge_peer(&own, NOW_MS).unwrap_err()), "exchange");
    let asked = one.ask_peer(&id(&pair.two), NOW_MS).unwrap();
    let mut own = EvidenceMessage::from_canonical(&answered(&pair.one, &asked, NOW_MS)).unwrap();
    own.robot = id(&pair.two);
    let verdict = one.judge_peer(&own.to_canonical(), NOW_MS).unwrap().verdict;
    assert!(!verdict.is_trusted() && verdict.has(Reason::Signature));

    // Too late, by a clock that was set back, and under another question's nonce.
    for at in [NOW_MS + PEER_EXCHANGE_MS, NOW_MS - 1] {
        let asked = one.ask_peer(&id(&pair.two), NOW_MS).unwrap();
        let evidence = answered(&pair.two, &asked, NOW_MS);
        assert_eq!(code(&one.judge_peer(&evidence, at).unwrap_err()), "exchange");
    }
    let [first, second] = [0, 1].map(|_| one.ask_peer(&id(&pair.two), NOW_MS).unwrap());
    let mut swapped = EvidenceMessage::from_canonical(&answered(&pair.two, &first, NOW_MS)).unwrap();
    swapped.session = EvidenceMessage::from_canonical(&answered(&pair.two, &second, NOW_MS))
        .unwrap()
        .session;
    let verdict = one.judge_peer(&swapped.to_canonical(), NOW_MS).unwrap().verdict;
    assert!(verdict.has(Reason::Binding));
}

#[test]
fn a_bundle_is_the_authoritys_newer_than_the_last_and_of_now() {
    let pair = Pair::new();
    let robot = pair.one.robot();
    let none = robot.ask_peer(&id(&pair.two), NOW_MS).unwrap_err();
    assert_eq!(code(&none), "no-bundle");
    let take = |bundle: &[u8], now_ms| {
        let refused = robot.take_policy_bundle(bundle, now_ms).unwrap_err();
        code(&refused)
    };
    let good = pair.bundle(5, |_| ());
    for at in 0..good.len() {
        if at % 97 == 0 {
            let mut changed = good.clone();
            changed[at] ^= 1;
            assert_eq!(take(&changed, NOW_MS), "bad-bundle", "byte {at}");
        }
    }
    assert_eq!(take(&good, NOW_MS + DAY_MS), "bundle-out-of-time");
    assert_eq!(take(&good, NOW_MS - DAY_MS), "bundle-out-of-time");
    let twice = pair.bundle(5, |bundle| bundle.peers.push(bundle.peers[0].clone()));
    assert_eq!(take(&twice, NOW_MS), "bad-bundle");
    let unread = pair.bundle(5, |bundle| bundle.peers[0].references = "{}".to_owned());
    assert_eq!(take(&unread, NOW_MS), "bad-bundle");
    robot.take_policy_bundle(&good, NOW_MS).unwrap();
    for version in [4, 5] {
        assert_eq!(take(&pair.bundle(version, |_| ()), NOW_MS), "bundle-rolled-back");
    }
    // Its time ends while it is kept.
    let over = robot.ask_peer(&id(&pair.two), NOW_MS + DAY_MS).unwrap_err();
    assert_eq!(code(&over), "bundle-out-of-time");
    let alone = pair.bundle(6, |bundle| bundle.peers.truncate(1));
    robot.take_policy_bundle(&alone, NOW_MS).unwrap();
    let unknown = robot.ask_peer(&id(&pair.two), NOW_MS).unwrap_err();
    assert_eq!(code(&unknown), "peer-unknown");
}
