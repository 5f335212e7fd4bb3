//! Reasons in words: what each says, and what whoever commands can do about it.

use crate::Reason;
use crate::policy::{PolicyReason, SecondReason};

/// A reason code in words.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Explanation {
    /// The code.
    pub code: &'static str,
    /// What it says.
    pub says: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// The explanation of a reason's code; none where no reason has it.
pub fn explain(code: &str) -> Option<&'static Explanation> {
    EXPLANATIONS.iter().find(|explanation| explanation.code == code)
}

impl Reason {
    /// The reason in words.
    pub fn explanation(&self) -> Option<&'static Explanation> {
        explain(self.code())
    }
}

impl Explanation {
    /// Every reason that a command can be refused for.
    pub const fn all() -> &'static [Self] {
        EXPLANATIONS
    }

    const fn of(code: &'static str, says: &'static str, remedy: &'static str) -> Self {
        Self { code, says, remedy }
    }
}

const fn policy(reason: PolicyReason, says: &'static str, remedy: &'static str) -> Explanation {
    Explanation::of(reason.code(), says, remedy)
}

const fn second(reason: SecondReason, says: &'static str, remedy: &'static str) -> Explanation {
    Explanation::of(reason.code(), says, remedy)
}

const SHOW: &str = "look at `alcub3 mission show` on the robot";
const SIGN_ANEW: &str = "sign the command anew, with the next sequence number";
const ATTEST: &str = "have the robot attest, so that it holds a lease that is in force";

static EXPLANATIONS: &[Explanation] = &[
    Explanation::of(
        "envelope-too-large",
        "The envelope is longer than any command may be.",
        "send less in one command",
    ),
    Explanation::of(
        "envelope-malformed",
        "The envelope is not a COSE message of the one form allowed.",
        "make it with `alcub3 command sign`",
    ),
    Explanation::of(
        "payload-malformed",
        "What the envelope carries is not a command of the one form allowed.",
        "make it with `alcub3 command sign` of the same release",
    ),
    Explanation::of(
        "wrong-robot",
        "The command is for another robot, or the robot is not in its group.",
        "name this robot",
    ),
    Explanation::of(
        "mission-unknown",
        "No such mission is active on the robot: it never began here, has ended, or a stop ended it.",
        SHOW,
    ),
    Explanation::of(
        "mission-not-begun",
        "The mission begins later.",
        "wait until it has begun",
    ),
    Explanation::of(
        "mission-over",
        "The mission's time is over.",
        "have its end moved, or start another mission",
    ),
    Explanation::of(
        "mission-suspended",
        "The mission is suspended.",
        "have somebody who may change its course give `mission.resume`",
    ),
    Explanation::of(
        "issuer-unknown",
        "The mission names no such issuer.",
        "name the issuer when the mission is started",
    ),
    Explanation::of(
        "command-unknown",
        "The command is of no known class.",
        "begin its name with observe, move, payload, mission or maintain",
    ),
    Explanation::of(
        "role-forbids",
        "The issuer's role gives no commands of this class.",
        "let somebody command whose role does",
    ),
    Explanation::of(
        "command-not-allowed",
        "The mission allows the issuer other commands, not this one.",
        SHOW,
    ),
    Explanation::of(
        "suite-too-weak",
        "The envelope's algorithms are weaker than the mission's level asks for.",
        "use a P-384 key, or a SHA-384 MAC",
    ),
    Explanation::of(
        "no-session-key",
        "The envelope carries a MAC, and the robot shares no key with the issuer on this mission.",
        "share one (`alcub3 mission share`), or sign instead",
    ),
    Explanation::of(
        "key-unusable",
        "The key that would check the MAC is inside the TPM, and the TPM does not let it be used.",
        "see whether the mission still runs and the robot is stopped; `alcub3 tpm doctor`",
    ),
    Explanation::of(
        "not-authentic",
        "The signature or MAC is not the issuer's over this command.",
        "use the key that the mission names",
    ),
    Explanation::of(
        "integrity-claimed",
        "The command claims more integrity than its issuer has.",
        "claim no more than the issuer's",
    ),
    Explanation::of(
        "integrity-too-low",
        "The command has less integrity than the robot or the mission asks for.",
        "let an issuer of that integrity command",
    ),
    Explanation::of(
        "labels-above-robot",
        "The command's labels are above what the robot is cleared for.",
        "lower them, or command a robot that is cleared",
    ),
    Explanation::of(
        "labels-above-mission",
        "The command's labels are above the mission's.",
        "lower them, or use a mission of that level",
    ),
    Explanation::of(
        "no-clock",
        "The robot has no trustworthy time, so it cannot tell whether the command is late.",
        "let the robot get the time",
    ),
    Explanation::of(
        "not-yet-issued",
        "The command was made in the future, by the robot's clock.",
        "set the issuer's clock right",
    ),
    Explanation::of("expired", "The command is late.", SIGN_ANEW),
    Explanation::of(
        "validity-too-long",
        "The command would stay valid for longer than any command may.",
        "let it expire within a minute",
    ),
    Explanation::of(
        "replay-used",
        "The sequence number was used: this is a command that was judged before.",
        SIGN_ANEW,
    ),
    Explanation::of(
        "replay-too-old",
        "The sequence number is far below others that were used.",
        SIGN_ANEW,
    ),
    Explanation::of(
        "replay-not-reserved",
        "The sequence number is above what the robot reserved on its disk.",
        "go on with the next number; look at the robot's disk where it is the next",
    ),
    Explanation::of("no-lease", "The robot holds no attestation lease.", ATTEST),
    Explanation::of(
        "wrong-lease",
        "The command names another lease than this boot's: it was made for an earlier boot.",
        "name the lease of `alcub3 mission show`",
    ),
    Explanation::of(
        "lease-not-begun",
        "The robot's lease begins later.",
        "look at the clocks of robot and verifier",
    ),
    Explanation::of(
        "lease-over",
        "The robot's lease is over: nobody vouches for its state now.",
        ATTEST,
    ),
    Explanation::of(
        "lease-insufficient",
        "The robot's last appraisal does not reach the mission's level.",
        "find out why with `alcub3 attest`",
    ),
    Explanation::of(
        "safety-speed",
        "The command is faster than the mission allows.",
        SHOW,
    ),
    Explanation::of(
        "safety-turn",
        "The command turns faster than the mission allows.",
        SHOW,
    ),
    Explanation::of(
        "safety-duration",
        "The command lasts longer than the mission allows.",
        SHOW,
    ),
    Explanation::of(
        "safety-geofence",
        "The command leads out of the mission's fence, or names half a position.",
        SHOW,
    ),
    Explanation::of(
        "safety-argument",
        "An argument is of unknown meaning or of the wrong type, so nobody can say whether it is safe.",
        "leave it out, or have the command policy declare it",
    ),
    policy(
        PolicyReason::Lost,
        "The robot was given a command policy, and has none now that it may follow.",
        "install the newest policy (`alcub3 policy install`)",
    ),
    policy(
        PolicyReason::Platform,
        "No platform of the command policy names this robot.",
        "have the policy name it",
    ),
    policy(
        PolicyReason::Role,
        "The command policy does not give the issuer's role this command.",
        "let somebody command to whose role it does",
    ),
    policy(
        PolicyReason::Speed,
        "The command is faster than the command policy allows here.",
        "go slower",
    ),
    policy(
        PolicyReason::Turn,
        "The command turns faster than the command policy allows here.",
        "turn slower",
    ),
    policy(
        PolicyReason::Duration,
        "The command lasts longer than the command policy allows here.",
        "command less at a time",
    ),
    policy(
        PolicyReason::Geofence,
        "The command leads out of a fence of the command policy, or names half a position.",
        "stay inside, and give latitude and longitude",
    ),
    policy(
        PolicyReason::Altitude,
        "The command leads higher or lower than the command policy allows here.",
        "stay between the two",
    ),
    policy(
        PolicyReason::Force,
        "The command uses more force than the command policy allows here, or force that no policy limits.",
        "use less, or have the policy limit it",
    ),
    policy(
        PolicyReason::Tool,
        "The command policy does not allow this tool here.",
        "use another, or have the policy name it",
    ),
    policy(
        PolicyReason::Argument,
        "The command policy does not know this argument, or not with this value.",
        "leave it out, or have the policy declare it",
    ),
    second(
        SecondReason::Missing,
        "The command takes two persons, and one gave it.",
        "have a second person approve a new one (`alcub3 command approve`)",
    ),
    second(
        SecondReason::Malformed,
        "The second person's approval is not of the one form allowed.",
        "make it with `alcub3 command approve`",
    ),
    second(
        SecondReason::OtherCommand,
        "The approval is of another command.",
        "have this one approved",
    ),
    second(
        SecondReason::Same,
        "Both persons are one, or have one key.",
        "let another person approve, with their own key",
    ),
    second(
        SecondReason::Unknown,
        "The mission names no such second person.",
        "name them when the mission is started",
    ),
    second(
        SecondReason::Role,
        "The second person's role, or the mission, does not let them approve this command.",
        "let somebody approve whom the policy and the mission name",
    ),
    second(
        SecondReason::Integrity,
        "The second person has less integrity than the command, the robot or the mission asks for.",
        "let somebody of that integrity approve",
    ),
    second(
        SecondReason::Suite,
        "The approval's algorithms are weaker than the mission's level asks for.",
        "use a P-384 key",
    ),
    second(
        SecondReason::NotAuthentic,
        "The signature is not the second person's over this command.",
        "use the key that the mission names",
    ),
    Explanation::of(
        "order-not-kept",
        "The order is not on the robot's disk: a suspension is in force until the next start only, a resumption is not.",
        "free the robot's disk and send the order again, with the next sequence number",
    ),
    Explanation::of(
        "log-unwritable",
        "The robot cannot put its verdict into the audit log.",
        "make room on the robot's disk, or mend it",
    ),
    Explanation::of(
        "emergency-stop",
        "An emergency stop is in force.",
        "two persons rearm the robot (`alcub3 estop reset`), then it attests",
    ),
    Explanation::of(
        "stopped-meanwhile",
        "A stop came between the command's judgement and its execution.",
        "two persons rearm the robot (`alcub3 estop reset`), then it attests",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained_once() {
        let nested = PolicyReason::ALL.map(PolicyReason::code).into_iter();
        let nested = nested.chain(SecondReason::ALL.map(SecondReason::code));
        for code in nested.chain(crate::reason::CODES.iter().copied()) {
            let found: Vec<_> = EXPLANATIONS.iter().filter(|one| one.code == code).collect();
            assert_eq!(found.len(), 1, "{code}");
            assert!(
                found
                    .iter()
                    .all(|one| !one.says.is_empty() && !one.remedy.is_empty())
            );
        }
    }
}
