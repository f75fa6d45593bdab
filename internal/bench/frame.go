package main

import (
	"encoding/binary"
	"time"
)

// A frame is its size (without these 4 bytes), its type, and data. A message's data is nsqd's
// timestamp (ns), the number of attempts, the id, and the body.
const (
	typeResponse = 0
	typeMessage  = 2

	sizeLength = 4
	idOffset   = sizeLength + 4 + 8 + 2
	bodyOffset = idOffset + idLength
)

func responseFrame(data string) []byte {
	frame := binary.BigEndian.AppendUint32(nil, uint32(4+len(data)))
	frame = binary.BigEndian.AppendUint32(frame, typeResponse)
	return append(frame, data...)
}

// messageFrame leaves the id empty.
func messageFrame(body []byte, accepted time.Time) []byte {
	frame := binary.BigEndian.AppendUint32(nil, uint32(bodyOffset-sizeLength+len(body)))
	frame = binary.BigEndian.AppendUint32(frame, typeMessage)
	frame = binary.BigEndian.AppendUint64(frame, uint64(accepted.UnixNano()))
	frame = binary.BigEndian.AppendUint16(frame, 1)
	frame = append(frame, make([]byte, idLength)...)
	return append(frame, body...)
}
