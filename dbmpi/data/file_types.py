"""What a file is, by its first bytes, and what makes a data file of it: for messages. Local."""

import re
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

PREPARE = "python -m dbmpi.prepare"
LOOKED_AT = 1024  # bytes


@dataclass(frozen=True)
class FileType:
    """A type of files.

    Attributes
    ----------
    name
        As "a JPEG image".
    remedy
        What to do with such a file.
    kind
        Of `dbmpi.prepare` that reads it; empty where none does.
    """

    name: str
    remedy: str
    kind: str = ""

    def said(self, path: Path) -> str:
        """Return a message of a file of this type, after its name."""
        folder = path if path.is_dir() else path.parent
        names = {"FILE": quote(str(path)), "FOLDER": quote(str(folder)), "PATH": repr(str(path))}
        remedy = re.sub("|".join(names), lambda match: names[match[0]], self.remedy)
        return f"is {self.name}; {remedy}"


def _read_by(name: str, kind: str, options: str = "") -> FileType:
    return FileType(name, f"{PREPARE} {kind} FILE OUT.h5{options} makes a data file of it", kind)


TABLE = _read_by("text", "table", " --target COLUMN")
PARQUET = _read_by("a table in parquet", "table", " --target COLUMN")
NPZ = _read_by("an archive of NumPy arrays", "npz")
NPY = FileType("a NumPy array", f"{PREPARE} npz FOLDER OUT.h5 makes a data file of a folder of them", "npz")
MAT = _read_by("a MATLAB file", "mat")
HDF5 = _read_by("an HDF5 file", "hdf5")
IDX = FileType("an IDX file", f"{PREPARE} idx FOLDER OUT.h5 makes a data file of the four", "idx")
IMAGE = FileType(
    "an image", f"{PREPARE} images FOLDER OUT.h5 makes a data file of a folder of them", "images"
)
SOUND = FileType("a WAV", f"{PREPARE} speech FOLDER OUT.h5 makes a data file of a folder of them", "speech")
FOLDER = FileType(
    "a folder", f"{PREPARE} images FOLDER OUT.h5 makes a data file of images, speech one of WAV files"
)
PANDAS = FileType(
    "a table that pandas wrote",
    f"write it as parquet, by pandas.read_hdf(PATH).to_parquet(...); {PREPARE} table reads that",
)
EXCEL = FileType("an Excel workbook", "save its sheet as CSV")
ZIP = FileType("a zip archive", "unpack it")
TAR = FileType("a tar archive", "unpack it")
PICKLE = FileType(
    "a Python pickle", "write it as parquet, by frame.to_parquet(...), or as .npz, by numpy.savez(...)"
)
FEATHER = FileType("a Feather file", "write it as parquet, by frame.to_parquet(...)")
SQLITE = FileType("an SQLite database", "export its table as CSV")
JSON = FileType("JSON", "write it as CSV, by pandas.read_json(PATH).to_csv(...) (lines=True for JSON lines)")
ARFF = FileType("an ARFF file", "save it as CSV")
COMPRESSED = FileType("a compressed file", "unpack it")
OTHER = FileType("of a format that is not known", f"{PREPARE} --help names those that are read")

BEGINNINGS = (
    (b"MATLAB", MAT),
    (b"\x89HDF\r\n\x1a\n", HDF5),
    (b"PAR1", PARQUET),
    (b"\x93NUMPY", NPY),
    (b"\x00\x00\x08\x01", IDX),
    (b"\x00\x00\x08\x03", IDX),
    (b"\x89PNG", IMAGE),
    (b"\xff\xd8\xff", IMAGE),
    (b"GIF8", IMAGE),
    (b"BM", IMAGE),
    (b"II*\x00", IMAGE),
    (b"MM\x00*", IMAGE),
    (b"ARROW1", FEATHER),
    (b"SQLite format 3", SQLITE),
    (b"\xd0\xcf\x11\xe0", EXCEL),
    (b"\x1f\x8b", COMPRESSED),
    (b"BZh", COMPRESSED),
    (b"\xfd7zXZ", COMPRESSED),
    (b"\x28\xb5\x2f\xfd", COMPRESSED),
)
PICKLES = tuple(b"\x80" + bytes([version]) for version in range(2, 6))
HDF5_PLACES = 512, 1024  # where a user block goes before it


def type_of(path: Path) -> FileType:
    """Return what a file is, as far as its beginning shows. Raises OSError."""
    if path.is_dir():
        return FOLDER
    with path.open("rb") as file:
        start = file.read(LOOKED_AT + 8)
    if start[:4] == b"PK\x03\x04":
        return _zipped(path)
    for beginning, found in BEGINNINGS:
        if start.startswith(beginning):
            return found
    if any(start[at : at + 8] == b"\x89HDF\r\n\x1a\n" for at in HDF5_PLACES):
        return HDF5
    if start[:4] == b"RIFF":
        return SOUND if start[8:12] == b"WAVE" else IMAGE
    if start.startswith(PICKLES):
        return PICKLE
    return TAR if start[257:262] == b"ustar" else _of_text(start)


def _zipped(path: Path) -> FileType:
    names: list[str] = []
    with suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.startswith("xl/") for name in names):
        return EXCEL
    return NPZ if not names or any(name.endswith(".npy") for name in names) else ZIP


def _of_text(start: bytes) -> FileType:
    """Say what a text is, of whatever encoding; bytes of nothing in it are of none but UTF-16."""
    utf16 = start[:2] in (b"\xff\xfe", b"\xfe\xff")
    if b"\0" in start and not utf16:
        return OTHER
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] in (b"{", b"["):
        return JSON
    return ARFF if text[:9].lower() == b"@relation" else TABLE
