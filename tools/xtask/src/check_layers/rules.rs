//! The arrows of DESIGN §2, as rules over the graph.

use super::Violation;
use super::graph::{Graph, Layer, Package};

/// Libraries that would be a second cryptographic provider. Not even a dependency may bring one.
const OTHER_PROVIDERS: [&str; 12] = [
    "boring",
    "boring-sys",
    "libsodium-sys",
    "mbedtls",
    "native-tls",
    "openssl",
    "openssl-sys",
    "ring",
    "rust-crypto",
    "sodiumoxide",
    "wolfssl",
    "wolfssl-sys",
];

/// Crates that name an algorithm. Only `core/crypto` depends on one directly; tests may, as independent oracles.
const ALGORITHMS: [&str; 16] = [
    "aes",
    "aes-gcm",
    "aws-lc-rs",
    "ecdsa",
    "ed25519-dalek",
    "hkdf",
    "hmac",
    "md-5",
    "ml-dsa",
    "ml-kem",
    "p256",
    "p384",
    "rsa",
    "sha1",
    "sha2",
    "sha3",
];

/// Sources of randomness and of asynchrony that pure code may not reach for itself.
const IMPURE: [&str; 8] = [
    "async-std",
    "fastrand",
    "getrandom",
    "mio",
    "rand",
    "reqwest",
    "smol",
    "tokio",
];

/// Who may see the marshalling crate, whose types do not leak further.
const TPM_PROTOCOL_USERS: [&str; 3] = ["robot/tpm", "core/crypto", "core/attestation"];

/// All rules that need nothing but the graph.
pub(super) fn violations(graph: &Graph) -> Vec<Violation> {
    let mut found = Vec::new();
    for (id, package) in graph.members() {
        placement(package, &mut found);
        arrows(graph, id, package, &mut found);
        direct_externals(graph, id, package, &mut found);
        reach(graph, id, package, &mut found);
    }
    found
}

fn placement(package: &Package, found: &mut Vec<Violation>) {
    if package.layer == Layer::Unplaced {
        found.push(Violation::new(
            "layer",
            &package.folder,
            "is in none of core/, robot/, fleet/, clients/, tools/: move the crate".to_owned(),
        ));
    }
}

/// Arrows between workspace members, one step at a time.
fn arrows(graph: &Graph, id: &str, package: &Package, found: &mut Vec<Violation>) {
    for (target, dev_only) in graph
        .direct(id)
        .filter(|(target, _)| target.layer != Layer::External)
    {
        let Some(reason) = forbidden(package, target, dev_only) else {
            continue;
        };
        let how = if dev_only {
            "depends in its tests on"
        } else {
            "depends on"
        };
        found.push(Violation::new(
            "arrow",
            &package.folder,
            format!("{how} {}: {reason}", target.folder),
        ));
    }
}

fn forbidden(from: &Package, to: &Package, dev_only: bool) -> Option<&'static str> {
    match (from.layer, to.layer) {
        (Layer::Robot, Layer::Fleet) | (Layer::Fleet, Layer::Robot) => {
            Some("robot/* and fleet/* never see each other; what both need belongs in core/")
        }
        _ if dev_only => None,
        (Layer::Core, other) if other != Layer::Core => Some("core/* depends on core/* only"),
        (Layer::Robot | Layer::Fleet, Layer::Clients | Layer::Tools) => {
            Some("what ships does not depend on clients/ or tools/")
        }
        _ => None,
    }
}

fn direct_externals(graph: &Graph, id: &str, package: &Package, found: &mut Vec<Violation>) {
    for (target, _) in graph.direct(id).filter(|(_, dev_only)| !dev_only) {
        let name = target.name.as_str();
        let reason = if name == "tpm2-protocol" && !TPM_PROTOCOL_USERS.contains(&package.folder.as_str()) {
            "its types stay inside robot/tpm, core/crypto and core/attestation"
        } else if ALGORITHMS.contains(&name) && package.folder != "core/crypto" {
            "core/crypto is the only crate that names algorithms"
        } else if package.layer == Layer::Core && IMPURE.contains(&name) {
            "core/ takes time, randomness and I/O as arguments"
        } else {
            continue;
        };
        found.push(Violation::new(
            "direct",
            &package.folder,
            format!("depends on {name}: {reason}"),
        ));
    }
}

/// Rules on everything that ends up in what a member builds.
fn reach(graph: &Graph, id: &str, package: &Package, found: &mut Vec<Violation>) {
    for (target_id, path) in graph.reachable(id) {
        let Some(target) = graph.packages.get(&target_id) else {
            continue;
        };
        let Some(reason) = out_of_reach(package, target) else {
            continue;
        };
        found.push(Violation::new(
            "reach",
            &package.folder,
            format!("{}: {reason}", path.join(" -> ")),
        ));
    }
}

fn out_of_reach(from: &Package, to: &Package) -> Option<&'static str> {
    match (from.layer, to.layer) {
        (Layer::Robot, Layer::Fleet) | (Layer::Fleet, Layer::Robot) => {
            return Some("robot/* and fleet/* never see each other, not through a third crate either");
        }
        _ => {}
    }
    let name = to.name.as_str();
    if from.folder == "robot/security-hal" && matches!(to.folder.as_str(), "robot/tpm" | "robot/keys") {
        Some("no stop path may be compiled to wait for a TPM queue: take a trait instead")
    } else if OTHER_PROVIDERS.contains(&name) {
        Some("aws-lc-rs is the only cryptographic provider")
    } else if from.layer == Layer::Core && name == "tokio" {
        Some("core/ has no asynchronous runtime")
    } else {
        None
    }
}
