use alcub3_crypto::HashAlg;
use alcub3_trust_model::HardwareTier;
use serde::Serialize;

/// What a finding means for the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing; changes nothing.
    Info,
    /// Worth a look; does not make the robot untrusted alone.
    Warning,
    /// The robot is untrusted.
    Untrusted,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $severity:ident, $text:literal;)+) => {
        /// Why a verdict is what it is. Codes are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* $name,)+
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The stable code.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// What it means for the verdict.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)+ }
            }

            /// What it says, for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }

        impl core::fmt::Display for Reason {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.code())
            }
        }

        impl serde::Serialize for Reason {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.code())
            }
        }
    };
}

reasons! {
    /// Not evidence.
    Malformed = "evidence-malformed", Untrusted, "the bytes are not evidence of a known version";
    /// Signature.
    Signature = "signature", Untrusted, "the evidence is not signed by the robot's attestation key";
    /// Not a quote.
    NotAQuote = "not-a-quote", Untrusted, "the robot's key signed something else than a quote";
    /// Qualifying data.
    Binding = "binding", Untrusted, "what is signed does not bind this nonce, state, mission and sequence: a replay, or changed on the way";
    /// PCR values.
    PcrValues = "pcr-values", Untrusted, "the PCR values are not the quoted ones";
    /// A PCR is missing.
    PcrNotQuoted = "pcr-not-quoted", Untrusted, "a PCR that is to be judged was not quoted";
    /// State does not parse.
    StateMalformed = "state-malformed", Untrusted, "the robot's state is malformed";
    /// State of another robot.
    StateRobot = "state-robot", Untrusted, "the state is of another robot";
    /// Another kind.
    Kind = "attestation-kind", Untrusted, "the evidence was made to prove something else than was asked for";
    /// Content that the kind asks for.
    ContentMissing = "content-missing", Untrusted, "the evidence lacks what its kind of attestation must hold";
    /// Content that the kind does not know.
    ContentUnexpected = "content-unexpected", Untrusted, "the evidence holds what belongs to another kind of attestation";
    /// A certification of an NV index.
    Register = "register-certification", Untrusted, "the certification of a robot register or counter does not hold";
    /// A register that was not shown.
    RegisterMissing = "register-missing", Untrusted, "a robot register is neither certified nor known from this boot";
    /// A register that holds something else.
    RegisterMismatch = "register-mismatch", Untrusted, "a robot register does not hold what the state says";
    /// What a register held before is not shown.
    RegisterHistory = "register-history", Warning, "what was measured into a robot register before is not shown";
    /// No approval of the mission.
    MissionUnknown = "mission-unknown", Untrusted, "the mission is not one that was approved for this robot";
    /// Outside of the mission's time.
    MissionWindow = "mission-window", Untrusted, "the mission has not begun, or its time is over";
    /// The mission's keys would not work.
    MissionOver = "mission-over", Untrusted, "the mission does not live in the robot's TPM: its keys would be refused";
    /// No stop where one was to be proven.
    NotStopped = "not-stopped", Untrusted, "a stop was to be proven, and the robot is not stopped";
    /// A mode that may not follow.
    StateTransition = "state-transition", Untrusted, "the robot went into a mode that it may not enter from the one before";
    /// A fault.
    StateFault = "state-fault", Warning, "the robot reports a fault of its own";
    /// A fault with which it must not work.
    StateFaultCritical = "state-fault-critical", Untrusted, "the robot reports a fault with which it must not work";
    /// Kind of machine.
    StatePlatform = "state-platform", Untrusted, "the robot is not of the kind of machine that the references are for";
    /// Payload.
    StatePayload = "state-payload", Untrusted, "the robot carries something that it may not, or too much";
    /// Firmware of subsystems.
    StateFirmware = "state-firmware", Untrusted, "a subsystem's firmware is not among the reference values";
    /// Calibration of sensors.
    StateCalibration = "state-calibration", Untrusted, "a sensor's calibration is not the enrolled one";
    /// Hardware inventory.
    StateHardware = "state-hardware", Untrusted, "the robot's hardware inventory is not among the reference values";
    /// Version of the software.
    StateSoftware = "state-software", Untrusted, "the robot's software is not of an accepted version";
    /// Mode.
    StateMode = "state-mode", Untrusted, "the robot is in a mode that it may not be in";
    /// Position.
    StatePosition = "state-position", Untrusted, "the robot is not where it may be, or does not know where it is";
    /// Battery.
    StateBattery = "state-battery", Warning, "the robot's charge is below what is asked for";
    /// Speed.
    StateSpeed = "state-speed", Warning, "the robot is faster than it may be";
    /// State is old.
    StateAge = "state-age", Warning, "the state's time is far from the verifier's";
    /// The robot says that it is stopped.
    Stopped = "stopped", Untrusted, "the robot is stopped";
    /// A stop in the log that was not rearmed.
    StopInForce = "stop-in-force", Untrusted, "a stop is in force that nobody rearmed";
    /// Tier too low.
    Tier = "hardware-tier", Untrusted, "the robot's root of trust is of a lower kind than the policy asks";
    /// Tier claimed above the enrolled.
    TierClaim = "tier-claim", Untrusted, "the evidence claims a better TPM than was enrolled";
    /// A simulator.
    Simulator = "simulator", Info, "the evidence was made with a simulated root of trust";
    /// Sequence.
    Sequence = "sequence", Untrusted, "the evidence's sequence number is not higher than the last one's";
    /// Reset counter.
    ResetCount = "reset-count", Untrusted, "the TPM's reset counter went back: another TPM, or one restored";
    /// Clock.
    ClockBack = "clock-back", Untrusted, "the TPM's clock went back within one boot";
    /// Clock is not safe.
    ClockUnsafe = "clock-unsafe", Info, "the TPM's clock may be behind after a power cut";
    /// Restart.
    Restarted = "restarted", Info, "the TPM was reset or restarted since the last evidence";
    /// No log.
    BootLogMissing = "boot-log-missing", Untrusted, "there is no UEFI log, and this boot's was not judged before";
    /// Log does not parse.
    BootLogMalformed = "boot-log-malformed", Untrusted, "the UEFI log is malformed";
    /// Log lacks the bank.
    BootLogBank = "boot-log-bank", Untrusted, "the UEFI log has no digests of the quoted bank";
    /// Log does not explain a PCR.
    BootLogMismatch = "boot-log-mismatch", Untrusted, "the UEFI log does not explain a quoted PCR";
    /// Event data is not what was measured.
    EventData = "event-data", Untrusted, "an event's data is not what its digest was measured from";
    /// Reference.
    Reference = "reference", Untrusted, "a PCR or an event is not among the reference values";
    /// No reference.
    ReferenceMissing = "reference-missing", Untrusted, "there is no reference value for a boot PCR";
    /// A claim on the boot.
    BootClaim = "boot-claim", Untrusted, "the UEFI log does not show what the references ask of a boot";
    /// No list.
    RuntimeLogMissing = "runtime-log-missing", Untrusted, "there is no IMA list that leads to the quoted PCR, and the references ask for one";
    /// List does not parse.
    RuntimeLogMalformed = "runtime-log-malformed", Untrusted, "the IMA list is malformed";
    /// List begins behind what was judged.
    RuntimeLogHole = "runtime-log-hole", Untrusted, "the IMA list begins behind the entries that were judged of this boot";
    /// List does not explain the PCR.
    RuntimeLogMismatch = "runtime-log-mismatch", Untrusted, "the IMA list does not explain the quoted PCR";
    /// PCR never extended.
    ImaBypass = "ima-bypass", Untrusted, "the IMA list has entries and its PCR is empty: the TPM vouches for none of them";
    /// Nothing measured.
    ImaInactive = "ima-inactive", Untrusted, "IMA has measured nothing, and the references ask for it";
    /// List of another boot.
    BootAggregate = "boot-aggregate", Untrusted, "the IMA list is not tied to the quoted boot PCRs";
    /// Aggregate of another bank.
    BootAggregateUnchecked = "boot-aggregate-unchecked", Info, "the IMA list names the boot in a bank that was not quoted; the quoted PCR ties it to the boot";
    /// File.
    RuntimeFile = "runtime-file", Untrusted, "a measured file is not among the reference values";
    /// Another PCR.
    RuntimeOtherPcr = "runtime-other-pcr", Untrusted, "something was measured into another PCR than that of IMA, where no reference is held against it";
    /// Violation.
    RuntimeViolation = "runtime-violation", Untrusted, "a file was changed while it was measured or in use: its digest means nothing";
    /// Violation that is only noted.
    RuntimeViolationNoted = "runtime-violation-noted", Info, "a file was changed while it was measured or in use, and the references only note it";
    /// Padded SHA-1.
    RuntimeSha1 = "runtime-sha1", Warning, "the kernel extends SHA-1 hashes into the quoted bank, as before Linux 5.8: what it measured rests on SHA-1";
    /// No references.
    RuntimeUnjudged = "runtime-unjudged", Info, "an IMA list was sent, and there are no references for it";
    /// The boot extended a PCR of the agent's.
    AgentPcr = "agent-pcr", Untrusted, "the UEFI log extends the lockdown or retire PCR, which are the agent's alone: a stop could hide there";
    /// Agent's log does not parse.
    AgentLogMalformed = "agent-log-malformed", Untrusted, "the agent's event log is malformed";
    /// Agent's log does not explain.
    AgentLogMismatch = "agent-log-mismatch", Untrusted, "the agent's event log does not explain the lockdown or retire PCR";
    /// No class of the policy.
    PolicyClass = "policy-class", Untrusted, "the appraisal policy has no class for the robot";
    /// Tier below what the policy asks.
    PolicyTier = "policy-tier", Untrusted, "the robot's root of trust is of a lower kind than its class is asked for";
    /// Claims that nothing shows.
    PolicyClaim = "policy-claim", Untrusted, "the appraisal policy asks for a claim on the boot, and no boot log was held to it";
    /// What runs is not judged.
    PolicyRuntime = "policy-runtime", Untrusted, "the appraisal policy asks that what runs is judged, and there are no references for it";
    /// A part of the state is not judged.
    PolicyState = "policy-state", Untrusted, "the appraisal policy asks that a part of the state is judged, and there are no references for it";
    /// An origin that the record does not state.
    PolicyOrigin = "policy-origin", Untrusted, "the appraisal policy asks for an origin that the robot's enrolment record does not state";
    /// State too old.
    PolicyStateAge = "policy-state-age", Untrusted, "the state's time is farther from the verifier's than the appraisal policy allows";
    /// A TPM in the processor.
    SharedSilicon = "shared-silicon", Warning, "the TPM is a program in the processor's trusted environment: whoever breaks into that part of the system's own silicon has the TPM's secrets";
    /// Sequence numbers that nobody was shown.
    EvidenceGap = "evidence-gap", Info, "sequence numbers between the offline evidence and this evidence were not shown";
    /// A link that no time fits.
    OfflineClock = "offline-clock", Untrusted, "the TPM's clock went on between links of offline evidence for longer than there was time";
    /// No root of trust.
    NoRoot = "no-root-of-trust", Warning, "the platform has no root of trust: nothing that it says is proven";
    /// Enrolled with a root of trust and shows none.
    RootWithheld = "root-withheld", Untrusted, "the robot was enrolled with a root of trust and shows none";
    /// Signed for another robot.
    Robot = "robot", Untrusted, "the evidence is signed for another robot";
    /// A certificate does not parse.
    DiceCertificate = "dice-certificate", Untrusted, "a certificate of the chain is malformed";
    /// An extension.
    DiceExtension = "dice-extension", Untrusted, "a certificate's extension is malformed, repeated, or critical and unknown";
    /// Algorithm.
    DiceAlgorithm = "dice-algorithm", Untrusted, "a certificate's key or signature is of an algorithm that is not approved";
    /// Not from the pinned root.
    DiceRoot = "dice-root", Untrusted, "the chain does not begin at a pinned root";
    /// Names do not link.
    DiceIssuer = "dice-issuer", Untrusted, "a certificate names another issuer than the one before it: one is missing, or they are out of order";
    /// Signatures do not link.
    DiceChainSignature = "dice-chain-signature", Untrusted, "a certificate is not signed by the key of the one before it";
    /// Not an authority.
    DiceAuthority = "dice-authority", Untrusted, "a certificate issued another without the right to";
    /// Not an attestation key.
    DiceLeaf = "dice-leaf", Untrusted, "the last certificate is not one of an attestation key";
    /// Time.
    DiceValidity = "dice-validity", Untrusted, "a certificate is not yet or no longer valid";
    /// Another device.
    DiceDevice = "dice-device", Untrusted, "the chain is of another device than was enrolled";
    /// Measurements do not parse.
    DiceMeasurement = "dice-measurement", Untrusted, "a certificate's measurements are malformed or of an unknown kind";
    /// Too few layers.
    DiceLayerMissing = "dice-layer-missing", Untrusted, "the chain lacks the measurements of a layer";
    /// Too many layers.
    DiceLayerUnexpected = "dice-layer-unexpected", Untrusted, "the chain has a layer for which there is no reference";
    /// Another layer.
    DiceLayer = "dice-layer", Untrusted, "a layer is not the one that its reference names: another component, or out of order";
    /// Digest of the code.
    DiceFirmware = "dice-firmware", Untrusted, "a layer's firmware is not among the reference values";
    /// Configuration.
    DiceConfiguration = "dice-configuration", Untrusted, "a layer's configuration is not among the reference values";
    /// Who signed the code.
    DiceSigner = "dice-signer", Untrusted, "the authority over a layer's firmware is not among the reference values";
    /// Version.
    DiceVersion = "dice-version", Untrusted, "a layer's version is not an approved one";
    /// Security version number.
    DiceSvn = "dice-svn", Untrusted, "a layer's security version number is below the floor, or missing";
    /// Mode.
    DiceMode = "dice-mode", Untrusted, "a layer is in debug, recovery or an unconfigured mode, or does not say in which";
    /// Not a PSA token.
    PsaMalformed = "psa-token-malformed", Untrusted, "the bytes are not a PSA attestation token";
    /// COSE_Mac0.
    PsaMac = "psa-token-mac", Untrusted, "the token is authenticated by a MAC, which is not accepted";
    /// Critical header.
    PsaCriticalHeader = "psa-critical-header", Untrusted, "the token has a critical header that is not known";
    /// Unprotected header.
    PsaUnprotectedHeader = "psa-unprotected-header", Untrusted, "the token has a header that its signature does not cover";
    /// Header that was ignored.
    PsaIgnoredHeader = "psa-header-ignored", Info, "the token has a header that is not critical and was not looked at";
    /// A PSA token's algorithm.
    PsaAlgorithm = "psa-algorithm", Untrusted, "the token's algorithm is not the pinned key's";
    /// Signature of a PSA token.
    PsaSignature = "psa-signature", Untrusted, "the token is not signed by the instance's attestation key";
    /// A claim is missing.
    PsaClaimMissing = "psa-claim-missing", Untrusted, "a claim that every token must have is missing";
    /// A claim is malformed.
    PsaClaimMalformed = "psa-claim-malformed", Untrusted, "a claim has the wrong type, size or value";
    /// A claim comes twice.
    PsaClaimDuplicate = "psa-claim-duplicate", Untrusted, "a claim comes twice";
    /// A claim that is not understood.
    PsaClaimUnknown = "psa-claim-unknown", Info, "the token has a claim that is not understood; it was not looked at";
    /// Another profile of PSA tokens.
    PsaProfile = "psa-profile", Untrusted, "the token is of another profile than TF-M's of RFC 9783";
    /// Challenge.
    PsaChallenge = "psa-challenge", Untrusted, "the token does not bind this nonce, robot and state: a replay, or changed on the way";
    /// Another instance.
    PsaInstance = "psa-instance", Untrusted, "the token is of another instance than the one enrolled";
    /// Caller.
    PsaClient = "psa-client", Untrusted, "the token was asked for by a caller that the policy does not name";
    /// Another implementation.
    PsaImplementation = "psa-implementation", Untrusted, "the root of trust is of another implementation than the one enrolled";
    /// Lifecycle of a PSA root of trust.
    PsaLifecycle = "psa-lifecycle", Untrusted, "the root of trust is not in a lifecycle state that the policy admits";
    /// Debug that was admitted.
    PsaLifecycleDebug = "psa-lifecycle-debug", Warning, "debug of all but the root of trust is on, which the policy admits";
    /// A component has no reference.
    PsaComponentUnknown = "psa-component-unknown", Untrusted, "a component is of a type for which there are no reference values";
    /// Signer.
    PsaComponentSigner = "psa-component-signer", Untrusted, "a component is signed by somebody who is not among the reference values";
    /// Measurement.
    PsaComponentMeasurement = "psa-component-measurement", Untrusted, "a component's measurement is not among the reference values";
    /// Version.
    PsaComponentVersion = "psa-component-version", Untrusted, "a component is older than the reference values ask, or does not say its version";
    /// A component is missing.
    PsaComponentMissing = "psa-component-missing", Untrusted, "a component that the reference values ask for was not measured";
    /// PSA certification.
    PsaCertification = "psa-certification", Untrusted, "no endorsement shows the certification that the policy asks for";
}

/// One reason with where it applies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The reason.
    pub reason: Reason,
    /// What it means for the verdict.
    pub severity: Severity,
    /// The PCR, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcr: Option<u8>,
    /// Number of the certificate in its chain, from 0 at the root's side, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
    /// Number of the event in its log, where one is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<usize>,
    /// The claim of a token, or its software component by place and type, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// What was found, for people.
    pub detail: String,
}

impl Finding {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            severity: reason.severity(),
            pcr: None,
            layer: None,
            event: None,
            component: None,
            detail: detail.into(),
        }
    }

    pub(crate) fn below(tier: HardwareTier, minimum: HardwareTier) -> Self {
        let detail = format!("it is {tier}, the policy asks for {minimum}");
        Self::new(Reason::Tier, detail)
    }

    pub(super) fn pcr_not_quoted(pcr: u8, bank: HashAlg) -> Self {
        let detail = format!("PCR {pcr} of the {} bank", bank.name());
        Self::new(Reason::PcrNotQuoted, detail).at_pcr(pcr)
    }

    pub(super) fn at_pcr(mut self, pcr: u8) -> Self {
        self.pcr = Some(pcr);
        self
    }

    pub(crate) fn at_layer(mut self, layer: usize) -> Self {
        self.layer = Some(layer);
        self
    }

    pub(crate) fn about(reason: Reason, component: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            component: Some(component.into()),
            ..Self::new(reason, detail)
        }
    }

    pub(super) fn at_event(mut self, event: Option<usize>) -> Self {
        self.event = event;
        self
    }
}
