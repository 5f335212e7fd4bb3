//! What the TPM's response codes mean, and what people can do about them: data, one row for the codes that say the same.

use crate::error::ResponseCode as Rc;

/// Codes, what they mean, and the remedy.
type Row = (&'static [Rc], &'static str, &'static str);

const OTHERS: (&str, &str) = ("see TPM 2.0 Part 2, 6.6", "see TPM 2.0 Part 3 for this command");

const ROWS: [Row; 32] = [
    (
        &[Rc::INITIALIZE],
        "the TPM was not started",
        "send TPM2_Startup; firmware does this on a real machine",
    ),
    (
        &[Rc::FAILURE],
        "the TPM is in failure mode",
        "power the chip off and on; if it stays, replace it",
    ),
    (
        &[Rc::PCR_CHANGED],
        "a counting PCR was extended since the policy session was armed",
        "build a new policy session; after a stop it will be refused too",
    ),
    (
        &[Rc::AUTH_FAIL],
        "the authorisation value is wrong",
        "use the value the fleet authority holds; wrong tries count towards lockout",
    ),
    (
        &[Rc::BAD_AUTH],
        "the authorisation value is wrong",
        "use the value the fleet authority holds",
    ),
    (
        &[Rc::LOCKOUT],
        "the TPM is in dictionary-attack lockout",
        "wait for the recovery time that `alcub3 tpm doctor` shows, or reset the lockout with the authority's value",
    ),
    (
        &[Rc::POLICY_FAIL],
        "the policy session does not satisfy the key's policy",
        "the key's mission ended, was stopped, or the approval is for something else",
    ),
    (
        &[Rc::POLICY],
        "a policy assertion does not hold now",
        "an epoch, an anchor or the clock has moved past what was approved",
    ),
    (
        &[Rc::POLICY_CC],
        "the policy allows another command only",
        "use the key for the purpose it was made for",
    ),
    (
        &[Rc::EXPIRED],
        "the authorisation has expired",
        "ask the authority for a new approval",
    ),
    (
        &[Rc::HANDLE],
        "nothing is at this handle",
        "provision the robot, or name another handle or index",
    ),
    (
        &[Rc::NV_DEFINED],
        "the NV index exists already",
        "undefine it with the owner authorisation, or use it as it is",
    ),
    (
        &[Rc::NV_SPACE],
        "the TPM's NV memory is full",
        "undefine indices that are no longer needed (`alcub3 tpm doctor` lists them)",
    ),
    (
        &[Rc::NV_UNINITIALIZED],
        "the NV index was never written",
        "write it first",
    ),
    (
        &[Rc::NV_LOCKED],
        "the NV index is locked until the next reset",
        "restart the TPM",
    ),
    (
        &[Rc::NV_AUTHORIZATION],
        "this authorisation may not use the NV index so",
        "use the authorisation the index's attributes name",
    ),
    (
        &[Rc::NV_RANGE, Rc::NV_SIZE],
        "offset and size are outside the NV index",
        "read its public area for the size",
    ),
    (
        &[Rc::NV_UNAVAILABLE, Rc::NV_RATE],
        "the TPM's NV memory cannot be written right now",
        "wait; the chip protects its flash from wear",
    ),
    (
        &[Rc::OBJECT_MEMORY, Rc::OBJECT_HANDLES],
        "no free object slot",
        "flush transient objects other programs left behind",
    ),
    (
        &[Rc::SESSION_MEMORY, Rc::SESSION_HANDLES],
        "no free session slot",
        "flush sessions other programs left behind",
    ),
    (
        &[Rc::CONTEXT_GAP],
        "a saved session is too old",
        "load and save the oldest session again",
    ),
    (&[Rc::CANCELED], "the command was cancelled", "none needed"),
    (
        &[Rc::RETRY, Rc::YIELDED, Rc::TESTING],
        "the TPM is busy",
        "try again",
    ),
    (
        &[Rc::COMMAND_CODE],
        "the TPM does not implement the command",
        "see `alcub3 tpm info` for what this chip can do",
    ),
    (
        &[Rc::INTEGRITY],
        "the blob was made by another TPM or was changed",
        "use the blob this chip made",
    ),
    (
        &[Rc::SIGNATURE],
        "the signature does not verify",
        "check the key and what was signed",
    ),
    (
        &[Rc::TICKET],
        "the ticket was not made by this TPM",
        "let this TPM verify the signature again",
    ),
    (
        &[Rc::HASH, Rc::CURVE],
        "the TPM does not support the algorithm here",
        "see `alcub3 tpm info` for algorithms, curves and PCR banks",
    ),
    (
        &[Rc::ATTRIBUTES],
        "the object's attributes forbid this",
        "use a key made for it",
    ),
    (
        &[Rc::VALUE],
        "the value is out of range or does not fit the handle",
        "check the value against the TPM's capabilities",
    ),
    (
        &[Rc::SIZE],
        "the size is wrong",
        "check the length against the TPM's limits (`alcub3 tpm info`)",
    ),
    (
        &[Rc::AUTH_UNAVAILABLE],
        "this kind of authorisation is not allowed for the object",
        "use its policy",
    ),
];

/// What a response code means and what to do about it.
pub(crate) fn explain(code: Rc) -> (&'static str, &'static str) {
    let row = ROWS.iter().find(|(codes, ..)| codes.contains(&code.base()));
    row.map_or(OTHERS, |(_, meaning, remedy)| (*meaning, *remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_has_two_rows_and_none_is_hidden_behind_its_number() {
        let codes: Vec<Rc> = ROWS
            .iter()
            .flat_map(|(codes, ..)| codes.iter().copied())
            .collect();
        for (at, code) in codes.iter().enumerate() {
            assert!(!codes.iter().skip(at + 1).any(|other| other == code), "{code:?}");
            assert_eq!(code.base(), *code, "{code:?}");
            assert_ne!(explain(*code), OTHERS, "{code:?}");
        }
    }
}
