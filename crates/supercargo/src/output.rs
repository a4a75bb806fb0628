//! What commands print on stdout: lines for people, or JSON. Messages, progress and the server's log go to
//! stderr, so that stdout is always fit for a pipe.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Prints a line.
///
/// # Errors
/// [`Failure::Failed`] where stdout can't be written.
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    written(writeln!(io::stdout().lock(), "{text}"))
}

/// Prints a value as one line of JSON.
///
/// # Errors
/// [`Failure::Failed`] where stdout can't be written.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(Failure::failed)?;
    line(text)
}

/// Prints a value, as JSON or as the text that people read.
///
/// # Errors
/// [`Failure::Failed`] where stdout can't be written.
pub(crate) fn value<T: Serialize + ?Sized, D: Display>(
    as_json: bool,
    value: &T,
    text: impl FnOnce(&T) -> D,
) -> Result<(), Failure> {
    if as_json { json(value) } else { line(text(value)) }
}

/// What came of writing to stdout.
///
/// # Errors
/// [`Failure::ReaderGone`], which is no failure, and [`Failure::Failed`].
pub(crate) fn written(result: io::Result<()>) -> Result<(), Failure> {
    result.map_err(|e| match e.kind() {
        io::ErrorKind::BrokenPipe => Failure::ReaderGone,
        _ => Failure::Failed(format!("stdout: {e}")),
    })
}
