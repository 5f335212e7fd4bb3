//! Results as CWT: a tagged COSE_Sign1 (RFC 9052) over the claims in deterministic CBOR, with the keys of RFC 8392, RFC 9711 and
//! draft-ietf-rats-ear-04 §9.1; ours are from the private space of CWT, below -65536.
//!
//! The form is one: what [`Ear::from_cwt`] accepts, [`Ear::to_cwt`] wrote, but for the signature.

use super::{Ear, EarError, MAX_TOKEN_BYTES, Status, Submodule, TrustVector, VerifierId};
use crate::evidence::Nonce;
use alcub3_crypto::{Curve, SignatureScheme, SigningKey, Suite, VerifyingKey};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Fields, Reader};
use alcub3_trust_model::{AttestationKind, HardwareTier};
use coset::{
    CborSerializable, CoseSign1, CoseSign1Builder, Header, HeaderBuilder, TaggedCborSerializable, iana,
};
use std::collections::BTreeMap;

/// The media type, as the header `typ` (RFC 9596) says it: nothing else that the key signs is taken for a result.
const TYPE: &str = "application/eat+cwt";
const TYPE_LABEL: i64 = 16;

const EXP: u64 = 4;
const IAT: u64 = 6;
const NONCE: u64 = 10;
const EAT_PROFILE: u64 = 265;
const SUBMODS: u64 = 266;
const STATUS: u64 = 1000;
const VECTOR: u64 = 1001;
const POLICIES: u64 = 1003;
const VERIFIER_ID: u64 = 1004;
/// Codes of all reasons found.
const REASONS: i64 = -76_001;
/// The evidence's sequence number.
const SEQUENCE: i64 = -76_002;
/// The kind of root of trust, by its number on the wire.
const TIER: i64 = -76_003;
/// What was to be proven, as text.
const KIND: i64 = -76_004;

const STRUCTURE: &str = "attestation result";
const MAX_SUBMODULES: usize = 64;
const MAX_REASONS: usize = 256;

impl Ear {
    /// The claims as CWT, signed: ES256 or ES384 by the key's curve.
    ///
    /// # Errors
    /// The provider failed.
    pub fn to_cwt(&self, key: &SigningKey) -> Result<Vec<u8>, EarError> {
        let curve = key.verifying_key().curve().ok_or(EarError::Key)?;
        let message = CoseSign1Builder::new()
            .protected(header(curve))
            .payload(self.claims());
        let message =
            message.try_create_signature(&[], |covered| key.sign(covered).map_err(EarError::Signature));
        message?.build().to_tagged_vec().map_err(EarError::Cose)
    }

    /// Checks a result in a CWT at `now_s` (seconds since 1970), as [`Ear::verify`] does in a JWT.
    ///
    /// # Errors
    /// A wrong signature, another header, an unknown claim, another profile or form, or out of its time.
    pub fn from_cwt(token: &[u8], key: &VerifyingKey, now_s: u64) -> Result<Self, EarError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(EarError::TooLong(token.len()));
        }
        let message = CoseSign1::from_tagged_slice(token).map_err(EarError::Cose)?;
        let curve = key.curve().ok_or(EarError::Key)?;
        check_envelope(&message, token, curve)?;
        let scheme = SignatureScheme::Ecdsa(Suite::of_curve(curve).hash());
        let verified = key.verify(scheme, &message.tbs_data(&[]), &message.signature);
        verified.map_err(EarError::Signature)?;
        let payload = message.payload.ok_or(EarError::Header("a detached payload"))?;
        read(&payload)?.check(now_s)
    }

    fn claims(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.map(6).u64(EXP).u64(self.exp).u64(IAT).u64(self.iat);
        out.u64(NONCE).bytes(&self.eat_nonce.0);
        out.u64(EAT_PROFILE).text(&self.eat_profile);
        let mut submods: Vec<_> = self.submods.iter().collect();
        // The deterministic order is of the encoded keys, so a shorter name comes first.
        submods.sort_by_key(|(name, _)| (name.len(), *name));
        out.u64(SUBMODS).map(submods.len());
        for (name, result) in submods {
            result.write(out.text(name));
        }
        out.u64(VERIFIER_ID).map(2);
        out.u64(0)
            .text(&self.verifier.developer)
            .u64(1)
            .text(&self.verifier.build);
        out.finish()
    }
}

fn header(curve: Curve) -> Header {
    let algorithm = match curve {
        Curve::P256 => iana::Algorithm::ES256,
        Curve::P384 => iana::Algorithm::ES384,
    };
    HeaderBuilder::new()
        .algorithm(algorithm)
        .value(TYPE_LABEL, TYPE.into())
        .build()
}

/// The one header there is for a key, nothing unprotected, and the one encoding.
fn check_envelope(message: &CoseSign1, token: &[u8], curve: Curve) -> Result<(), EarError> {
    let expected = header(curve);
    let found = &message.protected.header;
    if !found.crit.is_empty() {
        return Err(EarError::Header("critical extensions"));
    }
    if found.alg != expected.alg {
        return Err(EarError::Header("another algorithm than the key's"));
    }
    if found.rest != expected.rest {
        return Err(EarError::Header("another type than application/eat+cwt"));
    }
    let encoded = expected.to_vec().map_err(EarError::Cose)?;
    if message.protected.original_data.as_deref() != Some(&encoded) || !message.unprotected.is_empty() {
        return Err(EarError::Header("more than its algorithm and type"));
    }
    let again = message.clone().to_tagged_vec().map_err(EarError::Cose)?;
    if again == token {
        Ok(())
    } else {
        Err(EarError::Header("another encoding than the canonical one"))
    }
}

fn read(payload: &[u8]) -> Result<Ear, EarError> {
    let mut reader = Reader::new(STRUCTURE, payload);
    let r = &mut reader;
    let mut fields = Fields::open(r)?;
    fields.key(r, EXP, "exp")?;
    let exp = r.u64("exp")?;
    fields.key(r, IAT, "iat")?;
    let iat = r.u64("iat")?;
    fields.key(r, NONCE, "eat_nonce")?;
    let eat_nonce = Nonce(*r.bytes_of("eat_nonce")?);
    fields.key(r, EAT_PROFILE, "eat_profile")?;
    let eat_profile = r.text("eat_profile")?.to_owned();
    fields.key(r, SUBMODS, "submods")?;
    let submods = read_submodules(r)?;
    fields.key(r, VERIFIER_ID, "ear_verifier_id")?;
    let verifier = read_verifier(r)?;
    fields.finish(r)?;
    r.finish()?;
    Ok(Ear {
        eat_profile,
        iat,
        exp,
        eat_nonce,
        verifier,
        submods,
    })
}

fn read_verifier(r: &mut Reader<'_>) -> Result<VerifierId, DecodeError> {
    let mut fields = Fields::open(r)?;
    fields.key(r, 0, "developer")?;
    let developer = r.text("developer")?.to_owned();
    fields.key(r, 1, "build")?;
    let build = r.text("build")?.to_owned();
    fields.finish(r)?;
    Ok(VerifierId { developer, build })
}

fn read_submodules(r: &mut Reader<'_>) -> Result<BTreeMap<String, Submodule>, EarError> {
    let count = r.map("submods", MAX_SUBMODULES)?;
    let mut submods = BTreeMap::new();
    let mut last: Option<(usize, String)> = None;
    for _ in 0..count {
        let name = r.text("submods")?.to_owned();
        let place = (name.len(), name.clone());
        if last.as_ref().is_some_and(|last| *last >= place) {
            return Err(r.fault("submods", Fault::Order).into());
        }
        last = Some(place);
        submods.insert(name, Submodule::read(r)?);
    }
    Ok(submods)
}

/// The keys of a map whose numbers are below zero as well: the unsigned come first, each part in the order of its encoding.
struct Keys {
    left: usize,
}

impl Keys {
    fn is_next(&mut self, r: &mut Reader<'_>, key: i64, field: &'static str) -> Result<bool, DecodeError> {
        let mut ahead = r.clone();
        let found = self.left > 0 && ahead.i64(field)? == key;
        if found {
            *r = ahead;
            self.left -= 1;
        }
        Ok(found)
    }

    fn next(&mut self, r: &mut Reader<'_>, key: i64, field: &'static str) -> Result<(), DecodeError> {
        match self.is_next(r, key, field)? {
            true => Ok(()),
            false => Err(r.fault(field, Fault::Missing)),
        }
    }

    fn finish(self, r: &mut Reader<'_>) -> Result<(), EarError> {
        match self.left {
            0 => Ok(()),
            _ => Err(EarError::UnknownClaim(r.i64("claim")?)),
        }
    }
}

impl Submodule {
    fn write(&self, out: &mut Encoder) {
        let optional = usize::from(self.sequence.is_some())
            + usize::from(self.tier.is_some())
            + usize::from(self.kind.is_some());
        out.map(5 + optional).u64(EAT_PROFILE).text(&self.eat_profile);
        out.u64(STATUS).u64(self.status.claim());
        self.vector.write(out.u64(VECTOR));
        out.u64(POLICIES).array(1).text(&self.policy);
        out.i64(REASONS).array(self.reasons.len());
        for reason in &self.reasons {
            out.text(reason);
        }
        if let Some(sequence) = self.sequence {
            out.i64(SEQUENCE).u64(sequence);
        }
        if let Some(tier) = self.tier {
            out.i64(TIER).u64(tier.id().into());
        }
        if let Some(kind) = self.kind {
            out.i64(KIND).text(&kind.to_string());
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, EarError> {
        let mut keys = Keys {
            left: r.map("submodule", MAX_SUBMODULES)?,
        };
        keys.next(r, EAT_PROFILE.cast_signed(), "eat_profile")?;
        let eat_profile = r.text("eat_profile")?.to_owned();
        keys.next(r, STATUS.cast_signed(), "ear_status")?;
        let status = r.id_of("ear_status", Status::from_claim)?;
        keys.next(r, VECTOR.cast_signed(), "ear_trustworthiness_vector")?;
        let vector = TrustVector::read(r)?;
        keys.next(r, POLICIES.cast_signed(), "ear_appraisal_policy_ids")?;
        r.array_of("ear_appraisal_policy_ids", 1)?;
        let policy = r.text("ear_appraisal_policy_ids")?.to_owned();
        keys.next(r, REASONS, "alcub3.reasons")?;
        let count = r.array("alcub3.reasons", MAX_REASONS)?;
        let reason = |_| r.text("alcub3.reasons").map(ToOwned::to_owned);
        let reasons = (0..count).map(reason).collect::<Result<_, _>>()?;
        let sequence = match keys.is_next(r, SEQUENCE, "alcub3.sequence")? {
            true => Some(r.u64("alcub3.sequence")?),
            false => None,
        };
        let tier = match keys.is_next(r, TIER, "alcub3.hardware-tier")? {
            true => Some(r.id_of("alcub3.hardware-tier", HardwareTier::from_id)?),
            false => None,
        };
        let kind = match keys.is_next(r, KIND, "alcub3.attestation")? {
            true => Some(read_kind(r)?),
            false => None,
        };
        keys.finish(r)?;
        Ok(Self {
            eat_profile,
            status,
            vector,
            policy,
            reasons,
            kind,
            sequence,
            tier,
        })
    }
}

fn read_kind(r: &mut Reader<'_>) -> Result<AttestationKind, DecodeError> {
    let kind = r.text("alcub3.attestation")?.parse();
    kind.map_err(|_| r.fault("alcub3.attestation", Fault::Value))
}

impl Status {
    const fn claim(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Affirming => 2,
            Self::Warning => 32,
            Self::Contraindicated => 96,
        }
    }

    const fn from_claim(claim: u8) -> Option<Self> {
        match claim {
            0 => Some(Self::None),
            2 => Some(Self::Affirming),
            32 => Some(Self::Warning),
            96 => Some(Self::Contraindicated),
            _ => None,
        }
    }
}

impl TrustVector {
    /// The keys of AR4SI: 3 and above 4 are of what is not judged here.
    fn write(self, out: &mut Encoder) {
        out.map(4).u64(0).i64(self.instance_identity.into());
        out.u64(1).i64(self.configuration.into());
        out.u64(2).i64(self.executables.into());
        out.u64(4).i64(self.hardware.into());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut fields = Fields::open(r)?;
        let mut part = |key, field| {
            fields.key(r, key, field)?;
            let value = r.i64(field)?;
            i8::try_from(value).map_err(|_| r.fault(field, Fault::Value))
        };
        let vector = Self {
            instance_identity: part(0, "instance-identity")?,
            configuration: part(1, "configuration")?,
            executables: part(2, "executables")?,
            hardware: part(4, "hardware")?,
        };
        fields.finish(r)?;
        Ok(vector)
    }
}
