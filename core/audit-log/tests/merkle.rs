//! The tree against RFC 6962's test vectors, against a naive tree, and its proofs against every change.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_audit_log::{
    ConsistencyProof, Frontier, InclusionProof, NodeHash, ProofError, Tree, empty_root, leaf_hash, node_hash,
    prove_consistency, prove_inclusion, root_at,
};
use proptest::prelude::*;

/// The inputs and roots that Certificate Transparency implementations share (certificate-transparency,
/// merkletree tests).
const INPUTS: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn hash(hex_text: &str) -> NodeHash {
    NodeHash::new(hex::decode(hex_text).unwrap().try_into().unwrap())
}

fn known_tree() -> Tree {
    let mut tree = Tree::new();
    for input in INPUTS {
        tree.append(&hex::decode(input).unwrap());
    }
    tree
}

#[test]
fn roots_are_those_of_certificate_transparency() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(empty_root(), hash(empty));
    let mut tree = Tree::new();
    assert_eq!(tree.root(), hash(empty));
    for (input, root) in INPUTS.iter().zip(ROOTS) {
        tree.append(&hex::decode(input).unwrap());
        assert_eq!(tree.root(), hash(root));
    }
    for (size, root) in (1..).zip(ROOTS) {
        assert_eq!(root_at(&tree, size).unwrap(), hash(root));
    }
}

/// From the same shared vectors: inclusion of leaf 0 in 8, of leaf 5 in 8, of leaf 2 in 3, of leaf 1 in 5.
#[test]
fn inclusion_proofs_are_those_of_certificate_transparency() {
    let tree = known_tree();
    let cases: [(u64, u64, &[&str]); 4] = [
        (
            0,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            &[
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            3,
            &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
        ),
        (
            1,
            5,
            &[
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ];
    for (index, size, path) in cases {
        let expected: Vec<NodeHash> = path.iter().map(|text| hash(text)).collect();
        assert_eq!(
            prove_inclusion(&tree, index, size).unwrap().path,
            expected,
            "{index} in {size}"
        );
    }
}

/// From the same shared vectors: 1 to 8, 6 to 8, 2 to 5.
#[test]
fn consistency_proofs_are_those_of_certificate_transparency() {
    let tree = known_tree();
    let cases: [(u64, u64, &[&str]); 4] = [
        (1, 1, &[]),
        (
            1,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            &[
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            5,
            &[
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ];
    for (first, second, path) in cases {
        let expected: Vec<NodeHash> = path.iter().map(|text| hash(text)).collect();
        assert_eq!(
            prove_consistency(&tree, first, second).unwrap().path,
            expected,
            "{first} to {second}"
        );
    }
}

fn tree_of(size: u64) -> Tree {
    let mut tree = Tree::new();
    for entry in 0..size {
        assert_eq!(tree.append(&entry.to_be_bytes()), entry);
    }
    tree
}

/// MTH as RFC 6962 §2.1 defines it, without any of the crate's shortcuts.
fn naive_root(leaves: &[NodeHash]) -> NodeHash {
    match leaves {
        [] => empty_root(),
        [only] => *only,
        _ => {
            let split = (leaves.len()).next_power_of_two() / 2;
            node_hash(&naive_root(&leaves[..split]), &naive_root(&leaves[split..]))
        }
    }
}

#[test]
fn every_proof_of_every_tree_up_to_forty_holds() {
    let tree = tree_of(40);
    let leaves: Vec<NodeHash> = (0u64..40).map(|entry| leaf_hash(&entry.to_be_bytes())).collect();
    let roots: Vec<NodeHash> = (0..=40).map(|size| naive_root(&leaves[..size])).collect();
    for second in 0..=40u64 {
        let second_root = &roots[usize::try_from(second).unwrap()];
        assert_eq!(root_at(&tree, second).unwrap(), *second_root);
        for first in 0..=second {
            let proof = prove_consistency(&tree, first, second).unwrap();
            proof
                .verify(&roots[usize::try_from(first).unwrap()], second_root)
                .unwrap_or_else(|e| panic!("{first}..{second}: {e}"));
        }
        for index in 0..second {
            let proof = prove_inclusion(&tree, index, second).unwrap();
            proof
                .verify(&leaves[usize::try_from(index).unwrap()], second_root)
                .unwrap();
        }
    }
}

#[test]
fn changed_proofs_do_not_hold() {
    let tree = tree_of(23);
    let (leaf, root) = (leaf_hash(&11u64.to_be_bytes()), tree.root());
    let good = prove_inclusion(&tree, 11, 23).unwrap();
    for at in 0..good.path.len() {
        let mut changed = good.clone();
        let mut bytes = *changed.path[at].as_bytes();
        bytes[31] ^= 1;
        changed.path[at] = NodeHash::new(bytes);
        assert_eq!(changed.verify(&leaf, &root), Err(ProofError::Root("tree")));
    }
    let shorter = InclusionProof {
        path: good.path[1..].to_vec(),
        ..good.clone()
    };
    assert!(shorter.verify(&leaf, &root).is_err());
    let longer = InclusionProof {
        path: [good.path.clone(), vec![leaf]].concat(),
        ..good
    };
    assert!(matches!(
        longer.verify(&leaf, &root),
        Err(ProofError::Length { found: 6 })
    ));
    for index in (0..23).filter(|index| *index != 11) {
        assert!(
            InclusionProof {
                index,
                ..good.clone()
            }
            .verify(&leaf, &root)
            .is_err(),
            "{index}"
        );
    }
    assert!(
        InclusionProof {
            index: 23,
            ..good.clone()
        }
        .verify(&leaf, &root)
        .is_err()
    );
    assert!(good.verify(&leaf_hash(b"other"), &root).is_err());
}

#[test]
fn a_rewritten_log_is_not_consistent() {
    let (tree, earlier) = (tree_of(23), tree_of(13));
    let good = prove_consistency(&tree, 13, 23).unwrap();
    good.verify(&earlier.root(), &tree.root()).unwrap();
    let mut forged = Tree::new();
    for entry in 0..23u64 {
        forged.append(if entry == 7 { b"forged" } else { &[][..] });
    }
    let lie = prove_consistency(&forged, 13, 23).unwrap();
    assert_eq!(
        lie.verify(&earlier.root(), &forged.root()),
        Err(ProofError::Root("earlier"))
    );
    assert_eq!(
        good.verify(&earlier.root(), &forged.root()),
        Err(ProofError::Root("later"))
    );
    for at in 0..good.path.len() {
        let mut changed = good.clone();
        changed.path.remove(at);
        assert!(changed.verify(&earlier.root(), &tree.root()).is_err());
    }
    let padded = ConsistencyProof {
        path: [good.path.clone(), vec![tree.root()]].concat(),
        ..good
    };
    assert!(padded.verify(&earlier.root(), &tree.root()).is_err());
    let equal = ConsistencyProof {
        first: 23,
        second: 23,
        path: vec![],
    };
    equal.verify(&tree.root(), &tree.root()).unwrap();
    assert!(equal.verify(&earlier.root(), &tree.root()).is_err());
    let from_nothing = ConsistencyProof {
        first: 0,
        second: 23,
        path: vec![],
    };
    assert!(from_nothing.verify(&earlier.root(), &tree.root()).is_err());
}

#[test]
fn what_is_not_there_is_not_proven() {
    let tree = tree_of(5);
    assert_eq!(
        prove_inclusion(&tree, 5, 5),
        Err(ProofError::NoSuchLeaf { index: 5, size: 5 })
    );
    assert!(matches!(
        prove_inclusion(&tree, 2, 9),
        Err(ProofError::MissingNode { .. })
    ));
    assert!(matches!(
        prove_inclusion(&tree, u64::MAX - 1, u64::MAX),
        Err(ProofError::MissingNode { .. })
    ));
    assert_eq!(
        prove_consistency(&tree, 4, 3),
        Err(ProofError::Sizes { first: 4, second: 3 })
    );
}

#[test]
fn a_frontier_goes_on_where_the_tree_stopped() {
    for size in 0..33 {
        let (mut tree, mut frontier) = (
            tree_of(size),
            Frontier::load(size, &tree_of(32.max(size))).unwrap(),
        );
        for entry in 0..9u64 {
            tree.append(&entry.to_be_bytes());
            frontier.append(leaf_hash(&entry.to_be_bytes()));
            assert_eq!((frontier.size(), frontier.root()), (tree.size(), tree.root()));
        }
    }
    assert!(Frontier::load(6, &tree_of(5)).is_none());
}

proptest! {
    #[test]
    fn proofs_hold_at_random_sizes(first in 1u64..300, more in 0u64..300, at in 0u64..300) {
        let second = first + more;
        let tree = tree_of(second);
        let index = at % first;
        let old = root_at(&tree, first).unwrap();
        prove_consistency(&tree, first, second).unwrap().verify(&old, &tree.root()).unwrap();
        prove_inclusion(&tree, index, first).unwrap().verify(&leaf_hash(&index.to_be_bytes()), &old).unwrap();
    }

    /// A proof for other sizes than it was made for does not hold, and none makes the check panic.
    #[test]
    fn arbitrary_proofs_are_refused(first in any::<u64>(), second in any::<u64>(), index in any::<u64>(), path in prop::collection::vec(any::<[u8; 32]>(), 0..70)) {
        let path: Vec<NodeHash> = path.into_iter().map(NodeHash::new).collect();
        let (a, b) = (NodeHash::new([1; 32]), NodeHash::new([2; 32]));
        let consistency = ConsistencyProof { first, second, path: path.clone() };
        prop_assert!(consistency.verify(&a, &b).is_err());
        let inclusion = InclusionProof { index, size: second, path };
        prop_assert!(inclusion.verify(&a, &b).is_err());
    }
}
