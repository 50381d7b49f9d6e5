"""What the rules of each table are, as code: a digest that comments, docstrings and annotations do
not change.

`python -m stargate_assets_tests.pipeline.assets.rules` records the digests in `rules.json`, and the
versions of a plain experiment's tables in `versions.json`. Raise the number in
`pipeline/assets/lineage.py` first if the change gives other rows.
"""

import ast
import hashlib
import importlib.util
import json
from functools import cache
from pathlib import Path

from stargate_assets.config.experiment import Experiment
from stargate_assets.method.simulation import Cell
from stargate_assets.pipeline.assets.lineage import DATA_RULES, LINEAGE, REPORT_RULES
from stargate_assets.pipeline.assets.versions import cell_versions
from stargate_assets.training.spec import SPEC_VERSION

RECORD = Path(__file__).with_name("rules.json")
VERSIONS = Path(__file__).with_name("versions.json")
FOLLOWED = ("stargate_assets.method", "stargate_assets.pipeline", "stargate_assets.training")
STEPS, METHOD = "stargate_assets.pipeline.assets.steps", "stargate_assets.method"
ASSETS = "stargate_assets.pipeline.assets"
ENTRIES: dict[str, tuple[str, ...]] = {
    "conversations": (
        f"{STEPS}:simulate_cell",
        f"{METHOD}.eligibility:ineligibility",
        f"{METHOD}.conversation:question_rate",
    ),
    "roleplayer_audit": (f"{METHOD}.roleplayer_audit:audit_replies",),
    "gold_log_probs": (f"{STEPS}:score_cell",),
    "best_conversations": (f"{STEPS}:select_cell",),
    "regularization_responses": (f"{STEPS}:regularize_cell",),
    "checkpoints": (f"{ASSETS}.training:training_spec",),
    "responses": (f"{STEPS}:respond_cell",),
    "heard_statements": (f"{STEPS}:trace_cell",),
    "judge_audit": (f"{METHOD}.audits:audit_pairs", f"{STEPS}:judge_comparisons"),
    "judgements": (
        f"{METHOD}.judging:compare_with_references",
        f"{STEPS}:judge_comparisons",
    ),
    "win_rates": (f"{ASSETS}.judging:win_rate_rows",),
    "evaluation_outcomes": (
        f"{STEPS}:evaluate_cell",
        f"{METHOD}.evaluations:EVALUATIONS",
        "stargate_assets.pipeline.sources.evaluation_sets:read_items",
    ),
    "report": (f"{ASSETS}.evaluation:report_rows",),
    "tasks": (
        "stargate_assets.pipeline.sources.tables:read_tables",
        f"{ASSETS}.data_set:write_task_rows",
    ),
    "personas": (
        "stargate_assets.pipeline.sources.tables:read_tables",
        f"{ASSETS}.data_set:write_persona_rows",
    ),
    "gold_responses": (
        "stargate_assets.pipeline.sources.tables:read_tables",
        f"{ASSETS}.data_set:write_gold_rows",
    ),
    "a training": ("stargate_assets.training.trainer:train",),
}
"""The functions that make the rows of each table, and what they call is followed."""


def numbers() -> dict[str, str]:
    """The number of each table's rules."""
    stated = {table: lineage.rules for table, lineage in LINEAGE.items()} | DATA_RULES
    stated |= {"report": REPORT_RULES, "a training": SPEC_VERSION}
    return {table: str(stated[table]) for table in ENTRIES}


def versions() -> dict[str, str]:
    """The versions of a plain experiment's tables, by cell and table."""
    model = {"engine": "scripted", "model": "any"}
    stated = {"data_set": "mini", "questioner": model, "roleplayers": [{"model": model}]}
    plain = Experiment.model_validate(stated | {"judge": {"model": model}})
    return {
        f"{cell.key} {table}": version
        for cell in (Cell(0, "train_a"), Cell(0, "test"))
        for table, version in cell_versions(plain, cell, None, {}).items()
    }


def digests() -> dict[str, str]:
    """The digest of each table's rules."""
    return {table: digest_code(*entries) for table, entries in ENTRIES.items()}


def digest_code(*entries: str) -> str:
    """Digest functions, given as `module:name`, and everything of this project that they use."""
    found: dict[str, str] = {}
    waiting = list(entries)
    while waiting:
        entry = waiting.pop()
        if entry in found:
            continue
        module, _, name = entry.partition(":")
        definitions, imported = names_in(module)
        if name not in definitions:
            if name in imported:
                waiting.append(imported[name])
            continue
        node = definitions[name]
        found[entry] = ast.dump(node)
        used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        waiting += [imported[n] for n in used if n in imported]
        waiting += [f"{module}:{n}" for n in used if n in definitions]
    code = "\n".join(f"{entry} {found[entry]}" for entry in sorted(found))
    return hashlib.sha256(code.encode()).hexdigest()[:16]


@cache
def names_in(module: str) -> tuple[dict[str, ast.stmt], dict[str, str]]:
    """The definitions of a module by name, without what changes no rule, and what it imports of
    this project as `module:name`.
    """
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return names_of(Path(spec.origin).read_text())


def names_of(source: str) -> tuple[dict[str, ast.stmt], dict[str, str]]:
    """The same of a module's text."""
    tree = Stripper().visit(ast.parse(source))
    definitions: dict[str, ast.stmt] = {}
    imported: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(FOLLOWED):
            imported |= {a.asname or a.name: f"{node.module}:{a.name}" for a in node.names}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            definitions[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            definitions |= {
                n.id: node for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)
            }
    return definitions, imported


class Stripper(ast.NodeTransformer):
    """Takes docstrings and annotations out of a tree."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return ast.Pass() if is_text else self.generic_visit(node)


if __name__ == "__main__":
    record = {t: {"number": numbers()[t], "digest": d} for t, d in digests().items()}
    RECORD.write_text(json.dumps(record, indent=2) + "\n")
    VERSIONS.write_text(json.dumps(versions(), indent=2) + "\n")
