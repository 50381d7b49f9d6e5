"""Connections to an endpoint: made as the environment says, and why one did not come about."""

from typing import Any

import aiohttp
import httpx2
import openai

from stargate_assets.engines.endpoint_errors import KEPT, read_json, says_no_credit
from stargate_assets.method.language_model import EngineError


class LostAnswerError(openai.OpenAIError):
    """A request was sent, and no answer came, or not all of it. The SDK does not retry this error:
    whoever sends the request again may pay again.
    """


class _Client(openai.DefaultAioHttpClient):  # half of the processor's time of the default one
    async def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        try:
            return await super().send(request, **how)
        except (httpx2.TransportError, aiohttp.ClientError) as error:
            if isinstance(error.__cause__, _NEVER_SENT):
                raise
            lost = LostAnswerError(
                "it was silent for too long"
                if isinstance(error, httpx2.ReadTimeout)
                else "it dropped the connection, or did not speak HTTP"
            )
        raise lost  # outside, so that it has no context: that one may quote the key


_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


def connect(label: str, timeout: openai.Timeout) -> httpx2.AsyncClient:
    """A client as the environment says. Raises EngineError where that cannot be."""
    try:
        return _Client(
            timeout=timeout,
            limits=httpx2.Limits(max_connections=None),
            event_hooks={"response": [_give_up_without_credit]},
        )
    except OSError as error:
        wrong = f"by certificates that cannot be read ({error.strerror}); correct SSL_CERT_FILE"
    except ValueError:
        wrong = "through a proxy that has no address; correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY"
    # Outside, so that it has no context: that one may quote a proxy's password.
    raise EngineError(f"The endpoint {label} is to be reached {wrong} in the environment.")


def not_reached(label: str, error: openai.APIError) -> EngineError:
    """Why no connection came about, and what to do."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, aiohttp.ClientError):
        cause = cause.__cause__
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        said = getattr(cause.certificate_error, "verify_message", "it is not valid")
        return EngineError(
            f"The certificate of the endpoint {label} is not trusted ({said}); name the file that "
            f"vouches for it in SSL_CERT_FILE, or correct {label}_BASE_URL."
        )
    if isinstance(cause, aiohttp.ClientProxyConnectionError):
        return EngineError(
            f"The proxy on the way to the endpoint {label} cannot be reached; correct HTTP_PROXY "
            f"or HTTPS_PROXY, or name the endpoint's host in NO_PROXY, and run again: {KEPT}."
        )
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return EngineError(
            f"The host of the endpoint {label} is not known to this machine's network; correct "
            f"{label}_BASE_URL, or connect the machine, and run again: {KEPT}."
        )
    return EngineError(
        f"The endpoint {label} cannot be reached after all retries; see that it runs where "
        f"{label}_BASE_URL says, and run again: {KEPT}."
    )


async def _give_up_without_credit(response: httpx2.Response) -> None:
    """Waiting brings no credit: the SDK obeys this header."""
    if response.status_code == 429 and says_no_credit(read_json(await response.aread())):
        response.headers["x-should-retry"] = "false"
