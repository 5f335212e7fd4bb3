//! COSE_Sign1 and COSE_Mac0 (RFC 9052), as every signed structure of alcub3 uses them: tagged, one protected header
//! (the algorithm), no unprotected ones, payload attached, deterministic CBOR throughout.
//!
//! Writing goes through `coset`; reading is our own strict reader, which borrows and allocates nothing, because it
//! stands on the path of a command's verdict. Tests hold each against the other.

use alcub3_crypto::{CryptoError, Digest, MacKey, SignatureScheme, SigningKey, Suite, VerifyingKey};
use alcub3_trust_model::canonical::{DecodeError, Fault, Reader};
use coset::{
    CborSerializable, CoseMac0Builder, CoseSign1Builder, Header, HeaderBuilder, TaggedCborSerializable, iana,
};

const SIGN1_TAG: u64 = 18;
const MAC0_TAG: u64 = 17;
const ALG_LABEL: u64 = 1;
const CRIT_LABEL: u64 = 2;
/// The head of a Sig_structure: array of four, "Signature1".
const SIGN1_CONTEXT: &[u8] = b"\x84\x6aSignature1";
/// The head of a MAC_structure: array of four, "MAC0".
const MAC0_CONTEXT: &[u8] = b"\x84\x64MAC0";
/// The external data: none, as an empty byte string. The domain is the payload's first field.
const NO_EXTERNAL: &[u8] = b"\x40";

/// Why a COSE message was refused.
#[derive(Copy, Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum CoseError {
    /// The encoding is not the one form allowed.
    #[error("COSE message is malformed")]
    Malformed(#[from] DecodeError),
    /// The message is neither COSE_Sign1 nor COSE_Mac0, or lacks its tag.
    #[error("COSE message is neither a tagged COSE_Sign1 nor a tagged COSE_Mac0")]
    Kind,
    /// The protected header names headers as critical; none is known here.
    #[error("COSE message has critical headers, none of which is known")]
    CriticalHeader,
    /// A protected header other than the algorithm.
    #[error("COSE message has an unknown protected header")]
    UnknownHeader,
    /// An unprotected header, which nothing would authenticate.
    #[error("COSE message has unprotected headers")]
    UnprotectedHeader,
    /// The algorithm is of no known suite, or of one for the other kind of message.
    #[error("COSE algorithm {0} is of no suite known for this kind of message")]
    UnknownSuite(i64),
    /// The key is not of the message's suite.
    #[error("the key is not of the message's suite")]
    WrongKey,
    /// The signature or MAC does not verify.
    #[error("the signature or MAC does not verify")]
    BadSignature,
}

/// A structure ready to be signed or MACed, by software or inside a TPM.
#[derive(Clone, Debug)]
pub struct Unsigned {
    suite: Suite,
    header: Header,
    payload: Vec<u8>,
}

impl Unsigned {
    /// A payload to be protected with a suite.
    pub fn new(suite: Suite, payload: Vec<u8>) -> Self {
        let alg = match suite {
            Suite::EcdsaP256Sha256 => iana::Algorithm::ES256,
            Suite::EcdsaP384Sha384 => iana::Algorithm::ES384,
            Suite::HmacSha256 => iana::Algorithm::HMAC_256_256,
            Suite::HmacSha384 => iana::Algorithm::HMAC_384_384,
        };
        Self {
            suite,
            header: HeaderBuilder::new().algorithm(alg).build(),
            payload,
        }
    }

    /// The bytes that are signed (Sig_structure) or MACed (MAC_structure).
    pub fn to_be_signed(&self) -> Vec<u8> {
        if self.suite.is_signature() {
            self.sign1(Vec::new()).tbs_data(&[])
        } else {
            self.mac0_structure()
        }
    }

    /// The finished message with a signature (fixed r‖s) or a tag over [`Self::to_be_signed`].
    ///
    /// # Errors
    /// [`CoseError::BadSignature`] where its length is not the suite's.
    pub fn finish(self, signature: Vec<u8>) -> Result<Vec<u8>, CoseError> {
        if signature.len() != signature_length(self.suite) {
            return Err(CoseError::BadSignature);
        }
        let encoded = if self.suite.is_signature() {
            self.sign1(signature).to_tagged_vec()
        } else {
            let mac0 = CoseMac0Builder::new()
                .protected(self.header)
                .payload(self.payload)
                .tag(signature);
            mac0.build().to_tagged_vec()
        };
        encoded.map_err(|_| CoseError::Kind)
    }

    /// The finished message, signed with a software key.
    ///
    /// # Errors
    /// [`SignError`] where the key is of another suite or its provider fails.
    pub fn sign(self, key: &SigningKey) -> Result<Vec<u8>, SignError> {
        if key.suite() != self.suite {
            return Err(SignError::Cose(CoseError::WrongKey));
        }
        let signature = key.sign(&self.to_be_signed())?;
        Ok(self.finish(signature)?)
    }

    /// The finished message, MACed with a key in memory.
    ///
    /// # Errors
    /// [`CoseError::WrongKey`] where the key is of another suite.
    pub fn mac(self, key: &MacKey) -> Result<Vec<u8>, CoseError> {
        if self.suite.is_signature() || key.alg() != self.suite.hash() {
            return Err(CoseError::WrongKey);
        }
        let tag = key.tag(&[&self.to_be_signed()]);
        self.finish(tag.as_bytes().to_vec())
    }

    fn sign1(&self, signature: Vec<u8>) -> coset::CoseSign1 {
        let builder = CoseSign1Builder::new()
            .protected(self.header.clone())
            .payload(self.payload.clone());
        builder.signature(signature).build()
    }

    /// coset offers the MAC_structure only inside its own MAC functions; the TPM needs it in the open.
    fn mac0_structure(&self) -> Vec<u8> {
        let protected = self.header.clone().to_vec().unwrap_or_default();
        let mut out = alcub3_trust_model::canonical::Encoder::new();
        out.array(4)
            .text("MAC0")
            .bytes(&protected)
            .bytes(&[])
            .bytes(&self.payload);
        out.finish()
    }
}

/// Why a software key did not sign.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key or the signature does not fit the message.
    #[error(transparent)]
    Cose(#[from] CoseError),
    /// The provider failed.
    #[error("signing failed")]
    Crypto(#[from] CryptoError),
}

/// The length of a suite's signature or tag, in bytes.
const fn signature_length(suite: Suite) -> usize {
    match suite {
        Suite::EcdsaP256Sha256 => 64,
        Suite::EcdsaP384Sha384 => 96,
        Suite::HmacSha256 => 32,
        Suite::HmacSha384 => 48,
    }
}

/// A message that was read strictly and not yet verified.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    suite: Suite,
    /// The protected header with its byte-string head, as the Sig_structure wants it.
    protected: &'a [u8],
    /// The payload with its byte-string head.
    wrapped_payload: &'a [u8],
    payload: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a message that fills all of `bytes`. `structure` is what errors call it.
    ///
    /// # Errors
    /// [`CoseError`] says what is unknown, unprotected or not in the one form allowed.
    pub fn parse(structure: &'static str, bytes: &'a [u8]) -> Result<Self, CoseError> {
        let mut reader = Reader::new(structure, bytes);
        let tag = Self::tag(&mut reader)?;
        reader.array_of("COSE message", 4)?;
        let start = reader.offset();
        let header = reader.bytes("protected header")?;
        let protected = reader.since(start);
        if reader.map("unprotected header", usize::MAX)? != 0 {
            return Err(CoseError::UnprotectedHeader);
        }
        let start = reader.offset();
        let payload = reader.bytes("payload")?;
        let wrapped_payload = reader.since(start);
        let signature = reader.bytes("signature")?;
        reader.finish()?;
        let suite = parse_header(structure, header, tag == SIGN1_TAG)?;
        if signature.len() != signature_length(suite) {
            return Err(CoseError::BadSignature);
        }
        Ok(Self {
            suite,
            protected,
            wrapped_payload,
            payload,
            signature,
        })
    }

    fn tag(reader: &mut Reader<'_>) -> Result<u64, CoseError> {
        let mut fork = reader.clone();
        let sign1 = fork.tag("COSE tag", SIGN1_TAG).is_ok();
        let tag = if sign1 { SIGN1_TAG } else { MAC0_TAG };
        reader.tag("COSE tag", tag).map_err(|_| CoseError::Kind)?;
        Ok(tag)
    }

    /// The suite.
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// The payload. It is nobody's word until one of the checks below passed.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The signature or tag.
    pub const fn signature(&self) -> &'a [u8] {
        self.signature
    }

    /// The parts whose concatenation was signed or MACed.
    pub const fn signed_parts(&self) -> [&'a [u8]; 4] {
        let context = if self.suite.is_signature() {
            SIGN1_CONTEXT
        } else {
            MAC0_CONTEXT
        };
        [context, self.protected, NO_EXTERNAL, self.wrapped_payload]
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`CoseError::WrongKey`] where the message is a MAC or the key is of another suite, else
    /// [`CoseError::BadSignature`].
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), CoseError> {
        let scheme = SignatureScheme::Ecdsa(self.suite.hash());
        if !self.suite.is_signature() || key.curve().is_none() || key.native_scheme() != scheme {
            return Err(CoseError::WrongKey);
        }
        let digest = self.suite.hash().digest(&self.signed_parts());
        key.verify_digest(scheme, &digest, self.signature)
            .map_err(|_| CoseError::BadSignature)
    }

    /// Checks the MAC with a key in memory.
    ///
    /// # Errors
    /// [`CoseError::WrongKey`] where the message is a signature or the key is of another suite, else
    /// [`CoseError::BadSignature`].
    pub fn verify_mac(&self, key: &MacKey) -> Result<(), CoseError> {
        if self.suite.is_signature() || key.alg() != self.suite.hash() {
            return Err(CoseError::WrongKey);
        }
        if key.verify(&self.signed_parts(), self.signature) {
            Ok(())
        } else {
            Err(CoseError::BadSignature)
        }
    }

    /// Checks the MAC against the tag that a TPM computed over [`Self::signed_parts`].
    ///
    /// # Errors
    /// As [`Self::verify_mac`].
    pub fn verify_tag(&self, computed: &Digest) -> Result<(), CoseError> {
        if self.suite.is_signature() || computed.alg() != self.suite.hash() {
            return Err(CoseError::WrongKey);
        }
        let equal = alcub3_crypto::constant_time_eq(computed.as_bytes(), self.signature);
        if equal {
            Ok(())
        } else {
            Err(CoseError::BadSignature)
        }
    }
}

fn parse_header(structure: &'static str, header: &[u8], is_sign1: bool) -> Result<Suite, CoseError> {
    let mut reader = Reader::new(structure, header);
    let count = reader.map("protected header", usize::MAX)?;
    let mut suite = None;
    for _ in 0..count {
        if reader.peek_major() != Some(0) {
            return Err(CoseError::UnknownHeader);
        }
        match reader.u64("header label")? {
            ALG_LABEL if suite.is_none() => suite = Some(parse_suite(&mut reader, is_sign1)?),
            CRIT_LABEL => return Err(CoseError::CriticalHeader),
            _ => return Err(CoseError::UnknownHeader),
        }
    }
    reader.finish()?;
    suite.ok_or(CoseError::Malformed(reader.fault("algorithm", Fault::Missing)))
}

fn parse_suite(reader: &mut Reader<'_>, is_sign1: bool) -> Result<Suite, CoseError> {
    let alg = reader.i64("algorithm")?;
    let suite = Suite::from_cose_alg(alg).filter(|suite| suite.is_signature() == is_sign1);
    suite.ok_or(CoseError::UnknownSuite(alg))
}
