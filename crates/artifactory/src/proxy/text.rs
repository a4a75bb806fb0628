//! Text with indented blocks, as both programs read it.

use std::fmt::{Display, Write as _};

/// A file as it is written.
#[derive(Default)]
pub(super) struct Text {
    out: String,
    depth: usize,
}

impl Text {
    /// A line.
    pub(super) fn line(&mut self, line: impl Display) {
        // Writing to a String does not fail.
        let _ = writeln!(self.out, "{:1$}{line}", "", self.depth * 4);
    }

    /// Several lines.
    pub(super) fn lines<L: Display>(&mut self, lines: impl IntoIterator<Item = L>) {
        lines.into_iter().for_each(|line| self.line(line));
    }

    /// An empty line.
    pub(super) fn gap(&mut self) {
        self.out.push('\n');
    }

    /// A comment.
    pub(super) fn comment(&mut self, comment: impl Display) {
        self.line(format_args!("# {comment}"));
    }

    /// Lines between two that belong together.
    pub(super) fn block(&mut self, first: impl Display, last: impl Display, inner: impl FnOnce(&mut Text)) {
        self.line(first);
        self.depth += 1;
        inner(self);
        self.depth -= 1;
        self.line(last);
    }

    /// The whole.
    pub(super) fn finish(self) -> String {
        self.out
    }
}
