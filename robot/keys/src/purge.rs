//! The end of a robot: its TPM cleared by two persons' order, its state folder wiped, and a receipt that proves it.
//!
//! The order's approval opens the lockout hierarchy's policy for one TPM2_Clear and no other use, and only at the epoch it
//! names. Clearing removes every key and index of the owner and all authorisations; the attestation key's seed stays, so
//! that the chip makes that key again and signs what it now is. A purge that was cut short is finished by
//! [`resume_purge`].

use crate::record::RobotRecord;
use crate::robot::{OPERATION_TIMEOUT, RobotKeys};
use crate::state::{StateError, StateFolder};
use crate::{KeysError, Result};
use alcub3_attestation::certify::Signed;
use alcub3_attestation::receipt::{
    Expected, Outcome, PurgeReason, PurgeReceipt, PurgeStatement, verify_purge_receipt, verify_receipt,
};
use alcub3_crypto::Digest;
use alcub3_crypto::tpm::Signature;
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_fleet_protocol::purge::VerifiedPurge;
use alcub3_tpm::ops::{Approval, Hierarchy, Key, PolicyInputs};
use alcub3_tpm::{Auth, Chip, Lane, Tpm, TpmError};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::nv_map::{NvIndex, NvMap};
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::policies::{CounterBinding, purge_ref, purge_session_policy};
use std::fs;
use std::io;
use std::path::Path;

const INTENT: &str = "purge.cbor";
/// The receipt of the robot that was, in an otherwise empty folder.
pub const PURGE_RECEIPT_FILE: &str = "purged.cbor";
const DOMAIN: &str = "alcub3/purge-intent/v1";
const VERSION: u64 = 1;

/// What a purge needs to be finished after a crash.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    robot_epoch: u64,
    approval: Signature,
    /// The signed order, hashed.
    order: Digest,
    stop_receipt: Vec<u8>,
    purged_utc_ms: u64,
}

impl RobotKeys {
    /// Clears the chip, has the attestation key sign that it was, and wipes the state folder but for the receipt. The
    /// robot must be stopped: `stop_receipt` is the receipt of that stop. Afterwards nothing else can be asked of these keys.
    ///
    /// Commands: a session of the purge's policy (StartAuthSession, PolicyPCR, PolicyNV, PolicyCommandCode, LoadExternal,
    /// VerifySignature, PolicyAuthorize), Clear, CreatePrimary, PCR_Read, Quote, the flushes.
    ///
    /// # Errors
    /// [`KeysError::PurgeNotProven`] before anything is changed where the stop is not proven, and with the folder kept where the
    /// receipt is not; POLICY where the robot's epoch is not the order's; the chip's or the folder's. [`resume_purge`] then
    /// goes on.
    pub fn purge(&self, order: &VerifiedPurge, stop_receipt: Vec<u8>, now_utc_ms: u64) -> Result<Vec<u8>> {
        let intent = Intent {
            robot_epoch: order.order().robot_epoch,
            approval: order.approval().clone(),
            order: self.hash().digest(&[order.as_bytes()]),
            stop_receipt,
            purged_utc_ms: now_utc_ms,
        };
        self.check_purge_stop(&intent.stop_receipt)?;
        self.folder.write(INTENT, &intent.to_canonical())?;
        self.store.close();
        complete(&self.tpm, &self.folder, &self.record, &intent, self.pcrs)
    }

    /// Whether the receipt of the stop before a purge proves that stop: one that does not would leave a purge that is not proven.
    ///
    /// # Errors
    /// [`KeysError::PurgeNotProven`].
    pub fn check_purge_stop(&self, receipt: &[u8]) -> Result<()> {
        if verify_receipt(receipt, &expected(&self.record, self.pcrs)).outcome == Outcome::Refused {
            let reasons = vec![PurgeReason::Stop.code()];
            return Err(KeysError::PurgeNotProven { reasons });
        }
        Ok(())
    }
}

/// Finishes a purge that was cut short; `None` where none was begun. The receipt of one that was through is given again, until
/// the folder holds another robot.
///
/// # Errors
/// As [`RobotKeys::purge`].
pub fn resume_purge(tpm: &Tpm, folder: &StateFolder, pcrs: PcrMap) -> Result<Option<Vec<u8>>> {
    let Some(bytes) = folder.read(INTENT)? else {
        return match RobotRecord::load(folder)? {
            Some(_) => Ok(None),
            None => Ok(folder.read(PURGE_RECEIPT_FILE)?),
        };
    };
    let intent = Intent::from_canonical(&bytes).map_err(|source| KeysError::Record {
        name: INTENT.into(),
        source,
    })?;
    match RobotRecord::load(folder)? {
        Some(record) => complete(tpm, folder, &record, &intent, pcrs).map(Some),
        // The receipt is written before the record is wiped, and the intent is wiped last.
        None => {
            wipe_but_receipt(folder)?;
            Ok(folder.read(PURGE_RECEIPT_FILE)?)
        }
    }
}

fn complete(
    tpm: &Tpm,
    folder: &StateFolder,
    record: &RobotRecord,
    intent: &Intent,
    pcrs: PcrMap,
) -> Result<Vec<u8>> {
    let (of_chip, of_robot) = (intent.clone(), record.clone());
    let receipt = tpm.run(Lane::Background, OPERATION_TIMEOUT, move |chip| {
        Ok(clear_and_sign(chip, &of_robot, &of_chip, pcrs))
    })??;
    let receipt = receipt.to_canonical();
    let verdict = verify_purge_receipt(&receipt, &expected(record, pcrs));
    if !verdict.is_proven() {
        let reasons = verdict.reasons.iter().map(|reason| reason.code()).collect();
        return Err(KeysError::PurgeNotProven { reasons });
    }
    folder.write(PURGE_RECEIPT_FILE, &receipt)?;
    wipe_but_receipt(folder)?;
    Ok(receipt)
}

/// What this robot's receipts are judged by, here as anywhere.
fn expected(record: &RobotRecord, pcrs: PcrMap) -> Expected<'_> {
    let enrolment = record.enrolled.enrolment();
    Expected {
        attestation_key: enrolment.attestation_key(),
        nv: *enrolment.nv_map(),
        pcrs,
        robot: Some(&record.robot),
        stop: None,
        alive_at: None,
        anchor: None,
    }
}

fn clear_and_sign(
    chip: &mut Chip,
    record: &RobotRecord,
    intent: &Intent,
    pcrs: PcrMap,
) -> Result<PurgeReceipt> {
    // An authorisation that is still set says that the chip was not cleared: clearing unsets them all.
    if chip.lockout_state()?.lockout_auth_set {
        clear(chip, record, intent)?;
    }
    let template = PublicTemplate::attestation_key(record.curve);
    let made = chip.create_primary(
        Hierarchy::Endorsement,
        Auth::Empty,
        template.as_tpmt_bytes(),
        None,
        &[],
    )?;
    let key = Key::from(made.object);
    if *key.name() != record.attestation_key.name() {
        return Err(KeysError::OtherChip);
    }
    let (bank, mask) = (record.curve.hash(), 1 << pcrs.lockdown());
    let values = chip.pcr_read(&[(bank, mask)])?;
    let pcr = values.get(bank, pcrs.lockdown().into()).copied();
    let statement = PurgeStatement {
        robot: record.robot.clone(),
        order: intent.order,
        stop_receipt: bank.digest(&[&intent.stop_receipt]),
        purged_utc_ms: intent.purged_utc_ms,
        pcr: pcr.ok_or(TpmError::Unsupported {
            what: "the bank in use",
        })?,
    };
    let quote = chip.quote(&key, statement.qualifying_data(bank).as_bytes(), &[(bank, mask)])?;
    Ok(PurgeReceipt {
        statement,
        stop_receipt: intent.stop_receipt.clone(),
        quote: Signed {
            message: quote.message,
            signature: quote.signature,
        },
    })
}

fn clear(chip: &mut Chip, record: &RobotRecord, intent: &Intent) -> Result<()> {
    let alg = record.curve.hash();
    let map = NvMap::new(alg).map_err(|_| KeysError::Grant {
        what: "the hash of the NV map",
    })?;
    let spec = map.spec(NvIndex::RobotEpoch);
    let robot_epoch = CounterBinding {
        name: spec.tpm_name(true),
        value: intent.robot_epoch,
    };
    let rearm = &record.enrolled.anchors().rearm;
    let policy = purge_session_policy(alg, rearm.name(), &record.robot, robot_epoch)?;
    let inputs = PolicyInputs::new().nv(spec.handle).approval(Approval {
        key: rearm.clone(),
        policy_ref: purge_ref(&record.robot),
        signature: intent.approval.clone(),
    });
    Ok(chip.with_policy(&policy, &inputs, |chip, session| chip.clear_by_policy(session))?)
}

/// Wipes every file of the folder but the receipt, the version and the lock; the intent last.
fn wipe_but_receipt(folder: &StateFolder) -> Result<()> {
    const KEPT: [&str; 4] = ["version", "lock", PURGE_RECEIPT_FILE, INTENT];
    for name in entries(folder.path())? {
        if !KEPT.contains(&name.as_str()) {
            wipe(folder, &name)?;
        }
    }
    Ok(folder.wipe(INTENT)?)
}

fn wipe(folder: &StateFolder, name: &str) -> Result<()> {
    let path = folder.path().join(name);
    let kind = match fs::symlink_metadata(&path) {
        Ok(kind) => kind,
        // What an earlier wipe had left of a file went together with that file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(at(&path, source)),
    };
    // A link is removed; what it leads to is not the robot's.
    if kind.is_symlink() {
        return fs::remove_file(&path).map_err(|source| at(&path, source));
    }
    if !kind.is_dir() {
        return Ok(folder.wipe(name)?);
    }
    for inner in entries(&path)? {
        wipe(folder, &format!("{name}/{inner}"))?;
    }
    fs::remove_dir(&path).map_err(|source| at(&path, source))
}

/// What is in a folder, in order.
fn entries(path: &Path) -> Result<Vec<String>> {
    let read = || -> io::Result<Vec<String>> {
        let mut names: Vec<String> = fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()?;
        names.sort();
        Ok(names)
    };
    read().map_err(|source| at(path, source))
}

fn at(path: &Path, source: io::Error) -> KeysError {
    KeysError::State(StateError::Io {
        path: path.to_owned(),
        source,
    })
}

impl Intent {
    pub(crate) fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(DOMAIN, VERSION, 5);
        out.u64(2)
            .u64(self.robot_epoch)
            .u64(3)
            .bytes(&self.approval.to_tpmt())
            .u64(4)
            .digest(&self.order)
            .u64(5)
            .bytes(&self.stop_receipt)
            .u64(6)
            .u64(self.purged_utc_ms);
        out.finish()
    }

    pub(crate) fn from_canonical(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "robot_epoch")?;
        let robot_epoch = r.u64("robot_epoch")?;
        fields.key(r, 3, "approval")?;
        let approval = r.bytes("approval")?;
        let approval =
            Signature::from_tpmt_signature(approval).map_err(|_| r.fault("approval", Fault::Value))?;
        fields.key(r, 4, "order")?;
        let order = r.digest("order")?;
        fields.key(r, 5, "stop_receipt")?;
        let stop_receipt = r.bytes("stop_receipt")?.to_vec();
        fields.key(r, 6, "purged_utc_ms")?;
        let purged_utc_ms = r.u64("purged_utc_ms")?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            robot_epoch,
            approval,
            order,
            stop_receipt,
            purged_utc_ms,
        })
    }
}
