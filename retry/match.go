package retry

import "errors"

// Match joins mappers of domain errors into one, a switch over errors: they are
// asked in order, and the first answer that is not nil wins. If there is none,
// the answer is nil, "not mine". Mappers that are nil are ignored.
//
// A mapper answers nil for an error that it does not know. The consumer then
// goes by the error as it was, so a mapper can never finish a message by
// accident; one that means to finish it answers [Drop]. What a mapper wraps
// around an error is outermost, so it wins over a marker that the error already
// bears.
//
// A mapper is called from many goroutines at once.
func Match(mappers ...func(error) error) func(error) error {
	return func(err error) error {
		for _, mapper := range mappers {
			if mapper == nil {
				continue
			}
			if answer := mapper(err); answer != nil {
				return answer
			}
		}
		return nil
	}
}

// Is maps errors that [errors.Is] finds to be target: it answers wrap(err),
// where err is the whole error rather than target. [Permanent] and [Drop] serve
// as wrap as they are; [After] needs a closure. With a nil wrap the mapper is
// nil too, and a nil target matches nothing.
func Is(target error, wrap func(error) error) func(error) error {
	if wrap == nil {
		return nil
	}
	return func(err error) error {
		if err == nil || !errors.Is(err, target) {
			return nil
		}
		return wrap(err)
	}
}

// As maps errors in whose tree [errors.As] finds an E: it answers wrap(e), where
// e is that E rather than the error around it. With a nil wrap the mapper is nil
// too.
func As[E error](wrap func(E) error) func(error) error {
	if wrap == nil {
		return nil
	}
	return func(err error) error {
		e, ok := errors.AsType[E](err)
		if !ok {
			return nil
		}
		return wrap(e)
	}
}
