"""The single endpoint for all AWS calls on this machine.

Each call is authorised first, then answered by the first layer that handles it, otherwise by moto.
The gateway is in front of moto, which needs no change for that.
"""

from collections.abc import Callable, Sequence

from local.aws.gateway.calls import AwsCall, parse_call
from local.aws.gateway.errors import error_response
from local.aws.http_server import HttpRequest, HttpResponse

Next = Callable[[], HttpResponse]
Layer = Callable[[AwsCall, HttpRequest, Next], HttpResponse]


class Gateway:
    """Passes a request through its layers, outermost first, and finally to moto."""

    def __init__(self, moto: Callable[[HttpRequest], HttpResponse], layers: Sequence[Layer]) -> None:
        self._moto = moto
        self._layers = list(layers)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        call = parse_call(request)

        def answer(index: int) -> HttpResponse:
            if index == len(self._layers):
                return self._from_moto(call, request)
            return self._layers[index](call, request, lambda: answer(index + 1))

        return answer(0)

    def _from_moto(self, call: AwsCall, request: HttpRequest) -> HttpResponse:
        """Return the response of moto; 501, which clients do not retry, for an operation that it lacks."""
        try:
            return self._moto(request)
        except NotImplementedError as error:  # moto names the operation or the option, or nothing
            reason = f" ({str(error).rstrip('.')})" if str(error) else ""
            message = f"{call.operation} of {call.service} is not available on the local stack{reason}."
            return error_response(call, "NotImplemented", message, status=501)
