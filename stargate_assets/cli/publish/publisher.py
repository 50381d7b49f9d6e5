"""A directory that others can use: a policy, or a data set, with a card that says what it is."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stargate_assets.cli.driver import DriverError, find_experiment
from stargate_assets.cli.policies import Policy, find_policy
from stargate_assets.cli.publish.base_model import BaseModel, find_base_model
from stargate_assets.cli.publish.cards import of_policy, render_data_card, render_model_card
from stargate_assets.cli.publish.weights import copy_weights, merge_weights
from stargate_assets.config.experiment import Experiment
from stargate_assets.definitions.project import Project
from stargate_assets.engines.chat_tokenizer import ChatTokenizer
from stargate_assets.engines.engine import Checkpoint
from stargate_assets.engines.tokenizers import find_tokenizer
from stargate_assets.method.conversation import CLOSERS, QUESTION_MARKS
from stargate_assets.method.errors import StargateError
from stargate_assets.method.plan import SPLITS
from stargate_assets.pipeline.assets.evaluation import read_evaluated_tables
from stargate_assets.pipeline.assets.lineage import ANSWERING, ASKING
from stargate_assets.pipeline.assets.report_page import experiment_tables
from stargate_assets.reporting.tables import ExperimentTables
from stargate_assets.storage.checkpoints import verify

PUBLISHED = "published"
CARD = "README.md"
FILES = Path(__file__).parent / "files"


class PublishError(StargateError):
    """Something cannot be published. The message says why and what to do."""


def publish_policy(
    project: Project, name: str, number: int | None, directory: Path | None, *, merged: bool
) -> Path:
    """Write a policy's weights, tokenizer, prompts, an example that runs, and its card."""
    experiment = find_experiment(project, name)
    policy = find_policy(project, name, number)
    checkpoint = _sealed_checkpoint(name, policy)
    base, adapter = find_base_model(experiment.questioner), checkpoint.is_adapter and not merged
    if adapter and not base.public:
        raise PublishError(
            f"Nobody else has the base model of {name}, which is a directory of this machine; "
            "publish the policy whole, with --merged."
        )
    tables = read_evaluated_tables(project.warehouse, name, experiment)
    _check_is_evaluated(tables, policy)
    form = "-merged" if merged else ""
    with _written_aside(project, f"{name}-policy-{policy.number}{form}", directory) as aside:
        if checkpoint.is_adapter and not adapter:
            merge_weights(project.models, experiment.questioner, checkpoint, aside.path)
        else:
            copy_weights(checkpoint, base, aside.path)
        _write_prompts(experiment, aside.path)
        _write_settings(project, experiment, base, aside.path)
        shutil.copy2(FILES / "generation.py", aside.path)
        shown = of_policy(tables, policy.number)
        data_set = project.data_sets[experiment.data_set]
        card = render_model_card(shown, policy.number, base, data_set, adapter=adapter)
        (aside.path / CARD).write_text(card, encoding="utf-8")
    return aside.final


def publish_data_set(project: Project, name: str, directory: Path | None) -> Path:
    """Write the tables of an experiment's data set as Parquet, and its card."""
    experiment = find_experiment(project, name)
    of, data_set = experiment.data_set, project.data_sets[experiment.data_set]
    if missing := project.missing_splits(of, SPLITS):
        raise PublishError(
            f"Of the data set {of}, {', '.join(missing)} is not there as its sources are now; "
            f"make it first: stargate run {of}."
        )
    tables = experiment_tables(project.warehouse, name, experiment)
    with _written_aside(project, of, directory) as aside:
        for table in data_set.tables:
            (aside.path / table).mkdir()
            for split in SPLITS:
                rows = tables.frame(table).filter(split=split)
                rows.write_parquet(aside.path / table / f"{split}.parquet")
        (aside.path / CARD).write_text(render_data_card(tables, data_set), encoding="utf-8")
    return aside.final


def _sealed_checkpoint(name: str, policy: Policy) -> Checkpoint:
    """The checkpoint of a policy, undamaged, and the one that the tables are of."""
    if policy.checkpoint is None:
        raise PublishError(
            f"Policy {policy.number} of {name} is the base model, which others have already; train "
            f"one first: stargate run {name}."
        )
    if verify(policy.checkpoint.path) != policy.checkpoint.sha256:
        raise PublishError(
            f"The checkpoint {policy.checkpoint.path} is not the one that was evaluated; make what "
            f"is due: stargate run {name}."
        )
    return policy.checkpoint


def _check_is_evaluated(tables: ExperimentTables, policy: Policy) -> None:
    """A card has figures, of tables that are as the experiment is now."""
    tested = set(tables.tested("conversations")["iteration"])
    trained = {iteration + 1 for iteration in tables.frame("checkpoints")["iteration"]}
    usable = sorted(tested & trained)
    if policy.number not in usable:
        raise PublishError(
            f"Policy {policy.number} of {tables.name} is not one that was trained and evaluated as "
            f"the experiment is now; there are: {', '.join(map(str, usable)) or 'none'}. Make it "
            f"first, stargate run {tables.name}, or state another with --policy."
        )


class _Aside:
    """Where something is written, and where it will be when it is whole."""

    def __init__(self, final: Path):
        self.final = final
        self.path = final.with_name(f".{final.name}.partial")


@contextmanager
def _written_aside(project: Project, stem: str, stated: Path | None) -> Iterator[_Aside]:
    """A directory that is there when all of it is; what an earlier command wrote is replaced, and
    nothing else is.
    """
    final = stated or project.warehouse.path.parent / PUBLISHED / stem
    if stated is not None and stated.exists() and (not stated.is_dir() or any(stated.iterdir())):
        raise PublishError(f"{stated} is there already; name a directory that is new or empty.")
    aside = _Aside(final.absolute())
    shutil.rmtree(aside.path, ignore_errors=True)
    aside.path.mkdir(parents=True)
    try:
        yield aside
        shutil.rmtree(aside.final, ignore_errors=True)
        aside.path.rename(aside.final)
    finally:
        shutil.rmtree(aside.path, ignore_errors=True)


def _write_prompts(experiment: Experiment, directory: Path) -> None:
    (directory / "prompts").mkdir()
    for template in dict.fromkeys((*ASKING, *ANSWERING)):
        text = experiment.told.text(template)
        (directory / "prompts" / f"{template}.j2").write_text(text, encoding="utf-8")


def _write_settings(
    project: Project, experiment: Experiment, base: BaseModel, directory: Path
) -> None:
    """The tokenizer with its chat template, and what `generation.py` needs to know besides."""
    spec, models, simulated = experiment.questioner, project.models, experiment.simulation
    tokenizer: Any = find_tokenizer(models.path(spec), spec.revision)
    if tokenizer is None:
        raise DriverError(f"The tokenizer of {spec.model} is not to be had; is the Hub there?")
    chat = ChatTokenizer(tokenizer, spec.model, spec.chat_template_kwargs)
    tokenizer.save_pretrained(directory)
    ends = {"eos_token_id": sorted({tokenizer.eos_token_id, chat.end_of_turn_ids[-1]})}
    asking = {"max_new_tokens": simulated.question_tokens, "do_sample": False, **ends}
    if simulated.temperature:
        sampled = {"temperature": simulated.temperature, "top_p": simulated.top_p, "top_k": 0}
        asking |= {"do_sample": True, **sampled}
    answered = experiment.evaluation.answer_tokens
    settings = {
        "base": {"model": base.name, "revision": base.revision, "package": base.package},
        "dtype": models.dtype(spec),
        "has_system_role": chat.has_system_role,
        "chat_template_kwargs": chat.template_arguments,
        "max_turns": simulated.max_turns,
        "asking": asking,
        "answering": {"max_new_tokens": answered, "do_sample": False, **ends},
        "question_marks": QUESTION_MARKS,
        "closers": CLOSERS,
    }
    text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
    (directory / "star_gate.json").write_text(text, encoding="utf-8")
