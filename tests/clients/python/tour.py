"""A walk through the API with a client generated from the OpenAPI document.

    tour.py OPENAPI_JSON

Checks that the client has every operation that answers JSON or nothing; then installs a connector from the
catalog, saves a credential, fires an automation as a dry run, reads the run of a refused call, and patches a
connector with If-Match. Prints a line for each step; exits 1 at the first one that is not as expected. The
client is imported as `portcullis_client`. It makes a connector and an automation in the org `acme`;
tests/clients/run generates the client and starts a server.
"""

import importlib
import inspect
import json
import os
import pkgutil
import re
import sys
import typing

import portcullis_client.api
from portcullis_client import AuthenticatedClient
from portcullis_client.models import DryRun, Problem

ORG = "acme"
WORKSPACE = "main"
CONNECTOR = "hubspot"


class Unexpected(Exception):
    """A step that went another way than the document says."""


def check(holds, what, found):
    if not holds:
        raise Unexpected(f"{what}; found {found!r}")


def client(variable):
    token = os.environ[variable]
    # An answer that the document does not have raises.
    return AuthenticatedClient(
        base_url=os.environ["PORTCULLIS_URL"], token=token, raise_on_unexpected_status=True
    )


def snake(operation_id):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", operation_id).lower()


def generated():
    """The module of each operation, by its name."""
    package = portcullis_client.api
    names = [found.name for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    modules = [importlib.import_module(name) for name in names]
    return {module.__name__.rpartition(".")[2]: module for module in modules if hasattr(module, "sync_detailed")}


def operations(document):
    """Ids of the operations that answer JSON or nothing."""
    for path, item in document["paths"].items():
        for method in ("get", "put", "post", "delete", "patch"):
            if method not in item:
                continue
            responses = item[method]["responses"]
            done = [answer for status, answer in responses.items() if status.startswith("2")]
            types = [kind for answer in done for kind in answer.get("content", {})]
            if not types or "application/json" in types:
                yield item[method]["operationId"], f"{method.upper()} {path}"


MODULES = generated()


def call(operation, client, status, *path, body=None, **parameters):
    """Calls an operation; a body is built by the type that the generated function takes."""
    function = MODULES[operation].sync_detailed
    if body is not None:
        kind = typing.get_type_hints(function)["body"]
        kinds = [one for one in (typing.get_args(kind) or (kind,)) if inspect.isclass(one) and hasattr(one, "from_dict")]
        parameters["body"] = kinds[0].from_dict(body)
    answer = function(*path, client=client, **parameters)
    said = f"{answer.parsed.code}: {answer.parsed.detail}" if isinstance(answer.parsed, Problem) else answer.parsed
    check(answer.status_code == status, f"{operation} answers {status}", (int(answer.status_code), said))
    return answer


def every_operation(document):
    wanted = dict(operations(document))
    missing = [f"{route} ({name})" for name, route in wanted.items() if snake(name) not in MODULES]
    check(not missing, "the client has every operation", missing)
    print(f"the client has all {len(wanted)} operations that answer JSON or nothing")


def tour():
    platform = client("PORTCULLIS_PLATFORM_TOKEN")
    org = client("PORTCULLIS_ORG_TOKEN")
    workspace = client("PORTCULLIS_WORKSPACE_TOKEN")
    caller = client("PORTCULLIS_RUN_TOKEN")

    answer = call("install_catalog_entry", platform, 201, CONNECTOR)
    check(answer.parsed.connector_id == CONNECTOR, "the new connector has the entry's id", answer.parsed)
    print(f"installed {CONNECTOR}, revision {answer.parsed.revision}, etag {answer.headers['etag']}")

    config = {"access_token": "pat-na1-00000000-0000-0000-0000-000000000000"}
    answer = call("save_connection", workspace, 200, ORG, WORKSPACE, CONNECTOR, body={"config": config})
    check(answer.parsed.state == "connected", "the connection is connected", answer.parsed)
    print(f"saved a credential, state {answer.parsed.state}")

    mapping = {"email": "{{source.email}}"}
    destination = {"connector_id": CONNECTOR, "action_id": "contact_create", "field_mapping": mapping}
    body = {"entity_name": "contact", "event_name": "contact.created", "destination_config": destination}
    automation = call("create_automation", org, 201, ORG, body=body).parsed.automation_id
    print(f"created {automation}")

    source = {"source": {"email": "ada@example.org"}}
    fire = (ORG, WORKSPACE, automation)
    shown = call("fire_automation", caller, 200, *fire, body=source, dry_run=True).parsed
    check(isinstance(shown, DryRun), "the answer is a dry run and no run", shown)
    check(shown.curl.startswith("curl "), "the dry run shows a curl command", shown.curl)
    print(f"dry run of {shown.action_id}, request {shown.request_hash[:12]}")

    call("set_integrations", org, 200, ORG, body={"domain_allowlist": []})
    error = call("fire_automation", caller, 403, *fire, body=source).parsed
    check(isinstance(error, Problem), "a call outside the allowlist is a problem", error)
    check(error.code == "host_not_in_org", "its code names the check", error.code)
    check(error.run.status == "refused", "the problem carries the refused run", error.run)
    print(f"refused by {error.code}, run {error.run.run_id} is {error.run.status}")
    call("set_integrations", org, 200, ORG, body={"domain_allowlist": None})

    answer = call("get_connector", platform, 200, CONNECTOR)
    etag, revision = answer.headers["etag"], answer.parsed.revision
    check(etag == f'"{revision}"', "the ETag is the revision", etag)
    change = {"description": "Patched by the tour."}
    answer = call("patch_connector", platform, 200, CONNECTOR, body=change, if_match=etag)
    check(answer.parsed.revision == revision + 1, "it makes the next revision", answer.parsed.revision)
    stale = call("patch_connector", platform, 412, CONNECTOR, body=change, if_match=etag).parsed
    check(stale.code == "revision_mismatch", "its code says why", stale.code)
    print(f"patched to revision {revision + 1}; the old one answers {stale.code}")

    call("delete_automation", org, 204, ORG, automation)
    call("delete_connector", platform, 204, CONNECTOR, force=True)
    print("deleted the automation and the connector")


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        document = json.load(file)
    try:
        every_operation(document)
        tour()
    except Unexpected as error:
        print(f"python tour: {error}", file=sys.stderr)
        return 1
    print("python tour: done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
