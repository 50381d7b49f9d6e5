"""A model of random weights in the shape of a well-known one, what it is asked, and how many
operations that takes. Nothing is downloaded: requests are the method's own, on the tasks and
personas that come along. Used by `gpu.py`.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, MistralConfig, PreTrainedTokenizerFast

import stargate_assets
from stargate_assets.method.conversation import Conversation, Pair, Persona, Task
from stargate_assets.method.examples import Dialogue
from stargate_assets.method.language_model import ChatRequest, Message, Sampling, ScoreRequest
from stargate_assets.method.prompts import SHIPPED

DATA = Path(stargate_assets.__file__).parent / "defs" / "everyday_mini"
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
QUESTION = "What does a usual day look like for you?"


@dataclass(frozen=True)
class Shape:
    """Of a model, and of what it is asked: `requests` completions of `new_tokens`."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int
    tied: bool
    requests: int
    new_tokens: int
    batch: int
    """Examples of a training step."""
    matmul: int


SHAPES = {
    "7b": Shape(4096, 14336, 32, 32, 8, 32000, False, 256, 64, 16, 8192),  # Mistral-7B
    "1.5b": Shape(1536, 8960, 28, 12, 2, 151936, True, 256, 64, 16, 8192),  # Qwen2.5-1.5B
    "tiny": Shape(128, 256, 2, 4, 2, 2048, True, 8, 8, 2, 256),
}


def read_pairs() -> list[tuple[Pair, str]]:
    """Pairs of the data set that comes along, with their gold responses."""
    tables = {
        name: [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]
        for name in ("personas", "gold_responses")
    }
    people = {row["name"]: row["text"] for row in tables["personas"]}
    return [
        (
            Pair(Task(row["task"], row["task"]), Persona(row["persona"], row["persona"], text)),
            row["text"],
        )
        for row in tables["gold_responses"]
        if (text := people.get(row["persona"]))
    ]


def after_a_turn(pair: Pair) -> Conversation:
    asked = Conversation(pair, 0).with_question(QUESTION, truncated=False)
    return asked.with_answer(" ".join(pair.persona.text.split(". ")[:2]))


def chats(shape: Shape) -> list[ChatRequest]:
    pairs, sampling = read_pairs(), Sampling(shape.new_tokens, 0.7)
    return [
        ChatRequest(SHIPPED.questioner_messages(Conversation(pairs[i % 16][0], i)), sampling, i)
        for i in range(shape.requests)
    ]


def scores(shape: Shape) -> list[ScoreRequest]:
    return [
        ScoreRequest(SHIPPED.respondent_messages(after_a_turn(pair)), gold)
        for pair, gold in read_pairs()[: shape.requests]
    ]


def dialogues(shape: Shape) -> list[Dialogue]:
    """Examples for three steps, all alike, so that every step takes the same operations."""
    pair, gold = read_pairs()[0]
    context = SHIPPED.respondent_messages(after_a_turn(pair))
    return [Dialogue("answer", (*context, Message("assistant", gold)))] * (3 * shape.batch)


def write_model(shape: Shape, directory: Path, dtype: torch.dtype, device: str) -> None:
    """Random weights, and a tokenizer that has learnt the words of the texts that come along."""
    texts = [line for file in DATA.glob("*.jsonl") for line in file.read_text().splitlines()]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=shape.vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=SPECIAL[0], pad_token=SPECIAL[0]
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(directory)
    config = MistralConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=8192,
        sliding_window=None,
        tie_word_embeddings=shape.tied,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.save_pretrained(directory)


def layer_parameters(shape: Shape) -> int:
    """Those that every token meets: neither the embeddings nor the head."""
    width = shape.hidden // shape.heads * shape.key_value_heads
    attention = 2 * shape.hidden * shape.hidden + 2 * shape.hidden * width
    return shape.layers * (attention + 3 * shape.hidden * shape.intermediate)


def forward_flops(shape: Shape, positions: Iterable[int], heads: int) -> float:
    """Of tokens at these positions, of which `heads` meet the vocabulary."""
    seen = list(positions)
    attention = 4 * shape.hidden * shape.layers * sum(position + 1 for position in seen)
    parameters = layer_parameters(shape) * len(seen) + shape.hidden * shape.vocabulary * heads
    return float(2 * parameters + attention)
