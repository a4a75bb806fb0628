//! Keys and certificates that this server keeps: written whole, and read by nobody else.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::TlsError;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Nobody but the user that the server runs as.
    OwnerAlone,
    /// Whoever gets as far as the folder.
    Everybody,
}

/// Makes a folder, and those above it.
///
/// # Errors
/// [`TlsError::NotWritten`].
pub(super) fn make_folder(folder: &Path) -> Result<(), TlsError> {
    std::fs::create_dir_all(folder).map_err(|source| TlsError::NotWritten { path: folder.to_owned(), source })
}

/// Writes a file whole or not at all, in place of the one of that name.
///
/// # Errors
/// [`TlsError::NotWritten`].
pub(super) fn write(folder: &Path, name: &str, text: &str, access: Access) -> Result<(), TlsError> {
    let path = folder.join(name);
    let mode = match access {
        Access::OwnerAlone => 0o600,
        Access::Everybody => 0o644,
    };
    let write = || {
        let mut file = tempfile::Builder::new()
            .permissions(std::fs::Permissions::from_mode(mode))
            .tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        Ok::<_, std::io::Error>(())
    };
    write().map_err(|source| TlsError::NotWritten { path: path.clone(), source })
}
