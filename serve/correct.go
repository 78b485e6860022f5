package serve

import (
	"time"

	"github.com/miekg/dns"
)

// Correct returns m with the denial of apex types put right.
func Correct(m *dns.Msg, a *Apex, cnsType uint16, o *Online, now time.Time) (*dns.Msg, error) {
	return m, nil
}
