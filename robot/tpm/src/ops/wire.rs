//! Writing command parameters and reading response parameters, byte by byte and exactly.

use crate::chip::Reply;
use crate::{CommandCode, Result, TpmError};
use alcub3_crypto::{Digest, HashAlg};
use tpm2_protocol::constant::TPM_MAX_COMMAND_SIZE;
use zeroize::Zeroizing;

/// TPM_ALG_NULL.
pub(crate) const ALG_NULL: u16 = 0x0010;
/// TPM_RH_NULL.
pub(crate) const RH_NULL: u32 = 0x4000_0007;

/// Command parameters under construction. Wiped when dropped and never reallocated, so that a secret in them leaves
/// no copy behind.
pub(crate) struct Params {
    command: CommandCode,
    bytes: Zeroizing<Vec<u8>>,
    overflow: Option<&'static str>,
}

impl Params {
    pub(crate) fn new(command: CommandCode) -> Self {
        Self {
            command,
            bytes: Zeroizing::new(Vec::with_capacity(TPM_MAX_COMMAND_SIZE)),
            overflow: None,
        }
    }

    pub(crate) fn u8(self, value: u8) -> Self {
        self.raw(&[value], "a number")
    }

    pub(crate) fn u16(self, value: u16) -> Self {
        self.raw(&value.to_be_bytes(), "a number")
    }

    pub(crate) fn u32(self, value: u32) -> Self {
        self.raw(&value.to_be_bytes(), "a number")
    }

    /// Bytes as they are; `what` names them should they not fit.
    pub(crate) fn raw(mut self, bytes: &[u8], what: &'static str) -> Self {
        if self.bytes.len() + bytes.len() > TPM_MAX_COMMAND_SIZE {
            self.overflow.get_or_insert(what);
        } else {
            self.bytes.extend_from_slice(bytes);
        }
        self
    }

    /// A TPM2B of at most `max` bytes.
    pub(crate) fn sized(mut self, bytes: &[u8], max: usize, what: &'static str) -> Self {
        match u16::try_from(bytes.len()) {
            Ok(size) if bytes.len() <= max => self.u16(size).raw(bytes, what),
            _ => {
                self.overflow.get_or_insert(what);
                self
            }
        }
    }

    /// A count of list entries that follow.
    pub(crate) fn count(mut self, count: usize, max: usize, what: &'static str) -> Self {
        match u32::try_from(count) {
            Ok(number) if count <= max => self.u32(number),
            _ => {
                self.overflow.get_or_insert(what);
                self
            }
        }
    }

    /// TPMT_SIG_SCHEME or TPMT_SYM_DEF_OBJECT that says "as the key has it".
    pub(crate) fn null_scheme(self) -> Self {
        self.u16(ALG_NULL)
    }

    /// TPML_PCR_SELECTION with three-byte bitmaps, which every chip takes (PCR 0 to 23).
    pub(crate) fn pcr_selection(mut self, select: &[(HashAlg, u32)]) -> Self {
        self = self.count(select.len(), 8, "the number of PCR banks");
        for (bank, mask) in select {
            let [b0, b1, b2, b3] = mask.to_le_bytes();
            if b3 != 0 {
                self.overflow.get_or_insert("a PCR above 23");
            }
            self = self
                .u16(bank.tpm_id())
                .u8(3)
                .raw(&[b0, b1, b2], "a PCR selection");
        }
        self
    }

    /// The finished parameters.
    pub(crate) fn finish(self) -> Result<Zeroizing<Vec<u8>>> {
        match self.overflow {
            None => Ok(self.bytes),
            Some(what) => Err(TpmError::Encode {
                command: self.command,
                what,
            }),
        }
    }
}

/// Response parameters being read.
pub(crate) struct Answer<'a> {
    command: CommandCode,
    rest: &'a [u8],
}

impl<'a> Answer<'a> {
    pub(crate) fn new(command: CommandCode, reply: &'a Reply) -> Self {
        Self {
            command,
            rest: &reply.parameters,
        }
    }

    /// The contents of a structure inside a response.
    pub(crate) fn of(command: CommandCode, bytes: &'a [u8]) -> Self {
        Self { command, rest: bytes }
    }

    pub(crate) fn malformed(&self, part: &'static str) -> TpmError {
        TpmError::Malformed {
            command: self.command,
            part,
        }
    }

    pub(crate) fn bytes(&mut self, count: usize, part: &'static str) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(self.malformed(part))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(self.malformed(part))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self, part: &'static str) -> Result<u8> {
        self.array::<1>(part).map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self, part: &'static str) -> Result<u16> {
        self.array(part).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, part: &'static str) -> Result<u32> {
        self.array(part).map(u32::from_be_bytes)
    }

    /// The contents of a TPM2B.
    pub(crate) fn sized(&mut self, part: &'static str) -> Result<&'a [u8]> {
        let size = usize::from(self.u16(part)?);
        self.bytes(size, part)
    }

    /// A TPM2B_DIGEST of a known algorithm.
    pub(crate) fn digest(&mut self, alg: HashAlg, part: &'static str) -> Result<Digest> {
        let bytes = self.sized(part)?;
        Digest::from_slice(alg, bytes).ok_or(self.malformed(part))
    }

    /// A ticket (TPMT_TK_*): tag, hierarchy, digest; its bytes.
    pub(crate) fn ticket(&mut self, tag: u16, part: &'static str) -> Result<&'a [u8]> {
        let whole = self.rest;
        if self.u16(part)? != tag {
            return Err(self.malformed(part));
        }
        self.u32(part)?;
        self.sized(part)?;
        let length = whole.len() - self.rest.len();
        whole.get(..length).ok_or(self.malformed(part))
    }

    /// TPML_PCR_SELECTION; entries of banks this crate does not know are an error.
    pub(crate) fn pcr_selection(&mut self) -> Result<Vec<(u16, u32)>> {
        const PART: &str = "the PCR selection";
        let count = self.u32(PART)?;
        if count > 16 {
            return Err(self.malformed(PART));
        }
        (0..count).map(|_| self.one_selection(PART)).collect()
    }

    fn one_selection(&mut self, part: &'static str) -> Result<(u16, u32)> {
        let bank = self.u16(part)?;
        let size = usize::from(self.u8(part)?);
        let bytes = self.bytes(size, part)?;
        let mut mask = [0; 4];
        for (index, byte) in bytes.iter().enumerate() {
            match mask.get_mut(index) {
                Some(slot) => *slot = *byte,
                None if *byte == 0 => {}
                None => return Err(self.malformed(part)),
            }
        }
        Ok((bank, u32::from_le_bytes(mask)))
    }

    /// Everything that is left.
    pub(crate) fn remaining(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// That nothing is left.
    pub(crate) fn end(self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.malformed("the end of the parameters"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: CommandCode = CommandCode(0x17e);

    #[test]
    fn what_does_not_fit_is_named() {
        let long = vec![0; 70];
        let params = Params::new(CODE).sized(&long, 66, "the qualifying data").finish();
        assert!(matches!(
            params,
            Err(TpmError::Encode {
                what: "the qualifying data",
                ..
            })
        ));
        let params = Params::new(CODE)
            .pcr_selection(&[(HashAlg::Sha256, 1 << 24)])
            .finish();
        assert!(matches!(
            params,
            Err(TpmError::Encode {
                what: "a PCR above 23",
                ..
            })
        ));
        let huge = vec![0; TPM_MAX_COMMAND_SIZE + 1];
        assert!(Params::new(CODE).raw(&huge, "data").finish().is_err());
    }

    #[test]
    fn a_selection_written_is_read_back() {
        let select = [(HashAlg::Sha256, 0x0080_2001), (HashAlg::Sha384, 0)];
        let bytes = Params::new(CODE).pcr_selection(&select).finish().unwrap();
        let mut answer = Answer::of(CODE, &bytes);
        assert_eq!(
            answer.pcr_selection().unwrap(),
            [(0x000b, 0x0080_2001), (0x000c, 0)]
        );
        answer.end().unwrap();
    }

    #[test]
    fn cut_and_followed_answers_are_refused() {
        let ticket = [0x80, 0x21, 0x40, 0, 0, 1, 0, 2, 9, 9];
        for cut in 0..ticket.len() {
            assert!(
                Answer::of(CODE, &ticket[..cut]).ticket(0x8021, "ticket").is_err(),
                "{cut}"
            );
        }
        assert!(Answer::of(CODE, &ticket).ticket(0x8022, "ticket").is_err());
        let mut answer = Answer::of(CODE, &ticket);
        assert_eq!(answer.ticket(0x8021, "ticket").unwrap(), ticket);
        let followed = Answer::of(CODE, &[0]);
        assert!(followed.end().is_err());
        let mut unknown = Answer::of(CODE, &[0, 0, 0, 17]);
        assert!(unknown.pcr_selection().is_err());
    }
}
