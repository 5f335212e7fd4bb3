//! TPMA_OBJECT bits (TPM 2.0 Library Part 2, §8.3).

/// The hierarchy of the object cannot change: it never leaves this TPM.
pub const FIXED_TPM: u32 = 1 << 1;
/// Contexts saved before TPM Reset or Restart do not load after it.
pub const ST_CLEAR: u32 = 1 << 2;
/// The parent of the object cannot change.
pub const FIXED_PARENT: u32 = 1 << 4;
/// The TPM made the sensitive data itself.
pub const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
/// Actions of the USER role may be approved with the authorisation value.
pub const USER_WITH_AUTH: u32 = 1 << 6;
/// Actions of the ADMIN role need the policy.
pub const ADMIN_WITH_POLICY: u32 = 1 << 7;
/// The object's first authorisation does not count towards lockout.
pub const NO_DA: u32 = 1 << 10;
/// Duplication must use an inner wrapper.
pub const ENCRYPTED_DUPLICATION: u32 = 1 << 11;
/// Usable only on structures of known format (a storage parent, or an attestation key).
pub const RESTRICTED: u32 = 1 << 16;
/// The private part may decrypt.
pub const DECRYPT: u32 = 1 << 17;
/// The private part may sign (or, for a symmetric cipher, encrypt).
pub const SIGN: u32 = 1 << 18;
/// The object may sign X.509 certificates only.
pub const X509_SIGN: u32 = 1 << 19;
/// Every bit that revision 1.59 defines; any other set bit makes a public area invalid.
pub const DEFINED: u32 = FIXED_TPM
    | ST_CLEAR
    | FIXED_PARENT
    | SENSITIVE_DATA_ORIGIN
    | USER_WITH_AUTH
    | ADMIN_WITH_POLICY
    | NO_DA
    | ENCRYPTED_DUPLICATION
    | RESTRICTED
    | DECRYPT
    | SIGN
    | X509_SIGN;
