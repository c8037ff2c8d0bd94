"""The kinds of input by their names.

A kind is imported when it is used: the way to `--help` loads neither numpy nor Pillow.
"""

from dbmpi.prepare.array_kinds import HDF5, MAT, NPZ
from dbmpi.prepare.image_kinds import IDX, IMAGES
from dbmpi.prepare.speech_kind import SPEECH
from dbmpi.prepare.table_kind import TABLE

KINDS = {
    "images": IMAGES,
    "table": TABLE,
    "speech": SPEECH,
    "npz": NPZ,
    "mat": MAT,
    "hdf5": HDF5,
    "idx": IDX,
}
