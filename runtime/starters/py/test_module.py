"""The module as ordinary code, against recorded exchanges: `python -m unittest`."""

import json
import unittest
from pathlib import Path

from actions import ACTIONS
from portcullis.module import ModuleError
from portcullis.testing import FakeGate, run_examples


class Module(unittest.TestCase):
    def test_the_examples_of_the_definition_come_out(self):
        definition = json.loads((Path(__file__).parent / "connector.json").read_text())
        self.assertEqual(run_examples(definition, ACTIONS), 3)

    def test_requests_name_the_credential_and_carry_the_input_as_it_is(self):
        data = {"email": "a&b@example.org"}
        url = "https://api.example.com/v1/contacts"
        gate = FakeGate(
            [
                {
                    "expect_request": {
                        "method": "GET",
                        "url": f"{url}?email=a%26b%40example.org",
                        "credential": "default",
                    },
                    "response": {"status": 200, "body": {"items": []}},
                },
                {
                    "expect_request": {"method": "POST", "url": url, "credential": "default", "body": data},
                    "response": {"status": 201, "body": {"id": "c_1"}},
                },
            ]
        )
        output = gate.call(ACTIONS, "find-or-create-contact", data)
        self.assertEqual(output, {"id": "c_1", "created": True})
        self.assertEqual(gate.lines, [("info", "the contact is new")])

    def test_a_refusal_of_the_gate_is_the_failure_of_the_call(self):
        gate = FakeGate([{"error": ("denied", "host-not-in-org")}])
        with self.assertRaises(ModuleError) as caught:
            gate.call(ACTIONS, "find-or-create-contact", {"email": "ada@example.org"})
        self.assertEqual(caught.exception.code, "outbound")
        self.assertEqual(caught.exception.message, "no answer: denied: host-not-in-org")


if __name__ == "__main__":
    unittest.main()
