"""An engine is one file and one entry; and the date that a chat template adds."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from stargate_assets.config.engines import ENGINES, EngineEntry
from stargate_assets.config.experiment import ExperimentError, validate_experiment
from stargate_assets.config.machine import FREE, Machine
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.engines.chat_tokenizer import ChatTokenizer
from stargate_assets.engines.engine import Checkpoint
from stargate_assets.engines.tokenizers import TEMPLATE_DATE
from stargate_assets.method.language_model import ChatRequest, Message, Sampling, ScoreRequest
from stargate_assets.models.pool import ModelPool, engine_kind
from stargate_assets.storage.checkpoints import publish
from stargate_assets_tests.conftest import USE
from stargate_assets_tests.models import parrot_engine

ASKED = (Message("user", "Who is there?"),)


def test_an_engine_is_a_file_and_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "parrot", EngineEntry(parrot_engine.__name__))
    spec = ModelSpec(engine="parrot", model="polly", dtype="float32")
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside" / "adapter_config.json").write_text("{}")
    digest = publish(tmp_path / "aside", tmp_path / "coco")
    pool = ModelPool(tmp_path)
    policy = pool.open(spec, USE, Checkpoint(tmp_path / "coco", digest))
    request = ChatRequest(ASKED, Sampling(9))
    (heard,) = policy.chat([request], "asking")
    assert heard.text == "coco: Who is there?"
    base = pool.open(spec, USE)
    (heard,) = base.chat([request], "asking")
    assert heard.text == "polly: Who is there?"
    (score,) = base.score([ScoreRequest(ASKED, "It is me.")], "scoring")
    assert score.total == -3.0
    assert pool.usage.made == 3
    assert engine_kind(spec) == "parrot"
    assert spec.label == "polly at parrot"
    assert Machine().price(spec) == FREE
    assert pool.identity(spec) == "parrot polly None float32"
    opened = base.engine()
    assert isinstance(opened, parrot_engine.ParrotEngine)
    pool.close()
    assert opened.closed


def test_an_unknown_engine_is_refused_by_name() -> None:
    stated = {"data_set": "mini", "questioner": {"engine": "parrot", "model": "polly"}}
    stated |= {"roleplayers": [{"model": {"model": "any"}}]}
    said = (
        r"questioner\.engine: there is no 'parrot'; there are: transformers, vllm, openai, scripted"
    )
    with pytest.raises(ExperimentError, match=said):
        validate_experiment("mine", stated)


@pytest.fixture
def dated(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model with a chat template that says which day it is."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    today = "{{ strftime_now('%d %b %Y') }}\n"
    tokenizer.chat_template = today + tokenizer.chat_template
    tokenizer.save_pretrained(tmp_path / "dated")
    return tmp_path / "dated"


def test_a_template_that_asks_for_the_date_is_told_the_same_on_any_day(dated: Path) -> None:
    chat = ChatTokenizer(AutoTokenizer.from_pretrained(dated), "dated")
    assert chat.render(ASKED, generation=True).startswith("26 Jul 2024\n")


def test_the_date_is_in_the_identity_of_models_that_are_told_it(
    dated: Path, tiny_model: Path, tmp_path: Path
) -> None:
    pool = ModelPool(tmp_path)
    told, untold = (
        pool.identity(ModelSpec(model=str(path), dtype="float32")) for path in (dated, tiny_model)
    )
    assert told.endswith(f" None float32 {TEMPLATE_DATE.isoformat()}")
    assert untold.endswith(" None float32")


def test_what_a_template_is_told_is_in_the_identity_where_it_is_stated(
    tiny_model: Path, tmp_path: Path
) -> None:
    pool, spec = ModelPool(tmp_path), ModelSpec(model=str(tiny_model), dtype="float32")
    told = {"enable_thinking": False, "a": 1}
    stated = spec.model_copy(update={"chat_template_kwargs": told})
    assert pool.identity(spec).endswith(" None float32")
    assert pool.identity(stated) == f'{pool.identity(spec)} {{"enable_thinking": false, "a": 1}}'


def test_a_model_whose_template_writes_more_than_was_said_is_another(
    tiny_model: Path, tmp_path: Path
) -> None:
    """What was scored and learnt before that was heeded is not the same."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "assistant\n' }}{% endif %}", "assistant\n<think>\n' }}{% endif %}"
    )
    tokenizer.save_pretrained(tmp_path / "thinker")
    spec = ModelSpec(model=str(tmp_path / "thinker"), dtype="float32")
    *_, dtype, form = ModelPool(tmp_path).identity(spec).split(" ")
    assert (dtype, len(form)) == ("float32", 16)
