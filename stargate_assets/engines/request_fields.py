"""How a request for a chat is written for a server: the fields that it takes, and within which
bounds. What a server says it does not take is left out from then on.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from stargate_assets.config.model_spec import BoundedField, LimitField, OptionalField
from stargate_assets.method.language_model import ChatRequest

SEED_OF_31_BITS = (0, 2**31 - 1)
"""What every server takes that takes seeds at all."""
_NEUTRAL = {"temperature": 1.0, "top_p": 1.0}
"""Values that a server assumes where it is told none: to leave these out changes nothing."""
_WHAT_IS_LOST = {
    "temperature": "texts are drawn at the server's own temperature",
    "top_p": "texts are drawn with the server's own top_p",
    "seed": "the same request may have another answer next time",
    "response_format": "answers are asked for in words alone",
}
_RANGE = frozenset(
    {"range", "less", "greater", "exceed", "exceeds", "large", "maximum", "int32", "overflow"}
    | {"between", "integer", "bit", str(2**31 - 1), str(2**32 - 1), str(2**31), str(2**32)}
)
"""Words of a complaint about a value, and not about a field."""


@dataclass(frozen=True, slots=True)
class RequestFields:
    """`limit` is the field that limits a completion; None sends no limit. `omitted` fields are not
    sent. Values outside their `bounds` (least and most) are sent as the nearest one within; a seed
    is folded into them.
    """

    limit: LimitField | None = "max_tokens"
    omitted: frozenset[OptionalField] = frozenset()
    bounds: Mapping[BoundedField, tuple[float, float]] = field(
        default_factory=dict[BoundedField, tuple[float, float]]
    )

    def values(self, request: ChatRequest) -> dict[str, Any]:
        """The fields of a request's body that say how to sample, and what."""
        sampling = request.sampling
        sent: dict[str, Any] = {
            "temperature": self._clamp("temperature", sampling.temperature),
            "top_p": self._clamp("top_p", sampling.top_p),
            "seed": self._fold(request.seed),
        }
        if self.limit is not None:
            sent[self.limit] = int(self._clamp("max_tokens", sampling.max_tokens))
        if request.structure is not None:
            schema = {"name": "answer", "schema": json.loads(request.structure), "strict": True}
            sent["response_format"] = {"type": "json_schema", "json_schema": schema}
        return {name: value for name, value in sent.items() if name not in self.omitted}

    def without(self, named: Collection[str], request: ChatRequest) -> "RequestFields | None":
        """These fields without the one that a server's complaint is most likely about; None if
        there is nothing to leave out. A seed too wide is narrowed first, and a limit has two names.
        """
        sent = self.values(request)
        too_wide = sent.get("seed", 0) > SEED_OF_31_BITS[1]
        if too_wide and "seed" in named and not _RANGE.isdisjoint(named):
            return replace(self, bounds={**self.bounds, "seed": SEED_OF_31_BITS})
        blamed: list[OptionalField] = [
            name
            for name in ("response_format", "top_p", "seed", "temperature")
            if name in named and name in sent
        ]
        if "json_schema" in named and "response_format" in sent:
            blamed.insert(0, "response_format")
        blamed.sort(key=lambda name: sent[name] != _NEUTRAL.get(name))
        if blamed:
            return replace(self, omitted=self.omitted | {blamed[0]})
        if self.limit == "max_tokens" and "max_tokens" in named:
            return replace(self, limit="max_completion_tokens")
        if self.limit == "max_completion_tokens" and self.limit in named:
            return replace(self, limit="max_tokens")
        if "response_format" in sent:  # a complaint that names nothing
            return replace(self, omitted=self.omitted | {"response_format"})
        return None

    def merge(self, learned: "RequestFields", before: "RequestFields") -> "RequestFields":
        """These fields with what `learned` has and `before` had not."""
        return RequestFields(
            learned.limit if learned.limit != before.limit else self.limit,
            self.omitted | learned.omitted,
            {**self.bounds, **learned.bounds},
        )

    def describe_changes(self, before: "RequestFields") -> list[tuple[str, str]]:
        """What is sent otherwise than `before`, in words; and what to state to have it so."""
        found: list[tuple[str, str]] = []
        if self.limit != before.limit:
            found.append(
                (f"{before.limit}; {self.limit} is sent instead", f"limit_field: {self.limit}")
            )
        if self.bounds != before.bounds:
            bounds = list(self.bounds["seed"])
            found.append(
                ("seeds of 63 bits; they are folded into 31", f"field_bounds: {{seed: {bounds}}}")
            )
        for name in sorted(self.omitted - before.omitted):
            lost = f"{name}; it is left out, so that {_WHAT_IS_LOST[name]}"
            found.append((lost, f"omit_fields: [{', '.join(sorted(self.omitted))}]"))
        return found

    def _clamp(self, name: BoundedField, value: float) -> float:
        least, most = self.bounds.get(name, (value, value))
        return min(max(value, least), most)

    def _fold(self, seed: int) -> int:
        if "seed" not in self.bounds:
            return seed
        least, most = map(int, self.bounds["seed"])
        return seed if least <= seed <= most else least + seed % (most - least + 1)
