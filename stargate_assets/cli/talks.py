"""A conversation of a person with a policy: what the policy says in it, and the row that keeps
it.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from stargate_assets.cli.policies import Policy
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.definitions.project import Project
from stargate_assets.engines.engine import Checkpoint, OnText
from stargate_assets.method.conversation import Conversation
from stargate_assets.method.language_model import ChatRequest, Completion, Sampling
from stargate_assets.method.regularization import answer_tasks
from stargate_assets.method.simulation import Cell, conversation_seed
from stargate_assets.method.turn_taking import Turn, heard, next_turn
from stargate_assets.models.stored import StoredModel
from stargate_assets.pipeline.assets.rows import table_rows
from stargate_assets.pipeline.assets.versions import policy_version
from stargate_assets.storage.completions import Use

CHAT = "chat"
"""What stands for the cell in seeds and in the counts of model calls."""
CHATS = "chats"


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation with a policy so far, and its answer, or why it gives none."""

    conversation: Conversation
    answer_now: bool = False
    response: str | None = None
    truncated: bool = False
    failure: str | None = None

    @property
    def has_ended(self) -> bool:
        return self.response is not None or self.failure is not None

    def next_turn(self, max_turns: int) -> Turn:
        return next_turn(self.conversation, max_turns, answer_now=self.answer_now)

    def with_reply(self, reply: str) -> "Talk":
        return replace(self, conversation=self.conversation.with_answer(reply))

    def with_said(self, turn: Turn, said: Completion) -> "Talk":
        """What came of the policy's turn."""
        truncated = said.finish_reason == "length"
        if said.finish_reason == "refused":
            return replace(self, failure=describe_failure(said))
        if turn == Turn.ASK:
            return replace(self, conversation=self.conversation.with_question(said.text, truncated))
        return replace(self, response=said.text, truncated=truncated)


def describe_failure(refused: Completion) -> str:
    """Why a completion has no text."""
    return (refused.failure and refused.failure.said) or "it was refused"


@dataclass(frozen=True, slots=True)
class Speaker:
    """The policies of an experiment, as they speak to people."""

    project: Project
    name: str

    def say(self, policy: Policy, talk: Talk, turn: Turn, on_text: OnText) -> Completion:
        """What a policy says in its turn; `on_text` is told of it as it grows, where the engine
        can.
        """
        experiment = self.project.experiments[self.name]
        if turn == Turn.ANSWER:
            (answer,) = answer_tasks(
                replace(self.model("respondent", policy.checkpoint), on_text=on_text),
                [heard(talk.conversation)],
                experiment.evaluation.answer_tokens,
                prompts=experiment.told,
            )
            return answer
        stated, conversation = experiment.simulation, talk.conversation
        cell, number = Cell(policy.number, CHAT), len(conversation.questions)
        request = ChatRequest(
            experiment.told.questioner_messages(conversation),
            Sampling(stated.question_tokens, stated.temperature, stated.top_p),
            conversation_seed(experiment.seed, "question", cell, conversation, number),
        )
        model = replace(self.model("questioner", policy.checkpoint), on_text=on_text)
        return model.chat([request], "asking")[0]

    def model(
        self, role: str, checkpoint: Checkpoint | None, spec: ModelSpec | None = None
    ) -> StoredModel:
        """A policy in a role, or another model that is stated."""
        use = Use(self.name, CHAT, role)
        questioner = self.project.experiments[self.name].questioner
        return self.project.models.open(spec or questioner, use, checkpoint)

    def keep(
        self,
        chat_id: str,
        policy: Policy,
        talk: Talk,
        *,
        persona_id: str | None,
        rater: str | None = None,
    ) -> None:
        """Write a conversation as it is now, in place of what was written of it before."""
        talked, version = heard(talk.conversation), policy_version(policy.checkpoint)
        unanswered = talk.conversation.questions[len(talked.questions) :]
        row = {
            "chat_id": chat_id,
            "iteration": policy.number,
            "policy": version,
            "task": talked.pair.task.text,
            "name": talked.pair.persona.name,
            "persona_id": persona_id,
            "roleplayer": talked.roleplayer or None,
            "rater": rater,
            "questions": list(talked.questions),
            "answers": list(talked.answers),
            "unanswered": unanswered[0] if unanswered else None,
            "response": talk.response,
            "truncated": talk.truncated,
            "failure": talk.failure,
            "held_at": datetime.now(UTC).replace(tzinfo=None),
        }
        where = {"chat_id": chat_id}
        self.project.warehouse.write(self.name, CHATS, where, table_rows(CHATS, [row]), version)
