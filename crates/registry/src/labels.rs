//! The labels of an image, as its config says them.

use std::collections::BTreeMap;

use serde::Deserialize;
use supercargo_model::media_type;

/// Largest config that is read for its labels, in bytes.
pub(crate) const CONFIG_BYTES_MAX: u64 = 1024 * 1024;
/// Most bytes of labels that are remembered of one image; where there are more, those that come first by their names.
const LABELS_BYTES_MAX: usize = 64 * 1024;

/// What of a config says labels. Whatever else is in it, and whatever form that has, is passed over.
#[derive(Deserialize)]
struct Config {
    config: Option<Container>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

/// Whether a config is an image's, and not an artifact's. Docker 1.10 to 1.12 call their images' configs a mere stream of
/// bytes.
pub(crate) fn is_image_config(media_type: &str) -> bool {
    matches!(media_type, media_type::DOCKER_CONFIG | media_type::OCI_CONFIG | "application/octet-stream" | "")
}

/// The labels in a config, by their names. None of what is no config.
pub(crate) fn labels(config: &[u8]) -> Vec<(String, String)> {
    let Ok(Config { config: Some(Container { labels: Some(labels) }) }) = serde_json::from_slice(config)
    else {
        return Vec::new();
    };
    let mut bytes = 0;
    let fits = |(label, value): &(String, String)| {
        bytes += label.len() + value.len();
        bytes <= LABELS_BYTES_MAX
    };
    labels.into_iter().take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_where_there_are_some() {
        let config = br#"{"config":{"Env":null,"Labels":{"b":"2","a":"1\n"}},"rootfs":{}}"#;
        assert_eq!(labels(config), [("a".into(), "1\n".into()), ("b".into(), "2".into())]);
        for none in [
            "",
            "[]",
            "{}",
            "{\"config\":null}",
            "{\"config\":{\"Labels\":null}}",
            "{\"config\":{\"Labels\":[]}}",
        ] {
            assert_eq!(labels(none.as_bytes()), [], "{none}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let many: Vec<String> = (0..100).map(|at| format!("\"{at:03}\":\"{}\"", "x".repeat(1000))).collect();
        let found = labels(format!("{{\"config\":{{\"Labels\":{{{}}}}}}}", many.join(",")).as_bytes());
        assert_eq!(found.len(), LABELS_BYTES_MAX / 1003);
    }
}
