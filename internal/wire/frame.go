package wire

import (
	"encoding/binary"
	"math"
)

// FrameType is the kind of a frame.
type FrameType int32

// The types of frames that nsqd sends.
const (
	FrameResponse FrameType = 0 // the answer to a command, or a heartbeat
	FrameError    FrameType = 1 // see ProtocolError
	FrameMessage  FrameType = 2 // see DecodeMessage
)

const (
	// HeaderLen is the length of a frame header in bytes: a size of 4, a type of 4. The size
	// includes the type.
	HeaderLen = 8

	// MessageHeaderLen is the length of a message header in bytes: a timestamp of 8, attempts of 2,
	// an id of 16.
	MessageHeaderLen = 26

	// MaxResponse is the most data in a response or error frame, in bytes.
	MaxResponse = 64 << 10
)

const (
	sizeLen = 4 // part of the header that the size excludes
	typeLen = 4 // part of the header that the size includes

	responseSize = typeLen + MaxResponse // largest size of a response or error frame

	// nsqd's size is an int32. With this limit a frame's length fits an int on every platform.
	maxBody = math.MaxInt32 - HeaderLen - MessageHeaderLen
)

// NextFrame finds the first frame of buf, in place. max is the largest message body in bytes. The
// data of a message frame has at most MessageHeaderLen + max bytes, the data of other frames at
// most MaxResponse.
//
// If n > 0, the frame is complete: n is its total length, and data aliases buf, without capacity to
// append over the next frame. If n is 0 and err is nil, the frame is incomplete: need is its total
// length, or 4 while its size is unknown. need is above len(buf) and limited by max. typ is known
// once buf has a frame header, and 0 before.
//
// The error is a *FrameSizeError or a *FrameTypeError, returned with the first byte that proves it:
// the fourth byte of buf for a size that no frame may have, the eighth for a size that this type
// may not have. The stream cannot be read further then.
func NextFrame(buf []byte, max int) (typ FrameType, data []byte, n, need int, err error) {
	if len(buf) < HeaderLen {
		need, err = peek(buf, max)
		return 0, nil, 0, need, err
	}
	size := int64(binary.BigEndian.Uint32(buf))
	typ = FrameType(binary.BigEndian.Uint32(buf[sizeLen:]))
	limit := int64(responseSize)
	if typ == FrameMessage {
		limit = messageSize(max)
	}
	if size < typeLen || size > limit || uint32(typ) > uint32(FrameMessage) {
		return 0, nil, 0, 0, refuse(uint32(size), typ, limit, max)
	}
	n = sizeLen + int(size)
	if n > len(buf) {
		return typ, nil, 0, n, nil
	}
	return typ, buf[HeaderLen:n:n], n, 0, nil
}

// peek is NextFrame for a buf that is shorter than a frame header.
func peek(buf []byte, body int) (need int, err error) {
	if len(buf) < sizeLen {
		return sizeLen, nil
	}
	size := binary.BigEndian.Uint32(buf)
	if err := checkSize(size, body); err != nil {
		return 0, err
	}
	return sizeLen + int(size), nil
}

// refuse returns the error for a frame header. It repeats the check of peek first, so the error
// does not depend on how the bytes arrived.
func refuse(size uint32, typ FrameType, limit int64, body int) error {
	if err := checkSize(size, body); err != nil {
		return err
	}
	if uint32(typ) > uint32(FrameMessage) {
		return &FrameTypeError{Type: typ}
	}
	return newFrameSizeError(size, limit)
}

// checkSize returns an error for a size that no type of frame allows.
func checkSize(size uint32, body int) error {
	limit := max(responseSize, messageSize(body))
	if size < typeLen || int64(size) > limit {
		return newFrameSizeError(size, limit)
	}
	return nil
}

// messageSize returns the largest size of a message frame.
func messageSize(body int) int64 {
	return typeLen + MessageHeaderLen + int64(min(body, maxBody))
}
