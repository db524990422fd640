"""Numbers and scripts in little room: the page unpacks them with what every browser since 2023 has built in."""

import base64
import gzip

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint16]
Values = NDArray[np.float64]

# assets/data.js reads the same codes.
MISSING, ZERO, FIRST = 0, 1, 2
PER_DECADE = 500  # codes: values are kept to a quarter of a per cent
SMALLEST = -60  # decade of the first code
PER_UNIT = 2000  # codes, of a cosine
LEAST = -1.0  # cosine of the first code


def log_codes(values: Values) -> Codes:
    """Sizes, at least 0, on a logarithmic scale; what is not finite is missing."""
    codes = np.full(values.shape, MISSING, dtype=np.int64)
    codes[values == 0] = ZERO
    good = np.isfinite(values) & (values > 0)
    codes[good] = FIRST + np.round((np.log10(values[good]) - SMALLEST) * PER_DECADE)
    return np.minimum(codes, np.iinfo(np.uint16).max).astype(np.uint16)


def linear_codes(values: Values) -> Codes:
    """Cosines."""
    codes = np.full(values.shape, MISSING, dtype=np.int64)
    good = np.isfinite(values)
    codes[good] = FIRST + np.round((np.clip(values[good], -1, 1) - LEAST) * PER_UNIT)
    return codes.astype(np.uint16)


def packed(codes: Codes) -> str:
    """All low bytes, then all high bytes, which compresses better; see `packed_bytes`."""
    flat = codes.ravel()
    return packed_bytes((flat & 255).astype(np.uint8).tobytes() + (flat >> 8).astype(np.uint8).tobytes())


def packed_bytes(data: bytes) -> str:
    """gzip in base64, the same at any time of day."""
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()
