//! Deployments one after the other: which versions they publish, and that failing versions get no traffic.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::PermissionsExt,
};

use crate::{
    aws::{Aws, BUILT, workspace},
    stack::{self, Stack},
};

/// What a change of one parameter publishes.
enum Publishes {
    All,
    Only(&'static str),
    Nothing,
}

use Publishes::{All, Nothing, Only};

#[tokio::test]
async fn every_parameter_can_be_changed_alone() {
    let changes = [
        ("LogRetentionDays=7", Nothing),
        ("RequestsPerSecond=50", Nothing),
        ("RequestBurst=60", Nothing),
        ("AllowedOrigins=https://app.example.com", Nothing),
        ("MonthlyBudget=100", Nothing),
        ("MonthlyBudget=0", Nothing),
        ("AlarmEmail=none", Nothing),
        ("Rollout=AtOnce", Nothing),
        ("WebhookConcurrency=6", Only("ClerkWebhookFunction")),
        ("ClerkInstanceId=ins_other", Only("ClerkWebhookFunction")),
        ("EraseAfterDays=7", Only("ScheduledErasureFunction")),
        ("Release=again", All),
        ("LogLevel=WARN", All),
        ("Tracing=Active", All),
        ("ClerkIssuer=https://other.clerk.accounts.dev", All),
        ("ClerkAuthorizedParties=https://app.example.com", All),
        ("ClerkAudience=api", All),
        ("ClerkMaxTokenLifetime=60", All),
        // With the checks of CodeDeploy again.
        ("Rollout=Gradual", Nothing),
        (r#"ClerkJwtKey="""#, All),
    ];
    // Those that need a certificate, another build, another stage, or an existing table, which another test has.
    let others =
        ["Stage", "Architecture", "DomainName", "CertificateArn", "HostedZoneId", "EdgeUrl"].map(str::to_owned);
    let existing = |name: &String| name.starts_with("Existing");
    let tested: BTreeSet<_> =
        changes.iter().filter_map(|(change, _)| change.split('=').next()).map(str::to_owned).collect();
    let template = fs::read_to_string(workspace().join("template.yaml")).expect("it is there");
    let template: yaml_serde::Value = yaml_serde::from_str(&template).expect("it is YAML");
    let declared = template["Parameters"].as_mapping().expect("parameters").keys();
    let declared: BTreeSet<_> = declared.map(|name| name.as_str().expect("a name").to_owned()).collect();
    let untested: Vec<_> =
        declared.difference(&tested).filter(|name| !others.contains(name) && !existing(name)).collect();
    assert!(untested.is_empty(), "no change of {untested:?} is tested");

    let aws = Aws::start("parameters").await;
    let template = aws.built().join("template.yaml");
    let stack = Stack::deploy(&aws, &template, &[]).await;
    let mut versions = stack.versions().await;
    assert!(versions.len() > 4 && versions.values().all(|version| version == "1"), "{versions:?}");
    for (change, publishes) in changes {
        stack.set(&template, &[change]).await.unwrap_or_else(|error| panic!("{change}: {error}"));
        for (function, version) in &mut versions {
            let publishes = match publishes {
                All => true,
                Only(name) => function == name,
                Nothing => false,
            };
            *version = (version.parse::<u32>().expect("a number") + u32::from(publishes)).to_string();
        }
        assert_eq!(stack.versions().await, versions, "{change}");
    }

    let (live, all) = (versions.values(), versions.values().map(|version| version.parse::<usize>().expect("a number")));
    let old: usize = all.map(|newest| newest.saturating_sub(5)).sum();
    assert!(old > live.len(), "there is something to prune");
    // Emails are not confirmed here, and the stack has none any more.
    let printed = aws.after_deployment(stack::NAME);
    assert!(printed.starts_with("THE ALARMS HAVE NO RECEIVER: set AlarmEmail"), "{printed}");
    assert!(printed.contains(&format!("pruned versions: {old}, files: ")), "{printed}");
    assert!(!printed.ends_with("files: 0\n"), "{printed}");
    let printed = aws.after_deployment(stack::NAME);
    assert!(printed.ends_with("pruned versions: 0, files: 0\n"), "nothing that is used: {printed}");
    assert_eq!(stack.versions().await, versions);
    // What CloudFormation needs is still in the bucket.
    stack.set(&template, &["LogRetentionDays=14"]).await.unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test]
async fn failing_version_gets_no_traffic_and_its_commit_can_be_deployed_again() {
    let aws = Aws::start("failures").await;
    let build = aws.built();
    let template = build.join("template.yaml");
    let stack = Stack::deploy(&aws, &template, &[]).await;
    let before = stack.versions().await;
    let error = stack.set(&template, &[r#"AlarmEmail="""#]).await.expect_err("a rule of the template");
    assert!(error.contains("prod needs an AlarmEmail"), "{error}");
    let served = async |stack: &Stack<'_>| {
        for path in ["/profile", "/chats"] {
            assert_eq!(stack.call(None, "GET", path, None).await.body["code"], "token_missing");
        }
    };

    // One function has another version, and one cannot start.
    let chats = build.join("ChatsFunction/bootstrap");
    OpenOptions::new().append(true).open(chats).and_then(|mut file| file.write_all(b"changed")).expect("writable");
    let profile = build.join("ProfileFunction/bootstrap");
    let works = fs::read(&profile).expect("it is built");
    fs::write(&profile, "#!/bin/sh\nexit 1\n").expect("writable");
    fs::set_permissions(&profile, fs::Permissions::from_mode(0o755)).expect("writable");
    stack.set(&template, &["Rollout=Gradual"]).await.expect_err("the check of the version fails");
    assert_eq!(stack.versions().await, before);
    served(&stack).await;

    assert_eq!(aws.log().matches("the hook of the deployment of version 2 failed").count(), 1);

    // One responds, but not as it should. Lambda has its version when the same commit is deployed again.
    fs::write(&profile, &works).expect("writable");
    let connect = build.join("LiveConnectFunction/bootstrap");
    fs::copy(build.join("LiveNotifyFunction/bootstrap"), &connect).expect("built");
    for _ in 0..2 {
        assert!(!aws.log().contains("A version for this Lambda function exists"));
        stack.set(&template, &["Release=2"]).await.expect_err("the check of the version fails");
        assert_eq!(stack.versions().await, before);
    }
    assert!(aws.log().contains("A version for this Lambda function exists"), "{}", aws.log());

    // The role of the check allows exactly what it calls.
    let log = aws.log();
    let called: BTreeSet<_> = log.lines().filter(|line| line.starts_with("codedeploy:")).collect();
    let check = fs::read_to_string(workspace().join("infra/version-check.yaml")).expect("it is there");
    let allowed: BTreeSet<_> = check.split(['[', ']', ',', ' ', '\n']).collect();
    let allowed = allowed.into_iter().filter(|word| word.starts_with("codedeploy:")).collect();
    assert_eq!(called, allowed);

    // A fix, with another release.
    fs::copy(workspace().join(BUILT).join("LiveConnectFunction/bootstrap"), &connect).expect("built");
    stack.set(&template, &["Release=3"]).await.unwrap_or_else(|error| panic!("{error}"));
    let after = stack.versions().await;
    assert!(after.iter().all(|(function, version)| version != &before[function]), "{after:?}");
    served(&stack).await;
}
