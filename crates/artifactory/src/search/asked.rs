//! What the searches by property, by name and by checksum ask for, read from their queries.

use supercargo_model::RepoKey;
use supercargo_model::account::hex;
use supercargo_registry::search::{Condition, KindTest, Query, Test, TextField, TextTest, Wildcard};

use crate::aql::AQL_CONDITIONS_MAX;
use crate::error::Failure;
use crate::storage::notation;

/// The parameters of a query, decoded, in their order.
pub(super) type Pairs = Vec<(String, String)>;

/// `?<property>=<value>,<value>&…[&repos=]`: items that have all of the properties, each with one of its values. No value is
/// any value; stars and question marks stand for others. A comma with a backslash before it is a part of a value.
pub(super) fn by_properties(pairs: Pairs) -> Result<Query, Failure> {
    let (repositories, pairs) = split_repositories(pairs)?;
    if pairs.is_empty() {
        return Err(Failure::invalid(
            "name a property to search for, such as ?docker.repoName=library/ubuntu",
        ));
    }
    let mut tests = 0;
    let mut all = Vec::new();
    for (key, values) in pairs {
        if key.is_empty() {
            return Err(Failure::invalid("a property has no key"));
        }
        let mut one_of = Vec::new();
        for value in notation::values(&values) {
            tests += 1;
            let test = match value.as_str() {
                "" => TextTest::Matches(wildcard("*")?),
                value if Wildcard::is_in(value) => TextTest::Matches(wildcard(value)?),
                value => TextTest::equals(value),
            };
            one_of.push(Condition::Is(Test::Property(key.clone(), test)));
        }
        all.push(Condition::Any(one_of));
    }
    if tests > AQL_CONDITIONS_MAX {
        return Err(Failure::invalid(format!("there are more than {AQL_CONDITIONS_MAX} values")));
    }
    Ok(query(repositories, Condition::All(all)))
}

/// `?name=<name>[&repos=]`: files by their names, whether letters are small or capital. A name without stars and question
/// marks is what names begin with (the REST reference, "Artifact Search": "by part of file name").
pub(super) fn by_name(pairs: Pairs) -> Result<Query, Failure> {
    let (repositories, pairs) = split_repositories(pairs)?;
    let name = only(&pairs, &["name"])?.find_map(|(_, name)| Some(name).filter(|name| !name.is_empty()));
    let Some(name) = name else {
        return Err(Failure::invalid("name what files are called, such as ?name=*.json"));
    };
    let pattern = if Wildcard::is_in(name) { wildcard(name)? } else { wildcard(&format!("{name}*"))? };
    let test = Test::Text(TextField::Name, TextTest::Matches(pattern.ignoring_case()));
    Ok(query(repositories, Condition::All(vec![files(), Condition::Is(test)])))
}

/// `?md5=&sha1=&sha256=[&repos=]`: files by the checksums that are given.
pub(super) fn by_checksum(pairs: Pairs) -> Result<Query, Failure> {
    let (repositories, pairs) = split_repositories(pairs)?;
    let mut all = vec![files()];
    for (key, value) in only(&pairs, &["md5", "sha1", "sha256"])?.filter(|(_, value)| !value.is_empty()) {
        let value = value.to_ascii_lowercase();
        let (field, right) = match key.as_str() {
            "md5" => (TextField::Md5, hex::parse::<16>(&value).is_some()),
            "sha1" => (TextField::Sha1, hex::parse::<20>(&value).is_some()),
            _ => (TextField::Sha256, hex::parse::<32>(&value).is_some()),
        };
        if !right {
            return Err(Failure::invalid(format!("{key} is not as many hexadecimal digits as a {key} has")));
        }
        all.push(Condition::Is(Test::Text(field, TextTest::equals(value))));
    }
    if all.len() == 1 {
        return Err(Failure::invalid("give a checksum: md5, sha1 or sha256"));
    }
    Ok(query(repositories, Condition::All(all)))
}

fn query(repositories: Vec<RepoKey>, condition: Condition) -> Query {
    Query { repositories, condition, order: None, offset: 0, limit: None }
}

fn files() -> Condition {
    Condition::Is(Test::Kind(KindTest::File))
}

fn wildcard(text: &str) -> Result<Wildcard, Failure> {
    Wildcard::new(text).map_err(|error| Failure::invalid(error.to_string()))
}

/// What `repos` says, and all else.
fn split_repositories(pairs: Pairs) -> Result<(Vec<RepoKey>, Pairs), Failure> {
    let (repos, pairs): (Pairs, Pairs) = pairs.into_iter().partition(|(key, _)| key == "repos");
    let keys =
        repos.iter().flat_map(|(_, keys)| keys.split(',')).map(str::trim).filter(|key| !key.is_empty());
    let keys: Result<_, _> = keys.map(RepoKey::parse).collect();
    Ok((keys.map_err(|error| Failure::invalid(format!("repos: {error}")))?, pairs))
}

/// The parameters, where they are none but these.
fn only<'p>(
    pairs: &'p Pairs,
    known: &[&str],
) -> Result<impl Iterator<Item = &'p (String, String)> + use<'p>, Failure> {
    match pairs.iter().find(|(key, _)| !known.contains(&key.as_str())) {
        None => Ok(pairs.iter()),
        Some((key, _)) => {
            let key: String = key.chars().take(64).collect();
            Err(Failure::invalid(format!("{key:?} is no parameter; there are {}, repos", known.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Pairs {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn has(key: &str, test: TextTest) -> Condition {
        Condition::Is(Test::Property(key.to_owned(), test))
    }

    fn matches(pattern: &str) -> TextTest {
        TextTest::Matches(Wildcard::new(pattern).unwrap())
    }

    #[test]
    fn properties_are_all_meant_and_one_of_their_values() {
        let query =
            by_properties(pairs(&[("a", "1,2*"), ("b", ""), ("repos", "x,y"), ("c", "1\\,2")])).unwrap();
        assert_eq!(query.repositories, ["x", "y"].map(|key| RepoKey::parse(key).unwrap()));
        let expected = vec![
            Condition::Any(vec![has("a", TextTest::equals("1")), has("a", matches("2*"))]),
            Condition::Any(vec![has("b", matches("*"))]),
            Condition::Any(vec![has("c", TextTest::equals("1,2"))]),
        ];
        assert_eq!(query.condition, Condition::All(expected));
        for bad in [&[("repos", "x")][..], &[], &[("", "a")], &[("a", "b"), ("repos", "no/key")]] {
            assert!(by_properties(pairs(bad)).is_err(), "{bad:?}");
        }
        assert!(by_properties(pairs(&[("a", &",".repeat(2_000))])).is_err());
        assert!(by_properties(pairs(&[("a", &"*".repeat(2_000))])).is_err());
    }

    #[test]
    fn a_name_is_what_names_begin_with_unless_it_has_stars() {
        for (name, pattern) in [("json", "json*"), ("*.json", "*.json"), ("a?", "a?")] {
            let query = by_name(pairs(&[("name", name)])).unwrap();
            let pattern = TextTest::Matches(Wildcard::new(pattern).unwrap().ignoring_case());
            let name = Condition::Is(Test::Text(TextField::Name, pattern));
            assert_eq!(query.condition, Condition::All(vec![files(), name]));
        }
        for bad in [&[][..], &[("name", "")], &[("nam", "a")], &[("name", "a"), ("other", "b")]] {
            assert!(by_name(pairs(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn checksums_are_all_meant() {
        let (md5, sha1, sha256) = ("AB".repeat(16), "ab".repeat(20), "ab".repeat(32));
        let query = by_checksum(pairs(&[("md5", &md5), ("sha1", &sha1), ("sha256", &sha256)])).unwrap();
        let Condition::All(all) = query.condition else { panic!() };
        let md5 = Test::Text(TextField::Md5, TextTest::equals("ab".repeat(16)));
        assert_eq!((all.len(), &all[1]), (4, &Condition::Is(md5)));
        for bad in [&[][..], &[("md5", "")], &[("md5", "ab")], &[("sha256", &sha1)], &[("sha512", "ab")]] {
            assert!(by_checksum(pairs(bad)).is_err(), "{bad:?}");
        }
    }
}
