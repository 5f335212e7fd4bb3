//! Every rule fires on a fabricated workspace that breaks it, and only then.

use serde_json::{Value, json};

use super::graph::Graph;
use super::{Violation, rules, sources};

/// A fabricated `cargo metadata`: crates by name and folder (external when empty), and edges with their kind.
struct Fabricated {
    packages: Vec<(&'static str, &'static str)>,
    edges: Vec<(&'static str, &'static str, &'static str)>,
}

impl Fabricated {
    fn json(&self) -> String {
        let packages: Vec<Value> = self
            .packages
            .iter()
            .map(|(name, folder)| self.package(name, folder))
            .collect();
        let nodes: Vec<Value> = self.packages.iter().map(|(name, _)| self.node(name)).collect();
        let members: Vec<_> = self
            .packages
            .iter()
            .filter(|(_, folder)| !folder.is_empty())
            .map(|(name, _)| *name)
            .collect();
        json!({"packages": packages, "workspace_members": members, "workspace_root": "/w", "resolve": {"nodes": nodes}})
            .to_string()
    }

    fn of<'a>(&'a self, from: &'a str) -> impl Iterator<Item = (&'static str, Value)> + 'a {
        let kind = |kind: &str| {
            if kind == "normal" {
                Value::Null
            } else {
                json!(kind)
            }
        };
        self.edges
            .iter()
            .filter(move |edge| edge.0 == from)
            .map(move |edge| (edge.1, kind(edge.2)))
    }

    fn package(&self, name: &str, folder: &str) -> Value {
        let manifest = match folder {
            "" => format!("/registry/{name}/Cargo.toml"),
            folder => format!("/w/{folder}/Cargo.toml"),
        };
        let dependencies: Vec<Value> = self
            .of(name)
            .map(|(to, kind)| json!({"name": to, "rename": null, "optional": false, "kind": kind}))
            .collect();
        json!({"id": name, "name": name, "manifest_path": manifest, "dependencies": dependencies, "features": {}})
    }

    fn node(&self, name: &str) -> Value {
        let deps: Vec<Value> = self
            .of(name)
            .map(|(to, kind)| json!({"pkg": to, "dep_kinds": [{"kind": kind}]}))
            .collect();
        json!({"id": name, "deps": deps, "features": []})
    }

    fn rules_broken(&self) -> Vec<Violation> {
        rules::violations(&Graph::from_metadata(&self.json()).unwrap())
    }
}

const CRATES: [(&str, &str); 12] = [
    ("crypto", "core/crypto"),
    ("model", "core/trust-model"),
    ("attestation", "core/attestation"),
    ("tpm", "robot/tpm"),
    ("keys", "robot/keys"),
    ("hal", "robot/security-hal"),
    ("agent", "robot/agent"),
    ("server", "fleet/server"),
    ("cli", "clients/cli"),
    ("testkit", "tools/testkit"),
    ("tokio", ""),
    ("tpm2-protocol", ""),
];

fn workspace(edges: &[(&'static str, &'static str, &'static str)]) -> Fabricated {
    let mut packages = CRATES.to_vec();
    for (_, to, _) in edges {
        if !packages.iter().any(|(name, _)| name == to) {
            packages.push((to, ""));
        }
    }
    Fabricated {
        packages,
        edges: edges.to_vec(),
    }
}

/// The rules broken by one edge, and where.
fn broken_by(edges: &[(&'static str, &'static str, &'static str)]) -> Vec<(&'static str, String)> {
    workspace(edges)
        .rules_broken()
        .into_iter()
        .map(|violation| (violation.rule, violation.place))
        .collect()
}

#[test]
fn the_arrows_of_the_design_are_allowed() {
    let allowed = [
        ("model", "crypto", "normal"),
        ("attestation", "model", "normal"),
        ("tpm", "crypto", "normal"),
        ("keys", "tpm", "normal"),
        ("hal", "model", "normal"),
        ("agent", "hal", "normal"),
        ("agent", "keys", "normal"),
        ("server", "attestation", "normal"),
        ("cli", "agent", "normal"),
        ("cli", "server", "normal"),
        ("cli", "testkit", "normal"),
        ("testkit", "tpm", "normal"),
        ("tpm", "tpm2-protocol", "normal"),
        ("crypto", "tpm2-protocol", "normal"),
        ("crypto", "aws-lc-rs", "normal"),
        ("server", "tokio", "normal"),
    ];
    assert_eq!(broken_by(&allowed), []);
}

#[test]
fn core_may_not_depend_on_the_robot() {
    assert_eq!(
        broken_by(&[("crypto", "tpm", "normal")])[0],
        ("arrow", "core/crypto".to_owned())
    );
}

#[test]
fn core_may_not_depend_on_tools_while_building() {
    assert_eq!(
        broken_by(&[("crypto", "testkit", "build")])[0],
        ("arrow", "core/crypto".to_owned())
    );
}

#[test]
fn core_tests_may_use_the_testkit() {
    assert_eq!(
        broken_by(&[("crypto", "testkit", "dev"), ("testkit", "tpm", "normal")]),
        []
    );
}

#[test]
fn robot_and_fleet_never_see_each_other() {
    assert!(broken_by(&[("agent", "server", "normal")]).contains(&("arrow", "robot/agent".to_owned())));
    assert!(broken_by(&[("server", "tpm", "normal")]).contains(&("arrow", "fleet/server".to_owned())));
}

#[test]
fn robot_and_fleet_do_not_see_each_other_in_tests_either() {
    assert_eq!(
        broken_by(&[("server", "agent", "dev")]),
        [("arrow", "fleet/server".to_owned())]
    );
}

#[test]
fn robot_does_not_see_the_fleet_through_a_third_crate() {
    let found = broken_by(&[("agent", "outside", "normal"), ("outside", "server", "normal")]);
    assert_eq!(found, [("reach", "robot/agent".to_owned())]);
}

#[test]
fn what_ships_does_not_depend_on_tools_or_clients() {
    assert_eq!(broken_by(&[("agent", "testkit", "normal")])[0].0, "arrow");
    assert_eq!(broken_by(&[("server", "cli", "normal")])[0].0, "arrow");
}

#[test]
fn the_stop_path_does_not_see_the_tpm() {
    assert_eq!(
        broken_by(&[("hal", "tpm", "normal")]),
        [("reach", "robot/security-hal".to_owned())]
    );
    let through_keys = broken_by(&[("hal", "keys", "normal"), ("keys", "tpm", "normal")]);
    assert_eq!(through_keys.len(), 2);
    let through_another = broken_by(&[("hal", "agent", "normal"), ("agent", "tpm", "normal")]);
    assert_eq!(through_another, [("reach", "robot/security-hal".to_owned())]);
}

#[test]
fn the_stop_paths_tests_may_use_a_tpm() {
    assert_eq!(broken_by(&[("hal", "tpm", "dev")]), []);
}

#[test]
fn core_has_no_runtime_at_any_depth() {
    assert_eq!(
        broken_by(&[("crypto", "x", "normal"), ("x", "tokio", "normal")])[0].0,
        "reach"
    );
    assert_eq!(broken_by(&[("crypto", "tokio", "dev")]), []);
}

#[test]
fn core_reaches_for_no_randomness_of_its_own() {
    assert_eq!(
        broken_by(&[("model", "getrandom", "normal")]),
        [("direct", "core/trust-model".to_owned())]
    );
}

#[test]
fn the_marshalling_crate_does_not_leak() {
    assert_eq!(
        broken_by(&[("keys", "tpm2-protocol", "normal")]),
        [("direct", "robot/keys".to_owned())]
    );
    assert_eq!(broken_by(&[("keys", "tpm2-protocol", "dev")]), []);
}

#[test]
fn only_crypto_names_algorithms() {
    assert_eq!(
        broken_by(&[("tpm", "aws-lc-rs", "normal")]),
        [("direct", "robot/tpm".to_owned())]
    );
    assert_eq!(broken_by(&[("tpm", "p256", "dev")]), []);
}

#[test]
fn a_second_provider_is_refused_at_any_depth() {
    for provider in ["openssl", "openssl-sys", "ring", "native-tls"] {
        let found = broken_by(&[("server", "web", "normal"), ("web", provider, "normal")]);
        assert_eq!(found, [("reach", "fleet/server".to_owned())], "{provider}");
    }
}

#[test]
fn a_crate_outside_of_the_layers_is_refused() {
    let mut fabricated = workspace(&[]);
    fabricated.packages.push(("stray", "misc/stray"));
    let found = fabricated.rules_broken();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].rule, "layer");
}

/// webpki with `ring?/alloc` but without its feature `ring`, as `cargo metadata` shows it.
fn weak(features: &Value) -> Vec<Violation> {
    let dependency = json!({"name": "ring", "rename": null, "optional": true, "kind": null});
    let package = |name: &str, manifest: &str, dependencies: Value, features: Value| json!({"id": name, "name": name, "manifest_path": manifest, "dependencies": dependencies, "features": features});
    let needs = |name: &str| json!([{"name": name, "rename": null, "optional": false, "kind": null}]);
    let edge = |name: &str| json!([{"pkg": name, "dep_kinds": [{"kind": null}]}]);
    let metadata = json!({
        "packages": [
            package("att", "/w/core/attestation/Cargo.toml", needs("webpki"), json!({})),
            package("webpki", "/r/Cargo.toml", json!([dependency]), json!({"alloc": ["ring?/alloc"], "ring": ["dep:ring"]})),
            package("ring", "/r/Cargo.toml", json!([]), json!({})),
        ],
        "workspace_members": ["att"],
        "workspace_root": "/w",
        "resolve": {"nodes": [
            {"id": "att", "deps": edge("webpki"), "features": []},
            {"id": "webpki", "deps": edge("ring"), "features": features},
            {"id": "ring", "deps": [], "features": []},
        ]},
    });
    rules::violations(&Graph::from_metadata(&metadata.to_string()).unwrap())
}

#[test]
fn an_optional_dependency_counts_only_when_a_feature_asks_for_it() {
    assert_eq!(weak(&json!(["alloc"])), []);
    assert_eq!(weak(&json!(["alloc", "ring"])).len(), 1);
}

/// How many impure paths a source of core/ names.
fn impure(source: &str) -> usize {
    sources::impure(source, "core/x/src/lib.rs").len()
}

#[test]
fn core_sources_that_reach_outside_are_refused() {
    for source in [
        "use std::fs;",
        "use std::{fmt, net::TcpStream};",
        "use std::{fmt, io::{self, stdin}};",
        "fn f() { let _ = std::env::var(\"X\"); }",
        "fn f() { ::std::process::exit(1) }",
        "use std::thread;",
        "use std::time::SystemTime;",
        "use std::time::{Duration, Instant as Clock};",
        "fn f() { UnixTime::now(); }",
        "fn f() { chrono::Utc::now(); }",
        "use std as s;",
        "use std::*;",
        "fn f() { tokio::spawn(x) }",
        "m! { std::fs::read(a) }",
    ] {
        assert_eq!(impure(source), 1, "{source}");
    }
}

#[test]
fn core_sources_may_name_the_pure_part() {
    for source in [
        "use std::{collections::BTreeMap, fmt, io::Read, time::Duration};",
        "// std::fs\nconst A: &str = \"std::fs::read\";",
        "#[cfg(test)] mod tests { use std::fs; }",
        "const V: &str = env!(\"CARGO_PKG_VERSION\");",
        "fn f(now: u64) -> bool { now > clock.now() }",
    ] {
        assert_eq!(impure(source), 0, "{source}");
    }
}

#[test]
fn core_forbids_unsafe_itself() {
    assert!(sources::forbids_unsafe("//! x\n#![forbid(unsafe_code)]", "core/x").is_none());
    assert!(sources::forbids_unsafe("// #![forbid(unsafe_code)]", "core/x").is_some());
    assert!(sources::forbids_unsafe("#![deny(unsafe_code)]", "core/x").is_some());
}

/// A workspace on disk with one crate and one more file in it; the rules its sources break.
fn on_disk(file: &str, source: &str) -> Vec<&'static str> {
    let root = std::env::temp_dir().join(format!(
        "alcub3-layers-{}-{}",
        std::process::id(),
        file.replace('/', "-")
    ));
    let path = root.join("core/crypto").join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::create_dir_all(root.join("core/crypto/src")).unwrap();
    std::fs::write(root.join("core/crypto/src/lib.rs"), "#![forbid(unsafe_code)]").unwrap();
    std::fs::write(path, source).unwrap();
    let fabricated = Fabricated {
        packages: vec![("crypto", "core/crypto")],
        edges: vec![],
    };
    let mut graph = Graph::from_metadata(&fabricated.json()).unwrap();
    graph.root = root.clone();
    let found = sources::violations(&graph).unwrap();
    std::fs::remove_dir_all(root).unwrap();
    found.into_iter().map(|violation| violation.rule).collect()
}

#[test]
fn modules_named_after_nothing_are_refused() {
    assert_eq!(on_disk("src/util.rs", ""), ["name"]);
    assert_eq!(on_disk("src/common/mod.rs", ""), ["name"]);
    assert_eq!(on_disk("tests/helpers/mod.rs", ""), ["name"]);
    assert_eq!(on_disk("src/parse.rs", "mod types { }"), ["name"]);
    assert_eq!(on_disk("src/parse.rs", "struct Types; // mod types {}"), [""; 0]);
}

#[test]
fn impurity_counts_in_src_and_not_in_tests() {
    assert_eq!(on_disk("src/a.rs", "use std::fs;"), ["pure"]);
    assert_eq!(on_disk("tests/a.rs", "use std::fs;"), [""; 0]);
    assert_eq!(on_disk("src/lib.rs", "//! nothing forbidden"), ["unsafe"]);
}

#[test]
fn a_crate_named_after_nothing_is_refused() {
    let root = std::env::temp_dir().join(format!("alcub3-layers-name-{}", std::process::id()));
    std::fs::create_dir_all(root.join("tools/util")).unwrap();
    let fabricated = Fabricated {
        packages: vec![("alcub3-util", "tools/util")],
        edges: vec![],
    };
    let mut graph = Graph::from_metadata(&fabricated.json()).unwrap();
    graph.root = root.clone();
    let found = sources::violations(&graph).unwrap();
    std::fs::remove_dir_all(root).unwrap();
    assert_eq!(found.len(), 1);
}
