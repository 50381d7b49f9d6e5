"""The transformers engine against plain transformers: `python benchmarks/transformers_engine.py`.

Same model, dtype and requests on both sides, in turn, in one process. The requests are those of the
method on the data set `everyday_mini`: questions to ask, and gold responses to score after a
dialogue. Prints ratios (plain / ours) with their median over rounds, the peak of memory above what
was resident before, and whether both sides agree.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.progress import track
from transformers import AutoModelForCausalLM, AutoTokenizer

from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.definitions.project import load_project
from stargate_assets.engines.transformers import Batching, TransformersEngine
from stargate_assets.method.conversation import Conversation
from stargate_assets.method.language_model import ChatRequest, Sampling, ScoreRequest
from stargate_assets.method.prompts import SHIPPED
from stargate_assets.models.bundled import BUNDLED, bundled_model
from stargate_assets.models.pool import ModelPool
from stargate_assets.pipeline.assets.rows import gold_texts, pairs_from_rows
from stargate_assets.pipeline.sources.tables import read_tables

PLAIN_SCORING_BATCH = 8
QUESTION = "What does a usual day look like for you?"
console = Console()


class Plain:
    """What one would write first: `generate` on a left-padded batch, and log_softmax over all
    logits.
    """

    def __init__(self, path: Path, dtype: torch.dtype):
        self.tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
        self.model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=dtype).eval()

    def prompt(self, request: ChatRequest | ScoreRequest) -> str:
        turns = [{"role": m.role, "content": m.content} for m in request.messages]
        return self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)

    @torch.inference_mode()
    def chat(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        sampling = requests[0].sampling
        batch = self.tokenizer(
            [self.prompt(r) for r in requests],
            return_tensors="pt",
            padding=True,
            add_special_tokens=False,
        )
        hot = {"do_sample": True, "temperature": sampling.temperature, "top_k": 0}
        output = self.model.generate(
            **batch,
            max_new_tokens=sampling.max_tokens,
            **(hot if sampling.temperature else {"do_sample": False}),
        )
        new = output[:, batch["input_ids"].shape[1] :].tolist()
        end = self.tokenizer.eos_token_id
        return [row[: row.index(end)] if end in row else row for row in new]

    @torch.inference_mode()
    def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        scores: list[list[float]] = []
        for start in range(0, len(requests), PLAIN_SCORING_BATCH):
            batch = requests[start : start + PLAIN_SCORING_BATCH]
            prompts = [
                self.tokenizer(self.prompt(r), add_special_tokens=False).input_ids for r in batch
            ]
            golds = [
                self.tokenizer(r.continuation, add_special_tokens=False).input_ids for r in batch
            ]
            rows = [p + g for p, g in zip(prompts, golds, strict=True)]
            width = max(map(len, rows))
            ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
            lengths = torch.tensor([len(row) for row in rows])
            mask = (torch.arange(width) < lengths[:, None]).long()
            log_probs = (
                self.model(input_ids=ids, attention_mask=mask).logits.float().log_softmax(-1)
            )
            found = log_probs[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]
            scores += [
                found[row, len(p) - 1 : len(p) - 1 + len(g)].tolist()
                for row, (p, g) in enumerate(zip(prompts, golds, strict=True))
            ]
        return scores


def measured(call: Callable[[], object]) -> tuple[float, float, object]:
    """Seconds, peak memory in MB above what was resident, and the result."""
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = _status("VmRSS")
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, (_status("VmHWM") - before) / 1024, result


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def requests(pairs_used: int, samples: int) -> tuple[list[ChatRequest], list[ScoreRequest]]:
    """Questions to ask in a first turn, and gold responses to score after one turn of dialogue."""
    tables = read_tables(load_project().data_sets["everyday_mini"])
    assert tables.personas is not None and tables.gold_responses is not None
    tasks, personas = (table.of("train_a") for table in (tables.tasks, tables.personas))
    gold = gold_texts(tables.gold_responses.of("train_a"))
    sampling = Sampling(48, 0.7)
    chats: list[ChatRequest] = []
    scores: list[ScoreRequest] = []
    for pair in pairs_from_rows(tasks, personas)[:pairs_used]:
        facts = pair.persona.text.split(". ")
        for sample in range(samples):
            conversation = Conversation(pair, sample)
            seed = len(chats)
            chats.append(ChatRequest(SHIPPED.questioner_messages(conversation), sampling, seed))
            talked = conversation.with_question(QUESTION, truncated=False)
            talked = talked.with_answer(f"{facts[sample]}. {facts[sample + 1]}.")
            text = gold[pair.task.task_id, pair.persona.persona_id]
            scores.append(ScoreRequest(SHIPPED.respondent_messages(talked), text))
    return chats, scores


def agreement(path: Path) -> None:
    """fp32: the same tokens under greedy decoding, and the same log-probabilities within 1e-3."""
    plain = Plain(path, torch.float32)
    ours = TransformersEngine(str(path), None, "float32", "cpu", Batching())
    chats, scores = requests(4, 2)
    greedy = [ChatRequest(r.messages, Sampling(24)) for r in chats]
    expected = [
        plain.tokenizer.decode(row, skip_special_tokens=True).strip() for row in plain.chat(greedy)
    ]
    texts = [completion.text for _, completion in sorted(ours.chat(greedy), key=lambda r: r[0])]
    found = [score.log_probs for _, score in sorted(ours.score(scores), key=lambda r: r[0])]
    worst = max(
        abs(a - b)
        for one, other in zip(found, plain.score(scores), strict=True)
        for a, b in zip(one, other, strict=True)
    )
    equal = sum(a == b for a, b in zip(texts, expected, strict=True))
    console.print(
        f"fp32: {equal} of {len(texts)} greedy texts equal; largest difference of a token's "
        f"log-probability {worst:.1e} nats"
    )


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option(
    "--warehouse", default="warehouse", show_default=True, type=click.Path(path_type=Path)
)
def main(rounds: int, warehouse: Path) -> None:
    """Measure simulation and scoring against plain transformers."""
    path = bundled_model(warehouse / "models", lambda *_: None)
    agreement(path)
    dtype = ModelPool(warehouse).dtype(ModelSpec(model=BUNDLED))
    plain = Plain(path, getattr(torch, dtype))
    ours = TransformersEngine(str(path), None, dtype, "cpu", Batching())
    console.print(f"this machine computes in {dtype}, with {torch.get_num_threads()} threads")
    chats, scores = requests(16, 4)

    def new_tokens(result: object) -> int:
        if isinstance(result, dict):
            return sum(completion.completion_tokens for completion in result.values())
        return sum(len(row) for row in result)  # pyright: ignore[reportGeneralTypeIssues, reportUnknownArgumentType, reportUnknownVariableType]

    ratios: dict[str, list[float]] = {"simulation": [], "scoring": [], "memory": []}
    for _ in track(range(rounds), "measuring", console=console):
        plain_s, _, plain_r = measured(lambda: plain.chat(chats))
        our_s, _, our_r = measured(lambda: dict(ours.chat(chats)))
        plain_speed, our_speed = new_tokens(plain_r) / plain_s, new_tokens(our_r) / our_s
        ratios["simulation"].append(our_speed / plain_speed)
        plain_t, plain_mb, _ = measured(lambda: plain.score(scores))
        our_t, our_mb, _ = measured(lambda: dict(ours.score(scores)))
        ratios["scoring"].append(plain_t / our_t)
        ratios["memory"].append(our_mb / plain_mb)
        console.print(
            f"{len(chats)} questions: plain {plain_s:.1f} s ({plain_speed:.0f} tokens/s), "
            f"ours {our_s:.1f} s ({our_speed:.0f} tokens/s); "
            f"{len(scores)} scores: plain {plain_t:.1f} s and {plain_mb:.0f} MB, "
            f"ours {our_t:.1f} s and {our_mb:.0f} MB"
        )
    for name, goal in (("simulation", ">= 2"), ("scoring", ">= 2"), ("memory", "<= 0.5")):
        median, spread = statistics.median(ratios[name]), ratios[name]
        console.print(f"{name}: {median:.2f} ({min(spread):.2f} to {max(spread):.2f}), goal {goal}")


if __name__ == "__main__":
    main()
