"""How requests are shared out over replicas: in chunks, measured in tokens."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from stargate_assets.method.language_model import ChatRequest, ScoreRequest, most_tokens

MOST_TOKENS = 262_144
"""Of a chunk, if it has more than one request. They are counted as bytes (`most_tokens`), so these
are some 60,000 tokens of English: enough to keep a batch full for a while.
"""
LEAST_TOKENS = 32_768
"""Of a chunk, where there are enough for all replicas: smaller ones would leave a batch empty."""
HALF_A_TOKEN = 0.5
"""For what division rounds."""


def order_by_prompt(requests: Sequence[ChatRequest] | Sequence[ScoreRequest]) -> list[int]:
    """Indices, with requests whose messages begin alike side by side."""
    texts = [[(message.role, message.content) for message in r.messages] for r in requests]
    return sorted(range(len(requests)), key=lambda index: texts[index])


def count_tokens(request: ChatRequest | ScoreRequest) -> int:
    """What a request may cost a replica, prompt and completion together."""
    return sum(most_tokens(request))


def split_evenly(tokens: Sequence[int], replicas: int) -> list[range]:
    """Chunks of neighbours for requests of so many tokens, in rounds of one for each replica. A
    round has half of what is left, its chunks at most MOST_TOKENS each, and the last one all: it
    comes when its chunks have no more than twice LEAST_TOKENS. So replicas that are equally fast
    end together, and others soon after each other. All sizes are to within one request.
    """
    sent = [0, *accumulate(tokens)]
    chunks: list[range] = []
    start = 0
    while start < len(tokens):
        share = (sent[-1] - sent[start]) / replicas
        size = share if share <= 2 * LEAST_TOKENS else min(MOST_TOKENS, share / 2)
        first = sent[start]
        for number in range(1, replicas + 1):
            if start == len(tokens):
                break
            end = bisect_right(sent, first + number * size + HALF_A_TOKEN) - 1
            largest = bisect_right(sent, sent[start] + MOST_TOKENS) - 1
            end = max(start + 1, min(end, largest))
            chunks.append(range(start, end))
            start = end
    return chunks


@dataclass(slots=True)
class Part:
    """Indices of requests that go out together and have no answer, by their place in the chunk that
    went out last; and how often on end a replica has ended at them.
    """

    requests: dict[int, int]
    losses: int = 0


def plan_parts(
    requests: Sequence[ChatRequest] | Sequence[ScoreRequest], replicas: int
) -> list[Part]:
    """All requests, in the order in which they are to go out."""
    order = order_by_prompt(requests)
    chunks = split_evenly([count_tokens(requests[index]) for index in order], replicas)
    return [Part(dict(enumerate(order[place] for place in chunk))) for chunk in chunks]
