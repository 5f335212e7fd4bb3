// The TPM operations that are fuzzed, and the form of their inputs. Shared by the fuzz target, which answers them with
// the input's bytes, and by `cargo xtask fuzz-seeds`, which records real answers of swtpm.
//
// An input is the number of an operation and then responses in order, each: one byte of form, two bytes of length
// (little-endian), that many bytes. Form 1 and 2 get a successful header before them (without and with sessions), so
// that a mutation of the length does not end every attempt at the header; any other form is the whole response.

use alcub3_crypto::tpm::{Name, PublicTemplate};
use alcub3_crypto::{Curve, Digest, HashAlg};
use alcub3_tpm::ops::{Hierarchy, Key};
use alcub3_tpm::{Auth, Chip};

/// A response without sessions, its header left out.
pub const PLAIN: u8 = 1;
/// A response with a session area, its header left out.
pub const WITH_SESSIONS: u8 = 2;
/// A response as it is.
pub const WHOLE: u8 = 0;

const HEADER: usize = 10;

/// Where the operations expect a persistent key and a counter.
pub const KEY_HANDLE: u32 = 0x8101_0010;
/// See [`KEY_HANDLE`].
pub const COUNTER: u32 = 0x0181_0000;

/// An operation: it may fail, it may not panic or hang.
pub type Operation = (&'static str, fn(&mut Chip));

/// All of them; the position is the number in an input.
pub const OPERATIONS: [Operation; 14] = [
    ("chip-info", |chip| drop(chip.chip_info())),
    ("pcr-read", |chip| {
        drop(chip.pcr_read(&[(HashAlg::Sha256, 0x00ff_ffff), (HashAlg::Sha384, 1)]));
    }),
    ("pcr-extend", |chip| {
        drop(chip.pcr_extend(13, &[Digest::zero(HashAlg::Sha256)]));
    }),
    ("pcr-event", |chip| drop(chip.pcr_event(12, b"event"))),
    ("pcr-banks", |chip| drop(chip.pcr_banks())),
    ("handles", |chip| drop(chip.handles(0x8100_0000))),
    ("random", |chip| drop(chip.random(48))),
    ("clock", |chip| drop(chip.read_clock())),
    ("lockout", |chip| drop(chip.lockout_state())),
    ("persistent-key", |chip| drop(chip.persistent_key(KEY_HANDLE))),
    ("counter", |chip| drop(chip.nv_counter(COUNTER))),
    ("increment", |chip| {
        drop(
            chip.nv_read_public(COUNTER)
                .and_then(|_| chip.nv_increment(COUNTER)),
        );
    }),
    ("quote", quote),
    ("pin", |chip| drop(chip.pin_salt_key(KEY_HANDLE, None::<&Name>))),
];

fn quote(chip: &mut Chip) {
    let template = PublicTemplate::attestation_key(Curve::P256);
    let created = chip.create_primary(
        Hierarchy::Endorsement,
        Auth::Empty,
        template.as_tpmt_bytes(),
        None,
        b"outside",
    );
    if let Ok(created) = created {
        let key = Key::from(created.object);
        drop(chip.quote(&key, b"nonce", &[(HashAlg::Sha256, 0xff)]));
        drop(chip.certify_creation(&key, &key, b"nonce", &created.creation));
    }
}

/// One response in the form of an input.
pub fn encode(response: &[u8]) -> Vec<u8> {
    let form = match response.get(..HEADER) {
        Some([0x80, 0x01, _, _, _, _, 0, 0, 0, 0]) => PLAIN,
        Some([0x80, 0x02, _, _, _, _, 0, 0, 0, 0]) => WITH_SESSIONS,
        _ => WHOLE,
    };
    let body = if form == WHOLE {
        response
    } else {
        response.get(HEADER..).unwrap_or_default()
    };
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_le_bytes();
    [&[form][..], &length, body].concat()
}
