package retry_test

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/nsqx/nsqx/retry"
)

// QuotaError is an error that says when to try again.
type QuotaError struct{ Wait time.Duration }

func (e *QuotaError) Error() string { return "quota exceeded" }

func ExampleMatch() {
	errLocked := errors.New("row locked")
	mapper := retry.Match(
		retry.Is(sql.ErrNoRows, retry.Permanent),
		retry.Is(errLocked, func(err error) error { return retry.After(time.Second, err) }),
		retry.As(func(e *QuotaError) error { return retry.After(e.Wait, e) }),
	)
	fmt.Println(mapper(fmt.Errorf("load order: %w", sql.ErrNoRows)))
	fmt.Println(mapper(errLocked))
	fmt.Println(mapper(&QuotaError{Wait: time.Minute}))
	fmt.Println(mapper(errors.New("connection refused"))) // no mapper matches
	// Output:
	// permanent: load order: sql: no rows in result set
	// after 1s: row locked
	// after 1m0s: quota exceeded
	// <nil>
}
