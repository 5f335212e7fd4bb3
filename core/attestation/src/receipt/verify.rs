use super::{MAX_EXTENDS, Receipt, Statement, Step, epoch_before_data, extended};
use crate::attest::ClockInfo;
use crate::certify::{Signed, VerifiedNv, verify_nv};
use crate::event_log::agent::{AgentEvent, StopScope};
use crate::pcr::{PcrSelection, PcrValues};
use crate::quote::{QuoteError, VerifiedQuote, verify_quote};
use alcub3_crypto::tpm::Signature;
use alcub3_crypto::{Digest, HashAlg, VerifyingKey};
use alcub3_trust_model::nv_map::{MissionAnchor, NvIndex, NvMap};
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::{RobotId, StopId};

/// What the verifier knows of the robot without the receipt.
#[derive(Debug, Clone)]
pub struct Expected<'a> {
    /// The robot's enrolled attestation key.
    pub attestation_key: &'a VerifyingKey,
    /// The robot's NV map: its indices' names follow from it.
    pub nv: NvMap,
    /// The robot's PCR map.
    pub pcrs: PcrMap,
    /// The robot, where the verifier expects a certain one.
    pub robot: Option<&'a RobotId>,
    /// The stop, where the verifier expects a certain one.
    pub stop: Option<StopId>,
    /// What the scope's counter held while what was stopped still ran, where the verifier knows it: a mission's anchor from
    /// its token, an epoch from the token or the rearm. Without it the increment is proven since the certification before
    /// the stop alone. An honest robot has that made once the mission has its anchor; one in wrong hands may show an older
    /// one, and with it an increment that was none of the stop's.
    pub alive_at: Option<u64>,
    /// The anchor of the mission that was stopped, where the verifier knows it: which one that is, a receipt only states.
    pub anchor: Option<MissionAnchor>,
}

/// What a receipt proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The PCR was extended with this stop, the counter went up, and every step is confirmed.
    Proven,
    /// Nothing contradicts the stop, but something is unconfirmed.
    Incomplete,
    /// Something is wrong: the receipt proves nothing.
    Refused,
}

impl Outcome {
    /// `proven`, `incomplete` or `refused`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Incomplete => "incomplete",
            Self::Refused => "refused",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)+) => {
        /// Why a receipt is refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ReceiptReason {
            $($(#[$doc])* $name,)+
        }

        impl ReceiptReason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The stable code.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// What it means.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

reasons! {
    /// The bytes are no receipt.
    Malformed = "receipt-malformed", "the bytes are not exactly one receipt of a known version";
    /// Another attestation key.
    AttestationKey = "attestation-key", "the receipt names another attestation key than the robot's";
    /// Another robot.
    Robot = "robot", "the receipt is of another robot";
    /// Another stop.
    Stop = "stop", "the receipt is of another stop";
    /// Another anchor.
    Anchor = "anchor", "the receipt is of another counter than the mission's anchor";
    /// The quote's signature.
    QuoteSignature = "quote-signature", "the quote is not signed by the robot's attestation key";
    /// The quote is of another statement.
    QuoteBinding = "quote-binding", "the quote was made for another stop, or the statement was changed after it";
    /// The quoted PCR value.
    QuotedValue = "quoted-value", "the quote is not over the stop's PCR with the value stated";
    /// The chain of the PCR's values.
    ExtendChain = "extend-chain", "the PCR's value after is not the one before extended with this stop, as often as stated";
    /// Certification after.
    EpochAfter = "epoch-after", "the counter's certification after the stop does not hold or is of another stop";
    /// Certification before.
    EpochBefore = "epoch-before", "the counter's certification before the stop does not hold or is of another boot";
    /// The index.
    EpochIndex = "epoch-index", "a certification is of another NV index than the scope's counter";
    /// No increase.
    EpochNotIncreased = "epoch-not-increased", "the counter is not higher after the stop than before";
    /// The counter has not moved on from where the keys lived.
    StillAlive = "still-alive", "the counter still holds what it held while what was stopped ran";
    /// The clocks.
    Clock = "clock", "the TPM's clock or reset counter contradicts the order before, stop, after";
}

/// The judgement of a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptVerdict {
    /// What it proves.
    pub outcome: Outcome,
    /// Why it is refused; empty otherwise.
    pub reasons: Vec<ReceiptReason>,
    /// What could not be confirmed, by the robot or from the receipt.
    pub unconfirmed: Vec<Step>,
    /// The robot's account; `None` when the receipt does not parse. Proven only as far as the outcome says.
    pub statement: Option<Statement>,
    /// The counter's certified value before the stop.
    pub epoch_before: Option<u64>,
    /// The counter's certified value after the stop.
    pub epoch_after: Option<u64>,
    /// The TPM's clock at the quote.
    pub clock: Option<ClockInfo>,
}

/// Judges a receipt.
///
/// Checked are: the key, the quote (signature, statement, PCR and value), the PCR's chain from the value before to
/// the one after with this stop's digest and no other, at most [`MAX_EXTENDS`] times, both certifications (signature,
/// index, binding), the counter's increase (also over what the verifier
/// knows it to have held) and the order of the clocks. A missing quote leaves the extend unconfirmed,
/// a missing certification the increment; where they are there, they prove it although the robot itself had no proof.
#[must_use]
pub fn verify_receipt(bytes: &[u8], expected: &Expected<'_>) -> ReceiptVerdict {
    match Receipt::from_canonical(bytes) {
        Ok(receipt) => Check {
            receipt: &receipt,
            expected,
            reasons: Vec::new(),
        }
        .run(),
        Err(_) => ReceiptVerdict {
            outcome: Outcome::Refused,
            reasons: vec![ReceiptReason::Malformed],
            unconfirmed: Step::ALL.to_vec(),
            statement: None,
            epoch_before: None,
            epoch_after: None,
            clock: None,
        },
    }
}

struct Check<'a> {
    receipt: &'a Receipt,
    expected: &'a Expected<'a>,
    reasons: Vec<ReceiptReason>,
}

impl Check<'_> {
    fn run(mut self) -> ReceiptVerdict {
        self.identity();
        self.chain();
        let quote = self.quote();
        let after = self.epoch(self.receipt.epoch_after.as_ref(), ReceiptReason::EpochAfter);
        let before = self.epoch(self.receipt.epoch_before.as_ref(), ReceiptReason::EpochBefore);
        self.increase(before.as_ref(), after.as_ref());
        let clock = quote.as_ref().map(VerifiedQuote::clock);
        self.order(
            before.as_ref().map(|nv| nv.clock),
            clock,
            after.as_ref().map(|nv| nv.clock),
        );
        let unconfirmed = self.unconfirmed(quote.is_some(), before.is_some() && after.is_some());
        let outcome = match (self.reasons.is_empty(), unconfirmed.is_empty()) {
            (false, _) => Outcome::Refused,
            (true, false) => Outcome::Incomplete,
            (true, true) => Outcome::Proven,
        };
        ReceiptVerdict {
            outcome,
            reasons: self.reasons,
            unconfirmed,
            statement: Some(self.receipt.statement.clone()),
            epoch_before: before.and_then(|nv| nv.counter()),
            epoch_after: after.and_then(|nv| nv.counter()),
            clock,
        }
    }

    fn refuse(&mut self, reason: ReceiptReason) {
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    fn scope(&self) -> StopScope {
        self.receipt.statement.event.scope
    }

    fn identity(&mut self) {
        let event = &self.receipt.statement.event;
        let key = VerifyingKey::from_spki_der(&self.receipt.attestation_key);
        if key.as_ref().ok() != Some(self.expected.attestation_key) {
            self.refuse(ReceiptReason::AttestationKey);
        }
        if self.expected.robot.is_some_and(|robot| *robot != event.robot) {
            self.refuse(ReceiptReason::Robot);
        }
        if self.expected.stop.is_some_and(|stop| stop != event.stop) {
            self.refuse(ReceiptReason::Stop);
        }
        let anchor = self.expected.anchor.map(NvIndex::MissionAnchor);
        if anchor.is_some_and(|anchor| anchor != self.scope().counter()) {
            self.refuse(ReceiptReason::Anchor);
        }
    }

    fn chain(&mut self) {
        let statement = &self.receipt.statement;
        let alg = statement.pcr_after.alg();
        let event = AgentEvent::Stop(statement.event.clone()).digest(alg);
        let same_bank = statement.pcr_before.alg() == alg;
        let times = statement.extends;
        let bounded = (1..=MAX_EXTENDS).contains(&times);
        if !same_bank || !bounded || extended(&statement.pcr_before, &event, times) != statement.pcr_after {
            self.refuse(ReceiptReason::ExtendChain);
        }
    }

    fn quote(&mut self) -> Option<VerifiedQuote> {
        let signed = self.receipt.quote.as_ref()?;
        let result = self.check_quote(signed);
        result.map_err(|reason| self.refuse(reason)).ok()
    }

    fn check_quote(&self, signed: &Signed) -> Result<VerifiedQuote, ReceiptReason> {
        let signature = Signature::from_tpmt_signature(&signed.signature);
        let signature = signature.map_err(|_| ReceiptReason::QuoteSignature)?;
        let statement = &self.receipt.statement;
        let binding = statement.qualifying_data(signature.scheme.hash());
        let values = pcr_value(self.scope().pcr(&self.expected.pcrs), statement.pcr_after);
        let values = values.ok_or(ReceiptReason::QuotedValue)?;
        let key = self.expected.attestation_key;
        verify_quote(key, &signature, &signed.message, binding.as_bytes(), values).map_err(
            |error| match error {
                QuoteError::Signature(_) | QuoteError::Message(_) | QuoteError::NotAQuote => {
                    ReceiptReason::QuoteSignature
                }
                QuoteError::ExtraData => ReceiptReason::QuoteBinding,
                QuoteError::Selection { .. } | QuoteError::PcrDigest => ReceiptReason::QuotedValue,
            },
        )
    }

    fn epoch(&mut self, signed: Option<&Signed>, wrong: ReceiptReason) -> Option<VerifiedNv> {
        let signed = signed?;
        let result = self.check_epoch(signed, wrong);
        result.map_err(|reason| self.refuse(reason)).ok()
    }

    fn check_epoch(&self, signed: &Signed, wrong: ReceiptReason) -> Result<VerifiedNv, ReceiptReason> {
        let signature = Signature::from_tpmt_signature(&signed.signature).map_err(|_| wrong)?;
        let alg = signature.scheme.hash();
        let extra_data = self.epoch_binding(alg, wrong);
        let key = self.expected.attestation_key;
        let nv = verify_nv(key, signed, extra_data.as_bytes()).map_err(|_| wrong)?;
        let index = self.expected.nv.spec(self.scope().counter()).tpm_name(true);
        if nv.index_name != index || nv.counter().is_none() {
            return Err(ReceiptReason::EpochIndex);
        }
        Ok(nv)
    }

    fn epoch_binding(&self, alg: HashAlg, which: ReceiptReason) -> Digest {
        let statement = &self.receipt.statement;
        match which {
            ReceiptReason::EpochBefore => epoch_before_data(alg, &statement.boot),
            _ => statement.qualifying_data(alg),
        }
    }

    fn increase(&mut self, before: Option<&VerifiedNv>, after: Option<&VerifiedNv>) {
        if let (Some(before), Some(after)) = (before, after)
            && before.counter() >= after.counter()
        {
            self.refuse(ReceiptReason::EpochNotIncreased);
        }
        let after = after.and_then(VerifiedNv::counter);
        if after
            .zip(self.expected.alive_at)
            .is_some_and(|(after, alive)| after <= alive)
        {
            self.refuse(ReceiptReason::StillAlive);
        }
    }

    /// The certification before is older than both others, which are of one boot. Within one boot the clock
    /// never goes back; after a power cut it may.
    fn order(&mut self, before: Option<ClockInfo>, quote: Option<ClockInfo>, after: Option<ClockInfo>) {
        let later = [quote, after].into_iter().flatten();
        let backwards = before.is_some_and(|before| later.clone().any(|later| later.is_before(&before)));
        let two_boots = quote
            .zip(after)
            .is_some_and(|(quote, after)| quote.reset_count != after.reset_count);
        if backwards || two_boots {
            self.refuse(ReceiptReason::Clock);
        }
    }

    /// What the robot could not confirm. About its two commands the TPM's signatures decide, whatever became of the
    /// answers to them.
    fn unconfirmed(&self, extended: bool, increased: bool) -> Vec<Step> {
        let of_tpm = [
            (Step::PcrExtended, extended),
            (Step::CounterIncremented, increased),
        ];
        let said = self.receipt.statement.unconfirmed();
        let others = said.filter(|step| of_tpm.iter().all(|(other, _)| other != step));
        let missing = of_tpm.iter().filter(|(_, proven)| !proven).map(|(step, _)| *step);
        let mut steps: Vec<Step> = others.chain(missing).collect();
        steps.sort_unstable();
        steps
    }
}

pub(super) fn pcr_value(pcr: u8, value: Digest) -> Option<PcrValues> {
    let selection = PcrSelection::of(value.alg(), &[pcr]).ok()?;
    PcrValues::new(selection, vec![value]).ok()
}
