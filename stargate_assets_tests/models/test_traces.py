"""Spans of model calls, as a collector on loopback gets them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.method.language_model import ChatRequest, Message, Sampling, ScoreRequest
from stargate_assets.models.pool import ModelPool
from stargate_assets.models.traces import call_tracer, end_traces, ignore_call, wants_traces
from stargate_assets.storage.completions import Use

SAID = "I live on a houseboat."
CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
ASKED = (Message("user", SAID),)
CHATS = [ChatRequest(ASKED, Sampling(12, 0.5, 0.9), seed) for seed in range(3)]


@pytest.fixture
def spans(http: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Span]]:
    """What a collector has got once `end_traces` was called."""
    got: list[Span] = []

    def collect(request: Request) -> Response:
        for of_resource in ExportTraceServiceRequest.FromString(request.data).resource_spans:
            got.extend(span for scope in of_resource.scope_spans for span in scope.spans)
        return Response(ExportTraceServiceResponse().SerializeToString())

    http.expect_request("/v1/traces", method="POST").respond_with_handler(collect)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", http.url_for("/").rstrip("/"))
    for name in ("OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", CONTENT):
        monkeypatch.delenv(name, raising=False)
    yield got
    end_traces()
    http.clear()


def attributes(span: Span) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for attribute in span.attributes:
        kind = attribute.value.WhichOneof("value")
        assert kind is not None
        value = getattr(attribute.value, kind)
        found[attribute.key] = [v.string_value for v in value.values] if "array" in kind else value
    return found


def ask(directory: Path) -> None:
    """Three chats and a score, then the same again, which the store answers."""
    pool = ModelPool(directory)
    spec = ModelSpec(engine="scripted", model="any")
    for _ in range(2):
        model = pool.open(spec, Use("loop", "0|test", "judge"))
        model.chat(CHATS, "asking")
        model.score([ScoreRequest(ASKED, "Sell the boat.")], "scoring")


def test_each_call_is_a_span_that_says_no_text(spans: list[Span], tmp_path: Path) -> None:
    ask(tmp_path)
    end_traces()
    assert [span.name for span in spans] == ["chat any"] * 3 + ["score any"]
    said = [attributes(span) for span in spans]
    assert [s.get("gen_ai.request.seed") for s in said] == [0, 1, 2, None]
    assert (
        said[0].items()
        >= {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "scripted",
            "gen_ai.request.model": "any",
            "gen_ai.request.max_tokens": 12,
            "gen_ai.request.temperature": 0.5,
            "gen_ai.response.finish_reasons": ["stop"],
            "stargate.schema": "loop",
            "stargate.slice": "0|test",
            "stargate.role": "judge",
        }.items()
    )
    counted = ModelPool(tmp_path).calls().usage
    for kind in ("chat", "score"):
        (row,) = [row for row in counted if row.kind == kind]
        of_kind = [s for s in said if s["gen_ai.operation.name"] == kind]
        assert sum(s["gen_ai.usage.input_tokens"] for s in of_kind) == row.prompt_tokens
        assert sum(s["gen_ai.usage.output_tokens"] for s in of_kind) == row.completion_tokens
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in spans)
    assert SAID not in str(spans)


def test_texts_are_in_spans_where_they_are_asked_for(
    spans: list[Span], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONTENT, "true")
    ask(tmp_path)
    end_traces()
    assert SAID in attributes(spans[0])["gen_ai.input.messages"]
    assert "Sell the boat." in attributes(spans[3])["gen_ai.output.messages"]


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://any"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://any"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://any", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://any", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_the_environment_turns_traces_on(environment: dict[str, str], wanted: bool) -> None:
    assert wants_traces(environment) == wanted


def test_without_a_collector_nothing_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    spec = ModelSpec(engine="scripted", model="any")
    assert call_tracer(spec, Use("loop", "0|test", "judge")) is ignore_call
