package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"net/http"
	"regexp"
	"strings"
)

// interesting matches the metrics that scrape prints.
var interesting = regexp.MustCompile(`^(messaging_client_sent_messages_total|nsq_consumer_(settlements|redeliveries|timeouts)_total|nsq_consumer_connection_count)\{`)

// boring matches labels that all of them share.
var boring = regexp.MustCompile(`messaging_(system|operation_name)="\w+",?`)

// scrape requests the metrics like Prometheus, and prints the interesting ones.
func scrape(ctx context.Context, url string, l *log.Logger) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}

	var shown []string
	series := 0
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "#") {
			series++
		}
		if interesting.MatchString(lines.Text()) {
			shown = append(shown, strings.ReplaceAll(boring.ReplaceAllString(lines.Text(), ""), ",}", "}"))
		}
	}
	l.Printf("\n  some of the %d series for Prometheus:\n\n  %s", series, strings.Join(shown, "\n  "))
	return lines.Err()
}
