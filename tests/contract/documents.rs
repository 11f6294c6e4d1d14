//! Names in the documents exist: problem codes, environment variables, parameters, alarms, files, sections and prices.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails where something is missing")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace holds this crate")
}

fn file(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files below `folder`, without generated ones.
fn files(folder: &Path) -> Vec<PathBuf> {
    const MADE: [&str; 7] = [".aws-sam", ".git", ".local", ".tools", "dist", "node_modules", "target"];
    let entries =
        fs::read_dir(folder).expect("the folder can be read").map(|entry| entry.expect("it can be read").path());
    let entries = entries.filter(|path| !MADE.iter().any(|made| path.ends_with(made)));
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|extension| extensions.iter().any(|known| extension == *known))
}

/// The documents that describe the present, by name.
fn documents() -> Vec<(String, String)> {
    let documents = files(workspace()).into_iter().filter(|path| has_extension(path, &["md"]));
    let documents = documents.map(|path| {
        let name = path.strip_prefix(workspace()).expect("it is in the workspace").display().to_string();
        let text = file(&name);
        (name, text)
    });
    documents.filter(|(name, _)| name != "CHANGELOG.md").collect()
}

/// The words of a text's inline code.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|prose| prose.split('`').skip(1).step_by(2)).flat_map(words)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_').filter(|word| !word.is_empty())
}

/// `snake_case`, `SCREAMING_CASE` or `PascalCase` of two words or more.
fn is_identifier(word: &str) -> bool {
    let humps = word.chars().zip(word.chars().skip(1)).filter(|(one, next)| one.is_lowercase() && next.is_uppercase());
    let is_pascal = word.starts_with(char::is_uppercase) && humps.count() > 0;
    let is_snake = word.trim_matches('_').contains('_') && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (is_pascal || is_snake) && !word.ends_with('_')
}

#[test]
fn every_name_in_the_documents_exists() {
    // Names of AWS's API and configuration.
    const FOREIGN: &[&str] = &[
        "ConcurrentExecutions",
        "CopyIntoBackupVault",
        "ForEach",
        "ListStackResources",
        "PutItem",
        "ROLLBACK_COMPLETE",
        "UPDATE_ROLLBACK_FAILED",
    ];
    let sources = ["rs", "toml", "yaml", "yml", "json", "ts", "tsx", "css", "py", "mjs", "js"];
    let sources: Vec<_> = files(workspace()).into_iter().filter(|path| has_extension(path, &sources)).collect();
    let mut known: BTreeSet<String> = FOREIGN.iter().map(|name| (*name).to_owned()).collect();
    for path in sources.iter().chain(&[workspace().join("Makefile"), workspace().join(".ci/run")]) {
        known.extend(words(&fs::read_to_string(path).unwrap_or_default()).map(str::to_owned));
    }
    // A document's own scripts.
    let documents = documents();
    for (_, text) in &documents {
        known.extend(text.split("```").skip(1).step_by(2).flat_map(words).map(str::to_owned));
    }
    let mut unknown = Vec::new();
    for (document, text) in documents {
        unknown.extend(
            names(&text)
                .filter(|name| is_identifier(name) && !known.contains(*name))
                .map(|name| format!("{document}: {name}")),
        );
    }
    assert!(unknown.is_empty(), "no source has these names:\n{}", unknown.join("\n"));
}

#[test]
fn every_test_that_proves_a_defense_is_in_its_file() {
    let sources = files(workspace());
    let security = file("docs/security.md");
    let (_, threats) = security.split_once("## Threats\n").expect("it has a section on threats");
    let proofs = threats.lines().filter_map(|row| Some(row.strip_suffix(" |")?.rsplit_once(" | ")?.1));
    let (mut tests, mut missing) = (0, Vec::new());
    for proof in proofs {
        let mut named = Vec::new();
        for (index, part) in proof.split('`').enumerate() {
            if index % 2 == 0 {
                // Between tests there is only punctuation, and their file is that of the test before.
                let files = part
                    .split([' ', ',', ':', ';'])
                    .filter(|word| has_extension(Path::new(word), &["rs", "ts", "tsx"]));
                let files: Vec<_> = files.collect();
                named = if files.is_empty() { named } else { files };
            } else if !named.is_empty() && !part.contains('/') {
                tests += 1;
                let mut candidates = sources.iter().filter(|path| named.iter().any(|name| path.ends_with(name)));
                // A test's name may be the end of a template.
                let test = part.trim_start_matches("… ");
                if !candidates.any(|path| fs::read_to_string(path).is_ok_and(|text| text.contains(test))) {
                    missing.push(format!("{}: {test}", named.join(", ")));
                }
            }
        }
    }
    assert!(tests > 100, "{tests} tests");
    assert!(missing.is_empty(), "these files lack tests:\n{}", missing.join("\n"));
}

/// The templates, by path.
fn templates() -> Vec<(String, String)> {
    let nested = files(&workspace().join("infra")).into_iter().filter(|path| has_extension(path, &["yaml"]));
    let nested =
        nested.map(|path| path.strip_prefix(workspace()).expect("it is in the workspace").display().to_string());
    nested.chain(["template.yaml".to_owned()]).map(|path| (path.clone(), file(&path))).collect()
}

/// The alarms of the templates, and those among them that roll a deployment back.
fn alarms() -> (BTreeSet<String>, BTreeSet<String>) {
    let all: String = templates().into_iter().map(|(_, text)| text).collect();
    let lines: Vec<_> = all.lines().collect();
    let is_alarm = |pair: &&[&str]| matches!(pair, [_, kind] if kind.trim() == "Type: AWS::CloudWatch::Alarm");
    let declared = lines.windows(2).filter(is_alarm).filter_map(|pair| pair.first());
    let declared = declared.map(|name| name.trim().trim_end_matches(':').to_owned()).collect();
    // The alarms of a DeploymentPreference are references.
    let preferences =
        lines.iter().filter(|line| line.trim().starts_with("DeploymentPreference: {")).flat_map(|line| words(line));
    (declared, preferences.map(str::to_owned).collect())
}

#[test]
fn the_runbook_names_every_alarm_and_those_that_roll_back() {
    let (declared, preferred) = alarms();
    let rolling_back: BTreeSet<_> = preferred.intersection(&declared).map(String::as_str).collect();
    assert!(declared.len() > rolling_back.len() && !rolling_back.is_empty(), "{declared:?} {rolling_back:?}");

    let runbook = file("docs/runbook.md");
    let (_, section) = runbook.split_once("## Alarms\n").expect("it has a section on alarms");
    let section = section.split("\n## ").next().expect("it ends");
    let (_, sentence) = section.split_once("Only these roll a deployment back: ").expect("it says which roll back");
    let stated: BTreeSet<_> = names(sentence.split('.').next().expect("it ends")).collect();
    assert_eq!(stated, rolling_back, "the runbook and the template differ");

    let named: BTreeSet<_> = names(section).collect();
    let missing: Vec<_> = declared.iter().filter(|alarm| !named.contains(alarm.as_str())).collect();
    assert!(missing.is_empty(), "the runbook lacks {missing:?}");
}

#[test]
fn every_alarm_leads_to_its_section_of_the_runbook() {
    let runbook = file("docs/runbook.md");
    for (_, text) in templates() {
        for description in text.lines().filter(|line| line.contains("AlarmDescription:")) {
            let heading = description.split('"').nth(1).unwrap_or_else(|| panic!("no section is named: {description}"));
            assert!(runbook.contains(&format!("### {heading}\n")), "the runbook has no section {heading:?}");
        }
    }
}

/// The anchors that GitHub generates for a document's headings.
fn anchors(document: &str) -> BTreeSet<String> {
    let prose = document.split("\n```").step_by(2).flat_map(str::lines);
    let headings =
        prose.filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    let anchor = |heading: &str| {
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn links_between_documents_resolve() {
    let (mut links, mut broken) = (0, Vec::new());
    // Those of the benchmarks' templates are of the documents in `docs` that are made from them.
    let documents = documents().into_iter().filter(|(name, _)| !name.starts_with("tests/bench/"));
    for (name, text) in documents.chain([("CHANGELOG.md".to_owned(), file("CHANGELOG.md"))]) {
        let folder = workspace().join(&name).parent().expect("a document is in a folder").to_owned();
        let prose: String = text.split("\n```").step_by(2).collect();
        let targets = prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()));
        for target in targets.filter(|target| !target.contains("://")) {
            links += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = if path.is_empty() { workspace().join(&name) } else { folder.join(path) };
            let has_anchor = || fs::read_to_string(&path).is_ok_and(|text| anchors(&text).contains(anchor));
            if !path.exists() || !(anchor.is_empty() || has_anchor()) {
                broken.push(format!("{name}: {target}"));
            }
        }
    }
    assert!(links > 50, "{links} links");
    assert!(broken.is_empty(), "these lead nowhere:\n{}", broken.join("\n"));
}

/// The numbers of a text, without the zeros that end them.
fn numbers(text: &str) -> impl Iterator<Item = String> {
    let numbers = text.split(|c: char| !c.is_ascii_digit() && c != '.').map(|number| number.trim_matches('.'));
    numbers.filter_map(|number| Some(number.parse::<f64>().ok()?.to_string()))
}

#[test]
fn costs_are_those_of_the_calculation() {
    let script = workspace().join("infra/cost.py");
    let output = Command::new("python3").arg(&script).output().expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = String::from_utf8(output.stdout).expect("it prints UTF-8");
    let document = file("docs/cost.md");
    assert!(document.contains(&format!("```text\n{}\n```\n", output.trim())), "docs/cost.md lacks this:\n{output}");
    let known: BTreeSet<_> = numbers(&output).chain(numbers(&file("infra/cost.py"))).collect();
    let stated = document.split('$').skip(1).filter_map(|rest| numbers(rest.split(' ').next()?).next());
    let unknown: Vec<_> = stated.filter(|price| !known.contains(price)).collect();
    assert!(unknown.is_empty(), "neither prices nor results of infra/cost.py: {unknown:?}");
}

/// The alarms of the production stage and the number of metrics of each, which is what `CloudWatch` charges for.
fn production_alarms() -> Vec<(String, usize)> {
    let folder = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(workspace().join("infra"), folder.path().join("infra")).expect("linked");
    let template = file("template.yaml").replacen("Default: dev", "Default: prod", 1);
    fs::write(folder.path().join("template.yaml"), template).expect("written");
    let resources = local::template::Template::read(folder.path()).expect("the template is right").resources;
    let alarms = resources.into_iter().filter(|(_, resource)| resource.kind == "AWS::CloudWatch::Alarm");
    let metrics = |alarm: &yaml_serde::Value| match alarm.get("Metrics").and_then(yaml_serde::Value::as_sequence) {
        Some(metrics) => metrics.iter().filter(|metric| metric.get("MetricStat").is_some()).count(),
        None => 1,
    };
    alarms.map(|(name, alarm)| (name, metrics(&alarm.properties))).collect()
}

#[test]
fn costs_count_the_metrics_of_the_templates_alarms() {
    let alarms = production_alarms();
    // The nested stacks of a resource's alarms begin with its name.
    let resources: Vec<_> =
        alarms.iter().filter_map(|(alarm, _)| alarm.strip_suffix("TableAlarmsTableThrottled")).collect();
    let belongs = |alarm: &str, resource: &str| {
        let stack = alarm.strip_prefix(resource).unwrap_or_default();
        ["FunctionAlarms", "TableAlarms", "Version"].iter().any(|name| stack.starts_with(name))
    };
    let count = |belongs: &dyn Fn(&str) -> bool| -> usize {
        alarms.iter().filter(|(alarm, _)| belongs(alarm)).map(|(_, metrics)| metrics).sum()
    };
    let others = count(&|alarm| !resources.iter().any(|resource| belongs(alarm, resource)));
    let script = file("infra/cost.py");
    // A second table of a function has fewer.
    let of_each = resources.iter().map(|resource| count(&|alarm| belongs(alarm, resource))).max().expect("a resource");
    let stated = format!("\nALARM_METRICS, RESOURCE_ALARM_METRICS = {others}, {of_each}\n");
    assert!(script.contains(&stated), "infra/cost.py lacks this line:{stated}");
}

/// Every symptom leads to the checks that find it, and every check is part of the guide.
#[test]
fn troubleshooting_names_the_checks_of_the_doctor() {
    let guide = file("docs/troubleshooting.md");
    let mut named: BTreeSet<&&str> = BTreeSet::new();
    for section in guide.split("\n## ").skip(1) {
        let mut lines = section.lines().filter(|line| !line.is_empty());
        let (title, checks) = (lines.next().expect("a title"), lines.next().unwrap_or_default());
        let checks = if checks == "No check finds it." { "" } else { checks.strip_prefix("Checks: ").expect(title) };
        for check in checks.split('`').skip(1).step_by(2) {
            let known: Vec<_> = local::doctor::NAMES.iter().filter(|name| name.starts_with(check)).collect();
            assert!(!known.is_empty(), "{title}: there is no check {check}");
            named.extend(known);
        }
    }
    let missing: Vec<_> = local::doctor::NAMES.iter().filter(|name| !named.contains(name)).collect();
    assert!(missing.is_empty(), "docs/troubleshooting.md does not name {missing:?}");
}
