"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

RunFolder = Annotated[Path, Argument(metavar="DIR", help="The run's directory.")]
AsJson = Annotated[bool, Option("--json", help="As JSON, for programs.")]
Assignments = Annotated[list[str] | None, Option("--set", metavar="A.B=C", help="One setting; give it again for more.")]
AsItStood = Annotated[
    str | None, Option("--version", metavar="V", help="As it stood in a version; see `cleaner versions`.")
]
