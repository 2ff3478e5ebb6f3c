"""The API as a whole: its resources, its answers, its description (`/api/v1/docs`)."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI, Swagger
from ninja.openapi.schema import OpenAPISchema

from angarium import __version__
from angarium.web.api import (
    accounts,
    bounce_patterns,
    default_rules,
    dkim_keys,
    errors,
    imports,
    isps,
    journal,
    launches,
    lists,
    mailings,
    messages,
    nodes,
    platform,
    profiles,
    queues,
    retry_rules,
    routes,
    senders,
    strategies,
    suppressions,
    templates,
)  # fmt: skip
from angarium.web.api.authentication import Session, Token
from angarium.web.api.parsing import StrictParser

REFUSALS = {
    "400": "The request cannot be read.",
    "401": "Who asks is not known.",
    "403": "What one may see but not do.",
    "404": "What is not there, or may not be seen.",
    "409": "It is in use, or somebody else changed it.",
    "422": "Something sent is wrong; `fields` says what.",
    "429": "Too many failed attempts.",
}


class Api(NinjaAPI):
    def get_openapi_schema(self, **kwargs: Any) -> OpenAPISchema:
        """Adds to each operation how it may be refused."""
        schema = super().get_openapi_schema(**kwargs)
        problem = errors.Problem.model_json_schema()
        schema["components"].setdefault("schemas", {})["Problem"] = problem
        content = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        refusals = {code: {"description": text, "content": content} for code, text in REFUSALS.items()}
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"] = {**refusals, **operation["responses"]}
        return schema

    def get_openapi_operation_id(self, operation: Any) -> str:
        return str(operation.view_func.__name__)


api = Api(
    title="Angarium",
    version=__version__,
    description="Launch mailings and follow every message to its end. Lists come in pages: its `next` "
    "is the `cursor` of the next one. Refusals are `{error, fields, uses}`.",
    auth=[Token(), Session()],
    docs=Swagger(settings={"validatorUrl": None, "persistAuthorization": False}),
    urls_namespace="api",
    parser=StrictParser(),
)
errors.register(api)

_RESOURCES = {
    "": (platform.router, accounts.router),
    "/profiles": (profiles.router,),
    "/subscriptions": (profiles.subscriptions,),
    "/lists": (lists.router,),
    "/resources": (lists.resources,),
    "/imports": (imports.router,),
    "/suppression-lists": (suppressions.router,),
    "/stop-list": (suppressions.stop_list,),
    "/templates": (templates.router,),
    "/mailings": (mailings.router, launches.of_mailing),
    "/launches": (launches.router, messages.events),
    "/messages": (messages.router,),
    "/queues": (queues.router,),
    "/senders": (senders.router,),
    "/strategies": (strategies.router,),
    "/retry-rules": (retry_rules.router,),
    "/default-rules": (default_rules.router,),
    "/bounce-patterns": (bounce_patterns.router,),
    "/isps": (isps.router,),
    "/nodes": (nodes.router,),
    "/ip-addresses": (nodes.addresses,),
    "/dkim-keys": (dkim_keys.router,),
    "/routes": (routes.router,),
    "/journal": (journal.router,),
}
for _prefix, _routers in _RESOURCES.items():
    for _router in _routers:
        api.add_router(_prefix, _router)


@csrf_exempt
def nowhere(request: HttpRequest) -> HttpResponse:
    """Addresses under `/api` that are none: said in the API's own way."""
    return errors.answer(request, api, 404, "There is no such address in the API; see /api/v1/docs.")
