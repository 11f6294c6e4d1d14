"""Prints what a stack costs a month, in dollars, in us-east-1. docs/cost.md has the sources and this output."""

import math

GB = 2**30
HOURS = 730  # of a month

# Prices: docs/cost.md has the source of each.
REQUESTS = 1.00 / 1e6  # API Gateway, HTTP API
INVOCATIONS = 0.20 / 1e6  # Lambda
GB_SECONDS = 0.0000133334  # Lambda, arm64
READ_UNITS, WRITE_UNITS = 0.125 / 1e6, 0.625 / 1e6  # DynamoDB, on demand
STORED_GB = 0.25 + 0.20  # DynamoDB, with point-in-time recovery
LOG_GB = 0.50 + 0.03  # CloudWatch Logs, taken in and kept for a month
SENT_GB = 0.09  # data to the internet
TRACES = 5.00 / 1e6  # X-Ray
METRIC, ALARM_METRIC, DASHBOARD = 0.30, 0.10, 3.00  # CloudWatch
SECRET = 0.40
SCHEDULES = 1.00 / 1e6  # EventBridge Scheduler
CONNECTION_MINUTES, MESSAGES = 0.25 / 1e6, 1.00 / 1e6  # API Gateway, WebSocket API
CLOUDFRONT_REQUESTS = 1.00 / 1e6
WAF_FIXED, WAF_REQUESTS = 5.00 + 1.00, 0.60 / 1e6  # AWS WAF, a web ACL with one rule
CONVEX_SEAT = 25  # Professional
# Included calls, GB stored and GB of database I/O, and the price of each beyond.
STARTER = ((1e6, 2.20 / 1e6), (0.5, 0.22), (1, 0.22))
PROFESSIONAL = ((25e6, 2.00 / 1e6), (50, 0.20), (50, 0.20))

# Measured on the local stack: read units, write units, bytes of the body. The share of each call is assumed.
CALLS = {
    "list of 50": (0.60, 6, 0, 8146),
    "get": (0.15, 3, 0, 161),
    "create": (0.10, 2, 2, 161),
    "update": (0.10, 2, 2, 161),
    "update of the profile": (0.05, 2, 1, 162),
}
# Log lines in bytes, with 26 that CloudWatch adds to each. Estimates: API Gateway's, that of a batch, and Lambda's two.
API_LOG, FUNCTION_LOG, WEBHOOK_LOG, BATCH_LOG, LAMBDA_LOGS = 330 + 26, 428 + 26, 570 + 26, 600 + 26, 2 * (300 + 26)

# Assumed.
BILLED_MS, COLD_SHARE, COLD_MS, MEMORY_GB = 10, 0.01, 150, 0.5
HEADER_BYTES = 500
BUSY_SECONDS = 22 * 8 * 3600  # in which a month's requests come; only traces depend on it
METRICS = 20  # of the stack's own, in an hour with traffic
# Of prod without resources, and of each resource. tests/contract/documents.rs counts them in the templates.
ALARM_METRICS, RESOURCE_ALARM_METRICS = 54, 13
RESOURCES = 1
PROD_ALARM_METRICS = ALARM_METRICS + RESOURCES * RESOURCE_ALARM_METRICS
ERASURES, ERASURE_MS, ACCOUNT_BYTES = 30, 10_000, 500  # runs of scheduled-erasure, which scan all accounts
DEVELOPERS = 3
CONVEX_LIST_GB, CONVEX_CALL_GB = 13e-6, 1e-6  # that a call reads or writes, with the session check
ACCOUNTS = 10_000
MONTH = 1_000_000, 50_000, ACCOUNTS * 50 * 0.4e3 / 1e9  # their requests, webhooks, GB stored
OPENINGS, CHANGES, KEEP_ALIVE_MINUTES, FORCED_HOURS = 5, 20, 9, 2  # of a WebSocket, a day
FLOOD = 1000  # requests a second, all month
URL_RATE = 10  # requests a second that a function URL accepts for each concurrent execution
REJECTED_MS, REJECTED_BYTES = 2, 200  # of a request without a valid token or signature
API_RATE, WEBHOOK_CONCURRENCY, EDGE_RATE = 100, 5, 600 / 60  # RequestsPerSecond, WebhookConcurrency, RequestsPerMinute


def mean(column):
    return sum(call[0] * call[column] for call in CALLS.values())


def duration(invocations, ms=BILLED_MS):
    return invocations * (ms + COLD_SHARE * COLD_MS) / 1000 * MEMORY_GB * GB_SECONDS


def batches(requests, webhooks):
    """Each write is a batch of its own, for which live-notify queries the user's connections."""
    return webhooks + requests * sum(call[0] for call in CALLS.values() if call[2])


def traces(requests, webhooks=0):
    """With Tracing=Active: one a second and 5% of the others, of invocations that come at random."""
    invocations = requests + webhooks + batches(requests, webhooks)
    first = BUSY_SECONDS * (1 - math.exp(-invocations / BUSY_SECONDS))
    return (first + 0.05 * (invocations - first)) * TRACES


def usage(requests, webhooks=0, stored_gb=0, accounts=0):
    notified = batches(requests, webhooks)
    invocations = requests + webhooks + notified
    scanned = ERASURES * accounts * ACCOUNT_BYTES / 4096 / 2  # eventually consistent
    log_bytes = requests * (API_LOG + FUNCTION_LOG) + webhooks * WEBHOOK_LOG + notified * BATCH_LOG
    return {
        "API Gateway": requests * REQUESTS,
        "Lambda, invocations": invocations * INVOCATIONS,
        "Lambda, duration": duration(invocations),
        "DynamoDB, reads": (requests * mean(1) + notified + scanned) * READ_UNITS,
        "DynamoDB, writes": (requests * mean(2) + webhooks) * WRITE_UNITS,
        "DynamoDB, storage": 2 * stored_gb * STORED_GB,  # the index holds as much again
        "logs": (log_bytes + invocations * LAMBDA_LOGS) / GB * LOG_GB,
        "data to the internet": requests * (mean(3) + HEADER_BYTES) / GB * SENT_GB,
    }


def fixed(alarm_metrics, hours):
    return {
        "dashboard": DASHBOARD,
        "secret": SECRET,
        "alarms": alarm_metrics * ALARM_METRIC,
        "metrics of the stack": METRICS * METRIC * hours / HOURS,
        # With a metric of its own, in one hour of a day.
        "scheduled erasure": ERASURES * (SCHEDULES + INVOCATIONS + METRIC / HOURS) + duration(ERASURES, ERASURE_MS),
    }


def options(requests, webhooks=0, months=0):
    return {
        "X-Ray, with Tracing=Active": traces(requests, webhooks),
        "CloudFront and AWS WAF": requests * (CLOUDFRONT_REQUESTS + WAF_REQUESTS) + months * WAF_FIXED,
        "alarms of another resource": months * RESOURCE_ALARM_METRICS * ALARM_METRIC,
    }


def convex(plan, seats, requests, webhooks, stored_gb):
    lists = CALLS["list of 50"][0]
    io_gb = requests * (lists * CONVEX_LIST_GB + (1 - lists) * CONVEX_CALL_GB)
    used = requests + 2 * webhooks, stored_gb, io_gb
    over = (max(0, amount - included) * price for amount, (included, price) in zip(used, plan))
    return seats * CONVEX_SEAT + sum(over)


def live(hours):
    """1,000 users with one WebSocket each, for so many hours a day."""
    openings = 1000 * HOURS / 24 * max(OPENINGS, hours / FORCED_HOURS)
    changes = 1000 * HOURS / 24 * CHANGES
    minutes = 1000 * HOURS / 24 * hours * 60
    return {
        "connection minutes": minutes * CONNECTION_MINUTES,
        "keep-alives": minutes / KEEP_ALIVE_MINUTES * MESSAGES,
        # A message, an invocation, a row and the session check.
        "openings": openings * (MESSAGES + INVOCATIONS + WRITE_UNITS + 2 * READ_UNITS) + duration(openings),
        # live-notify's part of a change is in the usage.
        "changes": changes * MESSAGES,
    }


def flood():
    """Requests a second that cost, and dollars a month."""
    seconds = HOURS * 3600

    def rejected(rate, api=True):
        requests = rate * seconds
        log_bytes = FUNCTION_LOG + LAMBDA_LOGS + (API_LOG if api else 0)
        sent_bytes = HEADER_BYTES + REJECTED_BYTES
        each = INVOCATIONS + REJECTED_MS / 1000 * MEMORY_GB * GB_SECONDS + (REQUESTS if api else 0)
        each += (log_bytes * LOG_GB + sent_bytes * SENT_GB) / GB
        return rate, requests * each

    passed = CLOUDFRONT_REQUESTS * EDGE_RATE * seconds + WAF_FIXED + WAF_REQUESTS * FLOOD * seconds
    return {
        "webhooks, no limit": rejected(FLOOD, api=False),
        f"webhooks, WebhookConcurrency={WEBHOOK_CONCURRENCY}": rejected(WEBHOOK_CONCURRENCY * URL_RATE, api=False),
        "API, without a token": rejected(API_RATE),
        "API, with a session": (API_RATE, sum(usage(API_RATE * seconds).values())),
        "API with infra/edge.yaml": (EDGE_RATE, passed + rejected(EDGE_RATE)[1]),
    }


def table(title, *columns, total=True):
    print(f"{title}")
    for line in columns[0]:
        print(f"  {line:30}" + "".join(f"{column[line]:9.2f}" for column in columns))
    if total:
        print(f"  {'total':30}" + "".join(f"{sum(column.values()):9.2f}" for column in columns))
    print()


def months(factor):
    use = [factor * amount for amount in MONTH]
    ours = sum(usage(*use, factor * ACCOUNTS).values()) + sum(fixed(PROD_ALARM_METRICS, HOURS).values())
    return ours, convex(STARTER, 0, *use), convex(PROFESSIONAL, DEVELOPERS, *use)


table("Usage: a million requests; a month of 10,000 users", usage(1_000_000), usage(*MONTH, ACCOUNTS))
columns = fixed(0, 176), fixed(PROD_ALARM_METRICS, 0), fixed(PROD_ALARM_METRICS, HOURS)
table("Fixed, a month: dev; prod idle; prod busy", *columns)
columns = options(1_000_000), options(*MONTH[:2], months=1)
table("Optional, in no total: a million requests; a month of 10,000 users", *columns, total=False)
users = {"10,000 users": months(1), "100,000 users": months(10), "1,000,000 users": months(100)}
columns = [{name: row[column] for name, row in users.items()} for column in range(3)]
table("Usage and fixed, a month: Cubby; Convex Starter; Convex Professional", *columns, total=False)
durations = {f"billed {ms} ms": duration(1_000_000, ms) for ms in (5, 10, 20, 100)}
table("Lambda, duration of a million requests", durations, total=False)
table("Live updates, 1,000 users, a month: 2; 8; 24 hours a day", live(2), live(8), live(24))
floods = flood()
columns = [{name: row[column] for name, row in floods.items()} for column in range(2)]
table("A flood of 1,000 requests a second from one address, a month: accepted a second; dollars", *columns, total=False)
