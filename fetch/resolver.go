package fetch

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

const (
	portDNS = 53
	portTLS = 853 // RFC 7858 section 3.1

	// maxResolvers is how many resolvers are used, as many as the forward
	// plugin takes.
	maxResolvers = 15

	// maxResolvConf bounds what is read of a resolv.conf file, in octets.
	maxResolvConf = 1 << 16
)

// Resolver is one recursive resolver. The zero value is none.
type Resolver struct {
	Addr netip.AddrPort

	// TLS says to ask over TLS (RFC 7858). The certificate has to be for
	// ServerName, or without one for the address.
	TLS        bool
	ServerName string
}

// String returns r in the form that [ParseResolvers] takes, with its port.
func (r Resolver) String() string {
	if !r.TLS {
		return r.Addr.String()
	}
	if r.ServerName == "" {
		return "tls://" + r.Addr.String()
	}
	host := r.Addr.Addr().String()
	if r.Addr.Addr().Is6() {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("tls://%s@%s:%d", host, r.ServerName, r.Addr.Port())
}

// ResolverError says what is wrong with a resolver's address, or with the file
// that was to list some.
type ResolverError struct {
	Input string // as it was given
	Err   error
}

// Error implements the error interface.
func (e *ResolverError) Error() string { return fmt.Sprintf("resolver %q: %v", e.Input, e.Err) }

// Unwrap returns the cause.
func (e *ResolverError) Unwrap() error { return e.Err }

// ParseResolvers reads resolver addresses as the forward plugin writes them:
// IP, IP:PORT, [IP]:PORT, each with dns:// or tls:// in front, the name in a TLS
// server's certificate after the address (tls://192.0.2.1@dns.example.net or
// tls://192.0.2.1%dns.example.net), or the path of a file in resolv.conf's
// format. Each resolver is listed once. The error is a [*ResolverError].
func ParseResolvers(args []string) ([]Resolver, error) {
	var all []Resolver
	seen := make(map[Resolver]bool)
	for _, arg := range args {
		rs, err := parseResolver(arg)
		if err != nil {
			return nil, &ResolverError{Input: arg, Err: err}
		}
		for _, r := range rs {
			if !seen[r] {
				all = append(all, r)
			}
			seen[r] = true
		}
		if len(all) > maxResolvers {
			return nil, &ResolverError{Input: arg, Err: fmt.Errorf("more than %d resolvers: leave some out", maxResolvers)}
		}
	}
	if len(all) == 0 {
		return nil, &ResolverError{Err: errors.New("no resolver given: name an IP address or a file such as /etc/resolv.conf")}
	}
	return all, nil
}

// parseResolver reads one argument, which may be a file that lists several.
func parseResolver(arg string) ([]Resolver, error) {
	scheme, rest, found := strings.Cut(arg, "://")
	if !found {
		scheme, rest = "", arg
	}
	switch scheme {
	case "", "dns":
		addr, err := parseAddr(rest, portDNS)
		if err == nil {
			return []Resolver{{Addr: addr}}, nil
		}
		if scheme == "" && !looksLikeAddr(rest) {
			return readResolvConf(rest)
		}
		return nil, err
	case "tls":
		host, name, err := cutServerName(rest)
		if err != nil {
			return nil, err
		}
		addr, err := parseAddr(host, portTLS)
		if err != nil {
			return nil, err
		}
		return []Resolver{{Addr: addr, TLS: true, ServerName: name}}, nil
	default:
		return nil, fmt.Errorf("%s:// is not supported: use dns:// or tls://", scheme)
	}
}

// looksLikeAddr tells a mistyped address from a file's name.
func looksLikeAddr(s string) bool {
	return s == "" || strings.ContainsAny(s, "[]") || strings.Trim(s, "0123456789.:") == ""
}

// parseAddr reads an IP address, with a port or without, in brackets or not.
func parseAddr(s string, port uint16) (netip.AddrPort, error) {
	host, digits := s, ""
	if bare := strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"); strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		host = bare
	} else if _, err := netip.ParseAddr(s); err != nil {
		if host, digits, err = net.SplitHostPort(s); err != nil {
			return netip.AddrPort{}, errNotAddr
		}
		n, err := strconv.ParseUint(digits, 10, 16)
		if err != nil || n == 0 {
			return netip.AddrPort{}, fmt.Errorf("port %q is not a number from 1 to 65535", digits)
		}
		port = uint16(n)
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || strings.ContainsAny(addr.Zone(), "[]%:/") {
		return netip.AddrPort{}, errNotAddr
	}
	return netip.AddrPortFrom(addr.Unmap(), port), nil
}

var errNotAddr = errors.New("not an IP address: write IP, IP:PORT, [IPv6]:PORT or tls://IP@NAME")

// cutServerName takes the name to expect in the certificate out of what
// follows tls://. It stands between the address and the port.
func cutServerName(s string) (addr, name string, err error) {
	at := strings.LastIndexAny(s, "@%")
	if at < 0 {
		return s, "", nil
	}
	addr, name = s[:at], s[at+1:]
	name, port, hasPort := strings.Cut(name, ":")
	// The forward plugin writes [2001:db8::1%name]:853.
	if trimmed, ok := strings.CutSuffix(name, "]"); ok {
		name, addr = trimmed, addr+"]"
	}
	if _, ok := dns.IsDomainName(name); !ok || name == "." || strings.ContainsAny(name, "@%/[]\\ ") {
		return "", "", fmt.Errorf("%q is not a server name", name)
	}
	if hasPort {
		if strings.Count(addr, ":") > 1 && !strings.HasPrefix(addr, "[") {
			addr = "[" + addr + "]"
		}
		addr += ":" + port
	}
	return addr, strings.TrimSuffix(name, "."), nil
}

// readResolvConf returns the resolvers that the file at path lists.
func readResolvConf(path string) ([]Resolver, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("neither an IP address nor a file that can be read: %w", err)
	}
	defer file.Close()
	conf, err := dns.ClientConfigFromReader(io.LimitReader(file, maxResolvConf))
	if err != nil {
		return nil, fmt.Errorf("reading it: %w", err)
	}
	var rs []Resolver
	for _, server := range conf.Servers {
		addr, err := parseAddr(server, portDNS)
		if err != nil {
			return nil, fmt.Errorf("nameserver %q in it: %w", server, err)
		}
		rs = append(rs, Resolver{Addr: addr})
	}
	if len(rs) == 0 {
		return nil, errors.New("there is no nameserver line in it")
	}
	return rs, nil
}
