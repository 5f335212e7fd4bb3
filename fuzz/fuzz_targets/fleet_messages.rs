//! What robot and authority say to each other after the enrolment: what is accepted has one encoding.
#![no_main]

use alcub3_attestation::offline::Chain;
use alcub3_fleet_protocol::attestation::{AttestRequest, AttestResult, EvidenceMessage};
use alcub3_fleet_protocol::chip::ChipAnswer;
use alcub3_fleet_protocol::extension::ExtensionRequest;
use alcub3_fleet_protocol::hand_over::HandOverRequest;
use alcub3_fleet_protocol::mission::{MissionApproval, MissionRequest};
use alcub3_fleet_protocol::offline::OfflineQueue;
use alcub3_fleet_protocol::purge::PurgeRequest;
use alcub3_fleet_protocol::rearm::{RearmApproval, RearmRequest};
use alcub3_fleet_protocol::recovery::{RecoveryItem, RecoverySet, WrappedShare};
use alcub3_fleet_protocol::shared_key::SharedKeyRequest;
use libfuzzer_sys::fuzz_target;

macro_rules! one_encoding {
    ($data:expr, $($message:ty),+) => {$(
        if let Ok(message) = <$message>::from_canonical($data) {
            assert_eq!(message.to_canonical(), $data, stringify!($message));
        }
    )+};
}

fuzz_target!(|data: &[u8]| {
    one_encoding!(data, AttestRequest, AttestResult, EvidenceMessage);
    one_encoding!(
        data,
        ChipAnswer,
        ExtensionRequest,
        HandOverRequest,
        SharedKeyRequest
    );
    one_encoding!(data, MissionApproval, MissionRequest, RearmApproval, RearmRequest);
    one_encoding!(data, OfflineQueue);
    // Whatever the bytes, a link that does not follow leaves the chain as it was.
    if let Ok(mut chain) = Chain::before(data) {
        let before = chain.clone();
        let followed = chain.follow(data).is_ok();
        assert_eq!(chain == before, !followed);
    }
    one_encoding!(data, PurgeRequest, RecoverySet, WrappedShare, RecoveryItem);
});
