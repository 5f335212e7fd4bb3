//! How a TPM is named on the command line and in the environment (`--tpm SPEC`, `ALCUB3_TPM`).
