"""Model calls as OpenTelemetry spans, by its conventions for generative AI, where the environment
asks for them as OpenTelemetry has it: OTEL_EXPORTER_OTLP_ENDPOINT and its kin.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.method.language_model import ChatRequest, Completion, Score, ScoreRequest
from stargate_assets.storage.completions import Use

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

SERVICE = "stargate"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""OpenTelemetry's own variable: whether texts may leave with the spans."""
_FINISH_REASONS = {"refused": "content_filter"}
OnCall = Callable[[ChatRequest | ScoreRequest, Completion | Score, float], None]
"""Called with a request, its result, and the seconds that it took."""


def ignore_call(
    request: ChatRequest | ScoreRequest, result: Completion | Score, seconds: float
) -> None:
    """For who traces nothing."""
    del request, result, seconds


def wants_traces(environment: Mapping[str, str]) -> bool:
    """Whether the environment names a collector, and does not switch traces off."""
    is_off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    is_off |= environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    return not is_off and any(environment.get(name) for name in _ENDPOINTS)


def missing_library(environment: Mapping[str, str]) -> str | None:
    """One sentence where the environment asks for what is not installed."""
    if not wants_traces(environment) or _provider() is not None:
        return None
    return (
        "The environment asks for OpenTelemetry's traces, and its library is not installed here; "
        "install it, pip install 'stargate-assets[opentelemetry]', or set OTEL_SDK_DISABLED=true. "
        "The run goes on without it."
    )


def call_tracer(spec: ModelSpec, use: Use) -> OnCall:
    """What makes a span of each call of a model for this use. The result of a batch comes when it
    is done, so a span ends then, and begins at the result before it.
    """
    if not wants_traces(os.environ) or (provider := _provider()) is None:
        return ignore_call
    from opentelemetry.trace import SpanKind, Status, StatusCode

    tracer = provider.get_tracer("stargate_assets")
    failed = Status(StatusCode.ERROR)
    stated = {
        "gen_ai.provider.name": spec.endpoint.lower() if spec.entry.remote else spec.engine,
        "gen_ai.request.model": spec.model,
        "stargate.schema": use.schema,
        "stargate.slice": use.slice,
        "stargate.role": use.role,
    }
    with_content = os.environ.get(_CONTENT, "").lower() == "true"

    def trace(
        request: ChatRequest | ScoreRequest, result: Completion | Score, seconds: float
    ) -> None:
        said = call_attributes(request, result)
        if with_content:
            said |= call_texts(request, result)
        ended = time.time_ns()
        span = tracer.start_span(
            f"{said['gen_ai.operation.name']} {spec.model}",
            kind=SpanKind.CLIENT,
            attributes=stated | said,
            start_time=ended - int(seconds * 1e9),
        )
        if result.failure is not None:
            span.set_status(failed)
        span.end(ended)

    return trace


def call_attributes(
    request: ChatRequest | ScoreRequest, result: Completion | Score
) -> dict[str, Any]:
    """What a span says of a call, but for its texts. To score is no operation that the conventions
    know; the tokens that were scored are its output.
    """
    said: dict[str, Any] = {
        "gen_ai.operation.name": "score",
        "gen_ai.usage.input_tokens": result.prompt_tokens,
        "gen_ai.usage.output_tokens": result.completion_tokens,
    }
    if isinstance(request, ChatRequest) and isinstance(result, Completion):
        reason = _FINISH_REASONS.get(result.finish_reason, result.finish_reason)
        said |= {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.temperature": request.sampling.temperature,
            "gen_ai.request.top_p": request.sampling.top_p,
            "gen_ai.request.max_tokens": request.sampling.max_tokens,
            "gen_ai.request.seed": request.seed,
            "gen_ai.response.finish_reasons": (reason,),
        }
    if result.failure is not None:
        said["error.type"] = result.failure.reason.value
    return said


def call_texts(request: ChatRequest | ScoreRequest, result: Completion | Score) -> dict[str, str]:
    """What was read and written, as the conventions have it."""
    text = result.text if isinstance(result, Completion) else None
    written = request.continuation if isinstance(request, ScoreRequest) else text
    messages = [(message.role, message.content) for message in request.messages]
    return {
        "gen_ai.input.messages": _messages_json(messages),
        "gen_ai.output.messages": _messages_json([("assistant", written or "")]),
    }


def _messages_json(messages: list[tuple[Any, str]]) -> str:
    parts = [
        {"role": role, "parts": [{"type": "text", "content": text}]} for role, text in messages
    ]
    return json.dumps(parts, ensure_ascii=False)


@cache
def _provider() -> "TracerProvider | None":
    """What sends spans, in batches and beside the work; None where the library is missing."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError:
        return None
    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: SERVICE}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def end_traces() -> None:
    """Send what is left. For a process that leaves without Python's own clearing up."""
    if wants_traces(os.environ) and (provider := _provider()) is not None:
        provider.shutdown()
        _provider.cache_clear()
