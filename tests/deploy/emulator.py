"""Starts MiniStack, an emulator of AWS, with features of CloudFormation that it lacks and template.yaml needs.

It prints its port on a line and logs to standard error. It ends when its standard input closes.
"""

import json
import os
import re
import signal
import socket
import sys
import threading
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

from ministack.app import main
from ministack.services import apigateway, cloudformation, dynamodb
from ministack.services.cloudformation import changesets, engine, handlers, language_extensions, provisioners
from samtranslator.intrinsics.resolver import IntrinsicsResolver
from samtranslator.translator import transform as sam

RESOURCES = provisioners._RESOURCE_HANDLERS

# The emulator does not have CodeDeploy, so its resources do nothing, and aliases change at once.
for kind in ("AWS::CodeDeploy::Application", "AWS::CodeDeploy::DeploymentGroup"):
    RESOURCES[kind] = {
        "create": lambda logical_id, properties, stack: (f"{stack}-{logical_id}", {}),
        "update": lambda physical_id, old, new, stack: (physical_id, {}),
        "delete": lambda physical_id, properties: None,
    }

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

# The emulator deletes all resources of a nested stack, also those that its template retains.
delete_nested_stack = RESOURCES["AWS::CloudFormation::Stack"]["delete"]


def delete_nested_stack_without_retained(physical_id, properties):
    stack = cloudformation._stacks.get(provisioners._nested_stack_lookup_name(physical_id), {})
    for logical_id, resource in stack.get("_template", {}).get("Resources", {}).items():
        if resource.get("DeletionPolicy") == "Retain":
            stack["_resources"].pop(logical_id, None)
    delete_nested_stack(physical_id, properties)


RESOURCES["AWS::CloudFormation::Stack"]["delete"] = delete_nested_stack_without_retained

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
        return translate(fragment, values, policies)

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
