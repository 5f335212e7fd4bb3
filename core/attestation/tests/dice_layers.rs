//! What the layers of a DICE chain measure, and what they must be.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod dice_platform;

use alcub3_attestation::appraisal::Reason;
use alcub3_attestation::dice::{
    LayerReference, Measurement, Mode, OpenProfileReference, ReferenceError, References, TcbReference,
    Verdict,
};
use alcub3_crypto::HashAlg;
use dice_platform::{Platform, application, loader, unproven, untrusted};

const LEAF: usize = 3;

/// The verdict with another leaf in the TCG chain.
fn leaf(name: &str) -> Verdict {
    Platform::tcg().judge_chain(&["root", "device", "layer1", name])
}

/// The verdict with another second layer in the chain of the Open Profile.
fn second_layer(name: &str) -> Verdict {
    Platform::open().judge_chain(&["uds", "cdi1", name, "leaf"])
}

#[test]
fn measurements_are_read_whole() {
    let verdict = Platform::tcg().judge();
    let [Measurement::Tcg(loader), Measurement::Tcg(application)] = &verdict.attested().unwrap().layers[..]
    else {
        panic!("two layers of the TCG's form");
    };
    assert_eq!(loader.len(), 2);
    assert_eq!((loader[0].svn, loader[1].svn), (Some(7), Some(3)));
    assert!(loader[0].flags.is_none());
    assert!(loader[1].flags.unwrap().says_all() && !loader[1].flags.unwrap().is_insecure());
    let application = &application[0];
    assert_eq!(application.vendor.as_deref(), Some("Rover Works"));
    assert_eq!(application.version.as_deref(), Some("2.4.1"));
    assert_eq!((application.layer, application.index), (Some(2), Some(0)));
    assert_eq!(application.fwids, [HashAlg::Sha384.digest(&[b"application"])]);

    let verdict = Platform::open().judge();
    let [Measurement::OpenProfile(first), Measurement::OpenProfile(second)] =
        &verdict.attested().unwrap().layers[..]
    else {
        panic!("two layers of the Open Profile's form");
    };
    assert_eq!((first.mode, second.mode), (Mode::Normal, Mode::Normal));
    assert_eq!(first.configuration.len(), 64);
    assert_eq!(second.profile.as_deref(), Some("rover.1"));
}

#[test]
fn measurements_that_are_malformed_or_of_an_unknown_form_are_refused() {
    for name in [
        "leaf_mask_only",
        "leaf_unknown_flag",
        "leaf_no_fwid",
        "leaf_short_fwid",
        "leaf_sha1_fwid",
        "leaf_integrity_registers",
        "leaf_trailing",
        "leaf_two_kinds",
    ] {
        assert_eq!(
            unproven(&leaf(name), Reason::DiceMeasurement),
            Some(LEAF),
            "{name}"
        );
    }
    for name in [
        "cdi2_wrong_hash",
        "cdi2_no_code",
        "cdi2_no_configuration",
        "cdi2_no_authority",
        "cdi2_no_mode",
    ] {
        let verdict = second_layer(name);
        assert_eq!(unproven(&verdict, Reason::DiceMeasurement), Some(2), "{name}");
    }
}

#[test]
fn debug_recovery_and_unconfigured_modes_are_refused_and_so_is_silence() {
    for name in [
        "leaf_not_configured",
        "leaf_not_secure",
        "leaf_recovery",
        "leaf_debug",
        "leaf_debug_masked",
        "leaf_mask_lacks_debug",
        "leaf_no_flags",
    ] {
        untrusted(&leaf(name), Some(LEAF), &[Reason::DiceMode]);
    }
    for name in [
        "cdi2_not_configured",
        "cdi2_debug",
        "cdi2_recovery",
        "cdi2_unknown",
    ] {
        untrusted(&second_layer(name), Some(2), &[Reason::DiceMode]);
    }
}

/// The verdict over the good TCG chain by other references.
fn by(change: impl FnOnce(&mut Vec<LayerReference>)) -> Verdict {
    let mut platform = Platform::tcg();
    change(&mut platform.layers);
    platform.judge()
}

#[test]
fn each_layer_must_be_what_its_reference_says() {
    let sha384 = |text: &[u8]| HashAlg::Sha384.digest(&[text]);
    let application = |change: &dyn Fn(&mut TcbReference)| {
        let mut reference = application();
        change(&mut reference);
        by(|layers| layers[1] = LayerReference::Tcg(vec![reference]))
    };
    let other = || Some("other".to_owned());
    let verdict = application(&|reference| reference.firmware = vec![vec![sha384(b"other")]]);
    untrusted(&verdict, Some(LEAF), &[Reason::DiceFirmware]);
    // A list of digests is approved as a whole.
    let both = vec![sha384(b"application"), sha384(b"other")];
    let verdict = application(&|reference| reference.firmware = vec![both.clone()]);
    untrusted(&verdict, Some(LEAF), &[Reason::DiceFirmware]);
    let updated = vec![vec![sha384(b"new")], vec![sha384(b"application")]];
    assert!(application(&|reference| reference.firmware = updated.clone()).is_trusted());
    let verdict = application(&|reference| reference.min_svn = Some(6));
    untrusted(&verdict, Some(LEAF), &[Reason::DiceSvn]);
    untrusted(&leaf("leaf_no_svn"), Some(LEAF), &[Reason::DiceSvn]);
    let verdict = application(&|reference| reference.versions = vec!["2.4.2".to_owned()]);
    untrusted(&verdict, Some(LEAF), &[Reason::DiceVersion]);
    assert!(application(&|reference| reference.versions.clear()).is_trusted());
    let changes: [&dyn Fn(&mut TcbReference); 7] = [
        &|reference| reference.vendor = other(),
        &|reference| reference.model = None,
        &|reference| reference.layer = Some(1),
        &|reference| reference.index = Some(1),
        &|reference| reference.kind = None,
        &|reference| reference.vendor_info = Some(b"lot 4".to_vec()),
        &|reference| reference.vendor = None,
    ];
    for change in changes {
        untrusted(&application(change), Some(LEAF), &[Reason::DiceLayer]);
    }
    // Each target of a layer counts, and there are as many as references.
    let verdict = by(|layers| {
        let mut targets = loader();
        targets[1].min_svn = Some(4);
        layers[0] = LayerReference::Tcg(targets);
    });
    untrusted(&verdict, Some(2), &[Reason::DiceSvn]);
    let verdict = by(|layers| layers[0] = LayerReference::Tcg(loader()[..1].to_vec()));
    untrusted(&verdict, Some(2), &[Reason::DiceLayer]);
}

type Change<'a> = &'a dyn Fn(&mut OpenProfileReference);

#[test]
fn inputs_of_the_open_profile_must_be_what_their_reference_says() {
    let by = |change: &dyn Fn(&mut OpenProfileReference)| {
        let mut platform = Platform::open();
        let Some(LayerReference::OpenProfile(reference)) = platform.layers.get_mut(1) else {
            panic!("a layer of the Open Profile");
        };
        change(reference);
        platform.judge()
    };
    let cases: [(Change<'_>, Reason); 4] = [
        (&|reference| reference.code.clear(), Reason::DiceFirmware),
        (
            &|reference| reference.configurations = vec![HashAlg::Sha512.digest(&[b"other"])],
            Reason::DiceConfiguration,
        ),
        (&|reference| reference.authorities.clear(), Reason::DiceSigner),
        (&|reference| reference.profile = None, Reason::DiceLayer),
    ];
    for (change, reason) in cases {
        untrusted(&by(change), Some(2), &[reason]);
    }
}

#[test]
fn layers_are_as_many_as_references_and_in_their_order() {
    let verdict = by(|layers| layers.push(LayerReference::Tcg(vec![application()])));
    untrusted(&verdict, None, &[Reason::DiceLayerMissing]);
    let verdict = by(|layers| layers.truncate(1));
    untrusted(&verdict, Some(LEAF), &[Reason::DiceLayerUnexpected]);
    let verdict = by(|layers| layers[1] = open_layer());
    untrusted(&verdict, Some(LEAF), &[Reason::DiceLayer]);
    let swapped = Platform::tcg().judge_chain(&["root", "device", "layer1_swapped", "leaf_swapped"]);
    let found: Vec<_> = swapped
        .findings()
        .iter()
        .map(|finding| (finding.layer, finding.reason))
        .collect();
    assert_eq!(
        found,
        [(Some(2), Reason::DiceLayer), (Some(3), Reason::DiceLayer)]
    );
    // The same with references whose number of targets does not tell: the layers' names and firmware do.
    let mut platform = Platform::tcg();
    platform.layers[0] = LayerReference::Tcg(vec![TcbReference {
        layer: Some(1),
        ..application()
    }]);
    let swapped = platform.judge_chain(&["root", "device", "layer1_swapped", "leaf"]);
    untrusted(&swapped, Some(2), &[Reason::DiceLayer]);
}

fn open_layer() -> LayerReference {
    Platform::open().layers.remove(0)
}

#[test]
fn a_layer_that_nobody_measured_is_refused() {
    let mut platform = Platform::tcg();
    platform.layers[0] = LayerReference::Tcg(vec![TcbReference {
        layer: Some(0),
        ..application()
    }]);
    let verdict = platform.judge_chain(&["root", "device_measured", "layer1_unmeasured", "leaf"]);
    untrusted(&verdict, Some(2), &[Reason::DiceLayerMissing]);
    // A measured device key is one, too: the device's certificate states what its first layer is.
    let measured = platform.judge_chain(&["root", "device_measured", "layer1", "leaf"]);
    assert!(measured.attested().is_some() && !measured.has(Reason::DiceLayerMissing));
    platform.layers.insert(1, LayerReference::Tcg(loader()));
    assert!(
        platform
            .judge_chain(&["root", "device_measured", "layer1", "leaf"])
            .is_trusted()
    );
    // None at all.
    let verdict = Platform::open().judge_chain(&["uds", "leaf"]);
    unproven(&verdict, Reason::DiceIssuer);
}

#[test]
fn references_are_learned_from_a_good_platform_and_written_as_a_document() {
    for mut platform in [Platform::tcg(), Platform::open()] {
        let given = std::mem::take(&mut platform.layers);
        let unknown = platform.judge();
        assert!(!unknown.is_trusted() && unknown.has(Reason::DiceLayerUnexpected));
        let learned = References::golden(unknown.attested().unwrap());
        let written = References::from_json(&learned.to_json()).unwrap();
        assert_eq!(written, learned);
        platform.layers = written.layers().to_vec();
        assert!(platform.judge().is_trusted());
        assert_eq!(platform.layers.len(), given.len());
    }
    // What was learned is a floor and a list, not only a shape.
    let mut platform = Platform::tcg();
    platform.layers = References::golden(platform.judge().attested().unwrap())
        .layers()
        .to_vec();
    let verdict = platform.judge_chain(&["root", "device", "layer1", "leaf_no_svn"]);
    untrusted(&verdict, Some(LEAF), &[Reason::DiceSvn]);
}

#[test]
fn a_reference_document_is_read_as_it_is_described_and_a_wrong_one_is_refused() {
    let described = include_str!("../../../docs/reference-values.md");
    let (_, rest) = described.split_once("## DICE").unwrap();
    let (_, rest) = rest.split_once("```json\n").unwrap();
    let (document, _) = rest.split_once("```").unwrap();
    let document = document.replace('…', &"ab".repeat(48));
    let references = References::from_json(&document).unwrap();
    assert!(matches!(
        references.layers(),
        [LayerReference::Tcg(_), LayerReference::OpenProfile(_)]
    ));
    assert!(matches!(
        References::from_json(&document.replace("\"version\": 1", "\"version\": 2")),
        Err(ReferenceError::Version(2))
    ));
    for (from, to) in [
        ("\"min-svn\"", "\"max-svn\""),
        ("\"layers\"", "\"layer\""),
        ("sha384:", "sha1:"),
        ("sha384:ab", "sha384:a"),
        ("sha384:", ""),
        ("\"type\": \"", "\"type\": \"x"),
        ("\"code\"", "\"codes\""),
        ("\"open-profile\"", "\"other-profile\""),
    ] {
        let wrong = document.replace(from, to);
        assert_ne!(wrong, document, "{from}");
        assert!(
            matches!(References::from_json(&wrong), Err(ReferenceError::Json(_))),
            "{from}"
        );
    }
}
