//! Domain strings: the first field of every signed or hashed structure, so that bytes signed for one purpose
//! never verify for another (DESIGN §5).

/// Qualifying data of a quote: H(domain ‖ nonce ‖ H(state) ‖ mission digest ‖ sequence).
pub const ATTEST: &str = "alcub3/attest/v1";
/// The nonce of a PSA attestation token: H(domain ‖ nonce ‖ robot ‖ H(state)).
pub const PSA_CHALLENGE: &str = "alcub3/psa-challenge/v1";
/// What a robot judges others by while no authority is in reach.
pub const POLICY_BUNDLE: &str = "alcub3/policy-bundle/v1";
/// A question to a peer that waits for its answer.
pub const PEER_ASKED: &str = "alcub3/peer-asked/v1";
/// What a verifier keeps of a peer between two judgements.
pub const PEER_RECORD: &str = "alcub3/peer-record/v1";
/// The nonce of a link of offline evidence: H(domain ‖ digest of the link before ‖ index).
pub const OFFLINE_EVIDENCE: &str = "alcub3/offline-evidence/v1";
/// What stands before the first link: H(domain ‖ a signed answer of the authority).
pub const OFFLINE_ANCHOR: &str = "alcub3/offline-anchor/v1";
/// A link of offline evidence.
pub const OFFLINE_LINK: &str = "alcub3/offline-link/v1";
/// The links that a robot sends once it has an authority in reach.
pub const OFFLINE_QUEUE: &str = "alcub3/offline-queue/v1";
/// The authority's answer to them.
pub const OFFLINE_ANSWER: &str = "alcub3/offline-answer/v1";
/// What a verifier remembers of its judgements of a robot.
pub const HEALTH: &str = "alcub3/health/v1";
/// What a verifier keeps of a platform that it judged good.
pub const PLATFORM_RECORD: &str = "alcub3/platform-record/v1";
/// The robot's state, as a quote binds it.
pub const ROBOT_STATE: &str = "alcub3/robot-state/v1";
/// What an adapter and the agent prove to each other on their socket.
pub const ADAPTER_LINK: &str = "alcub3/adapter-link/v1";
/// The digest over the active missions that the mission PCR holds.
pub const MISSION_SET: &str = "alcub3/mission-set/v1";
/// A mission token's payload.
pub const MISSION: &str = "alcub3/mission/v1";
/// The reference (policyRef) under which a mission's end is approved.
pub const MISSION_END: &str = "alcub3/mission-end/v1";
/// A command envelope's payload.
pub const COMMAND: &str = "alcub3/command/v1";
/// The payload of a command to several robots.
pub const GROUP_COMMAND: &str = "alcub3/group-command/v1";
/// A second person's approval of one command.
pub const COMMAND_APPROVAL: &str = "alcub3/command-approval/v1";
/// What the fleet's command policy says.
pub const COMMAND_POLICY: &str = "alcub3/command-policy/v1";
/// The command policy as its authority issues it, with the approval of two persons.
pub const COMMAND_POLICY_ORDER: &str = "alcub3/command-policy-order/v1";
/// The policyRef of a command policy's approval.
pub const COMMAND_POLICY_REF: &str = "alcub3/command-policy-ref/v1";
/// Which command policy a robot follows, as its key store remembers it.
pub const COMMAND_POLICY_MARK: &str = "alcub3/command-policy-mark/v1";
/// An attestation lease's payload.
pub const LEASE: &str = "alcub3/lease/v1";
/// An entry of the audit log.
pub const AUDIT_ENTRY: &str = "alcub3/audit-entry/v1";
/// A stop's intent, written before the TPM is touched.
pub const STOP_INTENT: &str = "alcub3/stop-intent/v1";
/// What is extended into the lockdown PCR by a stop.
pub const STOP_EVENT: &str = "alcub3/stop-event/v1";
/// A stop's receipt.
pub const STOP_RECEIPT: &str = "alcub3/stop-receipt/v1";
/// What is extended into the retire PCR when a mission or a level ends.
pub const RETIRE_EVENT: &str = "alcub3/retire-event/v1";
/// What is extended into the retire PCR by a start that finds the robot stopped.
pub const STOPPED_START_EVENT: &str = "alcub3/stopped-start-event/v1";
/// The record of a rearm by two persons.
pub const REARM: &str = "alcub3/rearm/v1";
/// The policyRef of the rearm approval.
pub const REARM_REF: &str = "alcub3/rearm-ref/v1";
/// A robot's enrolment record.
pub const ENROLMENT: &str = "alcub3/enrolment/v1";
/// An operator's pin of an endorsement key that has no certificate.
pub const ENDORSEMENT_PIN: &str = "alcub3/endorsement-pin/v1";
/// A robot's request to be enrolled.
pub const ENROL_REQUEST: &str = "alcub3/enrol-request/v1";
/// The authority's challenge to an enrolling robot.
pub const ENROL_CHALLENGE: &str = "alcub3/enrol-challenge/v1";
/// The robot's answer to the challenge.
pub const ENROL_RESPONSE: &str = "alcub3/enrol-response/v1";
/// The authority's last message: the record and the trust anchors.
pub const ENROLLED: &str = "alcub3/enrolled/v1";
/// The proof that the robot's TPM recovered the challenge's secret.
pub const ENROL_PROOF: &str = "alcub3/enrol-proof/v1";
/// The hierarchy authorisations handed to the authority's custody.
pub const CUSTODY: &str = "alcub3/custody/v1";
/// The record of a robot whose root of trust is no TPM, or that has none.
pub const PLATFORM_ENROLMENT: &str = "alcub3/platform-enrolment/v1";
/// A verifier's request to such a robot.
pub const PLATFORM_REQUEST: &str = "alcub3/platform-request/v1";
/// The nonce of such a request.
pub const PLATFORM_NONCE: &str = "alcub3/platform-nonce/v1";
/// Its answer.
pub const PLATFORM_ANSWER: &str = "alcub3/platform-answer/v1";
/// A robot's hardware facts, bound into its identity.
pub const HARDWARE_BINDING: &str = "alcub3/hardware-binding/v1";
/// The outside data of the identity key's creation.
pub const IDENTITY: &str = "alcub3/identity/v1";
/// A verifier's request for evidence.
pub const ATTEST_REQUEST: &str = "alcub3/attest-request/v1";
/// Evidence on its way to a verifier.
pub const EVIDENCE: &str = "alcub3/evidence/v1";
/// The verifier's answer to evidence.
pub const ATTEST_RESULT: &str = "alcub3/attest-result/v1";
/// A robot's request for a mission.
pub const MISSION_REQUEST: &str = "alcub3/mission-request/v1";
/// The authority's approval of a mission.
pub const MISSION_APPROVAL: &str = "alcub3/mission-approval/v1";
/// A robot's request for its mission's end to be moved.
pub const EXTENSION_REQUEST: &str = "alcub3/extension-request/v1";
/// A robot's request for its mission to be handed over.
pub const HAND_OVER_REQUEST: &str = "alcub3/hand-over-request/v1";
/// The outside data of a mission key's creation.
pub const MISSION_KEY: &str = "alcub3/mission-key/v1";
/// Data under a mission's data key.
pub const MISSION_DATA: &str = "alcub3/mission-data/v1";
/// A robot's request for its copy of a shared mission key.
pub const SHARED_KEY_REQUEST: &str = "alcub3/shared-key-request/v1";
/// A shared mission key, wrapped for one robot.
pub const SHARED_KEY: &str = "alcub3/shared-key/v1";
/// A person's chip, as its owner presents it.
pub const CHIP_REQUEST: &str = "alcub3/chip-request/v1";
/// The authority's challenge to that chip.
pub const CHIP_CHALLENGE: &str = "alcub3/chip-challenge/v1";
/// The answer to it, and what the proof in it covers.
pub const CHIP_ANSWER: &str = "alcub3/chip-answer/v1";
/// What the authority found out of a person's chip.
pub const CHIP_ADMISSION: &str = "alcub3/chip-admission/v1";
/// A shared mission key, wrapped for whoever commands with it.
pub const COMMANDER_KEY: &str = "alcub3/commander-key/v1";
/// A robot's request to be rearmed.
pub const REARM_REQUEST: &str = "alcub3/rearm-request/v1";
/// The authority's approval of a rearm.
pub const REARM_APPROVAL: &str = "alcub3/rearm-approval/v1";
/// A sealed object's header.
pub const SEALED: &str = "alcub3/sealed/v1";
/// The data in a robot register's extend.
pub const REGISTER_EVENT: &str = "alcub3/register-event/v1";
/// The part of the state that a robot register is of.
pub const REGISTER_CONTENT: &str = "alcub3/register-content/v1";

/// The audit log head that the TPM signs.
pub const AUDIT_HEAD: &str = "alcub3/audit-head/v1";
/// An auditor's bundle of the audit log.
pub const AUDIT_BUNDLE: &str = "alcub3/audit-bundle/v1";
/// A robot's checkpoint as it leaves the robot.
pub const AUDIT_REPORT: &str = "alcub3/audit-report/v1";
/// What yields the key that signs the notes of a robot's audit log.
pub const AUDIT_NOTE_KEY: &str = "alcub3/audit-note-key/v1";

/// A bound of sequence numbers, stored before they are accepted.
pub const REPLAY_RESERVATION: &str = "alcub3/replay-reservation/v1";

/// The label of a key that a level's derivation key yields.
pub const KEY_DERIVATION: &str = "alcub3/key-derivation/v1";

/// The policyRef of a purge's approval.
pub const PURGE_REF: &str = "alcub3/purge-ref/v1";
/// A robot's request to be purged.
pub const PURGE_REQUEST: &str = "alcub3/purge-request/v1";
/// The order to purge a robot, by two persons.
pub const PURGE: &str = "alcub3/purge/v1";
/// A purge's receipt.
pub const PURGE_RECEIPT: &str = "alcub3/purge-receipt/v1";

/// The record of a managed key.
pub const KEY_RECORD: &str = "alcub3/key-record/v1";
/// What gives a key anchor its first value.
pub const KEY_ANCHOR: &str = "alcub3/key-anchor/v1";
/// The outside data of a managed key's creation.
pub const KEY_CREATION: &str = "alcub3/key-creation/v1";
/// What a managed key's tag is made over.
pub const KEY_TAG: &str = "alcub3/key-tag/v1";
/// What a managed key derives a data key from.
pub const DATA_KEY: &str = "alcub3/data-key/v1";
/// Data that a managed key encrypted.
pub const ENCRYPTED: &str = "alcub3/encrypted/v1";
/// What the key store's own key derives the store's MAC key from.
pub const STORE_KEY: &str = "alcub3/store-key/v1";
/// The header of the key store.
pub const STORE_HEADER: &str = "alcub3/store-header/v1";
/// What a record of the key store is authenticated under.
pub const STORE_RECORD: &str = "alcub3/store-record/v1";
/// What the whole content of the key store is authenticated under.
pub const STORE_CONTENT: &str = "alcub3/store-content/v1";

/// The policyRef of a key's duplication.
pub const BACKUP_REF: &str = "alcub3/backup-ref/v2";
/// A recovery set: who holds shares of what.
pub const RECOVERY_SET: &str = "alcub3/recovery-set/v1";
/// One share of a recovery set.
pub const RECOVERY_SHARE: &str = "alcub3/recovery-share/v1";
/// A key duplicated for recovery.
pub const RECOVERY_ITEM: &str = "alcub3/recovery-item/v1";

/// The release of a lost robot's name from its TPM.
pub const SUCCESSION: &str = "alcub3/succession/v1";

/// The rearm of a robot whose root of trust is no TPM.
pub const PLATFORM_REARM: &str = "alcub3/platform-rearm/v1";

/// What a device key's certification by the attestation key is made for, when a certificate is asked for.
pub const DEVICE_KEY: &str = "alcub3/device-key/v1";
/// A robot's request for a certificate.
pub const CERTIFICATE_REQUEST: &str = "alcub3/certificate-request/v1";
/// The authority's answer: the certificate and its own.
pub const CERTIFICATE_GRANT: &str = "alcub3/certificate-grant/v1";
/// The robot's word that a new certificate is in use.
pub const CERTIFICATE_USE: &str = "alcub3/certificate-use/v1";
/// The authority's word that the earlier certificate counts no more.
pub const CERTIFICATE_CHANGED: &str = "alcub3/certificate-changed/v1";
/// A robot's request for what its lost disk held.
pub const RESTORE_REQUEST: &str = "alcub3/restore-request/v1";
/// The authority's answer: the enrolment and, sealed to the chip, the hierarchy authorisations.
pub const RESTORE_GRANT: &str = "alcub3/restore-grant/v1";
/// A robot's request that its replaced parts be taken into its hardware record.
pub const REPLACEMENT_REQUEST: &str = "alcub3/replacement-request/v1";
/// The change of one robot's hardware record that one person approves.
pub const REPLACEMENT: &str = "alcub3/replacement/v1";
/// The authority's answer: the enrolment of the robot with its new parts.
pub const REPLACEMENT_GRANT: &str = "alcub3/replacement-grant/v1";

/// The fleet's appraisal policy.
pub const APPRAISAL_POLICY: &str = "alcub3/appraisal-policy/v1";
/// The fleet's level policy.
pub const LEVEL_POLICY: &str = "alcub3/level-policy/v1";

/// Evidence of a platform whose root of trust is DICE: a chain of certificates and a signed statement.
pub const DICE_EVIDENCE: &str = "alcub3/dice-evidence/v1";
/// What a DICE platform's attestation key signs.
pub const DICE_STATEMENT: &str = "alcub3/dice-statement/v1";

/// Every domain string of what crosses crates, for the test that no two are equal and all have one form.
pub const ALL: &[&str] = &[
    ATTEST,
    PSA_CHALLENGE,
    ROBOT_STATE,
    MISSION_SET,
    MISSION,
    MISSION_END,
    COMMAND,
    GROUP_COMMAND,
    COMMAND_APPROVAL,
    COMMAND_POLICY,
    COMMAND_POLICY_ORDER,
    COMMAND_POLICY_REF,
    COMMAND_POLICY_MARK,
    LEASE,
    AUDIT_ENTRY,
    STOP_INTENT,
    STOP_EVENT,
    STOP_RECEIPT,
    RETIRE_EVENT,
    REARM,
    REARM_REF,
    ENROLMENT,
    ENDORSEMENT_PIN,
    ENROL_REQUEST,
    ENROL_CHALLENGE,
    ENROL_RESPONSE,
    ENROLLED,
    ENROL_PROOF,
    CUSTODY,
    HARDWARE_BINDING,
    IDENTITY,
    ATTEST_REQUEST,
    EVIDENCE,
    ATTEST_RESULT,
    MISSION_REQUEST,
    MISSION_APPROVAL,
    EXTENSION_REQUEST,
    HAND_OVER_REQUEST,
    MISSION_KEY,
    MISSION_DATA,
    SHARED_KEY_REQUEST,
    SHARED_KEY,
    CHIP_REQUEST,
    CHIP_CHALLENGE,
    CHIP_ANSWER,
    CHIP_ADMISSION,
    COMMANDER_KEY,
    REARM_REQUEST,
    REARM_APPROVAL,
    SEALED,
    REGISTER_EVENT,
    REGISTER_CONTENT,
    AUDIT_HEAD,
    AUDIT_BUNDLE,
    AUDIT_REPORT,
    AUDIT_NOTE_KEY,
    REPLAY_RESERVATION,
    KEY_DERIVATION,
    PURGE_REF,
    PURGE_REQUEST,
    PURGE,
    PURGE_RECEIPT,
    KEY_RECORD,
    KEY_ANCHOR,
    KEY_CREATION,
    KEY_TAG,
    DATA_KEY,
    ENCRYPTED,
    STORE_KEY,
    STORE_HEADER,
    STORE_RECORD,
    STORE_CONTENT,
    BACKUP_REF,
    RECOVERY_SET,
    RECOVERY_SHARE,
    RECOVERY_ITEM,
    SUCCESSION,
    PLATFORM_REARM,
    DEVICE_KEY,
    CERTIFICATE_REQUEST,
    CERTIFICATE_GRANT,
    CERTIFICATE_USE,
    CERTIFICATE_CHANGED,
    RESTORE_REQUEST,
    RESTORE_GRANT,
    REPLACEMENT_REQUEST,
    REPLACEMENT,
    REPLACEMENT_GRANT,
    APPRAISAL_POLICY,
    LEVEL_POLICY,
    DICE_EVIDENCE,
    DICE_STATEMENT,
    POLICY_BUNDLE,
    PEER_ASKED,
    PEER_RECORD,
    PLATFORM_RECORD,
    HEALTH,
    OFFLINE_EVIDENCE,
    OFFLINE_ANCHOR,
    OFFLINE_LINK,
    OFFLINE_QUEUE,
    OFFLINE_ANSWER,
    PLATFORM_ENROLMENT,
    PLATFORM_REQUEST,
    PLATFORM_NONCE,
    PLATFORM_ANSWER,
    ADAPTER_LINK,
];
