package settings

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
)

// TestEveryOptionHasAKey: each option of plain values, each field of conn.Config and of Backoff, can
// be set; and each key sets something that exists.
func TestEveryOptionHasAKey(t *testing.T) {
	var want []string
	for name, params := range plainOptions(t) {
		switch name {
		case "WithBackoff", "WithConn": // their fields
		default:
			want = append(want, name)
			_ = params
		}
	}
	for _, of := range []struct {
		prefix string
		t      reflect.Type
		not    []string // code
	}{
		{"conn.Config.", reflect.TypeFor[conn.Config](), []string{"DialContext"}},
		{"WithBackoff.", reflect.TypeFor[nsqx.Backoff](), nil},
	} {
		for f := range of.t.Fields() {
			if !slices.Contains(of.not, f.Name) {
				want = append(want, of.prefix+f.Name)
			}
		}
	}
	var got, names []string
	for _, k := range table {
		got, names = append(got, k.option), append(names, k.name)
	}
	slices.Sort(got)
	slices.Sort(want)
	slices.Sort(names)
	if got = slices.Compact(got); !slices.Equal(got, want) {
		for _, o := range want {
			if !slices.Contains(got, o) {
				t.Errorf("%s has no key", o)
			}
		}
		for _, o := range got {
			if !slices.Contains(want, o) {
				t.Errorf("there is a key for %s, which does not exist", o)
			}
		}
	}
	if n := len(names); n != len(slices.Compact(names)) {
		t.Error("a key stands twice in the table")
	}
}

// plainOptions returns the options of consumers and producers whose parameters are plain values.
func plainOptions(t *testing.T) map[string][]string {
	paths, err := filepath.Glob("../*.go")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	all := make(map[string][]string)
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || strings.HasSuffix(path, "_test.go") || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "With") || f.Type.Results == nil {
				continue
			}
			if of := typeName(f.Type.Results.List[0].Type); !slices.Contains([]string{"Option", "ConsumerOption", "ProducerOption"}, of) {
				continue
			}
			params, plain := []string{}, true
			for _, p := range f.Type.Params.List {
				name := typeName(p.Type)
				params = append(params, name)
				plain = plain && slices.Contains([]string{"int", "float64", "string", "bool", "Duration", "Backoff", "Config", "Delivery"}, name)
			}
			if plain {
				all[f.Name.Name] = params
			}
		}
	}
	return all
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.Ellipsis:
		return typeName(e.Elt)
	}
	return ""
}

// TestEveryKey: each key takes a right value, and refuses wrong, extreme, empty and doubled ones with
// an error that names it and what is allowed.
func TestEveryKey(t *testing.T) {
	right := map[string]string{
		"nsqd": "b:4150", "lookupd": "b:4161", "max_in_flight_bytes": "2000000", "batch": "10,20ms", "dead_letter": "dead", "compression": "snappy",
		"backoff_failures": "0.5", "tls_min_version": "1.3", "tls_server_name": "x", "tls_insecure_skip_verify": "true", "output_buffer_size": "100",
		"client_id": "x", "hostname": "x", "user_agent": "x", "topology_region": "x", "topology_zone": "x", "lookupd_poll_interval": "2s",
		"deflate_level": "2", "tls": "true", "max_backoff_duration": "2m", "delivery": "batched",
	}
	files := []string{"tls_root_ca_file", "tls_cert", "tls_key", "auth_secret_file"} // TestURL, TestSecretFile
	texts := []string{"client_id", "hostname", "user_agent", "topology_region", "topology_zone", "tls_server_name", "dead_letter", "nsqd", "lookupd"}
	for _, k := range table {
		if slices.Contains(files, k.name) {
			continue
		}
		value := right[k.name]
		if value == "" {
			value = "2s"
			for _, v := range []string{"true", "2"} {
				if _, err := Parse("nsq://?tls=true&" + k.name + "=" + v); err == nil {
					value = v
				}
			}
		}
		url := "nsq://?" + k.name + "=" + value
		if strings.HasPrefix(k.name, "tls_") {
			url += "&tls=true"
		}
		s, err := Parse(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if len(s.consumer)+len(s.producer) == 0 {
			t.Errorf("%s sets nothing", url)
		}
		_, _ = nsqx.NewConsumer("orders", "billing", codec.String(), nil, s.Consumer()) // does not panic
		wrong := []string{"", "x", "-9223372036854775809", "9223372036854775808", "-1h", "1e400", "%00", "2562048h", value + "&" + k.name + "=" + value}
		for i, v := range wrong {
			_, err := Parse("nsq://?" + k.name + "=" + v)
			if err == nil && i > 0 && i < len(wrong)-1 && slices.Contains(texts, k.name) {
				continue // a text like any other
			}
			if err == nil || !strings.Contains(err.Error(), k.name) && !strings.Contains(err.Error(), "tls") {
				t.Errorf("%s=%s: error is %v", k.name, v, err)
			}
		}
	}
}
