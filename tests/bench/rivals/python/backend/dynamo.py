"""DynamoDB: one client for each process, made while Lambda starts it."""

import os
import time

import boto3
from botocore.config import Config

USERS = os.environ["USERS_TABLE"]
SESSIONS = os.environ["SESSIONS_TABLE"]

client = boto3.client(
    "dynamodb",
    region_name=os.environ["AWS_REGION"],
    # Connecting is given up soon, because an environment that Lambda froze thaws with dead connections.
    config=Config(
        connect_timeout=1,
        read_timeout=2.5,
        retries={"mode": "standard", "total_max_attempts": 3},
        tcp_keepalive=True,
    ),
)
ConditionFailed = client.exceptions.ConditionalCheckFailedException


def now() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
