"""To the Hugging Face Hub, whose address is in HF_ENDPOINT and whose key is where its client keeps
it.
"""

from pathlib import Path
from typing import Literal

from stargate_assets.cli.publish.publisher import PublishError

RepositoryType = Literal["model", "dataset"]
MESSAGE = "Publish with stargate-assets"


def upload(directory: Path, repository: str, kind: RepositoryType, *, public: bool) -> str:
    """Put a directory into a repository, which is made if it is not there; returns its address.
    Raises PublishError, also for a repository that others can read where that was not asked for.
    """
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    api = HfApi()
    try:
        address = api.create_repo(repository, repo_type=kind, private=not public, exist_ok=True)
        is_public = not api.repo_info(repository, repo_type=kind).private
        if is_public != public:
            seen, advice = (
                ("public", "say --public") if is_public else ("private", "leave --public out")
            )
            raise PublishError(
                f"{repository} is there already and {seen}; {advice}, or name another."
            )
        api.upload_folder(
            repo_id=repository, repo_type=kind, folder_path=directory, commit_message=MESSAGE
        )
    except LocalTokenNotFoundError as error:
        raise PublishError(
            "The Hub wants to know who publishes; log in first, hf auth login, or set HF_TOKEN."
        ) from error
    except (HFValidationError, HfHubHTTPError, httpx.HTTPError, OSError) as error:
        said = " ".join(str(error).split())
        raise PublishError(
            f"The Hub did not take {repository} ({said}); what was to be published is in "
            f"{directory}."
        ) from error
    return str(address)
