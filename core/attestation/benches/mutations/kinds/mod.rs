//! The kinds of genuine evidence, each with what can be done to it.

pub mod certificates;
pub mod certified;
pub mod changes;
pub mod devices;
pub mod leases;
pub mod lists;
pub mod logs;
pub mod mission_key;
pub mod platform;
pub mod purge;
pub mod receipts;
pub mod results;
pub mod server;

use crate::campaign::Kind;

/// Makes a kind; `None` where its real data is not there.
pub type Make = fn() -> Option<Kind>;

/// Every kind by its name; those whose real data is not beside the checkout say so and are left out.
pub const ALL: [(&str, Make); 19] = [
    ("evidence-uefi", || Some(platform::with_uefi_log())),
    ("evidence-stopped", || Some(platform::after_a_rearmed_stop())),
    ("evidence-ima", || Some(platform::with_runtime_list())),
    ("evidence-ima-added", || Some(platform::with_added_entries())),
    ("evidence-register", || Some(platform::with_a_changed_register())),
    ("evidence-mission", || Some(platform::of_a_mission())),
    ("evidence-emergency", || Some(platform::of_a_stop())),
    ("server-platform", server::real_server),
    ("receipt-robot", || Some(receipts::of_the_robot())),
    ("receipt-level", || Some(receipts::of_a_level())),
    ("receipt-mission", || Some(receipts::of_a_mission())),
    ("receipt-purge", || Some(purge::of_a_purge())),
    ("result", || Some(results::token())),
    ("lease", || Some(leases::of_a_boot())),
    ("mission-key", || Some(mission_key::certified())),
    ("dice-chain", || Some(devices::dice_chain())),
    ("psa-token", || Some(devices::psa_token())),
    ("ek-st", certificates::of_st),
    ("ek-simulator", || Some(certificates::of_a_simulator())),
];
