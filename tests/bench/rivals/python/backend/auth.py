"""Who is calling: a session token of Clerk's, verified, and whether its account and session still count."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from . import dynamo
from .api import Action, Problem, Request, Response, unavailable

# The value of the header `cat` by which Clerk marks session tokens; older ones have none.
SESSION_TOKEN = "cl_B7d4PD111AAA"
ISSUER = os.environ["CLERK_ISSUER"].rstrip("/")
PARTIES = {party.strip() for party in os.environ.get("CLERK_AUTHORIZED_PARTIES", "").split(",") if party.strip()}
LEEWAY_SECONDS = 5

REFUSALS: dict[type[Exception], tuple[str, str]] = {
    jwt.InvalidAlgorithmError: (
        "token_unsupported",
        "The token's header asks for something else than an RS256-signed JWT.",
    ),
    jwt.InvalidSignatureError: ("token_bad_signature", "The token's signature is wrong."),
    jwt.InvalidIssuerError: ("token_wrong_issuer", "The token was issued by another Clerk instance."),
    jwt.ExpiredSignatureError: ("token_expired", "The token has expired; get a fresh one from Clerk."),
    jwt.ImmatureSignatureError: ("token_not_active_yet", "The token is not valid yet."),
    jwt.PyJWKClientError: ("token_unknown_key", "The token is signed with a key that the issuer does not publish."),
}
MALFORMED = ("token_malformed", "The token is not a well-formed Clerk session token.")


@dataclass(frozen=True, slots=True)
class Identity:
    user_id: str
    session_id: str


def given_key() -> RSAPublicKey | None:
    """The key in the environment, whose line breaks may be written as \\n."""
    pem = os.environ.get("CLERK_JWT_KEY", "").replace("\\n", "\n").strip()
    if not pem:
        return None
    key = load_pem_public_key(pem.encode())
    if not isinstance(key, RSAPublicKey):
        raise ValueError("CLERK_JWT_KEY is not an RSA public key in PEM")
    return key


KEY = given_key()
# Makes no request before it is asked for a key, and keeps what it fetched.
PUBLISHED = jwt.PyJWKClient(f"{ISSUER}/.well-known/jwks.json", lifespan=3600, timeout=3, cooldown_duration=10)

# boto3 blocks, so the look at the account has a thread of its own.
pool = ThreadPoolExecutor(max_workers=1)


def refused(code: str, detail: str) -> Problem:
    challenge = f'Bearer error="invalid_token", error_description="{detail}"'
    return Problem(HTTPStatus.UNAUTHORIZED, code, detail, {"www-authenticate": challenge})


def bearer(headers: dict[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        detail = "Sign in, and send Clerk's session token in the header Authorization: Bearer <token>."
        raise Problem(HTTPStatus.UNAUTHORIZED, "token_missing", detail, {"www-authenticate": "Bearer"})
    return token.strip()


def verify(token: str) -> Identity:
    """Verifies a token, without a request to anybody where the key was given."""
    try:
        verified = jwt.decode_complete(
            token,
            KEY or PUBLISHED.get_signing_key_from_jwt(token),
            algorithms=["RS256"],
            issuer=[ISSUER, f"{ISSUER}/"],
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iss", "sub"], "verify_aud": False},
        )
    except (jwt.PyJWKClientConnectionError, jwt.PyJWKSetError) as error:
        raise unavailable() from error
    except jwt.PyJWTError as error:
        raise refused(*REFUSALS.get(type(error), MALFORMED)) from error
    header, claims = verified["header"], verified["payload"]
    user_id, session_id = claims["sub"], claims.get("sid")
    if header.get("cat", SESSION_TOKEN) != SESSION_TOKEN or not session_id or user_id.startswith("mch_"):
        raise refused("token_unsupported_type", "The token is not a session token; this API takes no others.")
    if PARTIES and claims.get("azp") not in PARTIES:
        raise refused("token_unauthorized_party", "The token was issued to an origin that this API does not serve.")
    if claims.get("sts", "active") != "active":
        raise refused("session_pending", "The session is pending: the person has to finish signing in.")
    return Identity(user_id, session_id)


def authorize(identity: Identity) -> None:
    """Finds out, with one request, whether the account is active and the session has not ended."""
    user = {"userId": {"S": identity.user_id}}
    session = {**user, "sessionId": {"S": identity.session_id}}
    answer = dynamo.client.batch_get_item(
        RequestItems={
            dynamo.USERS: {"Keys": [user], "ProjectionExpression": "isActive, banned", "ConsistentRead": True},
            dynamo.SESSIONS: {"Keys": [session], "ProjectionExpression": "sessionId", "ConsistentRead": True},
        }
    )
    if answer.get("UnprocessedKeys"):
        raise unavailable()
    # An account that no webhook has told of yet is good.
    for account in answer["Responses"].get(dynamo.USERS, []):
        if not account.get("isActive", {}).get("BOOL", True) or account.get("banned", {}).get("BOOL", False):
            raise refused("account_inactive", "The account is deleted or banned.")
    if answer["Responses"].get(dynamo.SESSIONS):
        raise refused("session_ended", "The session has ended; sign in again.")


UserAction = Callable[[Request, str], Response]


def reads(action: UserAction) -> Action:
    """For actions that read: the look at the account runs beside them, and the answer waits for both."""

    def call(request: Request) -> Response:
        identity = verify(bearer(request.headers))
        check = pool.submit(authorize, identity)
        try:
            return action(request, identity.user_id)
        finally:
            # Its refusal takes the place of whatever the action came to.
            check.result()

    return call


def writes(action: UserAction) -> Action:
    """For actions that write: the look at the account comes first."""

    def call(request: Request) -> Response:
        identity = verify(bearer(request.headers))
        authorize(identity)
        return action(request, identity.user_id)

    return call
