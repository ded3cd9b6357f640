"""The files that a plan names, for a worker on another machine, which has none of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from loadtest.crew.messages import SentFile
from loadtest.crew.values import NoValue


def contents(named: Iterable[Path]) -> Iterator[SentFile]:
    """The files that are ``named``, and all in directories that are. What is not there is left out: it may be a word
    that stands for something else. Raises ``OSError``."""
    for path in sorted(set(named)):
        if path.is_file():
            yield SentFile(str(path), "", path.read_bytes())
        for file in sorted(path.rglob("*")) if path.is_dir() else ():
            if file.is_file():
                yield SentFile(str(path), file.relative_to(path).as_posix(), file.read_bytes())


def placed(files: Sequence[SentFile], folder: Path, *, far: bool = False) -> Callable[[Path], Path]:
    """Write them into ``folder``, where nothing is; the place of each that a plan names. One that comes from ``far``
    away names no file of this machine, which would go out in requests. Raises ``NoValue`` and ``OSError``."""
    places: dict[str, Path] = {}
    for file in files:
        place = places.setdefault(file.named, folder / str(len(places)) / _inner(Path(file.named).name))
        target = place / _inner(file.within)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)

    def place_of(path: Path) -> Path:
        if far and str(path) not in places and path.exists():
            raise NoValue(f"{path}: the plan names a file that was not sent with it")
        return places.get(str(path), path)

    return place_of


def _inner(within: str) -> PurePosixPath:
    """Nothing that another process names is written anywhere else."""
    path = PurePosixPath(within)
    if path.is_absolute() or ".." in path.parts:
        raise NoValue("a file of the plan lies outside of its directory")
    return path
