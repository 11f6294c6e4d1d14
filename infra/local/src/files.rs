//! Files with secrets and personal data, which only their owner can read.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use anyhow::{Context, Result, ensure};

/// The mode of a folder that many users write to, such as /tmp.
const STICKY: u32 = 0o1000;

/// Creates a folder that only its owner can access, or restricts an existing one.
pub(crate) fn folder(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("{} cannot be created", path.display()))?;
    let mode = fs::metadata(path)?.permissions().mode();
    ensure!(mode & STICKY == 0, "{} belongs to several users; choose a folder of your own", path.display());
    restrict(path, 0o700)
}

/// Creates a file that only its owner can read, or restricts an existing one.
pub(crate) fn file(path: &Path) -> Result<()> {
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    opened.with_context(|| format!("{} cannot be written", path.display()))?;
    restrict(path, 0o600)
}

/// Restricts a file, if it exists.
pub(crate) fn file_if_present(path: &Path) -> Result<()> {
    if path.exists() { restrict(path, 0o600) } else { Ok(()) }
}

/// Writes a file atomically. Only its owner can read it, since temporary files are private.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().context("a file is in a folder")?;
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(content)?;
    temporary.persist(path).with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(())
}

/// Reads a file, if it exists.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

fn restrict(path: &Path, mode: u32) -> Result<()> {
    let restricted = fs::set_permissions(path, Permissions::from_mode(mode));
    restricted
        .with_context(|| format!("other users can read {}, and its permissions cannot be changed", path.display()))
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails where something is missing")]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn new_and_existing_files_become_private() {
        let parent = tempfile::tempdir().expect("a folder");
        let open = parent.path().join("open");
        fs::create_dir(&open).expect("made");
        fs::set_permissions(&open, Permissions::from_mode(0o755)).expect("opened");
        for name in ["open", "new/below"] {
            let inside = parent.path().join(name);
            folder(&inside).expect("made private");
            assert_eq!(mode(&inside), 0o700, "{name}");
            let open = inside.join("open");
            fs::write(&open, "kept").expect("written");
            fs::set_permissions(&open, Permissions::from_mode(0o644)).expect("opened");
            for path in [&open, &inside.join("new")] {
                file(path).expect("made private");
                assert_eq!(mode(path), 0o600, "{}", path.display());
            }
            assert_eq!(fs::read_to_string(&open).expect("read"), "kept");
            fs::set_permissions(&open, Permissions::from_mode(0o644)).expect("opened");
            write(&open, b"secret").expect("written");
            assert_eq!((mode(&open), read(&open).expect("read")), (0o600, Some(b"secret".to_vec())));
        }
    }

    #[test]
    fn shared_folders_are_rejected() {
        let shared = tempfile::tempdir().expect("a folder");
        fs::set_permissions(shared.path(), Permissions::from_mode(0o1777)).expect("opened");
        folder(shared.path()).expect_err("it belongs to several users");
        assert_eq!(mode(shared.path()), 0o777);
    }
}
