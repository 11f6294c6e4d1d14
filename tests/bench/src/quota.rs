//! The processor time that a function of a certain memory size gets.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};

/// The memory in MB that comes with the equivalent of one processor (Lambda's documentation).
const MEMORY_OF_ONE_PROCESSOR: u64 = 1769;
/// In microseconds. A process that has used its quota waits for the next period. Lambda's own is not documented.
const PERIOD: u64 = 20_000;

/// A control group with a quota of processor time.
pub(crate) struct Quota {
    folder: PathBuf,
}

impl Quota {
    /// The quota of a function with `memory` MB. Fails where this machine does not permit control groups.
    pub(crate) fn of(memory: u64) -> Result<Self> {
        let quota = PERIOD * memory / MEMORY_OF_ONE_PROCESSOR;
        let name = format!("bench-{}-{memory}", std::process::id());
        let root = PathBuf::from("/sys/fs/cgroup");
        let (folder, files) = if root.join("cpu/cpu.cfs_quota_us").exists() {
            // Version 1 of control groups.
            let files = [("cpu.cfs_period_us", PERIOD.to_string()), ("cpu.cfs_quota_us", quota.to_string())];
            (root.join("cpu").join(name), files.to_vec())
        } else if fs::read_to_string(root.join("cgroup.subtree_control")).is_ok_and(|list| list.contains("cpu")) {
            (root.join(name), vec![("cpu.max", format!("{quota} {PERIOD}"))])
        } else {
            bail!("{} has no control groups for processor time", root.display());
        };
        fs::create_dir(&folder).with_context(|| format!("{} cannot be created", folder.display()))?;
        let quota = Self { folder };
        for (file, text) in files {
            fs::write(quota.folder.join(file), text).with_context(|| format!("{file} cannot be written"))?;
        }
        Ok(quota)
    }

    /// Limits a process from now on.
    pub(crate) fn limit(&self, pid: u32) -> Result<()> {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).context("a process cannot be limited")
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // Fails while the kernel still has a process in it; an empty group costs nothing.
        let _ = fs::remove_dir(&self.folder);
    }
}
