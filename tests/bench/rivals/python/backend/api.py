"""HTTP over Lambda's events: requests, answers, problems (RFC 9457), routes, and a log line for each request."""

import base64
import json
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection

MAX_BODY = 16 * 1024
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
RETRYABLE = {
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "TransactionConflictException",
}

Json = dict[str, Any]


class Problem(Exception):
    """An answer that is not a success."""

    def __init__(
        self, status: HTTPStatus, code: str, detail: str, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.members = status, code, detail, members
        self.headers = headers or {}


def bad_request(code: str, detail: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, code, detail)


def invalid_body(reason: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_body", f"The body does not fit: {reason}.")


def not_found() -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, "not_found", "You have nothing under this address.")


def unavailable() -> Problem:
    detail = "The service cannot answer just now; send the request again after the time in Retry-After."
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail, {"retry-after": "2"})


def internal() -> Problem:
    detail = "Something is wrong on our side; it has been logged."
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", detail)


@dataclass(frozen=True, slots=True)
class Request:
    event: Json
    # What stands for {id} in the route's path.
    id: str

    @property
    def headers(self) -> dict[str, str]:
        headers: dict[str, str] = self.event["headers"]
        return headers

    @property
    def query(self) -> dict[str, str]:
        return self.event.get("queryStringParameters") or {}

    def body(self) -> bytes:
        body: str = self.event.get("body") or ""
        return base64.b64decode(body) if self.event.get("isBase64Encoded") else body.encode()

    def json(self) -> Json:
        if self.headers.get("content-type", "application/json").partition(";")[0].strip().lower() != "application/json":
            detail = "The body has to be JSON; send the header Content-Type: application/json."
            raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
        body = self.body()
        if len(body) > MAX_BODY:
            detail = f"The body is larger than {MAX_BODY} bytes."
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", detail)
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            raise bad_request("invalid_json", "The body is not JSON.") from None
        if not isinstance(value, dict):
            raise invalid_body("it has to be a JSON object")
        return value


@dataclass(frozen=True, slots=True)
class Response:
    status: HTTPStatus = HTTPStatus.OK
    body: Json | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"

    def to_lambda(self) -> Json:
        if self.body is None:
            return {"statusCode": self.status.value, "headers": self.headers}
        return {
            "statusCode": self.status.value,
            "headers": {"content-type": self.content_type, **self.headers},
            "body": dumps(self.body),
        }


Action = Callable[[Request], Response]
# A path, whose last part may be {id}, or * for every other; and an action for each method.
Routes = Mapping[str, Mapping[str, Action]]


def dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def log(**members: Any) -> None:
    # In one write, so that Lambda takes it as one line.
    sys.stdout.write(dumps(members) + "\n")


def api_handler(routes: Routes) -> Callable[[Json, Any], Json]:
    """What Lambda calls."""

    def handle(event: Json, context: Any) -> Json:
        began = time.perf_counter()
        method: str = event["requestContext"]["http"]["method"]
        parent, _, last = event["rawPath"].rpartition("/")
        paths = (event["rawPath"], f"{parent}/{{id}}", "*")
        route = next((path for path in paths if path in routes), None)
        code = cause = None
        try:
            response = find(routes, route, method)(Request(event, last))
        except Exception as error:
            problem, cause = as_problem(error)
            code = problem.code
            response = answer(problem)
        log(
            level="ERROR" if response.status >= 500 else "INFO",
            message="request",
            request_id=context.aws_request_id,
            method=method,
            route=route,
            status=response.status,
            duration_ms=round(1000 * (time.perf_counter() - began), 3),
            **{name: value for name, value in (("code", code), ("cause", cause)) if value},
        )
        return response.to_lambda()

    return handle


def find(routes: Routes, route: str | None, method: str) -> Action:
    if route is None:
        raise Problem(HTTPStatus.NOT_FOUND, "route_not_found", "No such path.")
    action = routes[route].get(method)
    if action is None:
        detail = "This path does not take this method; the header Allow lists those it does."
        allow = {"allow": ", ".join(routes[route])}
        raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", detail, allow)
    return action


def as_problem(error: Exception) -> tuple[Problem, str | None]:
    """What the caller is told of an error, and what the log is told."""
    if isinstance(error, Problem):
        return error, None
    cause = "".join(traceback.format_exception(error))
    if isinstance(error, HTTPClientError | NoConnection):
        return unavailable(), cause
    if isinstance(error, ClientError):
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status >= 500 or error.response["Error"]["Code"] in RETRYABLE:
            return unavailable(), cause
    return internal(), cause


def answer(problem: Problem) -> Response:
    body = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": problem.status.value,
        "detail": problem.detail,
        "code": problem.code,
        **problem.members,
    }
    return Response(problem.status, body, problem.headers, "application/problem+json")
