package observe

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/nsqx/nsqx/internal/guard"
)

// marshal encodes a struct: see the package documentation for the form. It walks the fields, so no
// field can be forgotten.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := encode(&b, reflect.ValueOf(v)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// encode encodes a struct, a slice of structs, or anything that json.Marshal takes.
func encode(b *bytes.Buffer, v reflect.Value) error {
	switch {
	case isPlainStruct(v.Type()):
		b.WriteByte('{')
		if err := encodeFields(b, v); err != nil {
			return err
		}
		b.WriteByte('}')
		return nil
	case v.Kind() == reflect.Slice && isPlainStruct(v.Type().Elem()):
		b.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := encode(b, v.Index(i)); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	}
	text, err := json.Marshal(v.Interface())
	b.Write(text)
	return err
}

// isPlainStruct reports whether a type is a struct without a text form of its own.
func isPlainStruct(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !t.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

func encodeFields(b *bytes.Buffer, v reflect.Value) error {
	for field, value := range v.Fields() {
		if field.Anonymous {
			if err := encodeFields(b, value); err != nil {
				return err
			}
			continue
		}
		name := snake(field.Name)
		switch x := value.Interface().(type) {
		case time.Duration:
			name += "_seconds"
			value = reflect.ValueOf(x.Seconds())
		case time.Time:
			if x.IsZero() {
				continue
			}
		case error:
			value = reflect.ValueOf(text(x))
		case nil: // an error
			continue
		}
		if b.Bytes()[b.Len()-1] != '{' {
			b.WriteByte(',')
		}
		b.WriteString(`"` + name + `":`)
		if err := encode(b, value); err != nil {
			return err
		}
	}
	return nil
}

// text is the text of an error, which may be the user's; the type of an error that panics.
func text(err error) (s string) {
	if guard.Call(func() { s = err.Error() }) != nil {
		s = fmt.Sprintf("%T", err)
	}
	return s
}

// snake turns a Go name into snake case: LastErr is last_error, MaxRDY max_rdy.
func snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 &&
			(unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	s := b.String()
	if strings.HasSuffix(s, "err") {
		s += "or"
	}
	return s
}
