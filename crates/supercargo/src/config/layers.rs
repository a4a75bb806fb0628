//! Where values come from: defaults, then a TOML file, then `SUPERCARGO_…` variables, then flags, each over the
//! one before; and for each value, which of them had the last word.
//!
//! A key that is none is refused wherever it stands, with its name and place: a setting that is silently
//! ignored is worse than a server that does not start.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::{Config, LogFormat};

/// What every variable for a key begins with.
const PREFIX: &str = "SUPERCARGO_";

/// Separates the parts of a key in a variable's name.
const NESTING: &str = "__";

/// Variables with the prefix that are no keys: where the file is, and those of the tests.
const OTHER_VARIABLES: [&str; 4] = ["CONFIG", "BIN", "CRASH_AT", "TEST_SEED"];

/// What the flags of a command say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    /// `--data`.
    pub(crate) data: Option<PathBuf>,
    /// `--listen`, each of them.
    pub(crate) listen: Vec<String>,
    /// `--allow-anonymous`.
    pub(crate) allow_anonymous: bool,
    /// `--accounts`.
    pub(crate) accounts: bool,
    /// `--self-signed`.
    pub(crate) self_signed: bool,
    /// `--san`, each of them.
    pub(crate) san: Vec<String>,
    /// `--log-format`.
    pub(crate) log_format: Option<LogFormat>,
    /// `--log-level`.
    pub(crate) log_level: Option<String>,
}

/// Which layer a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nobody said anything.
    Default,
    /// The file.
    File(PathBuf),
    /// The environment.
    Env,
    /// The command line.
    Flag,
}

impl Source {
    /// The source as the operator knows it, for one key.
    pub(crate) fn describe(&self, key: &str) -> String {
        match self {
            Source::Default => "default".to_owned(),
            Source::File(path) => format!("file:{}", path.display()),
            Source::Env => format!("env {}", variable(key)),
            // The flags for TLS go without its name.
            Source::Flag => {
                format!("flag --{}", key.strip_prefix("tls.").unwrap_or(key).replace(['.', '_'], "-"))
            }
        }
    }
}

/// The variable that sets a key.
pub(crate) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', NESTING).to_uppercase())
}

/// Why there is no configuration. The text is fit to be shown to a person.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file can't be read.
    #[error("the configuration file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("the configuration file {} is not TOML: {source}", path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A key that is none.
    #[error("there is no key {key} ({origin}){hint}")]
    UnknownKey {
        /// The key.
        key: String,
        /// Where it stands.
        origin: String,
        /// The keys there are in that place.
        hint: String,
    },
    /// A variable that is no text.
    #[error("the variable {0} is not valid UTF-8")]
    NotUtf8(String),
    /// A value that can't be.
    #[error("{key} ({origin}): {why}")]
    Invalid {
        /// The key.
        key: String,
        /// Where its value comes from.
        origin: String,
        /// What is wrong and what to do.
        why: String,
    },
}

/// A configuration, and where each of its values comes from.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The configuration.
    pub(crate) config: Config,
    layers: Vec<Layer>,
}

/// A key with its value, ready to be shown.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Entry {
    /// The key, as `gc.lease`.
    pub(crate) key: String,
    /// The value.
    pub(crate) value: serde_json::Value,
    /// Where it comes from.
    pub(crate) source: String,
}

impl fmt::Display for Entry {
    /// A line of TOML, with the source in a comment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // There is nothing in a configuration that TOML can't write.
        let value = toml::Value::try_from(&self.value).map_err(|_| fmt::Error)?;
        let assignment = format!("{} = {value}", self.key);
        write!(f, "{assignment:<44} # {}", self.source)
    }
}

impl Loaded {
    /// Every key, its value and where that comes from, in the order of the keys.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (key, value) in flatten(&dict_of(&self.config)) {
            let source = source_of(&self.layers, &key).describe(&key);
            let value = serde_json::to_value(&value).unwrap_or(serde_json::Value::Null);
            entries.push(Entry { key, value, source });
        }
        entries
    }
}

/// Puts the layers together.
///
/// # Errors
/// [`ConfigError`], which names the key, the place and the rule.
pub(crate) fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Loaded, ConfigError> {
    load_with(file, std::env::vars_os(), overrides)
}

fn load_with(
    file: Option<&Path>,
    environment: impl Iterator<Item = (OsString, OsString)>,
    overrides: &Overrides,
) -> Result<Loaded, ConfigError> {
    let known = dict_of(&Config::default());
    let mut layers = vec![Layer { source: Source::Default, values: known.clone() }];
    if let Some(path) = file {
        layers.push(file_layer(path)?);
    }
    layers.push(environment_layer(environment, &known)?);
    layers.push(overrides_layer(overrides));
    for layer in &layers {
        refuse_unknown(layer, &known)?;
    }
    let figment = layers.iter().fold(Figment::new(), |figment, layer| figment.merge(layer));
    let config: Config = figment.extract().map_err(|error| invalid(&layers, &error))?;
    config.check().map_err(|(key, why)| ConfigError::Invalid {
        key: key.to_owned(),
        origin: source_of(&layers, key).describe(key),
        why,
    })?;
    Ok(Loaded { config, layers })
}

/// What one source says.
#[derive(Debug)]
struct Layer {
    source: Source,
    values: Dict,
}

impl Provider for &Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.describe(""))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

fn file_layer(path: &Path) -> Result<Layer, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let values: Dict = toml::from_str(&text)
        .map_err(|source| ConfigError::NotToml { path: path.to_owned(), source: Box::new(source) })?;
    Ok(Layer { source: Source::File(path.to_owned()), values })
}

fn environment_layer(
    environment: impl Iterator<Item = (OsString, OsString)>,
    known: &Dict,
) -> Result<Layer, ConfigError> {
    let mut values = Dict::new();
    for (name, value) in environment {
        let Some(name) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        if OTHER_VARIABLES.contains(&name) || is_service_link(name) {
            continue;
        }
        let key = name.replace(NESTING, ".").to_lowercase();
        let value = value.into_string().map_err(|_| ConfigError::NotUtf8(format!("{PREFIX}{name}")))?;
        let value = match find(known, &key) {
            Some(default) => typed_like(default, &value),
            // Refused with all other unknown keys, under its name.
            None => Value::from(value),
        };
        insert(&mut values, &key, value);
    }
    Ok(Layer { source: Source::Env, values })
}

/// Container platforms describe a service called `supercargo` in variables such as `SUPERCARGO_SERVICE_HOST`,
/// `SUPERCARGO_PORT` and `SUPERCARGO_PORT_5000_TCP`. They are addressed to nobody in particular.
fn is_service_link(name: &str) -> bool {
    name == "PORT" || name.starts_with("PORT_") || name.starts_with("SERVICE_")
}

/// Variables are texts: numbers, booleans and lists are read as what the key holds. What can't be read is left
/// a text, which the key then refuses in its own words.
fn typed_like(default: &Value, text: &str) -> Value {
    match default {
        Value::Bool(..) => text.parse::<bool>().map_or_else(|_| Value::from(text), Value::from),
        Value::Num(..) => text.parse::<u64>().map_or_else(|_| Value::from(text), Value::from),
        Value::Array(..) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::from(items.map(Value::from).collect::<Vec<Value>>())
        }
        _ => Value::from(text),
    }
}

fn overrides_layer(overrides: &Overrides) -> Layer {
    let mut values = Dict::new();
    if let Some(data) = &overrides.data {
        insert(&mut values, "data", Value::from(data.to_string_lossy().into_owned()));
    }
    if !overrides.listen.is_empty() {
        let listen = overrides.listen.iter().map(|listen| Value::from(listen.as_str())).collect::<Vec<_>>();
        insert(&mut values, "listen", Value::from(listen));
    }
    if overrides.accounts {
        insert(&mut values, "accounts", Value::from(true));
    }
    if overrides.allow_anonymous {
        insert(&mut values, "allow_anonymous", Value::from(true));
    }
    if overrides.self_signed {
        insert(&mut values, "tls.self_signed", Value::from(true));
    }
    if !overrides.san.is_empty() {
        let san = overrides.san.iter().map(|name| Value::from(name.as_str())).collect::<Vec<_>>();
        insert(&mut values, "tls.san", Value::from(san));
    }
    if let Some(format) = overrides.log_format {
        let name = match format {
            LogFormat::Auto => "auto",
            LogFormat::Pretty => "pretty",
            LogFormat::Json => "json",
        };
        insert(&mut values, "log.format", Value::from(name));
    }
    if let Some(level) = &overrides.log_level {
        insert(&mut values, "log.level", Value::from(level.as_str()));
    }
    Layer { source: Source::Flag, values }
}

fn refuse_unknown(layer: &Layer, known: &Dict) -> Result<(), ConfigError> {
    for (key, _) in flatten(&layer.values) {
        // A whole section where a value is expected, or the other way round, is the extraction's to refuse.
        let mut here = known;
        let mut path = String::new();
        for part in key.split('.') {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(part);
            match here.get(part) {
                Some(Value::Dict(_, section)) => here = section,
                Some(_) => break,
                None => {
                    let names = here.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                    let origin = layer.source.describe(&path);
                    return Err(ConfigError::UnknownKey {
                        key: path,
                        origin,
                        hint: format!("; there are: {names}"),
                    });
                }
            }
        }
    }
    Ok(())
}

/// An error of the extraction in our words.
fn invalid(layers: &[Layer], error: &figment::Error) -> ConfigError {
    // Errors come as a chain, of which one is enough to act on. What is in a list is told by the list, and then by its
    // place in there.
    let mut path = error.path.iter();
    let mut index = None;
    let key = path.by_ref().map_while(|part| {
        index = part.parse::<usize>().ok();
        index.is_none().then_some(part.as_str())
    });
    let key = key.collect::<Vec<_>>().join(".");
    let inside = path.map(|part| format!(", {part}")).collect::<String>();
    let why = match index {
        Some(index) => format!("number {}{inside}: {}", index + 1, error.kind),
        None => error.kind.to_string(),
    };
    let origin = source_of(layers, &key).describe(&key);
    ConfigError::Invalid { key, origin, why }
}

/// The last layer that says anything about a key.
fn source_of<'a>(layers: &'a [Layer], key: &str) -> &'a Source {
    layers
        .iter()
        .rev()
        .find(|layer| find(&layer.values, key).is_some())
        .map_or(&Source::Default, |layer| &layer.source)
}

/// The leaves of a tree, with their keys joined by dots.
fn flatten(values: &Dict) -> Vec<(String, Value)> {
    let mut leaves = Vec::new();
    for (name, value) in values {
        match value {
            Value::Dict(_, section) if !section.is_empty() => {
                leaves
                    .extend(flatten(section).into_iter().map(|(key, leaf)| (format!("{name}.{key}"), leaf)));
            }
            leaf => leaves.push((name.clone(), leaf.clone())),
        }
    }
    leaves
}

fn find<'a>(values: &'a Dict, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((section, rest)) => find(values.get(section)?.as_dict()?, rest),
        None => values.get(key),
    }
}

fn insert(values: &mut Dict, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            values.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let place = values.entry(section.to_owned()).or_insert_with(|| Value::from(Dict::new()));
            match place {
                Value::Dict(_, section) => insert(section, rest, value),
                // `SUPERCARGO_GC=…` beside `SUPERCARGO_GC__LEASE=…`: the nested one stands, and the other
                // could never have been right.
                other => {
                    let mut section = Dict::new();
                    insert(&mut section, rest, value);
                    *other = Value::from(section);
                }
            }
        }
    }
}

fn dict_of(config: &Config) -> Dict {
    let value = Value::serialize(config).ok().and_then(Value::into_dict);
    // A struct of texts, numbers, booleans and lists always is a dictionary.
    value.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTATION: &str = include_str!("../../../../docs/configuration.md");
    const EXAMPLE: &str = include_str!("../../../../packaging/supercargo.example.toml");

    fn load_from(
        toml: &str,
        environment: &[(&str, &str)],
        overrides: &Overrides,
    ) -> Result<Loaded, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("supercargo.toml");
        std::fs::write(&path, toml).unwrap();
        let environment =
            environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        load_with(Some(&path), environment, overrides)
    }

    fn shown(loaded: &Loaded, key: &str) -> (String, String) {
        let entry = loaded.entries().into_iter().find(|entry| entry.key == key).unwrap();
        (entry.value.to_string(), entry.source)
    }

    #[test]
    fn nothing_said_gives_the_defaults() {
        let loaded = load_with(None, std::iter::empty(), &Overrides::default()).unwrap();
        assert_eq!(loaded.config, Config::default());
        assert!(loaded.entries().iter().all(|entry| entry.source == "default"));
    }

    #[test]
    fn later_layers_win_and_are_named() {
        let toml =
            "data = \"/file\"\n[gc]\nlease = \"2h\"\nuntagged_after = \"3d\"\n[log]\nlevel = \"warn\"\n";
        let environment = [("SUPERCARGO_GC__LEASE", "0s"), ("SUPERCARGO_LOG__LEVEL", "error"), ("HOME", "/")];
        let overrides = Overrides { log_level: Some("debug".to_owned()), ..Overrides::default() };
        let loaded = load_from(toml, &environment, &overrides).unwrap();
        assert_eq!(shown(&loaded, "gc.lease"), ("\"0s\"".into(), "env SUPERCARGO_GC__LEASE".into()));
        assert_eq!(shown(&loaded, "log.level"), ("\"debug\"".into(), "flag --log-level".into()));
        assert_eq!(shown(&loaded, "gc.keep_deleted"), ("\"0s\"".into(), "default".into()));
        let (value, source) = shown(&loaded, "gc.untagged_after");
        assert_eq!(value, "\"3d\"");
        assert!(source.starts_with("file:") && source.ends_with("supercargo.toml"), "{source}");
        assert_eq!(loaded.config.data, PathBuf::from("/file"));
        assert!(loaded.config.gc.lease.is_zero());
    }

    #[test]
    fn variables_are_read_as_what_the_key_holds() {
        let environment = [
            ("SUPERCARGO_LISTEN", "127.0.0.1:0, [::1]:0=team-a"),
            ("SUPERCARGO_ALLOW_ANONYMOUS", "true"),
            ("SUPERCARGO_HTTP__CONNECTIONS_MAX", "12"),
            ("SUPERCARGO_DATA", "123"),
            ("SUPERCARGO_TRUSTED_PROXIES", ""),
        ];
        let config = load_from("trusted_proxies = [\"10.0.0.1\"]", &environment, &Overrides::default())
            .unwrap()
            .config;
        assert_eq!(config.listen.len(), 2);
        assert_eq!(config.listen[1].repository, Some("team-a".parse().unwrap()));
        assert!(config.allow_anonymous);
        assert_eq!(config.http.connections_max, 12);
        assert_eq!(config.data, PathBuf::from("123"));
        assert!(config.trusted_proxies.is_empty());
    }

    #[test]
    fn unknown_keys_are_named_with_their_place() {
        for (toml, environment, key, place) in [
            ("leese = 1", None, "leese", "file:"),
            ("[gc]\nleese = \"1h\"", None, "gc.leese", "file:"),
            ("[gcc]\nlease = \"1h\"", None, "gcc", "file:"),
            ("[gcc]", None, "gcc", "file:"),
            ("", Some(("SUPERCARGO_GC__LEESE", "1h")), "gc.leese", "env SUPERCARGO_GC__LEESE"),
            ("", Some(("SUPERCARGO_GC_LEASE", "1h")), "gc_lease", "env SUPERCARGO_GC_LEASE"),
        ] {
            let environment: Vec<_> = environment.into_iter().collect();
            let error = load_from(toml, &environment, &Overrides::default()).unwrap_err();
            let ConfigError::UnknownKey { key: named, origin, hint } = error else { panic!("{error}") };
            assert_eq!(named, key);
            assert!(origin.starts_with(place), "{origin}");
            assert!(hint.contains(if key.starts_with("gc.") { "lease" } else { "gc" }), "{hint}");
        }
    }

    #[test]
    fn variables_that_mean_something_else_are_left_alone() {
        let environment = [
            ("SUPERCARGO_CONFIG", "x"),
            ("SUPERCARGO_CRASH_AT", "x"),
            ("SUPERCARGO_SERVICE_HOST", "10.0.0.1"),
            ("SUPERCARGO_PORT", "tcp://10.0.0.1:80"),
            ("SUPERCARGO_PORT_80_TCP_ADDR", "10.0.0.1"),
        ];
        assert_eq!(load_from("", &environment, &Overrides::default()).unwrap().config, Config::default());
    }

    #[test]
    fn wrong_values_are_refused_with_key_place_and_rule() {
        for (toml, key, rule) in [
            ("gc.lease = \"5\"", "gc.lease", "90s"),
            ("gc.lease = 5", "gc.lease", "duration in quotes"),
            ("gc = 5", "gc", "invalid type"),
            ("[gc.lease]\nx = 1", "gc.lease", "duration"),
            ("gc.schedule = \"sometimes\"", "gc.schedule", "every 5m"),
            ("storage.cache = \"64MB\"", "storage.cache", "64MiB"),
            ("allow_anonymous = \"yes\"", "allow_anonymous", "bool"),
            ("http.connections_max = -1", "http.connections_max", "-1"),
            ("http.connections_max = 0", "http.connections_max", "0"),
            ("http.header_timeout = \"0s\"", "http.header_timeout", "no time"),
            ("listen = []", "listen", "at least one"),
            ("listen = [\"localhost:5000\"]", "listen", "ADDRESS:PORT"),
            ("listen = [\"127.0.0.1:5000\", \"127.0.0.1:5000=b\"]", "listen", "twice"),
            ("default_repository = \"a_b\"", "default_repository", "repository key"),
            ("bindings = [\"a.example\"]", "bindings", "HOST:PORT=REPOSITORY"),
            ("bindings = [\"a.example:1=b\", \"A.example:1=c\"]", "bindings", "same host"),
            ("[[bindings]]\nhost = \"a b\"\nrepository = \"b\"", "bindings", "HOST:PORT"),
            ("server_names = [\"a.example:1\"]", "server_names", "without a port"),
            ("server_names = [\"a.example\", \"A.example\"]", "server_names", "twice"),
            ("base_url = \"a.example\"", "base_url", "https://HOST"),
            ("artifactory.context = \"/\"", "artifactory.context", "/artifactory"),
            ("artifactory.context = \"a b\"", "artifactory.context", "slash"),
            ("artifactory.context = \"/v2/x\"", "artifactory.context", "taken"),
            ("log.format = \"xml\"", "log.format", "json"),
            ("log.level = \"supercargo=loud\"", "log.level", "no level"),
            ("tls.certificate = \"c\"", "tls.certificate", "tls.key"),
            ("tls.key = \"k\"", "tls.key", "tls.certificate"),
            (
                "tls = { certificate = \"c\", key = \"k\", self_signed = true }",
                "tls.self_signed",
                "one place",
            ),
            ("tls = { self_signed = true, san = [\"a b\"] }", "tls.san", "neither"),
            ("tls.san = [\"a\"]", "tls.san", "self_signed"),
            ("tls = { self_signed = true, client_auth = \"required\" }", "tls.client_auth", "tls.client_ca"),
            ("tls = { self_signed = true, client_auth = \"maybe\" }", "tls.client_auth", "optional"),
            ("tls.acme.contact = [\"a@b\"]", "tls.acme", "host names"),
            (
                "tls.acme = { domains = [\"a.example\"], directory = \"http://a\" }",
                "tls.acme.directory",
                "https://",
            ),
            (
                "tls.acme = { domains = [\"*.a\"], directory = \"https://a\" }",
                "tls.acme.domains",
                "wildcards",
            ),
            (
                "tls.acme = { domains = [\"10.0.0.1\"], directory = \"https://a\" }",
                "tls.acme.domains",
                "addresses",
            ),
            ("tls = { self_signed = true, acme.domains = [\"a\"] }", "tls.acme.domains", "one place"),
            ("listen = [\"https://127.0.0.1:1\"]", "listen", "needs a certificate"),
            (
                "listen = [{ address = \"127.0.0.1:1\", tls = { key = \"k\" } }]",
                "listen",
                "lacks its tls.certificate",
            ),
            ("listen = [\"http://127.0.0.1:1\"]\ntls.self_signed = true", "listen", "no listener is https"),
            ("listen = [{ address = \"127.0.0.1:1\", redirect_to = \":2\" }]", "listen", "does not redirect"),
            ("trusted_proxies = [\"10.0.0.0/40\"]", "trusted_proxies", "block"),
        ] {
            match load_from(toml, &[], &Overrides::default()).unwrap_err() {
                ConfigError::Invalid { key: named, origin, why } => {
                    assert_eq!(named, key, "{toml}: {why}");
                    assert!(origin.starts_with("file:"), "{toml}: {origin}");
                    assert!(why.contains(rule), "{toml}: {why}");
                }
                other => panic!("{toml}: {other}"),
            }
        }
    }

    #[test]
    fn what_is_wrong_with_an_identity_provider_is_told() {
        let provider = |more: &str, rules: &str| {
            format!(
                "accounts = true\n[[identity_providers]]\nissuer = \"https://a.example\"\naudiences = [\"x\"]\n{more}\n\
                 [identity_providers.rules]\n{rules}\n"
            )
        };
        let good = "require = []\nuser = { claim = \"sub\", prefix = \"ci-\" }";
        for (toml, rule) in [
            (provider("isuer = 1", good), "unknown field: found `isuer`, expected `"),
            (provider("algorithms = [\"HS256\"]", good), "number 1, algorithms, 0: "),
            (provider("algorithms = []", good), "one algorithm at least"),
            (provider("", "user = { claim = \"sub\" }"), "number 1, rules: missing field `require`"),
            (provider("", "require = []\nuser = { fixed = \"a b\" }"), "number 1, rules, user, fixed: "),
            (provider("", "require = []\nuser = { claim = \"a\", fixed = \"b\" }"), "by fixed, or by claim"),
            (provider("", "require = []\nuser = { claim = \"a\", prefx = \"b\" }"), "`prefx`"),
            (
                provider(
                    "",
                    &format!("{good}\ngroups = [{{ claim = \"a\", matches = \"***\", group = \"b\" }}]"),
                ),
                "three stars",
            ),
            (provider("", good).replace("https", "http"), "use an https:// URL"),
            (provider("", good).replace("[\"x\"]", "[]"), "one audience at least"),
            (format!("{}{}", provider("", good), provider("", good).replace("accounts = true", "")), "twice"),
            (provider("", good).replace("true", "false"), "--accounts"),
            (
                "accounts = true\nidentity_providers = [\"https://a.example\"]".to_owned(),
                "issuer, audiences and rules",
            ),
        ] {
            match load_from(&toml, &[], &Overrides::default()).unwrap_err() {
                ConfigError::Invalid { key, origin, why } => {
                    assert_eq!(key, "identity_providers", "{toml}: {why}");
                    assert!(origin.starts_with("file:"), "{toml}: {origin}");
                    assert!(why.contains(rule), "{toml}: {why}");
                }
                other => panic!("{toml}: {other}"),
            }
        }
        let accounts = Overrides { accounts: true, ..Overrides::default() };
        load_from(&provider("", good).replace("true", "false"), &[], &accounts).unwrap();
    }

    /// The documentation's own example can be used, and its table names every key.
    #[test]
    fn the_documentation_tells_of_every_key_of_an_identity_provider() {
        const DOCUMENTATION: &str = include_str!("../../../../docs/identity-providers.md");
        let example = DOCUMENTATION.split("```").find_map(|block| block.strip_prefix("toml\n")).unwrap();
        let config = load_from(example, &[], &Overrides::default()).unwrap().config;
        let provider = serde_json::to_value(&config.identity_providers[0]).unwrap();
        let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let rules = keys(&provider["rules"]).into_iter().map(|key| format!("rules.{key}"));
        for key in keys(&provider).into_iter().filter(|key| key != "rules").chain(rules) {
            assert!(DOCUMENTATION.contains(&format!("| `{key}` |")), "{key}");
        }
    }

    #[test]
    fn a_file_that_is_no_toml_or_not_there_is_told_apart() {
        let error = load_from("data = ", &[], &Overrides::default()).unwrap_err();
        assert!(matches!(error, ConfigError::NotToml { .. }), "{error}");
        let error = load_with(Some(Path::new("/nowhere/x.toml")), std::iter::empty(), &Overrides::default());
        assert!(matches!(error, Err(ConfigError::Unreadable { .. })));
    }

    #[test]
    fn open_listeners_need_a_word_of_consent() {
        let error =
            load_from("listen = [\"0.0.0.0:5000\"]", &[], &Overrides::default()).unwrap_err().to_string();
        assert!(error.contains("0.0.0.0:5000") && error.contains("--allow-anonymous"), "{error}");
        let overrides = Overrides { allow_anonymous: true, ..Overrides::default() };
        assert!(load_from("listen = [\"0.0.0.0:5000\"]", &[], &overrides).is_ok());
        assert!(
            load_from("listen = [\"[::1]:5000\", \"127.0.0.9:5000\"]", &[], &Overrides::default()).is_ok()
        );
    }

    #[test]
    fn a_listener_is_https_where_it_says_so_or_there_is_a_certificate() {
        let spoken = |listen: &str, tls: &str| {
            let config = load_from(&format!("listen = [{listen}]\n{tls}"), &[], &Overrides::default());
            let config = config.unwrap_or_else(|error| panic!("{listen} {tls}: {error}")).config;
            matches!(config.spoken(&config.listen[0]).unwrap(), super::super::Spoken::Https(_))
        };
        let made = "tls.self_signed = true";
        let own = "{ address = \"127.0.0.1:1\", tls = { certificate = \"c\", key = \"k\" } }";
        assert!(!spoken("\"127.0.0.1:1\"", ""));
        assert!(spoken("\"127.0.0.1:1\"", made));
        assert!(!spoken("\"http://127.0.0.1:1\", \"127.0.0.1:2\"", made));
        assert!(spoken("\"https://127.0.0.1:1\"", made));
        assert!(spoken(own, ""));
        assert!(spoken(own, made));
    }

    #[test]
    fn a_redirect_may_be_reached_from_everywhere() {
        let toml = "listen = [\"127.0.0.1:1\", { address = \"0.0.0.0:80\", redirect_to = \":1\" }]\n\
                    tls.self_signed = true";
        assert!(load_from(toml, &[], &Overrides::default()).is_ok());
    }

    #[test]
    fn what_is_shown_can_be_read_back() {
        let toml = "listen = [\"127.0.0.1:7000=team-a\", { address = \"127.0.0.1:7001\", redirect_to = \":7000\" }, \
                    { address = \"127.0.0.1:7002\", tls = { client_ca = \"/ca\", client_auth = \"optional\" } }]\n\
                    bindings = [\"a.example:1=b\"]\nserver_names = [\"a.example\"]\nbase_url = \"https://a.example:1/x\"\n\
                    scrub.schedule = \"never\"\ngc.lease = \"90m\"\ntls.self_signed = true\naccounts = true\n\
                    [[identity_providers]]\nissuer = \"https://a.example\"\naudiences = [\"x\"]\n\
                    rules = { require = [], user = { fixed = \"ci\" } }\n\
                    [[identity_providers]]\nissuer = \"https://b.example\"\naudiences = [\"x\"]\nca_file = \"/ca\"\n\
                    rules = { require = [{ claim = \"a\", matches = \"b*\" }], user = { claim = \"sub\" } }";
        let loaded = load_from(toml, &[], &Overrides::default()).unwrap();
        let shown = loaded.entries().iter().map(|entry| format!("{entry}\n")).collect::<String>();
        assert_eq!(load_from(&shown, &[], &Overrides::default()).unwrap().config, loaded.config);
    }

    #[test]
    fn the_example_file_names_every_key_with_its_default() {
        let example: Dict = toml::from_str(EXAMPLE).unwrap();
        let keys = |values: &Dict| flatten(values).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(keys(&example), keys(&dict_of(&Config::default())));
        assert_eq!(load_from(EXAMPLE, &[], &Overrides::default()).unwrap().config, Config::default());
    }

    #[test]
    fn the_documentation_names_every_key_with_its_default() {
        for entry in load_with(None, std::iter::empty(), &Overrides::default()).unwrap().entries() {
            let row = format!("| `{}` | `{}` |", entry.key, entry.value);
            assert!(DOCUMENTATION.contains(&row), "docs/configuration.md has no row that begins with {row}");
        }
        let rows = DOCUMENTATION.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(rows, flatten(&dict_of(&Config::default())).len(), "a row for a key that is none");
    }
}
