package observe

import (
	"reflect"
	"testing"

	"github.com/nsqx/nsqx/internal/check"
)

// TestHooksIsZero sets one function at a time, so that a new field cannot be forgotten.
func TestHooksIsZero(t *testing.T) {
	check.Want(t, "IsZero of the zero value", Hooks{}.IsZero(), true)
	typ := reflect.TypeFor[Hooks]()
	check.Want(t, "fields", typ.NumField() > 0, true)
	for i := range typ.NumField() {
		var h Hooks
		f := reflect.ValueOf(&h).Elem().Field(i)
		f.Set(reflect.MakeFunc(f.Type(), func([]reflect.Value) []reflect.Value { return nil }))
		check.Want(t, "IsZero with "+typ.Field(i).Name, h.IsZero(), false)
	}
}
