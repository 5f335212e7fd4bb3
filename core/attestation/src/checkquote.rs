//! The file formats of tpm2-tools 5.4, so that whoever checks quotes with `tpm2_checkquote` can do so here.
//!
//! Stricter than that tool: the PCR file is a dump of C structures, and every byte of it that carries no meaning
//! (padding, unused entries) must be zero; counts and the file's length must be exact; the hash algorithm that the
//! caller states must be the signature's. So no byte of any file can be changed unnoticed.

use crate::cursor::{Cursor, Short};
use crate::pcr::{PcrSelection, PcrValues, PcrValuesError, SelectionError};
use crate::quote::{QuoteError, VerifiedQuote, verify_quote};
use alcub3_crypto::tpm::{Public, Signature, StructureError};
use alcub3_crypto::{CryptoError, Digest, HashAlg, VerifyingKey};
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use thiserror::Error;

/// Entries of the C structure TPML_PCR_SELECTION.
const SELECTION_ENTRIES: usize = 16;
/// Entries of the C structure TPML_DIGEST.
const DIGEST_ENTRIES: usize = 8;
/// Bytes of a digest's buffer in TPM2B_DIGEST.
const DIGEST_BUFFER: usize = 64;
/// Digest lists tpm2-tools write at most.
const MAX_LISTS: u32 = 32;

/// What `tpm2_checkquote` takes, as bytes.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a> {
    /// `-u`: the attestation key, as TPM2B_PUBLIC, TPMT_PUBLIC or PEM SubjectPublicKeyInfo.
    pub public_key: &'a [u8],
    /// `-m`: the quote, a TPMS_ATTEST.
    pub message: &'a [u8],
    /// `-s`: the signature, a TPMT_SIGNATURE.
    pub signature: &'a [u8],
    /// `-f`: the PCR values as `tpm2_quote -o` writes them. Always needed: a quote without values says nothing.
    pub pcrs: &'a [u8],
    /// `-g`: the hash algorithm, where the caller states one.
    pub hash: Option<HashAlg>,
    /// `-q`: the nonce's bytes.
    pub nonce: &'a [u8],
}

/// Why a set of files is not a good quote. The message names the file by its flag.
#[derive(Debug, Error)]
pub enum CheckQuoteError {
    /// The public key cannot be used.
    #[error(
        "-u: the public key is neither a TPM2B_PUBLIC, a TPMT_PUBLIC nor a PEM public key that can be used"
    )]
    PublicKey(#[source] PublicKeyError),
    /// The signature is malformed.
    #[error("-s: the file is not exactly one TPMT_SIGNATURE of RSASSA, RSAPSS or ECDSA")]
    Signature(#[source] StructureError),
    /// The signature is of another algorithm than the caller stated.
    #[error("-g: {} was stated, but the signature is of {}; state that, or leave -g out", stated.name(), signed.name())]
    HashAlgorithm {
        /// What the caller stated.
        stated: HashAlg,
        /// What the signature says.
        signed: HashAlg,
    },
    /// The PCR file is malformed.
    #[error("-f: the PCR file is not as tpm2_quote -o writes it")]
    PcrFile(#[source] PcrFileError),
    /// The files are well-formed and prove nothing.
    #[error("the quote does not hold")]
    Quote(#[source] QuoteError),
}

/// Why bytes are not a public key.
#[derive(Debug, Error)]
pub enum PublicKeyError {
    /// Bytes that are no public area of a TPM.
    #[error("it is not exactly one TPM public area")]
    Structure(#[source] StructureError),
    /// A public area whose key cannot check signatures here.
    #[error("the public area's key cannot be used")]
    Tpm(#[source] CryptoError),
    /// PEM that does not decode.
    #[error("the PEM text is damaged: it must be one PUBLIC KEY block")]
    Pem,
    /// A SubjectPublicKeyInfo that cannot be used.
    #[error("the PEM's public key cannot be used")]
    Spki(#[source] CryptoError),
}

/// What is wrong with a PCR file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PcrFileError {
    /// The file ends too early.
    #[error("it ends inside the {field} at offset {offset}; copy it again whole")]
    Truncated {
        /// The field.
        field: &'static str,
        /// Offset of the field in bytes.
        offset: usize,
    },
    /// Bytes that must be zero are not.
    #[error("the {field} at offset {offset} must be zero and is not; the file was changed")]
    NotZero {
        /// The field.
        field: &'static str,
        /// Offset of the field in bytes.
        offset: usize,
    },
    /// A count or size has an impossible value.
    #[error("the {field} at offset {offset} is {value}, which cannot be; the file was changed")]
    Value {
        /// The field.
        field: &'static str,
        /// Offset of the field in bytes.
        offset: usize,
        /// The value found.
        value: u32,
    },
    /// The selection is malformed.
    #[error("its PCR selection cannot be used")]
    Selection(#[source] SelectionError),
    /// Values and selection do not fit each other.
    #[error("its values do not fit its selection")]
    Values(#[source] PcrValuesError),
    /// Bytes follow the last list.
    #[error("{0} bytes follow its last digest list; nothing may")]
    Trailing(usize),
}

/// Checks a quote in tpm2-tools' files.
///
/// # Errors
/// Which file does not parse, or which check of [`verify_quote`] fails.
pub fn check(files: &Files<'_>) -> Result<VerifiedQuote, CheckQuoteError> {
    let key = public_key(files.public_key).map_err(CheckQuoteError::PublicKey)?;
    let signature = Signature::from_tpmt_signature(files.signature).map_err(CheckQuoteError::Signature)?;
    let signed = signature.scheme.hash();
    if let Some(stated) = files.hash.filter(|stated| *stated != signed) {
        return Err(CheckQuoteError::HashAlgorithm { stated, signed });
    }
    let pcrs = parse_pcr_file(files.pcrs).map_err(CheckQuoteError::PcrFile)?;
    verify_quote(&key, &signature, files.message, files.nonce, pcrs).map_err(CheckQuoteError::Quote)
}

/// The key in a public key file.
///
/// # Errors
/// Neither TPM2B_PUBLIC, TPMT_PUBLIC nor a PEM SubjectPublicKeyInfo, or an algorithm that is not approved.
pub fn public_key(file: &[u8]) -> Result<VerifyingKey, PublicKeyError> {
    if file.starts_with(b"-----BEGIN") {
        return spki_of_pem(file);
    }
    let public = Public::from_tpm2b(file).or_else(|_| Public::from_tpmt(file));
    public
        .map_err(PublicKeyError::Structure)?
        .verifying_key()
        .map_err(PublicKeyError::Tpm)
}

fn spki_of_pem(file: &[u8]) -> Result<VerifyingKey, PublicKeyError> {
    let mut blocks = SubjectPublicKeyInfoDer::pem_slice_iter(file);
    let (Some(Ok(spki)), None) = (blocks.next(), blocks.next()) else {
        return Err(PublicKeyError::Pem);
    };
    VerifyingKey::from_spki_der(&spki).map_err(PublicKeyError::Spki)
}

/// Parses the file of `tpm2_quote -o` in its default, serialized form: the C structure TPML_PCR_SELECTION
/// (little-endian, 132 bytes), a count, and that many TPML_DIGEST of 532 bytes.
///
/// # Errors
/// Any byte that such a file would not have.
pub fn parse_pcr_file(file: &[u8]) -> Result<PcrValues, PcrFileError> {
    let mut reader = PcrFile(Cursor::new(file));
    let selection = reader.selection()?;
    let lists = reader.bounded("number of digest lists", MAX_LISTS)?;
    let mut digests = Digests {
        wanted: selection.pcrs(),
        found: Vec::with_capacity(selection.pcr_count()),
    };
    for _ in 0..lists {
        reader.list(&mut digests)?;
    }
    match reader.0.rest().len() {
        0 => PcrValues::new(selection, digests.found).map_err(PcrFileError::Values),
        left => Err(PcrFileError::Trailing(left)),
    }
}

/// Writes a PCR file as `tpm2_quote -o` does, in lists of eight values.
#[must_use]
pub fn write_pcr_file(pcrs: &PcrValues) -> Vec<u8> {
    let mut file = Vec::with_capacity(136 + 532 * pcrs.selection().pcr_count().div_ceil(DIGEST_ENTRIES));
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    let banks: Vec<_> = pcrs.selection().banks().collect();
    file.extend_from_slice(&count(banks.len()));
    for (alg, mask) in &banks {
        let [a, b, c, _] = mask.to_le_bytes();
        let [low, high] = alg.tpm_id().to_le_bytes();
        file.extend_from_slice(&[low, high, 3, a, b, c, 0, 0]);
    }
    file.resize(4 + 8 * SELECTION_ENTRIES, 0);
    let values: Vec<&Digest> = pcrs.iter().map(|(_, _, value)| value).collect();
    file.extend_from_slice(&count(values.len().div_ceil(DIGEST_ENTRIES)));
    for list in values.chunks(DIGEST_ENTRIES) {
        let end = file.len() + 4 + DIGEST_ENTRIES * (2 + DIGEST_BUFFER);
        file.extend_from_slice(&count(list.len()));
        for value in list {
            let size = u16::try_from(value.as_bytes().len()).unwrap_or(u16::MAX);
            file.extend_from_slice(&size.to_le_bytes());
            file.extend_from_slice(value.as_bytes());
            file.resize(file.len() + DIGEST_BUFFER - value.as_bytes().len(), 0);
        }
        file.resize(end, 0);
    }
    file
}

/// The values found so far and what is still wanted.
struct Digests<I> {
    wanted: I,
    found: Vec<Digest>,
}

struct PcrFile<'a>(Cursor<'a>);

impl<'a> PcrFile<'a> {
    fn get<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Cursor<'a>) -> Result<T, Short>,
    ) -> Result<T, PcrFileError> {
        let offset = self.0.offset();
        read(&mut self.0).map_err(|_| PcrFileError::Truncated { field, offset })
    }

    fn bounded(&mut self, field: &'static str, limit: u32) -> Result<u32, PcrFileError> {
        let offset = self.0.offset();
        match self.get(field, Cursor::u32_le)? {
            value if value <= limit => Ok(value),
            value => Err(PcrFileError::Value { field, offset, value }),
        }
    }

    fn zeros(&mut self, field: &'static str, length: usize) -> Result<(), PcrFileError> {
        let offset = self.0.offset();
        let bytes = self.get(field, |cursor| cursor.take(length))?;
        match bytes.iter().position(|byte| *byte != 0) {
            None => Ok(()),
            Some(at) => Err(PcrFileError::NotZero {
                field,
                offset: offset + at,
            }),
        }
    }

    /// The C structure becomes the wire structure, which has one parser.
    fn selection(&mut self) -> Result<PcrSelection, PcrFileError> {
        let count = self.bounded("number of banks", 16)?;
        let mut wire = count.to_be_bytes().to_vec();
        for _ in 0..count {
            let alg = self.get("bank's algorithm", Cursor::u16_le)?;
            let size = self.get("bitmap size", Cursor::u8)?;
            let bitmap: [u8; 3] = self.get("bitmap", Cursor::array)?;
            self.zeros("bitmap's last byte and padding", 2)?;
            wire.extend_from_slice(&alg.to_be_bytes());
            wire.push(size);
            wire.extend_from_slice(&bitmap);
        }
        let used = usize::try_from(count).unwrap_or(SELECTION_ENTRIES);
        self.zeros(
            "unused bank entries",
            8 * (SELECTION_ENTRIES.saturating_sub(used)),
        )?;
        PcrSelection::parse(&wire).map_err(PcrFileError::Selection)
    }

    fn list(
        &mut self,
        digests: &mut Digests<impl Iterator<Item = (HashAlg, u8)>>,
    ) -> Result<(), PcrFileError> {
        let offset = self.0.offset();
        let count = self.get("number of digests", Cursor::u32_le)?;
        let used = usize::try_from(count)
            .ok()
            .filter(|used| (1..=DIGEST_ENTRIES).contains(used));
        let field = "number of digests";
        let used = used.ok_or(PcrFileError::Value {
            field,
            offset,
            value: count,
        })?;
        for _ in 0..used {
            let (alg, _) = digests.wanted.next().ok_or(PcrFileError::Value {
                field,
                offset,
                value: count,
            })?;
            digests.found.push(self.digest(alg)?);
        }
        self.zeros(
            "unused digest entries",
            (DIGEST_ENTRIES - used) * (2 + DIGEST_BUFFER),
        )
    }

    fn digest(&mut self, alg: HashAlg) -> Result<Digest, PcrFileError> {
        let offset = self.0.offset();
        let size = self.get("digest size", Cursor::u16_le)?;
        let wrong = PcrFileError::Value {
            field: "digest size",
            offset,
            value: u32::from(size),
        };
        let bytes = self.get("digest", |cursor| cursor.take(alg.size()))?;
        let digest = Digest::from_slice(alg, bytes).filter(|_| usize::from(size) == alg.size());
        self.zeros("digest's padding", DIGEST_BUFFER - alg.size())?;
        digest.ok_or(wrong)
    }
}
