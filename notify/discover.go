package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/domain"
	"github.com/coredns-mske/mske/validate"
)

const (
	// dsyncLabel is what DSYNC records are published below (RFC 9859 section 3).
	dsyncLabel = "_dsync."

	// maxLookups bounds the names that are asked for. Three are what the walk
	// takes where a zone's SOA is the same in each answer.
	maxLookups = 6

	// maxAliases bounds the aliases that are followed for one of them.
	maxAliases = 4

	// maxRecords bounds the records of an answer that are looked at.
	maxRecords = 64
)

var (
	errNoParent = errors.New("the root has no parent")
	errAliases  = errors.New("too many aliases")
)

// walk is the search for the DSYNC records of a delegation (RFC 9859 section
// 4.1), without asking: each name follows from the answer to the one before.
type walk struct {
	child string
	at    int  // where in child the parent's labels begin, as far as known
	front bool // the labels before that stand before _dsync
}

// newWalk begins the search for child, a canonical name: with the parent taken
// to be one label up.
func newWalk(child string) (*walk, error) {
	if child == "." {
		return nil, errNoParent
	}
	at, end := dns.NextLabel(child, 0)
	if end {
		at = len(child) // the root's
	}
	return &walk{child: child, at: at, front: true}, nil
}

// name returns the name to ask for.
func (w *walk) name() string {
	if !w.front {
		return dsyncLabel + w.child[w.at:]
	}
	return w.child[:w.at] + dsyncLabel + w.child[w.at:]
}

// denied moves on after a negative answer by the zone soa, "" if that is not
// known. It reports whether there is another name to ask for.
func (w *walk) denied(soa string) bool {
	if at, ok := w.parentAt(soa); ok {
		w.at, w.front = at, true
		return true
	}
	if !w.front {
		return false
	}
	w.front = false
	return true
}

// parentAt returns where in child the labels of soa begin, if that is further up
// than the parent was taken to be.
func (w *walk) parentAt(soa string) (at int, ok bool) {
	if soa == "." {
		return len(w.child), w.at < len(w.child)
	}
	at = len(w.child) - len(soa)
	if at <= w.at || soa == "" || !dns.IsSubDomain(soa, w.child) || w.child[at:] != soa {
		return 0, false
	}
	return at, true
}

// discover returns the DSYNC records for the delegation of zone, none if there
// are none, and whether they are validated. What is bogus is an error. They need
// not be signed, and what is forged does no harm but that it misleads a message
// that is no secret (RFC 9859 section 5).
func (s *Sender) discover(ctx context.Context, zone string) (records []DSYNC, secure bool, err error) {
	child, err := domain.Canonical(zone)
	if err != nil {
		return nil, false, err
	}
	w, err := newWalk(child)
	if err != nil {
		return nil, false, err
	}
	session := s.net.Session()
	for range maxLookups {
		soa := ""
		if _, ok := dns.IsDomainName(w.name()); ok { // else there is no room for the label
			a, err := lookup(ctx, session, w.name())
			if err != nil {
				return nil, false, fmt.Errorf("DSYNC at %s: %w", w.name(), err)
			}
			if len(a.records) > 0 {
				return a.records, a.secure, nil
			}
			soa = a.soa
		}
		if !w.denied(soa) {
			break
		}
	}
	return nil, false, nil
}

// answer is what is at a name.
type answer struct {
	records []DSYNC
	soa     string // of a negative answer, the zone that gave it
	secure  bool
	alias   string // where to go on
}

// lookup asks for the DSYNC records at name, and follows aliases.
func lookup(ctx context.Context, s *validate.Session, name string) (answer, error) {
	for secure, i := true, 0; i <= maxAliases; i++ {
		m, err := s.Exchange(ctx, name, TypeDSYNC, true)
		if err != nil {
			return answer{}, err
		}
		r, err := s.Check(ctx, m, name, TypeDSYNC)
		if err != nil {
			return answer{}, err
		}
		if r.Status == validate.Bogus {
			return answer{}, r.Reason
		}
		a := read(m, r, name)
		a.secure = secure && r.Status == validate.Secure
		if a.alias == "" {
			return a, nil
		}
		name, secure = a.alias, a.secure
	}
	return answer{}, errAliases
}

// read returns what m, whose verdict is r, says of name.
func read(m *dns.Msg, r validate.Result, name string) (a answer) {
	rrs := r.RRset
	if r.Alias != nil {
		rrs = []dns.RR{r.Alias}
	}
	if r.Status != validate.Secure {
		rrs = m.Answer
	}
	for _, rr := range rrs[:min(len(rrs), maxRecords)] {
		owner := dns.CanonicalName(rr.Header().Name)
		switch rr := rr.(type) {
		case *dns.CNAME:
			if owner == name {
				a.alias = dns.CanonicalName(rr.Target)
			}
		case *dns.DNAME:
			if owner != name && dns.IsSubDomain(owner, name) && owner != "." {
				a.alias = strings.TrimSuffix(name, owner) + dns.CanonicalName(rr.Target)
			}
		default:
			if d, err := ParseDSYNC(rr); err == nil && owner == name && !slices.Contains(a.records, d) {
				a.records = append(a.records, d)
			}
		}
	}
	if len(a.records) > 0 {
		a.alias = ""
		return a
	}
	for _, rr := range m.Ns[:min(len(m.Ns), maxRecords)] {
		if rr.Header().Rrtype == dns.TypeSOA {
			a.soa = dns.CanonicalName(rr.Header().Name)
			break
		}
	}
	if r.Denied && r.Signer != "" {
		a.soa = r.Signer
	}
	return a
}
