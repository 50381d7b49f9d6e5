"""Every knob of an experiment. The defaults are the paper's; an experiment's YAML states only what
differs.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    Field,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from stargate_assets.config.digest import digest_fields
from stargate_assets.config.model_spec import Frozen, ModelSpec, first_fault, one_of, refuse_batch
from stargate_assets.config.prompts import ExperimentPrompts, check_text
from stargate_assets.config.training import Training
from stargate_assets.method.arms import REFERENCE_ARM, Arm
from stargate_assets.method.errors import DeclarationError
from stargate_assets.method.judging import JudgeMethod
from stargate_assets.method.objectives import OBJECTIVES
from stargate_assets.method.plan import TEST_SPLIT, TRAIN_SPLITS
from stargate_assets.method.prompts import SHIPPED, Prompts
from stargate_assets.method.simulation import Kinds


class ExperimentError(DeclarationError):
    """An experiment's YAML says something that cannot be. The message names the field."""


class Simulation(Frozen):
    """Section 3: N conversations a pair, of 1 to K questions, at temperature 0.9."""

    samples: PositiveInt = Field(default=10, description="N, conversations per pair.")
    max_turns: PositiveInt = Field(
        default=3, description="K, the most questions a conversation has."
    )
    temperature: float = Field(default=0.9, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    question_tokens: PositiveInt = 128
    unasked: Kinds = Field(
        default="never",
        description="For which tasks, by kind, answering at once may win over asking. The policy "
        "may then answer instead of asking, which ends its conversation.",
    )


class Role(Frozen):
    """A part that several models may play, each under a label of its own."""

    model: ModelSpec
    name: str = Field(default="", description="What tables call it; its model unless stated.")

    @property
    def label(self) -> str:
        """What tables call it."""
        return self.name or self.model.model


AnyRole = TypeVar("AnyRole", bound=Role)


def distinct(roles: tuple[AnyRole, ...]) -> tuple[AnyRole, ...]:
    """The roles, or a ValueError if tables could not tell two of them apart."""
    labels = [role.label for role in roles]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"two are called {label!r}; give each a name of its own")
    return roles


class Roleplayer(Role):
    """`generated` is the paper's way; `chosen` picks the persona's own statements by score."""

    replies: Literal["generated", "chosen"] = "generated"
    temperature: float = Field(default=0.9, ge=0)
    answer_tokens: PositiveInt = 128

    @field_validator("model")
    @classmethod
    def _at_once(cls, model: ModelSpec) -> ModelSpec:
        refuse_batch("a roleplayer", model)
        return model


class Selection(Frozen):
    """What makes a conversation good, and how many are kept. All values are in nats."""

    top: PositiveInt = Field(default=1, description="k, conversations kept per pair.")
    objective: Annotated[str, one_of(OBJECTIVES)] = Field(
        default="sum",
        description="; ".join(f"{name}: {o.description}" for name, o in OBJECTIVES.items()) + ".",
    )
    question_cost: float = Field(default=0, ge=0, description="Taken off for each question.")
    word_cost: float = Field(default=0, ge=0, description="Taken off for each word of a question.")
    margin: float | None = Field(
        default=None,
        description="How far a kept conversation's value must lie above zero (gain, contrast, "
        "information), or above the mean of its pair (sum, mean, choice). Nothing "
        "is dropped unless stated.",
    )


class Regularization(Frozen):
    """What the policy learns to answer after the best conversation: its own greedy answer, the gold
    response (the paper's ablation, which teaches to invent), or nothing (questions only).
    """

    response: Literal["own", "gold", "none"] = "own"
    prompt: str | None = Field(
        default=None,
        description="The prompt that own answers are made under, and learnt without (context "
        "distillation): `instructed`, a file, or a text in place of the prompt `instructed`.",
    )
    answer_tokens: PositiveInt = 512
    only_answers: bool = Field(
        default=False,
        description="Of its own answers, none that ends by asking, and of one that ran into its "
        "limit the whole sentences.",
    )

    @field_validator("prompt")
    @classmethod
    def _fits(cls, prompt: str | None) -> str | None:
        return None if prompt is None else check_text("instructed", prompt)

    @model_validator(mode="after")
    def _has_own_answers(self) -> Self:
        if self.prompt is not None and self.response != "own":
            raise ValueError("a prompt is for own answers: state response: own, or no prompt")
        return self


class Evaluation(Frozen):
    """What policies are tried on. Each arm is answered, and judged, on every pair."""

    samples: PositiveInt = Field(
        default=10, description="Conversations per pair on the test split."
    )
    answer_tokens: PositiveInt = Field(
        default=512, description="Of the responses that are compared, greedy ones."
    )
    arms: tuple[Arm, ...] = Field(
        default=tuple(Arm), description="Who asks and who answers: the responses that are compared."
    )
    roleplayers: tuple[Roleplayer, ...] = Field(
        default=(), description="Who answers on the test split; those of training unless stated."
    )

    @field_validator("arms")
    @classmethod
    def _with_the_reference(cls, arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
        if REFERENCE_ARM not in arms:
            raise ValueError(
                f"{REFERENCE_ARM} must be among them: every other arm is compared with it"
            )
        return arms

    @field_validator("roleplayers")
    @classmethod
    def _distinct(cls, roleplayers: tuple[Roleplayer, ...]) -> tuple[Roleplayer, ...]:
        return distinct(roleplayers)


class Judge(Role):
    """Which of two responses fits the persona better. `written` is the paper's way, a comparison
    and a verdict; `choice` compares the letters' log-probabilities, and `fit` how much more
    probable the persona makes each response, where a response that only asks is none.
    """

    method: JudgeMethod = "written"
    answer_tokens: PositiveInt = Field(default=512, description="Of a written comparison.")

    @model_validator(mode="after")
    def _scores_without_batches(self) -> Self:
        if self.method != "written":
            refuse_batch(f"a judge with method: {self.method}", self.model)
        return self


class Experiment(Frozen):
    """One run of STaR-GATE, from a data set and models to policies and figures."""

    data_set: str
    questioner: ModelSpec
    roleplayers: tuple[Roleplayer, ...] = Field(
        min_length=1, description="Each conversation draws one of them."
    )
    seed: int = Field(default=0, ge=0)
    iterations: PositiveInt = 3
    simulation: Simulation = Simulation()
    selection: Selection = Selection()
    regularization: Regularization = Regularization()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    judge: Judge | None = Field(default=None, description="Without one there are no win rates.")
    other_judges: tuple[Judge, ...] = Field(
        default=(),
        description="They are asked the same; the figures of `judge` are the headline.",
    )
    evaluations: tuple[str, ...] = Field(
        default=(),
        description="External evaluations that every policy is run on, by the names under which "
        "they are declared.",
    )
    prompts: ExperimentPrompts = Field(
        default=SHIPPED, description="Texts in place of the shipped prompts, by the prompt's name."
    )

    @field_validator("questioner")
    @classmethod
    def _at_once(cls, questioner: ModelSpec) -> ModelSpec:
        refuse_batch("the questioner", questioner)
        return questioner

    @field_validator("roleplayers")
    @classmethod
    def _distinct(cls, roleplayers: tuple[Roleplayer, ...]) -> tuple[Roleplayer, ...]:
        return distinct(roleplayers)

    @field_validator("other_judges")
    @classmethod
    def _beside_the_headline(
        cls, others: tuple[Judge, ...], info: ValidationInfo
    ) -> tuple[Judge, ...]:
        headline: Judge | None = info.data.get("judge")
        if others and headline is None:
            raise ValueError("there is no judge to stand beside; state one as judge")
        return distinct((headline, *others))[1:] if headline else ()

    @property
    def judges(self) -> tuple[Judge, ...]:
        """All judges, the headline's first."""
        return (self.judge, *self.other_judges) if self.judge else ()

    @property
    def told(self) -> Prompts:
        """What each role is told: where own answers are distilled, the arm `instructed` answers
        under their prompt.
        """
        distilled = self.regularization.prompt
        return self.prompts if distilled is None else self.prompts.replace("instructed", distilled)

    def roleplayers_of(self, split: str) -> tuple[Roleplayer, ...]:
        """Who answers questions on a split, or on an external evaluation."""
        return (split not in TRAIN_SPLITS and self.evaluation.roleplayers) or self.roleplayers

    @property
    def all_roleplayers(self) -> tuple[Roleplayer, ...]:
        """Who answers questions anywhere; who answers in training and on test may stand twice."""
        return (*self.roleplayers, *self.evaluation.roleplayers)

    def unasked(self, split: str) -> Kinds:
        """The tasks of a split for which not to ask is a candidate."""
        return "never" if split == TEST_SPLIT else self.simulation.unasked

    def samples(self, split: str) -> int:
        """Conversations per pair of a split."""
        return self.evaluation.samples if split == TEST_SPLIT else self.simulation.samples

    def digest(self, split: str = TEST_SPLIT) -> str:
        """Digest what a split's tables are made from. More iterations do not change the earlier
        ones, what evaluates policies does not change how they are trained, and which external
        evaluations are named changes no row. Prompts are not in it: each table's version has those
        that it is made with.
        """
        undistilled = self.regularization.model_copy(update={"prompt": None})
        stated = self.model_copy(update={"prompts": SHIPPED, "regularization": undistilled})
        evaluating = ("evaluation", "judge", "other_judges") if split in TRAIN_SPLITS else ()
        return digest_fields(stated, exclude={"iterations", "evaluations", *evaluating})


def validate_experiment(name: str, stated: Mapping[str, Any]) -> Experiment:
    """The experiment that a defs.yaml states, or an ExperimentError for the first field that is
    wrong.
    """
    try:
        return Experiment.model_validate(stated)
    except ValidationError as error:
        raise ExperimentError(
            f"The experiment {name} is not valid: {first_fault(error)}; correct its defs.yaml."
        ) from error
