package fake

import (
	"encoding/binary"
	"fmt"
)

// Frame returns the bytes of a frame, for a script that cuts, repeats or joins frames.
func Frame(typ int32, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(4+len(data)))
	b = binary.BigEndian.AppendUint32(b, uint32(typ))
	return append(b, data...)
}

// Message returns the bytes of a message frame; ts is in Unix nanoseconds.
func Message(ts int64, id string, attempts uint16, body []byte) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(ts))
	b = binary.BigEndian.AppendUint16(b, attempts)
	b = append(b, id...)
	return Frame(FrameMessage, append(b, body...))
}

// ID returns message id n, 16 hex characters.
func ID(n uint64) string { return fmt.Sprintf("%016x", n) }

// DefaultIdentify returns the answer of nsqd v1.3.0 to IDENTIFY with default settings on both
// sides.
func DefaultIdentify() map[string]any {
	return map[string]any{
		"max_rdy_count":         2500,
		"version":               "1.3.0",
		"max_msg_timeout":       900_000,
		"msg_timeout":           60_000,
		"tls_v1":                false,
		"deflate":               false,
		"deflate_level":         0,
		"max_deflate_level":     6,
		"snappy":                false,
		"sample_rate":           0,
		"auth_required":         false,
		"output_buffer_size":    16_384,
		"output_buffer_timeout": 250,
	}
}
