"""The module as ordinary code, against the examples of its definition: `python -m unittest`."""

import json
import unittest
from pathlib import Path

from actions import ACTIONS
from portcullis.testing import run_examples


class Module(unittest.TestCase):
    def test_the_examples_of_the_definition_come_out(self):
        definition = json.loads((Path(__file__).parent / "connector.json").read_text())
        self.assertEqual(run_examples(definition, ACTIONS), 4)


if __name__ == "__main__":
    unittest.main()
