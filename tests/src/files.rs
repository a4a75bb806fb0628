//! What an image holds, file by file: written into tar archives and read back out of them, and compared.
//! Ordinary files alone; folders come with them.

use std::collections::BTreeMap;
use std::io::Read;

/// Contents by path; no path begins with a slash.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Files of these names and texts.
pub fn files<const N: usize>(entries: [(&str, &str); N]) -> Files {
    entries.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())).into()
}

/// A tar archive of these files, with nothing in it that the machine or the moment decides.
pub fn write_tar(files: &Files) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, contents) in files {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(contents.len() as u64);
        header.set_mode(0o755);
        header.set_mtime(0);
        archive.append_data(&mut header, path, contents.as_slice()).expect("a short path into memory");
    }
    archive.into_inner().expect("memory takes everything")
}

/// The ordinary files of a tar archive.
pub fn read_tar(archive: impl Read) -> Files {
    let mut files = Files::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let path = entry.path().unwrap().to_str().unwrap().trim_start_matches("./").to_owned();
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents).unwrap();
            files.insert(path, contents);
        }
    }
    files
}

/// Fails the test unless `found` holds exactly what is `expected`, but for paths that `added` allows: what a
/// client puts into a container of its own accord.
#[track_caller]
pub fn assert_same(found: &Files, expected: &Files, added: impl Fn(&str) -> bool) {
    let mut differences = Vec::new();
    for (path, contents) in expected {
        match found.get(path) {
            None => differences.push(format!("{path} is missing")),
            Some(other) if other != contents => {
                differences.push(format!(
                    "{path} holds {} bytes, not the {} bytes it should",
                    other.len(),
                    contents.len()
                ));
            }
            Some(_) => {}
        }
    }
    let strangers = found.keys().filter(|path| !expected.contains_key(*path) && !added(path));
    differences.extend(strangers.map(|path| format!("{path} should not be there")));
    assert!(differences.is_empty(), "{}", crate::server::lines(&differences));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_read_back() {
        let original = files([("a/b", "text"), ("c", "")]);
        assert_same(&read_tar(write_tar(&original).as_slice()), &original, |_| false);
    }

    #[test]
    #[should_panic(expected = "a holds 1 bytes")]
    fn a_difference_is_found() {
        assert_same(&files([("a", "y")]), &files([("a", "xx")]), |_| false);
    }

    #[test]
    #[should_panic(expected = "b should not be there")]
    fn a_stranger_is_found() {
        assert_same(&files([("a", "x"), ("b", "")]), &files([("a", "x")]), |path| path == "c");
    }
}
