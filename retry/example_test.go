package retry_test

import (
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/nsqx/nsqx/retry"
)

// A handler marks its errors. Of and Delay are what the consumer calls afterwards.
func Example() {
	handle := func(card string) error {
		switch card {
		case "expired": // no retry can cure this
			return retry.Permanent(errors.New("card expired"))
		case "new": // not due yet: not a failure
			return retry.After(time.Hour, nil)
		case "foreign": // a failure with a delay of its own
			return retry.After(time.Minute, errors.New("rate limited"))
		case "slow": // an ordinary failure: the policy decides
			return errors.New("bank timed out")
		}
		return nil
	}
	policy := retry.Exponential(time.Second, 10*time.Minute, retry.WithRandomizationFactor(0))

	const attempt = 3
	for _, card := range []string{"domestic", "slow", "foreign", "new", "expired"} {
		err := handle(card)
		verdict := retry.Of(err)
		delay := verdict.Delay
		if verdict.Action == retry.Backoff {
			delay = policy.Delay(attempt, err)
		}
		fmt.Printf("%-8s  %-7s  %v\n", card, verdict.Action, delay)
	}
	// Output:
	// domestic  finish   0s
	// slow      backoff  4s
	// foreign   delay    1m0s
	// new       again    1h0m0s
	// expired   give up  0s
}

func ExampleOf() {
	for _, err := range []error{
		nil,
		errors.New("connection refused"),
		retry.After(time.Minute, errors.New("rate limited")),
		retry.After(5*time.Second, nil),
		retry.Permanent(errors.New("card declined")),
		retry.Drop(errors.New("order cancelled")),
		backoff.Permanent(errors.New("card expired")),
	} {
		v := retry.Of(err)
		fmt.Printf("%-8s %4v  %v\n", v.Action, v.Delay, err)
	}
	// Output:
	// finish     0s  <nil>
	// backoff    0s  connection refused
	// delay    1m0s  after 1m0s: rate limited
	// again      5s  nsqx: again after 5s
	// give up    0s  permanent: card declined
	// discard    0s  drop: order cancelled
	// give up    0s  card expired
}

// The outermost marker wins.
func ExampleOf_nested() {
	err := fmt.Errorf("order 42: %w", retry.Permanent(errors.New("card declined")))
	fmt.Println(retry.Of(err).Action)
	fmt.Println(retry.Of(errors.Join(errors.New("refund failed"), err)).Action)
	fmt.Println(retry.Of(retry.Drop(err)).Action)
	// Output:
	// give up
	// give up
	// discard
}

func ExamplePermanent() {
	errDeclined := errors.New("card declined")
	err := retry.Permanent(fmt.Errorf("charge: %w", errDeclined))
	fmt.Println(err)
	fmt.Println(errors.Is(err, errDeclined))
	// Output:
	// permanent: charge: card declined
	// true
}

func ExampleDrop() {
	err := retry.Drop(errors.New("order was cancelled"))
	fmt.Println(err)
	fmt.Println(retry.Of(err).Action)
	// Output:
	// drop: order was cancelled
	// discard
}

func ExampleAfter() {
	failed := retry.After(30*time.Second, errors.New("rate limited"))
	fmt.Println(retry.Of(failed).Action, "-", failed)

	later := retry.After(time.Hour, nil) // not due yet: not a failure
	fmt.Println(retry.Of(later).Action, "-", later)
	// Output:
	// delay - after 30s: rate limited
	// again - nsqx: again after 1h0m0s
}

func ExampleIs() {
	mapper := retry.Is(sql.ErrNoRows, retry.Drop)
	fmt.Println(mapper(sql.ErrNoRows))
	fmt.Println(mapper(sql.ErrConnDone))
	// Output:
	// drop: sql: no rows in result set
	// <nil>
}

// A number that does not parse now never will.
func ExampleAs() {
	mapper := retry.As(func(e *strconv.NumError) error { return retry.Permanent(e) })
	_, err := strconv.Atoi("seven")
	fmt.Println(mapper(fmt.Errorf("order id: %w", err)))
	// Output:
	// permanent: strconv.Atoi: parsing "seven": invalid syntax
}

func ExampleExponential() {
	policy := retry.Exponential(time.Second, 10*time.Minute)
	within := true
	for range 100 {
		d := policy.Delay(4, nil) // 8 s, plus or minus half
		within = within && 4*time.Second <= d && d <= 12*time.Second
	}
	fmt.Println(within)
	// Output:
	// true
}

func ExampleWithMultiplier() {
	policy := retry.Exponential(time.Second, time.Hour, retry.WithMultiplier(10), retry.WithRandomizationFactor(0))
	for attempt := 1; attempt <= 5; attempt++ {
		fmt.Println(policy.Delay(attempt, nil))
	}
	// Output:
	// 1s
	// 10s
	// 1m40s
	// 16m40s
	// 1h0m0s
}

func ExampleWithRandomizationFactor() {
	policy := retry.Exponential(time.Second, time.Minute, retry.WithRandomizationFactor(0)) // no jitter
	fmt.Println(policy.Delay(1, nil), policy.Delay(2, nil), policy.Delay(3, nil), policy.Delay(100, nil))
	// Output:
	// 1s 2s 4s 1m0s
}

func ExampleLinear() {
	policy := retry.Linear(10*time.Second, time.Minute)
	fmt.Println(policy.Delay(1, nil), policy.Delay(2, nil), policy.Delay(6, nil), policy.Delay(7, nil))
	// Output:
	// 10s 20s 1m0s 1m0s
}

func ExampleSchedule() {
	policy := retry.Schedule(time.Second, 10*time.Second, time.Minute)
	fmt.Println(policy.Delay(1, nil), policy.Delay(2, nil), policy.Delay(3, nil), policy.Delay(4, nil))
	// Output:
	// 1s 10s 1m0s 1m0s
}

// Two delays, then the message is given up.
func ExampleSchedule_stop() {
	policy := retry.Schedule(time.Second, time.Minute, retry.Stop)
	for attempt := 1; attempt <= 4; attempt++ {
		if d := policy.Delay(attempt, nil); d == retry.Stop {
			fmt.Println("give up")
		} else {
			fmt.Println(d)
		}
	}
	// Output:
	// 1s
	// 1m0s
	// give up
	// give up
}

func ExamplePolicyFunc() {
	slow := retry.Exponential(time.Minute, time.Hour, retry.WithRandomizationFactor(0))
	policy := retry.PolicyFunc(func(attempt int, err error) time.Duration {
		if errors.Is(err, sql.ErrConnDone) {
			return 100 * time.Millisecond // another connection may work
		}
		return slow.Delay(attempt, err)
	})
	fmt.Println(policy.Delay(3, sql.ErrConnDone))
	fmt.Println(policy.Delay(3, errors.New("connection refused")))
	// Output:
	// 100ms
	// 4m0s
}

func ExampleFromBackOff() {
	policy := retry.FromBackOff(func() backoff.BackOff {
		b := backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(time.Second),
			backoff.WithMaxElapsedTime(0), // the default is 15 minutes
			backoff.WithRandomizationFactor(0),
		)
		return backoff.WithMaxRetries(b, 3)
	})
	for attempt := 1; attempt <= 4; attempt++ {
		if d := policy.Delay(attempt, nil); d == retry.Stop {
			fmt.Println("give up")
		} else {
			fmt.Println(d)
		}
	}
	// Output:
	// 1s
	// 1.5s
	// 2.25s
	// give up
}

// NewConsumer validates its policy.
func Example_validate() {
	policy := retry.Exponential(time.Minute, time.Second, retry.WithMultiplier(0.5))
	if v, ok := policy.(interface{ Validate() error }); ok {
		fmt.Println(v.Validate())
	}
	// Output:
	// nsqx: retry.Exponential: max is 1s, must be above 0 and at least initial (1m0s)
	// nsqx: retry.WithMultiplier: m is 0.5, must be a finite number, at least 1
}
