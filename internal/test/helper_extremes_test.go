package test

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

// Values at which arithmetic goes wrong.
var (
	someInts      = []int{math.MinInt, -1, 0, 1, 2, math.MaxInt32, math.MaxInt}
	someDurations = []time.Duration{math.MinInt64, -1, 0, 1, time.Millisecond, time.Second, time.Hour, math.MaxInt64}
	someFloats    = []float64{math.NaN(), math.Inf(-1), math.Inf(1), -math.MaxFloat64, -1, 0, math.SmallestNonzeroFloat64, 0.5, 1, 2, math.MaxFloat64}
	someTexts     = []string{"", " ", "\x00", "\xff", "ünïcode", "a\nb", "a/b", strings.Repeat("x", 64), strings.Repeat("x", 65), strings.Repeat("x", 1<<16)}
)

// extremes is an option with extreme values.
type extremes[O any] struct {
	of    map[string]O // by value
	needs []O          // other options without which it is a fault
	adds  bool         // it may be given twice

	network bool // it keeps the service's own addresses
	lossy   bool // nsqd may lose messages
	batch   bool // it is for consumers of batches
}

// values returns an option for each value.
func values[V, O any](with func(V) O, vs ...V) map[string]O {
	all := make(map[string]O, len(vs))
	for i, v := range vs {
		name := strconv.Itoa(i)
		switch v := any(v).(type) {
		case int, time.Duration, float64:
			name = fmt.Sprint(v)
		case string:
			name = fmt.Sprintf("%.20q", v)
		}
		all[name] = with(v)
	}
	return all
}

// variadic makes a function of one value of one of several.
func variadic[V, O any](with func(...V) O) func([]V) O {
	return func(vs []V) O { return with(vs...) }
}

// alone is an option without a value.
func alone[O any](opt O) map[string]O { return map[string]O{"given": opt} }

// wantNamed checks that each fault of a constructor names the option.
func wantNamed(t *testing.T, option string, err error) {
	t.Helper()
	all := faults(err)
	for _, err := range all {
		switch e := err.(type) {
		case *nsqx.OptionError:
			if e.Option == option && e.Reason != "" {
				continue
			}
		case *conn.ConfigError:
			if e.Field == option && e.Reason != "" {
				continue
			}
		}
		t.Errorf("the fault %v does not name %s", err, option)
	}
}

// failsOnce is a handler that fails at the first run of the message "1".
type failsOnce struct {
	mu   sync.Mutex
	runs map[string]int
}

func (f *failsOnce) handle(_ context.Context, body string) error {
	time.Sleep(20 * time.Millisecond) // so that others wait meanwhile
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.runs == nil {
		f.runs = make(map[string]int)
	}
	if f.runs[body]++; body == "1" && f.runs[body] == 1 {
		return errBill
	}
	return nil
}

// eachItem makes a handler of batches of one of single messages.
func eachItem(fn handler.Func[string]) handler.BatchFunc[string] {
	return func(ctx context.Context, b *handler.Batch[string]) error {
		for i, item := range b.All() {
			if err := fn(handler.NewContext(ctx, item.Message), item.Value); err != nil {
				_ = b.Fail(i, err)
			}
		}
		return nil
	}
}

// messages is how many messages a consumer of a walk handles.
const messages = 8

// tryConsumer checks that a constructor refuses the options and names one, or that the consumer
// handles its messages, one of which fails once, and shuts down. It reports which.
func tryConsumer(t *testing.T, option string, e extremes[nsqx.ConsumerOption], opts ...nsqx.ConsumerOption) (made bool) {
	synctest.Test(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(24*time.Hour), nsqxtest.WithoutLog())
		var f failsOnce
		opts = append(slices.Clone(e.needs), opts...)
		if option != "WithLogger" {
			opts = append(opts, nsqx.WithLogger(discard))
		}
		if e.network {
			opts = append(opts, nsqxtest.Network(s))
		} else {
			opts = append(opts, s.Option())
		}
		var c *nsqx.Consumer[string]
		var err error
		if e.batch {
			c, err = nsqx.NewBatchConsumer("orders", "billing", codec.String(), eachItem(f.handle), opts...)
		} else {
			c, err = nsqx.NewConsumer("orders", "billing", codec.String(), f.handle, opts...)
		}
		if err != nil {
			wantNamed(t, option, err)
			return
		}
		made = true
		stop := nsqxtest.Run(t, c)
		publish(s, messages)
		if e.lossy {
			time.Sleep(time.Minute)
		} else {
			s.Await("orders", "billing", finished(messages))
			want(t, "messages handled", len(f.runs), messages)
		}
		began := time.Now()
		stop()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("the shutdown took %v", took)
		}
	})
	return made
}

// tryPublisher is tryConsumer for a publisher, which publishes three messages.
func tryPublisher(t *testing.T, option string, e extremes[nsqx.ProducerOption], opts ...nsqx.ProducerOption) (made bool) {
	synctest.Test(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithoutLog())
		opts = append(slices.Clone(e.needs), opts...)
		if !slices.Contains([]string{"WithLogger", "WithPublisher"}, option) {
			opts = append(opts, nsqx.WithLogger(discard))
		}
		switch {
		case e.network:
			opts = append(opts, nsqxtest.Network(s))
		case option != "WithPublisher":
			opts = append(opts, s.Option())
		}
		p, err := nsqx.NewProducer("orders", codec.String(), opts...)
		if err != nil {
			wantNamed(t, option, err)
			return
		}
		made = true
		wantErr(t, "ping", p.Ping(t.Context()), nil)
		wantErr(t, "publish", p.Publish(t.Context(), "0"), nil)
		n, err := p.PublishAll(t.Context(), []string{"1", "2"})
		wantErr(t, "publish all", err, nil)
		want(t, "confirmed", n, 2)
		want(t, "published", len(s.Published("orders")), 3)
		wantErr(t, "close", p.Close(), nil)
	})
	return made
}

// tryRedrive is tryConsumer for a redrive of three dead letters.
func tryRedrive(t *testing.T, option string, e extremes[nsqx.RedriveOption], opts ...nsqx.RedriveOption) (made bool) {
	synctest.Test(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithoutLog())
		s.Publish("dead", []byte("0"), []byte("1"), []byte("2"))
		time.Sleep(time.Second) // so they are older than the redrive
		opts = append(slices.Clone(e.needs), append(opts, nsqx.WithLogger(discard), s.Option())...)
		report, err := nsqx.Redrive(t.Context(), "dead", "orders", opts...)
		if len(optionErrors(err)) > 0 {
			wantNamed(t, option, err)
			return
		}
		made = true
		wantErr(t, "redrive", err, nil)
		want(t, "redriven", report.Redriven, len(s.Published("orders")))
		if e.lossy {
			return
		}
		want(t, "redriven", report.Redriven, 3)
	})
	return made
}

// extremesAs converts options to another kind.
func extremesAs[To, From any](e extremes[From]) extremes[To] {
	all := extremes[To]{of: make(map[string]To), adds: e.adds, network: e.network, lossy: e.lossy}
	for value, o := range e.of {
		all.of[value] = any(o).(To)
	}
	for _, o := range e.needs {
		all.needs = append(all.needs, any(o).(To))
	}
	return all
}

// extremesOf returns extreme values of a type.
func extremesOf(t reflect.Type) (all []any) {
	switch reflect.Zero(t).Interface().(type) {
	case int:
		return anys(someInts)
	case time.Duration:
		return anys(someDurations)
	case float64:
		return anys(someFloats)
	case string:
		return anys(someTexts)
	case bool:
		return []any{true}
	}
	return nil
}

func anys[T any](list []T) (all []any) {
	for _, v := range list {
		all = append(all, v)
	}
	return all
}

// exported returns the functions of a package that make an option: exported, no methods, with a name
// that begins with With, or with a result of one of the types.
func exported(t *testing.T, dir string, results ...string) (names []string) {
	t.Helper()
	for _, f := range functions(t, dir) {
		if strings.HasPrefix(f.Name.Name, "With") || slices.Contains(results, result(f)) {
			names = append(names, f.Name.Name)
		}
	}
	slices.Sort(names)
	return names
}

// userCode returns the options of a package that take a func, or an interface or a struct with some.
func userCode(t *testing.T, dir string) (names []string) {
	t.Helper()
	plain := []string{"int", "float64", "string", "bool", "Duration", "Option", "ConsumerOption", "ProducerOption", "Publisher", "Backoff", "Delivery"}
	for _, f := range functions(t, dir) {
		for _, param := range f.Type.Params.List {
			if strings.HasPrefix(f.Name.Name, "With") && !slices.Contains(plain, typeName(param.Type)) {
				names = append(names, f.Name.Name)
			}
		}
	}
	return names
}

// functions returns the exported functions of a package, without methods.
func functions(t *testing.T, dir string) (all []*ast.FuncDecl) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s has no files: %v", dir, err)
	}
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && !strings.HasSuffix(path, "_test.go") && f.Recv == nil && f.Name.IsExported() {
				all = append(all, f)
			}
		}
	}
	return all
}

// result is the name of the type of a function's only result.
func result(f *ast.FuncDecl) string {
	if f.Type.Results == nil || len(f.Type.Results.List) != 1 {
		return ""
	}
	return typeName(f.Type.Results.List[0].Type)
}

// typeName is the name of a type without its package; "" if it has none.
func typeName(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.Ident:
		return t.Name
	case *ast.SelectorExpr:
		return t.Sel.Name
	case *ast.Ellipsis:
		return typeName(t.Elt)
	case *ast.StarExpr:
		return typeName(t.X)
	}
	return ""
}
