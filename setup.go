package mske

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/durations"

	"github.com/coredns-mske/mske/cns"
	"github.com/coredns-mske/mske/domain"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/validate"
	"github.com/coredns-mske/mske/yield"
)

const pluginName = "mske"

func init() {
	cns.Register()
	cns.Explain = func(err error) { log.Error(err) } // the file plugin says the line only
	plugin.Register(pluginName, setup)
}

// setup is called once for each server block that has mske stanzas. It starts
// nothing: the Corefile may yet be rejected because of a later directive.
func setup(c *caddy.Controller) error {
	m := newHandler(dnsserver.GetConfig(c), instanceOf(c), c.ServerBlockKeys)
	if err := parse(c, m); err != nil {
		return plugin.Error(pluginName, err)
	}
	m.config.AddPlugin(func(next plugin.Handler) plugin.Handler {
		m.Next = next
		// From here, after every plugin's setup, for our start to be the last:
		// it asks the plugins behind us, which have to have started.
		m.instance.startOnce.Do(func() { c.OnStartup(m.instance.start) })
		return m
	})
	return nil
}

// parse reads the stanzas of one server block into m and its instance. What it
// opens it closes.
func parse(c *caddy.Controller, m *MSKE) error {
	for c.Next() {
		if c.Val() != pluginName {
			return c.Errf("unexpected %q: options take no block of their own", c.Val())
		}
		s, err := parseStanza(c, m.config.Root)
		if err != nil {
			return err
		}
		if err := m.instance.add(m, s); err != nil {
			return c.Err(err.Error())
		}
	}
	return nil
}

// properties holds the function that parses each option. An option that is not
// in repeatable is accepted once in a stanza.
var (
	properties = map[string]func(*caddy.Controller, *stanza) error{
		"nameservers":     parseNameservers,
		"key":             parseKey,
		"cns":             parseCNS,
		"cns_type":        parseCNSType,
		"resolver":        parseResolver,
		"trust_anchor":    parseTrustAnchor,
		"state":           parseState,
		"refresh":         parseRefresh,
		"ttl":             parseTTL,
		"max_zone_ttl":    parseMaxZoneTTL,
		"algorithms":      parseAlgorithms,
		"delegation":      parseDelegation,
		"distrust":        parseDistrust,
		"cds":             parseCDS,
		"nameserver_port": parsePort,
	}
	repeatable = map[string]bool{"key": true}
)

// parseStanza reads one mske stanza. Relative paths are below root.
func parseStanza(c *caddy.Controller, root string) (*stanza, error) {
	where := fmt.Sprintf("%s:%d", c.File(), c.Line())
	zones, err := parseZones(c.RemainingArgs(), c.ServerBlockKeys)
	if err != nil {
		return nil, c.Err(err.Error())
	}
	s := newStanza(where, root, zones)

	seen := make(map[string]bool)
	for c.NextBlock() {
		name := c.Val()
		property, ok := properties[name]
		if !ok {
			return nil, c.Errf("unknown property %q", name)
		}
		if seen[name] && !repeatable[name] {
			return nil, c.Errf("%s specified more than once", name)
		}
		seen[name] = true
		if err := property(c, s); err != nil {
			return nil, err
		}
	}
	if err := s.complete(); err != nil {
		return nil, c.Err(err.Error())
	}
	return s, nil
}

// parseZones returns the zones in args or, without any, those of the server
// block. CoreDNS's own helper drops what it cannot read; a zone left out here
// would go dark without a word.
func parseZones(args, serverBlockKeys []string) ([]string, error) {
	from := args
	if len(args) == 0 {
		from = serverBlockKeys
	}
	var zones []string
	seen := make(map[string]bool)
	for _, arg := range from {
		yield.ToQueries() // there are some on a reload
		hosts := plugin.Host(arg).NormalizeExact()
		if len(hosts) == 0 {
			return nil, zoneError(arg, errNotDomainName)
		}
		for _, host := range hosts {
			zone, err := domain.Written(host)
			switch {
			case err != nil:
				return nil, zoneError(arg, err)
			case !seen[zone]:
				zones = append(zones, zone)
				seen[zone] = true
			case len(args) > 0: // in a server block's keys it is one with two ports or transports
				return nil, zoneError(arg, errDuplicateZone)
			}
		}
	}
	if len(zones) == 0 {
		return nil, errors.New("no zone: name the zones after mske, or in the server block")
	}
	return together(zones), nil
}

// together returns names in one piece of memory: a query compares its own with one of
// a fleet's, which lie dense like that, and the garbage collector likes it as well.
func together(names []string) []string {
	rest := strings.Join(names, "")
	for i, name := range names {
		names[i], rest = rest[:len(name)], rest[len(name):]
	}
	return names
}

func parseNameservers(c *caddy.Controller, s *stanza) (err error) {
	s.nameservers, err = parseHosts(c)
	return err
}

func parseCNS(c *caddy.Controller, s *stanza) (err error) {
	s.cns, err = parseHosts(c)
	return err
}

// parseHosts reads a list of distinct host names.
func parseHosts(c *caddy.Controller) ([]string, error) {
	args := c.RemainingArgs()
	if len(args) == 0 {
		return nil, c.ArgErr()
	}
	if len(args) > maxHosts {
		return nil, c.Errf("%d hosts, at most %d nameservers of a zone are supported", len(args), maxHosts)
	}
	hosts := make([]string, 0, len(args))
	for _, arg := range args {
		host, err := hostName(arg)
		if err != nil {
			return nil, c.Err(err.Error())
		}
		if slices.Contains(hosts, host) {
			return nil, c.Errf("%q is named twice", arg)
		}
		hosts = append(hosts, host)
	}
	return hosts, nil
}

// parseKey reads `key file KEY... [ksk|zsk|csk]` and `key directory DIR...`.
func parseKey(c *caddy.Controller, s *stanza) error {
	args := c.RemainingArgs()
	if len(args) == 0 {
		return c.ArgErr()
	}
	switch kind, args := args[0], args[1:]; kind {
	case "file":
		return parseKeyFiles(c, s, args)
	case "directory":
		return parseKeyDirectories(c, s, args)
	default:
		return c.Errf("unknown kind of key %q: it is `key file KEY...` or `key directory DIR...`", kind)
	}
}

func parseKeyFiles(c *caddy.Controller, s *stanza, args []string) error {
	role := keys.RoleUnknown
	if n := len(args); n > 0 {
		if r, err := keys.ParseRole(args[n-1]); err == nil {
			role, args = r, args[:n-1]
		}
	}
	if len(args) == 0 {
		return c.ArgErr()
	}
	for _, arg := range args {
		if err := s.addKeyFile(arg, role); err != nil {
			return c.Err(err.Error())
		}
	}
	return nil
}

func parseKeyDirectories(c *caddy.Controller, s *stanza, args []string) error {
	if len(args) == 0 {
		return c.ArgErr()
	}
	for _, arg := range args {
		if err := s.addKeyDirectory(arg); err != nil {
			return c.Err(err.Error())
		}
	}
	return nil
}

func parseCNSType(c *caddy.Controller, s *stanza) error {
	arg, err := oneArg(c)
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(arg, 10, 16)
	if err != nil {
		return c.Errf("%q is not the number of a record type (1 to 65533)", arg)
	}
	s.cnsType = uint16(n)
	if err := cns.CheckType(s.cnsType); err != nil {
		return c.Errf("cns_type %d: %v", s.cnsType, err)
	}
	return nil
}

func parseResolver(c *caddy.Controller, s *stanza) error {
	args := c.RemainingArgs()
	if len(args) == 0 {
		return c.ArgErr()
	}
	if err := s.setResolvers(args); err != nil {
		return c.Err(err.Error())
	}
	return nil
}

func parseTrustAnchor(c *caddy.Controller, s *stanza) error {
	args := c.RemainingArgs()
	if len(args) == 0 {
		return c.ArgErr()
	}
	for _, arg := range args {
		s.anchorFiles = append(s.anchorFiles, s.path(arg))
	}
	anchors, err := validate.ReadAnchors(s.anchorFiles...)
	if err != nil {
		return c.Err(err.Error())
	}
	s.anchors = anchors
	return nil
}

func parseState(c *caddy.Controller, s *stanza) error {
	arg, err := oneArg(c)
	if err != nil {
		return err
	}
	if err := s.setState(arg); err != nil {
		return c.Err(err.Error())
	}
	return nil
}

func parseRefresh(c *caddy.Controller, s *stanza) error {
	args := c.RemainingArgs()
	if len(args) == 0 || len(args) > 2 {
		return c.ArgErr()
	}
	var err error
	if s.refreshMin, err = duration(c, args[0], minRefresh, maxRefresh); err != nil {
		return err
	}
	if len(args) == 1 {
		s.refreshMax = max(s.refreshMin, defaultRefreshMax)
		return nil
	}
	if s.refreshMax, err = duration(c, args[1], minRefresh, maxRefresh); err != nil {
		return err
	}
	if s.refreshMax < s.refreshMin {
		return c.Errf("refresh MIN %s is longer than MAX %s", args[0], args[1])
	}
	return nil
}

func parseTTL(c *caddy.Controller, s *stanza) error {
	arg, err := oneArg(c)
	if err != nil {
		return err
	}
	s.ttl, err = duration(c, arg, time.Second, maxPublishedTTL)
	return err
}

func parseMaxZoneTTL(c *caddy.Controller, s *stanza) error {
	arg, err := oneArg(c)
	if err != nil {
		return err
	}
	s.maxZoneTTL, err = duration(c, arg, time.Second, maxTTL)
	return err
}

func parseAlgorithms(c *caddy.Controller, s *stanza) error {
	arg, err := oneArg(c)
	if err != nil {
		return err
	}
	switch arg {
	case "strict":
		s.lax = false
	case "lax":
		s.lax = true
	default:
		return c.Errf("algorithms is strict or lax, not %q", arg)
	}
	return nil
}

func parseDelegation(c *caddy.Controller, s *stanza) error {
	arg, err := oneArg(c)
	if err != nil {
		return err
	}
	switch arg {
	case "manual":
		s.auto = false
	case "auto":
		s.auto = true
	default:
		return c.Errf("delegation is manual or auto, not %q", arg)
	}
	return nil
}

// parseDistrust reads `distrust HOST|TAG...`. What is a number is a key tag.
func parseDistrust(c *caddy.Controller, s *stanza) error {
	args := c.RemainingArgs()
	if len(args) == 0 {
		return c.ArgErr()
	}
	d := &s.distrust
	for _, arg := range args {
		var twice bool
		if tag, err := strconv.ParseUint(arg, 10, 64); err == nil {
			if tag > math.MaxUint16 {
				return c.Errf("%q is no key tag (0 to %d)", arg, math.MaxUint16)
			}
			twice = slices.Contains(d.Tags, uint16(tag))
			d.Tags = append(d.Tags, uint16(tag))
		} else {
			host, err := hostName(arg)
			if err != nil {
				return c.Errf("%v; distrust takes host names and key tags", err)
			}
			twice = slices.Contains(d.Hosts, host)
			d.Hosts = append(d.Hosts, host)
		}
		if twice {
			return c.Errf("%q is named twice", arg)
		}
	}
	return nil
}

// parseCDS reads `cds delete`.
func parseCDS(c *caddy.Controller, s *stanza) error {
	arg, err := oneArg(c)
	if err != nil {
		return err
	}
	if arg != "delete" {
		return c.Errf("unknown argument %q: it is `cds delete`, which asks the parent to remove the zone's DS", arg)
	}
	s.deleteDS = true
	return nil
}

func parsePort(c *caddy.Controller, s *stanza) error {
	arg, err := oneArg(c)
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(arg, 10, 16)
	if err != nil || n == 0 {
		return c.Errf("%q is not a port (1 to %d)", arg, math.MaxUint16)
	}
	s.port = uint16(n)
	return nil
}

// oneArg returns the only argument of an option.
func oneArg(c *caddy.Controller) (string, error) {
	args := c.RemainingArgs()
	if len(args) != 1 {
		return "", c.ArgErr()
	}
	return args[0], nil
}

// duration reads arg as a duration of whole seconds, as TTLs are.
func duration(c *caddy.Controller, arg string, least, most time.Duration) (time.Duration, error) {
	d, err := durations.NewDurationFromArg(arg)
	if err != nil {
		return 0, c.Errf("%q is not a duration: write it in seconds or with its unit, as in 90, 90s, 1m or 24h", arg)
	}
	if d < least || d > most {
		return 0, c.Errf("%s is out of range: from %s to %s", arg, least, most)
	}
	if d%time.Second != 0 {
		return 0, c.Errf("%s is not a whole number of seconds", arg)
	}
	return d, nil
}
