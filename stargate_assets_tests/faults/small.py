"""Faults that need no whole run: each at the smallest real thing that shows that nothing is lost.

Every function causes a fault and goes on without; it says how many calls were repeated and how many
values differ from what an undisturbed run finds.
"""

import json
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from transformers import AutoModelForCausalLM, AutoTokenizer

from stargate_assets.config.data_set import DataError
from stargate_assets.config.machine import Machine
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.method.examples import IGNORED, Example
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    Message,
    Sampling,
    Score,
    ScoreRequest,
)
from stargate_assets.models.pool import ModelPool
from stargate_assets.pipeline.sources.tables import Tables, read_tables
from stargate_assets.training.spec import TrainingError
from stargate_assets.training.trainer import check_examples, train
from stargate_assets_tests.chat_templates import chat_tokenizer
from stargate_assets_tests.conftest import USE, mini_data_set, write_data_set
from stargate_assets_tests.engines.test_vllm_process import owner_is_ended_by
from stargate_assets_tests.faults import calls
from stargate_assets_tests.faults.calls import REQUEST
from stargate_assets_tests.faults.scope import Scope, Survived, refused
from stargate_assets_tests.servers import faulty_chat_endpoint as server
from stargate_assets_tests.training.test_trainer import spec as training_spec


def no_system_role(scope: Scope) -> Survived:
    """The template refuses system messages: their text opens the first user message."""
    del scope
    chat = chat_tokenizer("gemma")
    prompt = chat.prompt_ids((Message("system", "Ask one."), Message("user", "Help!")))
    whole = chat.prompt_ids((Message("user", "Ask one.\n\nHelp!"),))
    return Survived(differ=prompt != whole)


def _scores(scope: Scope, model: Path, name: str) -> list[Score]:
    requests = [REQUEST, ScoreRequest(REQUEST.messages, "I bake.")]
    return ModelPool(scope.directory / name).open(_spec(model), USE).score(requests, "scoring")


def _spec(model: Path) -> ModelSpec:
    return ModelSpec.model_validate({"model": str(model), "dtype": "float32"})


def _copy(scope: Scope, name: str, change: Callable[[Any, Any], None]) -> Path:
    """The tiny model, changed."""
    model = AutoModelForCausalLM.from_pretrained(scope.model)
    tokenizer = AutoTokenizer.from_pretrained(scope.model)
    change(model, tokenizer)
    model.save_pretrained(scope.directory / name)
    tokenizer.save_pretrained(scope.directory / name)
    return scope.directory / name


def no_pad_token(scope: Scope) -> Survived:
    """A tokenizer without one scores and trains as with one."""

    def forget(model: Any, tokenizer: Any) -> None:
        model.config.pad_token_id = tokenizer.pad_token = None

    padless = _copy(scope, "padless", forget)
    train(training_spec(padless, scope.directory / "out"), lambda *_: None)
    scores = (_scores(scope, model, model.name) for model in (padless, scope.model))
    return Survived(differ=sum(a != b for a, b in zip(*scores, strict=True)))


def too_long(scope: Scope) -> Survived:
    """A prompt, with a huge persona in it, that does not fit the model's context, beside one that
    does.
    """
    pool = ModelPool(scope.directory)
    opened = pool.open(_spec(scope.model), USE)
    requests = [
        ChatRequest((Message("user", "I bake bread. " * times),), Sampling(4)) for times in (900, 1)
    ]
    huge, answered = opened.chat(requests, "asking")
    assert huge.failure is not None
    assert "shorten the persona or the task" in huge.failure.said
    assert answered.failure is None
    return Survived(differ=pool.store().count() - 1)


def fully_masked(scope: Scope) -> Survived:
    """An example that would teach nothing is refused before a step is taken."""
    del scope
    silent = Example("answer", (1, 2), (IGNORED, IGNORED))
    refused("has no label to learn", partial(check_examples, [silent]))
    return Survived()


def nan_score(scope: Scope) -> Survived:
    """Weights that are no number give no score, and nothing is stored of it."""

    def spoil(model: Any, tokenizer: Any) -> None:
        del tokenizer
        with torch.no_grad():
            model.get_output_embeddings().weight[7, 0] = float("nan")

    spoilt = _copy(scope, "spoilt", spoil)
    refused(
        "no finite number|itself gives log-probabilities that are no numbers",
        partial(_scores, scope, spoilt, "spoilt_scores"),
    )
    store = ModelPool(scope.directory / "spoilt_scores").store()
    return Survived(repeated=store.count())


def nan_loss(scope: Scope) -> Survived:
    """Nothing is published of a training whose loss is no number; one that is sane ends well."""
    output = scope.directory / "out"
    bad = training_spec(scope.model, output, learning_rate=1e30, max_grad_norm=1e30)
    with pytest.raises(TrainingError, match=r"loss is (nan|inf).*learning_rate"):
        train(bad, lambda *_: None)
    assert not output.exists()
    result = train(training_spec(scope.model, output), lambda *_: None)
    return Survived(differ=result.steps != 4)


def _read(directory: Path) -> Tables:
    return read_tables(mini_data_set(directory))


def refused_row(table: str, sentence: str, fields: dict[str, str], scope: Scope) -> Survived:
    """A row that cannot be read is refused before anything is written, and can be taken out."""
    directory = write_data_set(scope.directory / "mini")
    file = directory / f"{table}.jsonl"
    whole = file.read_bytes()
    first = json.loads(whole.splitlines()[0])
    file.write_bytes(whole + json.dumps(first | fields).encode() + b"\n")
    with pytest.raises(DataError, match=sentence):
        _read(directory)
    file.write_bytes(whole)
    _read(directory)
    return Survived()


def missing_gpu(scope: Scope) -> Survived:
    """A GPU that is stated is missed before a model is loaded."""
    if not torch.cuda.is_available():
        opened = ModelPool(scope.directory, Machine(device="cuda")).open(_spec(scope.model), USE)
        refused("sees no GPU here", partial(opened.score, [REQUEST], "scoring"))
    return Survived(differ=not _scores(scope, scope.model, "there"))


def hub_offline(scope: Scope) -> Survived:
    """A model that is on no disk, and no hub that answers."""
    pool = ModelPool(scope.directory)
    online, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        opened = pool.open(_spec(Path("nobody/nothing")), USE)
        refused("hub that this machine can reach", partial(opened.score, [REQUEST], "scoring"))
    finally:
        constants.HF_HUB_OFFLINE = online
    return Survived(repeated=pool.store().count())


def orphaned_engine(number: signal.Signals, scope: Scope) -> Survived:
    """An engine's processes end with who started them."""
    owner_is_ended_by(number, str(scope.directory / "vllm.log"))
    return Survived()


_failing = server.failing
SMALL: dict[tuple[str, str], Callable[[Scope], Survived]] = {
    ("429", "any call"): partial(
        calls.answered_after, lambda at: _failing(429, "rate_limit_exceeded", retry_after="0"), ""
    ),
    ("quota", "any call"): partial(
        calls.answered_after, lambda at: _failing(429, "insufficient_quota"), "credit|quota"
    ),
    ("5xx", "any call"): partial(calls.answered_after, lambda at: _failing(503), ""),
    ("hang", "any call"): partial(calls.answered_after, lambda at: at.hang, ""),
    ("drop", "any call"): partial(calls.answered_after, lambda at: server.drop, ""),
    ("cut off", "any call"): partial(calls.answered_after, lambda at: server.truncated, ""),
    ("refusal", "any call"): partial(
        calls.answered_after, lambda at: _failing(400, "content_filter"), ""
    ),
    ("malformed verdict", "judge"): calls.malformed_verdict,
    ("empty output", "any call"): partial(
        calls.kept_as_said, lambda _: server.answer(""), Completion("", "stop", 3, 2)
    ),
    ("truncated output", "any call"): partial(
        calls.kept_as_said,
        lambda _: server.answer("Wh", "length"),
        Completion("Wh", "length", 3, 2),
    ),
    ("adapter without effect", "train"): calls.adapter_without_effect,
    ("no system role", "any call"): no_system_role,
    ("no pad token", "score and train"): no_pad_token,
    ("over-long prompt", "any call"): too_long,
    ("huge persona", "any call"): too_long,
    ("huge persona", "data"): partial(
        refused_row, "personas", "8000 at most; shorten it", {"text": "I bake bread. " * 9000}
    ),
    ("fully masked example", "train"): fully_masked,
    ("NaN score", "score"): nan_score,
    ("NaN loss", "train"): nan_loss,
    ("duplicate tasks", "data"): partial(
        refused_row, "tasks", "is the same as in line 1; remove one", {}
    ),
    ("NUL in a text", "data"): partial(
        refused_row, "tasks", r"control character U\+0000", {"text": "a\0b"}
    ),
    ("lone surrogate", "data"): partial(
        refused_row, "tasks", "half of a surrogate pair", {"text": "Whose \ud800?"}
    ),
    ("missing GPU", "any call"): missing_gpu,
    ("hub offline", "any call"): hub_offline,
    ("orphaned engine", "any call"): partial(orphaned_engine, signal.SIGKILL),
}
"""By fault and phase."""
SLOW = {
    "hang",
    "NaN score",
    "adapter without effect",
    "no pad token",
    "NaN loss",
    "orphaned engine",
}
"""Those that take a second or more."""
