//go:build mske_lab

package refresh

import "time"

// clockSettle is a few seconds where a zone's whole life is to pass in minutes:
// test/lifecycle is built so. Nothing else may be.
const clockSettle = 3 * time.Second
