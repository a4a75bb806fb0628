//! How an image came to be, step by step, as its config has it.
//!
//! What lives here: reading a step from a V1 image or from a config, and writing it. What does not: which steps have
//! a layer beside them.

use std::borrow::Cow;

use super::raw::{self, ObjectWriter};
use super::typed::{self, Malformed};

/// One item of a config's `history`.
#[derive(Debug)]
pub(super) struct Step<'j> {
    /// When, as docker writes it.
    pub(super) created: String,
    /// By whom; empty if nobody says.
    pub(super) author: Cow<'j, str>,
    /// By which command; empty if nobody says.
    pub(super) created_by: Cow<'j, str>,
    /// What else was said of it; empty if nothing.
    pub(super) comment: Cow<'j, str>,
    /// Whether no layer stands for it.
    pub(super) empty_layer: bool,
}

impl<'j> Step<'j> {
    /// What the V1 image with this JSON adds to the history.
    pub(super) fn of_image(json: &'j str) -> Result<Step<'j>, Malformed> {
        let [created, author, comment, container, throwaway] =
            typed::pick(json, ["created", "author", "comment", "container_config", "throwaway"])?;
        let [command] = typed::pick_within("container_config", container, ["Cmd"])?;
        let command = typed::command("Cmd", command).map_err(|e| e.within("container_config"))?;
        Ok(Step {
            created: typed::time("created", created)?,
            author: typed::string("author", author)?,
            created_by: Cow::Owned(command.unwrap_or_default().join(" ")),
            comment: typed::string("comment", comment)?,
            empty_layer: throwaway == Some("true"),
        })
    }

    /// The steps that a config's `history` has.
    pub(super) fn of_config(history: Option<&'j str>) -> Result<Vec<Step<'j>>, Malformed> {
        let Some(history) = history else { return Ok(Vec::new()) };
        let items = raw::elements(history).ok_or_else(|| Malformed::new("history", "a list"))?;
        items.into_iter().map(Step::of_item).collect()
    }

    fn of_item(item: &'j str) -> Result<Step<'j>, Malformed> {
        let item = Some(item).filter(|item| *item != "null");
        let names = ["created", "author", "created_by", "comment", "empty_layer"];
        let [created, author, created_by, comment, empty_layer] =
            typed::pick_within("an item of history", item, names)?;
        Ok(Step {
            created: typed::time("history.created", created)?,
            author: typed::string("history.author", author)?,
            created_by: typed::string("history.created_by", created_by)?,
            comment: typed::string("history.comment", comment)?,
            empty_layer: typed::flag("history.empty_layer", empty_layer)?,
        })
    }

    /// Writes it as an item of a config's `history`.
    pub(super) fn write(&self, out: &mut String) {
        let mut item = ObjectWriter::new(out);
        item.string("created", &self.created);
        item.string_if_any("author", &self.author);
        item.string_if_any("created_by", &self.created_by);
        item.string_if_any("comment", &self.comment);
        if self.empty_layer {
            item.member("empty_layer").push_str("true");
        }
        item.end();
    }
}
