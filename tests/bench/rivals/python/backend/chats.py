"""The function `chats`: a person's chats, each person's in a partition of their own."""

import base64
import binascii
import os
import re
import uuid
from http import HTTPStatus
from typing import Any

from botocore.exceptions import ClientError
from uuid_utils import uuid7

from .api import Json, Problem, Request, Response, api_handler, bad_request, invalid_body, not_found
from .auth import reads, writes
from .dynamo import ConditionFailed, client, now

TABLE = os.environ["CHATS_TABLE"]
ATTRIBUTES = "chatId, title, createdAt, updatedAt, version"
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
# Control characters, and halves of surrogate pairs, which JSON can spell though they are no characters.
NOT_IN_TITLES = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
ENTITY_TAG = re.compile(r'(?:W/)?"[^"]*"')
OUR_TAG = re.compile(r'"([0-9]{1,19})"')
MAX_TITLE = 200
MAX_LIMIT = 100
# No more values fit into one IN of DynamoDB's.
MAX_TAGS = 100
# Of a cursor.
VERSION = 2
MAX_CREATED_AT = 10**15

Item = dict[str, Any]


def chat_of(item: Item) -> Json:
    return {
        "id": item["chatId"]["S"],
        "title": item["title"]["S"],
        "createdAt": int(item["createdAt"]["N"]),
        "updatedAt": int(item["updatedAt"]["N"]),
        "version": int(item["version"]["N"]),
    }


def tagged(chat: Json, status: HTTPStatus = HTTPStatus.OK, **headers: str) -> Response:
    return Response(status, chat, {"etag": f'"{chat["version"]}"', **headers})


def key_of(user_id: str, chat_id: str) -> Item:
    return {"userId": {"S": user_id}, "chatId": {"S": chat_id}}


def id_in(request: Request) -> str:
    if not UUID7.fullmatch(request.id):
        raise bad_request("invalid_id", "The id in the path is malformed: an id is a UUIDv7.")
    return request.id.lower()


def title_in(body: Json, *others: str) -> str:
    unknown = next((name for name in body if name not in ("title", *others)), None)
    if unknown is not None:
        raise invalid_body(f"there is no member {unknown!r}")
    title = body.get("title")
    if not isinstance(title, str):
        raise invalid_body("title: it has to be there, as a string")
    title = title.strip()
    if not 1 <= len(title) <= MAX_TITLE or NOT_IN_TITLES.search(title):
        raise invalid_body(f"title: a title has 1 to {MAX_TITLE} characters, none of them a control character")
    return title


def position_of(chat_id: str, created_at: int) -> str:
    return f"{created_at:015}#{chat_id}"


def encode_cursor(chat: Json) -> str:
    place = chat["createdAt"].to_bytes(8) + uuid.UUID(chat["id"]).bytes
    return base64.urlsafe_b64encode(b"\x02" + place).rstrip(b"=").decode()


def decode_cursor(text: str) -> Item:
    """Id and position of the last chat seen. The partition comes from the token, so a cursor opens nobody else's."""
    try:
        version, *place = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        created_at, chat_id = int.from_bytes(place[:8]), str(uuid.UUID(bytes=bytes(place[8:])))
        if version == VERSION and created_at < MAX_CREATED_AT:
            return {"chatId": {"S": chat_id}, "listPosition": {"S": position_of(chat_id, created_at)}}
    except (ValueError, binascii.Error):
        pass
    raise bad_request("invalid_query", "The cursor is not one that this API gave out.")


def limit_in(request: Request) -> int:
    text = request.query.get("limit", "50")
    limit = int(text) if re.fullmatch("[0-9]{1,3}", text) else 0
    if not 1 <= limit <= MAX_LIMIT:
        raise bad_request("invalid_query", f"limit is a number from 1 to {MAX_LIMIT}.")
    return limit


def precondition_in(request: Request) -> tuple[str, Item]:
    """If-Match (RFC 9110, section 13.1.1) as a condition and its values; without it, only that the chat exists."""
    field = request.headers.get("if-match", "*").strip()
    if field == "*":
        return "attribute_exists(chatId)", {}
    tags = [tag.strip() for tag in field.split(",")]
    if len(tags) > MAX_TAGS or not all(ENTITY_TAG.fullmatch(tag) for tag in tags):
        raise bad_request("invalid_if_match", "The header If-Match holds no entity tag; send a chat's ETag as it came.")
    # A tag that is none of ours matches nothing, like the version 0.
    versions = [match[1] for tag in tags if (match := OUR_TAG.fullmatch(tag))] or ["0"]
    values = {f":version{index}": {"N": version} for index, version in enumerate(versions)}
    return f"version IN ({', '.join(values)})", values


def present_at(error: ClientError) -> Item | None:
    """The item as it was when its condition failed."""
    response: Item = {**error.response}
    return response.get("Item")


def changed(item: Item) -> Problem:
    version = int(item["version"]["N"])
    detail = "It was changed in the meantime; read it again, and send the change with its present ETag."
    headers = {"etag": f'"{version}"'}
    return Problem(HTTPStatus.PRECONDITION_FAILED, "version_mismatch", detail, headers, version=version)


@reads
def list_chats(request: Request, user_id: str) -> Response:
    limit, start = limit_in(request), Item()
    if "cursor" in request.query:
        start["ExclusiveStartKey"] = {"userId": {"S": user_id}, **decode_cursor(request.query["cursor"])}
    answer = client.query(
        TableName=TABLE,
        IndexName="newest",
        KeyConditionExpression="userId = :user",
        ProjectionExpression=ATTRIBUTES,
        ExpressionAttributeValues={":user": {"S": user_id}},
        ScanIndexForward=False,
        ConsistentRead=True,
        # One more than asked for: whether it is there tells whether another page is.
        Limit=limit + 1,
        **start,
    )
    items = answer["Items"]
    chats = [chat_of(item) for item in items[:limit]]
    # Should DynamoDB's own limit of 1 MB cut the page short, it says so with a last key.
    more = len(items) > limit or "LastEvaluatedKey" in answer
    return Response(body={"chats": chats, "cursor": encode_cursor(chats[-1]) if more and chats else None})


@writes
def create_chat(request: Request, user_id: str) -> Response:
    body = request.json()
    title = title_in(body, "id")
    chat_id = body.get("id")
    if chat_id is None:
        chat_id = str(uuid7())
    elif not isinstance(chat_id, str) or not UUID7.fullmatch(chat_id):
        raise invalid_body("id: an id is a UUIDv7")
    # Names this creation, so that it is known when its answer was lost and the SDK sends it again.
    change = uuid7().hex
    created_at = now()
    at = {"N": str(created_at)}
    item: Item = {
        **key_of(user_id, chat_id.lower()),
        "listPosition": {"S": position_of(chat_id.lower(), created_at)},
        "title": {"S": title},
        "createdAt": at,
        "updatedAt": at,
        "version": {"N": "1"},
        "change": {"S": change},
    }
    try:
        client.put_item(
            TableName=TABLE,
            Item=item,
            ConditionExpression="attribute_not_exists(chatId)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except ConditionFailed as error:
        present = present_at(error)
        if not present:
            raise
        if present["change"]["S"] != change:
            if (present.get("createdTitle") or present["title"])["S"] == title:
                return tagged(chat_of(present))
            detail = "You have something else under this id; make a new id, or leave it away."
            raise Problem(HTTPStatus.CONFLICT, "id_conflict", detail) from None
    chat = chat_of(item)
    return tagged(chat, HTTPStatus.CREATED, location=f"/chats/{chat['id']}")


@reads
def read_chat(request: Request, user_id: str) -> Response:
    key = key_of(user_id, id_in(request))
    answer = client.get_item(TableName=TABLE, Key=key, ProjectionExpression=ATTRIBUTES, ConsistentRead=True)
    if "Item" not in answer:
        raise not_found()
    return tagged(chat_of(answer["Item"]))


@writes
def rename_chat(request: Request, user_id: str) -> Response:
    key = key_of(user_id, id_in(request))
    condition, versions = precondition_in(request)
    title = title_in(request.json())
    change = uuid7().hex
    try:
        answer = client.update_item(
            TableName=TABLE,
            Key=key,
            # The title at creation is kept, since a creation that is sent again is known by it.
            UpdateExpression=(
                "SET createdTitle = if_not_exists(createdTitle, title), title = :title, updatedAt = :now, "
                "change = :change ADD version :one"
            ),
            ConditionExpression=f"{condition} AND change <> :change",
            ExpressionAttributeValues={
                **versions,
                ":title": {"S": title},
                ":change": {"S": change},
                ":now": {"N": str(now())},
                ":one": {"N": "1"},
            },
            ReturnValues="ALL_NEW",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except ConditionFailed as error:
        present = present_at(error)
        if not present:
            raise not_found() from None
        if present["change"]["S"] == change:
            return tagged(chat_of(present))
        raise changed(present) from None
    return tagged(chat_of(answer["Attributes"]))


@writes
def delete_chat(request: Request, user_id: str) -> Response:
    key = key_of(user_id, id_in(request))
    condition, versions = precondition_in(request)
    values = {"ExpressionAttributeValues": versions} if versions else Item()
    try:
        client.delete_item(
            TableName=TABLE,
            Key=key,
            ConditionExpression=condition,
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
            **values,
        )
    except ConditionFailed as error:
        present = present_at(error)
        if present:
            raise changed(present) from None
        # An attempt before the last may have deleted it and lost its answer. It is gone, as was asked.
        if not error.response["ResponseMetadata"]["RetryAttempts"]:
            raise not_found() from None
    return Response(HTTPStatus.NO_CONTENT)


handler = api_handler(
    {
        "/chats": {"GET": list_chats, "POST": create_chat},
        "/chats/{id}": {"GET": read_chat, "PATCH": rename_chat, "DELETE": delete_chat},
    }
)
