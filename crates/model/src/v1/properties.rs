//! What holds of conversions whatever the images are.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::Manifest;

/// Names that mean something somewhere, and some that don't.
const NAMES: [&str; 34] = [
    "id",
    "parent",
    "created",
    "container_config",
    "config",
    "docker_version",
    "author",
    "comment",
    "Size",
    "throwaway",
    "architecture",
    "os",
    "os.version",
    "rootfs",
    "diff_ids",
    "history",
    "created_by",
    "empty_layer",
    "Cmd",
    "Env",
    "Volumes",
    "Labels",
    "Healthcheck",
    "Tty",
    "OnBuild",
    "AUTHOR",
    "cmd",
    "",
    "a",
    "b",
    "<&>",
    "é",
    "\u{2028}",
    "\\u0061",
];

fn json_value() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        select(vec![
            "null",
            "true",
            "-0.10e5",
            "\"1.9.1\"",
            "\"1.5.0\"",
            "\"2014-05-13T16:54:00.50Z\"",
            "[]",
            "{}"
        ])
        .prop_map(str::to_owned),
        r#""([a-z <>&é]|\\u[0-9a-f]{4}|\\["\\/bfnrt]){0,8}""#,
    ];
    scalar.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|elements| format!("[ {} ]", elements.join(" ,"))),
            members(inner).prop_map(|members| object(&members)),
        ]
    })
}

fn members(value: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<(String, String)>> {
    vec((select(&NAMES[..]).prop_map(|name| format!("\"{name}\"")), value), 0..8)
}

fn object(members: &[(String, String)]) -> String {
    let members: Vec<String> = members.iter().map(|(name, value)| format!("{name} :\t{value}")).collect();
    format!("{{\n{} }}", members.join(", "))
}

/// Members of another name each, so that their order means nothing. That of those of the same name does.
fn unlike_members() -> impl Strategy<Value = Vec<(String, String)>> {
    members(json_value()).prop_map(|members| {
        let folded = |(name, value): (String, String)| {
            (name.to_ascii_lowercase().replace("\\u0061", "a"), (name, value))
        };
        members.into_iter().map(folded).collect::<BTreeMap<_, _>>().into_values().collect()
    })
}

fn chain<'j>(jsons: &[&'j [u8]]) -> Vec<ChainImage<'j>> {
    let image = |(n, json): (usize, &&'j [u8])| {
        let digest = sha256(&n.to_be_bytes());
        ChainImage { id: hashed_id(&n.to_string()), json, diff_id: digest, blob: digest, blob_size: n as u64 }
    };
    jsons.iter().enumerate().map(image).collect()
}

/// A config of so many layers, with these members beside what makes it one.
fn config(members: &[(String, String)], layers: usize) -> String {
    let diff_ids: Vec<String> = (0..layers).map(|n| format!("\"{}\"", sha256(&n.to_be_bytes()))).collect();
    let rootfs = format!(r#"{{"type":"layers","diff_ids":[{}]}}"#, diff_ids.join(","));
    let unlike = |name: &str| !name.eq_ignore_ascii_case("\"rootfs\"");
    let mut members: Vec<_> = members.iter().filter(|(name, _)| unlike(name)).cloned().collect();
    members.push(("\"rootfs\"".to_owned(), rootfs));
    object(&members)
}

fn names(json: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    raw::members(std::str::from_utf8(json).unwrap(), |name, _| names.push(name.into_owned())).unwrap();
    names
}

proptest! {
    #[test]
    fn a_chain_becomes_a_manifest_or_is_refused(jsons in vec(members(json_value()).prop_map(|m| object(&m)), 1..4)) {
        let jsons: Vec<&[u8]> = jsons.iter().map(String::as_bytes).collect();
        for form in [Form::Docker, Form::Oci] {
            let result = to_v2(&chain(&jsons), form);
            prop_assert_eq!(&result, &to_v2(&chain(&jsons), form));
            let Ok(converted) = result else { continue };
            let names = names(&converted.config);
            prop_assert!(names.is_sorted(), "{names:?}");
            prop_assert!(!names.iter().any(|name| ["id", "parent", "Size", "throwaway"].contains(&name.as_str())));
            let (manifest, _) = Manifest::parse(form.manifest_type(), &converted.manifest).unwrap();
            let config = manifest.config.unwrap();
            prop_assert_eq!((config.digest, config.size), (converted.config_digest, converted.config.len() as u64));
            // What was made is one of the images that can be made V1 images again, with the same layers.
            let images = from_v2(&converted.config, manifest.layers.len()).unwrap();
            prop_assert_eq!(images.last().unwrap().id.to_string(), converted.config_digest.hex());
        }
    }

    #[test]
    fn the_order_of_members_and_white_space_mean_nothing(
        (members, shuffled) in unlike_members().prop_flat_map(|m| (Just(m.clone()), Just(m).prop_shuffle())),
    ) {
        let convert = |json: &str| to_v2(&chain(&[b"{}", json.as_bytes()]), Form::Docker).ok();
        let converted = convert(&object(&members));
        prop_assert_eq!(&converted, &convert(&object(&shuffled)));
        let mut compact = String::new();
        raw::write_compact(&mut compact, &object(&members));
        prop_assert_eq!(&converted, &convert(&compact));
    }

    #[test]
    fn a_config_becomes_a_chain_that_becomes_its_layers_again(members in members(json_value()), layers in 0_usize..5) {
        let config = config(&members, layers);
        let images = from_v2(config.as_bytes(), layers).unwrap();
        prop_assert_eq!(images.len(), layers.max(1));
        let mut parent = None;
        for (at, image) in images.iter().enumerate() {
            let checked = ImageJson::check(&image.json, &image.id).unwrap();
            prop_assert_eq!((checked.parent, image.parent), (parent, parent));
            prop_assert_eq!(image.layer, (layers > 0).then_some(at));
            parent = Some(image.id);
        }
        prop_assert!(names(&images.last().unwrap().json).is_sorted());
        let jsons: Vec<&[u8]> = images.iter().map(|image| &image.json[..]).collect();
        if let Ok(converted) = to_v2(&chain(&jsons), Form::Docker)
            && !names(jsons[jsons.len() - 1]).iter().any(|name| name.eq_ignore_ascii_case("throwaway"))
        {
            let text = std::str::from_utf8(&converted.config).unwrap();
            let expected: Vec<Digest> = (0..images.len()).map(|n| sha256(&n.to_be_bytes())).collect();
            prop_assert_eq!(super::config::diff_ids(text).unwrap(), expected);
        }
    }

    #[test]
    fn schema1_names_each_image_once_and_links_them(
        steps in vec((any::<bool>(), "\\PC{0,10}"), 1..6),
        members in unlike_members(),
    ) {
        let blobs: Vec<Digest> =
            (0..steps.iter().filter(|(empty, _)| !empty).count()).map(|n| sha256(&n.to_be_bytes())).collect();
        let mut history = String::new();
        raw::write_list(&mut history, &steps, |out, (empty, by)| {
            let mut step = raw::ObjectWriter::new(out);
            step.string("created_by", by);
            step.member("empty_layer").push_str(&empty.to_string());
            step.end();
        });
        let mut members = members;
        members.retain(|(name, _)| name != "\"history\"");
        members.push(("\"history\"".to_owned(), history));
        let config = config(&members, blobs.len());
        let images = schema1::from_config(config.as_bytes(), &blobs).unwrap();
        prop_assert_eq!(images.len(), steps.len());
        let mut parent = None;
        for (image, (empty, _)) in images.iter().zip(&steps) {
            let checked = ImageJson::check(image.v1_compatibility.as_bytes(), &image.id).unwrap();
            prop_assert_eq!(checked.parent, parent);
            prop_assert_eq!(*empty, image.blob == empty_layer());
            parent = Some(image.id);
        }
        let kept = images.iter().map(|image| image.blob).filter(|blob| *blob != empty_layer());
        prop_assert!(kept.eq(blobs.iter().copied()));
        let one_less = blobs.len().checked_sub(1).map(|len| &blobs[..len]);
        prop_assert!(one_less.is_none_or(|blobs| schema1::from_config(config.as_bytes(), blobs).is_err()));
    }

    #[test]
    fn any_bytes_are_converted_or_refused(
        bytes in vec(any::<u8>(), 0..100),
        text in r#"[\[\]{}":,\\u0-9a-z é]{0,60}"#,
    ) {
        for bytes in [&bytes[..], text.as_bytes()] {
            let _ = (to_v2(&chain(&[bytes]), Form::Docker), from_v2(bytes, 1), schema1::from_config(bytes, &[]));
        }
    }
}
