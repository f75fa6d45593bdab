package observe

import (
	"reflect"
	"testing"

	"github.com/nsqx/nsqx/internal/check"
)

// TestNoTelemetry calls each method of the interface: all results are zero.
func TestNoTelemetry(t *testing.T) {
	var telemetry Telemetry = NoTelemetry{}
	v, typ := reflect.ValueOf(telemetry), reflect.TypeFor[Telemetry]()
	for method := range typ.Methods() {
		f := v.MethodByName(method.Name)
		var args []reflect.Value
		for in := range f.Type().Ins() {
			args = append(args, reflect.Zero(in))
		}
		for _, result := range f.Call(args) {
			check.Want(t, method.Name+" returns zero", result.IsZero(), true)
		}
	}
	check.Want(t, "Hooks().IsZero", telemetry.Hooks().IsZero(), true)
}
