//! Platform certificates (attribute certificates, RFC 5755), put together byte by byte.

use crate::{SimulatorCa, TestkitError};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

/// ecdsa-with-SHA256.
const ECDSA_SHA256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

impl SimulatorCa {
    /// A platform certificate of the machine with this serial number, an "R-9" of "Rover Works", about the TPM of an endorsement
    /// certificate. DER, good until 2035.
    ///
    /// # Errors
    /// [`Certificate`](TestkitError::Certificate), or where the endorsement certificate does not read.
    pub fn issue_platform(&self, ek_certificate: &[u8], serial: &str) -> Result<Vec<u8>, TestkitError> {
        let ek = Certificate::from_der(ek_certificate)?;
        let own = Certificate::from_der(self.root_der())?;
        let general_name = |name: &[u8]| sequence(&[&tlv(0xa4, &[name])]);
        let ek_issuer = general_name(&ek.tbs_certificate().issuer().to_der()?);
        let ek_serial = ek.tbs_certificate().serial_number().to_der()?;
        let holder = sequence(&[&tlv(0xa0, &[&ek_issuer, &ek_serial])]);
        let issuer = tlv(0xa0, &[&general_name(&own.tbs_certificate().subject().to_der()?)]);
        let algorithm = sequence(&[&tlv(0x06, &[&ECDSA_SHA256])]);
        let time = |text: &str| tlv(0x18, &[text.as_bytes()]);
        let kind = sequence(&[&tcg(&[2, 25]), &tlv(0x31, &[&sequence(&[&tcg(&[8, 2])])])]);
        let machine = sequence(&[
            &named(&[5, 1, 1], "Rover Works"),
            &named(&[5, 1, 4], "R-9"),
            &named(&[5, 1, 6], serial),
        ]);
        let names = tlv(0x04, &[&general_name(&machine)]);
        let alternative = sequence(&[&tlv(0x06, &[&[0x55, 0x1d, 0x11]]), &names]);
        let body = sequence(&[
            &tlv(0x02, &[&[1]]),
            &holder,
            &issuer,
            &algorithm,
            &tlv(0x02, &[&[0x12, 0x34]]),
            &sequence(&[&time("20250101000000Z"), &time("20350101000000Z")]),
            &sequence(&[&kind]),
            &sequence(&[&alternative]),
        ]);
        let signature = tlv(0x03, &[&[0], &self.sign(&body)?]);
        Ok(sequence(&[&body, &algorithm, &signature]))
    }
}

/// An element of at most 65535 bytes.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short @ 0..=127) => out.push(short),
        _ => {
            out.push(0x82);
            out.extend(u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    out.extend(content);
    out
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, parts)
}

/// 2.23.133 and what follows.
fn tcg(arcs: &[u8]) -> Vec<u8> {
    tlv(0x06, &[&[0x67, 0x81, 0x05], arcs])
}

fn named(arcs: &[u8], text: &str) -> Vec<u8> {
    tlv(0x31, &[&sequence(&[&tcg(arcs), &tlv(0x0c, &[text.as_bytes()])])])
}
