"""Templates of what is written for people as plain text, such as cards."""

import jinja2


def text_templates(package: str) -> jinja2.Environment:
    """The templates of a package, whose values are text as it is."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package, "."),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - Markdown and TOML
        trim_blocks=True,
        lstrip_blocks=True,
    )
