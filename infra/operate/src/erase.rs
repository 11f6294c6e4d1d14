//! Erases the data of users that were deleted some time ago.

use std::ops::ControlFlow;

use anyhow::{Context, Result};
use clap::Args;
use erasure::{Erasure, Tables};
use indicatif::{ProgressBar, ProgressStyle};

#[derive(Args)]
pub(crate) struct Erase {
    /// Erase users whose deletion was received at least this many days ago, and at least two minutes ago
    #[arg(long, env = "ERASE_AFTER_DAYS", default_value_t = 30)]
    days: u32,
    /// Erase only this user, regardless of --days, and again if the user was erased before
    // No `conflicts_with`: a value from the environment would conflict as well.
    #[arg(long)]
    user: Option<String>,
    /// Also erase users again that were erased before, which is necessary after a table was restored
    #[arg(long)]
    again: bool,
    /// Erase at most this many users in this run
    #[arg(long)]
    limit: Option<u64>,
    /// Erase nothing, and print the users that would be erased
    #[arg(long)]
    dry_run: bool,
}

impl Erase {
    pub(crate) async fn run(self, tables: &Tables) -> Result<()> {
        let erasure = Erasure::after_days(if self.user.is_some() { 0 } else { self.days })?;
        let bar = ProgressBar::no_length();
        bar.set_style(ProgressStyle::with_template("{spinner} {pos} users erased")?);
        let (mut users, mut items) = (0, 0);
        let mut visit = async |user: String| {
            if self.limit.is_some_and(|limit| users >= limit) {
                return Ok(ControlFlow::Break(()));
            }
            if self.dry_run {
                println!("{user}");
            } else {
                let erased = erasure.erase(tables, &user).await;
                items += erased.with_context(|| format!("stopped at {user}. Run it again to continue there"))?;
                bar.inc(1);
            }
            users += 1;
            Ok(ControlFlow::Continue(()))
        };
        if let Some(user) = &self.user {
            erasure.check_due(tables, user).await?;
            let _ = visit(user.clone()).await?;
        } else {
            let _ = erasure.users(tables, self.again, visit).await?;
        }
        bar.finish_and_clear();
        if self.dry_run {
            println!("users that would be erased: {users}");
        } else {
            println!("erased users: {users}, with items: {items}");
        }
        Ok(())
    }
}
