//! The built functions, for both architectures.

use std::{collections::BTreeSet, fs, process::Command};

use crate::{aws::BUILT, stack::workspace};

/// That of Amazon Linux 2023, on which Lambda runs the functions.
const GLIBC: (u32, u32) = (2, 34);

fn readelf(option: &str, file: &std::path::Path) -> String {
    let read = Command::new("readelf").arg(option).arg("--wide").arg(file).output().expect("binutils are installed");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    String::from_utf8(read.stdout).expect("UTF-8")
}

#[test]
fn functions_of_both_architectures_run_on_amazon_linux_2023() {
    let mut architectures = BTreeSet::new();
    for folder in [BUILT, ".aws-sam/other"] {
        let built = fs::read_dir(workspace().join(folder)).expect("`make test-builds` builds it");
        let built = built.map(|entry| entry.expect("it can be read").path().join("bootstrap"));
        let functions: Vec<_> = built.filter(|file| file.exists()).collect();
        assert!(functions.len() > 3, "{folder} has only {functions:?}");
        for function in functions {
            let header = readelf("--file-header", &function);
            let machine = header.lines().find_map(|line| line.trim().strip_prefix("Machine:")).expect("a machine");
            architectures.insert((folder, machine.trim().to_owned()));
            let versions = readelf("--version-info", &function);
            let versions = versions.split("GLIBC_").skip(1).filter_map(|version| {
                let mut parts = version.split(|character: char| !character.is_ascii_digit());
                Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
            });
            let newest: (u32, u32) = versions.max().expect("it uses glibc");
            assert!(newest <= GLIBC, "{} needs glibc {newest:?}", function.display());
        }
    }
    let machines: BTreeSet<_> = architectures.iter().map(|(_, machine)| machine.as_str()).collect();
    assert_eq!(machines, ["AArch64", "Advanced Micro Devices X86-64"].into(), "{architectures:?}");
    assert_eq!(architectures.len(), 2, "{architectures:?}");
}
