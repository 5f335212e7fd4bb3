//! TCG structures that robot and verifier both compute in software: Names, public areas and their templates, policy
//! digests, credentials, salts, duplicates, signatures (TPM 2.0 Library, Parts 1 to 3, revision 1.59).
//!
//! Every parser here takes exactly one structure: a value that is cut short, followed by more, or of an unknown kind is
//! an error that names the field.

pub mod attribute;
pub mod duplicate;
mod ek_template;
pub mod policy;
pub mod template;

mod credential;
mod name;
mod parse;
mod public;
mod seed;
mod signature;
mod storage_key;
mod wire;

pub use credential::{Credential, make_credential};
pub use ek_template::EkTemplate;
pub use name::Name;
pub use public::{ObjectKind, Public};
pub use seed::{decapsulate, encapsulate, encapsulated_point, encrypt_salt};
pub use signature::Signature;
pub use storage_key::StorageKeyPair;
pub use template::PublicTemplate;
pub use wire::StructureError;

/// TPM_ALG_ID values (TCG Algorithm Registry) that appear in public areas.
pub mod alg {
    /// RSA.
    pub const RSA: u16 = 0x0001;
    /// HMAC.
    pub const HMAC: u16 = 0x0005;
    /// AES.
    pub const AES: u16 = 0x0006;
    /// MGF1.
    pub const MGF1: u16 = 0x0007;
    /// A keyed hash or sealed data object.
    pub const KEYEDHASH: u16 = 0x0008;
    /// XOR obfuscation.
    pub const XOR: u16 = 0x000A;
    /// No algorithm.
    pub const NULL: u16 = 0x0010;
    /// RSASSA-PKCS1-v1_5.
    pub const RSASSA: u16 = 0x0014;
    /// RSAES-PKCS1-v1_5.
    pub const RSAES: u16 = 0x0015;
    /// RSASSA-PSS.
    pub const RSAPSS: u16 = 0x0016;
    /// RSA OAEP.
    pub const OAEP: u16 = 0x0017;
    /// ECDSA.
    pub const ECDSA: u16 = 0x0018;
    /// ECDH.
    pub const ECDH: u16 = 0x0019;
    /// ECDAA.
    pub const ECDAA: u16 = 0x001A;
    /// SM2.
    pub const SM2: u16 = 0x001B;
    /// EC Schnorr.
    pub const ECSCHNORR: u16 = 0x001C;
    /// EC MQV.
    pub const ECMQV: u16 = 0x001D;
    /// SP 800-56A's key derivation.
    pub const KDF1_SP800_56A: u16 = 0x0020;
    /// IEEE 1363a's key derivation.
    pub const KDF2: u16 = 0x0021;
    /// SP 800-108's key derivation.
    pub const KDF1_SP800_108: u16 = 0x0022;
    /// ECC.
    pub const ECC: u16 = 0x0023;
    /// A symmetric cipher object.
    pub const SYMCIPHER: u16 = 0x0025;
    /// Cipher feedback mode.
    pub const CFB: u16 = 0x0043;
}
