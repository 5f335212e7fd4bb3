//! The fleet's appraisal policy: what it asks, of whom, and that it only ever tightens.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod software_robot;

use alcub3_attestation::appraisal::{
    AppraisalPolicy, AppraisalPolicyError, Finding, OriginKind, Reason, ReferenceValues, RuleInForce,
    Severity, Verdict, appraise,
};
use alcub3_attestation::ear::Judgement;
use alcub3_attestation::unrooted;
use alcub3_trust_model::{HardwareTier, Level, RobotId};
use proptest::prelude::*;
use serde_json::{Value, json};
use software_robot::{NOW_MS, Robot, Verifier};

const DOCUMENT: &str = r#"
name = "fleet-north"
version = 3

[[class]]                     # the first class that names a robot is its
name = "inspection"
robots = ["spot-*", "r1"]

[class.level.CUI]
min-tier = "firmware"
refuse = ["clock-unsafe"]

[class.level.SECRET]
min-tier = "discrete"
claims = ["firmware-pcrs-closed"]
runtime = "required"
state = ["hardware", "within"]
max-state-age-ms = 5000
refuse = ["restarted"]

[[class]]
name = "carts"
robots = ["cart-*"]
"#;

fn policy(text: &str) -> AppraisalPolicy {
    AppraisalPolicy::from_toml(text).unwrap()
}

fn rule(text: &str, robot: &str, level: Level) -> RuleInForce {
    policy(text).rule(&RobotId::new(robot).unwrap(), level)
}

/// One class with the robot in it, which asks this at CUI.
fn asking(asks: &str) -> RuleInForce {
    let text = format!(
        "name = \"p\"\nversion = 7\n[[class]]\nname = \"c\"\nrobots = [\"r1\"]\n[class.level.CUI]\n{asks}"
    );
    rule(&text, "r1", Level::Cui)
}

fn judged(robot: &Robot, references: &ReferenceValues) -> Verdict {
    let mut verifier = Verifier::of(robot);
    verifier.references = references.clone();
    appraise(&robot.evidence(), &verifier.policy(), NOW_MS)
}

/// Judged as an authority does: the references ask for the rule's claims, and the verdict is held to the rule.
fn held(robot: &Robot, references: &ReferenceValues, rule: &RuleInForce) -> Verdict {
    let references = rule.over(references.clone());
    judged(robot, &references).held_to(rule, &references)
}

fn fatal(verdict: &Verdict) -> Vec<&Finding> {
    let findings = verdict.findings().iter();
    findings
        .filter(|finding| finding.severity == Severity::Untrusted)
        .collect()
}

#[test]
fn the_first_class_that_names_a_robot_is_its_and_no_level_is_weaker_than_one_below() {
    let words = |robot, level| rule(DOCUMENT, robot, level).in_words();
    assert_eq!(words("spot-9", Level::Unclassified), Vec::<String>::new());
    assert_eq!(words("r1", Level::Cui).len(), 2);
    assert_eq!(words("r1", Level::Confidential), words("r1", Level::Cui));
    let secret = words("r1", Level::Secret);
    assert_eq!(words("r1", Level::TopSecret), secret);
    let secret = secret.join("\n");
    for part in [
        "discrete or better",
        "firmware-pcrs-closed",
        "what runs",
        "hardware, within",
        "5000 ms",
        "clock-unsafe, restarted",
    ] {
        assert!(secret.contains(part), "{part}: {secret}");
    }
    assert_eq!(words("cart-1", Level::TopSecret), Vec::<String>::new());
    assert!(!rule(DOCUMENT, "rover", Level::Cui).has_class());
    assert!(!rule(DOCUMENT, "r11", Level::Cui).has_class());
    // A higher level that asks less in one field still has what the lower one asks.
    let text = DOCUMENT.replace("min-tier = \"discrete\"", "min-tier = \"virtual\"");
    assert!(rule(&text, "r1", Level::Secret).in_words()[0].contains("firmware or better"));
    let all = "name = \"p\"\nversion = 1\n[[class]]\nname = \"all\"\nrobots = [\"*\"]";
    assert!(rule(all, "anyone", Level::Cui).has_class());
    let policy = policy(DOCUMENT);
    assert_eq!(AppraisalPolicy::from_json(&policy.to_json()).unwrap(), policy);
    let rule = policy.rule(&RobotId::new("r1").unwrap(), Level::Secret);
    assert_eq!(RuleInForce::from_json(&rule.to_json()).unwrap(), rule);
    assert_eq!(rule.policy_id(), "fleet-north:3");
}

#[test]
fn a_wrong_word_is_refused_with_its_line_and_what_there_is() {
    for (before, after, line, named) in [
        ("\"clock-unsafe\"", "\"clock-unsave\"", 11, "state-battery"),
        ("\"clock-unsafe\"", "\"signature\"", 11, "already; strike it out"),
        ("\"firmware-pcrs-closed\"", "\"secure\"", 15, "secure-boot"),
        ("\"within\"", "\"where\"", 17, "within"),
        ("\"discrete\"", "\"best\"", 14, "simulator, virtual"),
        ("\"required\"", "\"wanted\"", 16, "required"),
        ("\"spot-*\"", "\"*spot\"", 7, "beginning"),
        ("\"fleet-north\"", "\"fleet north\"", 2, "letters"),
        ("version = 3", "version = -3", 3, "u64"),
        ("min-tier = \"discrete\"", "max-tier = \"none\"", 14, "max-tier"),
        ("[class.level.CUI]", "[class.level.LOW]", 9, "UNCLASSIFIED, CUI"),
        ("robots = [\"cart-*\"]", "robot = \"cart\"", 23, "robots"),
    ] {
        let text = DOCUMENT.replacen(before, after, 1);
        assert_ne!(text, DOCUMENT);
        let Err(AppraisalPolicyError::Toml(error)) = AppraisalPolicy::from_toml(&text) else {
            panic!("{after}")
        };
        let error = error.to_string();
        assert!(
            error.contains(&format!("line {line},")) && error.contains(named),
            "{error}"
        );
    }
    for (before, after, named) in [
        ("version = 3", "version = 0", "raise it"),
        ("robots = [\"cart-*\"]", "robots = []", "names no robots"),
        ("\"carts\"", "\"inspection\"", "two classes"),
        (
            "robots = [\"cart-*\"]",
            "robots = [\"spot-1\", \"r1\"]",
            "move the narrower class up",
        ),
    ] {
        let error = AppraisalPolicy::from_toml(&DOCUMENT.replacen(before, after, 1)).unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
    }
    assert!(
        AppraisalPolicy::from_toml("name = \"p\"\nversion = 1").is_err(),
        "a policy without a class refuses everybody"
    );
    assert!(AppraisalPolicy::from_bytes(b"name = \"\xff\"").is_err());
}

/// Each thing that can be asked: met, then not; and the refusal says who asks, what was found, expected, and what to do.
/// Of two rules for one level, the one that asks for more could be the one that is dropped.
#[test]
fn a_level_that_is_written_twice_is_refused_by_name_in_both_forms() {
    let twice = r#"{"name":"p","version":1,"class":[{"name":"c","robots":["*"],"level":{
        "SECRET":{"min-tier":"discrete"},"CUI":{},"SECRET":{}}}]}"#;
    let refused = AppraisalPolicy::from_json(twice).unwrap_err();
    let why = std::error::Error::source(&refused).unwrap().to_string();
    assert!(why.starts_with("SECRET comes twice"), "{why}");
    let once = twice.replacen("\"CUI\":{},\"SECRET\":{}", "\"CUI\":{}", 1);
    AppraisalPolicy::from_json(&once).unwrap();
    let twice = "name = \"p\"\nversion = 1\n[[class]]\nname = \"c\"\nrobots = [\"*\"]\n[class.level.SECRET]\n\
                 min-tier = \"discrete\"\n[class.level.SECRET]\n";
    let refused = AppraisalPolicy::from_toml(twice).unwrap_err();
    let why = std::error::Error::source(&refused).unwrap().to_string();
    assert!(why.contains("SECRET"), "{why}");
}

#[test]
fn each_thing_that_is_asked_is_refused_where_it_is_not_met_with_who_asked_found_expected_and_what_to_do() {
    let robot = Robot::new();
    let plain = robot.references();
    let with = |part: &str, value: Value| {
        let mut document: Value = serde_json::from_str(&plain.to_json()).unwrap();
        document[part] = value;
        ReferenceValues::from_json(&document.to_string()).unwrap()
    };
    let (mut late, mut virtual_, mut unsafe_) = (robot.clone(), robot.clone(), robot.clone());
    late.state.time_ms = NOW_MS - 9_000;
    virtual_.tier = HardwareTier::Firmware;
    unsafe_.clock.safe = false;
    let files = with("runtime", json!({"files": {}}));
    let modes = with("state", json!({"modes": ["idle"]}));
    assert!(held(&robot, &plain, &asking("")).is_trusted());
    for (asks, met, broken, references, reason, parts) in [
        (
            "min-tier = \"discrete\"",
            &robot,
            &virtual_,
            &plain,
            Reason::PolicyTier,
            ["found firmware", "expected discrete", "use a robot"],
        ),
        (
            "max-state-age-ms = 8999",
            &robot,
            &late,
            &plain,
            Reason::PolicyStateAge,
            [
                "found 9000 ms",
                "expected at most 8999 ms",
                "check the robot's clock",
            ],
        ),
        (
            "refuse = [\"clock-unsafe\"]",
            &robot,
            &unsafe_,
            &plain,
            Reason::ClockUnsafe,
            ["expected for up to an hour", "refused by", "power cut"],
        ),
    ] {
        let rule = asking(asks);
        assert!(held(met, references, &rule).is_trusted(), "{asks}");
        assert!(judged(broken, references).is_trusted(), "{asks}");
        assert_refused(&held(broken, references, &rule), reason, &parts);
    }
    for (asks, good, bad, reason, parts) in [
        (
            "state = [\"modes\"]",
            &modes,
            &plain,
            Reason::PolicyState,
            [
                "found no references for the state's modes",
                "expected by",
                "add them",
            ],
        ),
        (
            "state = [\"modes\"]",
            &modes,
            &with("state", json!({"min_battery_permille": 1})),
            Reason::PolicyState,
            ["modes", "expected", "add them"],
        ),
        (
            "runtime = \"required\"",
            &files,
            &plain,
            Reason::PolicyRuntime,
            [
                "found no references for what runs",
                "expected by",
                "reference learn --ima",
            ],
        ),
    ] {
        let rule = asking(asks);
        assert!(!held(&robot, good, &rule).has(reason), "{asks}");
        assert_refused(&held(&robot, bad, &rule), reason, &parts);
    }
    // A claim that the boot's log does not show.
    let shown = asking("claims = [\"firmware-pcrs-closed\"]");
    assert!(held(&robot, &plain, &shown).is_trusted());
    let never = held(
        &robot,
        &plain,
        &asking("claims = [\"firmware-update-protected\"]"),
    );
    assert!(never.has(Reason::BootClaim) && !never.is_trusted());
    // Whoever does not hold the references to the claim has not judged it.
    assert_refused(
        &judged(&robot, &plain).held_to(&shown, &plain),
        Reason::PolicyClaim,
        &["found no boot log", "expected by", "use a robot"],
    );
    let none = rule(DOCUMENT, "rover", Level::Cui);
    let verdict = judged(&robot, &plain).held_to(&none, &plain);
    assert!(!verdict.is_trusted());
    assert!(
        verdict
            .findings()
            .last()
            .unwrap()
            .detail
            .contains("fleet-north version 3 has no class for it; add its name")
    );
}

fn assert_refused(verdict: &Verdict, reason: Reason, parts: &[&str]) {
    let findings = fatal(verdict);
    let finding = findings.iter().find(|finding| finding.reason == reason);
    let detail = &finding
        .unwrap_or_else(|| panic!("{reason}: {:?}", verdict.findings()))
        .detail;
    for part in parts
        .iter()
        .chain(&["class c of appraisal policy p version 7 at CUI"])
    {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    assert!(!verdict.is_trusted() && verdict.boot().is_none() && verdict.runtime().is_none());
}

/// A platform without a root of trust, and by the same code a DICE chain, are judged by the rule that a TPM is judged by.
#[test]
fn a_mixed_fleet_is_judged_by_one_rule() {
    let cart = unrooted::Policy {
        enrolled_tier: HardwareTier::None,
        min_tier: HardwareTier::None,
    };
    let judged = |asks: &str| unrooted::appraise(&cart, NOW_MS).held_to(&asking(asks));
    assert!(judged("").is_admitted());
    let codes = |asks: &str| -> Vec<&str> {
        let verdict = judged(asks);
        assert!(!verdict.is_admitted(), "{asks}");
        let fatal = verdict
            .findings()
            .iter()
            .filter(|finding| finding.severity == Severity::Untrusted);
        fatal.map(|finding| finding.reason.code()).collect()
    };
    assert_eq!(codes("min-tier = \"simulator\""), ["policy-tier"]);
    assert_eq!(codes("runtime = \"required\""), ["policy-runtime"]);
    assert_eq!(codes("claims = [\"secure-boot\"]"), ["policy-claim"]);
    assert_eq!(codes("state = [\"modes\"]"), ["policy-state"]);
    assert_eq!(codes("origin = [\"iak\"]"), ["policy-origin"]);
    assert_eq!(codes("refuse = [\"no-root-of-trust\"]"), ["no-root-of-trust"]);
    let stranger = unrooted::appraise(&cart, NOW_MS).held_to(&rule(DOCUMENT, "rover", Level::Cui));
    assert!(!stranger.is_admitted());
}

/// What a record does not state is asked for in vain, and a level asks for what those below it ask for.
#[test]
fn an_origin_that_is_asked_for_must_be_stated() {
    let document = "name = \"p\"\nversion = 1\n[[class]]\nname = \"c\"\nrobots = [\"*\"]\n\
                    [class.level.CUI]\norigin = [\"iak\"]\n[class.level.SECRET]\norigin = [\"platform-certificate\"]\n";
    let robot = Robot::new();
    let references = robot.references();
    let codes = |level, stated: &[OriginKind]| {
        let rule = rule(document, "r1", level).over_origin(stated.iter().copied());
        let verdict = held(&robot, &references, &rule);
        let fatal = fatal(&verdict);
        let words = fatal
            .iter()
            .map(|finding| (finding.reason, finding.detail.clone()));
        words.collect::<Vec<_>>()
    };
    let (iak, platform) = (OriginKind::Iak, OriginKind::PlatformCertificate);
    assert_eq!(codes(Level::Unclassified, &[]), []);
    assert_eq!(codes(Level::Cui, &[iak]), []);
    assert_eq!(codes(Level::Secret, &[platform, iak]), []);
    for (level, stated, missing) in [
        (Level::Cui, &[][..], &["iak"][..]),
        (Level::Cui, &[platform], &["iak"]),
        (Level::Secret, &[iak], &["platform-certificate"]),
        (Level::TopSecret, &[], &["iak", "platform-certificate"]),
    ] {
        let found = codes(level, stated);
        assert_eq!(found.len(), missing.len());
        for ((reason, detail), missing) in found.iter().zip(missing) {
            assert_eq!(*reason, Reason::PolicyOrigin);
            assert!(detail.contains(&format!("does not state {missing}")), "{detail}");
            assert!(detail.contains("class c of appraisal policy p"), "{detail}");
        }
    }
    // Handed on, a rule says nothing of any robot; nor can it be made to.
    let stated = rule(document, "r1", Level::Cui).over_origin([iak]);
    let read = RuleInForce::from_json(&stated.to_json()).unwrap();
    assert_eq!(fatal(&held(&robot, &references, &read)).len(), 1);
    let forged = stated.to_json().replacen('{', "{\"stated\":[\"iak\"],", 1);
    assert!(RuleInForce::from_json(&forged).is_err());
    let words = stated.in_words().join(" ");
    assert!(words.contains("origin by iak"), "{words}");
    let wrong = AppraisalPolicy::from_toml(&document.replace("\"iak\"", "\"hearsay\"")).unwrap_err();
    let why = std::error::Error::source(&wrong).unwrap().to_string();
    assert!(why.contains("hearsay") && why.contains("line 7"), "{why}");
}

fn any_asks() -> impl Strategy<Value = Value> {
    let tier = prop::sample::select(HardwareTier::ALL.to_vec());
    let mild: Vec<&str> = Reason::ALL
        .iter()
        .filter(|reason| reason.severity() != Severity::Untrusted)
        .map(|reason| reason.code())
        .collect();
    let refuse = prop::sample::subsequence(mild, 0..3);
    let claims = prop::sample::subsequence(
        vec!["secure-boot", "firmware-pcrs-closed", "no-option-roms"],
        0..3,
    );
    let state = prop::sample::subsequence(vec!["modes", "within", "firmware"], 0..2);
    (tier, refuse, claims, state, any::<bool>(), 0_u64..20_000).prop_map(|(tier, refuse, claims, state, runtime, age)| {
        let mut asks = json!({"min-tier": tier, "refuse": refuse, "claims": claims, "state": state, "max-state-age-ms": age});
        if runtime {
            asks["runtime"] = "required".into();
        }
        asks
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a policy says, what was found stays found and no less grave, and nobody becomes trusted by it.
    #[test]
    fn a_policy_only_tightens(
        low in any_asks(), high in any_asks(), robots in prop::sample::select(vec!["r1", "r*", "s*"]),
        tier in prop::sample::select(HardwareTier::ALL.to_vec()), safe in any::<bool>(), late in 0_u64..200_000, flip in any::<bool>(),
    ) {
        let document = json!({"name": "p", "version": 1, "class": [
            {"name": "c", "robots": [robots], "level": {"CUI": low, "SECRET": high}},
        ]});
        let policy = AppraisalPolicy::from_json(&document.to_string()).unwrap();
        let mut robot = Robot::new();
        robot.tier = tier;
        robot.clock.safe = safe;
        robot.state.time_ms -= late;
        if flip {
            robot.nonce.0[0] ^= 1;
        }
        let references = robot.references();
        let before = judged(&robot, &references);
        let mut trusted = before.is_trusted();
        for level in [Level::Unclassified, Level::Cui, Level::Secret, Level::TopSecret] {
            let after = judged(&robot, &references).held_to(&policy.rule(&robot.id, level), &references);
            prop_assert!(!after.is_trusted() || trusted, "{level} trusts what the level below does not");
            trusted = after.is_trusted();
            for (found, still) in before.findings().iter().zip(after.findings()) {
                prop_assert_eq!(found.reason, still.reason);
                prop_assert!(still.severity >= found.severity);
                prop_assert!(still.detail.starts_with(&found.detail));
            }
            prop_assert!(after.findings().len() >= before.findings().len());
        }
    }

    #[test]
    fn no_text_panics(text in "(?s).{0,200}") {
        let _ = AppraisalPolicy::from_toml(&text);
        let _ = AppraisalPolicy::from_json(&text);
        let _ = RuleInForce::from_json(&text);
    }
}
