"""What others are told of the base model: a name under which they find it, and its licence."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from stargate_assets.config.model_spec import ModelSpec, public_label
from stargate_assets.models.bundled import BUNDLED, HUB_NAME, LICENSE, PACKAGE


@dataclass(frozen=True, slots=True)
class BaseModel:
    """`license` is the Hub's identifier, None where the model states none that can be read here.
    `package` is the Python package that has the weights, None where the Hub has them. A model that
    is a directory of this machine is not `public`, and its name is the directory's alone.
    """

    name: str
    revision: str | None = None
    license: str | None = None
    package: str | None = None
    public: bool = True


def find_base_model(spec: ModelSpec) -> BaseModel:
    """What is known of the model that policies are trained from. Asks the Hub for the licence of a
    model there, if it answers.
    """
    if spec.model == BUNDLED:
        return BaseModel(HUB_NAME, license=LICENSE, package=PACKAGE)
    directory = Path(spec.model)
    if directory.is_dir():
        card = directory / "README.md"
        return BaseModel(
            public_label(spec.model),
            license=_read_license(card) if card.is_file() else None,
            public=False,
        )
    return BaseModel(spec.model, spec.revision, _find_license(spec))


def _find_license(spec: ModelSpec) -> str | None:
    """The licence of a model on the Hub, from its card."""
    import httpx
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    from stargate_assets.engines.tokenizers import hub_answers

    if hub_answers():
        with suppress(OSError, HfHubHTTPError, HFValidationError, httpx.HTTPError):
            card = hf_hub_download(spec.model, "README.md", revision=spec.revision)
            return _read_license(Path(card))
    return None


def _read_license(card: Path) -> str | None:
    """What the front matter of a model's card states."""
    _, marker, rest = card.read_text(encoding="utf-8", errors="replace").partition("---\n")
    with suppress(yaml.YAMLError):
        front = yaml.safe_load(rest.partition("\n---")[0]) if marker else None
        if isinstance(front, dict) and isinstance(front.get("license"), str):
            return front["license"]
    return None
