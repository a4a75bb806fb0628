//! A search, from its index to its results.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::ControlFlow;

use supercargo_eventlog::RedbLog;
use supercargo_model::{RepoKey, Timestamp};
use supercargo_projections::Snapshot;

use super::condition::{CONDITIONS_MAX, Condition, Field, Order, Query, Test, TextField};
use super::drivers::{Candidate, Drivers, Flow};
use super::found::{Found, View};
use super::plan::{Branch, choose, is_about_files};
use crate::tree::Reach;
use crate::{Error, Result};

/// How many results are sorted at most, unless the query asks for fewer.
pub const SORTED_MAX: u64 = 50_000;

/// Tells each result, until told to stop. `stop` is asked between candidates.
pub(crate) fn run<'v>(
    snapshot: &'v Snapshot,
    log: &'v RedbLog,
    eyes: &'v BTreeMap<RepoKey, Reach>,
    query: &Query,
    stop: &dyn Fn() -> bool,
    each: &mut dyn FnMut(Found<'v>) -> Flow,
) -> Result<()> {
    if query.condition.size() > CONDITIONS_MAX {
        return Err(Error::Invalid(format!("a search has at most {CONDITIONS_MAX} conditions")));
    }
    let wanted = |key: &RepoKey| query.repositories.is_empty() || query.repositories.contains(key);
    let condition = query.condition.clone().cheapest_first();
    let repositories: BTreeSet<RepoKey> =
        eyes.keys().filter(|key| wanted(key) && condition.may_hold_in(key)).cloned().collect();
    let drivers = Drivers { snapshot, log, repositories: &repositories };
    let branches = choose(&condition, &mut |driver, most| drivers.count(driver, most))?;
    let files_only = is_about_files(&condition);
    let search =
        Search { snapshot, eyes, log, drivers, condition: &condition, branches: &branches, files_only, stop };
    if query.limit == Some(0) {
        return Ok(());
    }
    match &query.order {
        Some(order) => search.sorted(order, query, each),
        None => {
            let mut passed_over = query.offset;
            let mut left = query.limit.unwrap_or(u64::MAX);
            search.every(&mut |item| {
                if passed_over > 0 {
                    passed_over -= 1;
                    return Ok(ControlFlow::Continue(()));
                }
                left -= 1;
                let flow = each(item)?;
                Ok(if left == 0 { ControlFlow::Break(()) } else { flow })
            })
        }
    }
}

struct Search<'s, 'v> {
    snapshot: &'v Snapshot,
    eyes: &'v BTreeMap<RepoKey, Reach>,
    log: &'v RedbLog,
    drivers: Drivers<'s>,
    condition: &'s Condition,
    branches: &'s [Branch],
    files_only: bool,
    stop: &'s dyn Fn() -> bool,
}

impl<'v> Search<'_, 'v> {
    /// Tells every item that fulfils the condition, once.
    fn every(&self, each: &mut dyn FnMut(Found<'v>) -> Flow) -> Result<()> {
        for (index, branch) in self.branches.iter().enumerate() {
            let mut consider = |item: Found<'v>, at: Option<Timestamp>| {
                if (self.stop)() {
                    return Ok(ControlFlow::Break(()));
                }
                let wanted = at.is_none_or(|at| item.item().at == at);
                if wanted && self.fulfils(&item, index)? { each(item) } else { Ok(ControlFlow::Continue(())) }
            };
            let flow = self.drivers.run(&branch.driver, &mut |repository, candidate| {
                let Some(view) = self.view(repository).filter(|_| !(self.stop)()) else {
                    return Ok(ControlFlow::Break(()));
                };
                match candidate {
                    Candidate::FolderOf(..) if self.files_only => Ok(ControlFlow::Continue(())),
                    Candidate::FolderOf(at, path) => match view.item(&path)? {
                        Some(item) if item.is_folder() => consider(item, Some(at)),
                        _ => Ok(ControlFlow::Continue(())),
                    },
                    Candidate::FilesOf(at, path) => {
                        view.in_folder(&path, true, &mut |item| consider(item, Some(at)))
                    }
                    Candidate::Item(path) => match view.item(&path)? {
                        Some(item) => consider(item, None),
                        None => Ok(ControlFlow::Continue(())),
                    },
                    Candidate::In(path) => {
                        view.in_folder(&path, self.files_only, &mut |item| consider(item, None))
                    }
                }
            })?;
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn view(&self, repository: &RepoKey) -> Option<View<'v>> {
        let (repository, eyes) = self.eyes.get_key_value(repository)?;
        Some(View { snapshot: self.snapshot, log: self.log, repository, eyes })
    }

    /// Whether an item is a result, and a branch the first that leads to it.
    fn fulfils(&self, item: &Found<'v>, branch: usize) -> Result<bool> {
        if !self.condition.holds(item)? {
            return Ok(false);
        }
        if self.branches.len() == 1 {
            return Ok(true);
        }
        for earlier in &self.branches[..branch] {
            if earlier.covers.holds(item)? {
                return Ok(false);
            }
        }
        self.branches[branch].covers.holds(item)
    }

    /// Tells the results of a page in order: of all that there are, the first are kept.
    fn sorted(&self, order: &Order, query: &Query, each: &mut dyn FnMut(Found<'v>) -> Flow) -> Result<()> {
        let wanted =
            query.limit.map(|limit| query.offset.saturating_add(limit)).filter(|last| *last <= SORTED_MAX);
        let most = usize::try_from(wanted.unwrap_or(SORTED_MAX)).unwrap_or(usize::MAX);
        let mut first = BinaryHeap::new();
        self.every(&mut |item| {
            let by = order.by.iter().map(|field| value(&item, *field)).collect::<Result<_>>()?;
            let (repository, path) = (item.repository(), item.item().path.as_str());
            first.push(Held { by, descending: order.descending, place: (repository.clone(), path.to_owned()) });
            if first.len() > most {
                first.pop();
                if wanted.is_none() {
                    return Err(Error::Invalid(format!(
                        "more than {SORTED_MAX} results would have to be sorted: ask for fewer with .limit, or for \
                         something narrower"
                    )));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let skipped = usize::try_from(query.offset).unwrap_or(usize::MAX);
        for Held { place: (repository, path), .. } in first.into_sorted_vec().into_iter().skip(skipped) {
            // It is there: nothing changes in a snapshot.
            let Some(view) = self.view(&repository) else { continue };
            if let Some(item) = view.item(&path)?
                && each(item)?.is_break()
            {
                break;
            }
        }
        Ok(())
    }
}

/// What items are sorted by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Text(Option<String>),
    Number(u64),
    Time(Timestamp),
    Folder(bool),
}

fn value(item: &Found<'_>, field: Field) -> Result<Value> {
    Ok(match field {
        Field::Text(field) => Value::Text(item.text(field)?.map(std::borrow::Cow::into_owned)),
        Field::Number(field) => Value::Number(item.number(field)),
        Field::Time(field) => Value::Time(item.time(field)),
        Field::Kind => Value::Folder(item.is_folder()),
    })
}

/// An item that may be one of the first.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    by: Vec<Value>,
    descending: bool,
    place: (RepoKey, String),
}

impl Ord for Held {
    fn cmp(&self, other: &Held) -> Ordering {
        let by = self.by.cmp(&other.by);
        let by = if self.descending { by.reverse() } else { by };
        by.then_with(|| self.place.cmp(&other.place))
    }
}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Held) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Condition {
    /// Whether something in a repository may fulfil it, as far as its key says.
    fn may_hold_in(&self, repository: &RepoKey) -> bool {
        match self {
            Condition::All(conditions) => {
                conditions.iter().all(|condition| condition.may_hold_in(repository))
            }
            Condition::Any(conditions) => {
                conditions.iter().any(|condition| condition.may_hold_in(repository))
            }
            Condition::Is(Test::Text(TextField::Repository, test)) => test.holds(repository.as_str()),
            Condition::Is(_) => true,
        }
    }
}
