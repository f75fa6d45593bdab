package main

import "context"

type doctorCommand struct{}

func (c *doctorCommand) Run(ctx context.Context, t *terminal, s *servers) error { return nil }
