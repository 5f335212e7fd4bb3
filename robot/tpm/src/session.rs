//! HMAC sessions (TPM 2.0 Part 1, 17 and 19): the cryptography of one session, without its transport.

use crate::error::TpmError;
use crate::{CommandCode, Result};
use alcub3_crypto::{
    Digest, HashAlg, Secret, aes_cfb_decrypt, aes_cfb_encrypt, constant_time_eq, hmac, kdfa,
};

/// TPMA_SESSION bits (TPM 2.0 Part 2, 8.4).
pub(crate) mod attribute {
    pub(crate) const CONTINUE: u8 = 0x01;
    pub(crate) const DECRYPT: u8 = 0x20;
    pub(crate) const ENCRYPT: u8 = 0x40;
    pub(crate) const AUDIT: u8 = 0x80;
}

/// Bytes of each nonce; the least the specification allows for a SHA-256 session is 16.
pub(crate) const NONCE_LEN: usize = 16;

/// A nonce of either side.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Nonce {
    bytes: [u8; 64],
    len: usize,
}

impl Nonce {
    pub(crate) fn from_slice(slice: &[u8]) -> Option<Self> {
        let mut nonce = Self {
            bytes: [0; 64],
            len: slice.len(),
        };
        nonce.bytes.get_mut(..slice.len())?.copy_from_slice(slice);
        Some(nonce)
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// What both sides of a session know.
#[derive(Clone, Debug)]
pub(crate) struct SessionSecrets {
    pub(crate) hash: HashAlg,
    /// AES key length of parameter encryption in bits; 0 for none.
    pub(crate) cipher_bits: u16,
    /// Empty for an unsalted, unbound session.
    pub(crate) key: Secret,
    pub(crate) nonce_tpm: Nonce,
}

/// One use of a session in a command: its attributes, the caller's nonce, the authorisation value it carries.
pub(crate) struct SessionUse<'a> {
    pub(crate) nonce_caller: Nonce,
    pub(crate) attributes: u8,
    /// Authorisation value of the entity it authorises; empty if it authorises none.
    pub(crate) auth_value: &'a [u8],
}

impl SessionSecrets {
    /// Derives the session key (Part 1, 17.6.10) from the salt and both nonces.
    pub(crate) fn salted(
        hash: HashAlg,
        cipher_bits: u16,
        salt: &Secret,
        nonce_tpm: Nonce,
        nonce_caller: Nonce,
    ) -> Self {
        let bits = u32::try_from(hash.size() * 8).unwrap_or(0);
        let key = kdfa(
            hash,
            salt.expose(),
            b"ATH",
            nonce_tpm.as_slice(),
            nonce_caller.as_slice(),
            bits,
        );
        Self {
            hash,
            cipher_bits,
            key,
            nonce_tpm,
        }
    }

    /// The HMAC of a command (Part 1, 17.6.5); `others` are nonceTPM of other sessions that encrypt or decrypt.
    pub(crate) fn command_hmac(&self, cp_hash: &Digest, usage: &SessionUse<'_>, others: &[&[u8]]) -> Digest {
        self.hmac_over(
            cp_hash,
            usage.nonce_caller.as_slice(),
            self.nonce_tpm.as_slice(),
            others,
            usage,
        )
    }

    /// Whether a response's HMAC is right; `nonce_tpm` is the new one the response brought.
    pub(crate) fn verify_response(
        &self,
        rp_hash: &Digest,
        nonce_tpm: &Nonce,
        attributes: u8,
        usage: &SessionUse<'_>,
        given: &[u8],
    ) -> bool {
        let answered = SessionUse { attributes, ..*usage };
        let expected = self.hmac_over(
            rp_hash,
            nonce_tpm.as_slice(),
            usage.nonce_caller.as_slice(),
            &[],
            &answered,
        );
        constant_time_eq(expected.as_bytes(), given)
    }

    fn hmac_over(
        &self,
        parameter_hash: &Digest,
        newer: &[u8],
        older: &[u8],
        others: &[&[u8]],
        usage: &SessionUse<'_>,
    ) -> Digest {
        let attributes = [usage.attributes];
        let mut parts: [&[u8]; 6] = [parameter_hash.as_bytes(), newer, older, &[], &[], &attributes];
        for (slot, other) in parts.iter_mut().skip(3).zip(others) {
            *slot = other;
        }
        with_auth_key(&self.key, usage.auth_value, |key| hmac(self.hash, key, &parts))
    }

    /// Encrypts the first command parameter in place (Part 1, 19.3).
    pub(crate) fn encrypt_parameter(&self, usage: &SessionUse<'_>, data: &mut [u8]) -> Result<()> {
        let (key, iv) = self.cipher_key(usage, usage.nonce_caller.as_slice(), self.nonce_tpm.as_slice());
        Ok(aes_cfb_encrypt(key.expose(), &iv, data)?)
    }

    /// Decrypts the first response parameter in place; `nonce_tpm` is the response's.
    pub(crate) fn decrypt_parameter(
        &self,
        usage: &SessionUse<'_>,
        nonce_tpm: &Nonce,
        data: &mut [u8],
    ) -> Result<()> {
        let (key, iv) = self.cipher_key(usage, nonce_tpm.as_slice(), usage.nonce_caller.as_slice());
        Ok(aes_cfb_decrypt(key.expose(), &iv, data)?)
    }

    fn cipher_key(&self, usage: &SessionUse<'_>, newer: &[u8], older: &[u8]) -> (Secret, [u8; 16]) {
        let bits = u32::from(self.cipher_bits) + 128;
        let stream = with_auth_key(&self.key, usage.auth_value, |key| {
            kdfa(self.hash, key, b"CFB", newer, older, bits)
        });
        let (key, iv_bytes) = stream.expose().split_at(usize::from(self.cipher_bits / 8));
        let mut iv = [0; 16];
        for (to, from) in iv.iter_mut().zip(iv_bytes) {
            *to = *from;
        }
        (Secret::from_slice(key), iv)
    }
}

/// Calls `f` with sessionKey ‖ authValue, without a copy where the authorisation value is empty.
fn with_auth_key<T>(key: &Secret, auth_value: &[u8], f: impl FnOnce(&[u8]) -> T) -> T {
    if auth_value.is_empty() {
        return f(key.expose());
    }
    let mut joined = Secret::zeroed(key.len() + auth_value.len());
    for (to, from) in joined
        .expose_mut()
        .iter_mut()
        .zip(key.expose().iter().chain(auth_value))
    {
        *to = *from;
    }
    f(joined.expose())
}

/// An authorisation value as sessions use it: without trailing zeros (Part 1, 17.6.4.2).
pub(crate) fn trimmed(auth_value: &[u8]) -> &[u8] {
    let end = auth_value.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
    auth_value.get(..end).unwrap_or_default()
}

/// Reads one TPMS_AUTH_RESPONSE from the front of `area`.
pub(crate) fn read_auth_response<'a>(
    command: CommandCode,
    area: &mut &'a [u8],
) -> Result<(Nonce, u8, &'a [u8])> {
    let malformed = || TpmError::Malformed {
        command,
        part: "the session area",
    };
    let nonce = take_sized(area)
        .and_then(Nonce::from_slice)
        .ok_or_else(malformed)?;
    let (attributes, rest) = area.split_first().ok_or_else(malformed)?;
    *area = rest;
    let hmac = take_sized(area).ok_or_else(malformed)?;
    Ok((nonce, *attributes, hmac))
}

/// Takes one TPM2B from the front of `area`.
pub(crate) fn take_sized<'a>(area: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (size, rest) = area.split_first_chunk::<2>()?;
    let (data, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
    *area = rest;
    Some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> SessionSecrets {
        SessionSecrets {
            hash: HashAlg::Sha256,
            cipher_bits: 128,
            key: Secret::from_slice(&[7; 32]),
            nonce_tpm: Nonce::from_slice(&[1; NONCE_LEN]).unwrap(),
        }
    }

    fn usage() -> SessionUse<'static> {
        SessionUse {
            nonce_caller: Nonce::from_slice(&[2; NONCE_LEN]).unwrap(),
            attributes: 1,
            auth_value: b"owner",
        }
    }

    #[test]
    fn an_authorisation_value_ends_at_its_last_non_zero_byte() {
        assert_eq!(trimmed(b"ab\0c\0\0"), b"ab\0c");
        assert_eq!(trimmed(b"\0\0"), b"");
    }

    #[test]
    fn every_input_of_the_response_hmac_counts() {
        let (session, usage) = (session(), usage());
        let hash = HashAlg::Sha256.digest(&[b"rp"]);
        let nonce = Nonce::from_slice(&[3; NONCE_LEN]).unwrap();
        let tag = session.hmac_over(
            &hash,
            nonce.as_slice(),
            usage.nonce_caller.as_slice(),
            &[],
            &usage,
        );
        assert!(session.verify_response(&hash, &nonce, 1, &usage, tag.as_bytes()));
        let other_nonce = Nonce::from_slice(&[4; NONCE_LEN]).unwrap();
        assert!(!session.verify_response(&hash, &other_nonce, 1, &usage, tag.as_bytes()));
        assert!(!session.verify_response(&hash, &nonce, 0, &usage, tag.as_bytes()));
        let other_auth = SessionUse {
            auth_value: b"other",
            ..usage
        };
        assert!(!session.verify_response(&hash, &nonce, 1, &other_auth, tag.as_bytes()));
        assert!(!session.verify_response(&hash, &nonce, 1, &usage, &tag.as_bytes()[1..]));
    }

    #[test]
    fn truncated_session_areas_are_refused() {
        let whole = [0, 2, 9, 9, 1, 0, 1, 5];
        for cut in 0..whole.len() {
            assert!(read_auth_response(CommandCode(0), &mut &whole[..cut]).is_err());
        }
        assert!(read_auth_response(CommandCode(0), &mut &whole[..]).is_ok());
    }
}
