//! The strict parser of TPMT_PUBLIC (Part 2, §12.2.4).

use super::alg;
use super::attribute::DEFINED;
use super::wire::{Reader, StructureError};
use crate::HashAlg;

/// The longest RSA modulus, in bytes: 4096 bits.
const MAX_RSA: usize = 512;
/// The longest coordinate, in bytes: P-521's.
const MAX_COORDINATE: usize = 66;
const MAX_DIGEST: usize = 64;

/// What a public area says, apart from its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) object_type: u16,
    pub(super) name_alg: HashAlg,
    pub(super) attributes: u32,
    pub(super) auth_policy: Vec<u8>,
    /// Symmetric algorithm of a storage parent or cipher object: AES key bits in CFB mode.
    pub(super) symmetric_bits: Option<u16>,
    /// Scheme and its hash.
    pub(super) scheme: Option<(u16, Option<HashAlg>)>,
    pub(super) unique: Unique,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unique {
    Rsa {
        bits: u16,
        exponent: u32,
        modulus: Vec<u8>,
    },
    Ecc {
        curve: u16,
        x: Vec<u8>,
        y: Vec<u8>,
    },
    Digest(Vec<u8>),
}

impl Unique {
    /// How long it is at the end of a public area, in bytes: one TPM2B, or a point's two.
    pub(super) fn encoded_len(&self) -> usize {
        match self {
            Self::Rsa { modulus, .. } => 2 + modulus.len(),
            Self::Ecc { x, y, .. } => 4 + x.len() + y.len(),
            Self::Digest(digest) => 2 + digest.len(),
        }
    }
}

pub(super) fn area(bytes: &[u8]) -> Result<Area, StructureError> {
    let mut reader = Reader::new(bytes);
    let object_type = reader.u16("type")?;
    let name_alg = hash(&mut reader, "nameAlg")?;
    let attributes = attributes(&mut reader)?;
    let auth_policy = policy(&mut reader, name_alg)?;
    let (symmetric_bits, scheme, unique) = match object_type {
        alg::RSA => rsa(&mut reader)?,
        alg::ECC => ecc(&mut reader)?,
        alg::KEYEDHASH => keyed_hash(&mut reader)?,
        alg::SYMCIPHER => cipher(&mut reader)?,
        other => {
            return Err(StructureError::Unknown {
                field: "type",
                value: other.into(),
            });
        }
    };
    reader.end("TPMT_PUBLIC")?;
    Ok(Area {
        object_type,
        name_alg,
        attributes,
        auth_policy,
        symmetric_bits,
        scheme,
        unique,
    })
}

type Rest = (Option<u16>, Option<(u16, Option<HashAlg>)>, Unique);

fn rsa(reader: &mut Reader<'_>) -> Result<Rest, StructureError> {
    let symmetric = symmetric(reader, true)?;
    let scheme = match reader.u16("RSA scheme")? {
        alg::NULL => None,
        alg::RSAES => Some((alg::RSAES, None)),
        id @ (alg::RSASSA | alg::RSAPSS | alg::OAEP) => Some((id, Some(hash(reader, "RSA scheme's hash")?))),
        other => {
            return Err(StructureError::Unknown {
                field: "RSA scheme",
                value: other.into(),
            });
        }
    };
    let bits = reader.u16("RSA key bits")?;
    let exponent = reader.u32("RSA exponent")?;
    let modulus = reader.sized(MAX_RSA, "RSA modulus")?.to_vec();
    Ok((
        symmetric,
        scheme,
        Unique::Rsa {
            bits,
            exponent,
            modulus,
        },
    ))
}

fn ecc(reader: &mut Reader<'_>) -> Result<Rest, StructureError> {
    let symmetric = symmetric(reader, true)?;
    let scheme = ecc_scheme(reader)?;
    let curve = reader.u16("curve")?;
    kdf(reader)?;
    let x = reader.sized(MAX_COORDINATE, "x coordinate")?.to_vec();
    let y = reader.sized(MAX_COORDINATE, "y coordinate")?.to_vec();
    Ok((symmetric, scheme, Unique::Ecc { curve, x, y }))
}

fn ecc_scheme(reader: &mut Reader<'_>) -> Result<Option<(u16, Option<HashAlg>)>, StructureError> {
    Ok(match reader.u16("ECC scheme")? {
        alg::NULL => None,
        alg::ECDAA => {
            let hash = hash(reader, "ECC scheme's hash")?;
            reader.u16("ECDAA count")?;
            Some((alg::ECDAA, Some(hash)))
        }
        id @ (alg::ECDSA | alg::ECDH | alg::SM2 | alg::ECSCHNORR | alg::ECMQV) => {
            Some((id, Some(hash(reader, "ECC scheme's hash")?)))
        }
        other => {
            return Err(StructureError::Unknown {
                field: "ECC scheme",
                value: other.into(),
            });
        }
    })
}

fn kdf(reader: &mut Reader<'_>) -> Result<(), StructureError> {
    match reader.u16("KDF scheme")? {
        alg::NULL => Ok(()),
        alg::MGF1 | alg::KDF1_SP800_56A | alg::KDF2 | alg::KDF1_SP800_108 => {
            hash(reader, "KDF scheme's hash").map(drop)
        }
        other => Err(StructureError::Unknown {
            field: "KDF scheme",
            value: other.into(),
        }),
    }
}

fn keyed_hash(reader: &mut Reader<'_>) -> Result<Rest, StructureError> {
    let scheme = match reader.u16("keyed hash scheme")? {
        alg::NULL => None,
        alg::HMAC => Some((alg::HMAC, Some(hash(reader, "HMAC's hash")?))),
        alg::XOR => {
            let hash = hash(reader, "XOR's hash")?;
            kdf_id(reader)?;
            Some((alg::XOR, Some(hash)))
        }
        other => {
            return Err(StructureError::Unknown {
                field: "keyed hash scheme",
                value: other.into(),
            });
        }
    };
    let unique = reader.sized(MAX_DIGEST, "unique")?.to_vec();
    Ok((None, scheme, Unique::Digest(unique)))
}

fn kdf_id(reader: &mut Reader<'_>) -> Result<(), StructureError> {
    match reader.u16("XOR's KDF")? {
        alg::MGF1 | alg::KDF1_SP800_56A | alg::KDF2 | alg::KDF1_SP800_108 => Ok(()),
        other => Err(StructureError::Unknown {
            field: "XOR's KDF",
            value: other.into(),
        }),
    }
}

fn cipher(reader: &mut Reader<'_>) -> Result<Rest, StructureError> {
    let symmetric = symmetric(reader, false)?;
    let unique = reader.sized(MAX_DIGEST, "unique")?.to_vec();
    Ok((symmetric, None, Unique::Digest(unique)))
}

/// TPMT_SYM_DEF_OBJECT: AES in CFB mode, the only one a storage parent may have, or where `null` permits none.
fn symmetric(reader: &mut Reader<'_>, null: bool) -> Result<Option<u16>, StructureError> {
    match reader.u16("symmetric algorithm")? {
        alg::NULL if null => Ok(None),
        alg::AES => {
            let bits = reader.u16("AES key bits")?;
            if !matches!(bits, 128 | 192 | 256) {
                return Err(StructureError::Unknown {
                    field: "AES key bits",
                    value: bits.into(),
                });
            }
            match reader.u16("AES mode")? {
                alg::CFB => Ok(Some(bits)),
                other => Err(StructureError::Unknown {
                    field: "AES mode",
                    value: other.into(),
                }),
            }
        }
        other => Err(StructureError::Unknown {
            field: "symmetric algorithm",
            value: other.into(),
        }),
    }
}

fn hash(reader: &mut Reader<'_>, field: &'static str) -> Result<HashAlg, StructureError> {
    let id = reader.u16(field)?;
    HashAlg::from_tpm_id(id).ok_or(StructureError::Unknown {
        field,
        value: id.into(),
    })
}

fn attributes(reader: &mut Reader<'_>) -> Result<u32, StructureError> {
    let bits = reader.u32("objectAttributes")?;
    match bits & !DEFINED {
        0 => Ok(bits),
        reserved => Err(StructureError::Unknown {
            field: "objectAttributes' reserved bits",
            value: reserved,
        }),
    }
}

/// authPolicy is empty or exactly as long as the nameAlg's digest.
fn policy(reader: &mut Reader<'_>, name_alg: HashAlg) -> Result<Vec<u8>, StructureError> {
    let policy = reader.sized(MAX_DIGEST, "authPolicy")?;
    if policy.is_empty() || policy.len() == name_alg.size() {
        return Ok(policy.to_vec());
    }
    Err(StructureError::Size {
        field: "authPolicy",
        permitted: name_alg.size(),
        actual: policy.len(),
    })
}
