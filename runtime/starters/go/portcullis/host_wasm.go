//go:build wasip1

package portcullis

import (
	"encoding/binary"
	"unsafe"
)

// This file is the interface as it is in memory: the canonical ABI of wit/connector.wit, by hand. An instance serves
// one call, so nothing that the host reads or writes is released before its end.

//go:wasmimport portcullis:connector/outbound-http@0.1.0 send
func hostSend(request, answer uint32)

//go:wasmimport portcullis:connector/log@0.1.0 log
func hostLog(level, text, length uint32)

var kept [][]uint64

// A block of memory that stays, and its address: a multiple of eight.
func block(size uint32) ([]byte, uint32) {
	words := make([]uint64, size/8+1)
	kept = append(kept, words)
	at := unsafe.Pointer(unsafe.SliceData(words))
	return unsafe.Slice((*byte)(at), size), uint32(uintptr(at))
}

//go:wasmexport cabi_realloc
func realloc(old, oldSize, align, size uint32) uint32 {
	bytes, at := block(size)
	if oldSize > 0 {
		copy(bytes, memory(old, oldSize))
	}
	return at
}

func memory(at, length uint32) []byte {
	if length == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(uintptr(at))), length)
}

func put(bytes []byte, at int, value uint32) {
	binary.LittleEndian.PutUint32(bytes[at:], value)
}

func get(bytes []byte, at int) uint32 {
	return binary.LittleEndian.Uint32(bytes[at:])
}

// Writes address and length of a copy.
func putText(bytes []byte, at int, text []byte) {
	copied, address := block(uint32(len(text)))
	copy(copied, text)
	put(bytes, at, address)
	put(bytes, at+4, uint32(len(text)))
}

func getText(bytes []byte, at int) []byte {
	return memory(get(bytes, at), get(bytes, at+4))
}

func init() {
	send, writeLog = sendToHost, logToHost
}

func logToHost(level int, line string) {
	bytes, at := block(uint32(len(line)))
	copy(bytes, line)
	hostLog(uint32(level), at, uint32(len(line)))
}

func sendToHost(request Request) (Answer, *GateError) {
	wire, at := block(96)
	wire[0] = methods[request.Method]
	putText(wire, 4, []byte(request.URL))
	headers, headersAt := block(uint32(16 * len(request.Headers)))
	for index, header := range request.Headers {
		putText(headers, 16*index, []byte(header[0]))
		putText(headers, 16*index+8, []byte(header[1]))
	}
	put(wire, 12, headersAt)
	put(wire, 16, uint32(len(request.Headers)))
	if request.Body != nil {
		wire[20] = 1
		putText(wire, 24, request.Body)
	}
	if request.Credential != "" {
		wire[32] = 1
		putText(wire, 36, []byte(request.Credential))
	}
	answer, answerAt := block(40)
	hostSend(at, answerAt)
	if answer[0] != 0 {
		return Answer{}, gateError(answer[8], answer[16])
	}
	result := Answer{Status: int(binary.LittleEndian.Uint16(answer[8:])), Body: getText(answer, 20)}
	fields := memory(get(answer, 12), 16*get(answer, 16))
	for at := 0; at < len(fields); at += 16 {
		result.Headers = append(result.Headers, [2]string{string(getText(fields, at)), string(getText(fields, at+8))})
	}
	return result, nil
}

//go:wasmexport portcullis:connector/handler@0.1.0#invoke
func invoke(action, actionLength, plan, planLength, input, inputLength, config, configLength, runID, runIDLength uint32,
	nowMs uint64, hasKey, key, keyLength uint32) uint32 {
	call := Call{
		Action: string(memory(action, actionLength)),
		Config: memory(config, configLength),
		RunID:  string(memory(runID, runIDLength)),
		NowMs:  nowMs,
	}
	if hasKey != 0 {
		call.IdempotencyKey = string(memory(key, keyLength))
	}
	document, failure := run(call, memory(input, inputLength))
	result, at := block(96)
	if failure == nil {
		putText(result, 8, document)
		return at
	}
	result[0] = 1
	putText(result, 8, []byte(failure.Code))
	putText(result, 16, []byte(failure.Message))
	if failure.Class != "" {
		result[24] = 1
		putText(result, 28, []byte(failure.Class))
	}
	if failure.Retryable {
		result[36] = 1
	}
	if failure.response != nil {
		result[80] = 1
		putText(result, 84, failure.response)
	}
	return at
}
