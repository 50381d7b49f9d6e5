"""`benchmarks/gpu.py`, on a tiny model and this machine's CPU."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.random_model import SHAPES, forward_flops, layer_parameters
from stargate_assets_tests.conftest import ENVIRONMENT, ROOT

NOT_THERE = (
    *("dagster", "dagster_pipes", "duckdb", "polars", "openai", "dataframely"),
    *("click", "rich", "matplotlib", "tiktoken", "datasets", "psycopg", "vllm"),
)
"""What is not installed where somebody has a GPU and little else."""
PROGRAM = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({NOT_THERE}))
sys.argv[1:] = ["--shape", "tiny", "--device", "cpu", "--json", sys.argv[1]]
runpy.run_path("benchmarks/gpu.py", run_name="__main__")
"""


@pytest.mark.slow
def test_it_measures_everything_with_little_installed(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(file)],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(file.read_text())
    assert (found["shape"], found["dtype"]) == ("tiny", "float32")
    rows = {row["what"]: row for row in found["rows"]}
    assert [row["what"] for row in found["rows"]] == [
        "matmul",
        "simulation, generate",
        "simulation, ours",
        "scoring, ours",
        "scores, mean difference",
        "scores, largest difference",
        "training, lora",
        "training, full",
    ]
    assert rows["scores, largest difference"]["value"] < 1e-4
    for what in ("scoring, ours", "training, lora", "training, full"):
        assert 0 < rows[what]["share"] < 1
        assert rows[what]["peak_gib"] > 0
    assert "simulation, vLLM: left out, it is not installed" in done.stderr
    assert all(what in done.stdout for what in rows)


def test_shapes_have_the_parameters_that_their_models_are_known_for() -> None:
    """Norms and biases, which are a thousandth at most, are left out."""
    embeddings = {name: shape.hidden * shape.vocabulary for name, shape in SHAPES.items()}
    assert layer_parameters(SHAPES["7b"]) + 2 * embeddings["7b"] == 7_241_465_856
    assert layer_parameters(SHAPES["1.5b"]) + embeddings["1.5b"] == 1_543_569_408


def test_operations_of_one_token_are_two_a_parameter_and_those_of_attention() -> None:
    shape = SHAPES["tiny"]
    alone = 2 * layer_parameters(shape)
    attention = 4 * shape.hidden * shape.layers
    head = 2 * shape.hidden * shape.vocabulary
    assert forward_flops(shape, [0], heads=0) == alone + attention
    assert forward_flops(shape, [4], heads=1) == alone + 5 * attention + head
    assert forward_flops(shape, [0, 4], heads=1) == 2 * alone + 6 * attention + head
