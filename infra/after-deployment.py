"""What `make deploy` does after a deployment: it says if the alarms have no receiver, and deletes what earlier deployments left.

It deletes versions of functions, except for the newest, to which an alias can be moved, and files in the SAM CLI's bucket,
except for those to which CloudFormation can roll back.
"""

import argparse
import json
import tomllib
from datetime import datetime, timedelta, timezone
from pathlib import Path

import boto3


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("stage", help="environment of samconfig.toml")
    parser.add_argument("--stack", help="name of the stack, instead of that in samconfig.toml")
    parser.add_argument("--versions", type=int, default=5, help="versions of each function to keep")
    parser.add_argument("--days", type=int, default=30, help="days to keep files that the stack does not use")
    options = parser.parse_args()
    config = tomllib.loads((Path(__file__).parents[1] / "samconfig.toml").read_text())[options.stage]
    parameters = config["deploy"]["parameters"]
    stack = options.stack or parameters["stack_name"]
    aws = boto3.Session(region_name=config["global"]["parameters"]["region"])
    if options.stage == "prod":
        print(receivers(aws, stack))
    versions = prune_versions(aws, stack, options.versions)
    files = prune_files(aws, stack, parameters["s3_prefix"], datetime.now(timezone.utc) - timedelta(days=options.days))
    print(f"pruned versions: {versions}, files: {files}")


def receivers(aws, stack):
    outputs = aws.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]
    topic = next(output["OutputValue"] for output in outputs if output["OutputKey"] == "AlarmTopicArn")
    pages = aws.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    subscriptions = [subscription for page in pages for subscription in page["Subscriptions"]]
    confirmed = sum(subscription["SubscriptionArn"].startswith("arn:") for subscription in subscriptions)
    if confirmed:
        return f"confirmed receivers of alarms: {confirmed}"
    if subscriptions:
        return "THE ALARMS HAVE NO RECEIVER: confirm the subscription in the email that SNS has sent"
    return f"THE ALARMS HAVE NO RECEIVER: set AlarmEmail, or subscribe to {topic}"


def prune_versions(aws, stack, kept):
    functions, pruned = aws.client("lambda"), 0
    for resource in resources(aws, stack, "AWS::Lambda::Function"):
        name = {"FunctionName": resource["PhysicalResourceId"]}
        pages = functions.get_paginator("list_versions_by_function").paginate(**name)
        versions = [version["Version"] for page in pages for version in page["Versions"]]
        versions = sorted((version for version in versions if version != "$LATEST"), key=int, reverse=True)
        used = set()
        for alias in functions.list_aliases(**name)["Aliases"]:
            used.add(alias["FunctionVersion"])
            used.update(alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {}))
        for version in set(versions[kept:]) - used:
            functions.delete_function(**name, Qualifier=version)
            pruned += 1
    return pruned


def prune_files(aws, stack, prefix, before):
    cloudformation, s3, pruned = aws.client("cloudformation"), aws.client("s3"), 0
    stacks, used = [stack], ""
    while stacks:
        name = stacks.pop()
        used += json.dumps(cloudformation.get_template(StackName=name, TemplateStage="Processed")["TemplateBody"])
        stacks += [nested["PhysicalResourceId"] for nested in resources(aws, name, "AWS::CloudFormation::Stack")]
    outputs = cloudformation.describe_stacks(StackName="aws-sam-cli-managed-default")["Stacks"][0]["Outputs"]
    bucket = next(output["OutputValue"] for output in outputs if output["OutputKey"] == "SourceBucket")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
        for file in page.get("Contents", []):
            if file["LastModified"] < before and file["Key"] not in used:
                s3.delete_object(Bucket=bucket, Key=file["Key"])
                pruned += 1
    return pruned


def resources(aws, stack, kind):
    pages = aws.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    found = [resource for page in pages for resource in page["StackResourceSummaries"]]
    return [resource for resource in found if resource["ResourceType"] == kind]


main()
