"""A model behind an OpenAI-compatible endpoint. Scores need what vLLM serves besides: POST
/tokenize, and prompt_logprobs of /v1/completions.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from openai import OpenAI

from stargate_assets.method.language_model import ChatRequest, Completion, Score, ScoreRequest

AT_ONCE = 16
"""Requests under way."""
RETRIES = 5
NO_KEY = "none"


class EndpointError(Exception):
    """An endpoint is not stated, or cannot score. The message says what to do."""


class Endpoint:
    """A LanguageModel. `label` begins the names of three variables of the environment:
    LABEL_BASE_URL, which ends in /v1, LABEL_MODEL, and LABEL_API_KEY where the server wants one.
    """

    def __init__(self, label: str, environment: Mapping[str, str] = os.environ):
        try:
            base_url, self.model = (environment[f"{label}_{end}"] for end in ("BASE_URL", "MODEL"))
        except KeyError as error:
            raise EndpointError(f"Set {error.args[0]} in the environment.") from error
        key = environment.get(f"{label}_API_KEY", NO_KEY)
        self.v1 = OpenAI(base_url=base_url, api_key=key, max_retries=RETRIES)
        root = base_url.rstrip("/").removesuffix("/v1")
        self.root = OpenAI(base_url=root, api_key=key, max_retries=RETRIES)

    def chat(self, requests: Sequence[ChatRequest], doing: str = "") -> list[Completion]:
        del doing
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self._chat, requests))

    def score(self, requests: Sequence[ScoreRequest], doing: str = "") -> list[Score]:
        """Nats a token. Raises EndpointError where the server gives no log-probabilities."""
        del doing
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self._score, requests))

    def _chat(self, request: ChatRequest) -> Completion:
        sampling = request.sampling
        messages: Any = [asdict(message) for message in request.messages]
        answer = self.v1.chat.completions.create(
            model=self.model,
            messages=messages,
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=request.seed,
        )
        said = answer.choices[0]
        refused = said.finish_reason == "content_filter"
        reason = "refused" if refused else "length" if said.finish_reason == "length" else "stop"
        return Completion((said.message.content or "").strip(), reason, 0, 0)

    def _score(self, request: ScoreRequest) -> Score:
        messages = [asdict(message) for message in request.messages]
        context = self._tokenize({"messages": messages, "add_generation_prompt": True})
        said = self._tokenize({"prompt": request.continuation})
        asked = {"model": self.model, "prompt": context + said, "max_tokens": 1, "temperature": 0}
        answer: Any = self.v1.post(
            "/completions", body={**asked, "prompt_logprobs": 0}, cast_to=object
        )
        positions = answer["choices"][0].get("prompt_logprobs")
        if not positions:
            raise EndpointError(
                f"The server of {self.model} gives no prompt_logprobs; serve it with vLLM."
            )
        scored = zip(said, positions[len(context) :], strict=True)
        found = tuple(position[str(token)]["logprob"] for token, position in scored)
        return Score(found, len(context))

    def _tokenize(self, body: dict[str, Any]) -> list[int]:
        whole = {"model": self.model, "add_special_tokens": False, **body}
        answer: Any = self.root.post("/tokenize", body=whole, cast_to=object)
        return answer["tokens"]
