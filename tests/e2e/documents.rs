//! The shell commands of the documents, run as they are printed. CONTRIBUTING.md has the convention.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    sample::{Sample, new_id},
    stack::{file, program, stack, workspace},
};

/// Runs `cargo dev` and `cargo ops` without a build. Other builds, and `make`, are not for this test.
const PRELUDE: &str = r#"
cargo() {
    case $1 in
        dev) shift; "$LOCAL" "$@" ;;
        ops) shift; "$OPERATE" "$@" ;;
        *) echo "cargo $1: mark this block as run by hand" >&2; return 1 ;;
    esac
}
make() { echo "make $*: mark this block as run by hand" >&2; return 1; }
"#;

/// How a block of shell commands is run, by the line before it.
enum Runner<'a> {
    /// By this test.
    Here,
    /// By hand, or never.
    Elsewhere,
    /// By another test, in this file.
    Test(&'a str),
}

struct Block<'a> {
    language: &'a str,
    runner: Runner<'a>,
    text: String,
}

/// The documents with commands for readers.
fn documents() -> Vec<PathBuf> {
    let docs = fs::read_dir(workspace().join("docs")).expect("the folder is there");
    let docs = docs.map(|entry| Path::new("docs").join(entry.expect("an entry").file_name()));
    let mut documents: Vec<_> = docs.filter(|path| path.extension().is_some_and(|kind| kind == "md")).collect();
    documents.extend(["README.md", "web/client/README.md"].map(PathBuf::from));
    documents.retain(|path| workspace().join(path).exists());
    documents
}

fn runner(mark: &str) -> Runner<'_> {
    let emphasis = mark.strip_prefix('*').and_then(|mark| mark.strip_suffix(".*"));
    let comment = || mark.strip_prefix("<!-- ").and_then(|mark| mark.strip_suffix(". -->"));
    let mark = emphasis.or_else(comment).unwrap_or_default();
    let is_date = |date: &str| date.len() == 10 && date.split('-').all(|part| part.parse::<u16>().is_ok());
    let test = mark.strip_prefix("Run by `").and_then(|mark| mark.strip_suffix('`'));
    match test {
        Some(test) => Runner::Test(test),
        None if mark.strip_prefix("Run by hand on ").is_some_and(is_date) => Runner::Elsewhere,
        None if mark.starts_with("Never run: needs ") => Runner::Elsewhere,
        None => Runner::Here,
    }
}

/// The fenced blocks of a document. The line below its title can be for all blocks.
fn blocks(document: &str) -> Vec<Block<'_>> {
    let page = document.lines().filter(|line| !line.is_empty()).nth(1).unwrap_or_default();
    let (mut blocks, mut mark, mut open) = (Vec::new(), "", None);
    for line in document.lines() {
        let trimmed = line.trim();
        match (&mut open, trimmed.strip_prefix("```")) {
            (None, Some(fence)) => {
                let language = fence.split(' ').next().unwrap_or_default();
                let runner = match runner(std::mem::take(&mut mark)) {
                    Runner::Here => runner(page),
                    elsewhere => elsewhere,
                };
                open = Some(Block { language, runner, text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text.extend([trimmed, "\n"]),
            (None, None) if !trimmed.is_empty() => mark = trimmed,
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block does not end");
    blocks
}

#[test]
fn every_block_names_its_language_and_its_test_exists() {
    for path in documents() {
        let name = path.display().to_string();
        for block in blocks(&file(&name)) {
            let other = ["", "bash", "console", "shell", "shellsession", "zsh"].contains(&block.language);
            assert!(!other, "{name}: name the language; that of shell commands is sh:\n{}", block.text);
            if let (Runner::Test(test), "sh") = (&block.runner, block.language) {
                let runs = |command: &str| command.split(' ').nth(1).is_some_and(|word| file(test).contains(word));
                assert!(block.text.lines().all(runs), "{name}: {test} does not run this:\n{}", block.text);
            }
        }
    }
}

#[test]
fn shell_commands_succeed() {
    let mut run = 0;
    // A team can remove the chats, which examples use.
    let has_chats = Sample::all().iter().any(|sample| sample.route == "/chats");
    for path in documents() {
        let name = path.display().to_string();
        let text = file(&name);
        let blocks = blocks(&text).into_iter().filter(|block| block.language == "sh");
        let here: Vec<_> =
            blocks.filter(|block| matches!(block.runner, Runner::Here)).map(|block| block.text).collect();
        let commands = here.concat();
        if commands.is_empty() || !has_chats && commands.contains("chats") {
            continue;
        }
        // The stack is shared, so each document has users of its own.
        let id = new_id().replace('-', "");
        let commands = commands
            .replace("user_", &format!("user_{id}_"))
            .replace("@example.com", &format!("-{id}@example.com"))
            .replace("localhost:9000", stack().api().trim_start_matches("http://"));
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let mut shell = stack().command(Path::new("bash"));
        shell.args(["-eu", "-o", "pipefail", "-c", &format!("{PRELUDE}{commands}")]).current_dir(&folder);
        let output = shell.env("LOCAL", program("local")).env("OPERATE", program("operate")).output();
        let output = output.expect("bash runs");
        let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{name}:\n{commands}\n{printed}\n{errors}");
        assert!(!printed.contains("route_not_found"), "{name} calls a path that does not exist:\n{printed}");
        run += here.len();
    }
    assert!(run > 0 || !has_chats, "no document has commands");
}
