//! What kept a TPM from being opened.

use super::{Finding, Severity};
use crate::transport::TransportError;
use std::path::Path;

/// `root` is `/`, or a folder that stands for it in a test.
pub(super) fn unopened(error: &TransportError, root: &Path) -> Finding {
    let code = match error {
        TransportError::DeviceAbsent { .. } => return absent_device(error, root),
        TransportError::PermissionDenied { .. } => "permission",
        TransportError::DeviceBusy { .. } => "busy",
        TransportError::NotADevice { .. } => "not-a-device",
        TransportError::SwtpmMissing => "swtpm-missing",
        TransportError::SwtpmExited { .. } => "swtpm-ended",
        TransportError::StateLocked { .. } => "state-locked",
        TransportError::StateCorrupt { .. } => "state-corrupt",
        TransportError::ConnectFailed { .. } => "no-simulator",
        TransportError::DeadlineExceeded { .. } => "no-answer",
        _ => "channel",
    };
    let why = "without a TPM this robot has no identity and takes no command; a stop still works";
    Finding::new(
        Severity::Fault,
        code,
        error.to_string(),
        why,
        "follow the advice of the message",
    )
}

/// Tells a missing chip from a missing driver by what the kernel shows.
fn absent_device(error: &TransportError, root: &Path) -> Finding {
    let exists = |path: &str| root.join(path).exists();
    let why = "without a TPM this robot has no identity and takes no command; a stop still works";
    let (code, remedy) = if exists("sys/class/tpm/tpm0") {
        (
            "device-node",
            "the driver is there but its device file is not: check udev, or the container's device list",
        )
    } else if exists("sys/firmware/acpi/tables/TPM2") || exists("proc/device-tree/tpm") {
        (
            "driver",
            "the firmware announces a TPM but no driver took it: load tpm_tis, tpm_tis_spi, tpm_crb or tpm_ftpm_tee",
        )
    } else {
        (
            "no-device",
            "turn the TPM on in the firmware settings (fTPM, PTT, security device), or fit one",
        )
    };
    Finding::new(Severity::Fault, code, error.to_string(), why, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Diagnosis;

    fn absent() -> TransportError {
        TransportError::DeviceAbsent {
            path: "/dev/tpmrm0".into(),
        }
    }

    #[test]
    fn an_absent_device_is_told_from_an_absent_driver_and_an_absent_node() {
        let root = std::env::temp_dir().join(format!("alcub3-doctor-{}", std::process::id()));
        assert_eq!(unopened(&absent(), &root).code, "no-device");
        std::fs::create_dir_all(root.join("sys/firmware/acpi/tables/TPM2")).unwrap();
        assert_eq!(unopened(&absent(), &root).code, "driver");
        std::fs::create_dir_all(root.join("sys/class/tpm/tpm0")).unwrap();
        let finding = unopened(&absent(), &root);
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!((finding.code, finding.severity), ("device-node", Severity::Fault));
        assert!(finding.to_string().contains("/dev/tpmrm0"));
    }

    #[test]
    fn what_kept_it_from_opening_has_its_own_code() {
        let code = |error: TransportError| Diagnosis::of_unopened(&error).findings[0].code;
        assert_eq!(
            code(TransportError::PermissionDenied {
                path: "/dev/tpm0".into()
            }),
            "permission"
        );
        assert_eq!(code(TransportError::SwtpmMissing), "swtpm-missing");
        assert_eq!(
            code(TransportError::DeviceBusy {
                path: "/dev/tpm0".into()
            }),
            "busy"
        );
        assert!(!Diagnosis::of_unopened(&TransportError::SwtpmMissing).is_healthy());
    }
}
