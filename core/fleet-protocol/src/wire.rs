//! How the values that several messages share are written and read.

use alcub3_attestation::certify::Signed;
use alcub3_crypto::VerifyingKey;
use alcub3_crypto::tpm::{Name, Public};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Fields, Reader};
use alcub3_trust_model::{OperatorId, RobotId, SessionId};

/// The longest TPMT_PUBLIC, in bytes.
const MAX_PUBLIC: usize = 1024;
/// The longest TPMS_ATTEST and TPMT_SIGNATURE, in bytes.
const MAX_ATTEST: usize = 4096;
/// The most persons a record names.
const MAX_APPROVERS: usize = 8;

/// A message under reading: the reader with the fields of its structure.
pub(crate) struct Message<'a> {
    pub(crate) r: Reader<'a>,
    fields: Fields,
}

impl<'a> Message<'a> {
    pub(crate) fn open(domain: &'static str, version: u64, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(domain, bytes);
        let fields = r.structure(domain, version)?;
        Ok(Self { r, fields })
    }

    /// Moves to a field; its value follows in the reader.
    pub(crate) fn at(&mut self, key: u64, field: &'static str) -> Result<&mut Reader<'a>, DecodeError> {
        self.fields.key(&mut self.r, key, field)?;
        Ok(&mut self.r)
    }

    /// Whether an optional field is there; its value then follows in the reader.
    pub(crate) fn has(&mut self, key: u64, field: &'static str) -> Result<bool, DecodeError> {
        self.fields.optional(&mut self.r, key, field)
    }

    pub(crate) fn finish(mut self) -> Result<(), DecodeError> {
        self.fields.finish(&mut self.r)?;
        self.r.finish()
    }
}

pub(crate) fn robot(r: &mut Reader<'_>) -> Result<RobotId, DecodeError> {
    let text = r.text("robot")?;
    RobotId::new(text).map_err(|_| r.fault("robot", Fault::Value))
}

pub(crate) fn operator(r: &mut Reader<'_>, field: &'static str) -> Result<OperatorId, DecodeError> {
    let text = r.text(field)?;
    OperatorId::new(text).map_err(|_| r.fault(field, Fault::Value))
}

pub(crate) fn session(r: &mut Reader<'_>) -> Result<SessionId, DecodeError> {
    Ok(SessionId::new(*r.bytes_of("session")?))
}

pub(crate) fn bounded(r: &mut Reader<'_>, field: &'static str, most: usize) -> Result<Vec<u8>, DecodeError> {
    let bytes = r.bytes(field)?;
    if bytes.len() > most {
        Err(r.fault(field, Fault::TooLong))
    } else {
        Ok(bytes.to_vec())
    }
}

pub(crate) fn short_text(
    r: &mut Reader<'_>,
    field: &'static str,
    most: usize,
) -> Result<String, DecodeError> {
    let text = r.text(field)?;
    if text.len() > most {
        Err(r.fault(field, Fault::TooLong))
    } else {
        Ok(text.to_owned())
    }
}

pub(crate) fn list<'a, T>(
    r: &mut Reader<'a>,
    field: &'static str,
    most: usize,
    mut each: impl FnMut(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = r.array(field, most)?;
    (0..count).map(|_| each(r)).collect()
}

/// The longest certificate, in bytes.
const MAX_CERTIFICATE: usize = 16 << 10;
/// The most certificates between an endorsement certificate and its vendor's root.
const MAX_CHAIN: usize = 8;

/// An endorsement certificate and those up to its vendor's root: two fields that follow each other.
pub(crate) fn put_certificates(out: &mut Encoder, first_key: u64, certificate: &[u8], chain: &[Vec<u8>]) {
    out.u64(first_key).bytes(certificate);
    out.u64(first_key + 1).array(chain.len());
    for certificate in chain {
        out.bytes(certificate);
    }
}

/// What [`put_certificates`] wrote.
pub(crate) fn certificates(
    m: &mut Message<'_>,
    first_key: u64,
) -> Result<(Vec<u8>, Vec<Vec<u8>>), DecodeError> {
    let (leaf, chain) = ("endorsement_certificate", "certificate_chain");
    let certificate = certificate(m.at(first_key, leaf)?, leaf)?;
    let chain = self::chain(m.at(first_key + 1, chain)?, chain)?;
    Ok((certificate, chain))
}

pub(crate) fn certificate(r: &mut Reader<'_>, field: &'static str) -> Result<Vec<u8>, DecodeError> {
    bounded(r, field, MAX_CERTIFICATE)
}

/// The certificates between one and a root.
pub(crate) fn chain(r: &mut Reader<'_>, field: &'static str) -> Result<Vec<Vec<u8>>, DecodeError> {
    list(r, field, MAX_CHAIN, |r| certificate(r, field))
}

pub(crate) fn put_public(out: &mut Encoder, public: &Public) {
    out.bytes(public.as_tpmt_bytes());
}

pub(crate) fn public(r: &mut Reader<'_>, field: &'static str) -> Result<Public, DecodeError> {
    let bytes = bounded(r, field, MAX_PUBLIC)?;
    Public::from_tpmt(&bytes).map_err(|_| r.fault(field, Fault::Value))
}

pub(crate) fn name(r: &mut Reader<'_>, field: &'static str) -> Result<Name, DecodeError> {
    let bytes = r.bytes(field)?;
    Name::from_bytes(bytes).map_err(|_| r.fault(field, Fault::Value))
}

pub(crate) fn key(r: &mut Reader<'_>, field: &'static str) -> Result<VerifyingKey, DecodeError> {
    let bytes = r.bytes(field)?;
    VerifyingKey::from_spki_der(bytes).map_err(|_| r.fault(field, Fault::Value))
}

pub(crate) fn put_signed(out: &mut Encoder, signed: &Signed) {
    out.array(2).bytes(&signed.message).bytes(&signed.signature);
}

pub(crate) fn signed(r: &mut Reader<'_>, field: &'static str) -> Result<Signed, DecodeError> {
    r.array_of(field, 2)?;
    let message = bounded(r, field, MAX_ATTEST)?;
    Ok(Signed {
        message,
        signature: bounded(r, field, MAX_ATTEST)?,
    })
}

/// Who approved, ascending by name and so each once.
pub(crate) fn approvers(r: &mut Reader<'_>) -> Result<Vec<OperatorId>, DecodeError> {
    let approvers = list(r, "approvers", MAX_APPROVERS, |r| operator(r, "approvers"))?;
    let ascending = approvers
        .iter()
        .zip(approvers.iter().skip(1))
        .all(|(one, next)| one < next);
    if ascending {
        Ok(approvers)
    } else {
        Err(r.fault("approvers", Fault::Order))
    }
}
