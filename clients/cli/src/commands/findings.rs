//! What an appraisal found, for people: each reason with what was seen, and what to do about it.

use crate::style::Style;
use alcub3_attestation::appraisal::{Finding, Reason, Severity};
use std::fmt::Write as _;

/// One line for each finding, and one below it that says what to do, where the reason has something to do.
pub(super) fn in_words(findings: &[Finding], style: Style) -> String {
    let mut text = String::new();
    for (at, finding) in findings.iter().enumerate() {
        let mark = match finding.severity {
            Severity::Untrusted => style.bad("untrusted"),
            Severity::Warning => style.warn("warning  "),
            Severity::Info => style.dim("note     "),
        };
        let place = place(finding);
        let _ = writeln!(
            text,
            "  {mark}  {}{place}: {}",
            finding.reason.code(),
            finding.detail
        );
        // Once below those that it is for.
        let to_do = remedy(finding.reason);
        let next = findings.get(at + 1).and_then(|next| remedy(next.reason));
        if let Some(remedy) = to_do.filter(|_| next != to_do) {
            let _ = writeln!(text, "             remedy: {remedy}");
        }
    }
    text
}

/// The certificate or the component that a finding is about.
fn place(finding: &Finding) -> String {
    match (finding.layer, &finding.component) {
        (Some(layer), _) => format!(" (certificate {layer})"),
        (_, Some(component)) => format!(" ({component})"),
        _ => String::new(),
    }
}

/// What to do, where the reason alone says it.
fn remedy(reason: Reason) -> Option<&'static str> {
    use Reason as R;
    Some(match reason {
        R::NoRoot => "nothing can be proven of it: keep it from what takes proof, or give it a root of trust",
        R::RootWithheld => "have it send the evidence of the root of trust that it was enrolled with",
        R::Tier => "the level asks for better hardware: use the robot at a lower level, or another robot",
        R::Robot => {
            "the evidence is another robot's: ask the right one, or enrol this device under its own name"
        }
        R::DiceCertificate | R::DiceExtension | R::DiceMeasurement => {
            "the maker's firmware issues a certificate of a form that is not known here: ask the maker"
        }
        R::DiceAlgorithm => {
            "the device must certify with P-256 or P-384: ask the maker for firmware that does"
        }
        R::DiceRoot => "enrol the device with the root key of its maker, if the chain is genuine",
        R::DiceIssuer | R::DiceChainSignature => {
            "send the whole chain in its order, root's side first; if that is what was sent, the chain is forged"
        }
        R::DiceAuthority | R::DiceLeaf => {
            "let the last layer's key certify an attestation key, and send that certificate last"
        }
        R::DiceValidity => "check the verifier's clock, then renew the certificate",
        R::DiceDevice => {
            "it is another device: enrol it under a name of its own, or take it out of the fleet"
        }
        R::DiceLayerMissing
        | R::DiceLayerUnexpected
        | R::DiceLayer
        | R::DiceConfiguration
        | R::DiceSigner => {
            "find out what changed in the device; if it is meant, enrol it anew with references that say so"
        }
        R::DiceFirmware | R::DiceVersion => {
            "install approved firmware; if what runs is approved, enrol it anew with references that name it"
        }
        R::DiceSvn => "update the firmware: this one has known faults",
        R::DiceMode | R::PsaLifecycle => {
            "take the device out of debug or recovery, or have it provisioned to its end"
        }
        R::PsaMalformed
        | R::PsaClaimMissing
        | R::PsaClaimMalformed
        | R::PsaClaimDuplicate
        | R::PsaProfile => {
            "the device's firmware must give tokens as RFC 9783 has them (profile tag:psacertified.org,2023:psa#tfm)"
        }
        R::PsaMac => "provision the device with an asymmetric attestation key",
        R::PsaCriticalHeader | R::PsaUnprotectedHeader => {
            "have the device's firmware leave that header out of its tokens"
        }
        R::PsaAlgorithm | R::PsaSignature => {
            "check that the enrolled attestation key is this device's; if it is, the token is forged"
        }
        R::PsaChallenge | R::Binding => "ask for new evidence, and have it made over that request's nonce",
        R::PsaInstance => "it is another instance: enrol it under a name of its own",
        R::PsaClient => "let the agent's own partition ask for the token, or enrol the client that does",
        R::PsaImplementation => "ask the maker what it is, and enrol the robot anew if it is good",
        R::PsaComponentUnknown
        | R::PsaComponentSigner
        | R::PsaComponentMeasurement
        | R::PsaComponentMissing => {
            "install approved firmware; if what was loaded is approved, enrol it anew with references that name it"
        }
        R::PsaComponentVersion => "update the component",
        R::PsaCertification => "use a device whose implementation is certified as far as the references ask",
        R::Stopped => "rearm the robot",
        R::StateRobot => "the state is of another robot: have the agent configured with its own name",
        R::StateAge => "set the robot's clock right",
        R::Sequence => {
            "have the agent count on from its last evidence: it was restored, or the evidence is old"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_that_makes_a_robot_without_a_tpm_untrusted_says_what_to_do() {
        let of_platforms = |reason: &&Reason| {
            let code = reason.code();
            code.starts_with("dice-") || code.starts_with("psa-") || code.starts_with("root-")
        };
        let without = Reason::ALL
            .iter()
            .filter(of_platforms)
            .filter(|reason| reason.severity() == Severity::Untrusted && remedy(**reason).is_none());
        assert_eq!(without.collect::<Vec<_>>(), Vec::<&Reason>::new());
    }
}
