package main

import (
	_ "embed"
	"testing"

	"{{name}}/portcullis"
)

//go:embed connector.json
var definition []byte

func TestTheExamplesOfTheDefinitionComeOut(t *testing.T) {
	if count := portcullis.RunExamples(t, definition); count != 3 {
		t.Errorf("%d examples were run", count)
	}
}

func TestARefusalOfTheGateIsTheFailureOfTheCall(t *testing.T) {
	refused := portcullis.Exchange{Error: &portcullis.GateError{Reason: "denied", Detail: "host-not-in-org"}}
	refused.ExpectRequest.Method = "GET"
	refused.ExpectRequest.URL = "https://api.example.com/v1/contacts?email=a%26b%40example.org"
	refused.ExpectRequest.Credential = "default"
	gate := portcullis.FakeGate{T: t, Exchanges: []portcullis.Exchange{refused}}
	_, failure := gate.Call("find-or-create-contact", `{"email": "a&b@example.org"}`)
	if failure == nil || failure.Message != "no answer: denied: host-not-in-org" {
		t.Errorf("%v", failure)
	}
}
