"""The function `clerk-webhook`: keeps profiles and ended sessions in step with Clerk, whose events Svix signs."""

import base64
import hashlib
import json
import os
from contextlib import suppress
from typing import Any

from svix.webhooks import Webhook, WebhookVerificationError

from .api import Json, Problem, Request, Response, api_handler, bad_request, dumps, log
from .dynamo import SESSIONS, USERS, ConditionFailed, client

HEADERS = ("svix-id", "svix-timestamp", "svix-signature")
# How long an ended session is remembered: longer than any token of it lives.
REMEMBERED_SECONDS = 24 * 60 * 60

webhook = Webhook(os.environ["CLERK_WEBHOOK_SIGNING_SECRET"])


def verify(body: bytes, headers: dict[str, str]) -> None:
    missing = [name for name in HEADERS if not headers.get(name)]
    if missing:
        raise bad_request("webhook_headers_missing", f"The request lacks the headers {', '.join(missing)}.")
    try:
        webhook.verify(body, headers)
    except WebhookVerificationError as error:
        if str(error).startswith(("Message timestamp", "Invalid Signature Headers")):
            raise bad_request("webhook_stale", "The svix-timestamp header is too far away from now.") from None
        raise bad_signature() from None
    except ValueError:
        # Signatures, or a body, that cannot be decoded.
        raise bad_signature() from None


def bad_signature() -> Problem:
    return bad_request("webhook_bad_signature", "No signature in the svix-signature header matches the body.")


def update(table: str, key: dict[str, str], change: str, condition: str, values: dict[str, Any]) -> None:
    """Makes a change. That its condition fails means that it, or a newer one, had been made before."""
    with suppress(ConditionFailed):
        client.update_item(
            TableName=table,
            Key={name: {"S": value} for name, value in key.items()},
            UpdateExpression=change,
            ConditionExpression=condition,
            ExpressionAttributeValues=values,
        )


def user_changed(user: Json, at: int) -> None:
    primary = user.get("primary_email_address_id")
    addresses = user.get("email_addresses") or []
    email = next((address["email_address"] for address in addresses if primary and address["id"] == primary), None)
    details = {
        "email": email or None,
        "firstName": user.get("first_name") or None,
        "lastName": user.get("last_name") or None,
        "imageUrl": user.get("image_url") or None,
    }
    banned = bool(user.get("banned"))
    updated_at: int = user.get("updated_at") or at
    created_at: int = user.get("created_at") or updated_at
    # A time and a fingerprint of what is said, so that of any two snapshots one is the newer.
    digest = hashlib.sha256(dumps([list(details.items()), banned, created_at]).encode()).digest()
    version = f"{updated_at:020}-{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
    present = {name: value for name, value in details.items() if value is not None}
    absent = [name for name, value in details.items() if value is None]
    update(
        USERS,
        {"userId": user["id"]},
        "SET isActive = if_not_exists(isActive, :active), banned = :banned, createdAt = :created, "
        "clerkVersion = :version"
        + "".join(f", {name} = :{name}" for name in present)
        + (f" REMOVE {', '.join(absent)}" if absent else ""),
        "attribute_not_exists(erasedAt) AND (attribute_not_exists(clerkVersion) OR clerkVersion < :version)",
        {
            ":active": {"BOOL": True},
            ":banned": {"BOOL": banned},
            ":created": {"N": str(created_at)},
            ":version": {"S": version},
            **{f":{name}": {"S": value} for name, value in present.items()},
        },
    )


def user_deleted(user: Json, at: int) -> None:
    update(
        USERS,
        {"userId": user["id"]},
        "SET isActive = :active, deletedAt = :at",
        "attribute_not_exists(deletedAt) OR deletedAt > :at",
        {":active": {"BOOL": False}, ":at": {"N": str(at)}},
    )


def session_ended(session: Json, at: int) -> None:
    expires_at = (session.get("updated_at") or at) // 1000 + REMEMBERED_SECONDS
    update(
        SESSIONS,
        {"userId": session["user_id"], "sessionId": session["id"]},
        "SET expiresAt = :at",
        "attribute_not_exists(expiresAt) OR expiresAt < :at",
        {":at": {"N": str(expires_at)}},
    )


CHANGES = {
    "user.created": user_changed,
    "user.updated": user_changed,
    "user.deleted": user_deleted,
    "session.ended": session_ended,
    "session.removed": session_ended,
    "session.revoked": session_ended,
}


def receive(request: Request) -> Response:
    body, headers = request.body(), request.headers
    verify(body, headers)
    try:
        event = json.loads(body)
        change = CHANGES.get(event["type"])
        if change:
            change(event["data"], event.get("timestamp") or int(headers["svix-timestamp"]) * 1000)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # Sending it again would not help, so it is answered like one that was taken.
        log(level="ERROR", message="a signed event that cannot be used", cause=repr(error))
    return Response(body={"success": True})


# A function URL has one purpose, whatever path is written behind it.
handler = api_handler({"*": {"POST": receive}})
