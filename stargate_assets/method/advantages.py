"""What every eligible conversation teaches, by how much better it is than its siblings.

Not in the paper, which keeps the best of them; its future work names REINFORCE with variance
reduction. The baseline is the mean of the siblings (leave-one-out: Kool et al., 2019). Dividing by
the spread of a pair's conversations is from group-relative policy optimisation (Shao et al., 2024),
and weights that are exponentials from advantage-weighted regression (Peng et al., 2019).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from stargate_assets.method.conversation import Conversation
from stargate_assets.method.language_model import LanguageModel, Message, ScoreRequest
from stargate_assets.method.prompts import Prompts
from stargate_assets.method.selection import Candidate, group_siblings


@dataclass(frozen=True, slots=True)
class Lesson:
    """A conversation whose questions are to become more probable, where `weight` is positive, or
    less.
    """

    conversation: Conversation
    weight: float


@dataclass(frozen=True, slots=True)
class SampledQuestions:
    """Log-probabilities of a conversation's questions, a token each with those that end the turns,
    in nats: under the policy that asked them, and under the base model.
    """

    sampled: tuple[float, ...]
    base: tuple[float, ...]


def find_advantages(candidates: Iterable[Candidate], *, standardise: bool) -> list[Lesson]:
    """The value of each conversation less the mean of its siblings, in nats, or in spreads of its
    pair's values. Ordered by pair and sample. A conversation without siblings, or whose siblings
    are as good, teaches nothing and is left out, and so is a value that is not finite.
    """
    lessons: list[Lesson] = []
    for unordered in group_siblings(candidates):
        siblings = sorted(unordered, key=lambda c: c.conversation.sample)
        values = [c.value for c in siblings]
        if len(values) < 2 or min(values) == max(values):
            continue
        spread = pstdev(values) if standardise else 1.0
        against_others = len(values) / (len(values) - 1) / spread
        lessons += [
            Lesson(c.conversation, (c.value - fmean(values)) * against_others) for c in siblings
        ]
    return [lesson for lesson in lessons if lesson.weight != 0]


def weigh_better(lessons: Sequence[Lesson], temperature: float) -> list[Lesson]:
    """Of conversations with their advantages those that are better than their siblings, weighing
    exp(advantage / temperature), scaled so that the mean weight is 1.
    """
    better = [lesson for lesson in lessons if lesson.weight > 0]
    most = max((lesson.weight for lesson in better), default=0.0)
    weights = [math.exp((lesson.weight - most) / temperature) for lesson in better]
    return [
        Lesson(lesson.conversation, weight / fmean(weights))
        for lesson, weight in zip(better, weights, strict=True)
    ]


def score_questions(
    policy: LanguageModel,
    base: LanguageModel,
    conversations: Sequence[Conversation],
    prompts: Prompts,
) -> list[SampledQuestions | None]:
    """Score what was asked in each conversation; None where a question is too long to be scored."""
    requests = [list(_question_requests(c, prompts)) for c in conversations]
    flat = [request for of_one in requests for request in of_one]
    of_policy, of_base = (
        iter(model.score(flat, "scoring questions") if flat else ()) for model in (policy, base)
    )
    found: list[SampledQuestions | None] = []
    for of_one in requests:
        both = [[next(scores) for _ in of_one] for scores in (of_policy, of_base)]
        if any(score.failure for scores in both for score in scores):
            found.append(None)
            continue
        sampled, under_base = (
            tuple(log_prob for score in scores for log_prob in score.log_probs) for scores in both
        )
        found.append(SampledQuestions(sampled, under_base))
    return found


def _question_requests(conversation: Conversation, prompts: Prompts) -> Iterable[ScoreRequest]:
    messages: tuple[Message, ...] = prompts.questioner_messages(conversation)
    for place, message in enumerate(messages):
        if message.role == "assistant":
            yield ScoreRequest(messages[:place], message.content, end_of_turn=True)
