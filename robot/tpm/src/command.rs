//! What the executor must know about each command before sending it: names, handles, sessions, slots.

use std::fmt;
use tpm2_protocol::data::TpmCc;

/// A TPM command code (TPM 2.0 Part 2, 6.5.2), printable as its specification name.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct CommandCode(pub u32);

impl CommandCode {
    /// The code of a command of the library specification.
    pub(crate) const fn of(cc: TpmCc) -> Self {
        Self(cc as u32)
    }

    /// How the command is shaped; unknown commands are treated as plain ones with a session.
    pub fn shape(self) -> CommandShape {
        SHAPES
            .iter()
            .find(|s| s.code == self)
            .copied()
            .unwrap_or(CommandShape { code: self, ..PLAIN })
    }
}

impl fmt::Display for CommandCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TpmCc::try_from(self.0) {
            Ok(cc) => write!(f, "{}", cc.to_string().replacen("TPM_CC_", "TPM2_", 1)),
            Err(_) => write!(f, "TPM2_CC(0x{:08x})", self.0),
        }
    }
}

impl fmt::Debug for CommandCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The parts of a command's definition (TPM 2.0 Part 3) that scheduling and error messages need.
#[derive(Copy, Clone, Debug)]
pub struct CommandShape {
    /// The command.
    pub code: CommandCode,
    /// How many of its leading handles need an authorisation.
    pub auth_handles: usize,
    /// Whether the command permits sessions at all.
    pub sessions: bool,
    /// Whether it occupies a transient object slot of its own while it runs or after.
    pub takes_slot: bool,
    /// Names of its handles, in order.
    pub handles: &'static [&'static str],
    /// Names of its parameters, in order.
    pub parameters: &'static [&'static str],
}

const PLAIN: CommandShape = CommandShape {
    code: CommandCode(0),
    auth_handles: 0,
    sessions: true,
    takes_slot: false,
    handles: &[],
    parameters: &[],
};

macro_rules! shapes {
    ($( $cc:ident auth $auth:literal [$($h:literal),*] ($($p:literal),*) $(no_sessions $ns:literal)? $(slot $sl:literal)? ; )*) => {
        &[$( CommandShape {
            code: CommandCode::of(TpmCc::$cc),
            auth_handles: $auth,
            sessions: true $( && !$ns )?,
            takes_slot: false $( || $sl )?,
            handles: &[$($h),*],
            parameters: &[$($p),*],
        } ),*]
    };
}

/// The commands this crate sends (TPM 2.0 Part 3, revision 1.59).
const SHAPES: &[CommandShape] = shapes! {
    Startup auth 0 [] ("startupType") no_sessions true;
    Shutdown auth 0 [] ("shutdownType");
    SelfTest auth 0 [] ("fullTest");
    GetTestResult auth 0 [] ();
    StartAuthSession auth 0 ["tpmKey", "bind"] ("nonceCaller", "encryptedSalt", "sessionType", "symmetric", "authHash");
    PolicyRestart auth 0 ["sessionHandle"] ();
    Create auth 1 ["parentHandle"] ("inSensitive", "inPublic", "outsideInfo", "creationPCR") slot true;
    CreatePrimary auth 1 ["primaryHandle"] ("inSensitive", "inPublic", "outsideInfo", "creationPCR") slot true;
    Load auth 1 ["parentHandle"] ("inPrivate", "inPublic") slot true;
    LoadExternal auth 0 [] ("inPrivate", "inPublic", "hierarchy") slot true;
    ReadPublic auth 0 ["objectHandle"] ();
    ActivateCredential auth 2 ["activateHandle", "keyHandle"] ("credentialBlob", "secret");
    MakeCredential auth 0 ["handle"] ("credential", "objectName");
    Unseal auth 1 ["itemHandle"] ();
    ObjectChangeAuth auth 1 ["objectHandle", "parentHandle"] ("newAuth");
    Duplicate auth 1 ["objectHandle", "newParentHandle"] ("encryptionKeyIn", "symmetricAlg");
    Import auth 1 ["parentHandle"] ("encryptionKey", "objectPublic", "duplicate", "inSymSeed", "symmetricAlg") slot true;
    EcdhZGen auth 1 ["keyHandle"] ("inPoint");
    EcdhKeyGen auth 0 ["keyHandle"] ();
    Hmac auth 1 ["handle"] ("buffer", "hashAlg") slot true;
    GetRandom auth 0 [] ("bytesRequested");
    StirRandom auth 0 [] ("inData");
    Certify auth 2 ["objectHandle", "signHandle"] ("qualifyingData", "inScheme");
    CertifyCreation auth 1 ["signHandle", "objectHandle"] ("qualifyingData", "creationHash", "inScheme", "creationTicket");
    Quote auth 1 ["signHandle"] ("qualifyingData", "inScheme", "PCRselect");
    GetSessionAuditDigest auth 2 ["privacyAdminHandle", "signHandle", "sessionHandle"] ("qualifyingData", "inScheme");
    GetCommandAuditDigest auth 2 ["privacyHandle", "signHandle"] ("qualifyingData", "inScheme");
    GetTime auth 2 ["privacyAdminHandle", "signHandle"] ("qualifyingData", "inScheme");
    VerifySignature auth 0 ["keyHandle"] ("digest", "signature");
    Sign auth 1 ["keyHandle"] ("digest", "inScheme", "validation");
    SetCommandCodeAuditStatus auth 1 ["auth"] ("auditAlg", "setList", "clearList");
    PcrExtend auth 1 ["pcrHandle"] ("digests");
    PcrEvent auth 1 ["pcrHandle"] ("eventData");
    PcrRead auth 0 [] ("pcrSelectionIn");
    PcrReset auth 1 ["pcrHandle"] ();
    PolicySigned auth 0 ["authObject", "policySession"] ("nonceTPM", "cpHashA", "policyRef", "expiration", "auth");
    PolicySecret auth 1 ["authHandle", "policySession"] ("nonceTPM", "cpHashA", "policyRef", "expiration");
    PolicyOr auth 0 ["policySession"] ("pHashList");
    PolicyPcr auth 0 ["policySession"] ("pcrDigest", "pcrs");
    PolicyLocality auth 0 ["policySession"] ("locality");
    PolicyNv auth 1 ["authHandle", "nvIndex", "policySession"] ("operandB", "offset", "operation");
    PolicyCounterTimer auth 0 ["policySession"] ("operandB", "offset", "operation");
    PolicyCommandCode auth 0 ["policySession"] ("code");
    PolicyCpHash auth 0 ["policySession"] ("cpHashA");
    PolicyNameHash auth 0 ["policySession"] ("nameHash");
    PolicyDuplicationSelect auth 0 ["policySession"] ("objectName", "newParentName", "includeObject");
    PolicyAuthorize auth 0 ["policySession"] ("approvedPolicy", "policyRef", "keySign", "checkTicket");
    PolicyAuthValue auth 0 ["policySession"] ();
    PolicyPassword auth 0 ["policySession"] ();
    PolicyGetDigest auth 0 ["policySession"] ();
    PolicyNvWritten auth 0 ["policySession"] ("writtenSet");
    PolicyTemplate auth 0 ["policySession"] ("templateHash");
    PolicyAuthorizeNv auth 1 ["authHandle", "nvIndex", "policySession"] ();
    HierarchyChangeAuth auth 1 ["authHandle"] ("newAuth");
    SetPrimaryPolicy auth 1 ["authHandle"] ("authPolicy", "hashAlg");
    DictionaryAttackLockReset auth 1 ["lockHandle"] ();
    DictionaryAttackParameters auth 1 ["lockHandle"] ("newMaxTries", "newRecoveryTime", "lockoutRecovery");
    Clear auth 1 ["authHandle"] ();
    ContextSave auth 0 ["saveHandle"] () no_sessions true;
    ContextLoad auth 0 [] ("context") no_sessions true slot true;
    FlushContext auth 0 [] ("flushHandle") no_sessions true;
    EvictControl auth 1 ["auth", "objectHandle"] ("persistentHandle");
    ReadClock auth 0 [] ();
    ClockSet auth 1 ["auth"] ("newTime");
    GetCapability auth 0 [] ("capability", "property", "propertyCount");
    NvDefineSpace auth 1 ["authHandle"] ("auth", "publicInfo");
    NvUndefineSpace auth 1 ["authHandle", "nvIndex"] ();
    NvReadPublic auth 0 ["nvIndex"] ();
    NvWrite auth 1 ["authHandle", "nvIndex"] ("data", "offset");
    NvIncrement auth 1 ["authHandle", "nvIndex"] ();
    NvExtend auth 1 ["authHandle", "nvIndex"] ("data");
    NvRead auth 1 ["authHandle", "nvIndex"] ("size", "offset");
    NvCertify auth 2 ["signHandle", "authHandle", "nvIndex"] ("qualifyingData", "inScheme", "size", "offset");
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_specification_s() {
        assert_eq!(CommandCode::of(TpmCc::GetRandom).to_string(), "TPM2_GetRandom");
        assert_eq!(CommandCode(0x1234_5678).to_string(), "TPM2_CC(0x12345678)");
    }

    #[test]
    fn no_command_is_listed_twice_and_authorised_handles_have_names() {
        for (index, shape) in SHAPES.iter().enumerate() {
            assert!(shape.auth_handles <= shape.handles.len(), "{}", shape.code);
            assert!(
                !SHAPES[index + 1..].iter().any(|other| other.code == shape.code),
                "{}",
                shape.code
            );
        }
    }
}
