//! Whom the claims of an identity token stand for: rules that turn claims into a user's name, groups and rights.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use supercargo_model::account::{GroupName, UserName};
use supercargo_model::{limits, pattern_matches};

use crate::{Subject, Vouched};

/// Whom the tokens of a provider stand for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// What a token must claim to be let in at all; all of it. Must be given, and should not be empty with a provider
    /// that gives tokens to everybody, as those of public build services do: who asks for one there also chooses its
    /// audience.
    pub require: Vec<ClaimRule>,
    /// What its user is called.
    pub user: UserRule,
    /// Whether a user of the registry who has that name is meant, with their groups and rights. Otherwise a token
    /// whose user has the name of another is refused.
    #[serde(default)]
    pub linked: bool,
    /// Groups for what a token claims.
    #[serde(default)]
    pub groups: Vec<GroupRule>,
    /// Claims that list groups themselves.
    #[serde(default)]
    pub groups_from: Vec<PrefixedClaim>,
    /// What makes an administrator; any of it.
    #[serde(default)]
    pub administrators: Vec<ClaimRule>,
}

/// Something that a token may claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimRule {
    /// The claim's name; parts of a nested one are joined by dots, as in `realm_access.roles`.
    pub claim: String,
    /// What its value, or one of its values, must match.
    pub matches: ClaimPattern,
}

/// What a token's user is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", try_from = "UserTable")]
pub enum UserRule {
    /// The same for all tokens.
    Fixed(UserName),
    /// As a claim says: the prefix, and the claim's value, in which what a name can't hold is written as `+` and two
    /// hexadecimal digits for each byte, so that different values are different names. With `email` as the claim,
    /// one that the provider says is not verified is refused.
    #[serde(untagged)]
    Claim(PrefixedClaim),
}

/// A [`UserRule`] as it is written. By itself each kind would be tried, and nothing said of what was wrong.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with fixed, or with claim and prefix")]
struct UserTable {
    fixed: Option<UserName>,
    claim: Option<String>,
    prefix: Option<String>,
}

impl TryFrom<UserTable> for UserRule {
    type Error = &'static str;

    fn try_from(table: UserTable) -> Result<UserRule, Self::Error> {
        match table {
            UserTable { fixed: Some(name), claim: None, prefix: None } => Ok(UserRule::Fixed(name)),
            UserTable { fixed: None, claim: Some(claim), prefix } => {
                Ok(UserRule::Claim(PrefixedClaim { claim, prefix: prefix.unwrap_or_default() }))
            }
            _ => Err("name the user by fixed, or by claim and perhaps a prefix"),
        }
    }
}

/// A claim whose values become names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixedClaim {
    /// The claim's name.
    pub claim: String,
    /// What comes before each value: keeps these names apart from others.
    #[serde(default)]
    pub prefix: String,
}

/// A group for what a token claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupRule {
    /// The claim's name.
    pub claim: String,
    /// What its value, or one of its values, must match.
    pub matches: ClaimPattern,
    /// The group.
    pub group: GroupName,
}

/// A pattern over a claim's values: as one over names, but of any characters. `*` stands for anything without a
/// slash, `**` for anything at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClaimPattern(String);

/// A text that is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pattern over claims has 1 to {} bytes and no three stars in a row", limits::PATTERN_BYTES_MAX)]
pub struct NotAPattern;

impl ClaimPattern {
    /// Whether it matches a whole value.
    pub fn matches(&self, value: &str) -> bool {
        pattern_matches(&self.0, value)
    }
}

impl FromStr for ClaimPattern {
    type Err = NotAPattern;

    fn from_str(text: &str) -> Result<ClaimPattern, NotAPattern> {
        ClaimPattern::try_from(text.to_owned())
    }
}

impl TryFrom<String> for ClaimPattern {
    type Error = NotAPattern;

    fn try_from(text: String) -> Result<ClaimPattern, NotAPattern> {
        let valid = (1..=limits::PATTERN_BYTES_MAX).contains(&text.len()) && !text.contains("***");
        if valid { Ok(ClaimPattern(text)) } else { Err(NotAPattern) }
    }
}

impl From<ClaimPattern> for String {
    fn from(pattern: ClaimPattern) -> String {
        pattern.0
    }
}

impl fmt::Display for ClaimPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why rules do not let a token in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesRefused {
    /// It does not claim something that it must.
    #[error("the identity token is not let in: its claim {claim:?} must match {matches:?}")]
    Required {
        /// The claim.
        claim: String,
        /// What it must match.
        matches: String,
    },
    /// It does not say who its user is.
    #[error("the identity token has no claim {0:?} to name its user by")]
    NoName(String),
    /// Its user's address may be anybody's.
    #[error("the identity token's email address is not verified")]
    EmailNotVerified,
    /// Its user can't have a name here.
    #[error("the identity token's claim {0:?} is too long for a user's name, or begins with what none can")]
    Name(String),
}

impl Rules {
    /// Whom claims stand for.
    ///
    /// # Errors
    /// The rules do not let them in.
    pub(crate) fn apply(&self, claims: &Value) -> Result<Subject, RulesRefused> {
        if let Some(rule) = self.require.iter().find(|rule| !rule.holds(claims)) {
            let (claim, matches) = (rule.claim.clone(), rule.matches.to_string());
            return Err(RulesRefused::Required { claim, matches });
        }
        let by_rule = self
            .groups
            .iter()
            .filter(|rule| values(claims, &rule.claim).iter().any(|value| rule.matches.matches(value)))
            .map(|rule| rule.group.clone());
        let by_claim = self.groups_from.iter().flat_map(|from| {
            let values = values(claims, &from.claim);
            // A group whose name is none here can't have been given anything.
            values.into_iter().filter_map(|value| GroupName::parse(&escaped(&from.prefix, &value)).ok())
        });
        let vouched = Vouched {
            groups: by_rule.chain(by_claim).collect(),
            administrator: self.administrators.iter().any(|rule| rule.holds(claims)),
            linked: self.linked,
        };
        Ok(Subject { user: Some(self.user.name(claims)?), vouched: Some(vouched) })
    }
}

impl ClaimRule {
    fn holds(&self, claims: &Value) -> bool {
        values(claims, &self.claim).iter().any(|value| self.matches.matches(value))
    }
}

impl UserRule {
    fn name(&self, claims: &Value) -> Result<UserName, RulesRefused> {
        let (claim, prefix) = match self {
            UserRule::Fixed(name) => return Ok(name.clone()),
            UserRule::Claim(PrefixedClaim { claim, prefix }) => (claim, prefix),
        };
        let [value] = &values(claims, claim)[..] else { return Err(RulesRefused::NoName(claim.clone())) };
        // Some providers write it as a text.
        let verified = &claims["email_verified"];
        if claim == "email" && (*verified == Value::Bool(false) || verified.as_str() == Some("false")) {
            return Err(RulesRefused::EmailNotVerified);
        }
        UserName::parse(&escaped(prefix, value)).map_err(|_| RulesRefused::Name(claim.clone()))
    }
}

/// The values of a claim: one, or each of a list. None of what has no text.
fn values(claims: &Value, name: &str) -> Vec<String> {
    fn text(value: &Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
    match claim(claims, name) {
        Some(Value::Array(all)) => all.iter().filter_map(text).collect(),
        Some(one) => text(one).into_iter().collect(),
        None => Vec::new(),
    }
}

/// A claim by its whole name, which may be a URL with dots in it; else by its way through nested ones.
fn claim<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| name.split('.').try_fold(claims, |value, part| value.get(part)))
}

/// A prefix, and a value in which `+` and whatever a name can't hold is escaped. Different values give different texts.
fn escaped(prefix: &str, value: &str) -> String {
    let mut name = String::with_capacity(prefix.len() + value.len());
    name.push_str(prefix);
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@') {
            name.push(char::from(byte));
        } else {
            // Writing to a text can't fail.
            let _ = write!(name, "+{byte:02x}");
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn rules(json: Value) -> Rules {
        serde_json::from_value(json).unwrap()
    }

    fn applied(rules: &Rules, claims: &Value) -> (String, Vec<String>, bool) {
        let subject = rules.apply(claims).unwrap();
        let vouched = subject.vouched.unwrap();
        let groups = vouched.groups.iter().map(GroupName::to_string).collect();
        (subject.user.unwrap().to_string(), groups, vouched.administrator)
    }

    #[test]
    fn a_build_job_becomes_a_member_of_its_teams_group() {
        let rules = rules(json!({
            "require": [{"claim": "repository_owner", "matches": "octo"}],
            "user": {"claim": "repository", "prefix": "ci-"},
            "groups": [
                {"claim": "repository", "matches": "octo/web*", "group": "web"},
                {"claim": "sub", "matches": "repo:octo/*:ref:refs/heads/main", "group": "main"},
            ],
            "administrators": [{"claim": "environment", "matches": "registry"}],
        }));
        let claims = json!({
            "sub": "repo:octo/website:ref:refs/heads/main",
            "repository": "octo/website",
            "repository_owner": "octo",
        });
        assert_eq!(
            applied(&rules, &claims),
            ("ci-octo+2fwebsite".to_owned(), vec!["web".to_owned(), "main".to_owned()], false)
        );
        let mut other = claims.clone();
        other["repository_owner"] = "octopus".into();
        assert_eq!(
            rules.apply(&other).unwrap_err(),
            RulesRefused::Required { claim: "repository_owner".to_owned(), matches: "octo".to_owned() }
        );
        let mut admin = claims;
        admin["environment"] = "registry".into();
        assert!(applied(&rules, &admin).2);
    }

    #[test]
    fn a_person_keeps_the_groups_of_the_company() {
        let rules = rules(json!({
            "require": [],
            "user": {"claim": "preferred_username", "prefix": "corp-"},
            "groups_from": [{"claim": "realm_access.roles", "prefix": "corp-"}, {"claim": "https://corp.example/teams"}],
        }));
        let claims = json!({
            "preferred_username": "ann",
            "realm_access": {"roles": ["dev", "ops/night", "x".repeat(100), 7]},
            "https://corp.example/teams": "web",
        });
        assert_eq!(
            applied(&rules, &claims),
            (
                "corp-ann".to_owned(),
                ["corp-dev", "corp-ops+2fnight", "corp-7", "web"].map(str::to_owned).to_vec(),
                false
            )
        );
    }

    #[test]
    fn a_name_comes_from_one_claim_that_can_be_a_name() {
        let by = |claim: &str| rules(json!({"require": [], "user": {"claim": claim}}));
        let email = |verified: Value| json!({"email": "ann@corp.example", "email_verified": verified});
        assert_eq!(applied(&by("email"), &email(true.into())).0, "ann@corp.example");
        for no in [json!(false), json!("false")] {
            assert_eq!(by("email").apply(&email(no)).unwrap_err(), RulesRefused::EmailNotVerified);
        }
        for none in [json!({}), json!({"sub": null}), json!({"sub": ["a", "b"]}), json!({"sub": {"a": "b"}})]
        {
            assert_eq!(by("sub").apply(&none).unwrap_err(), RulesRefused::NoName("sub".to_owned()));
        }
        for bad in ["", "/x", &"a".repeat(65)] {
            let error = by("sub").apply(&json!({"sub": bad})).unwrap_err();
            assert_eq!(error, RulesRefused::Name("sub".to_owned()), "{bad}");
        }
        let fixed = rules(json!({"require": [], "user": {"fixed": "ci"}}));
        assert_eq!(applied(&fixed, &json!({"sub": "whatever"})).0, "ci");
    }

    #[test]
    fn settings_that_mean_something_else_are_refused() {
        for bad in [
            json!({"user": {"claim": "sub"}}),
            json!({"require": [], "user": {"claim": "sub"}, "group": []}),
            json!({"require": [], "user": {"fixed": "not a name"}}),
            json!({"require": [], "user": {"claim": "sub", "prefx": "ci-"}}),
            json!({"require": [{"claim": "a", "matches": ""}], "user": {"claim": "sub"}}),
            json!({"require": [{"claim": "a", "matches": "***"}], "user": {"claim": "sub"}}),
        ] {
            assert!(serde_json::from_value::<Rules>(bad.clone()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn different_values_are_different_names(a in "[a+/é2bf]{0,6}", b in "[a+/é2bf]{0,6}") {
            prop_assert_eq!(escaped("p-", &a) == escaped("p-", &b), a == b);
        }
    }
}
