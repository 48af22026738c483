//go:build !wasip1

package portcullis

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// Exchange is a recorded request and its answer, or the gate's reason.
type Exchange struct {
	ExpectRequest struct {
		Method     string            `json:"method"`
		URL        string            `json:"url"`
		Headers    map[string]string `json:"headers"`
		Body       json.RawMessage   `json:"body"`
		Credential string            `json:"credential"`
	} `json:"expect_request"`
	Response struct {
		Status  int               `json:"status"`
		Headers map[string]string `json:"headers"`
		Body    json.RawMessage   `json:"body"`
	} `json:"response"`
	Error *GateError `json:"-"`
}

// FakeGate answers recorded exchanges in order, in the place of the host.
type FakeGate struct {
	T         *testing.T
	Exchanges []Exchange
	Lines     []string
}

// Call calls an action and gives its output or its error. Every exchange must be used.
func (g *FakeGate) Call(action string, input string) (json.RawMessage, *Error) {
	g.T.Helper()
	send = g.send
	writeLog = func(level int, line string) { g.Lines = append(g.Lines, line) }
	call := Call{Action: action, Config: json.RawMessage("{}"), RunID: "run_example", NowMs: 1767225600000,
		IdempotencyKey: "example-key"}
	document, failure := run(call, []byte(input))
	if len(g.Exchanges) > 0 {
		g.T.Errorf("the module did not ask for %s", g.Exchanges[0].ExpectRequest.URL)
	}
	if failure != nil {
		return nil, failure
	}
	var read struct {
		Output json.RawMessage `json:"output"`
	}
	if err := json.Unmarshal(document, &read); err != nil {
		g.T.Fatal(err)
	}
	return read.Output, nil
}

func (g *FakeGate) send(request Request) (Answer, *GateError) {
	g.T.Helper()
	if len(g.Exchanges) == 0 {
		g.T.Fatalf("nothing more is recorded: %s %s", request.Method, request.URL)
	}
	next := g.Exchanges[0]
	g.Exchanges = g.Exchanges[1:]
	expected := next.ExpectRequest
	if expected.Method+" "+expected.URL != request.Method+" "+request.URL {
		g.T.Fatalf("expected %s %s, got %s %s", expected.Method, expected.URL, request.Method, request.URL)
	}
	for name, value := range expected.Headers {
		if got := headerOf(request.Headers, name); got != value {
			g.T.Fatalf("%s: header %s: expected %q, got %q", request.URL, name, value, got)
		}
	}
	if expected.Credential != "" && expected.Credential != request.Credential {
		g.T.Fatalf("%s: expected the credential %q, got %q", request.URL, expected.Credential, request.Credential)
	}
	if !same(expected.Body, request.Body) {
		g.T.Fatalf("%s: expected the body %s, got %s", request.URL, expected.Body, request.Body)
	}
	if next.Error != nil {
		return Answer{}, next.Error
	}
	answer := Answer{Status: next.Response.Status, Body: textOf(next.Response.Body)}
	for name, value := range next.Response.Headers {
		answer.Headers = append(answer.Headers, [2]string{name, value})
	}
	return answer, nil
}

// RunExamples runs every example of the definition's module actions, as an upload does, and gives their number.
func RunExamples(t *testing.T, definition []byte) int {
	t.Helper()
	var read struct {
		Actions []struct {
			ID       string `json:"action_id"`
			Handler  string `json:"handler"`
			Examples []struct {
				Name         string            `json:"name"`
				Input        json.RawMessage   `json:"input"`
				Exchanges    []Exchange        `json:"exchanges"`
				ExpectOutput json.RawMessage   `json:"expect_output"`
				ExpectError  map[string]string `json:"expect_error"`
			} `json:"examples"`
		} `json:"actions"`
	}
	if err := json.Unmarshal(definition, &read); err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, action := range read.Actions {
		if action.Handler != "module" {
			continue
		}
		for _, example := range action.Examples {
			name := fmt.Sprintf("%s, %q", action.ID, example.Name)
			gate := FakeGate{T: t, Exchanges: example.Exchanges}
			output, failure := gate.Call(action.ID, string(example.Input))
			compare(t, name, output, failure, example.ExpectOutput, example.ExpectError)
			count++
		}
	}
	return count
}

func compare(t *testing.T, name string, output []byte, failure *Error, expected []byte, expectedError map[string]string) {
	t.Helper()
	if failure == nil {
		if expectedError != nil || (expected != nil && !same(expected, output)) {
			t.Errorf("%s: expected %s %v, got %s", name, expected, expectedError, output)
		}
		return
	}
	got := map[string]string{"class": failure.Class, "code": failure.Code, "message": failure.Message}
	if expectedError == nil {
		t.Errorf("%s: %v", name, got)
	}
	for member, value := range expectedError {
		if got[member] != value {
			t.Errorf("%s: %s: expected %q, got %q", name, member, value, got[member])
		}
	}
}

func headerOf(headers [][2]string, name string) string {
	for _, header := range headers {
		if strings.EqualFold(header[0], name) {
			return header[1]
		}
	}
	return ""
}

// A recorded body that is a text stands as it is; anything else is JSON.
func textOf(body json.RawMessage) []byte {
	var text string
	if json.Unmarshal(body, &text) == nil {
		return []byte(text)
	}
	return body
}

func same(expected json.RawMessage, got []byte) bool {
	if expected == nil {
		return len(got) == 0
	}
	var one, other any
	if json.Unmarshal(expected, &one) == nil && json.Unmarshal(got, &other) == nil {
		return reflect.DeepEqual(one, other)
	}
	return string(textOf(expected)) == string(got)
}
