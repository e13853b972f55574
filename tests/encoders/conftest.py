"""Makes `made_tensors`, the made media of these tests, a module that they can import."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
