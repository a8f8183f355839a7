"""HTTP APIs: moto stores the API and its stage; `http_api` serves the routes."""

from typing import Any

from local.aws.errors import UnsupportedResourceError
from local.aws.http_api.routes import HttpApi, Throttling, routes_of
from local.aws.resources.registry import CreatedResource, ResourceRequest, creates


@creates("AWS::ApiGatewayV2::Api")
def api(request: ResourceRequest) -> CreatedResource:
    properties = request.properties
    body = properties.need("Body")
    name = properties.get("Name") or body.get("info", {}).get("title") or request.logical_id
    settings = properties.pick("Description", "DisableExecuteApiEndpoint")
    properties.get("FailOnWarnings")
    properties.get("Tags")
    answer = request.client("apigatewayv2").create_api(Name=name, ProtocolType="HTTP", **settings)
    try:
        routes = routes_of(body)
    except ValueError as error:
        raise UnsupportedResourceError(f"{request.logical_id} ({request.kind}): {error}") from error
    request.stack_context.apis[answer["ApiId"]] = HttpApi(answer["ApiId"], routes)
    endpoint = f"https://{answer['ApiId']}.execute-api.{request.stack_context.region}.amazonaws.com"
    return CreatedResource(answer["ApiId"], {"ApiEndpoint": endpoint, "ApiId": answer["ApiId"]})


@creates("AWS::ApiGatewayV2::Stage")
def stage(request: ResourceRequest) -> CreatedResource:
    properties = request.properties
    api_id, name = properties.need("ApiId"), properties.need("StageName")
    if name != "$default":
        raise UnsupportedResourceError(
            f"{request.logical_id} ({request.kind}): only the stage $default is served"
        )
    settings = properties.pick(
        "AutoDeploy", "AccessLogSettings", "DefaultRouteSettings", "RouteSettings", "Description",
        "StageVariables", "Tags",
    )  # fmt: skip
    request.client("apigatewayv2").create_stage(ApiId=api_id, StageName=name, **settings)
    served = request.stack_context.apis[api_id]
    served.throttling = _throttling(settings.get("DefaultRouteSettings"))
    for key, route in settings.get("RouteSettings", {}).items():
        throttling = _throttling(route)
        if throttling is not None:
            served.route_throttling[key] = throttling
    access_log = settings.get("AccessLogSettings", {})
    served.access_log_group = access_log.get("DestinationArn")
    served.access_log_format = access_log.get("Format")
    return CreatedResource(name)


def _throttling(settings: dict[str, Any] | None) -> Throttling | None:
    if not settings or "ThrottlingRateLimit" not in settings:
        return None
    return Throttling(
        float(settings["ThrottlingRateLimit"]),
        int(settings.get("ThrottlingBurstLimit", settings["ThrottlingRateLimit"])),
    )
