"""Files on their way to the server: opened late, one at a time, and counted."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO

from aiforge.errors import InvalidInput

Progress = Callable[[int, int], None]
"""Called with the bytes sent so far and the bytes in all."""


class LateFile:
    """A file that is opened when it is first read and closed at its end.

    A thousand of them cost one file descriptor. It has what httpx asks of an upload: ``read``,
    ``seek`` and ``tell``.
    """

    def __init__(self, path: Path, advance: Callable[[int], None]) -> None:
        self._path = path
        self._advance = advance
        self._size = path.stat().st_size
        self._stream: IO[bytes] | None = None

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        if self._stream is None:
            self._stream = self._path.open("rb")
        data = self._stream.read(size)
        if not data:
            self._stream.close()
        self._advance(len(data))
        return data

    def tell(self) -> int:
        """The position, as far as a size is found out by seeking to the end and back."""
        return 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to the beginning, or tell the size of the file."""
        if whence == os.SEEK_END:
            return self._size
        self._stream = None
        return offset


class Counter:
    """Adds up what all files of one request have sent."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._sent = 0
        self._total = total
        self._progress = progress

    def __call__(self, count: int) -> None:
        self._sent += count
        if self._progress and count:
            self._progress(self._sent, self._total)


def multipart_files(
    files: Sequence[tuple[str, Path]], progress: Progress | None
) -> list[tuple[str, tuple[str, IO[bytes]]]]:
    """Files as httpx takes them, all under the field ``files``."""
    counter = Counter(sum(path.stat().st_size for _, path in files), progress)
    return [
        ("files", (name, LateFile(path, counter)))  # type: ignore[misc]
        for name, path in files
    ]


def plan_upload(paths: Iterable[str | os.PathLike[str]], workspace: Path) -> list[tuple[str, Path]]:
    """The files to send and the names they are sent under.

    A directory is packed into one ``.tar.gz`` below ``workspace``, so that its layout survives;
    links and ``.git`` stay behind.

    Raises:
        InvalidInput: A path does not exist, or there are none.
    """
    planned: list[tuple[str, Path]] = []
    for number, path in enumerate(Path(given).expanduser() for given in paths):
        if path.is_dir():
            archive = workspace / f"{number}.tar.gz"
            _pack(path.resolve(), archive)
            planned.append((f"{path.resolve().name or 'files'}.tar.gz", archive))
        elif path.is_file():
            planned.append((path.name, path))
        else:
            raise InvalidInput(
                f"There is no file or directory {path}; check the path.", code="path_not_found"
            )
    if not planned:
        raise InvalidInput("Nothing to upload; name a file or a directory.", code="nothing_given")
    return planned


def _pack(directory: Path, archive: Path) -> None:
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for root, names, files in os.walk(directory):
            names[:] = sorted(name for name in names if name != ".git")
            for name in sorted(files):
                path = Path(root, name)
                if path.is_file() and not path.is_symlink():
                    tar.add(path, arcname=str(path.relative_to(directory.parent)))
