package retry

import "errors"

// Match combines mappers of domain errors into one. It calls them in order and returns the first
// non-nil result, or nil if there is none. Nil mappers are ignored.
//
// A mapper returns nil for an error that it does not know; the consumer then uses the original
// error. So a mapper cannot finish a message by accident: to finish it, return [Drop]. A marker
// added by a mapper is outermost, so it wins over a marker already in the error.
//
// Mappers are called concurrently.
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

// Is returns a mapper for the errors that [errors.Is] reports as target. The mapper returns wrap of
// the whole error. wrap may be [Permanent] or [Drop]; [After] needs a closure. The mapper of a nil
// wrap is nil, and a nil target matches nothing.
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

// As returns a mapper for the errors in which [errors.As] finds an E. The mapper returns wrap of
// that E, without the errors around it. The mapper of a nil wrap is nil.
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
