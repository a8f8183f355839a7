"""The one address that every AWS call on this machine goes to.

Each call is authorised first, then answered by the first layer that handles it, otherwise by moto.
Nothing in moto is changed for that: the gateway is in front of it, as the real endpoints are.
"""

from collections.abc import Callable, Sequence

from local.aws.gateway.calls import AwsCall, parse_call
from local.aws.http_server import HttpRequest, HttpResponse

Next = Callable[[], HttpResponse]
Layer = Callable[[AwsCall, HttpRequest, Next], HttpResponse]


class Gateway:
    """Runs a request through its layers, outermost first; the last one asks moto."""

    def __init__(self, moto: Callable[[HttpRequest], HttpResponse], layers: Sequence[Layer]) -> None:
        self._moto = moto
        self._layers = list(layers)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        call = parse_call(request)

        def answer(index: int) -> HttpResponse:
            if index == len(self._layers):
                return self._moto(request)
            return self._layers[index](call, request, lambda: answer(index + 1))

        return answer(0)
