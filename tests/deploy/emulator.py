"""Starts MiniStack, an emulator of AWS, with features of CloudFormation that it lacks and template.yaml needs.

It prints its port on a line and logs to standard error. It ends when its standard input closes.
"""

import copy
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections import defaultdict
from contextvars import ContextVar
from unittest import mock

from hypercorn.config import Config

# The system chooses the port. The server gets the open socket, so that no other program takes the port in between.
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
PORT = str(listener.getsockname()[1])
os.environ["GATEWAY_PORT"] = PORT
# For the functions, which inherit it.
os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{PORT}"
Config.bind = property(lambda _: [f"fd://{listener.fileno()}"], lambda *_: None)

from ministack.app import SERVICE_HANDLERS, main
from ministack.core import iam_actions
from ministack.core.responses import json_response
from ministack.core.router import SERVICE_PATTERNS
from ministack.services import apigateway, cloudformation, dynamodb, sns
from ministack.services.cloudformation import changesets, engine, handlers, language_extensions, provisioners, stacks
from samtranslator.intrinsics.resolver import IntrinsicsResolver
from samtranslator.translator import transform as sam

RESOURCES = provisioners._RESOURCE_HANDLERS

# The emulator does not have CodeDeploy, and its CloudFormation has no budgets. Their resources do nothing. A deployment
# invokes the hook before traffic, and moves the alias at once if the hook reports success. There is no canary.
for kind in ("AWS::Budgets::Budget", "AWS::CodeDeploy::Application", "AWS::CodeDeploy::DeploymentGroup"):
    RESOURCES[kind] = {
        "create": lambda logical_id, properties, stack: (f"{stack}-{logical_id}", {}),
        "update": lambda physical_id, old, new, stack: (physical_id, {}),
        "delete": lambda physical_id, properties: None,
    }

deployments = {}
# The account's root user, for requests that no SDK makes. The emulator does not verify signatures.
CALLER = {"authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request"}
update_alias = RESOURCES["AWS::Lambda::Alias"]["update"]


def deploy_alias(physical_id, old, new, stack, *arguments):
    hook, target = new.get("BeforeAllowTrafficHook"), new["FunctionVersion"]
    if hook and target != old["FunctionVersion"]:
        name = f"d-{len(deployments)}"
        properties = {"Name": new["FunctionName"], "Alias": new["Name"], "TargetVersion": target}
        deployments[name] = {"resource": {"Type": "AWS::Lambda::Function", "Properties": properties}}
        url = f"http://127.0.0.1:{PORT}/2015-03-31/functions/{hook}/invocations"
        event = {"DeploymentId": name, "LifecycleEventHookExecutionId": "hook"}
        urllib.request.urlopen(urllib.request.Request(url, json.dumps(event).encode(), CALLER, method="POST")).read()
        if deployments[name].get("status") != "Succeeded":
            raise ValueError(f"the hook of the deployment of version {target} failed")
    return update_alias(physical_id, old, new, stack, *arguments)


async def code_deploy(method, path, headers, body, query):
    operation, request = headers["x-amz-target"].split(".")[1], json.loads(body)
    print(f"codedeploy:{operation}", file=sys.stderr, flush=True)
    if operation == "GetDeployment":
        # Without the revision's content, as on AWS.
        revision = {"revisionType": "String", "string": {"sha256": request["deploymentId"]}}
        return json_response({"deploymentInfo": {"applicationName": "application", "revision": revision}})
    if operation == "GetApplicationRevision":
        deployment = deployments[request["revision"]["string"]["sha256"]]
        content = json.dumps({"version": "0.0", "Resources": [{"function": deployment["resource"]}]})
        return json_response({"revision": {"revisionType": "String", "string": {"content": content}}})
    assert operation == "PutLifecycleEventHookExecutionStatus"
    deployments[request["deploymentId"]]["status"] = request["status"]
    return json_response({"lifecycleEventHookExecutionId": request["lifecycleEventHookExecutionId"]})


RESOURCES["AWS::Lambda::Alias"]["update"] = deploy_alias
SERVICE_PATTERNS["codedeploy"] = {"target_prefixes": ["CodeDeploy_20141006"]}
SERVICE_HANDLERS["codedeploy"] = code_deploy
# The hook calls the emulator, which must answer meanwhile.
blocks = stacks._runs_on_worker_thread
stacks._runs_on_worker_thread = lambda kind: kind == "AWS::Lambda::Alias" or blocks(kind)

# Lambda publishes a version only if the code or the configuration differs from those of the newest version. The emulator
# takes every update for a difference.
create_version = RESOURCES["AWS::Lambda::Version"]["create"]


def create_changed_version(logical_id, properties, stack):
    function, _ = provisioners._lambda_version_function(properties)
    newest = max(function["versions"], key=int, default=None)
    members = ["CodeSha256", "Environment", "LoggingConfig", "MemorySize", "Role", "Timeout", "TracingConfig"]
    content = [[function["config"].get(name) for name in members]]
    if newest and content == [[function["versions"][newest]["config"].get(name) for name in members]]:
        raise ValueError(f"A version for this Lambda function exists ( {newest} ).")
    return create_version(logical_id, properties, stack)


RESOURCES["AWS::Lambda::Version"]["create"] = create_changed_version

# In an update of a nested stack, the emulator forgets the attributes of resources that do not change.
update_resource = provisioners._update_resource


def update_resource_with_attributes(kind, physical_id, old, new, stack, logical_id=None, attributes=None):
    known = cloudformation._stacks.get(stack, {}).get("_resources", {}).get(logical_id, {}).get("Attributes")
    return update_resource(kind, physical_id, old, new, stack, logical_id, attributes or known)


provisioners._update_resource = update_resource_with_attributes

# The emulator evaluates conditions once for a request, and not for each of its tables. Roles have conditions on the attributes
# of accounts and ended sessions.
attributes_of_request = iam_actions.dynamodb_service_context


def attributes_of_accounts(body):
    request = json.loads(body)
    reads = request.get("RequestItems", {})
    accounts = [reads[table] for table in reads if re.search("-(Users|Sessions)-", table) and "Keys" in reads[table]]
    if accounts:
        request["ProjectionExpression"] = ",".join(read.get("ProjectionExpression", "") for read in accounts)
    return attributes_of_request(json.dumps(request))


iam_actions.dynamodb_service_context = attributes_of_accounts

# A reference to a secret is its ARN, which policies need, and not its name.
create_secret = RESOURCES["AWS::SecretsManager::Secret"]["create"]


def create_secret_with_arn(*arguments):
    _, attributes = create_secret(*arguments)
    return attributes["Arn"], attributes


RESOURCES["AWS::SecretsManager::Secret"]["create"] = create_secret_with_arn

# An alarm over several metrics becomes one over the first of them.
alarm = provisioners._cw_metric_alarm_record


def alarm_record(name, properties):
    first = next((metric["MetricStat"] for metric in properties.get("Metrics", []) if "MetricStat" in metric), None)
    if first:
        properties = {**properties, **first["Metric"], "Period": first["Period"], "Statistic": first["Stat"]}
        del properties["Metrics"]
    return alarm(name, properties)


provisioners._cw_metric_alarm_record = alarm_record

# The emulator's DynamoDB API has expiry and recovery of tables, but its CloudFormation omits them.
create_table = RESOURCES["AWS::DynamoDB::Table"]["create"]


def create_whole_table(logical_id, properties, stack):
    name, attributes = create_table(logical_id, properties, stack)
    for member, apply in [
        ("TimeToLiveSpecification", dynamodb._update_ttl),
        ("PointInTimeRecoverySpecification", dynamodb._update_continuous_backups),
    ]:
        if member in properties:
            apply({"TableName": name, member: properties[member]})
    return name, attributes


RESOURCES["AWS::DynamoDB::Table"]["create"] = create_whole_table

# The emulator restores a table's present items, and not those of a point in time. So it keeps them before each write.
history = defaultdict(list)
restore_table = dynamodb._restore_table_to_point_in_time


def remembering(write):
    def remember_and_write(request):
        for name in request.get("RequestItems", [request.get("TableName")]):
            if name in dynamodb._tables:
                history[name].append((time.time(), copy.deepcopy(dynamodb._tables[name]["items"])))
        return write(request)

    return remember_and_write


for operation in ("_put_item", "_update_item", "_delete_item", "_batch_write_item"):
    setattr(dynamodb, operation, remembering(getattr(dynamodb, operation)))


def restore_table_to_point_in_time(request):
    response = restore_table(request)
    if response[0] == 200:
        table = dynamodb._tables[request["TargetTableName"]]
        later = (items for at, items in history[request["SourceTableName"]] if at > request["RestoreDateTime"])
        table["items"] = copy.deepcopy(next(later, table["items"]))
        dynamodb._items_replaced(table)
    return response


dynamodb._restore_table_to_point_in_time = restore_table_to_point_in_time

# The emulator deletes all resources of a nested stack, also those that its template retains.
delete_nested_stack = RESOURCES["AWS::CloudFormation::Stack"]["delete"]


def delete_nested_stack_without_retained(physical_id, properties):
    stack = cloudformation._stacks.get(provisioners._nested_stack_lookup_name(physical_id), {})
    for logical_id, resource in stack.get("_template", {}).get("Resources", {}).items():
        if resource.get("DeletionPolicy") == "Retain":
            stack["_resources"].pop(logical_id, None)
    delete_nested_stack(physical_id, properties)


RESOURCES["AWS::CloudFormation::Stack"]["delete"] = delete_nested_stack_without_retained

# In place of the ARN of a subscription that is not confirmed, AWS lists a status.
list_subscriptions = sns._list_subscriptions_by_topic


def list_subscriptions_with_status(request):
    status, headers, body = list_subscriptions(request)
    for topic in sns._topics.values():
        for subscription in topic["subscriptions"]:
            if not subscription["confirmed"]:
                body = body.replace(subscription["arn"].encode(), b"PendingConfirmation")
    return status, headers, body


sns._list_subscriptions_by_topic = list_subscriptions_with_status

# SAM gets the parameters' values, and after AWS::LanguageExtensions a template in which they replace the references.
apply_transforms, translate = engine._apply_transforms, sam.transform


def apply_transforms_with_parameters(template, provided=None, previous=None):
    values = engine._transform_parameters(template, provided, previous)
    for name, parameter in template.get("Parameters", {}).items():
        if name in values and (parameter["Type"] == "CommaDelimitedList" or parameter["Type"].startswith("List<")):
            values[name] = [value.strip() for value in values[name].split(",")]
    extended = language_extensions.TRANSFORM in engine.declared_transforms(template)

    def translate_with_parameters(fragment, _, policies):
        if extended:
            resolver = IntrinsicsResolver(values)
            fragment["Resources"] = resolver.resolve_parameter_refs(fragment["Resources"])
        translated = translate(fragment, values, policies)
        for resource in translated["Resources"].values():
            # For the deployment of the alias, which gets only properties.
            resource.get("Properties", {}).update(
                {
                    name: value
                    for name, value in resource.get("UpdatePolicy", {}).get("CodeDeployLambdaAliasUpdate", {}).items()
                    if name == "BeforeAllowTrafficHook"
                }
            )
        return translated

    with mock.patch.object(sam, "transform", translate_with_parameters):
        return apply_transforms(template, provided, previous)


for module in (changesets, engine, handlers):
    module._apply_transforms = apply_transforms_with_parameters


# The URLs of WebSocket APIs in functions' variables. Their host does not resolve here.
GATEWAY = rf"http://127.0.0.1:{PORT}/_aws/execute-api/\1/"


def with_gateway(handle):
    return lambda *arguments: handle(
        *json.loads(re.sub(r"https://(\w+)\.execute-api\.[^/]+/", GATEWAY, json.dumps(arguments)))
    )


for operation in ("create", "update"):
    RESOURCES["AWS::Lambda::Function"][operation] = with_gateway(RESOURCES["AWS::Lambda::Function"][operation])

# The subprotocol that a function selects for a WebSocket.
invoke_websocket_function, handle_websocket = apigateway._invoke_ws_lambda, apigateway.handle_websocket
subprotocol = ContextVar("subprotocol")


async def invoke_and_select_subprotocol(*arguments, **named):
    response = await invoke_websocket_function(*arguments, **named)
    subprotocol.set(response.get("headers", {}).get("Sec-WebSocket-Protocol"))
    return response


async def handle_websocket_with_subprotocol(scope, receive, send, *arguments, **named):
    async def send_with_subprotocol(message):
        accepts = message["type"] == "websocket.accept"
        await send({**message, "subprotocol": subprotocol.get()} if accepts else message)

    await handle_websocket(scope, receive, send_with_subprotocol, *arguments, **named)


apigateway._invoke_ws_lambda = invoke_and_select_subprotocol
apigateway.handle_websocket = handle_websocket_with_subprotocol


def end_with_standard_input():
    sys.stdin.buffer.read()
    # The emulator's handler also stops the functions.
    os.kill(os.getpid(), signal.SIGTERM)


threading.Thread(target=end_with_standard_input, daemon=True).start()
print(PORT, flush=True)
os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
main()
