"""What benchmarks write into pages: the part between two marks, and nothing else."""

from pathlib import Path

from meshreg.files import written_whole


def write_part(page: Path, text: str, begin: str, end: str) -> None:
    """Replace what stands between the marks; the page is whole or as it was."""
    head, rest = page.read_text("utf-8").split(begin)
    _, tail = rest.split(end)
    with written_whole(page) as temporary:
        temporary.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}", "utf-8")
