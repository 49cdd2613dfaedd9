"""Pages of HTML: one style for all of them, and everything in them escaped."""

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(package: str) -> "Environment":
    """Templates of a package, which can include `style.css` and import `parts.html.j2` of this one."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader("medimg.reporting", ".")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def data_url(content: bytes, kind: str) -> str:
    """A file inside a page; `kind` as in `image/png`."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
