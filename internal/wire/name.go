package wire

import (
	"fmt"
	"strings"
)

const (
	maxName   = 64
	ephemeral = "#ephemeral"
)

// NameError reports a topic or channel that nsqd would refuse. SUB or PUB with such a name is fatal
// to the connection.
type NameError struct {
	Kind   string // "topic" or "channel"
	Name   string
	Reason string // such as "is empty"
}

func (e *NameError) Error() string {
	return fmt.Sprintf(`nsqx: %s %.80q %s: use 1 to %d of [.a-zA-Z0-9_-], the last ten may be %q`, e.Kind, e.Name, e.Reason, maxName, ephemeral)
}

// ErrorType returns the code of the error that nsqd would have sent.
func (e *NameError) ErrorType() string { return "E_BAD_" + strings.ToUpper(e.Kind) }

// CheckTopic returns a *NameError unless nsqd accepts the topic: 1 to 64 bytes of [.a-zA-Z0-9_-],
// with an optional "#ephemeral" at the end, which counts toward the 64.
func CheckTopic(name string) error {
	return checkName("topic", name)
}

// CheckChannel checks a channel, by the rules of CheckTopic.
func CheckChannel(name string) error {
	return checkName("channel", name)
}

func checkName(kind, name string) error {
	if reason := nameFault(name); reason != "" {
		return &NameError{Kind: kind, Name: name, Reason: reason}
	}
	return nil
}

// nameFault returns what is wrong with a name, or "".
func nameFault(name string) string {
	if name == "" {
		return "is empty"
	}
	if len(name) > maxName {
		return fmt.Sprintf("is %d bytes long", len(name))
	}
	stem := strings.TrimSuffix(name, ephemeral)
	if stem == "" {
		return "has nothing before #ephemeral"
	}
	for i := range len(stem) {
		if !isNameByte(stem[i]) {
			return fmt.Sprintf("has %q at byte %d", stem[i:i+1], i)
		}
	}
	return ""
}

func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
}
