//! How a search comes by its items: from which index, or by walking.
//!
//! What lives here is the choice, which is pure: what an index costs is asked of `drivers`. An index is never believed: it
//! has to lead to every item that fulfils one test, and may lead to others.

use supercargo_model::account::hex;
use supercargo_model::tree::{
    self, IMAGE_ANCESTRY, IMAGE_CHECKSUM, IMAGE_JSON, IMAGE_LAYER, INDEX, MANIFEST, V1_INDEX, V1_TAG,
};
use supercargo_model::{Digest, ImageId, Tag, Timestamp};

use super::condition::{Comparison, Condition, KindTest, ROOT_PATH, Test, TextField, TextTest};
use crate::Result;
use crate::tree::{LABEL, is_built_in};

/// What files are called that are not called after their content.
const DOCUMENTS: [&str; 8] =
    [MANIFEST, INDEX, V1_TAG, V1_INDEX, IMAGE_CHECKSUM, IMAGE_ANCESTRY, IMAGE_JSON, IMAGE_LAYER];

/// A way to some items.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Driver {
    /// There are none.
    Nothing,
    /// What is in a folder.
    Children(String),
    /// Folders whose paths begin so, and what is in them.
    Below(String),
    /// Names, by what `docker.repoName` is to be, and their tags.
    Named(TextTest),
    /// A tag of a name, by what `docker.repoName` is to be.
    TagOf(String, Tag),
    /// Names that have a tag.
    Tagged(Tag),
    /// Files of a content.
    Content(Digest),
    /// Files of an MD5.
    Md5([u8; 16]),
    /// Files of a SHA-1.
    Sha1([u8; 20]),
    /// Files of a V1 image.
    Image(ImageId),
    /// Tags that point at a V1 image.
    TagsOfImage(ImageId),
    /// Manifests of images with a label.
    Label(String, TextTest),
    /// Items with a property that people set.
    Own(String, TextTest),
    /// Items that something happened to since then.
    Since(Timestamp),
    /// Every item.
    Everything,
}

/// A driver, and the condition that none who fulfils it is missed by it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Branch {
    pub(crate) driver: Driver,
    pub(crate) covers: Condition,
}

/// Tells how many items a driver leads to, counting up to a number of them; `None` where walking is better.
pub(crate) type Estimate<'e> = dyn FnMut(&Driver, u64) -> Result<Option<u64>> + 'e;

/// Past this an estimate is not worth its while.
pub(crate) const COUNTED_MAX: u64 = 256;

/// The branches that lead to the fewest items. Every item that fulfils the condition is led to by the first of them whose
/// condition it fulfils.
pub(crate) fn choose(condition: &Condition, estimate: &mut Estimate<'_>) -> Result<Vec<Branch>> {
    let planner = Planner { files_only: is_about_files(condition) };
    let everything = Branch { driver: Driver::Everything, covers: Condition::everything() };
    Ok(planner
        .best(condition, COUNTED_MAX, estimate)?
        .map_or_else(|| vec![everything], |(_, branches)| branches))
}

struct Planner {
    files_only: bool,
}

impl Planner {
    fn best(
        &self,
        condition: &Condition,
        most: u64,
        estimate: &mut Estimate<'_>,
    ) -> Result<Option<(u64, Vec<Branch>)>> {
        match condition {
            Condition::All(conditions) => {
                let mut best: Option<(u64, Vec<Branch>)> = None;
                if let Some(branch) = tag_of(conditions) {
                    best = estimate(&branch.driver, most)?.map(|count| (count, vec![branch]));
                }
                for condition in conditions {
                    let most = best.as_ref().map_or(most, |(count, _)| *count);
                    let found = self.best(condition, most, estimate)?;
                    if let Some((count, branches)) = found
                        && best.as_ref().is_none_or(|(least, _)| count < *least)
                    {
                        best = Some((count, branches));
                    }
                }
                Ok(best)
            }
            Condition::Any(conditions) => {
                let mut sum = 0;
                let mut all = Vec::new();
                for condition in conditions {
                    let Some((count, branches)) = self.best(condition, most, estimate)? else {
                        return Ok(None);
                    };
                    sum += count;
                    all.extend(branches);
                }
                Ok(Some((sum, all)))
            }
            Condition::Is(test) => match self.driver(test) {
                Some(driver) => {
                    let count = estimate(&driver, most)?;
                    Ok(count.map(|count| (count, vec![Branch { driver, covers: condition.clone() }])))
                }
                None => Ok(None),
            },
        }
    }

    /// The index that leads to what fulfils a test, if one does.
    fn driver(&self, test: &Test) -> Option<Driver> {
        match test {
            Test::Text(TextField::Path, test) => match (test.only(), test.start()) {
                (Some(ROOT_PATH), _) => Some(Driver::Children(String::new())),
                (Some(path), _) => Some(Driver::Children(path.to_owned())),
                (None, Some(start)) => Some(Driver::Below(start.to_owned())),
                _ => None,
            },
            Test::Text(TextField::Name, test) if self.files_only => file_named(test.only()?),
            Test::Text(TextField::Sha256, test) => {
                or_nothing(hex::parse(test.only()?).map(Digest::sha256).map(Driver::Content))
            }
            Test::Text(TextField::Md5, test) => or_nothing(hex::parse(test.only()?).map(Driver::Md5)),
            Test::Text(TextField::Sha1, test) => or_nothing(hex::parse(test.only()?).map(Driver::Sha1)),
            Test::Property(key, test) if !test.is_negative() => property(key, test),
            Test::Time(_, Comparison::Equal | Comparison::Greater | Comparison::GreaterOrEqual, time) => {
                Some(Driver::Since(*time))
            }
            _ => None,
        }
    }
}

/// Where a name and a tag are asked for, each of which may be one of very many: what stands for both.
fn tag_of(conditions: &[Condition]) -> Option<Branch> {
    let asked_for = |wanted: &[&str]| {
        conditions.iter().find_map(|condition| match condition {
            Condition::Is(Test::Property(key, test)) if wanted.contains(&key.as_str()) => {
                test.only().map(|only| (condition, only))
            }
            _ => None,
        })
    };
    let (name, tag) = (asked_for(&["docker.repoName"])?, asked_for(&["docker.manifest", "docker.tag.name"])?);
    let driver = Driver::TagOf(name.1.to_owned(), Tag::parse(tag.1).ok()?);
    Some(Branch { driver, covers: Condition::All(vec![name.0.clone(), tag.0.clone()]) })
}

/// What can't be fulfilled leads to nothing.
fn or_nothing(driver: Option<Driver>) -> Option<Driver> {
    Some(driver.unwrap_or(Driver::Nothing))
}

fn property(key: &str, test: &TextTest) -> Option<Driver> {
    let only = || test.only();
    match key {
        "*" => None,
        "docker.repoName" => test.start().map(|_| Driver::Named(test.clone())),
        // Of a manifest without tags, it is the digest.
        "docker.manifest" => match Digest::parse(only()?) {
            Ok(digest) => Some(Driver::Content(digest)),
            Err(_) => or_nothing(Tag::parse(only()?).ok().map(Driver::Tagged)),
        },
        "docker.tag.name" => or_nothing(Tag::parse(only()?).ok().map(Driver::Tagged)),
        "docker.manifest.digest" => or_nothing(Digest::parse(only()?).ok().map(Driver::Content)),
        "sha256" => or_nothing(Digest::parse(&format!("sha256:{}", only()?)).ok().map(Driver::Content)),
        "docker.imageId" => or_nothing(ImageId::parse(only()?).ok().map(Driver::Image)),
        "docker.tag.content" => or_nothing(ImageId::parse(only()?).ok().map(Driver::TagsOfImage)),
        _ => match key.strip_prefix(LABEL) {
            Some(label) => Some(Driver::Label(label.to_owned(), test.clone())),
            None if is_built_in(key) => None,
            None => Some(Driver::Own(key.to_owned(), test.clone())),
        },
    }
}

/// Files have few names: those of documents, which are everywhere, and those of contents.
fn file_named(name: &str) -> Option<Driver> {
    if DOCUMENTS.contains(&name) {
        return None;
    }
    or_nothing(tree::blob_of_file(name).map(Driver::Content))
}

/// Whether folders can't fulfil it, as far as that is seen at once.
pub(crate) fn is_about_files(condition: &Condition) -> bool {
    match condition {
        Condition::All(conditions) => conditions.iter().any(is_about_files),
        Condition::Any(conditions) => !conditions.is_empty() && conditions.iter().all(is_about_files),
        Condition::Is(test) => *test == Test::Kind(KindTest::File),
    }
}

#[cfg(test)]
mod tests {
    use super::super::condition::{NumberField, TimeField, Wildcard};
    use super::*;

    fn is(field: TextField, text: &str) -> Condition {
        Condition::Is(Test::Text(field, TextTest::equals(text)))
    }

    fn has(key: &str, value: &str) -> Condition {
        Condition::Is(Test::Property(key.to_owned(), TextTest::equals(value)))
    }

    fn like(key: &str, pattern: &str) -> Condition {
        Condition::Is(Test::Property(key.to_owned(), TextTest::Matches(Wildcard::new(pattern).unwrap())))
    }

    const FILES: Condition = Condition::Is(Test::Kind(KindTest::File));

    /// What is chosen, where everything leads to as many.
    fn chosen(condition: &Condition) -> Vec<Driver> {
        let branches = choose(condition, &mut |driver, _| Ok(Some(u64::from(*driver != Driver::Nothing))));
        branches.unwrap().into_iter().map(|branch| branch.driver).collect()
    }

    #[test]
    fn every_index_is_known_by_what_is_searched_for() {
        let hex = "ab".repeat(32);
        let (digest, image) = (Digest::sha256([0xab; 32]), ImageId::parse(&hex).unwrap());
        let matches = |pattern: &str| TextTest::Matches(Wildcard::new(pattern).unwrap());
        for (condition, driver) in [
            (Condition::everything(), Driver::Everything),
            (is(TextField::Repository, "a"), Driver::Everything),
            (is(TextField::Path, "a/b"), Driver::Children("a/b".to_owned())),
            (is(TextField::Path, "."), Driver::Children(String::new())),
            (Condition::Is(Test::Text(TextField::Path, matches("a/b*"))), Driver::Below("a/b".to_owned())),
            (Condition::Is(Test::Text(TextField::Path, matches("*b"))), Driver::Everything),
            (is(TextField::Sha256, &hex), Driver::Content(digest)),
            (is(TextField::Sha256, "ab"), Driver::Nothing),
            (is(TextField::Md5, &"ab".repeat(16)), Driver::Md5([0xab; 16])),
            (is(TextField::Sha1, &"ab".repeat(20)), Driver::Sha1([0xab; 20])),
            (has("docker.manifest", "1.0"), Driver::Tagged(Tag::parse("1.0").unwrap())),
            (has("docker.tag.name", "1/0"), Driver::Nothing),
            (has("docker.manifest.digest", &digest.to_string()), Driver::Content(digest)),
            (has("sha256", &hex), Driver::Content(digest)),
            (has("docker.imageId", &hex), Driver::Image(image)),
            (has("docker.tag.content", &hex), Driver::TagsOfImage(image)),
            (
                Condition::All(vec![FILES, has("docker.repoName", "a"), has("docker.manifest", "1.0")]),
                Driver::TagOf("a".to_owned(), Tag::parse("1.0").unwrap()),
            ),
            (has("docker.repoName", "a"), Driver::Named(TextTest::equals("a"))),
            (like("docker.repoName", "a*"), Driver::Named(matches("a*"))),
            (like("docker.repoName", "*a"), Driver::Everything),
            (has("docker.label.a.b", "c"), Driver::Label("a.b".to_owned(), TextTest::equals("c"))),
            (like("docker.label.a", "*"), Driver::Label("a".to_owned(), matches("*"))),
            (has("docker.manifest", &digest.to_string()), Driver::Content(digest)),
            (has("docker.size", "1"), Driver::Everything),
            (has("docker.other", "1"), Driver::Own("docker.other".to_owned(), TextTest::equals("1"))),
            (has("own", "1"), Driver::Own("own".to_owned(), TextTest::equals("1"))),
            (like("own", "*1"), Driver::Own("own".to_owned(), matches("*1"))),
            (like("*", "*"), Driver::Everything),
            (
                Condition::Is(Test::Property(
                    "own".to_owned(),
                    TextTest::Differs(Wildcard::new("*").unwrap()),
                )),
                Driver::Everything,
            ),
            (is(TextField::Name, &format!("sha256__{hex}")), Driver::Everything),
            (
                Condition::All(vec![FILES, is(TextField::Name, &format!("sha256__{hex}"))]),
                Driver::Content(digest),
            ),
            (Condition::All(vec![FILES, is(TextField::Name, MANIFEST)]), Driver::Everything),
            (Condition::All(vec![FILES, is(TextField::Name, "latest")]), Driver::Nothing),
            (Condition::Is(Test::Number(NumberField::Size, Comparison::Equal, 1)), Driver::Everything),
            (
                Condition::Is(Test::Time(TimeField::Created, Comparison::Less, Timestamp::from_micros(1))),
                Driver::Everything,
            ),
            (
                Condition::Is(Test::Time(TimeField::Created, Comparison::Greater, Timestamp::from_micros(1))),
                Driver::Since(Timestamp::from_micros(1)),
            ),
        ] {
            assert_eq!(chosen(&condition), [driver], "{condition:?}");
        }
    }

    #[test]
    fn the_index_that_leads_to_the_fewest_is_chosen() {
        let condition =
            Condition::All(vec![has("many", "1"), Condition::All(vec![has("few", "1")]), has("more", "1")]);
        let mut counted = Vec::new();
        let branches = choose(&condition, &mut |driver, most| {
            let Driver::Own(key, _) = driver else { panic!("{driver:?}") };
            counted.push((key.clone(), most));
            Ok(Some(if key == "few" { 3 } else { most }))
        });
        assert_eq!(branches.unwrap()[0].covers, has("few", "1"));
        // None is counted further than the best so far.
        let expected = [("many", COUNTED_MAX), ("few", COUNTED_MAX), ("more", 3)];
        assert_eq!(counted, expected.map(|(key, most)| (key.to_owned(), most)));
    }

    #[test]
    fn what_one_of_several_may_be_takes_an_index_for_each() {
        let one = Condition::Any(vec![
            has("a", "1"),
            Condition::Any(vec![has("b", "1"), has("docker.manifest", "c")]),
        ]);
        assert_eq!(chosen(&one).len(), 3);
        let none = Condition::Any(vec![has("a", "1"), has("docker.size", "1")]);
        assert_eq!(chosen(&none), [Driver::Everything]);
        assert_eq!(
            chosen(&Condition::All(vec![none, has("c", "1")])),
            [Driver::Own("c".to_owned(), TextTest::equals("1"))]
        );
        assert_eq!(chosen(&Condition::Any(vec![])), []);
    }
}
