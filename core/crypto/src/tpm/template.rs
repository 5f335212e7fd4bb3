//! Public templates: the TPMT_PUBLIC to hand to TPM2_CreatePrimary, TPM2_Create or TPM2_LoadExternal. Pure data, so that a
//! verifier can recompute what a robot asked for.

use super::wire::Writer;
use super::{Public, StructureError, alg, attribute};
use crate::{Curve, Digest, HashAlg, VerifyingKey};

/// Attributes of a key that the TPM made and never gives away.
const BOUND: u32 = attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::SENSITIVE_DATA_ORIGIN;
/// What the TCG's templates write into `unique` of an IDevID.
const IDEVID_LABEL: &[u8] = b"IDEVID";
/// PolicyA of the TCG EK Credential Profile: PolicySecret(TPM_RH_ENDORSEMENT) with SHA-256.
const EK_POLICY_A_SHA256: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xB3, 0xF8, 0x1A, 0x90, 0xCC, 0x8D, 0x46, 0xA5, 0xD7, 0x24, 0xFD,
    0x52, 0xD7, 0x6E, 0x06, 0x52, 0x0B, 0x64, 0xF2, 0xA1, 0xDA, 0x1B, 0x33, 0x14, 0x69, 0xAA,
];
/// PolicyB of the TCG EK Credential Profile with SHA-256: PolicyOR(PolicyA, PolicyC).
const EK_POLICY_B_SHA256: [u8; 32] = [
    0xCA, 0x3D, 0x0A, 0x99, 0xA2, 0xB9, 0x39, 0x06, 0xF7, 0xA3, 0x34, 0x24, 0x14, 0xEF, 0xCF, 0xB3, 0xA3,
    0x85, 0xD4, 0x4C, 0xD1, 0xFD, 0x45, 0x90, 0x89, 0xD1, 0x9B, 0x50, 0x71, 0xC0, 0xB7, 0xA0,
];
/// PolicyB of the TCG EK Credential Profile with SHA-384: PolicyOR(PolicyA, PolicyC).
const EK_POLICY_B_SHA384: [u8; 48] = [
    0xB2, 0x6E, 0x7D, 0x28, 0xD1, 0x1A, 0x50, 0xBC, 0x53, 0xD8, 0x82, 0xBC, 0xF5, 0xFD, 0x3A, 0x1A, 0x07,
    0x41, 0x48, 0xBB, 0x35, 0xD3, 0xB4, 0xE4, 0xCB, 0x1C, 0x0A, 0xD9, 0xBD, 0xE4, 0x19, 0xCA, 0xCB, 0x47,
    0xBA, 0x09, 0x69, 0x96, 0x46, 0x15, 0x0F, 0x9F, 0xC0, 0x00, 0xF3, 0xF8, 0x0E, 0x12,
];

/// A marshalled TPMT_PUBLIC whose `unique` field the TPM fills in (or, for an external key, is filled already).
///
/// Where a constructor takes an authPolicy, that digest's algorithm becomes the nameAlg, as the TPM demands; without one
/// it is the hash of the curve's strength.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicTemplate(Vec<u8>);

impl PublicTemplate {
    /// A restricted ECDSA signing key: an attestation key. Its authorisation value is empty-able and noDA.
    #[must_use]
    pub fn attestation_key(curve: Curve) -> Self {
        let attributes =
            BOUND | attribute::USER_WITH_AUTH | attribute::NO_DA | attribute::RESTRICTED | attribute::SIGN;
        Self::signing_key(curve, attributes, None)
    }

    /// An IDevID-style key: an ECDSA signing primary that signs any digest, not restricted (TPM 2.0 Keys for Device
    /// Identity and Attestation 1.0, 7.3). The label in `unique` sets it apart from any other signing primary.
    ///
    /// The TCG's own template has a policy for the administrator role and counts failed authorisations; ours has neither,
    /// since every operational key here must work in a lockout (decision 0009).
    #[must_use]
    pub fn initial_device_id(curve: Curve) -> Self {
        let mut template = Self::local_device_id(curve);
        // Replaces the two empty coordinates that the signing template ends in.
        template.0.truncate(template.0.len().saturating_sub(4));
        let label = Writer::default()
            .u16(size_of(IDEVID_LABEL))
            .bytes(IDEVID_LABEL)
            .u16(0);
        template.0.extend_from_slice(&label.finish());
        template
    }

    /// An LDevID-style key: an ECDSA signing key for a storage parent, usable with its authorisation value and noDA.
    #[must_use]
    pub fn local_device_id(curve: Curve) -> Self {
        let attributes = BOUND | attribute::USER_WITH_AUTH | attribute::NO_DA | attribute::SIGN;
        Self::signing_key(curve, attributes, None)
    }

    /// An ECDSA signing key with these attributes and policy; its scheme is fixed to the curve's hash.
    #[must_use]
    pub fn signing_key(curve: Curve, attributes: u32, auth_policy: Option<&Digest>) -> Self {
        let header = Header {
            object_type: alg::ECC,
            default_alg: curve.hash(),
            attributes,
            auth_policy,
        };
        Self(
            header
                .write()
                .u16(alg::NULL)
                .u16(alg::ECDSA)
                .u16(curve.hash().tpm_id())
                .u16(curve.tpm_id())
                .u16(alg::NULL)
                .u32(0) // two empty coordinates
                .finish(),
        )
    }

    /// An ECDH key with these attributes (decrypt is added) and policy, for TPM2_ECDH_ZGen.
    #[must_use]
    pub fn agreement_key(curve: Curve, attributes: u32, auth_policy: Option<&Digest>) -> Self {
        let header = Header {
            object_type: alg::ECC,
            default_alg: curve.hash(),
            attributes: attributes | attribute::DECRYPT,
            auth_policy,
        };
        Self(
            header
                .write()
                .u16(alg::NULL)
                .u16(alg::NULL)
                .u16(curve.tpm_id())
                .u16(alg::NULL)
                .u32(0) // two empty coordinates
                .finish(),
        )
    }

    /// An ECC storage parent, usable with its authorisation value and noDA: AES-128 for P-256, AES-256 for P-384.
    #[must_use]
    pub fn storage_parent(curve: Curve) -> Self {
        Self::storage_parent_with(curve, BOUND | attribute::USER_WITH_AUTH | attribute::NO_DA, None)
    }

    /// An ECC storage parent with these attributes (restricted and decrypt are added) and policy.
    #[must_use]
    pub fn storage_parent_with(curve: Curve, attributes: u32, auth_policy: Option<&Digest>) -> Self {
        let attributes = attributes | attribute::RESTRICTED | attribute::DECRYPT;
        let header = Header {
            object_type: alg::ECC,
            default_alg: curve.hash(),
            attributes,
            auth_policy,
        };
        Self(ecc_parent(header.write(), curve).u32(0).finish())
    }

    /// The TCG's EK template L-2: ECC P-256 in the low range (EK Credential Profile 2.x, B.3.4).
    #[must_use]
    pub fn ek_ecc_p256() -> Self {
        let template = ecc_parent(low_range_ek(alg::ECC), Curve::P256);
        Self(template.u16(32).bytes(&[0; 32]).u16(32).bytes(&[0; 32]).finish())
    }

    /// The TCG's EK template L-1: RSA-2048 in the low range (EK Credential Profile 2.x, B.3.3).
    #[must_use]
    pub fn ek_rsa_2048() -> Self {
        let template = rsa_parent(low_range_ek(alg::RSA), 128, 2048);
        Self(template.u16(256).bytes(&[0; 256]).finish())
    }

    /// The TCG's EK template H-1: RSA-2048 in the high range (EK Credential Profile 2.x, B.4.4.1).
    #[must_use]
    pub fn ek_rsa_2048_high() -> Self {
        let template = high_range_ek(alg::RSA, HashAlg::Sha256, &EK_POLICY_B_SHA256);
        Self(rsa_parent(template, 128, 2048).u16(0).finish())
    }

    /// The TCG's EK template H-2: ECC P-256 in the high range (EK Credential Profile 2.x, B.4.4.2).
    #[must_use]
    pub fn ek_ecc_p256_high() -> Self {
        let template = high_range_ek(alg::ECC, HashAlg::Sha256, &EK_POLICY_B_SHA256);
        Self(ecc_parent(template, Curve::P256).u32(0).finish())
    }

    /// The TCG's EK template H-6: RSA-3072 (EK Credential Profile 2.x, B.4.4.6).
    #[must_use]
    pub fn ek_rsa_3072() -> Self {
        let template = high_range_ek(alg::RSA, HashAlg::Sha384, &EK_POLICY_B_SHA384);
        Self(rsa_parent(template, 256, 3072).u16(0).finish())
    }

    /// The TCG's EK template H-3: ECC P-384 in the high range (EK Credential Profile 2.x, B.4.5).
    #[must_use]
    pub fn ek_ecc_p384() -> Self {
        let template = high_range_ek(alg::ECC, HashAlg::Sha384, &EK_POLICY_B_SHA384);
        Self(ecc_parent(template, Curve::P384).u32(0).finish())
    }

    /// An HMAC key with a fixed hash. `sign` is added to the attributes.
    #[must_use]
    pub fn hmac_key(hash: HashAlg, attributes: u32, auth_policy: Option<&Digest>) -> Self {
        let attributes = attributes | attribute::SIGN;
        let header = Header {
            object_type: alg::KEYEDHASH,
            default_alg: hash,
            attributes,
            auth_policy,
        };
        Self(header.write().u16(alg::HMAC).u16(hash.tpm_id()).u16(0).finish())
    }

    /// Sealed data. sign, decrypt and restricted must be clear in the attributes.
    #[must_use]
    pub fn sealed_data(name_alg: HashAlg, attributes: u32, auth_policy: Option<&Digest>) -> Self {
        let header = Header {
            object_type: alg::KEYEDHASH,
            default_alg: name_alg,
            attributes,
            auth_policy,
        };
        Self(header.write().u16(alg::NULL).u16(0).finish())
    }

    /// A public key from outside, to check signatures with: for TPM2_LoadExternal. Sign and userWithAuth set, any scheme,
    /// nameAlg as given; its Name is what PolicySigned and PolicyAuthorize contain.
    #[must_use]
    pub fn external(key: &VerifyingKey, name_alg: HashAlg) -> Self {
        let attributes = attribute::USER_WITH_AUTH | attribute::SIGN;
        let header = |object_type| {
            Header {
                object_type,
                default_alg: name_alg,
                attributes,
                auth_policy: None,
            }
            .write()
            .u16(alg::NULL)
            .u16(alg::NULL)
        };
        if let Some((curve, x, y)) = key.ec_point() {
            let size = size_of(x);
            let parameters = header(alg::ECC).u16(curve.tpm_id()).u16(alg::NULL);
            return Self(parameters.u16(size).bytes(x).u16(size).bytes(y).finish());
        }
        let (modulus, exponent) = key.rsa().unwrap_or_default();
        let exponent = if exponent == 65537 { 0 } else { exponent };
        let size = size_of(modulus);
        Self(
            header(alg::RSA)
                .u16(size.saturating_mul(8))
                .u32(exponent)
                .u16(size)
                .bytes(modulus)
                .finish(),
        )
    }

    /// The TPMT_PUBLIC's bytes.
    #[must_use]
    pub fn as_tpmt_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The TPMT_PUBLIC's bytes, handed over.
    #[must_use]
    pub fn into_tpmt_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The template parsed: its attributes and, for an external key, its Name.
    ///
    /// # Errors
    /// [`StructureError`] when the attributes given have reserved bits.
    pub fn to_public(&self) -> Result<Public, StructureError> {
        Public::from_tpmt(&self.0)
    }
}

struct Header<'a> {
    object_type: u16,
    default_alg: HashAlg,
    attributes: u32,
    auth_policy: Option<&'a Digest>,
}

impl Header<'_> {
    fn write(&self) -> Writer {
        let name_alg = self.auth_policy.map_or(self.default_alg, Digest::alg);
        let policy = self.auth_policy.map_or(&[][..], Digest::as_bytes);
        Writer::default()
            .u16(self.object_type)
            .u16(name_alg.tpm_id())
            .u32(self.attributes)
            .u16(size_of(policy))
            .bytes(policy)
    }
}

fn low_range_ek(object_type: u16) -> Writer {
    Writer::default()
        .u16(object_type)
        .u16(HashAlg::Sha256.tpm_id())
        .u32(BOUND | attribute::ADMIN_WITH_POLICY | attribute::RESTRICTED | attribute::DECRYPT)
        .u16(32)
        .bytes(&EK_POLICY_A_SHA256)
}

fn high_range_ek(object_type: u16, name_alg: HashAlg, policy: &[u8]) -> Writer {
    Writer::default()
        .u16(object_type)
        .u16(name_alg.tpm_id())
        .u32(
            BOUND
                | attribute::USER_WITH_AUTH
                | attribute::ADMIN_WITH_POLICY
                | attribute::RESTRICTED
                | attribute::DECRYPT,
        )
        .u16(size_of(policy))
        .bytes(policy)
}

/// An RSA storage key's parameters: its AES-CFB, no scheme, its size, the default exponent.
fn rsa_parent(header: Writer, cipher_bits: u16, bits: u16) -> Writer {
    header
        .u16(alg::AES)
        .u16(cipher_bits)
        .u16(alg::CFB)
        .u16(alg::NULL)
        .u16(bits)
        .u32(0)
}

/// A storage key's parameters: its AES-CFB, no scheme, its curve, no KDF.
fn ecc_parent(header: Writer, curve: Curve) -> Writer {
    let bits = match curve {
        Curve::P256 => 128,
        Curve::P384 => 256,
    };
    header
        .u16(alg::AES)
        .u16(bits)
        .u16(alg::CFB)
        .u16(alg::NULL)
        .u16(curve.tpm_id())
        .u16(alg::NULL)
}

/// Everything sized here is a digest, a coordinate or a modulus: at most 512 bytes.
fn size_of(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX)
}
