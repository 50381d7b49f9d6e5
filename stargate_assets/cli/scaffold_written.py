"""`stargate init --domain`: a defs.yaml for a data set that a model writes whole."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import stargate_assets.defs
from stargate_assets.cli.scaffold import new_file, path_for_yaml, write_component
from stargate_assets.config.data_set import validate_data_set
from stargate_assets.pipeline.components import DataSetComponent
from stargate_assets.pipeline.sources.tables import read_tables

EXAMPLES = Path(stargate_assets.defs.__file__).parent / "everyday"
"""The data set whose tasks and seed personas show a writer the form."""

TASK_SIZES = {"train_a": 40, "train_b": 40, "test": 12}
PERSONA_SIZES = {"train_a": 8, "train_b": 8, "test": 2}
"""About a sixth of the paper's, which are the fields' defaults."""


def scaffold_written_data_set(
    name: str, domains: Sequence[str], model: Mapping[str, str], seed: int
) -> Path:
    """Write `DEFS/NAME/defs.yaml`: tasks about the domains, personas and gold responses, all of
    them by the model.

    Raises ProjectError for a name that cannot be or is taken, and DataError for values that do not
    fit; nothing is written then.
    """
    path, _ = new_file(name, "a data set")
    stated = dict(model)

    def examples(file: str) -> dict[str, str]:
        return {"file": path_for_yaml(EXAMPLES / file, path.parent)}

    fields: dict[str, object] = {
        **({"seed": seed} if seed else {}),
        "task_writer": {
            "model": stated,
            "domains": list(domains),
            "examples": examples("tasks.jsonl"),
            "sizes": TASK_SIZES,
        },
        "persona_writer": {
            "model": stated,
            "examples": examples("seed_personas.jsonl"),
            "sizes": PERSONA_SIZES,
        },
        "oracle": {"model": stated},
    }
    read_tables(validate_data_set(name, fields, path.parent))
    write_component(path, DataSetComponent, {"name": name, "data_set": fields})
    return path
