package handler

import "fmt"

// ID is the 16 hexadecimal characters by which nsqd knows a message.
//
// It is unique for one topic of one nsqd only: another topic, or another nsqd,
// may use the same ID at the same time. Do not deduplicate by it.
type ID [16]byte

// ParseID reads an ID from its 16 hexadecimal characters.
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

// String returns the ID as nsqd writes it; the zero ID is the empty string.
func (id ID) String() string {
	if id == (ID{}) {
		return ""
	}
	return string(id[:])
}

// MarshalText makes an ID a string in JSON and in logs.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is the inverse of MarshalText.
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

// clip keeps what a caller passed from flooding an error text.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
