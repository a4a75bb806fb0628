//! The registry as it ought to be, in maps and without a thought for speed: what is in use is found by
//! walking from the tags, whenever it is asked.

use std::collections::{BTreeMap, BTreeSet};

use supercargo_model::{Digest, RepoKey, RepoName, Tag};
use supercargo_registry::GcPolicy;

use crate::content::{manifest, size_of};

pub type Name = (RepoKey, RepoName);

/// Why something that is not in use is still here. In the order in which a collection takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    Pending,
    Untagged,
    Deleted,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Content {
    pub blob: bool,
    pub manifest: bool,
    /// Why and since when (microseconds) it waits; not at all while it is in use.
    pub wait: Option<(Wait, i64)>,
}

#[derive(Debug, Clone, Default)]
pub struct Held {
    pub contents: BTreeMap<Digest, Content>,
    pub tags: BTreeMap<Tag, Digest>,
}

impl Held {
    fn has_blob(&self, digest: &Digest) -> bool {
        self.contents.get(digest).is_some_and(|content| content.blob)
    }

    pub fn has_manifest(&self, digest: &Digest) -> bool {
        self.contents.get(digest).is_some_and(|content| content.manifest)
    }

    fn manifests(&self) -> impl Iterator<Item = &Digest> {
        self.contents.iter().filter(|(_, content)| content.manifest).map(|(digest, _)| digest)
    }

    /// Everything that a tag reaches, or a manifest that waits for one.
    fn reached(&self) -> BTreeSet<Digest> {
        let untagged = self
            .manifests()
            .filter(|digest| matches!(self.contents[*digest].wait, Some((Wait::Untagged, _))));
        let mut to_walk: Vec<Digest> = untagged.chain(self.tags.values()).copied().collect();
        let mut reached: BTreeSet<Digest> = self.tags.values().copied().collect();
        while let Some(digest) = to_walk.pop() {
            if !self.has_manifest(&digest) {
                continue;
            }
            let referrers =
                self.manifests().filter(|other| manifest(other).unwrap().subject == Some(digest)).copied();
            for next in manifest(&digest).unwrap().targets().chain(referrers) {
                if reached.insert(next) {
                    to_walk.push(next);
                }
            }
        }
        reached
    }

    /// What is in use waits no more; what is not any more waits since `since`. A manifest whose tag was moved
    /// away waits as one that never had a tag.
    fn settle(&mut self, since: i64, moved_from: Option<Digest>) {
        if let Some(digest) = moved_from
            && !self.reached().contains(&digest)
            && let Some(content) = self.contents.get_mut(&digest)
            && content.wait.is_none()
        {
            content.wait = Some((Wait::Untagged, since));
        }
        let reached = self.reached();
        for (digest, content) in &mut self.contents {
            if reached.contains(digest) {
                content.wait = None;
            } else {
                content.wait.get_or_insert((Wait::Deleted, since));
            }
        }
    }

    /// Something was pushed: where nothing reaches it, it waits for what should follow.
    fn pushed(&mut self, digest: Digest, now: i64) {
        let content = self.contents.get_mut(&digest).unwrap();
        let wait = if content.manifest { Wait::Untagged } else { Wait::Pending };
        content.wait = Some((wait, now));
        self.settle(now, None);
    }
}

#[derive(Debug)]
pub struct Model {
    pub policy: GcPolicy,
    pub now: i64,
    pub held: BTreeMap<Name, Held>,
    /// Promises: until when, by content and principal.
    leases: BTreeMap<(Name, Digest), BTreeMap<usize, i64>>,
    /// Blobs whose bytes are kept; since when no name holds them.
    pub kept: BTreeMap<Digest, Option<i64>>,
}

fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap()
}

impl Model {
    pub fn new(policy: GcPolicy, now: i64) -> Model {
        Model { policy, now, held: BTreeMap::new(), leases: BTreeMap::new(), kept: BTreeMap::new() }
    }

    pub fn get(&self, name: &Name) -> Held {
        self.held.get(name).cloned().unwrap_or_default()
    }

    pub fn has_blob(&self, name: &Name, digest: &Digest) -> bool {
        self.held.get(name).is_some_and(|held| held.has_blob(digest))
    }

    pub fn has_manifest(&self, name: &Name, digest: &Digest) -> bool {
        self.held.get(name).is_some_and(|held| held.has_manifest(digest))
    }

    // ---- promises ----

    pub fn promise(&mut self, name: &Name, digest: Digest, principal: usize) {
        let until = self.now + micros(self.policy.lease);
        self.leases.entry((name.clone(), digest)).or_default().insert(principal, until);
    }

    /// A restart forgets all promises.
    pub fn forget_promises(&mut self) {
        self.leases.clear();
    }

    pub fn any_promises(&self) -> bool {
        self.leases.values().flat_map(BTreeMap::values).any(|until| *until > self.now)
    }

    /// Whether somebody was promised the content, or a manifest that needs it.
    fn relied_on(&self, name: &Name, digest: &Digest) -> bool {
        let promised = self
            .leases
            .get(&(name.clone(), *digest))
            .is_some_and(|leases| leases.values().any(|until| *until > self.now));
        promised
            || self.held[name].manifests().any(|above| {
                manifest(above).unwrap().targets().any(|target| target == *digest)
                    && self.relied_on(name, above)
            })
    }

    // ---- pushing ----

    fn content(&mut self, name: &Name, digest: Digest) -> &mut Content {
        self.kept.insert(digest, None);
        self.held.entry(name.clone()).or_default().contents.entry(digest).or_default()
    }

    pub fn upload(&mut self, name: &Name, digest: Digest, principal: usize) {
        let in_use = self
            .held
            .get(name)
            .and_then(|held| held.contents.get(&digest))
            .is_some_and(|content| content.blob && content.wait.is_none());
        if !in_use {
            self.content(name, digest).blob = true;
            let now = self.now;
            self.held.get_mut(name).unwrap().pushed(digest, now);
        }
        self.promise(name, digest, principal);
    }

    /// Whether the blob is mounted.
    pub fn mount(&mut self, name: &Name, digest: Digest, from: Option<&Name>, principal: usize) -> bool {
        let in_use = self
            .held
            .get(name)
            .and_then(|held| held.contents.get(&digest))
            .is_some_and(|content| content.blob && content.wait.is_none());
        let there = in_use
            || match from {
                Some(from) => self.has_blob(from, &digest),
                None => self.held.iter().any(|(other, held)| other.0 == name.0 && held.has_blob(&digest)),
            };
        if there {
            self.upload(name, digest, principal);
        } else if self.held.contains_key(name) {
            // Who asked is likely to upload it next.
            self.promise(name, digest, principal);
        }
        there
    }

    /// What the name lacks of what a manifest holds.
    pub fn missing(&self, name: &Name, digest: &Digest) -> BTreeSet<Digest> {
        let held = self.get(name);
        let manifest = manifest(digest).unwrap();
        let blobs = manifest.blobs.iter().filter(|blob| !held.has_blob(blob));
        let children =
            manifest.children.iter().filter(|child| !held.has_blob(child) && !held.has_manifest(child));
        blobs.chain(children).copied().collect()
    }

    pub fn push(&mut self, name: &Name, digest: Digest, tag: Option<&Tag>, principal: usize) {
        let now = self.now;
        let known = self.get(name).contents.get(&digest).copied().filter(|content| content.manifest);
        let renewed =
            tag.is_none() && known.is_some_and(|known| matches!(known.wait, Some((Wait::Deleted, _))));
        if known.is_none() || renewed {
            self.content(name, digest).manifest = true;
            self.held.get_mut(name).unwrap().pushed(digest, now);
        }
        if let Some(tag) = tag {
            let held = self.held.get_mut(name).unwrap();
            let moved_from = held.tags.insert(tag.clone(), digest).filter(|before| *before != digest);
            held.settle(now, moved_from);
        }
        for target in manifest(&digest).unwrap().targets().chain([digest]) {
            if let Some(leases) = self.leases.get_mut(&(name.clone(), target)) {
                leases.remove(&principal);
            }
        }
    }

    // ---- promoting ----

    /// What comes with a tag: each manifest that it reaches, and each blob.
    fn brought(&self, from: &Name, tag: &Tag) -> (BTreeSet<Digest>, BTreeSet<Digest>) {
        let held = self.get(from);
        let (mut manifests, mut blobs) = (BTreeSet::new(), BTreeSet::new());
        let mut to_walk = vec![held.tags[tag]];
        while let Some(digest) = to_walk.pop() {
            if !manifests.insert(digest) {
                continue;
            }
            let read = manifest(&digest).unwrap();
            blobs.extend(read.blobs.iter().copied());
            for child in &read.children {
                if held.has_manifest(child) {
                    to_walk.push(*child);
                } else {
                    blobs.insert(*child);
                }
            }
            to_walk.extend(
                held.manifests().filter(|other| manifest(other).unwrap().subject == Some(digest)).copied(),
            );
        }
        (manifests, blobs)
    }

    /// What should come with tags and is neither where they are nor where they are to be.
    pub fn missing_for(&self, from: &Name, to: &Name, tags: &[(Tag, Tag)]) -> BTreeSet<Digest> {
        let blobs = tags.iter().flat_map(|(tag, _)| self.brought(from, tag).1);
        blobs.filter(|blob| !self.has_blob(from, blob) && !self.has_blob(to, blob)).collect()
    }

    pub fn promote(&mut self, from: &Name, to: &Name, tags: &[(Tag, Tag)], copy: bool) {
        assert_eq!(self.missing_for(from, to, tags), BTreeSet::new(), "what comes is not whole");
        let brought: Vec<_> = tags.iter().map(|(tag, _)| self.brought(from, tag)).collect();
        let held = self.get(from);
        for ((tag, to_tag), (manifests, blobs)) in tags.iter().zip(brought) {
            for digest in blobs {
                self.content(to, digest).blob = true;
            }
            for digest in manifests {
                self.content(to, digest).manifest = true;
            }
            let (now, digest) = (self.now, held.tags[tag]);
            let target = self.held.get_mut(to).unwrap();
            let moved_from = target.tags.insert(to_tag.clone(), digest).filter(|before| *before != digest);
            target.settle(now, moved_from);
            if !copy {
                self.delete_tag(from, tag);
            }
        }
    }

    // ---- deleting ----

    pub fn delete_tag(&mut self, name: &Name, tag: &Tag) -> bool {
        let now = self.now;
        let Some(held) = self.held.get_mut(name) else { return false };
        let deleted = held.tags.remove(tag).is_some();
        held.settle(now, None);
        deleted
    }

    pub fn delete_manifest(&mut self, name: &Name, digest: &Digest) -> bool {
        if !self.has_manifest(name, digest) {
            return false;
        }
        self.held.get_mut(name).unwrap().tags.retain(|_, to| to != digest);
        self.remove(name, digest, false, true, self.now);
        true
    }

    pub fn delete_blob(&mut self, name: &Name, digest: &Digest) -> bool {
        let there = self.has_blob(name, digest);
        if there {
            self.remove(name, digest, true, false, self.now);
        }
        there
    }

    pub fn delete_name(&mut self, name: &Name) -> bool {
        let Some(held) = self.held.get_mut(name) else { return false };
        held.tags.clear();
        let digests: Vec<Digest> = held.contents.keys().copied().collect();
        for digest in digests {
            self.remove(name, &digest, true, true, self.now);
        }
        true
    }

    /// Takes a content from a name as blob, as manifest, or as both; gone since `since`.
    fn remove(&mut self, name: &Name, digest: &Digest, as_blob: bool, as_manifest: bool, since: i64) {
        let held = self.held.get_mut(name).unwrap();
        let content = held.contents.get_mut(digest).unwrap();
        content.blob &= !as_blob;
        content.manifest &= !as_manifest;
        if !content.blob && !content.manifest {
            held.contents.remove(digest);
            let elsewhere =
                |(other, held): (&Name, &Held)| other != name && held.contents.contains_key(digest);
            if !self.held.iter().any(elsewhere) {
                self.kept.insert(*digest, Some(since));
            }
        }
        let held = self.held.get_mut(name).unwrap();
        held.settle(since, None);
        if held.contents.is_empty() && held.tags.is_empty() {
            self.held.remove(name);
        }
    }

    // ---- collecting ----

    fn due(&self, wait: Wait, since: i64) -> bool {
        let kept = match wait {
            Wait::Pending => micros(self.policy.lease),
            Wait::Untagged => micros(self.policy.untagged_after) + micros(self.policy.keep_deleted),
            Wait::Deleted => micros(self.policy.keep_deleted),
        };
        since <= self.now - kept
    }

    /// Removes all that is due and promised to nobody, and what becomes due by that.
    pub fn collect(&mut self) {
        loop {
            let mut pass: BTreeMap<Name, Vec<(Wait, i64, Digest)>> = BTreeMap::new();
            for (name, held) in &self.held {
                for (digest, content) in &held.contents {
                    if let Some((wait, since)) = content.wait
                        && self.due(wait, since)
                        && !self.relied_on(name, digest)
                    {
                        pass.entry(name.clone()).or_default().push((wait, since, *digest));
                    }
                }
            }
            let unheld_before = self.now - micros(self.policy.keep_deleted);
            let before = self.kept.len();
            self.kept.retain(|_, unheld| unheld.is_none_or(|since| since > unheld_before));
            if pass.is_empty() && self.kept.len() == before {
                return;
            }
            for (name, mut digests) in pass {
                digests.sort_unstable();
                for (_, since, digest) in digests {
                    // What fell before it in this pass may have given it another wait, never a later one.
                    self.remove(&name, &digest, true, true, since);
                }
            }
        }
    }

    pub fn bytes(&self, repository: &RepoKey) -> u64 {
        let held = self.held.iter().filter(|(name, _)| name.0 == *repository);
        held.flat_map(|(_, held)| held.contents.keys()).map(size_of).sum()
    }
}
