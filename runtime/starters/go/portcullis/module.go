// Package portcullis is what a module is made of: actions, requests through the host's gate, errors and log lines.
// There is no clock and no randomness; a goroutine that waits ends the call.
package portcullis

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

// Call is one call of one action.
type Call struct {
	Action         string
	Config         json.RawMessage
	RunID          string
	NowMs          uint64
	IdempotencyKey string
}

// Action is the code of an action: the call and its input to an output that encoding/json writes.
type Action func(call Call, input json.RawMessage) (any, error)

// Typed makes an action of a function whose input is any type that encoding/json reads.
func Typed[I, O any](action func(Call, I) (O, error)) Action {
	return func(call Call, input json.RawMessage) (any, error) {
		var typed I
		if err := json.Unmarshal(input, &typed); err != nil {
			return nil, &Error{Code: "input_invalid", Message: err.Error()}
		}
		return action(call, typed)
	}
}

var registered map[string]Action

// Register says which actions the module has. Call it from an init function.
func Register(actions map[string]Action) {
	registered = actions
}

// Error is why an action has no output: a stable code in snake_case, and a message for people.
type Error struct {
	Code      string
	Message   string
	Class     string
	Retryable bool
	Status    int
	response  []byte
}

func (e *Error) Error() string { return e.Message }

// GateError is the gate's reason, in the words of the interface.
type GateError struct {
	Reason string
	Detail string
}

var methods = map[string]byte{"GET": 0, "HEAD": 1, "POST": 2, "PUT": 3, "PATCH": 4, "DELETE": 5, "OPTIONS": 6}

var reasons = []string{"denied", "dns-failed", "connect-failed", "tls-failed", "timeout", "limit", "protocol", "cancelled",
	"internal"}

var details = map[string][]string{
	"denied": {"scheme-not-https", "url-invalid", "userinfo-present", "ip-literal", "port-not-allowed",
		"host-not-in-connector", "host-not-in-org", "address-forbidden", "redirect-forbidden", "header-forbidden",
		"method-forbidden", "path-not-granted", "credential-not-bound", "credential-missing"},
	"timeout": {"queue", "dns", "connect", "tls", "first-byte", "between-bytes", "total"},
	"limit": {"url-bytes", "header-bytes", "header-count", "request-bytes", "response-bytes", "decoded-bytes", "calls",
		"concurrency", "rate"},
}

func gateError(reason, detail byte) *GateError {
	name := reasons[reason]
	if known := details[name]; int(detail) < len(known) {
		return &GateError{name, known[detail]}
	}
	return &GateError{Reason: name}
}

// Request is one outbound request. Credential is the NAME of the slot that the host injects; without it, a request goes
// out without a credential.
type Request struct {
	Method     string
	URL        string
	Headers    [][2]string
	Body       []byte
	Credential string
}

// Segment encodes a value as one segment of a path.
func Segment(value string) string { return url.PathEscape(value) }

// Query adds a pair to the query, encoded.
func (r Request) Query(name, value string) Request {
	separator := "?"
	if strings.Contains(r.URL, "?") {
		separator = "&"
	}
	encode := func(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }
	r.URL += separator + encode(name) + "=" + encode(value)
	return r
}

// JSON sets a JSON document as the body.
func (r Request) JSON(value any) Request {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	r.Body = body
	r.Headers = append(r.Headers, [2]string{"content-type", "application/json"})
	return r
}

// Answer is the answer to a request.
type Answer struct {
	Status  int
	Headers [][2]string
	Body    []byte
}

var send func(Request) (Answer, *GateError)
var writeLog func(level int, line string)

// Send sends the request. Any answer is a success here; Do looks at its status.
func (r Request) Send() (Answer, error) {
	if _, known := methods[r.Method]; !known {
		return Answer{}, &Error{Code: "module_failed", Message: "there is no method " + r.Method}
	}
	answer, refused := send(r)
	if refused == nil {
		return answer, nil
	}
	words := refused.Reason
	if refused.Detail != "" {
		words += ": " + refused.Detail
	}
	passes := map[string]bool{"dns-failed": true, "connect-failed": true, "timeout": true, "protocol": true}
	return Answer{}, &Error{Code: "outbound", Message: "no answer: " + words, Retryable: passes[refused.Reason]}
}

// Do sends the request and reads a 2xx answer into the target.
func (r Request) Do(target any) error {
	answer, err := r.Send()
	if err != nil {
		return err
	}
	if answer.Status < 200 || answer.Status > 299 {
		return answer.failure()
	}
	if err := json.Unmarshal(answer.Body, target); err != nil {
		return &Error{Code: "response_unreadable", Message: "the answer is not as expected: " + err.Error()}
	}
	return nil
}

func (a Answer) failure() *Error {
	class := classOf(a.Status)
	retry := class == "rate_limit" || class == "transient"
	action := map[bool]string{true: "retry", false: "fail"}[retry]
	headers := map[string]string{}
	for _, header := range a.Headers {
		headers[strings.ToLower(header[0])] = header[1]
	}
	var body any = string(a.Body)
	if json.Valid(a.Body) {
		body = json.RawMessage(a.Body)
	}
	response, _ := json.Marshal(map[string]any{"status": a.Status, "headers": headers, "body": body,
		"error": map[string]any{"class": class, "action": action, "ruled": false, "code": nil, "message": nil}})
	message := fmt.Sprintf("the answer has the status %d", a.Status)
	return &Error{Code: "upstream_status", Message: message, Class: class, Retryable: retry, Status: a.Status,
		response: response}
}

func classOf(status int) string {
	switch status {
	case 401:
		return "auth"
	case 403:
		return "permission"
	case 400, 422:
		return "validation"
	case 404, 410:
		return "not_found"
	case 409, 412:
		return "conflict"
	case 429:
		return "rate_limit"
	case 408, 425:
		return "transient"
	}
	if status >= 500 && status <= 599 {
		return "transient"
	}
	return "permanent"
}

// Debug writes a line for the module's author.
func Debug(format string, values ...any) { writeLog(0, fmt.Sprintf(format, values...)) }

// Info writes a line about what was done.
func Info(format string, values ...any) { writeLog(1, fmt.Sprintf(format, values...)) }

// Warn writes a line about what is odd.
func Warn(format string, values ...any) { writeLog(2, fmt.Sprintf(format, values...)) }

// LogError writes a line about what failed.
func LogError(format string, values ...any) { writeLog(3, fmt.Sprintf(format, values...)) }

// FindOrCreate finds a thing or creates it, and finds it once more if creating conflicts (409).
func FindOrCreate[T any](find func() (*T, error), create func() (*T, error)) (thing *T, created bool, err error) {
	if thing, err = find(); err != nil || thing != nil {
		return thing, false, err
	}
	if thing, err = create(); err == nil {
		return thing, true, nil
	}
	if failed, ok := err.(*Error); ok && failed.Status == 409 {
		if other, again := find(); again == nil && other != nil {
			return other, false, nil
		}
	}
	return nil, false, err
}

func run(call Call, input []byte) (document []byte, failure *Error) {
	defer func() {
		if reason := recover(); reason != nil {
			LogError("panic: %v", reason)
			failure = &Error{Code: "module_failed", Message: fmt.Sprintf("panic: %v", reason)}
		}
	}()
	action, known := registered[call.Action]
	if !known {
		return nil, &Error{Code: "unknown_action", Message: fmt.Sprintf("this module has no action %q", call.Action)}
	}
	output, err := action(call, input)
	if err == nil {
		document, err = json.Marshal(map[string]any{"output": output})
	}
	if err == nil {
		return document, nil
	}
	if failed, ok := err.(*Error); ok {
		return nil, failed
	}
	return nil, &Error{Code: "module_failed", Message: err.Error()}
}
