"""Settings of the suite: Hypothesis draws the same examples each time, so that a failure is one for everybody.

``HYPOTHESIS_PROFILE=explore pytest`` draws new ones each time, and more.
"""

from __future__ import annotations

import importlib.util
import os

from hypothesis import settings

if importlib.util.find_spec("torch") is None:
    collect_ignore = ["reference_torch.py"]  # which holds no tests, but would be imported to look for doctests

settings.register_profile("suite", max_examples=60, deadline=None, derandomize=True)
settings.register_profile("explore", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))
