//! `tpm info`.

use crate::args::Context;
use crate::error::CliError;
use crate::output::{Answer, pairs};
use crate::style::Style;
use crate::tpm_access;
use alcub3_crypto::{Curve, HashAlg, Suite, tpm::alg};
use alcub3_tpm::ops::{ChipInfo, ClockReading, FipsBits, LockoutState};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::Arc;

/// What the command reads.
struct Facts {
    info: Arc<ChipInfo>,
    clock: ClockReading,
    lockout: LockoutState,
}

/// Reads and shows what the chip says of itself.
pub(crate) fn run(context: &Context) -> Result<Answer, CliError> {
    let tpm = tpm_access::open(context.tpm_spec())?;
    let facts = tpm_access::run(&tpm, |chip| {
        Ok(Facts {
            info: chip.chip_info()?,
            clock: chip.read_clock()?,
            lockout: chip.lockout_state()?,
        })
    })?;
    Ok(Answer::done(json(&facts), text(&facts, context.style())))
}

fn algorithm_name(id: u16) -> String {
    let hash = HashAlg::from_tpm_id(id).map(HashAlg::name);
    let other = match id {
        alg::RSA => "rsa",
        alg::HMAC => "hmac",
        alg::AES => "aes",
        alg::MGF1 => "mgf1",
        alg::KEYEDHASH => "keyedhash",
        alg::XOR => "xor",
        alg::RSASSA => "rsassa",
        alg::RSAES => "rsaes",
        alg::RSAPSS => "rsapss",
        alg::OAEP => "oaep",
        alg::ECDSA => "ecdsa",
        alg::ECDH => "ecdh",
        alg::ECDAA => "ecdaa",
        alg::SM2 => "sm2",
        alg::ECSCHNORR => "ecschnorr",
        alg::ECMQV => "ecmqv",
        alg::KDF1_SP800_56A => "kdf1-sp800-56a",
        alg::KDF2 => "kdf2",
        alg::KDF1_SP800_108 => "kdf1-sp800-108",
        alg::ECC => "ecc",
        alg::SYMCIPHER => "symcipher",
        alg::CFB => "cfb",
        0x0003 => "tdes",
        0x0026 => "camellia",
        0x003f => "cmac",
        0x0040 => "ctr",
        0x0041 => "ofb",
        0x0042 => "cbc",
        0x0044 => "ecb",
        _ => return hash.map_or_else(|| format!("{id:#06x}"), str::to_owned),
    };
    other.to_owned()
}

const fn suite_name(suite: Suite) -> &'static str {
    match suite {
        Suite::EcdsaP256Sha256 => "ecdsa-p256-sha256",
        Suite::EcdsaP384Sha384 => "ecdsa-p384-sha384",
        Suite::HmacSha256 => "hmac-sha256",
        Suite::HmacSha384 => "hmac-sha384",
    }
}

fn banks(info: &ChipInfo) -> Vec<String> {
    info.banks
        .iter()
        .filter(|(_, mask)| **mask != 0)
        .map(|(id, _)| algorithm_name(*id))
        .collect()
}

fn curves(info: &ChipInfo) -> Vec<String> {
    let name = |id: &u16| match *id {
        id if id == Curve::P256.tpm_id() => "P-256".to_owned(),
        id if id == Curve::P384.tpm_id() => "P-384".to_owned(),
        0x0005 => "P-521".to_owned(),
        0x0001 => "P-192".to_owned(),
        0x0002 => "P-224".to_owned(),
        0x0010 => "BN-P256".to_owned(),
        0x0011 => "BN-P638".to_owned(),
        0x0020 => "SM2-P256".to_owned(),
        other => format!("{other:#06x}"),
    };
    info.curves.iter().map(name).collect()
}

fn json(Facts { info, clock, lockout }: &Facts) -> Value {
    let limits = &info.limits;
    json!({
        "manufacturer": info.manufacturer,
        "vendor": info.vendor,
        "firmware": format!("{:016x}", info.firmware),
        "family": info.family,
        "revision": revision(info),
        "kind": info.kind.name(),
        "simulator": info.simulator,
        "algorithms": info.algorithms.iter().map(|a| algorithm_name(a.id)).collect::<Vec<_>>(),
        "curves": curves(info),
        "banks": banks(info),
        "suites": info.suites().into_iter().map(suite_name).collect::<Vec<_>>(),
        "commands": info.commands.len(),
        "limits": {
            "input_buffer_bytes": limits.input_buffer, "nv_buffer_bytes": limits.nv_buffer,
            "nv_index_bytes": limits.nv_index, "digest_bytes": limits.digest,
            "transient_slots": limits.transient_slots, "session_slots": limits.session_slots,
            "active_sessions": limits.active_sessions, "context_gap": limits.context_gap,
        },
        "in_use": {
            "nv_indices": limits.nv_indices_used, "nv_counters": limits.nv_counters_used,
            "nv_counters_available": limits.nv_counters_available,
            "persistent": limits.persistent_used, "persistent_available": limits.persistent_available,
        },
        "fips": {
            "modes": info.fips.raw, "fips_140_2": info.fips.fips_140_2, "fips_140_3": info.fips.fips_140_3,
            "fips_140_3_indicator": info.fips.fips_140_3_indicator,
        },
        "clock": {
            "time_ms": clock.time_ms, "clock_ms": clock.clock_ms, "reset_count": clock.reset_count,
            "restart_count": clock.restart_count, "safe": clock.safe,
        },
        "lockout": {
            "active": lockout.in_lockout, "failures": lockout.failures, "max_tries": lockout.max_tries,
            "recovery_s": lockout.recovery.as_secs(), "lockout_recovery_s": lockout.lockout_recovery.as_secs(),
        },
        "authorisations_set": {
            "owner": lockout.owner_auth_set, "endorsement": lockout.endorsement_auth_set,
            "lockout": lockout.lockout_auth_set,
        },
    })
}

fn revision(info: &ChipInfo) -> String {
    format!("{}.{:02}", info.revision / 100, info.revision % 100)
}

fn text(facts: &Facts, style: Style) -> String {
    let Facts { info, clock, lockout } = facts;
    let mut text = String::new();
    if info.simulator {
        let _ = writeln!(
            text,
            "{}",
            style.warn("a simulator: a program answers, not a chip")
        );
    }
    let algorithms: Vec<String> = info.algorithms.iter().map(|a| algorithm_name(a.id)).collect();
    let suites: Vec<&str> = info.suites().into_iter().map(suite_name).collect();
    text.push_str(&pairs([
        ("manufacturer", format!("{} {}", info.manufacturer, info.vendor)),
        ("kind", kind_text(info)),
        ("firmware", format!("{:016x}", info.firmware)),
        (
            "specification",
            format!("{} revision {}", info.family, revision(info)),
        ),
        ("PCR banks", banks(info).join(", ")),
        ("suites", suites.join(", ")),
        ("curves", curves(info).join(", ")),
        ("algorithms", algorithms.join(", ")),
        (
            "slots",
            format!(
                "{} objects, {} sessions",
                info.limits.transient_slots, info.limits.session_slots
            ),
        ),
        (
            "NV indices",
            format!(
                "{} defined, {} counters",
                info.limits.nv_indices_used, info.limits.nv_counters_used
            ),
        ),
        ("persistent", format!("{} objects", info.limits.persistent_used)),
        ("clock", clock_text(clock)),
        ("lockout", lockout_text(lockout)),
        ("authorisations", authorisations_text(lockout)),
        ("FIPS mode bits", fips_text(info.fips)),
    ]));
    text
}

/// Of a simulator we know it by its channel; the rest is what the chip says of itself.
fn kind_text(info: &ChipInfo) -> String {
    let by_its_own_words = if info.simulator { "" } else { " (by its own words)" };
    format!("{}{by_its_own_words}", info.kind.name())
}

fn clock_text(clock: &ClockReading) -> String {
    let safe = if clock.safe {
        "safe"
    } else {
        "not safe yet: power was lost"
    };
    format!(
        "{} ms, {safe}; {} resets, {} restarts",
        clock.clock_ms, clock.reset_count, clock.restart_count
    )
}

fn lockout_text(lockout: &LockoutState) -> String {
    let state = if lockout.in_lockout { "IN LOCKOUT" } else { "no" };
    let recovery = lockout.recovery.as_secs();
    format!(
        "{state}; {} of {} failures, one forgotten every {recovery} s",
        lockout.failures, lockout.max_tries
    )
}

fn authorisations_text(lockout: &LockoutState) -> String {
    let word = |set| if set { "set" } else { "empty" };
    let [owner, endorsement, bar] = [
        lockout.owner_auth_set,
        lockout.endorsement_auth_set,
        lockout.lockout_auth_set,
    ]
    .map(word);
    format!("owner {owner}, endorsement {endorsement}, lockout {bar}")
}

/// What the bits say and no more: a validation is a certificate, not a flag.
fn fips_text(fips: FipsBits) -> String {
    if fips.raw == 0 {
        return "none set".to_owned();
    }
    let on = |set| if set { "set" } else { "clear" };
    let (two, three) = (on(fips.fips_140_2), on(fips.fips_140_3));
    format!(
        "{:#x}: 140-2 {two}, 140-3 {three}, indicator {} (the chip's claim)",
        fips.raw, fips.fips_140_3_indicator
    )
}
