package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"regexp"
	"strings"
)

// interesting matches the metrics that scrape prints.
var interesting = regexp.MustCompile(`^(messaging_client_sent_messages_total|nsq_consumer_(settlements|redeliveries|timeouts)_total|nsq_consumer_connection_count)\{`)

// boring matches labels that all of them share.
var boring = regexp.MustCompile(`messaging_(system|operation_name)="\w+",?`)

// scrape requests the metrics like Prometheus, and prints the interesting ones. Some counters begin
// with the first request.
func scrape(ctx context.Context, url string, l *log.Logger) error {
	if _, err := request(ctx, url); err != nil {
		return err
	}
	body, err := request(ctx, url)
	if err != nil {
		return err
	}
	var shown []string
	series := 0
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "#") {
			series++
		}
		if interesting.MatchString(line) {
			shown = append(shown, strings.ReplaceAll(boring.ReplaceAllString(line, ""), ",}", "}"))
		}
	}
	l.Printf("\n  some of the %d series for Prometheus:\n\n  %s", series, strings.Join(shown, "\n  "))
	return nil
}

func request(ctx context.Context, url string) (body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", url, resp.Status)
	}
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}
