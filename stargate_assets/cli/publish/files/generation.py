"""Talk with this policy: python generation.py "What should I cook tonight?" --name Ana

It asks you questions, and then does what you ask for. Press Enter alone to have it answer at once.
The README says what to install.
"""

import argparse
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from jinja2.sandbox import ImmutableSandboxedEnvironment
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).parent
SETTINGS: dict[str, Any] = json.loads((HERE / "star_gate.json").read_text(encoding="utf-8"))
Turns = list[tuple[str, str]]
"""Each question with the user's reply."""


def load_base() -> Any:
    """The base model; one that comes as a quantised file of a Python package, in its own type."""
    base, dtype = SETTINGS["base"], SETTINGS["dtype"]
    if base["package"] is None:
        revision = base["revision"] or "main"
        return AutoModelForCausalLM.from_pretrained(base["model"], revision=revision, dtype=dtype)
    files = metadata.files(base["package"]) or []
    (file,) = (Path(str(f.locate())) for f in files if f.name.endswith(".gguf"))
    packed: Any = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype="float32"
    )
    del packed.config.quantization_config
    model: Any = AutoModelForCausalLM.from_config(packed.config, dtype=torch.bfloat16)
    model.load_state_dict(packed.state_dict())
    return model.float() if dtype == "float32" else model


def load_policy() -> tuple[Any, Any]:
    """The policy and its tokenizer."""
    if (HERE / "adapter_config.json").exists():
        from peft import PeftModel

        model = PeftModel.from_pretrained(load_base(), str(HERE))
    else:
        model = AutoModelForCausalLM.from_pretrained(HERE, dtype=SETTINGS["dtype"])
    return model.eval(), AutoTokenizer.from_pretrained(HERE)


def render(prompt: str, **values: str) -> str:
    """One of the prompts that the policy was trained with, filled in."""
    text = (HERE / "prompts" / f"{prompt}.j2").read_text(encoding="utf-8")
    return ImmutableSandboxedEnvironment().from_string(text).render(**values).strip()


def questioner_messages(name: str, task: str, turns: Turns) -> list[dict[str, str]]:
    """What the policy sees before it asks."""
    said = [render("opening", name=name, task=task), *(reply for _, reply in turns)]
    users = [render("asking", message=text, name=name, task=task) for text in said]
    return dialogue(render("questioner", name=name, task=task), users, turns)


def respondent_messages(name: str, task: str, turns: Turns) -> list[dict[str, str]]:
    """What it sees before it answers: the request stands again at the end of the last reply."""
    users = [render("opening", name=name, task=task), *(reply for _, reply in turns)]
    if turns:
        users[-1] = render("closing", answer=users[-1], name=name, task=task)
    return dialogue(render("respondent", name=name, task=task), users, turns)


def dialogue(system: str, users: list[str], turns: Turns) -> list[dict[str, str]]:
    """The messages; a system text opens the first one where the chat template has no such role."""
    if system and not SETTINGS["has_system_role"]:
        users, system = [f"{system}\n\n{users[0]}", *users[1:]], ""
    messages = [{"role": "system", "content": system}] if system else []
    for user, question in zip(users, [*(question for question, _ in turns), None], strict=True):
        messages.append({"role": "user", "content": user})
        if question is not None:
            messages.append({"role": "assistant", "content": question})
    return messages


def say(model: Any, tokenizer: Any, messages: list[dict[str, str]], **stated: Any) -> str:
    """The policy's next message."""
    prompt = tokenizer.apply_chat_template(
        messages,
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
        **SETTINGS["chat_template_kwargs"],
    )
    tokens = model.generate(**prompt.to(model.device), **stated)
    return tokenizer.decode(tokens[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)


def asks(text: str) -> bool:
    return text.rstrip(SETTINGS["closers"]).endswith(tuple(SETTINGS["question_marks"]))


def hear() -> str:
    """What the user types; nothing where there is nobody."""
    try:
        return input("You say: ").strip()
    except EOFError:
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(description="Talk with this policy.")
    parser.add_argument("task", help="What you want of it.")
    parser.add_argument("--name", default="Ana", help="Yours.")
    stated = parser.parse_args()
    model, tokenizer = load_policy()
    turns: Turns = []
    while len(turns) < SETTINGS["max_turns"]:
        messages = questioner_messages(stated.name, stated.task, turns)
        question = say(model, tokenizer, messages, **SETTINGS["asking"])
        print(f"It says: {question}")
        if not asks(question) or not (reply := hear()):
            break
        turns.append((question, reply))
    messages = respondent_messages(stated.name, stated.task, turns)
    print(say(model, tokenizer, messages, **SETTINGS["answering"]))


if __name__ == "__main__":
    main()
