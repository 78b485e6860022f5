package mske

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/cns"
	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/refresh"
	"github.com/coredns-mske/mske/store"
	"github.com/coredns-mske/mske/validate"
)

// What an option is when the Corefile does not say.
const (
	defaultState      = "mske.db"
	defaultRefreshMin = time.Minute
	defaultRefreshMax = time.Hour
	defaultTTL        = time.Hour
	defaultMaxZoneTTL = 24 * time.Hour
	defaultPort       = 53
	defaultResolver   = "/etc/resolv.conf"
)

// Bounds of the options.
const (
	// maxHosts is how many nameservers of one zone are dealt with (rule D2).
	maxHosts = 32

	// minRefresh keeps a typing error from becoming a flood of queries.
	minRefresh = time.Second

	// maxRefresh is how long an announcement of ours is signed for (rule P1).
	// Who asks less often imports a peer's new key only after the peer may
	// have signed with it.
	maxRefresh = 72 * time.Hour

	// maxPublishedTTL is what a signature of ours has left when it is
	// renewed: announcements are signed for three days, daily (rule P1). A
	// longer TTL would be cut down by every validator (RFC 4035 section 5.3.3).
	maxPublishedTTL = 48 * time.Hour

	// maxTTL is the largest TTL there is (RFC 2181 section 8).
	maxTTL = (1<<31 - 1) * time.Second
)

// stanza is one mske stanza of the Corefile. It is not changed once complete.
type stanza struct {
	where string // FILE:LINE, for messages
	root  string // what relative paths are below

	zones       []string
	nameservers []string
	files       []keys.File
	directories []string
	keys        map[string][]*keys.Key // those of files, for each zone
	cns         []string
	cnsType     uint16
	resolvers   []string // as given, files with their whole path
	anchorFiles []string
	anchors     *validate.Anchors
	state       string // absolute
	refreshMin  time.Duration
	refreshMax  time.Duration
	ttl         time.Duration
	maxZoneTTL  time.Duration
	lax         bool
	auto        bool // NS and CSYNC follow the target
	distrust    refresh.Distrust
	deleteDS    bool
	port        uint16
}

func newStanza(where, root string, zones []string) *stanza {
	s := &stanza{
		zones:      zones,
		where:      where,
		root:       root,
		keys:       make(map[string][]*keys.Key, len(zones)),
		cnsType:    cns.DefaultType,
		refreshMin: defaultRefreshMin,
		refreshMax: defaultRefreshMax,
		ttl:        defaultTTL,
		maxZoneTTL: defaultMaxZoneTTL,
		port:       defaultPort,
	}
	for _, zone := range zones {
		s.keys[zone] = nil
	}
	return s
}

// path returns arg as a path, below root unless it is absolute.
func (s *stanza) path(arg string) string {
	if filepath.IsAbs(arg) || s.root == "" {
		return arg
	}
	return filepath.Join(s.root, arg)
}

// setState checks the state file at path arg and takes it.
func (s *stanza) setState(arg string) error {
	path, err := filepath.Abs(s.path(arg))
	if err != nil {
		return fmt.Errorf("state %q: %w", arg, err)
	}
	s.state = path
	return store.Check(path)
}

// addKeyFile reads the key at path arg. A role other than RoleUnknown overrides
// what the key's flags say (rule K1).
func (s *stanza) addKeyFile(arg string, role keys.Role) error {
	k, _, err := keys.Read(s.path(arg)) // its warnings are said at start, by the watcher
	if err != nil {
		return err
	}
	zone := k.DNSKEY.Hdr.Name
	ours, ok := s.keys[zone]
	if !ok {
		return fmt.Errorf("key file %q is a key of %s, and that is none of the zones of this stanza (%s)", arg, zone, strings.Join(s.zones, " "))
	}
	for _, other := range ours {
		if other.ID() == k.ID() {
			return fmt.Errorf("key file %q is named twice", arg)
		}
	}
	if role != keys.RoleUnknown {
		k.Role, k.Override = role, true
	}
	s.files = append(s.files, keys.File{Base: k.Base, Role: role})
	s.keys[zone] = append(ours, k)
	return nil
}

// addKeyDirectory adds a directory of keys. It need not hold any yet.
func (s *stanza) addKeyDirectory(arg string) error {
	dir := filepath.Clean(s.path(arg))
	if slices.Contains(s.directories, dir) {
		return fmt.Errorf("key directory %q is named twice", arg)
	}
	f, err := os.Open(dir)
	if err == nil {
		_, err = f.Readdirnames(1)
		f.Close()
	}
	if err != nil && !errors.Is(err, io.EOF) { // of one that is empty
		return fmt.Errorf("key directory %q: %w", arg, err)
	}
	s.directories = append(s.directories, dir)
	return nil
}

// setResolvers checks the addresses and files of the option resolver.
func (s *stanza) setResolvers(args []string) error {
	for _, arg := range args {
		if path := s.path(arg); isFile(path) {
			arg = path
		}
		s.resolvers = append(s.resolvers, arg)
	}
	_, err := fetch.ParseResolvers(s.resolvers)
	return err
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// complete fills in what the stanza leaves out and checks what concerns more
// than one option.
func (s *stanza) complete() error {
	if len(s.nameservers) == 0 {
		return errors.New("nameservers is missing: name the hosts in the zones' NS records that you operate")
	}
	for _, host := range s.distrust.Hosts {
		if slices.Contains(s.nameservers, host) {
			return fmt.Errorf("distrust names %q, which is a nameserver of ours: name the tags of those of our keys that are not to be trusted", host)
		}
	}
	if len(s.files) == 0 && len(s.directories) == 0 {
		return errors.New("key is missing: say `key file KEY...` or `key directory DIR...`")
	}
	if s.resolvers == nil {
		if err := s.setResolvers([]string{defaultResolver}); err != nil {
			return fmt.Errorf("%w; name recursive resolvers with the option resolver", err)
		}
	}
	if s.anchors == nil {
		s.anchors = validate.RootAnchors()
	}
	if s.state == "" {
		if err := s.setState(defaultState); err != nil {
			return fmt.Errorf("%w; the option state names another file", err)
		}
	}
	for _, zone := range s.zones {
		if err := s.checkNames(zone); err != nil {
			return err
		}
		if err := s.checkKeys(zone); err != nil {
			return err
		}
	}
	return nil
}

// checkKeys holds the key files of zone against rule K1. With a directory the
// missing key may yet come, and one zone's keys are no reason to stop all.
func (s *stanza) checkKeys(zone string) error {
	if len(s.directories) > 0 {
		return nil
	}
	keys.AssignRoles(s.keys[zone])
	return keys.CheckSet(zone, s.keys[zone])
}

// checkNames returns an error if zone cannot be announced because every name
// to announce it at is too long. Those that are left out for another reason
// are a warning only (rule P2).
func (s *stanza) checkNames(zone string) error {
	var tooLong error
	for _, ns := range s.nameservers {
		_, err := announce.Name(zone, ns)
		if err == nil {
			return nil
		}
		if errors.Is(err, announce.ErrTooLong) {
			tooLong = err
		}
	}
	if tooLong != nil {
		return fmt.Errorf("%s cannot be announced at any of its nameservers: %w", zone, tooLong)
	}
	return nil
}

// difference returns the first option in which s and o are not alike, empty if
// there is none. It remembers that in known, as the answer is the same for all
// zones of o.
func (s *stanza) difference(o *stanza, known map[*stanza]string) string {
	option, ok := known[s]
	if !ok {
		option = s.differs(o)
		known[s] = option
	}
	return option
}

// differs returns the first option in which s and o are not alike, empty if
// there is none. The zones are compared elsewhere.
func (s *stanza) differs(o *stanza) string {
	switch {
	case !sameSet(s.nameservers, o.nameservers):
		return "nameservers"
	case !sameFiles(s.files, o.files) || !sameSet(s.directories, o.directories):
		return "key"
	case !sameSet(s.cns, o.cns):
		return "cns"
	case s.cnsType != o.cnsType:
		return "cns_type"
	case !slices.Equal(s.resolvers, o.resolvers):
		return "resolver"
	case !sameSet(s.anchorFiles, o.anchorFiles):
		return "trust_anchor"
	case s.state != o.state:
		return "state"
	case s.refreshMin != o.refreshMin || s.refreshMax != o.refreshMax:
		return "refresh"
	case s.ttl != o.ttl:
		return "ttl"
	case s.maxZoneTTL != o.maxZoneTTL:
		return "max_zone_ttl"
	case s.lax != o.lax:
		return "algorithms"
	case s.auto != o.auto:
		return "delegation"
	case !sameSet(s.distrust.Hosts, o.distrust.Hosts) || !sameTags(s.distrust.Tags, o.distrust.Tags):
		return "distrust"
	case s.deleteDS != o.deleteDS:
		return "cds"
	case s.port != o.port:
		return "nameserver_port"
	}
	return ""
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func sameTags(a, b []uint16) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func sameFiles(a, b []keys.File) bool {
	text := func(files []keys.File) []string {
		var all []string
		for _, f := range files {
			all = append(all, f.Role.String()+" "+f.Base)
		}
		return all
	}
	return sameSet(text(a), text(b))
}
