//! Tools are installed into the project's folders, and each file has a locked hash.

use std::fs;

use crate::stack::{file, workspace};

#[test]
fn every_python_tool_is_locked_with_hashes() {
    let mut tools = 0;
    for entry in fs::read_dir(workspace().join("infra/tools")).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "in") {
            continue;
        }
        tools += 1;
        let wanted = fs::read_to_string(&path).expect("text");
        let lock = fs::read_to_string(path.with_extension("txt")).expect("each has a lock file");
        assert!(!lock.contains("://"), "{} names a server", path.display());
        // A backslash continues a requirement on the next line.
        let lock = lock.replace("\\\n", "");
        let locked: Vec<_> = lock.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        for line in &locked {
            let is_locked = line.contains("==") && line.contains("--hash=sha256:");
            assert!(is_locked, "{}: {line}", path.display());
        }
        for line in wanted.lines().filter(|line| !line.starts_with('#')) {
            let is_there = locked.iter().any(|locked| locked.split_whitespace().next() == Some(line));
            assert!(is_there, "{}: {line} is not in the lock file; run `make lock`", path.display());
        }
    }
    assert!(tools > 5, "{tools} tools");
    let makefile = file("Makefile");
    let installs: Vec<_> = makefile.lines().filter(|line| line.contains("pip install")).collect();
    assert!(!installs.is_empty());
    for line in installs {
        assert!(line.contains("--no-deps --require-hashes --only-binary :all:"), "{line}");
    }
}

#[test]
fn no_target_changes_the_system() {
    for name in ["Makefile", "web/testing/browser"] {
        let text = file(name);
        for command in ["sudo", "apt-get", "apt ", "brew ", "dnf ", "npm install --global", "pip install --user"] {
            assert!(!text.contains(command), "{name} has {command}");
        }
    }
}
