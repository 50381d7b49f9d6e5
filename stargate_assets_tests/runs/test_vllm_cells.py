"""A training cell of `embedded`, made small, with every role on vLLM: in a process of ours, and
behind two live servers.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from stargate_assets.cli.driver import load
from stargate_assets.config.data_set import Sizes
from stargate_assets.config.machine import Machine
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.definitions.project import Project, assemble
from stargate_assets_tests.conftest import ROOT
from stargate_assets_tests.runs.cells import materialize, tables
from stargate_assets_tests.servers.live_vllm_servers import NAME, LiveServer

pytestmark = pytest.mark.vllm
SIZES = Sizes(train_a=2, train_b=1, test=1)
PAIRS, SAMPLES = 4, 4


@pytest.fixture
def project(
    smollm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[ModelSpec], Project]:
    """`embedded` with two tasks and two personas in the cell, and one model in every role."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    shutil.copytree(smollm, tmp_path / "warehouse" / "models" / smollm.name)

    def build(spec: ModelSpec) -> Project:
        whole = load("embedded")
        shipped, data_set = whole.experiments["embedded"], whole.data_sets["everyday_mini"]
        few = {
            table: getattr(data_set, table).model_copy(update={"sizes": SIZES})
            for table in ("tasks", "personas")
        }
        roles = {
            "questioner": spec,
            "roleplayers": tuple(
                roleplayer.model_copy(update={"model": spec}) for roleplayer in shipped.roleplayers
            ),
        }
        return assemble(
            {"everyday_mini": data_set.model_copy(update=few)},
            {"embedded": shipped.model_copy(update=roles)},
            Path("warehouse"),
            Machine(cpu_cache_gib=1),
        )

    return build


def is_complete(project: Project) -> None:
    conversations, gold, best, answers = tables(project, "embedded").values()
    assert conversations.height == PAIRS * SAMPLES
    assert len({str(questions) for questions in conversations["questions"]}) > PAIRS
    assert gold.height == conversations["ineligibility"].null_count() > 0
    assert 0 < best.height <= PAIRS
    assert answers.height == best.height
    assert all(answers["text"])


def test_a_cell_with_vllm_in_every_role(project: Callable[[ModelSpec], Project]) -> None:
    built = project(ModelSpec(engine="vllm", model="bundled", max_length=2048))
    try:
        materialize(built, "embedded")
    finally:
        built.models.close()
    is_complete(built)


def test_a_cell_with_every_role_behind_two_live_servers(
    project: Callable[[ModelSpec], Project],
    live_vllm: tuple[LiveServer, LiveServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LIVE_BASE_URL", ",".join(f"{server.url}/v1" for server in live_vllm))
    before = [server.answered() for server in live_vllm]
    built = project(ModelSpec(engine="openai", endpoint="LIVE", model=NAME))
    materialize(built, "embedded")
    is_complete(built)
    answered = [server.answered() - some for server, some in zip(live_vllm, before, strict=True)]
    assert sum(answered) == built.models.usage.made
    assert min(answered) >= sum(answered) // 3
