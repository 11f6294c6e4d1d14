"""The function `profile`: what is known of the person who calls."""

from collections.abc import Mapping
from typing import Any

from .api import Json, Request, Response, api_handler, not_found
from .auth import reads
from .dynamo import USERS, client

Item = Mapping[str, Any]


def number(item: Item, name: str) -> int | None:
    return int(item[name]["N"]) if name in item else None


def version_time(item: Item, name: str) -> int:
    """When what Clerk said was true: a version begins with it. Before all times where Clerk said nothing."""
    return int(item[name]["S"].partition("-")[0]) if name in item else -1


def profile_of(item: Item) -> Json:
    """What is shown: of each detail the newest that Clerk vouched for, and the caller's word where it said nothing."""
    told_at, claimed_at = version_time(item, "clerkVersion"), version_time(item, "claimedVersion")

    def newest(detail: str) -> str | None:
        register = detail[0].upper() + detail[1:]
        value = item.get(f"claimed{register}") if claimed_at > told_at else None
        if value is None:
            value = item.get(detail if told_at >= 0 else f"caller{register}")
        return value["S"] if value else None

    created = (number(item, name) for name in ("createdAt", "callerCreatedAt", "deletedAt"))
    times = [told_at, claimed_at, number(item, "deletedAt") or 0]
    if told_at < 0:
        times.append(number(item, "callerUpdatedAt") or 0)
    return {
        "id": item["userId"]["S"],
        "email": newest("email"),
        "firstName": newest("firstName"),
        "lastName": newest("lastName"),
        "imageUrl": newest("imageUrl"),
        "createdAt": next((time for time in created if time is not None), 0),
        "updatedAt": max(times),
        "isActive": item.get("isActive", {}).get("BOOL", True) and not item.get("banned", {}).get("BOOL", False),
    }


@reads
def read_profile(_: Request, user_id: str) -> Response:
    answer = client.get_item(TableName=USERS, Key={"userId": {"S": user_id}}, ConsistentRead=True)
    if "Item" not in answer:
        raise not_found()
    return Response(body=profile_of(answer["Item"]))


handler = api_handler({"/profile": {"GET": read_profile}})
