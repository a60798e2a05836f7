"""For tests of one's own: whether progress keeps its protocol, here; and a pytest plugin that compares engines on one's own workbook,
see `ultramc.testing.plugin`.
"""

from ultramc.testing.progress import Recorder, assert_progress_contract

__all__ = ["Recorder", "assert_progress_contract"]
