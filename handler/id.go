package handler

import "fmt"

// ID is the 16 hexadecimal characters with which nsqd identifies a message.
//
// It is unique within one topic of one nsqd only: another topic or another nsqd may use the same
// ID at the same time. Do not deduplicate by it.
type ID [16]byte

// ParseID parses the 16 hexadecimal characters of an ID.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != len(id) {
		return ID{}, fmt.Errorf("nsqx: message id %q has %d characters, want 16 hexadecimal ones", clip(s), len(s))
	}
	for i := range len(s) {
		if c := s[i]; !('0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F') {
			return ID{}, fmt.Errorf("nsqx: message id %q has a byte %#02x at %d, want 16 hexadecimal characters", s, c, i)
		}
	}
	copy(id[:], s)
	return id, nil
}

// String returns the ID as nsqd writes it; "" for the zero ID.
func (id ID) String() string {
	if id == (ID{}) {
		return ""
	}
	return string(id[:])
}

// MarshalText implements [encoding.TextMarshaler]: an ID is a string in JSON and in logs.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It leaves id unchanged on an error.
func (id *ID) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*id = ID{}
		return nil
	}
	parsed, err := ParseID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// clip limits how much of the input an error text repeats.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
